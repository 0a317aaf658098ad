"""Who carries a delivery out of the house, and what they are told: a mail server, a gateway for short messages, or, in
embedded mode without either, a folder that a developer reads.

A channel without a carrier sends nothing: its deliveries fail at once, and say so.
"""

import base64
import binascii
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, Self
from urllib.parse import SplitResult, unquote, urlsplit

from models.address import mail_address
from models.delivery import Channel, Delivery
from models.settings import SettingsError
from models.vocabulary import Secret

NOBODY: Final = "Latchkey <no-reply@latchkey.example>"
"""Whom the outbox shows as sender where MAIL_FROM does not say."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A claimed delivery, opened."""

    held: Delivery
    to: str = field(repr=False)
    secret: Secret | None


class Carrier(Protocol):
    async def carry(self, parcel: Parcel) -> None:
        """Returns when the other side took it.

        Raises Unreachable (surely not taken; again later), Refused (final) or Uncertain (nobody can tell).
        """


class Security(StrEnum):
    TLS = "smtps"
    STARTTLS = "smtp+starttls"
    NONE = "smtp"


_PORTS: Final[Mapping[Security, int]] = {Security.TLS: 465, Security.STARTTLS: 587, Security.NONE: 25}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who a mail says it is from."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @classmethod
    def of(cls, text: str) -> Self:
        name, written = parseaddr(text if text.isprintable() else "")
        address = mail_address(written)
        if address is None or not address.isascii():
            raise SettingsError("MAIL_FROM must be an address, or Name <address>")
        return cls(name, address)


@dataclass(frozen=True, slots=True)
class MailSettings:
    security: Security
    host: str
    port: int
    sender: Sender
    user: str | None = field(default=None, repr=False)
    password: Secret | None = None
    ca: str | None = field(default=None, repr=False)
    """Whom to trust for the server's certificate, PEM; None: whom this machine trusts."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self | None:
        """None: no server is named. Raises SettingsError, which never holds the address: a password is part of it."""
        text = environ.get("MAIL_URL")
        if not text:
            return None
        url = _split(text, "MAIL_URL")
        if url.scheme not in list(Security) or not url.hostname or url.path not in {"", "/"} or url.query:
            raise SettingsError("MAIL_URL must be smtps://user:password@host:port or smtp+starttls://…")
        security = Security(url.scheme)
        user, password = url.username, url.password
        if (user is None) != (password is None):
            raise SettingsError("MAIL_URL must hold a user and a password, or neither")
        if security is Security.NONE and not _is_loopback(url.hostname):
            if environ.get("MODE", "production") == "production":
                raise SettingsError("MAIL_URL may be plain smtp to this machine alone: use smtps or smtp+starttls")
            if user is not None:
                raise SettingsError("MAIL_URL would send its password in clear")
        return cls(
            security=security,
            host=url.hostname,
            port=_port(url, "MAIL_URL") or _PORTS[security],
            sender=Sender.of(environ.get("MAIL_FROM", "")),
            user=None if user is None else unquote(user),
            password=None if password is None else Secret(unquote(password).encode()),
            ca=environ.get("MAIL_CA") or None,
        )

    def tls(self) -> ssl.SSLContext | None:
        if self.security is Security.NONE:
            return None
        try:
            return ssl.create_default_context(cadata=self.ca)
        except ssl.SSLError:
            raise SettingsError("MAIL_CA must be certificates, PEM") from None


@dataclass(frozen=True, slots=True)
class SmsSettings:
    url: str = field(repr=False)
    key: Secret

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self | None:
        """None: no gateway is named."""
        text = environ.get("SMS_WEBHOOK_URL")
        if not text:
            return None
        url = _split(text, "SMS_WEBHOOK_URL")
        if url.scheme not in {"https", "http"} or not url.hostname or url.fragment or url.username is not None:
            raise SettingsError("SMS_WEBHOOK_URL must be https://host/path")
        embedded = environ.get("MODE", "production") == "embedded"
        if url.scheme == "http" and not (embedded and _is_loopback(url.hostname)):
            raise SettingsError("SMS_WEBHOOK_URL must be https")
        _port(url, "SMS_WEBHOOK_URL")
        try:
            key = base64.b64decode(environ.get("SMS_WEBHOOK_KEY", ""), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) < 32:
            raise SettingsError("SMS_WEBHOOK_KEY must be at least 32 bytes in base64")
        return cls(text, Secret(key))


def _split(text: str, variable: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        raise SettingsError(f"{variable} is no address") from None


def _port(url: SplitResult, variable: str) -> int | None:
    try:
        return url.port
    except ValueError:
        raise SettingsError(f"{variable} names no port that there is") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def opener(environ: Mapping[str, str]) -> Callable[[], AbstractAsyncContextManager[Mapping[Channel, Carrier]]]:
    """Raises SettingsError here. What a carrier needs is imported where there is one."""
    mail, sms = MailSettings.from_env(environ), SmsSettings.from_env(environ)
    tls = None if mail is None else mail.tls()
    public_url = environ.get("PUBLIC_URL", "").rstrip("/")
    folder = environ.get("DATA_DIR") if environ.get("MODE") == "embedded" else None
    if not public_url and (mail is not None or sms is not None):
        raise SettingsError("PUBLIC_URL is needed: it is where links lead")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Mapping[Channel, Carrier]]:
        carriers: dict[Channel, Carrier] = {}
        if mail is None and sms is None and folder is None:
            yield carriers
            return
        from workers.letters import Letters  # noqa: PLC0415 - a worker that writes to nobody starts without them

        letters = Letters(public_url)
        async with AsyncExitStack() as stack:
            if folder is not None:
                from workers.outbox import Outbox  # noqa: PLC0415 - as above

                outbox = Outbox(Path(folder) / "outbox", letters, Sender.of(environ.get("MAIL_FROM") or NOBODY))
                carriers |= {Channel.MAIL: outbox, Channel.SMS: outbox}
            if mail is not None:
                from workers.mail import MailCarrier  # noqa: PLC0415 - as above

                carriers[Channel.MAIL] = MailCarrier(mail, letters, tls)
            if sms is not None:
                from workers.sms import SmsCarrier  # noqa: PLC0415 - as above

                carriers[Channel.SMS] = await stack.enter_async_context(SmsCarrier(sms, letters))
            yield carriers

    return opened
