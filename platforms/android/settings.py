"""What Android must be told: the service account that gives orders, our enterprises, and who sends us notices."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from models.vocabulary import Secret
from platforms.android.oidc import Expected
from platforms.android.wire import ENTERPRISE
from platforms.identity import load_private_key
from platforms.settings import is_near, is_production, needed, public_url, trusted

GOOGLE: Final = frozenset({"https://accounts.google.com", "accounts.google.com"})
API: Final = "https://androidmanagement.googleapis.com"
TOKENS: Final = "https://oauth2.googleapis.com/token"
KEYS: Final = "https://www.googleapis.com/oauth2/v3/certs"

_SWITCHES: Final = ("ANDROID_SERVICE_ACCOUNT", "ANDROID_ENTERPRISE", "ANDROID_SUBSCRIPTION", "ANDROID_PUSH_ACCOUNT")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    email: str
    key_id: str
    project: str
    private_key: Secret

    def load_key(self) -> RSAPrivateKey:
        """Raises ValueError."""
        key = load_private_key(self.private_key)
        if not isinstance(key, RSAPrivateKey) or key.key_size < 2048:
            raise ValueError("not an RSA key of 2048 bits or more")
        return key


@dataclass(frozen=True, slots=True)
class AndroidSettings:
    service_account: ServiceAccount
    enterprises: tuple[str, ...]
    """Ours; new devices enrol in the first."""
    subscription: str
    push: Expected
    """Whose token a notice must bring."""
    api_url: str = API
    token_url: str = TOKENS
    keys_url: str = KEYS
    trusted: str | None = field(default=None, repr=False)
    """Whom to trust at these three; None: whom this machine trusts."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self | None:
        """None: nothing is said of Android, so it is switched off. Raises ValueError that names the variable."""
        if not any(environ.get(variable, "").strip() for variable in _SWITCHES):
            return None
        api, tokens, keys = (API, TOKENS, KEYS) if is_production(environ) else _stand_in(environ)
        return cls(
            service_account=_service_account(environ),
            enterprises=_enterprises(environ),
            subscription=needed(environ, "ANDROID_SUBSCRIPTION").strip(),
            push=Expected(
                issuers=_issuers(environ),
                audience=environ.get("ANDROID_PUSH_AUDIENCE") or f"{public_url(environ)}/devices/android/notices",
                account=needed(environ, "ANDROID_PUSH_ACCOUNT").strip(),
            ),
            api_url=_url(environ, "ANDROID_API_URL", api),
            token_url=_url(environ, "ANDROID_TOKEN_URL", tokens),
            keys_url=_url(environ, "ANDROID_KEYS_URL", keys),
            trusted=trusted(environ, "ANDROID_PUSH_CA"),
        )


def _service_account(environ: Mapping[str, str]) -> ServiceAccount:
    try:
        values = json.loads(needed(environ, "ANDROID_SERVICE_ACCOUNT"))
    except json.JSONDecodeError:
        values = None
    names = ("client_email", "private_key_id", "project_id", "private_key")
    if not isinstance(values, dict) or not all(isinstance(values.get(name), str) and values[name] for name in names):
        raise ValueError(f"ANDROID_SERVICE_ACCOUNT must be a key file: JSON with {', '.join(names)}")
    account = ServiceAccount(
        email=values["client_email"],
        key_id=values["private_key_id"],
        project=values["project_id"],
        private_key=Secret(values["private_key"].encode()),
    )
    try:
        account.load_key()
    except ValueError:
        raise ValueError("ANDROID_SERVICE_ACCOUNT: private_key is not an RSA key (PEM) of 2048 bits or more") from None
    return account


def _enterprises(environ: Mapping[str, str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in needed(environ, "ANDROID_ENTERPRISE").split(","))
    if any(ENTERPRISE.fullmatch(name) is None for name in names):
        raise ValueError("ANDROID_ENTERPRISE must be enterprises/NAME, or several with commas between them")
    return names


def _issuers(environ: Mapping[str, str]) -> frozenset[str]:
    issuer = environ.get("ANDROID_PUSH_ISSUER", "").strip()
    if is_production(environ) and issuer and issuer not in GOOGLE:
        raise ValueError("ANDROID_PUSH_ISSUER names an issuer that is not Google: that is for MODE=embedded alone")
    return frozenset({issuer}) if issuer else GOOGLE


def _stand_in(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """One address for all that is Google's. The demo names each stand-in by https; ours has no certificate."""
    url = environ.get("ANDROID_PUSH_URL", "").strip().rstrip("/")
    if not url:
        return "", "", ""
    _parts("ANDROID_PUSH_URL", url)
    if not environ.get("ANDROID_PUSH_CA"):
        url = url.replace("https://", "http://", 1)
    return url, f"{url}/token", f"{url}/oauth2/v3/certs"


def _url(environ: Mapping[str, str], variable: str, default: str) -> str:
    address = environ.get(variable, "").strip().rstrip("/") or default or needed(environ, variable)
    parts = _parts(variable, address)
    if is_production(environ) and parts.scheme != "https":
        raise ValueError(f"{variable} must begin with https://")
    if is_production(environ) and is_near(parts.hostname or ""):
        raise ValueError(f"{variable} names this machine or a private network, where Google does not live")
    return address


def _parts(variable: str, address: str) -> SplitResult:
    """Host and path: the token's and the keys' addresses have one."""
    try:
        parts = urlsplit(address)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{variable} must be an address that begins with https://")
    return parts
