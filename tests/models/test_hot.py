"""Hot statements answer as SQLAlchemy's own do, in one round trip or later, and are whole or nothing like any other."""

import asyncio
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
import sqlalchemy as sa

from models.base import metadata
from models.database import Database, DatabaseDown
from models.hot import Hot
from models.settings import DatabaseSettings
from tests.clock import NOON
from tests.people import found

DEADLINE: Final = 10
duty = metadata.tables["duty"]
happening = metadata.tables["event"]

INSERT: Final = Hot(sa.insert(duty))
HOLDER: Final = Hot(sa.select(duty.c.holder).where(duty.c.name == sa.bindparam("wanted")))
AMONG: Final = Hot(sa.select(duty.c.name).where(duty.c.name.in_(["a", "b"])).order_by(duty.c.name))
HAND_OVER: Final = Hot(
    sa.update(duty).where(duty.c.name == sa.bindparam("wanted")).values(holder=sa.bindparam("new_holder"))
)
EXTEND: Final = Hot(
    sa.update(duty).where(duty.c.name == sa.bindparam("wanted")).values(until=sa.bindparam("new")).returning(duty)
)


def line(name: str, holder: str = "me") -> dict[str, Any]:
    return {"name": name, "holder": holder, "until": NOON, "notes": {}}


async def names(database: Database) -> list[str]:
    async with database.read() as tx:
        return list((await tx.execute(sa.select(duty.c.name).order_by(duty.c.name))).scalars())


async def test_every_value_comes_back_as_sqlalchemy_would_give_it(database: Database) -> None:
    organization_id = await found(database, NOON)
    row = {
        "id": uuid4(),
        "organization_id": organization_id,
        "at": NOON + timedelta(microseconds=1),
        "action": "quoted ' % %(name)s :name ? \u00e9",
        "outcome": "success",
        "reason": None,
        "actor_kind": "worker",
        "facts": {"a": [1, None, "\u00e9"]},
        "schema_version": 1,
    }
    async with database.write() as tx:
        await tx.ask(Hot(sa.insert(happening)), row)
    statement = sa.select(happening)
    async with database.read() as tx:
        plain = (await tx.execute(statement)).one()
        hot = (await tx.ask(Hot(statement), {})).one()

    assert tuple(hot) == tuple(plain)
    assert hot._fields == tuple(plain._fields)
    assert {name: getattr(hot, name) for name in row} == row
    assert [type(value) for value in hot] == [type(value) for value in plain]


async def test_each_sees_what_those_before_it_did(database: Database) -> None:
    async with database.write() as tx:
        answers = await tx.together(
            (INSERT, line("a")),
            (HOLDER, {"wanted": "a"}),
            (HAND_OVER, {"wanted": "a", "new_holder": "you"}),
            (HAND_OVER, {"wanted": "b", "new_holder": "you"}),
            (HOLDER, {"wanted": "a"}),
            (HOLDER, {"wanted": "b"}),
        )

    assert [answer.count for answer in answers] == [1, 1, 1, 0, 1, 0]
    assert [[tuple(row) for row in answer.rows] for answer in answers] == [[], [("me",)], [], [], [("you",)], []]


async def test_a_change_gives_back_what_it_changed(database: Database) -> None:
    async with database.write() as tx:
        tx.later(INSERT, line("a"))
        answer = await tx.ask(EXTEND, {"wanted": "a", "new": NOON + timedelta(days=1)})

    assert answer.count == 1
    assert answer.one().until == NOON + timedelta(days=1)


async def test_values_that_stand_in_the_statement_are_kept(database: Database) -> None:
    async with database.write() as tx:
        for name in "cba":
            tx.later(INSERT, line(name))
        assert [row.name for row in (await tx.ask(AMONG, {})).rows] == ["a", "b"]


async def test_one_where_there_are_more_or_none_is_an_error(database: Database) -> None:
    async with database.write() as tx:
        await tx.together((INSERT, line("a")), (INSERT, line("b")))
        two, none = await tx.together((AMONG, {}), (HOLDER, {"wanted": "nobody"}))

    assert none.one_or_none() is None
    with pytest.raises(sa.exc.NoResultFound):
        none.one()
    with pytest.raises(sa.exc.MultipleResultsFound):
        two.one_or_none()


