"""What administrators may do, and for whom: roles, and the tables of who may act on whose account, as data. Pure.

A role is given by a membership, in one organization. What nobody knows here gives nothing to whoever holds it, and
protects them like the most powerful role.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    GLOBAL_ADMINISTRATOR = "global_administrator"
    PRIVILEGED_ROLE_ADMINISTRATOR = "privileged_role_administrator"
    PRIVILEGED_AUTHENTICATION_ADMINISTRATOR = "privileged_authentication_administrator"
    USER_ADMINISTRATOR = "user_administrator"
    AUTHENTICATION_ADMINISTRATOR = "authentication_administrator"
    HELPDESK_ADMINISTRATOR = "helpdesk_administrator"
    PASSWORD_ADMINISTRATOR = "password_administrator"
    GROUPS_ADMINISTRATOR = "groups_administrator"
    DIRECTORY_READER = "directory_reader"
    GUEST_INVITER = "guest_inviter"
    MESSAGE_CENTER_READER = "message_center_reader"
    REPORTS_READER = "reports_reader"
    USAGE_READER = "usage_reader"


class Row(StrEnum):
    """Targets that are alike to the tables, the least powerful first."""

    ORDINARY = "ordinary"
    READER = "reader"
    HELPDESK = "helpdesk"
    KEEPER = "keeper"
    AUTHENTICATION = "authentication"
    PRIVILEGED = "privileged"


ROW_OF: Final[Mapping[Role, Row]] = {
    Role.DIRECTORY_READER: Row.ORDINARY,
    Role.GUEST_INVITER: Row.ORDINARY,
    Role.PASSWORD_ADMINISTRATOR: Row.ORDINARY,
    Role.MESSAGE_CENTER_READER: Row.READER,
    Role.REPORTS_READER: Row.READER,
    Role.USAGE_READER: Row.READER,
    Role.HELPDESK_ADMINISTRATOR: Row.HELPDESK,
    Role.GROUPS_ADMINISTRATOR: Row.KEEPER,
    Role.USER_ADMINISTRATOR: Row.KEEPER,
    Role.AUTHENTICATION_ADMINISTRATOR: Row.AUTHENTICATION,
    Role.GLOBAL_ADMINISTRATOR: Row.PRIVILEGED,
    Role.PRIVILEGED_AUTHENTICATION_ADMINISTRATOR: Row.PRIVILEGED,
    Role.PRIVILEGED_ROLE_ADMINISTRATOR: Row.PRIVILEGED,
}

Table = Mapping[Role, frozenset[Row]]
"""For the holder of a role: the rows that they may act on."""

_ALL: Final = frozenset(Row)
RESET: Final[Table] = {
    Role.PASSWORD_ADMINISTRATOR: frozenset({Row.ORDINARY}),
    Role.HELPDESK_ADMINISTRATOR: frozenset({Row.ORDINARY, Row.READER, Row.HELPDESK}),
    Role.AUTHENTICATION_ADMINISTRATOR: frozenset({Row.ORDINARY, Row.READER, Row.AUTHENTICATION}),
    Role.USER_ADMINISTRATOR: _ALL - {Row.AUTHENTICATION, Row.PRIVILEGED},
    Role.PRIVILEGED_AUTHENTICATION_ADMINISTRATOR: _ALL,
    Role.GLOBAL_ADMINISTRATOR: _ALL,
}
"""Who may reset whose password, end whose sessions and open whose way back in."""


def _of(*roles: Role) -> Table:
    """The same table, for fewer."""
    return {role: RESET[role] for role in roles}


SENSITIVE: Final[Table] = _of(
    Role.AUTHENTICATION_ADMINISTRATOR,
    Role.USER_ADMINISTRATOR,
    Role.PRIVILEGED_AUTHENTICATION_ADMINISTRATOR,
    Role.GLOBAL_ADMINISTRATOR,
)
"""Who may block, unblock, delete and restore whom."""
LEND_PASS: Final[Table] = _of(
    Role.AUTHENTICATION_ADMINISTRATOR,
    Role.PRIVILEGED_AUTHENTICATION_ADMINISTRATOR,
    Role.GLOBAL_ADMINISTRATOR,
)
"""Who may lend whom a second factor: those whose office is how people prove who they are."""
APPROVE: Final[Table] = SENSITIVE
"""Who may say the second yes to whose wipe or removal."""
GRANT: Final[Table] = {Role.PRIVILEGED_ROLE_ADMINISTRATOR: _ALL, Role.GLOBAL_ADMINISTRATOR: _ALL}
"""Who may give and take whose roles."""

EDIT: Final[Table] = _of(Role.USER_ADMINISTRATOR, Role.GLOBAL_ADMINISTRATOR)
"""Who may edit whose profile."""
AUTHENTICATION_CONTACT: Final[Table] = _of(Role.GLOBAL_ADMINISTRATOR)
"""Who may say by which telephone and mail address somebody proves who they are."""

CREATORS: Final = frozenset({Role.USER_ADMINISTRATOR, Role.GLOBAL_ADMINISTRATOR})
"""Who may make accounts."""
INVITERS: Final = CREATORS | {Role.GUEST_INVITER}
"""Who may invite people from elsewhere, who then have no role here."""
RULERS: Final = frozenset({Role.GLOBAL_ADMINISTRATOR})
"""Who may change what holds for everybody in the organization."""
ACTORS: Final = frozenset({*RESET, *GRANT})
"""Who may act on anybody's account at all; whom exactly, the tables say."""
READERS: Final = ACTORS | {Role.DIRECTORY_READER, Role.GROUPS_ADMINISTRATOR}
"""Who may look accounts up."""


def rows_of(roles: Collection[str]) -> frozenset[Row]:
    """Of somebody who holds these roles: each of them counts, the worst decides."""
    known = {role.value: row for role, row in ROW_OF.items()}
    return frozenset(known.get(role, Row.PRIVILEGED) for role in roles) or frozenset({Row.ORDINARY})


def may(table: Table, mine: Collection[str], theirs: Collection[str]) -> bool:
    """Whether one of my roles by itself reaches everything that they are."""
    rows = rows_of(theirs)
    return any(rows <= reach for role, reach in table.items() if role.value in mine)


def holds(mine: Collection[str], any_of: Collection[Role]) -> bool:
    return any(role.value in mine for role in any_of)
