"""What the settings of every platform are read with. Raises ValueError that names the variable, never its value."""

import ipaddress
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from cryptography import x509

from models.vocabulary import Secret
from platforms.identity import DeviceCA

Choice = TypeVar("Choice", bound=StrEnum)


def is_production(environ: Mapping[str, str]) -> bool:
    return environ.get("MODE", "production") != "embedded"


def needed(environ: Mapping[str, str], variable: str) -> str:
    value = environ.get(variable, "")
    if not value.strip():
        raise ValueError(f"{variable} is missing")
    return value


def choice(environ: Mapping[str, str], variable: str, default: Choice) -> Choice:
    value = environ.get(variable) or default.value
    try:
        return type(default)(value)
    except ValueError:
        raise ValueError(f"{variable} must be one of {', '.join(type(default))}") from None


def public_url(environ: Mapping[str, str]) -> str:
    address = needed(environ, "PUBLIC_URL")
    parts = url("PUBLIC_URL", address)
    if is_production(environ) and parts.scheme != "https":
        raise ValueError("PUBLIC_URL must begin with https://: devices enrol over TLS alone")
    return address.rstrip("/")


def url(variable: str, value: str) -> SplitResult:
    """Scheme, host and perhaps a port: nothing more."""
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise ValueError(f"{variable} must be https://host or https://host:port")
    return parts


def is_near(host: str) -> bool:
    """This machine or a private network, by its name alone."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(name.partition("%")[0]).is_global
    except ValueError:
        # One word is a name of this network; and resolvers read 127.1 and 0x7f000001 as addresses.
        last = name.rpartition(".")[2]
        return last == name or last.isdigit() or last.startswith("0x")


def trusted(environ: Mapping[str, str], variable: str) -> str | None:
    """Certificates (PEM) to trust at a service; None: whom this machine trusts."""
    pem = environ.get(variable) or None
    if pem is not None:
        try:
            x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            raise ValueError(f"{variable} is not a PEM certificate") from None
    return pem


def device_ca(environ: Mapping[str, str]) -> DeviceCA:
    certificate = needed(environ, "DEVICE_CA_CERTIFICATE")
    key = Secret(needed(environ, "DEVICE_CA_KEY").encode())
    try:
        return DeviceCA.from_pem(certificate, key)
    except ValueError as error:
        raise ValueError(f"DEVICE_CA_CERTIFICATE, DEVICE_CA_KEY: {error}") from None