async def test_what_comes_later_comes_before_whatever_is_sent_next(database: Database) -> None:
    async with database.write() as tx:
        tx.later(INSERT, line("a"))
        tx.later(HAND_OVER, {"wanted": "a", "new_holder": "you"})
        assert (await tx.execute(sa.select(duty.c.holder))).scalars().all() == ["you"]
        tx.later(HAND_OVER, {"wanted": "a", "new_holder": "they"})
        assert (await tx.ask(HOLDER, {"wanted": "a"})).one().holder == "they"


async def test_what_comes_soon_is_answered_with_the_next_statement(database: Database) -> None:
    async with database.write() as tx:
        tx.later(INSERT, line("a"))
        before = tx.soon(HOLDER, {"wanted": "a"})
        tx.later(HAND_OVER, {"wanted": "a", "new_holder": "you"})
        after = tx.soon(HOLDER, {"wanted": "a"})
        with pytest.raises(RuntimeError, match="nothing was sent"):
            _ = before.answer
        assert [row.name for row in (await tx.ask(AMONG, {})).rows] == ["a"]
        await tx.ask(AMONG, {})

    assert (before.answer.one().holder, after.answer.one().holder) == ("me", "you")


async def test_what_comes_later_is_kept_with_the_rest_at_the_end(database: Database) -> None:
    async with database.write() as tx:
        tx.later(INSERT, line("a"))
        tx.later(INSERT, line("b"))

    assert await names(database) == ["a", "b"]


