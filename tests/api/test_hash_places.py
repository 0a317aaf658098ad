"""Places in the queue for password hashes: who has shown nothing takes none (B6)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest

from api.keys import NEEDS
from api.pool import COME_AGAIN
from models.errors import Busy
from tests.api.house import HASHES, House

NEW = "plain otter walks along the dyke"


@contextmanager
def all_taken(house: House, but: int = 0) -> Iterator[None]:
    """Nobody else gets a place, `but` so many."""
    server = house.client.app
    assert server is not None
    hasher = server[NEEDS].hasher
    with ExitStack() as places:
        for _ in range(HASHES.threads + HASHES.waiting - but):
            places.enter_context(hasher.place())
        if not but:
            with pytest.raises(Busy), hasher.place():
                pass
        yield


async def test_without_a_token_nobody_waits_for_a_place(house: House) -> None:
    flow = f"/recoveries/{uuid4()}"
    with all_taken(house):
        asked = [
            await house.ask("POST", f"{flow}/gate", {"method_id": str(uuid4()), "code": "ABCDE-FGHJK"}, token=token)
            for token in (None, "nobody's")
        ]
        asked += [
            await house.ask("POST", f"{flow}/password", {"new": NEW}, token=token) for token in (None, "nobody's")
        ]
        asked.append(await house.ask("POST", "/password-resets", {"token": "nobody's", "new": NEW}))

    assert [one.status for one in asked] == [404] * len(asked)


async def test_with_one_that_proves_nothing_yet_nobody_does_either(house: House) -> None:
    begun = await house.ask("POST", "/recoveries", {"account": "nobody"})
    with all_taken(house):
        path = f"/recoveries/{begun.json['id']}/password"
        answer = await house.ask("POST", path, {"new": NEW}, token=begun.json["token"])

    assert answer.status == 409


async def test_a_flood_of_sign_ins_has_a_place_no_longer_than_it_takes_to_see_what_it_is(house: House) -> None:
    await house.hire("anna")
    bram = await house.hire("bram")
    wrong = {"account": "anna", "password": "not it, not it at all"}
    for _ in range(10):
        assert (await house.ask("POST", "/sessions", wrong)).status == 401

    with all_taken(house, but=1):
        flooded = [await house.ask("POST", "/sessions", wrong) for _ in range(2)]
        other = await house.sign_in(bram, address="198.51.100.1")

    assert [(one.status, one.json["code"]) for one in flooded] == [(429, "too_many_tries")] * 2
    assert other.status == 201


async def test_who_finds_no_place_has_tried_nothing_and_is_told_when_to_come_again(house: House) -> None:
    anna = await house.hire("anna")
    with all_taken(house):
        refused = [await house.sign_in(anna) for _ in range(40)]

    assert {(one.status, one.json["code"]) for one in refused} == {(503, "busy")}
    waits = {int(one.headers["Retry-After"]) for one in refused}
    assert waits <= set(range(1, COME_AGAIN + 1))
    assert len(waits) > 1, "all of them would be back at once"
    assert (await house.sign_in(anna)).status == 201, "and no address is held for a flood"
