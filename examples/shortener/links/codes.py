"""The codes of short links."""

from __future__ import annotations

import secrets

# Without 0 and O, I and l, which people mix up.
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
LENGTH = 8


def new_code() -> str:
    """Return a code that can't be guessed.

    There are 10 to the 14th: that one comes twice is no case to plan for, and the database's
    unique index refuses it.
    """
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


def is_code(text: str) -> bool:
    """Whether it may be one, so that the database isn't asked for anything else."""
    return len(text) == LENGTH and set(text) <= set(_ALPHABET)
