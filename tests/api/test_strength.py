"""How many factors an act takes: an organization may demand more, never less (A14, "acr >= policy")."""

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.organization import OrganizationSettings, organization
from models.verification import verification
from models.vocabulary import Act
from tests.api.house import Answer, House
from tests.people import Person, found, give_device, give_totp

STRONG: dict[str, Any] = {"act_strength": {"reset_passcode": 2, "remote_lock": 2}}


async def settle_in(house: House, *, second_factor: bool, strength: int = 1) -> tuple[Person, UUID]:
    """Somebody of an organization that demands two factors, signed in on as many as `strength` says."""
    strict = await found(house.db, house.clock.now, STRONG)
    anna = await house.hire("anna", organization_id=strict, second_factor=second_factor)
    await house.open_session(anna, "token", strength=strength)
    return anna, await give_device(house.db, anna, house.clock.now)


async def ask(house: House, device_id: UUID, act: str, token: str = "token") -> Answer:
    return await house.ask("POST", f"/devices/{device_id}/{act}", token=token, headers={"Idempotency-Key": "k"})


async def tap(house: House, device_id: UUID, token: str = "token") -> Answer:
    body = {"device_id": str(device_id), "act": "reset_passcode"}
    return await house.ask("POST", "/re-sign-ins", body, token=token)


async def by_code(house: House, person: Person, path: str, token: str) -> Answer:
    body = {"method_id": str(person.method_id), "code": person.code(house.clock.now)}
    return await house.ask("POST", f"/sessions/current/{path}", body, token=token)


@pytest.mark.parametrize(("demanded", "needed"), [(None, 1), (0, 1), (-1, 1), (1, 1), (2, 2), (3, 3)])
def test_an_organization_may_demand_more_and_never_less(demanded: int | None, needed: int) -> None:
    settings = OrganizationSettings.of({} if demanded is None else {"act_strength": {"wipe": demanded}})

    assert settings.strength_for(Act.WIPE, 1) == needed
    assert settings.strength_for(Act.RESTART, 1) == 1


async def test_a_device_says_how_strong_each_act_must_be(house: House) -> None:
    _, phone = await settle_in(house, second_factor=True)

    shown = await house.ask("GET", f"/devices/{phone}", token="token")

    needed = {one["act"]: one["strength"] for one in shown.json["acts"]}
    assert (needed["reset_passcode"], needed["remote_lock"], needed["wipe"]) == (2, 2, 1)


async def test_the_challenge_names_the_strength(house: House) -> None:
    _, phone = await settle_in(house, second_factor=True)

    for act, code in (("reset-passcode", "re_sign_in_required"), ("remote-lock", "proof_required")):
        answer = await ask(house, phone, act)
        assert (answer.status, answer.json["code"], answer.json["strength"]) == (401, code, 2)
        assert 'acr_values="2"' in answer.headers["WWW-Authenticate"]


async def test_a_code_makes_a_session_strong_enough(house: House) -> None:
    anna, phone = await settle_in(house, second_factor=True)

    proven = await by_code(house, anna, "proof", "token")

    assert (await ask(house, phone, "remote-lock", proven.json["token"])).status == 202
    current = await house.ask("GET", "/sessions/current", token=proven.json["token"])
    assert current.json["strength"] == 2


async def test_the_password_again_does_not(house: House) -> None:
    anna, phone = await settle_in(house, second_factor=True)

    proven = await house.ask("POST", "/sessions/current/proof", {"password": anna.password}, token="token")

    assert proven.status == 200
    answer = await ask(house, phone, "remote-lock", proven.json["token"])
    assert (answer.status, answer.json["code"]) == (401, "proof_required")


async def test_out_and_in_again_on_both_factors_gives_the_right(house: House) -> None:
    anna, phone = await settle_in(house, second_factor=True)
    opened = await tap(house, phone)
    half = await house.sign_in(anna, re_sign_in=opened.json["token"])

    whole = await by_code(house, anna, "second-factor", half.json["token"])

    assert whole.json["re_sign_in"]["state"] == "proven"
    assert (await ask(house, phone, "reset-passcode", whole.json["token"])).status == 202


async def test_whoever_has_no_second_factor_is_told_before_they_go_out(house: House) -> None:
    _, phone = await settle_in(house, second_factor=False)

    for answer in (await ask(house, phone, "reset-passcode"), await ask(house, phone, "remote-lock")):
        assert (answer.status, answer.json["code"], answer.json["strength"]) == (403, "second_factor_missing", 2)
    tapped = await tap(house, phone)

    assert (tapped.status, tapped.json["code"]) == (403, "second_factor_missing")
    assert (await house.ask("GET", "/sessions/current", token="token")).status == 200, "nobody was signed out for it"


async def test_a_sign_in_on_fewer_factors_stands_and_leaves_the_window_open(house: House) -> None:
    anna, phone = await settle_in(house, second_factor=True)
    opened = await tap(house, phone)
    async with house.db.write() as tx:
        await tx.execute(sa.delete(verification))

    weak = await house.sign_in(anna, re_sign_in=opened.json["token"])

    assert (weak.status, weak.json["re_sign_in"]["state"]) == (201, "open")
    assert ("account:re_sign_in:prove", "failure", "too_weak") in await house.events(anna)
    assert (await ask(house, phone, "reset-passcode", weak.json["token"])).status == 403
    strong = await give_totp(house.db, house.keys, anna, house.clock.now)
    half = await house.sign_in(strong, re_sign_in=opened.json["token"])
    whole = await by_code(house, strong, "second-factor", half.json["token"])
    assert whole.json["re_sign_in"]["state"] == "proven"


async def test_a_demand_that_came_after_the_proof_counts_at_the_confirmation(house: House) -> None:
    lax = await found(house.db, house.clock.now)
    anna = await house.hire("anna", organization_id=lax)
    await house.open_session(anna, "token")
    phone = await give_device(house.db, anna, house.clock.now)
    opened = await tap(house, phone)
    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])
    assert answer.json["re_sign_in"]["state"] == "proven"
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization).where(organization.c.id == lax).values(settings=STRONG))

    refused = await ask(house, phone, "reset-passcode", answer.json["token"])

    assert (refused.status, refused.json["code"]) == (403, "second_factor_missing")


async def test_a7_the_password_alone_given_again_changes_no_methods_of_whoever_has_a_second_factor(
    house: House,
) -> None:
    anna = await house.hire("anna", second_factor=True)
    await house.open_session(anna, "token", strength=2)
    house.clock.forward(301)

    async def add(token: str) -> Answer:
        return await house.ask("POST", "/security/methods/totp", {"label": "Another"}, token=token)

    proven = await house.ask("POST", "/sessions/current/proof", {"password": anna.password}, token="token")
    refused = await add(proven.json["token"])
    again = await by_code(house, anna, "proof", proven.json["token"])
    done = await add(again.json["token"])

    assert (refused.status, refused.json["code"], refused.json["strength"]) == (401, "proof_required", 2)
    assert done.status == 201


async def test_a10_the_password_alone_given_again_is_no_administrators_proof(house: House) -> None:
    anna, boss = await house.hire("anna"), await house.appoint()
    house.clock.forward(901)

    async def block(token: str) -> Answer:
        return await house.ask("POST", f"/accounts/{anna.id}/block", {"reason": "lost"}, token=token)

    proven = await house.ask("POST", "/sessions/current/proof", {"password": boss.password}, token="boss")
    refused = await block(proven.json["token"])
    again = await by_code(house, boss, "proof", proven.json["token"])

    assert (refused.status, refused.json["strength"]) == (401, 2)
    assert (await block(again.json["token"])).status == 200
