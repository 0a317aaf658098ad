"""A reset that an administrator starts: the link goes to the person, and its page lets them choose the password."""

from typing import Final

from api import schemas
from api.call import Call, Reply
from api.handlers import linked_page
from api.handlers.linked_page import Say
from api.handlers.recovery import OVER
from api.openapi import Document
from api.operations import reset_link
from models.errors import DomainError
from models.password_policy import MOST


async def start(call: Call[schemas.ResetAsked, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    started = await reset_link.start(
        needs.database,
        needs.hasher,
        needs.keys,
        needs.throttle_key,
        call.person,
        account_id,
        reason=call.body.reason,
        end_sessions=call.body.end_sessions,
        actor=call.actor,
    )
    needs.door.nudge(account_id)
    body = schemas.ResetStarted(sent=started.password is None, expires_at=started.expires_at, password=started.password)
    return Reply(201, body)


async def choose(call: Call[schemas.ResetByLink, None]) -> Reply:
    needs = call.needs
    told = await reset_link.choose(
        needs.database,
        needs.hasher,
        needs.keys,
        needs.throttle_key,
        call.body.token,
        new=call.body.new,
        actor=call.actor,
    )
    if isinstance(told, DomainError):
        raise told
    for account_id in told:
        needs.door.nudge(account_id)
    return Reply(204, cookies=OVER)


async def page(call: Call[None, schemas.InLanguage]) -> Reply:
    return linked_page.show(call, "reset_password", _form)


def _form(say: Say) -> str:
    def box(name: str) -> str:
        return (
            f'<p><label for="{name}">{say(name)}</label><br><input id="{name}" type="password" required '
            f'autocomplete="new-password" autocapitalize="off" spellcheck="false" maxlength="{2 * MOST}" '
            'aria-describedby="rules problem"></p>'
        )

    return (
        f'<form id="form" hidden novalidate><p>{say("lead")}</p>'
        f'<p id="rules">{say("rules")}</p>{box("new")}{box("again")}'
        f'<p><label><input id="show" type="checkbox"> {say("show")}</label></p>'
        '<div id="problem" role="alert"></div>'
        f'<p><button id="choose" type="submit">{say("button")}</button></p></form>'
        f'<div role="status"><p id="done" hidden>{say("done")}</p><p id="gone" hidden>{say("gone")}</p>'
        f'<p id="trouble" hidden>{say("trouble")}</p><p id="differs" hidden>{say("differs")}</p></div>'
    )


async def script(call: Call[None, None]) -> Reply:
    return linked_page.script(call, SCRIPT)


SCRIPT: Final = Document.of(b"""\
"use strict";
const token = location.hash.slice(1);
const at = (name) => document.getElementById(name);
const show = (name) => {
  for (const one of ["form", "done", "gone"]) at(one).hidden = one !== name;
};
// What is wrong stands in the one place that is read aloud, and the keyboard is where it can be mended.
const tell = (lines, where) => {
  at("problem").replaceChildren(...lines.map((line) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = line;
    return paragraph;
  }));
  for (const one of ["new", "again"]) at(one).setAttribute("aria-invalid", String(where === one));
  if (where) at(where).focus();
};
const words = async (reasons) => {
  const answer = await fetch("/api/v1/texts/" + document.documentElement.lang);
  const texts = (await answer.json()).texts;
  return reasons.map((one) => texts["password." + one.rule].replace(/\\{(\\w+)\\}/g, (_, name) => String(one[name])));
};
// Neither the address bar nor the history keeps it.
history.replaceState(null, "", location.pathname + location.search);
const choose = async (event) => {
  event.preventDefault();
  tell([]);
  if (at("new").value !== at("again").value) return tell([at("differs").textContent], "again");
  at("choose").disabled = true;
  try {
    const answer = await fetch("/api/v1/password-resets", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({token, new: at("new").value}),
    });
    if (answer.ok) show("done");
    else if (answer.status === 404) show("gone");
    else if (answer.status === 422) {
      const reasons = (await answer.json()).reasons;
      tell(reasons ? await words(reasons) : [at("rules").textContent], "new");
    } else tell([at("trouble").textContent], "choose");
  } catch {
    tell([at("trouble").textContent], "choose");
  }
  at("choose").disabled = false;
};
at("form").addEventListener("submit", choose);
at("show").addEventListener("change", () => {
  for (const one of ["new", "again"]) at(one).type = at("show").checked ? "text" : "password";
});
show(token ? "form" : "gone");
""")
