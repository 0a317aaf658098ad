"""Where a person belongs: their home organization and the others; taking a session from one to another."""

from uuid import UUID

from api.operations.session import SignedIn, go, hold_row, terms_asked, terms_first
from models import organization, session, terms
from models.database import Database
from models.errors import NotFound, NotSignedIn, TermsRequired
from models.event import Actor
from models.organization import Belonging
from models.session import SessionState, Who


async def page(db: Database, who: Who, *, after: UUID | None, limit: int) -> list[Belonging]:
    async with db.read() as tx:
        return await organization.of_account(tx, who.account_id, after=after, limit=limit)


async def switch(db: Database, who: Who, organization_id: UUID, *, browser_token: str | None, actor: Actor) -> SignedIn:
    """The same sign-in there, under another token; here it is over. What terms ask there comes first, as at a sign-in.

    Whoever owes an answer to terms elsewhere may go home without one, and nowhere else.
    """
    async with db.write() as tx:
        held = await hold_row(tx, who)
        now = await tx.now()
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(held.session_generation, now):
            raise NotSignedIn
        if not await organization.is_member(tx, organization_id, who.account_id):
            raise NotFound
        goes_home = organization_id == who.home_id != who.organization_id
        if asking.state is SessionState.TERMS_REQUIRED and not goes_home:
            owed = await terms.first_asked(tx, terms_asked(who, browser_token), now)
            if owed is not None:
                raise TermsRequired(version_id=owed)
        there, token = await go(tx, who, asking, organization_id, actor=actor, now=now)
        return SignedIn(there, token, None, None, now, await terms_first(tx, there, browser_token, now))
