"""What this api can do, for machines and for people."""

from typing import Final

from api.call import Call, Reply
from api.openapi import Document

KEPT: Final = "public, max-age=300"


async def openapi(call: Call[None, None]) -> Reply:
    return _show(call, call.needs.documents.openapi, "application/json")


async def docs(call: Call[None, None]) -> Reply:
    return _show(call, call.needs.documents.page, "text/html; charset=utf-8")


async def style(call: Call[None, None]) -> Reply:
    return _show(call, call.needs.documents.style, "text/css; charset=utf-8")


def _show(call: Call[None, None], document: Document, kind: str) -> Reply:
    headers = {"ETag": document.etag, "Cache-Control": KEPT}
    if call.if_none_match == document.etag:
        return Reply(304, headers=headers)
    return Reply(200, document.content, headers={**headers, "Content-Type": kind})
