"""How somebody stands to an organization's terms of use: worked out from what they answered, never stored.

Pure: moments are arguments, and each bound is compared as `now >= end`.
"""

import calendar
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

NOTICE: Final = timedelta(days=30)
"""How long before it takes effect a version is announced, and before an end it is told as near."""


def months_later(start: datetime, months: int) -> datetime:
    """The same day so many months later, or that month's last day where it has no such day."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(start.day, last))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Acceptances end all together: at the start, and every so many months after it, counted from the start."""

    starts_at: datetime
    every_months: int

    def first_after(self, moment: datetime) -> datetime:
        """The first such point after this moment. One who accepts at a point itself has until the next."""
        apart = (moment.year - self.starts_at.year) * 12 + moment.month - self.starts_at.month
        count = max(0, apart // self.every_months)
        while (point := months_later(self.starts_at, count * self.every_months)) <= moment:
            count += 1
        return point


@dataclass(frozen=True, slots=True)
class Expiry:
    """When an acceptance ends: by a schedule, so many days after it was given, whichever comes first; or never."""

    schedule: Schedule | None = None
    days: int | None = None

    def end_of(self, accepted_at: datetime) -> datetime | None:
        ends = [] if self.schedule is None else [self.schedule.first_after(accepted_at)]
        if self.days is not None:
            ends.append(accepted_at + timedelta(days=self.days))
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class Version:
    id: UUID
    terms_id: UUID
    number: int
    major: bool
    """Voids what was accepted of every version before it; a minor one voids nothing."""
    effective_at: datetime
    published_at: datetime

    def in_force(self, now: datetime) -> bool:
        return now >= self.effective_at


@dataclass(frozen=True, slots=True)
class Answer:
    """The newest that somebody answered to any version of the terms."""

    id: UUID
    version_id: UUID
    version_number: int
    accepted: bool
    at: datetime


class Status(StrEnum):
    NONE = "none"
    """There is nothing to accept, and nothing is near."""
    CURRENT = "current"
    DUE = "due"
    """All is well until a moment that is near and known."""
    OVERDUE = "overdue"
    DECLINED = "declined"


ASKED: Final = frozenset({Status.OVERDUE, Status.DECLINED})
"""Who stands so is let in by an acceptance alone."""


@dataclass(frozen=True, slots=True)
class Standing:
    status: Status
    version: Version | None
    """The one in force; before there is any, the one that is announced."""
    due_at: datetime | None = None
    """When it ends or ended that all is well, where that is known."""

    @property
    def is_asked(self) -> bool:
        return self.status in ASKED


def in_force(versions: Collection[Version], now: datetime) -> Version | None:
    """The newest that has taken effect."""
    return max((one for one in versions if one.in_force(now)), key=lambda one: one.number, default=None)


def standing(versions: Sequence[Version], expiry: Expiry, answer: Answer | None, now: datetime) -> Standing:
    present = in_force(versions, now)
    coming = sorted((one for one in versions if not one.in_force(now)), key=lambda one: one.number)
    if present is None:
        announced = next((one for one in coming if one.effective_at - now <= NOTICE), None)
        if announced is None:
            return Standing(Status.NONE, None)
        return Standing(Status.DUE, announced, announced.effective_at)
    if answer is None or not answer.accepted:
        # A "no" is said of one version: a newer one is asked anew.
        declined = answer is not None and answer.version_id == present.id
        return Standing(Status.DECLINED if declined else Status.OVERDUE, present)
    voided = [one for one in versions if one.major and one.number > answer.version_number]
    ends = [one.effective_at for one in voided]
    expires_at = expiry.end_of(answer.at)
    if expires_at is not None:
        ends.append(expires_at)
    end = min(ends, default=None)
    if end is None:
        return Standing(Status.CURRENT, present)
    if now >= end:
        return Standing(Status.OVERDUE, present, end)
    return Standing(Status.DUE if end - now <= NOTICE else Status.CURRENT, present, end)


# Languages


def choose(languages: Collection[str], wanted: str | None, default: str) -> str:
    """The exact tag, else its base, else the default; of these texts, in their own spelling."""
    spelled = {one.lower(): one for one in languages}
    tag = (wanted or "").lower()
    return spelled.get(tag) or spelled.get(tag.partition("-")[0]) or default
