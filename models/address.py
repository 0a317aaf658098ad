"""Where a person may be written to: which texts are addresses that we write to, and which of them are a person's.

One place for both, so that a way of reaching somebody is added here and nowhere else.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import idna
import sqlalchemy as sa

from models.account import account
from models.contact import IN_FORCE, SETTLED, Contact, contact
from models.database import Transaction
from models.hot import Answer, Hot, Question
from models.sealed import Keyring, SealBroken
from models.verification import VerificationKind

LONGEST: Final = 254
"""RFC 5321, 4.5.3.1.3, without its angle brackets."""
_LOCAL: Final = re.compile(r"[^\s@\"(),:;<>\[\\\]\x00-\x1f\x7f-\x9f.]+(\.[^\s@\"(),:;<>\[\\\]\x00-\x1f\x7f-\x9f.]+)*")
"""Dots between what is not space, quote or bracket. RFC 5321 knows quoted names as well: nobody has one, and they are
what header injection is made of."""
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}")
"""E.164."""


def mail_address(text: str) -> str | None:
    """As it is written to a server: the domain in its ASCII form (IDNA 2008). None: nothing that we write to.

    The part before the @ may hold letters of any script (RFC 6531); a server that cannot take those says so.
    """
    local, at, domain = text.strip().rpartition("@")
    if not at or len(local.encode()) > 64 or not local.isprintable() or not _LOCAL.fullmatch(local):
        return None
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return None
    labels = ascii_domain.split(".")
    # A name without a dot is a machine of this network, a last label of digits an address.
    if len(labels) < 2 or not all(labels) or labels[-1].isdigit():
        return None
    written = f"{local}@{ascii_domain}"
    return written if len(written.encode()) <= LONGEST else None


def phone_number(text: str) -> str | None:
    """As E.164 says: a plus and digits; spaces, dots, hyphens and brackets between them are a person's habit."""
    digits = re.sub(r"[ .()\-\u00a0]", "", text)
    return digits if _NUMBER.fullmatch(digits) else None


_WITH_COUNTRY: Final = re.compile(r"\+[1-9][0-9]{0,2} [0-9(][0-9 .()\-]*")


def authentication_number(text: str) -> str | None:
    """As `phone_number`, of a text that says where the country's code ends: `+31 612345678`.

    Who types somebody else's number types it from a list, and a digit that is missing is seen at that place.
    """
    return phone_number(text) if _WITH_COUNTRY.fullmatch(text.strip()) else None


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a person is written to, and in which language."""

    mails: tuple[str, ...]
    language: str
    confirmed: Mapping[str, datetime] = field(default_factory=dict)
    """When, of those that had to be."""

    def settled(self, now: datetime) -> tuple[str, ...]:
        """Those that were the person's yesterday: what opens an account goes to none that a thief may have added."""
        return tuple(mail for mail in self.mails if mail not in self.confirmed or now >= self.confirmed[mail] + SETTLED)


_ACCOUNT: Final = Hot(
    sa.select(account.c.sign_in_name, account.c.language, contact)
    .outerjoin(
        contact,
        sa.and_(
            contact.c.account_id == account.c.id,
            contact.c.kind == VerificationKind.EMAIL.value,
            IN_FORCE,
        ),
    )
    .where(account.c.id == sa.bindparam("whose"))
    .order_by(contact.c.id)
)


def question(account_id: UUID) -> Question:
    """For who asks other things in the same breath; `read` makes a letterbox of the answer."""
    return _ACCOUNT, {"whose": account_id}


async def of_account(tx: Transaction, account_id: UUID, keys: Keyring) -> Letterbox:
    """Every address that notices about this account go to: its name where that is one, and each that was confirmed."""
    (answer,) = await tx.together(question(account_id))
    return read(answer, keys)


def read(answer: Answer, keys: Keyring) -> Letterbox:
    first = answer.rows[0]
    name = mail_address(first.sign_in_name)
    confirmed: dict[str, datetime] = {}
    for held in [Contact.of(row) for row in answer.rows if row.id is not None]:
        if held.confirmed_at is not None:
            # One that no key opens any more keeps the notice from none of the others.
            with contextlib.suppress(SealBroken):
                confirmed[held.open(keys)] = held.confirmed_at
    own = () if name is None else (name,)
    mails = tuple(dict.fromkeys([*own, *confirmed]))
    return Letterbox(mails, first.language, {mail: at for mail, at in confirmed.items() if mail not in own})
