"""The page behind a notice's link, and what its button asks for.

The token stands behind a `#`: a browser sends that part to nobody, so it is in no log, ours or a proxy's, and in no
Referer. Reading the page does nothing, since scanners and previews open every link in a mail; the button does. Only a
script can read the part behind the `#`, so without one the page says what to do by hand.
"""

import html
from typing import Final

from api import schemas
from api.call import Call, Reply
from api.openapi import Document
from api.operations import not_me

KEPT: Final = "public, max-age=300"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


async def report(call: Call[schemas.NotMe, None]) -> Reply:
    needs = call.needs
    told = await not_me.report(needs.database, needs.keys, call.body.token, actor=call.actor)
    # Open streams close at once, and what was told shows where somebody has signed in again.
    for account_id in told:
        needs.door.nudge(account_id)
    return Reply(204)


async def page(call: Call[None, schemas.InLanguage]) -> Reply:
    language = call.query.language

    def say(name: str) -> str:
        return html.escape(call.needs.texts.say(language, f"not_me.{name}", {}))

    text = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{say("title")}</title><link rel="stylesheet" href="/docs/style.css">'
        '<script src="/not-me/script.js" defer></script></head><body><main>'
        f"<h1>{say('title')}</h1><p>{say('lead')}</p>"
        f'<p><button id="report" type="button" hidden>{say("button")}</button></p>'
        f'<div role="status"><p id="done" hidden>{say("reported")}</p><p id="gone" hidden>{say("gone")}</p>'
        f'<p id="trouble" hidden>{say("trouble")}</p></div>'
        f"<noscript><p>{say('by_hand')}</p></noscript></main></body></html>"
    )
    return Reply(200, text.encode(), {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY})


async def script(call: Call[None, None]) -> Reply:
    headers = {"ETag": SCRIPT.etag, "Cache-Control": KEPT}
    if call.if_none_match == SCRIPT.etag:
        return Reply(304, headers=headers)
    return Reply(200, SCRIPT.content, headers={**headers, "Content-Type": "text/javascript; charset=utf-8"})


SCRIPT: Final = Document.of(b"""\
"use strict";
const token = location.hash.slice(1);
const show = (name) => {
  for (const one of ["report", "done", "gone", "trouble"]) document.getElementById(one).hidden = one !== name;
};
// Neither the address bar nor the history keeps it.
history.replaceState(null, "", location.pathname + location.search);
const report = async () => {
  const button = document.getElementById("report");
  button.disabled = true;
  try {
    const answer = await fetch("/api/v1/not-me", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({token}),
    });
    show(answer.ok ? "done" : [404, 422].includes(answer.status) ? "gone" : "trouble");
  } catch {
    show("trouble");
  }
  button.disabled = false;
  if (!document.getElementById("trouble").hidden) button.hidden = false;
};
document.getElementById("report").addEventListener("click", report);
show(token ? "report" : "gone");
""")
