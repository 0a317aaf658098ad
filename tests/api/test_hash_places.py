"""Places in the queue for password hashes: who has shown nothing takes none (B6)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest

from api.keys import NEEDS
from models.errors import Busy
from tests.api.house import HASHES, House

NEW = "plain otter walks along the dyke"


@contextmanager
def all_taken(house: House) -> Iterator[None]:
    """Nobody else gets a place."""
    server = house.client.app
    assert server is not None
    hasher = server[NEEDS].hasher
    with ExitStack() as places:
        for _ in range(HASHES.threads + HASHES.waiting):
            places.enter_context(hasher.place())
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


async def test_a_flood_of_sign_ins_is_turned_away_before_it_takes_places(house: House) -> None:
    anna = await house.hire("anna")
    wrong = {"account": "anna", "password": "not it, not it at all"}
    for _ in range(10):
        assert (await house.ask("POST", "/sessions", wrong)).status == 401

    with all_taken(house):
        flooded = await house.ask("POST", "/sessions", wrong)
        other = await house.sign_in(anna, address="198.51.100.1")

    assert (flooded.status, flooded.json["code"]) == (429, "too_many_tries")
    assert (other.status, other.json["code"]) == (503, "busy")
    assert "Retry-After" in other.headers
