"""What a person was told: shown, marked, and followed on a stream."""

from dataclasses import dataclass
from uuid import UUID

from models import notification, session
from models.database import Database
from models.errors import NotFound
from models.notification import Notification
from models.session import Who


@dataclass(frozen=True, slots=True)
class Page:
    lines: list[Notification]
    unread: int


async def page(db: Database, who: Who, *, before: int | None, unread_only: bool, limit: int) -> Page:
    async with db.read() as tx:
        now = await tx.now()
        lines = await notification.page(
            tx, who.organization_id, who.account_id, now=now, before=before, unread_only=unread_only, limit=limit
        )
        return Page(lines, await notification.unread(tx, who.organization_id, who.account_id, now))


async def mark(db: Database, who: Who, notification_id: UUID, *, read: bool) -> Notification:
    async with db.write() as tx:
        read_at = await tx.now() if read else None
        line = await notification.mark(tx, who.organization_id, who.account_id, notification_id, read_at=read_at)
    if line is None:
        raise NotFound
    return line


async def mark_read_up_to(db: Database, who: Who, seq: int) -> int:
    """How many stay unread, because they were told after the line that the person saw."""
    async with db.write() as tx:
        now = await tx.now()
        await notification.mark_all_read(tx, who.organization_id, who.account_id, seq, now)
        return await notification.unread(tx, who.organization_id, who.account_id, now)


@dataclass(frozen=True, slots=True)
class Watch:
    """One open stream, as the database needs to know it."""

    session_id: UUID
    organization_id: UUID
    account_id: UUID


@dataclass(frozen=True, slots=True)
class News:
    """`seq`: the account's count when it was asked; nothing up to it is still to come but `lines`."""

    lines: list[Notification]
    seq: int
    unread: int


async def news(db: Database, watch: Watch, seen: int | None, limit: int) -> News | None:
    """What was told since `seen` (None: nothing yet, begin here). None: the session has ended."""
    async with db.read() as tx:
        now = tx.known_now
        whose = watch.organization_id, watch.account_id
        # The count first: a line that is told meanwhile has a number above it, and is not passed over.
        living, told, unread = await tx.together(
            session.living_question(watch.session_id, now),
            notification.after_question(*whose, seen or 0, now, limit if seen is not None else 0),
            notification.unread_question(*whose, now),
        )
    if not living.rows:
        return None
    lines = [Notification.of(row) for row in told.rows]
    return News(lines, living.one().notification_seq, unread.one().unread)


async def counts(db: Database, session_ids: list[UUID]) -> dict[UUID, int]:
    """Of these sessions those that live, each with its account's count, for all open streams at once."""
    async with db.read() as tx:
        return await session.living_among(tx, session_ids, await tx.now())
