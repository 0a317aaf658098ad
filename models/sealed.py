"""Secrets at rest, in envelopes: each has a key of its own, and that key is wrapped by one from the environment.

    version (1) | length of key id (1) | key id | nonce (12) | wrapped key (48) | nonce (12) | sealed value

AES-256-GCM for both. Purpose and owner are authenticated with the value, so that a blob copied into another row, or
another column, does not open there. Changing the outer key re-wraps 48 bytes and leaves the value alone.
"""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.settings import SettingsError
from models.vocabulary import Secret

VERSION: Final = 1
_NONCE: Final = 12
_KEY: Final = 32
_WRAPPED: Final = _KEY + 16
_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

Owner = tuple[str | UUID, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One key, opened, for many values: none of them has a key of its own."""

    _key: AESGCM = field(repr=False)

    @classmethod
    def of(cls, secret: Secret) -> Self:
        return cls(AESGCM(secret.value))

    @staticmethod
    def new() -> Secret:
        return Secret(AESGCM.generate_key(bit_length=256))

    def seal(self, value: bytes, *, purpose: str, owner: Owner) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._key.encrypt(nonce, value, _bound(purpose, owner))

    def open(self, blob: bytes, *, purpose: str, owner: Owner) -> bytes:
        return _decrypt(self._key, blob, _bound(purpose, owner))


class SealBroken(Exception):
    """It does not open: altered, moved, or sealed under a key that we do not have. Nothing else is told."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """Every key opens, the first one seals."""

    keys: Mapping[str, AESGCM] = field(repr=False)
    current: str

    @classmethod
    def from_settings(cls, text: str) -> Self:
        """`id:base64-of-32-bytes[,id:…]`, the newest first."""
        keys: dict[str, AESGCM] = {}
        for part in text.split(","):
            key_id, _, encoded = part.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:  # not base64, or not even ASCII
                key = b""
            if not _KEY_ID.fullmatch(key_id) or len(key) != _KEY or key_id in keys:
                raise SettingsError("SEAL_KEYS must be id:base64-of-32-bytes, each id once, separated by commas")
            keys[key_id] = AESGCM(key)
        return cls(keys, next(iter(keys)))

    def seal(self, secret: Secret, *, purpose: str, owner: Owner) -> bytes:
        inner = AESGCM.generate_key(bit_length=256)
        bound = _bound(purpose, owner)
        nonce = os.urandom(_NONCE)
        return self._wrap(inner, bound) + nonce + AESGCM(inner).encrypt(nonce, secret.value, bound)

    def open(self, blob: bytes, *, purpose: str, owner: Owner) -> Secret:
        bound = _bound(purpose, owner)
        inner, rest = self._unwrap(blob, bound)
        return Secret(_decrypt(AESGCM(inner), rest, bound))

    def is_current(self, blob: bytes) -> bool:
        """Whether it says that it is under the key that seals now."""
        return len(blob) >= 2 and blob[0] == VERSION and blob[2 : 2 + blob[1]] == self.current.encode()

    def rewrap(self, blob: bytes, *, purpose: str, owner: Owner) -> bytes:
        """The same value under the current key. Opens nothing but the key."""
        bound = _bound(purpose, owner)
        inner, rest = self._unwrap(blob, bound)
        return self._wrap(inner, bound) + rest

    def _wrap(self, inner: bytes, bound: bytes) -> bytes:
        key_id = self.current.encode()
        nonce = os.urandom(_NONCE)
        head = bytes((VERSION, len(key_id))) + key_id
        return head + nonce + self.keys[self.current].encrypt(nonce, inner, head + bound)

    def _unwrap(self, blob: bytes, bound: bytes) -> tuple[bytes, bytes]:
        if len(blob) < 2 or blob[0] != VERSION:
            raise SealBroken
        head = blob[: 2 + blob[1]]
        wrapped, rest = blob[len(head) :][: _NONCE + _WRAPPED], blob[len(head) + _NONCE + _WRAPPED :]
        key = self.keys.get(head[2:].decode("ascii", "replace"))
        if key is None:
            raise SealBroken
        return _decrypt(key, wrapped, head + bound), rest


def _bound(purpose: str, owner: Owner) -> bytes:
    """The version, then each part with its kind and length, so that no two owners spell the same bytes."""
    parts = [(b"p", purpose.encode())]
    parts += [(b"i", part.bytes) if isinstance(part, UUID) else (b"t", part.encode()) for part in owner]
    return bytes((VERSION,)) + b"".join(kind + len(part).to_bytes(4) + part for kind, part in parts)


def _decrypt(key: AESGCM, blob: bytes, bound: bytes) -> bytes:
    try:
        return key.decrypt(blob[:_NONCE], blob[_NONCE:], bound)
    except (InvalidTag, ValueError):
        raise SealBroken from None
