"""A software authenticator with the browser around it: what WebAuthn says they do, and what they must not if asked to.

https://www.w3.org/TR/webauthn-3/#sctn-authenticator-data
"""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

Options = dict[str, Any]
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def long(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@dataclass
class Authenticator:
    """One passkey. `flags` are what it claims; with `counts` its counter goes up by one each time."""

    origin: str
    rp_id: str
    flags: int = PRESENT | VERIFIED
    counts: bool = True
    count: int = 0
    cross_origin: bool | None = None
    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes | None = None
    transports: list[str] = field(default_factory=lambda: ["internal"])
    fmt: str = "none"
    statement: dict[str, Any] = field(default_factory=dict)

    def create(self, options: Options) -> dict[str, Any]:
        """What `navigator.credentials.create()` gives, as JSON."""
        self.handle = decode(options["user"]["id"])
        data = self._data(
            ATTESTED, bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + self.public_key()
        )
        attestation = {"fmt": self.fmt, "attStmt": self.statement, "authData": data}
        response = {
            "clientDataJSON": encode(self.client_data("webauthn.create", options["challenge"])),
            "attestationObject": encode(cbor2.dumps(attestation)),
            "transports": self.transports,
        }
        return self._credential(response)

    def get(self, options: Options) -> dict[str, Any]:
        """What `navigator.credentials.get()` gives, as JSON."""
        data, client_data = self._data(0, b""), self.client_data("webauthn.get", options["challenge"])
        response = {
            "clientDataJSON": encode(client_data),
            "authenticatorData": encode(data),
            "signature": encode(self._sign(data + hashlib.sha256(client_data).digest())),
        }
        if self.handle is not None:
            response["userHandle"] = encode(self.handle)
        return self._credential(response)

    def public_key(self) -> bytes:
        """As COSE says it (RFC 9053)."""
        public = self.key.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            numbers = public.public_numbers()
            x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
            return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        if isinstance(public, ed25519.Ed25519PublicKey):
            return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()})
        rsa_numbers = public.public_numbers()
        return cbor2.dumps({1: 3, 3: -257, -1: long(rsa_numbers.n), -2: long(rsa_numbers.e)})

    def client_data(self, kind: str, challenge: str) -> bytes:
        said: dict[str, Any] = {"type": kind, "challenge": challenge, "origin": self.origin}
        if self.cross_origin is not None:
            said["crossOrigin"] = self.cross_origin
        return json.dumps(said).encode()

    def _data(self, more_flags: int, rest: bytes) -> bytes:
        self.count += self.counts
        flags = bytes([self.flags | more_flags])
        return hashlib.sha256(self.rp_id.encode()).digest() + flags + self.count.to_bytes(4, "big") + rest

    def _sign(self, what: bytes) -> bytes:
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(what, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(what)
        return self.key.sign(what, padding.PKCS1v15(), hashes.SHA256())

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": encode(self.credential_id),
            "rawId": encode(self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }
