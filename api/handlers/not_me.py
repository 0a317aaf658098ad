"""The page behind a notice's link, and what its button asks for."""

from typing import Final

from api import schemas
from api.call import Call, Reply
from api.handlers import linked_page
from api.handlers.linked_page import Say
from api.openapi import Document
from api.operations import not_me


async def report(call: Call[schemas.NotMe, None]) -> Reply:
    needs = call.needs
    told = await not_me.report(needs.database, needs.keys, call.body.token, actor=call.actor)
    # Open streams close at once, and what was told shows where somebody has signed in again.
    for account_id in told:
        needs.door.nudge(account_id)
    return Reply(204)


async def page(call: Call[None, schemas.InLanguage]) -> Reply:
    return linked_page.show(call, "not_me", _button)


def _button(say: Say) -> str:
    return (
        f'<p>{say("lead")}</p><p><button id="report" type="button" hidden>{say("button")}</button></p>'
        f'<div role="status"><p id="done" hidden>{say("reported")}</p><p id="gone" hidden>{say("gone")}</p>'
        f'<p id="trouble" hidden>{say("trouble")}</p></div>'
    )


async def script(call: Call[None, None]) -> Reply:
    return linked_page.script(call, SCRIPT)


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
