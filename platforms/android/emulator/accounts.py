"""Service accounts, the tokens they get, and the keys that sign what Google says of itself.

https://developers.google.com/identity/protocols/oauth2/service-account
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from platforms.android.emulator.errors import ApiError
from platforms.android.emulator.http import Request, Response

SCOPE: Final = "https://www.googleapis.com/auth/androidmanagement"
GOOGLE_TOKENS: Final = "https://oauth2.googleapis.com/token"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SKEW: Final = 300
"""Seconds that an assertion's clock may be wrong."""
LIFE: Final = timedelta(seconds=3599)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What Google knows of an account."""

    project: str
    email: str
    key_id: str
    key: rsa.RSAPublicKey = field(repr=False)

    @classmethod
    def from_file(cls, text: str) -> Self:
        """From the key file that its owner was given."""
        content = json.loads(text)
        key = from_pem(content["private_key"])
        return cls(content["project_id"], content["client_email"], content["private_key_id"], key.public_key())


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def to_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def from_pem(pem: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("Google's keys, and those of its accounts, are RSA")
    return key


def new_service_account(project: str, name: str = "latchkey") -> str:
    """A key file, as Google's console hands it out once."""
    pem = to_pem(new_key())
    email = f"{name}@{project}.iam.gserviceaccount.com"
    content = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": secrets.token_hex(20),
        "private_key": pem,
        "client_email": email,
        "client_id": str(10**20 + secrets.randbelow(10**20)),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": GOOGLE_TOKENS,
        "universe_domain": "googleapis.com",
    }
    return json.dumps(content, indent=2)


