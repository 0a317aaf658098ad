"""Invitations of people who have an account elsewhere, and the page that such a mail's link opens.

Its button joins with the account that is signed in in this browser.
"""

from typing import Final

from api import render, schemas
from api.call import Call, Reply
from api.handlers import linked_page
from api.handlers.linked_page import Say
from api.openapi import Document
from api.operations import invitation
from models.errors import DomainError


async def invite(call: Call[schemas.InvitationAsked, None]) -> Reply:
    needs = call.needs
    made = await invitation.invite(
        needs.database,
        needs.keys,
        needs.throttle_key,
        call.person,
        mail=call.body.mail,
        language=call.body.language,
        actor=call.actor,
    )
    if isinstance(made, DomainError):
        raise made
    return Reply(201, render.invitation(made, "open"))


async def page_of(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found, states = await invitation.page(call.needs.database, call.person, before=call.query.cursor, limit=limit)
    items = [render.invitation(one, state) for one, state in zip(found, states, strict=True)]
    cursor = render.next_cursor([one.id for one in found], limit)
    return Reply(200, schemas.InvitationPage(items=items, next_cursor=cursor))


async def withdraw(call: Call[None, None]) -> Reply:
    await invitation.withdraw(call.needs.database, call.person, call.id("invitation_id"), actor=call.actor)
    return Reply(204)


async def accept(call: Call[schemas.InvitationAccepted, None]) -> Reply:
    needs = call.needs
    joined = await invitation.accept(
        needs.database, needs.keys, needs.throttle_key, call.person, call.body.token, actor=call.actor
    )
    needs.door.nudge(joined.account_id)
    return Reply(201, render.belonging(joined.belonging, call.person))


async def page(call: Call[None, schemas.InLanguage]) -> Reply:
    return linked_page.show(call, "join", _button)


def _button(say: Say) -> str:
    told = "".join(
        f'<p id="{name}" hidden>{say(name)}</p>' for name in ("done", "gone", "member", "signed_out", "trouble")
    )
    return (
        f'<p>{say("lead")}</p><p><button id="join" type="button" hidden>{say("button")}</button></p>'
        f'<div role="status">{told}</div>'
    )


async def script(call: Call[None, None]) -> Reply:
    return linked_page.script(call, SCRIPT)


SCRIPT: Final = Document.of(b"""\
"use strict";
const token = location.hash.slice(1);
const at = (name) => document.getElementById(name);
const show = (name) => {
  for (const one of ["done", "gone", "member", "signed_out", "trouble"]) at(one).hidden = one !== name;
  at("join").hidden = !token || ["done", "gone", "member"].includes(name);
};
// Neither the address bar nor the history keeps it.
history.replaceState(null, "", location.pathname + location.search);
const join = async () => {
  at("join").disabled = true;
  try {
    const here = await fetch("/api/v1/sessions/current");
    if (here.status === 401 || here.status === 403) show("signed_out");
    else {
      const answer = await fetch("/api/v1/invitations/accept", {
        method: "POST",
        headers: {"Content-Type": "application/json", "X-CSRF-Token": (await here.json()).csrf_token},
        body: JSON.stringify({token}),
      });
      const told = {201: "done", 401: "signed_out", 404: "gone", 409: "member", 422: "gone"};
      show(told[answer.status] || "trouble");
    }
  } catch {
    show("trouble");
  }
  at("join").disabled = false;
};
at("join").addEventListener("click", join);
show(token ? "" : "gone");
""")
