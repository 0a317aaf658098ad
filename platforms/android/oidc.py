"""Who sent a notice: the token that Pub/Sub signs for each push. Pure; the keys come from the channel.

https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from models.vocabulary import EPOCH
from platforms.errors import KeysNeeded, Unreadable

SKEW: Final = timedelta(seconds=30)
MAX_TOKEN: Final = 8192
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Expected:
    issuers: frozenset[str]
    audience: str
    account: str
    """The one service account whose word we take."""


def verify(header: str, signers: Mapping[str, bytes], expected: Expected, now: datetime) -> bool:
    """Whether it is the account that we expect: False is another one's sound token.

    Raises Unreadable (no token, or a bad one) or KeysNeeded (signed by a key that we do not have).
    """
    scheme, _, token = header.partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(token) > MAX_TOKEN or len(parts) != 3:
        raise Unreadable("no_token")
    head, claims, signature = _object(parts[0]), _object(parts[1]), _decode(parts[2])
    # The algorithm is ours to choose: a token that names another is none.
    if head.get("alg") != "RS256" or "crit" in head:
        raise Unreadable("token_algorithm")
    signer = head.get("kid")
    if not isinstance(signer, str) or not 0 < len(signer) <= 256:
        raise Unreadable("token_key")
    pem = signers.get(signer)
    if pem is None:
        raise KeysNeeded
    _check_signature(pem, signature, f"{parts[0]}.{parts[1]}".encode())
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in expected.issuers or claims.get("aud") != expected.audience:
        raise Unreadable("token_not_for_us")
    _check_times(claims, now)
    return claims.get("email") == expected.account and claims.get("email_verified") is True


def _check_signature(pem: bytes, signature: bytes, signed: bytes) -> None:
    try:
        _public_key(pem).verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise Unreadable("token_signature") from None


@lru_cache(maxsize=32)
def _public_key(pem: bytes) -> RSAPublicKey:
    """Raises Unreadable."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise Unreadable("token_key") from None
    if not isinstance(key, RSAPublicKey):
        raise Unreadable("token_key")
    return key


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if type(issued) is not int or type(expires) is not int:
        raise Unreadable("token_times")
    seconds, skew = (now - EPOCH).total_seconds(), SKEW.total_seconds()
    if issued > seconds + skew or expires < seconds - skew:
        raise Unreadable("token_times")


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_decode(part))
    except (ValueError, RecursionError):
        raise Unreadable("token_broken") from None
    if not isinstance(value, dict):
        raise Unreadable("token_broken")
    return value


def _decode(part: str) -> bytes:
    # b64decode forgives strange characters; whoever signs does not write them.
    if _PART.fullmatch(part) is None or len(part) % 4 == 1:
        raise Unreadable("token_broken")
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
