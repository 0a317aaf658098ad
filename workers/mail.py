"""Mail over SMTP (RFC 5321), submitted to one server: TLS from the first byte, or STARTTLS that is insisted on.

One connection a mail: a person's notices are few, and a connection kept open is one more thing that can be stale.
A mail that is sent a second time, because nobody saw the end of the first, has the same Message-ID.
"""

import asyncio
import contextlib
import ssl
from datetime import timedelta
from typing import Final

import aiosmtplib

from platforms.errors import PlatformError, Refused, Uncertain, Unreachable
from workers.carriers import MailSettings, Parcel, Security
from workers.envelope import compose
from workers.letters import Letters

COMMAND_PATIENCE: Final = timedelta(seconds=20)
PATIENCE: Final = timedelta(seconds=60)
"""For the whole talk; below the lease of a delivery."""


class MailCarrier:
    def __init__(self, settings: MailSettings, letters: Letters, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._letters = letters
        self._tls = tls

    async def carry(self, parcel: Parcel) -> None:
        settings, message = self._settings, compose(parcel, self._letters, self._settings.sender)
        needs_utf8 = not parcel.to.isascii()
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.security is Security.TLS,
            start_tls=settings.security is Security.STARTTLS,
            tls_context=self._tls,
            timeout=COMMAND_PATIENCE.total_seconds(),
            local_hostname=settings.sender.domain,
        )
        handed_over = False
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await client.connect()
                if settings.user is not None and settings.password is not None:
                    await client.login(settings.user, settings.password.text())
                if client.is_ehlo_or_helo_needed:
                    await client.ehlo()
                if needs_utf8 and not client.supports_extension("smtputf8"):
                    raise Refused("smtputf8_missing")
                options = ["SMTPUTF8", "BODY=8BITMIME"] if needs_utf8 else []
                await client.mail(settings.sender.address, options=options, encoding="utf-8")
                await client.rcpt(parcel.to, encoding="utf-8")
                handed_over = True
                await client.data(message)
        except PlatformError:
            raise
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise _meaning(error, handed_over=handed_over) from None
        finally:
            await _part(client)


async def _part(client: aiosmtplib.SMTP) -> None:
    """What was taken is taken: how they part changes nothing."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        if client.is_connected:
            await client.quit(timeout=2)
    client.close()


def _meaning(error: Exception, *, handed_over: bool) -> PlatformError:
    """What to do next. The server's own words stay where they are: they quote addresses."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        word = f"smtp_{error.code}"
        final = isinstance(error, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError) and error.code >= 500
        # Of a refused sign-in or sender the mail is not the cause: the operator is, and can mend it.
        return Refused(word) if final else Unreachable(word)
    if handed_over:
        return Uncertain("cut_off")
    if isinstance(error, TimeoutError):
        return Unreachable("timeout")
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Unreachable("tls")
    return Unreachable("connection" if isinstance(error, OSError) else "not_supported")
