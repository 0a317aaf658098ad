"""Hashes under the server's key, of what is short enough to be guessed: compared, counted, and never read back.

The key is THROTTLE_KEY. Another one makes codes that are under way unknown, and counts of addresses start anew.
"""

import hashlib
import hmac


def keyed(key: bytes, purpose: str, *parts: bytes) -> bytes:
    """Each purpose has a key of its own, derived from the server's; and each part its length, so that none runs on."""
    own = hmac.digest(key, b"purpose:" + purpose.encode(), hashlib.sha256)
    return hmac.digest(own, b"".join(len(part).to_bytes(4) + part for part in parts), hashlib.sha256)


def of_address(key: bytes, address: str) -> str:
    """One for however a mailbox or a number is spelled; it names a counter, and is what an address is found by."""
    return keyed(key, "address", address.casefold().encode()).hex()
