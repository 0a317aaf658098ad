"""What the pages behind a mail's links have in common.

The token stands behind a `#`: a browser sends that part to nobody, so it is in no log, ours or a proxy's, and in no
Referer. Reading a page does nothing, since scanners and previews open every link in a mail; its button does. Only a
script can read the part behind the `#`, so without one the page says what to do by hand.
"""

import html
from collections.abc import Callable
from typing import Final

from api import schemas
from api.call import Call, Reply
from api.openapi import Document

KEPT: Final = "public, max-age=300"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
Say = Callable[[str], str]
"""A text of the page, by its name, ready to stand in it."""


def show(call: Call[None, schemas.InLanguage], name: str, inside: Callable[[Say], str]) -> Reply:
    """`name`: of the page's texts, and but for its hyphens of its address. `inside`: what stands below its title."""
    language = call.query.language

    def say(text: str) -> str:
        return html.escape(call.needs.texts.say(language, f"{name}.{text}", {}))

    page = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{say("title")}</title><link rel="stylesheet" href="/docs/style.css">'
        f'<script src="/{name.replace("_", "-")}/script.js" defer></script></head><body><main>'
        f"<h1>{say('title')}</h1>{inside(say)}<noscript><p>{say('by_hand')}</p></noscript></main></body></html>"
    )
    return Reply(200, page.encode(), {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY})


def script(call: Call[None, None], document: Document) -> Reply:
    headers = {"ETag": document.etag, "Cache-Control": KEPT}
    if call.if_none_match == document.etag:
        return Reply(304, headers=headers)
    return Reply(200, document.content, headers={**headers, "Content-Type": "text/javascript; charset=utf-8"})
