"""What iOS must be told: addresses, the push certificate, the device CA, and how devices prove themselves."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from models.vocabulary import Secret
from platforms.identity import DeviceCA, load_private_key

TOPIC_PREFIX: Final = "com.apple.mgmt."
APNS: Final = "https://api.push.apple.com"


Choice = TypeVar("Choice", bound=StrEnum)


class IdentityProof(StrEnum):
    MDM_SIGNATURE = "mdm_signature"
    MTLS = "mtls"
    BOTH = "both"


class KeyType(StrEnum):
    """Of the identities we make. RSA is what every device reads; P-256 is made in no time."""

    RSA = "rsa"
    EC = "ec"


@dataclass(frozen=True, slots=True)
class IosSettings:
    public_url: str
    topic: str
    push_url: str
    push_certificate: str = field(repr=False)
    push_key: Secret
    push_ca: str | None = field(repr=False)
    """Whom to trust at the push service; None: whom this machine trusts."""
    device_ca: DeviceCA = field(repr=False)
    identity: IdentityProof = IdentityProof.MDM_SIGNATURE
    key_type: KeyType = KeyType.RSA
    organization: str = "Latchkey"

    @property
    def devices_url(self) -> str:
        return f"{self.public_url}/devices/ios"

    @property
    def profile_identifier(self) -> str:
        """Stable for one installation: it decides whether a profile replaces another."""
        host = urlsplit(self.public_url).hostname or ""
        return ".".join([*reversed(host.replace(":", "-").split(".")), "latchkey"])

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises ValueError that names the variable, never its value."""
        production = environ.get("MODE", "production") != "embedded"
        certificate, key = _push_identity(environ)
        topic = _needed(environ, "IOS_TOPIC")
        _check_topic(topic, certificate, production=production)
        return cls(
            public_url=_public_url(environ, production=production),
            topic=topic,
            push_url=_push_url(environ, production=production),
            push_certificate=_needed(environ, "IOS_PUSH_CERTIFICATE"),
            push_key=key,
            push_ca=_push_ca(environ),
            device_ca=_device_ca(environ),
            identity=_choice(environ, "IOS_IDENTITY", IdentityProof.MDM_SIGNATURE),
            key_type=_choice(environ, "IOS_KEY", KeyType.RSA),
            organization=environ.get("ORGANIZATION_NAME") or "Latchkey",
        )


def _needed(environ: Mapping[str, str], variable: str) -> str:
    value = environ.get(variable, "")
    if not value.strip():
        raise ValueError(f"{variable} is missing")
    return value


def _choice(environ: Mapping[str, str], variable: str, default: Choice) -> Choice:
    value = environ.get(variable) or default.value
    try:
        return type(default)(value)
    except ValueError:
        raise ValueError(f"{variable} must be one of {', '.join(type(default))}") from None


def _push_identity(environ: Mapping[str, str]) -> tuple[x509.Certificate, Secret]:
    pem = _needed(environ, "IOS_PUSH_CERTIFICATE")
    key = Secret(_needed(environ, "IOS_PUSH_KEY").encode())
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise ValueError("IOS_PUSH_CERTIFICATE is not a PEM certificate") from None
    try:
        belongs = load_private_key(key).public_key() == certificate.public_key()
    except ValueError:
        raise ValueError("IOS_PUSH_KEY is not an unencrypted PEM key, RSA or EC") from None
    if not belongs:
        raise ValueError("IOS_PUSH_KEY does not belong to IOS_PUSH_CERTIFICATE")
    return certificate, key


def _check_topic(topic: str, certificate: x509.Certificate, *, production: bool) -> None:
    """The topic is the certificate's subject UID; the push service takes no other."""
    if not topic.startswith(TOPIC_PREFIX):
        raise ValueError(f"IOS_TOPIC must begin with {TOPIC_PREFIX}")
    named = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.USER_ID)]
    if named != [topic] and (production or named):
        raise ValueError("IOS_TOPIC is not the subject UID of IOS_PUSH_CERTIFICATE")


def _public_url(environ: Mapping[str, str], *, production: bool) -> str:
    url = _needed(environ, "PUBLIC_URL")
    parts = _url("PUBLIC_URL", url)
    if production and parts.scheme != "https":
        raise ValueError("PUBLIC_URL must begin with https://: devices enrol over TLS alone")
    return url.rstrip("/")


def _push_url(environ: Mapping[str, str], *, production: bool) -> str:
    url = environ.get("IOS_PUSH_URL") or (APNS if production else _needed(environ, "IOS_PUSH_URL"))
    parts = _url("IOS_PUSH_URL", url)
    if parts.scheme != "https":
        raise ValueError("IOS_PUSH_URL must begin with https://")
    if production and _is_near(parts.hostname or ""):
        raise ValueError("IOS_PUSH_URL names this machine or a private network, where no push service lives")
    return url.rstrip("/")


def _url(variable: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise ValueError(f"{variable} must be https://host or https://host:port")
    return parts


def _is_near(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(name.partition("%")[0]).is_global
    except ValueError:
        # One word is a name of this network; and resolvers read 127.1 and 0x7f000001 as addresses.
        last = name.rpartition(".")[2]
        return last == name or last.isdigit() or last.startswith("0x")


def _push_ca(environ: Mapping[str, str]) -> str | None:
    pem = environ.get("IOS_PUSH_CA") or None
    if pem is not None:
        try:
            x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            raise ValueError("IOS_PUSH_CA is not a PEM certificate") from None
    return pem


def _device_ca(environ: Mapping[str, str]) -> DeviceCA:
    certificate = _needed(environ, "DEVICE_CA_CERTIFICATE")
    key = Secret(_needed(environ, "DEVICE_CA_KEY").encode())
    try:
        return DeviceCA.from_pem(certificate, key)
    except ValueError as error:
        raise ValueError(f"DEVICE_CA_CERTIFICATE, DEVICE_CA_KEY: {error}") from None
