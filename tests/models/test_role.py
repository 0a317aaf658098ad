"""Who may act on whom: the sheet's tables cell by cell (A10), and what holds for every mixture of roles."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.role import (
    ACTORS,
    AUTHENTICATION_CONTACT,
    CREATORS,
    EDIT,
    GRANT,
    LEND_PASS,
    READERS,
    RESET,
    ROW_OF,
    SENSITIVE,
    Role,
    Row,
    Table,
    may,
    rows_of,
)

PASSWORD = Role.PASSWORD_ADMINISTRATOR
HELPDESK = Role.HELPDESK_ADMINISTRATOR
AUTHENTICATION = Role.AUTHENTICATION_ADMINISTRATOR
USER = Role.USER_ADMINISTRATOR
PRIVILEGED_AUTHENTICATION = Role.PRIVILEGED_AUTHENTICATION_ADMINISTRATOR
GLOBAL = Role.GLOBAL_ADMINISTRATOR

COLUMNS = (PASSWORD, HELPDESK, AUTHENTICATION, USER, PRIVILEGED_AUTHENTICATION, GLOBAL)
# As the sheet draws it: one line a kind of target, one letter a column.
SHEET = {
    (): "yyyyyy",
    (Role.DIRECTORY_READER,): "yyyyyy",
    (Role.GUEST_INVITER,): "yyyyyy",
    (PASSWORD,): "yyyyyy",
    (Role.MESSAGE_CENTER_READER,): "nyyyyy",
    (Role.REPORTS_READER,): "nyyyyy",
    (Role.USAGE_READER,): "nyyyyy",
    (HELPDESK,): "nynyyy",
    (Role.GROUPS_ADMINISTRATOR,): "nnnyyy",
    (USER,): "nnnyyy",
    (AUTHENTICATION,): "nnynyy",
    (GLOBAL,): "nnnnyy",
    (PRIVILEGED_AUTHENTICATION,): "nnnnyy",
    (Role.PRIVILEGED_ROLE_ADMINISTRATOR,): "nnnnyy",
    ("office_plant_administrator",): "nnnnyy",
}
CELLS = [(theirs, mine, SHEET[theirs][at] == "y") for theirs in SHEET for at, mine in enumerate(COLUMNS)]
ROLES = st.sampled_from([*Role, "office_plant_administrator"])
SOME = st.lists(ROLES, unique=True, max_size=5)
TABLES = st.sampled_from([RESET, SENSITIVE, LEND_PASS, GRANT, EDIT, AUTHENTICATION_CONTACT])


def test_every_role_has_its_line() -> None:
    assert {role for theirs in SHEET for role in theirs} == {*Role, "office_plant_administrator"}
    assert ROW_OF.keys() == set(Role)


@pytest.mark.rule("A10.1")
@pytest.mark.parametrize(("theirs", "mine", "expected"), CELLS)
def test_a10_t_who_may_reset_whom(theirs: tuple[str, ...], mine: Role, expected: bool) -> None:
    assert may(RESET, (mine,), theirs) is expected


@pytest.mark.rule("A10.1")
@pytest.mark.parametrize(("theirs", "mine", "expected"), CELLS)
def test_a10_t_who_may_block_and_delete_whom(theirs: tuple[str, ...], mine: Role, expected: bool) -> None:
    """The same lines, four columns."""
    assert may(SENSITIVE, (mine,), theirs) is (expected and mine not in {PASSWORD, HELPDESK})


@pytest.mark.rule("A10.1")
@pytest.mark.parametrize(("theirs", "mine", "expected"), CELLS)
def test_a10_t_profiles_are_edited_by_two_and_authentication_contact_by_one(
    theirs: tuple[str, ...], mine: Role, expected: bool
) -> None:
    assert may(EDIT, (mine,), theirs) is (expected and mine in {USER, GLOBAL})
    assert may(AUTHENTICATION_CONTACT, (mine,), theirs) is (mine is GLOBAL)


@pytest.mark.rule("A10.1")
@pytest.mark.parametrize(("mine", "theirs"), list(product([None, *Role], SHEET)))
def test_a10_t_roles_are_given_by_two_and_passes_lent_by_three(mine: Role | None, theirs: tuple[str, ...]) -> None:
    held = () if mine is None else (mine,)

    assert may(GRANT, held, theirs) is (mine in {GLOBAL, Role.PRIVILEGED_ROLE_ADMINISTRATOR})
    lends = {AUTHENTICATION, PRIVILEGED_AUTHENTICATION, GLOBAL}
    assert may(LEND_PASS, held, theirs) is (mine in lends and may(RESET, held, theirs))


def test_whoever_stands_in_no_column_acts_on_nobody() -> None:
    assert {*COLUMNS, Role.PRIVILEGED_ROLE_ADMINISTRATOR} == ACTORS
    assert {USER, GLOBAL} == CREATORS
    assert {Role.DIRECTORY_READER, Role.GROUPS_ADMINISTRATOR} == READERS - ACTORS


@pytest.mark.rule("A10.1")
@given(TABLES, SOME, SOME)
def test_a10_t_the_worst_of_their_roles_decides(table: Table, mine: list[str], theirs: list[str]) -> None:
    by_itself = [all(may(table, (own,), (one,)) for one in theirs or [Role.GUEST_INVITER]) for own in mine]

    assert may(table, mine, theirs) is any(by_itself)


@given(TABLES, SOME, SOME, ROLES)
def test_a_further_role_of_theirs_never_opens_anything(
    table: Table, mine: list[str], theirs: list[str], further: str
) -> None:
    assert not (may(table, mine, [*theirs, further]) and not may(table, mine, theirs))


@given(TABLES, SOME, st.text())
def test_a_role_that_nobody_knows_protects_like_the_most_powerful_and_gives_nothing(
    table: Table, mine: list[str], name: str
) -> None:
    if name in set(Role):
        return
    assert rows_of([name]) == {Row.PRIVILEGED}
    assert may(table, mine, [name]) is may(table, mine, [GLOBAL])
    assert not may(table, [name], ())


def test_two_roles_that_each_reach_half_of_somebody_reach_nobody() -> None:
    assert not may(RESET, (HELPDESK, AUTHENTICATION), (HELPDESK, AUTHENTICATION))
