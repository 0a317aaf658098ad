"""Terms of use: what a person reads and answers, and what an administrator keeps."""

from collections.abc import Mapping

from api import render, schemas
from api.call import Call, Reply
from api.guards import csrf_token
from api.operations import terms, terms_keeping
from api.operations.terms_keeping import Kept, Wanted
from models.device import clean_name
from models.errors import Invalid
from models.standing import Expiry, Schedule


async def mine(call: Call[None, None]) -> Reply:
    who = call.person
    found = await terms.mine(call.needs.database, who, call.browser_token)
    items = [render.my_terms(one, who.language) for one in found]
    body = schemas.MyTerms(
        items=items,
        next_cursor=None,
        only_done=not any(one.accept_offered for one in items),
        csrf_token=csrf_token(call.token or ""),
    )
    return Reply(200, body)


async def read(call: Call[None, schemas.TermsQuery]) -> Reply:
    who = call.person
    shown = await terms.show(call.needs.database, who, call.id("version_id"), call.query.language)
    etag = f'"{shown.text.sha256}"'
    # A text never changes; it is somebody's own to read, so nothing keeps it on the way.
    headers = {"ETag": etag, "Content-Language": shown.text.language}
    if call.if_none_match is not None and etag in {one.strip() for one in call.if_none_match.split(",")}:
        return Reply(304, headers=headers)
    return Reply(200, render.terms_document(shown, who.language), headers=headers)


async def answer(call: Call[schemas.TermsAnswer, None]) -> Reply:
    given = call.body
    done = await terms.answer(
        call.needs.database,
        call.person,
        call.id("version_id"),
        language=given.language,
        sha256=given.hash,
        accepted=given.accepted,
        browser_token=call.browser_token,
        actor=call.actor,
    )
    # Streams of sessions that are no longer whole are shut at once.
    call.needs.door.nudge(call.person.account_id)
    return Reply(201 if done.made else 200, render.terms_answered(done))


# Kept by an administrator


async def page(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found = await terms_keeping.page(call.needs.database, call.person, after=call.query.cursor, limit=limit)
    cursor = render.next_cursor([one.terms.id for one in found], limit)
    return Reply(200, schemas.TermsPage(items=[render.terms(one) for one in found], next_cursor=cursor))


async def show(call: Call[None, None]) -> Reply:
    return _shown(await terms_keeping.show(call.needs.database, call.person, call.id("terms_id")))


async def add(call: Call[schemas.TermsSettings, None]) -> Reply:
    kept = await terms_keeping.add(call.needs.database, call.person, _wanted(call.body), actor=call.actor)
    return Reply(201, render.terms(kept), headers={"ETag": kept.terms.mark})


async def change(call: Call[schemas.TermsSettings, None]) -> Reply:
    changed = await terms_keeping.change(
        call.needs.database,
        call.person,
        call.id("terms_id"),
        _wanted(call.body),
        matches=call.matches,
        actor=call.actor,
    )
    return _shown(changed)


async def withdraw(call: Call[None, None]) -> Reply:
    await terms_keeping.withdraw(call.needs.database, call.person, call.id("terms_id"), actor=call.actor)
    return Reply(204)


async def publish(call: Call[schemas.TermsPublished, None]) -> Reply:
    given = call.body
    version, hashes = await terms_keeping.publish(
        call.needs.database,
        call.person,
        call.id("terms_id"),
        major=given.major,
        effective_at=given.effective_at,
        documents=given.documents,
        actor=call.actor,
    )
    return Reply(201, render.terms_version(version, hashes))


async def versions(call: Call[None, schemas.VersionQuery]) -> Reply:
    limit = call.query.limit
    found = await terms_keeping.versions(
        call.needs.database, call.person, call.id("terms_id"), before=call.query.cursor, limit=limit
    )
    body = schemas.TermsVersionPage(
        items=[render.terms_version(version, hashes) for version, hashes in found],
        next_cursor=found[-1][0].number if len(found) == limit else None,
    )
    return Reply(200, body)


async def answers(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found = await terms_keeping.answers(
        call.needs.database, call.person, call.id("terms_id"), before=call.query.cursor, limit=limit
    )
    body = schemas.TermsAnswerPage(
        items=[render.terms_given(one) for one in found],
        next_cursor=render.next_cursor([one.id for one in found], limit),
    )
    return Reply(200, body)


def _wanted(given: schemas.TermsSettings) -> Wanted:
    schedule = given.schedule
    return Wanted(
        name=_name("name", given.name),
        names=_names(given.names),
        default_language=given.default_language,
        must_scroll=given.must_scroll,
        per_device=given.per_device,
        expiry=Expiry(
            None if schedule is None else Schedule(schedule.starts_at, schedule.every_months),
            given.expires_after_days,
        ),
    )


def _names(given: Mapping[str, str]) -> dict[str, str]:
    return {language: _name(f"names.{language}", name) for language, name in given.items()}


def _name(field: str, text: str) -> str:
    name = clean_name(text)
    if name is None:
        raise Invalid(errors=[{"field": field, "rule": "name"}])
    return name


def _shown(kept: Kept) -> Reply:
    return Reply(200, render.terms(kept), headers={"ETag": kept.terms.mark})
