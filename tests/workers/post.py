"""Both ends of a delivery for tests: a real mail server that behaves as told, and parcels to send."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from models.delivery import Channel, Delivery, DeliveryState, Link
from models.vocabulary import Secret, new_id
from tests.clock import NOON
from workers.carriers import Parcel

USER, PASSWORD = "latchkey", "p@ss word/%"
ORGANIZATION = UUID(int=1)
_HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@dataclass(frozen=True)
class Certificate:
    """Of one host, and trusted for itself."""

    pem: str
    file: Path

    @classmethod
    def make(cls, folder: Path, host: x509.GeneralName = _HERE) -> "Certificate":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([host]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = folder / "mail.pem"
        file.write_bytes(pem + secret)
        return cls(pem.decode(), file)

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


@dataclass
class MailServer:
    """Says at each step what the test put there; `cut` names the step at which it hangs up."""

    says: dict[str, str] = field(default_factory=dict)
    cut: str | None = None
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    port: int = 0
    refuses: bool = False
    """Every sign-in."""

    def _step(self, name: str, server: SMTP) -> str:
        if self.cut == name:
            server.transport.abort()
        return self.says.get(name, "250 OK")

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self._step("MAIL", server)

    async def handle_RCPT(  # noqa: N802 - as above
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self._step("RCPT", server)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        said = self._step("DATA", server)
        if said.startswith("2"):
            assert envelope.mail_from is not None
            assert isinstance(envelope.content, bytes)
            self.taken.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
            self.tls.append(session.ssl is not None)
        return said

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = not self.refuses and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        if right:
            self.users.append(USER)
        return AuthResult(success=right, handled=False)

    def mail(self, at: int = -1) -> EmailMessage:
        found = message_from_bytes(self.taken[at][2], policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found


@asynccontextmanager
async def serving(
    server: MailServer, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, utf8: bool = True
) -> AsyncIterator[MailServer]:
    loop = asyncio.get_running_loop()
    protocols: list[SMTP] = []

    def accept() -> SMTP:
        wants = {"authenticator": server.authenticate, "auth_require_tls": starttls is not None}
        made = SMTP(
            server, hostname="mail.test", enable_SMTPUTF8=utf8, tls_context=starttls, loop=loop, timeout=20, **wants
        )
        protocols.append(made)
        return made

    listening = await loop.create_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for made in protocols:
            if made.transport is not None:
                made.transport.abort()
        await listening.wait_closed()
        await asyncio.sleep(0)


def parcel(
    to: str = "anna@example.org",
    *,
    channel: Channel = Channel.MAIL,
    key: str = "session.signed_out_everywhere",
    language: str = "en",
    link: Link | None = Link.NOT_ME,
    secret: str | None = "the-token",
    **params: str,
) -> Parcel:
    params = {"at": NOON.isoformat(), "network": "192.0.2.0/24", "browser": "Firefox", "device": "Phone"} | params
    held = Delivery(
        id=new_id(NOON),
        organization_id=ORGANIZATION,
        account_id=None,
        channel=channel,
        key=key,
        params=params,
        language=language,
        link=link,
        content=None,
        state=DeliveryState.QUEUED,
        reason=None,
        attempt=1,
        unsure=0,
        rings=0,
        lease_until=None,
        available_at=NOON,
        created_at=NOON,
        expires_at=NOON + timedelta(hours=72),
        ended_at=None,
    )
    return Parcel(held, to, None if secret is None else Secret(secret.encode()))
