"""The persons' words."""

from typing import Final

from api.call import Call, Reply
from models.errors import NotFound

KEPT: Final = "public, max-age=300"


async def show(call: Call[None, None]) -> Reply:
    catalog = call.needs.texts.catalog(call.path["language"])
    if catalog is None:
        raise NotFound
    headers = {"ETag": catalog.etag, "Cache-Control": KEPT, "Content-Language": call.path["language"]}
    if call.if_none_match == catalog.etag:
        return Reply(304, headers=headers)
    return Reply(200, catalog.document, headers={**headers, "Content-Type": "application/json"})
