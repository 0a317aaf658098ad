"""Choose another password."""

from api import render, schemas
from api.call import Call, Reply
from api.guards import csrf_token
from api.handlers.session import session_cookie
from api.operations import password as operations
from models.errors import DomainError


async def change(call: Call[schemas.PasswordChange, None]) -> Reply:
    needs = call.needs
    done = await operations.change(
        needs.database,
        needs.hasher,
        needs.keys,
        call.person,
        current=call.body.current,
        new=call.body.new,
        browser_token=call.browser_token,
        throttle_key=needs.throttle_key,
        actor=call.actor,
    )
    # Streams of whatever session ended by it, by success or by one wrong password too many.
    needs.door.nudge(call.person.account_id)
    if isinstance(done, DomainError):
        raise done
    held = done.who.session
    body = schemas.PasswordChanged(
        token=done.token,
        csrf_token=csrf_token(done.token),
        session=render.session(held, done.who),
        terms=done.owes_terms,
    )
    return Reply(200, body, cookies=(session_cookie(done.token, int((held.expires_at - done.now).total_seconds())),))
