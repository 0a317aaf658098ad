"""A letter as a mail's bytes: what a mail server is handed, and what the outbox keeps."""

from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from workers.carriers import Parcel, Sender
from workers.letters import Letters


def compose(parcel: Parcel, letters: Letters, sender: Sender) -> bytes:
    """The mail's bytes, the same each time. Raises Refused where there are no words for it."""
    held, letter = parcel.held, letters.mail(parcel)
    rules = policy.SMTP if parcel.to.isascii() else policy.SMTPUTF8
    message = EmailMessage(policy=rules)
    # A header's value with a line end in it is refused by the library; none of these can hold one.
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["To"] = parcel.to
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(held.created_at)
    message["Message-ID"] = f"<{held.id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in answer
    message.set_content(letter.plain, cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = letter.language  # at the end: with its content a message gets new Content- headers
    message.set_boundary(f"=_{held.id.hex}")
    return message.as_bytes()
