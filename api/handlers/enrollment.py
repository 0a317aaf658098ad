"""Bringing a device in."""

from api import schemas
from api.call import Call, Reply
from api.operations import enrollment
from models.errors import DomainError


async def invite(call: Call[schemas.EnrollmentAsked, None]) -> Reply:
    needs, asked = call.needs, call.body
    invited = await enrollment.invite(
        needs.database,
        needs.platforms,
        call.person,
        platform=asked.platform,
        name=asked.name,
        ownership=asked.ownership,
        actor=call.actor,
    )
    if isinstance(invited, DomainError):
        raise invited
    url = f"{needs.settings.public_url}/devices/{asked.platform}/enroll/{invited.link}"
    body = schemas.Enrollment(id=invited.id, device_id=invited.device_id, url=url, expires_at=invited.expires_at)
    return Reply(201, body)
