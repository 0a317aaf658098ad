"""How an organization looks: its logos and its picture, as we made them from what was given, never the files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction

organization_picture = sa.Table(
    "organization_picture",
    metadata,
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="WebP"),
    sa.Column("changed_at", Moment, nullable=False),
)


class PictureKind(StrEnum):
    LOGO_ON_THEME = "logo_on_theme"
    """To be shown on the organization's colour."""
    LOGO_ON_LIGHT = "logo_on_light"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Picture:
    content: bytes
    changed_at: datetime

    @property
    def mark(self) -> str:
        """The ETag."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def _of(organization_id: UUID, kind: PictureKind) -> sa.ColumnElement[bool]:
    return sa.and_(organization_picture.c.organization_id == organization_id, organization_picture.c.kind == kind.value)


async def of_organization(tx: Transaction, organization_id: UUID, kind: PictureKind) -> Picture | None:
    row = (await tx.execute(sa.select(organization_picture).where(_of(organization_id, kind)))).one_or_none()
    return None if row is None else Picture(row.content, row.changed_at)


async def changes(tx: Transaction, organization_id: UUID) -> Mapping[PictureKind, datetime]:
    """Those there are, and when each was changed."""
    columns = organization_picture.c
    statement = sa.select(columns.kind, columns.changed_at).where(columns.organization_id == organization_id)
    return {PictureKind(row.kind): row.changed_at for row in await tx.execute(statement)}


async def keep(tx: Transaction, organization_id: UUID, kind: PictureKind, content: bytes, now: datetime) -> None:
    """In place of the earlier one. The organization's row is held."""
    await remove(tx, organization_id, kind)
    values = {"organization_id": organization_id, "kind": kind.value, "content": content, "changed_at": now}
    await tx.execute(sa.insert(organization_picture).values(**values))


async def remove(tx: Transaction, organization_id: UUID, kind: PictureKind) -> bool:
    return (await tx.execute(sa.delete(organization_picture).where(_of(organization_id, kind)))).rowcount == 1