@dataclass
class TokenOffice:
    """The token endpoint. Takes both audiences that clients write: Google's own address, and the one they ask at."""

    clock: Callable[[], datetime]
    accounts: list[ServiceAccount]
    url: str = ""
    handed_out: int = 0
    _live: dict[str, tuple[ServiceAccount, datetime]] = field(default_factory=dict, repr=False)

    def answer(self, request: Request) -> Response:
        form = parse_qs(request.body.decode("ascii", "replace"))
        if form.get("grant_type") != [GRANT]:
            return _refused("unsupported_grant_type", "Invalid grant_type")
        try:
            account = self._account(form.get("assertion", [""])[0])
        except _InvalidGrant as wrong:
            return _refused(wrong.error, str(wrong))
        token = f"ya29.{secrets.token_urlsafe(48)}"
        self._live[token] = (account, self.clock() + LIFE)
        self.handed_out += 1
        expires = int(LIFE.total_seconds())
        return Response.of({"access_token": token, "expires_in": expires, "token_type": "Bearer"})

    def _account(self, assertion: str) -> ServiceAccount:
        """Whose assertion it is. Raises _InvalidGrant."""
        try:
            head, claims, signature = assertion.split(".")
            header, said = _json(head), _json(claims)
            account = next(account for account in self.accounts if account.email == said["iss"])
            if header["alg"] != "RS256" or header.get("kid", account.key_id) != account.key_id:
                raise _InvalidGrant("Invalid JWT Signature.")
            account.key.verify(_bytes(signature), f"{head}.{claims}".encode(), PKCS1v15(), hashes.SHA256())
            issued, expires = int(said["iat"]), int(said["exp"])
            audience, scope = said["aud"], str(said.get("scope", ""))
        except StopIteration:
            raise _InvalidGrant("Invalid grant: account not found") from None
        except InvalidSignature:
            raise _InvalidGrant("Invalid JWT Signature.") from None
        except (ValueError, KeyError, TypeError):
            raise _InvalidGrant("Bad Request") from None
        now = self.clock().timestamp()
        if issued > now + SKEW or expires < now or expires > issued + 3600:
            raise _InvalidGrant(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your"
                " iat and exp values in the JWT claim."
            )
        if audience not in {GOOGLE_TOKENS, self.url}:
            raise _InvalidGrant("Invalid JWT: Failed audience check.")
        if SCOPE not in scope.split():
            raise _InvalidGrant("Invalid OAuth scope or ID token audience provided.", "invalid_scope")
        return account

    def account_of(self, request: Request) -> ServiceAccount:
        """Raises ApiError (401)."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            message = "Request is missing required authentication credential."
            raise _unauthenticated(message, "CREDENTIALS_MISSING")
        account, until = self._live.get(token, (None, None))
        if account is None or until is None or self.clock() >= until:
            raise _unauthenticated("Request had invalid authentication credentials.", "ACCESS_TOKEN_EXPIRED")
        return account

    def revoke(self) -> None:
        """No token that is out is good any more."""
        self._live.clear()


class _InvalidGrant(Exception):
    def __init__(self, description: str, error: str = "invalid_grant") -> None:
        super().__init__(description)
        self.error = error


def _refused(error: str, description: str) -> Response:
    return Response.of({"error": error, "error_description": description}, 400)


def _unauthenticated(message: str, reason: str) -> ApiError:
    help_ = " Expected OAuth 2 access token, login cookie or other valid authentication credential."
    headers = {"www-authenticate": 'Bearer realm="https://accounts.google.com/"'}
    told = {"service": "androidmanagement.googleapis.com"}
    return ApiError(401, message + help_, reason=reason, metadata=told, headers=headers)


class Signer:
    """Signs the tokens that Pub/Sub sends along with each push, with keys that change."""

    def __init__(self, clock: Callable[[], datetime], issuer: str, key: rsa.RSAPrivateKey | None = None) -> None:
        """`key`: to begin with; else one is made."""
        self._clock = clock
        self.issuer = issuer
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.keep = timedelta(hours=5)
        """How long who fetches the keys may keep them."""
        self.fetched = 0
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}
        self._sign_with(new_key() if key is None else key)

    def rotate(self, *, forget: bool = False) -> None:
        """A new key signs from now on; `forget`: the old ones are not published any more."""
        if forget:
            self.keys.clear()
        self._sign_with(new_key())

    def _sign_with(self, key: rsa.RSAPrivateKey) -> None:
        number = key.public_key().public_numbers().n
        self._kid = hashlib.sha256(str(number).encode()).hexdigest()[:40]
        self.keys[self._kid] = key
        self._tokens.clear()

    def token(self, audience: str, email: str) -> str:
        """Lives an hour, and is used again for the best part of it, as Pub/Sub does."""
        now = self._clock().timestamp()
        known, until = self._tokens.get((audience, email), ("", 0.0))
        if now < until:
            return known
        claims = {"aud": audience, "azp": str(10**20 + 7), "email": email, "email_verified": True}
        claims |= {"exp": int(now) + 3600, "iat": int(now), "iss": self.issuer, "sub": str(10**20 + 7)}
        token = self.sign(claims)
        self._tokens[audience, email] = (token, now + 3000)
        return token

    def sign(self, claims: Mapping[str, Any], *, header: Mapping[str, Any] | None = None) -> str:
        head = {"alg": "RS256", "kid": self._kid, "typ": "JWT"} if header is None else header
        signed = f"{_packed(head)}.{_packed(claims)}"
        signature = self.keys[self._kid].sign(signed.encode(), PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def jwks(self) -> Response:
        self.fetched += 1
        keys = []
        for kid, key in self.keys.items():
            numbers = key.public_key().public_numbers()
            spelled = {"n": _number(numbers.n), "e": _number(numbers.e)}
            keys.append({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, **spelled})
        return Response.of({"keys": keys}, headers=self._kept())

    def certificates(self) -> Response:
        """The same keys as a map of PEM certificates."""
        self.fetched += 1
        pems = {kid: _certificate(key, self._clock()) for kid, key in self.keys.items()}
        return Response.of(pems, headers=self._kept())

    def _kept(self) -> dict[str, str]:
        return {"cache-control": f"public, max-age={int(self.keep.total_seconds())}, must-revalidate, no-transform"}


def _certificate(key: rsa.RSAPrivateKey, now: datetime) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=16))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def _packed(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(text: str) -> dict[str, Any]:
    value = json.loads(_bytes(text))
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _number(number: int) -> str:
    width = (number.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(number.to_bytes(width)).rstrip(b"=").decode()
