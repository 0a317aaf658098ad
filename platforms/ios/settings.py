"""What iOS must be told: addresses, the push certificate, the device CA, and how devices prove themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from models.vocabulary import Secret
from platforms.identity import DeviceCA, KeyType, load_private_key
from platforms.settings import choice, device_ca, is_near, is_production, needed, public_url, trusted, url

TOPIC_PREFIX: Final = "com.apple.mgmt."
APNS: Final = "https://api.push.apple.com"


class IdentityProof(StrEnum):
    MDM_SIGNATURE = "mdm_signature"
    MTLS = "mtls"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class IosSettings:
    public_url: str
    topic: str
    push_url: str
    push_certificate: str = field(repr=False)
    push_certificate_ends_at: datetime
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
        production = is_production(environ)
        certificate, key = _push_identity(environ)
        topic = needed(environ, "IOS_TOPIC")
        _check_topic(topic, certificate, production=production)
        return cls(
            public_url=public_url(environ),
            topic=topic,
            push_url=_push_url(environ, production=production),
            push_certificate=needed(environ, "IOS_PUSH_CERTIFICATE"),
            push_certificate_ends_at=certificate.not_valid_after_utc,
            push_key=key,
            push_ca=trusted(environ, "IOS_PUSH_CA"),
            device_ca=device_ca(environ),
            identity=choice(environ, "IOS_IDENTITY", IdentityProof.MDM_SIGNATURE),
            key_type=choice(environ, "IOS_KEY", KeyType.RSA),
            organization=environ.get("ORGANIZATION_NAME") or "Latchkey",
        )


def _push_identity(environ: Mapping[str, str]) -> tuple[x509.Certificate, Secret]:
    pem = needed(environ, "IOS_PUSH_CERTIFICATE")
    key = Secret(needed(environ, "IOS_PUSH_KEY").encode())
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


def _push_url(environ: Mapping[str, str], *, production: bool) -> str:
    address = environ.get("IOS_PUSH_URL") or (APNS if production else needed(environ, "IOS_PUSH_URL"))
    parts = url("IOS_PUSH_URL", address)
    if parts.scheme != "https":
        raise ValueError("IOS_PUSH_URL must begin with https://")
    if production and is_near(parts.hostname or ""):
        raise ValueError("IOS_PUSH_URL names this machine or a private network, where no push service lives")
    return address.rstrip("/")