async def test_nothing_of_it_is_kept_when_the_block_raises(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as tx:
            await tx.ask(INSERT, line("a"))
            tx.later(INSERT, line("b"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await names(database) == []


async def test_an_error_at_the_end_keeps_nothing_and_the_connection_lives_on(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as tx:
            await tx.ask(INSERT, line("a"))
            for name in ("b", "a", "c"):
                tx.later(INSERT, line(name))

    for _ in range(20):  # more than there are connections
        with pytest.raises(sa.exc.IntegrityError):
            await fail()
        with pytest.raises(sa.exc.IntegrityError):
            async with database.write() as tx:
                await tx.together((INSERT, line("b")), (INSERT, line("b")), (AMONG, {}))

    assert await names(database) == []
    async with database.write() as tx:
        tx.later(INSERT, line("a"))
    assert await names(database) == ["a"]


async def test_an_error_quotes_no_value(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught:
        async with database.write() as tx:
            await tx.together((INSERT, line("whisper")), (INSERT, line("whisper")))

    assert "whisper" not in f"{caught.value!r} {caught.value} {caught.value.orig!r} {caught.value.orig}"


async def test_where_nothing_is_written_nothing_can_come_later(database: Database) -> None:
    with pytest.raises(RuntimeError, match="where nothing is written"):
        async with database.read() as tx:
            tx.later(INSERT, line("a"))

    assert await names(database) == []


async def test_an_ended_transaction_takes_no_more(database: Database) -> None:
    async with database.write() as tx:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        tx.later(INSERT, line("a"))
    with pytest.raises(RuntimeError, match="has ended"):
        await tx.ask(INSERT, line("a"))


async def test_cancelled_at_any_moment_it_is_whole_or_nothing(database: Database) -> None:
    """Step by step: cancelled after each number of turns of the loop."""

    async def write(turn: int) -> None:
        async with database.write() as tx:
            await tx.together((INSERT, line(f"{turn}-1")), (AMONG, {}))
            await tx.ask(AMONG, {})
            tx.later(INSERT, line(f"{turn}-2"))
            tx.later(INSERT, line(f"{turn}-3"))

    for turn in range(80):
        task = asyncio.create_task(write(turn))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None

    async with database.write() as tx:
        tx.later(INSERT, line("after"))
    kept = set(await names(database))
    assert "after" in kept
    assert all(len({f"{turn}-{n}" in kept for n in (1, 2, 3)}) == 1 for turn in range(80))


async def test_a_connection_lost_amid_a_transaction_is_an_outage_and_replaced(
    postgresql_settings: DatabaseSettings,
) -> None:
    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    await database.open()
    own = Hot(sa.select(sa.func.pg_backend_pid().label("pid")))
    end = Hot(sa.select(sa.func.pg_terminate_backend(sa.bindparam("pid"), 5000).label("ended")))

    async def lose(*, together: bool) -> None:
        async with database.write() as tx:
            pid = (await tx.ask(own, {})).one().pid
            async with database.read() as other:
                assert (await other.ask(end, {"pid": pid})).one().ended
            if together:
                await tx.together((INSERT, line("a")), (AMONG, {}))
            else:
                tx.later(INSERT, line("a"))

    for together in (True, False):
        with pytest.raises(DatabaseDown):
            await lose(together=together)

    async with database.write() as tx:
        tx.later(INSERT, line("b"))
    assert await names(database) == ["b"]
    await database.close()


async def test_more_than_a_socket_holds_goes_there_and_back(database: Database) -> None:
    """Either side has more to say than the other has taken up yet."""
    long = "\u00e9" * 4_000_000
    async with database.write() as tx:
        answers = await tx.together(
            *((INSERT, line(f"{n}", long)) for n in range(4)), *((HOLDER, {"wanted": f"{n}"}) for n in range(4))
        )

    assert all(answer.one().holder == long for answer in answers[4:])


async def test_what_failed_amid_others_may_be_asked_again_on_the_same_connection(
    postgresql_settings: DatabaseSettings,
) -> None:
    """A statement is prepared once, whether or not what was sent before or after it could be carried out."""
    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    wrong = Hot(sa.select((sa.literal(1) // sa.bindparam("by", type_=sa.Integer)).label("share")))

    for _ in range(3):
        with pytest.raises(sa.exc.DataError):
            async with database.write() as tx:
                await tx.together((AMONG, {}), (wrong, {"by": 0}), (HOLDER, {"wanted": "a"}))
        async with database.write() as tx:
            answers = await tx.together((HOLDER, {"wanted": "a"}), (wrong, {"by": 1}), (AMONG, {}))
        assert answers[1].one().share == 1
    await database.close()


async def test_a_connection_that_forgot_what_was_prepared_is_replaced(postgresql_settings: DatabaseSettings) -> None:
    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    async with database.read() as tx:
        await tx.ask(AMONG, {})
        await tx.execute(sa.text("DEALLOCATE ALL"))
        with pytest.raises(DatabaseDown):
            await tx.ask(AMONG, {})

    async with database.read() as tx:
        assert (await tx.ask(AMONG, {})).rows == []
    await database.close()


async def test_numbers_of_every_size_fit_where_the_statement_has_them(postgresql_settings: DatabaseSettings) -> None:
    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    sizes = Hot(sa.select((sa.bindparam("one", type_=sa.BigInteger) + sa.literal(1, sa.BigInteger)).label("more")))
    async with database.read() as tx:
        for number in (0, -1, 1 << 15, 1 << 31, 1 << 62):
            assert (await tx.ask(sizes, {"one": number})).one().more == number + 1
    await database.close()


async def test_a_list_that_varies_is_refused(database: Database) -> None:
    """Spelled out with its first values, it would be asked with those for ever."""
    hot = Hot(sa.select(duty.c.name).where(duty.c.name.in_(sa.bindparam("wanted", expanding=True))))

    async with database.read() as tx:
        with pytest.raises(TypeError, match="list"):
            await tx.ask(hot, {"wanted": ["a"]})


async def test_it_is_compiled_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    hot = Hot(sa.select(duty.c.name).where(duty.c.name == sa.bindparam("wanted")))
    async with database.read() as tx:
        await tx.ask(hot, {"wanted": "a"})
    monkeypatch.setattr(hot, "statement", None)  # nothing is left to compile

    async with database.read() as tx:
        assert (await tx.ask(hot, {"wanted": "b"})).rows == []
