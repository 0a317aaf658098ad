"""What people sign in to elsewhere with the account that they have here, and where they did so.

An app is registered by its organization's administrators. That a person used it is written down when it is launched
from here; the row's id is the `sid` by which the app knows that sign-in, and by which it is told that it is over.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction
from models.errors import ClientIdTaken
from models.organization import membership, organization
from models.session import Session, session
from models.settings import APP_USE_KEPT
from models.vocabulary import new_id

app = sa.Table(
    "app",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False, comment="whom its tokens are for"),
    sa.Column("backchannel_logout_uri", sa.Text, nullable=True, comment="none: it cannot be told"),
    sa.Column("session_required", sa.Boolean, nullable=False, comment="it wants each sign-in named"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Index("uq_app_client_id", "organization_id", "client_id", unique=True),
    sa.Index("ix_app_organization", "organization_id", "id"),
)

app_use = sa.Table(
    "app_use",
    metadata,
    sa.Column("id", Id, primary_key=True, comment="the sid that the app knows"),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("app_id", Id, sa.ForeignKey("app.id"), nullable=False),
    sa.Column("session_id", Id, nullable=False, comment="the sign-in here that it was launched from"),
    sa.Column("generation", sa.BigInteger, nullable=False, comment="of that sign-in"),
    sa.Column("first_used_at", Moment, nullable=False),
    sa.Column("last_used_at", Moment, nullable=False, index=True),
    sa.Index("uq_app_use_session", "session_id", "app_id", unique=True),
    sa.Index("ix_app_use_account", "organization_id", "account_id", "generation"),
    sa.Index("ix_app_use_app", "app_id"),
)

LONGEST_URI: Final = 2048
LONGEST_CLIENT_ID: Final = 255


@dataclass(frozen=True, slots=True)
class App:
    id: UUID
    organization_id: UUID
    name: str
    client_id: str
    backchannel_logout_uri: str | None
    session_required: bool
    version: int
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> "App":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            name=row.name,
            client_id=row.client_id,
            backchannel_logout_uri=row.backchannel_logout_uri,
            session_required=row.session_required,
            version=row.version,
            created_at=row.created_at,
        )

    @property
    def mark(self) -> str:
        return f'"{self.version}"'


def may_be_told_at(uri: str, *, plain: bool) -> bool:
    """Whether a logout token may be sent there: https, and no secret in it. `plain`: http, too, in embedded mode."""
    try:
        url = urlsplit(uri)
        sound = bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    scheme = url.scheme == "https" or (plain and url.scheme == "http")
    written = uri.isascii() and uri.isprintable() and " " not in uri and len(uri) <= LONGEST_URI
    return sound and scheme and written and not url.fragment and "#" not in uri and "@" not in url.netloc


async def add(tx: Transaction, made: App) -> None:
    """Raises ClientIdTaken where the organization has one of this client id."""
    values = {name: getattr(made, name) for name in App.__slots__}
    new = tx.insert(app).values(**values)
    statement = new.on_conflict_do_nothing(index_elements=["organization_id", "client_id"]).returning(app.c.id)
    if (await tx.execute(statement)).first() is None:
        raise ClientIdTaken


async def hold_names(tx: Transaction, organization_id: UUID) -> None:
    """Until commit nobody else takes a client id here; what only names the organization goes on."""
    statement = sa.select(organization.c.id).where(organization.c.id == organization_id)
    await tx.execute(statement.with_for_update(key_share=True))


async def by_id(
    tx: Transaction, organization_id: UUID, app_id: UUID, *, hold: bool = False, keep: bool = False
) -> App | None:
    """`hold`: until commit nobody else changes it. `keep`: nobody removes it."""
    statement = sa.select(app).where(app.c.id == app_id, app.c.organization_id == organization_id)
    if hold:
        statement = statement.with_for_update()
    elif keep:
        statement = statement.with_for_update(read=True, key_share=True)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else App.of(row)


async def page(tx: Transaction, organization_id: UUID, *, after: UUID | None, limit: int) -> list[App]:
    """Oldest first."""
    statement = sa.select(app).where(app.c.organization_id == organization_id).order_by(app.c.id).limit(limit)
    if after is not None:
        statement = statement.where(app.c.id > after)
    return [App.of(row) for row in await tx.execute(statement)]


async def change(tx: Transaction, changed: App) -> None:
    """Raises ClientIdTaken. The organization's apps are held: nobody takes the name in between."""
    other = sa.select(app.c.id).where(
        app.c.organization_id == changed.organization_id,
        app.c.client_id == changed.client_id,
        app.c.id != changed.id,
    )
    if (await tx.execute(other)).first() is not None:
        raise ClientIdTaken
    names = ("name", "client_id", "backchannel_logout_uri", "session_required")
    values = {name: getattr(changed, name) for name in names}
    await tx.execute(sa.update(app).where(app.c.id == changed.id).values(**values, version=app.c.version + 1))


async def remove(tx: Transaction, app_id: UUID) -> None:
    """With all that is known of who used it. What was to be told to it is told no more."""
    await tx.execute(sa.delete(app_use).where(app_use.c.app_id == app_id))
    await tx.execute(sa.delete(app).where(app.c.id == app_id))


