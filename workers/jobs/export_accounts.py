"""Write an organization's accounts into a file, so many at a time: a part of it in each transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from models import account, job, organization, profile, role, sheet
from models.csv_text import BOM, write
from models.database import Transaction
from models.event import WORKER
from models.job import Job
from models.sheet import COLUMNS, Sheet
from models.vocabulary import JobState, Outcome, Reason
from workers import jobs
from workers.needs import Needs

AT_ONCE: Final = 500
BATCHES: Final = 100


async def run(needs: Needs, held: Job) -> None:
    for _ in range(BATCHES):
        going = await _write_some(needs, held)
        needs.fault.mark("export.committed")
        if not going:
            return
    await jobs.give_way(needs, held)


async def _write_some(needs: Needs, held: Job) -> bool:
    """Whether there is more to do for this run."""
    async with needs.database.write() as tx:
        current = await jobs.still_held(tx, held)
        found = await sheet.by_job(tx, held.id)
        if current is None or found is None:
            return False
        now = await tx.now()
        if current.state is JobState.QUEUED:
            return await job.begin(tx, current, now)
        if not await _may(tx, found):
            outcome, ended = Outcome(JobState.FAILED, Reason.ROLE_WITHDRAWN), True
        else:
            people = await profile.page_of_organization(tx, found.organization_id, found.last_name, AT_ONCE)
            content = write([_cells(*one) for one in people])
            if found.last_name is None:
                content = BOM + write([COLUMNS]) + content
            last = people[-1][0].sign_in_name if people else None
            await sheet.note_part(tx, needs.keys, found, content, accounts=len(people), last_name=last)
            outcome, ended = Outcome(JobState.SUCCEEDED), len(people) < AT_ONCE
        if ended:
            await jobs.end(tx, current, outcome, actor=WORKER, now=now, fence=True)
        else:
            await job.renew(tx, current, now)
        needs.fault.mark("export.before_commit")
    if ended:
        needs.door.nudge(held.account_id)
    return not ended


async def _may(tx: Transaction, found: Sheet) -> bool:
    row = await account.lock(tx, found.account_id)
    roles = await organization.roles_of(tx, found.organization_id, found.account_id)
    return row is not None and row.blocked_at is None and role.holds(roles, role.CREATORS)


def _cells(row: Any, values: Mapping[str, Any]) -> Sequence[str]:
    own = {"sign_in_name": row.sign_in_name, "display_name": row.display_name, "language": row.language}
    return [str({**values, **own}.get(name) or "") for name in COLUMNS]


close: Final = sheet.close
