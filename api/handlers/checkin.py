"""A device speaks: every platform's requests come through here, and each platform says its own refusals."""

import logging

from api.call import Needs
from api.operations import checkin
from models.database import DatabaseDown
from models.log import where
from platforms.base import DeviceReply, DeviceRequest, PlatformHandler, Refusal

log = logging.getLogger("api")


async def talk(
    needs: Needs, platform: PlatformHandler, request: DeviceRequest, request_id: str, *, address: str | None
) -> DeviceReply:
    """Never raises: a device that is told of an error of ours in another way than "later" may give up for good."""
    try:
        return await checkin.talk(needs, platform, request, request_id, address=address)
    except DatabaseDown:
        log.warning("busy", extra={"reason": "DatabaseDown", "platform": platform.name})
    except Exception as error:  # noqa: BLE001 - as the docstring says
        log.error(  # noqa: TRY400 - a traceback prints messages, and messages hold values
            "a device's request failed",
            extra={"platform": platform.name, "error_type": type(error).__name__, "where": where(error)},
        )
    return platform.refuse(Refusal.TRY_LATER)
