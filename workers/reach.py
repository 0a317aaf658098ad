"""Where an address that an administrator of one organization wrote down may lead: out of the house, or to a network
that the operator named.

The name is resolved here, every address it stands for is looked at, and the connection goes to the very address that
was found good: a name that answers otherwise a moment later leads nowhere else.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final, TypeAlias
from uuid import UUID
from weakref import WeakValueDictionary

import httpx

from platforms.errors import Refused, Unreachable
from workers.settings import Network

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""Blocks: only the system's own way knows all that a name may be."""

TRIED: Final = 4
"""Of a name's addresses, one after the other."""
CONNECT: Final = 1.5
"""Seconds for each of them: all together below the patience for one app, or the last would never get its turn."""
PATIENT: Final = 1.5
"""Seconds for a name, beside those."""
LOOK_UPS: Final = 64
"""Names that are looked up at once, by threads that are made when they are needed. Nothing stops one that waits for a
resolver: it ends in its own time."""
LOOK_UPS_EACH: Final = 4
"""Of them for one organization: who answers for its names is its own choice, and may never answer."""
ONCE: Final = httpx.Limits(max_keepalive_connections=0)
WHOSE: Final = "whose"
"""Of a request's extensions: the organization that wrote the address down."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: the IPv4 address is its last 32 bits."""


def may_lead_to(address: Address, meant: Sequence[Network] = ()) -> bool:
    """Whether it stands in the public internet, or in a network that is meant."""
    inner = _inner(address)
    if any(one in network for one in (address, inner) for network in meant if one.version == network.version):
        return True
    return _is_public(address if inner == address else inner)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, where it is only its wrapping."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    inside = (
        not address.is_global
        or address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    return not inside and not (isinstance(address, IPv6Address) and address.is_site_local)


def resolve(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class LookUps:
    """Names are asked for in threads of their own: one that hangs holds up nothing else that waits for a thread.

    A name that is asked for again while it hangs is the same question, so each holds one thread at most.
    """

    def __init__(self, resolve: Resolve = resolve, *, patient: float = PATIENT) -> None:
        self._resolve = resolve
        self._patient = patient
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="names")
        self._under_way: dict[tuple[UUID | None, str, int], Future[Sequence[str]]] = {}
        self._places: WeakValueDictionary[UUID | None, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, whose: UUID | None, host: str, port: int) -> Sequence[str]:
        """Raises TimeoutError and what else the resolver says, all of it OSError; or UnicodeError."""
        async with asyncio.timeout(self._patient):
            # Whoever no longer waits for it takes it from nobody else.
            return await asyncio.shield(asyncio.wrap_future(await self._asked((whose, host, port))))

    async def _asked(self, question: tuple[UUID | None, str, int]) -> Future[Sequence[str]]:
        whose, host, port = question
        if (asked := self._under_way.get(question)) is not None:
            return asked
        places = self._places.setdefault(whose, asyncio.Semaphore(LOOK_UPS_EACH))
        await places.acquire()
        if (asked := self._under_way.get(question)) is not None:
            places.release()
            return asked
        loop = asyncio.get_running_loop()

        def over() -> None:
            del self._under_way[question]
            places.release()

        def from_its_thread(_: Future[Sequence[str]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(over)

        asked = self._under_way[question] = self._threads.submit(self._resolve, host, port)
        asked.add_done_callback(from_its_thread)
        return asked

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Outside(httpx.AsyncBaseTransport):
    """A transport that connects to checked addresses alone. Raises Refused("address_inside"), Unreachable("name")."""

    def __init__(
        self,
        meant: Sequence[Network] = (),
        resolve: Resolve = resolve,
        out: httpx.AsyncBaseTransport | None = None,
        *,
        patient: float = PATIENT,
    ) -> None:
        self._meant = tuple(meant)
        self._look_up = LookUps(resolve, patient=patient)
        # A connection is to an address, and its certificate was checked for one name: it is never used again, so that
        # nobody is told over a connection that was made for somebody else at the same address.
        self._out = out or httpx.AsyncHTTPTransport(trust_env=False, limits=ONCE)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii").strip("[]")
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = await self._addresses(request.extensions.get(WHOSE), host, port)
        timeout = {**request.extensions.get("timeout", {}), "connect": CONNECT}
        for place, address in enumerate(addresses, start=1):
            sent = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # Host among them, as it was written
                stream=request.stream,
                extensions={**request.extensions, "timeout": timeout, "sni_hostname": host},
            )
            try:
                return await self._out.handle_async_request(sent)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                # Nothing was said yet.
                if place == len(addresses):
                    raise
        raise AssertionError  # there is one at least

    async def _addresses(self, whose: UUID | None, host: str, port: int) -> list[str]:
        try:
            found = [ipaddress.ip_address(one) for one in await self._all(whose, host, port)]
        except UnicodeError:
            raise Refused("address_unreadable") from None
        except OSError:
            raise Unreachable("name") from None
        good = [str(one) for one in dict.fromkeys(found) if may_lead_to(one, self._meant)]
        if not good:
            raise Refused("address_inside")
        return good[:TRIED]

    async def _all(self, whose: UUID | None, host: str, port: int) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            # Also for what is an address in a spelling of its own, like 0x7f.1: the resolver knows it.
            return await self._look_up(whose, host, port)

    async def aclose(self) -> None:
        self._look_up.close()
        await self._out.aclose()