async def use(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    app_id: UUID,
    session_id: UUID,
    generation: int,
    now: datetime,
) -> tuple[UUID, bool]:
    """A person launched it, from a sign-in that lives: the `sid`, one for each sign-in and app; whether it is new.

    The account's row is held, and the app is kept.
    """
    values = {
        "id": new_id(now),
        "organization_id": organization_id,
        "account_id": account_id,
        "app_id": app_id,
        "session_id": session_id,
        "generation": generation,
        "first_used_at": now,
        "last_used_at": now,
    }
    new = tx.insert(app_use).values(**values)
    statement = new.on_conflict_do_update(
        index_elements=["session_id", "app_id"], set_={"last_used_at": new.excluded.last_used_at}
    )
    sid: UUID = (await tx.execute(statement.returning(app_use.c.id))).scalar_one()
    return sid, sid == values["id"]


async def move_uses(tx: Transaction, *, old: UUID, new: UUID, generation: int) -> None:
    """A sign-in goes on under another id and generation, and with it what was launched from it."""
    statement = sa.update(app_use).where(app_use.c.session_id == old)
    await tx.execute(statement.values(session_id=new, generation=generation))


@dataclass(frozen=True, slots=True)
class Connected:
    """An app in which somebody's sign-in here goes on."""

    app_id: UUID
    name: str
    first_used_at: datetime
    last_used_at: datetime


CONNECTED_SHOWN: Final = 100


async def connected(tx: Transaction, organization_id: UUID, account_id: UUID, generation: int) -> list[Connected]:
    """The lately used first, and no more of them than a page shows. What was signed out is none any more."""
    last = sa.func.max(app_use.c.last_used_at).label("last_used_at")
    statement = (
        sa.select(app.c.id, app.c.name, sa.func.min(app_use.c.first_used_at).label("first_used_at"), last)
        .join_from(app_use, app, app.c.id == app_use.c.app_id)
        .where(
            app_use.c.organization_id == organization_id,
            app_use.c.account_id == account_id,
            app_use.c.generation >= generation,
        )
        .group_by(app.c.id, app.c.name)
        .order_by(last.desc(), app.c.id)
        .limit(CONNECTED_SHOWN)
    )
    rows = await tx.execute(statement)
    return [Connected(row.id, row.name, row.first_used_at, row.last_used_at) for row in rows]


async def outdate_one(tx: Transaction, over: Session, now: datetime) -> list[UUID]:
    """What was launched from a sign-in that has ended, while others go on: where apps are to be told of it.

    An app that does not ask for sign-ins by name would end them all: it is told with the last of those that live.
    """
    mine = app_use.c.session_id == over.id
    if (await tx.execute(sa.select(app_use.c.id).where(mine).limit(1))).first() is None:
        return []
    others = app_use.alias()
    goes_on = sa.exists().where(
        others.c.app_id == app_use.c.app_id,
        others.c.account_id == app_use.c.account_id,
        others.c.session_id != over.id,
        session.c.id == others.c.session_id,
        session.c.generation == over.generation,
        session.c.ended_at.is_(None),
        session.c.idle_at > now,
        session.c.expires_at > now,
    )
    by_name = sa.exists().where(app.c.id == app_use.c.app_id, app.c.session_required)
    outdated = sa.update(app_use).where(mine, sa.or_(by_name, sa.not_(goes_on))).values(generation=-1)
    where = (await tx.execute(outdated.returning(app_use.c.organization_id))).scalars()
    # What goes on is known by a line of its own, and told of then.
    await tx.execute(sa.delete(app_use).where(mine, app_use.c.generation >= 0))
    return sorted(set(where))


async def outdate(tx: Transaction, organization_id: UUID, account_id: UUID) -> bool:
    """Somebody's sign-ins in this organization are over, whatever their generation. False: no app knows of any."""
    theirs = sa.and_(app_use.c.organization_id == organization_id, app_use.c.account_id == account_id)
    return (await tx.execute(sa.update(app_use).where(theirs).values(generation=-1))).rowcount > 0


async def organizations_of(tx: Transaction, account_id: UUID, *, but: UUID | None = None) -> list[UUID]:
    """Where somebody has launched apps; `but`: where else."""
    belongs = sa.select(membership.c.organization_id).where(membership.c.account_id == account_id)
    statement = (
        sa.select(app_use.c.organization_id)
        .where(
            app_use.c.organization_id.in_(belongs),
            app_use.c.account_id == account_id,
            sa.true() if but is None else app_use.c.organization_id != but,
        )
        .distinct()
        .order_by(app_use.c.organization_id)
    )
    return list((await tx.execute(statement)).scalars())


@dataclass(frozen=True, slots=True)
class Over:
    """An app in which a sign-in is over. `sid` None: all of the person's there."""

    app_id: UUID
    name: str
    sid: UUID | None


async def take_over(tx: Transaction, *, organization_id: UUID, account_id: UUID, generation: int) -> list[Over]:
    """What was launched from sign-ins before this generation: read, and forgotten here, since it is told from now on.

    An app that does not ask for sign-ins by name is told once for all of them.
    """
    dead = sa.and_(
        app_use.c.organization_id == organization_id,
        app_use.c.account_id == account_id,
        app_use.c.generation < generation,
    )
    used = app_use.join(app, app.c.id == app_use.c.app_id)
    sid = sa.case((app.c.session_required, app_use.c.id), else_=sa.null()).label("sid")
    statement = sa.select(app.c.id, app.c.name, sid).select_from(used).where(dead).distinct()
    over = [Over(row.id, row.name, row.sid) for row in await tx.execute(statement)]
    await tx.execute(sa.delete(app_use).where(dead))
    return sorted(over, key=lambda one: (one.name, one.app_id, str(one.sid)))


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Uses of so long ago that no app still holds them."""
    old = sa.select(app_use.c.id).where(app_use.c.last_used_at <= now - APP_USE_KEPT).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(app_use).where(app_use.c.id.in_(old)))).rowcount
