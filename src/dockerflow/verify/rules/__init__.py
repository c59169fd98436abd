"""The rules: what Dockerflow requires of a container, and how each rule judges it, without I/O."""

from __future__ import annotations

from typing import Final

from dockerflow.verify.rules import app, deployment, dockerfile, recommendations
from dockerflow.verify.rules._registry import BY_ID, Finding, Rule, Unknown

RULES: Final[dict[str, Rule]] = dict(sorted(BY_ID.items()))
"""All rules by id, in the order of their ids."""

__all__ = [
    "RULES",
    "Finding",
    "Rule",
    "Unknown",
    "app",
    "deployment",
    "dockerfile",
    "matching",
    "recommendations",
]


def matching(prefix: str) -> set[str]:
    """Return the IDs of the rules that begin with ``prefix``, in any case.

    :raises ValueError: when there are none.
    """
    ids = {id_ for id_ in RULES if prefix and id_.startswith(prefix.upper())}
    if not ids:
        raise ValueError(f"there is no rule {prefix!r}; the rules are {', '.join(RULES)}")
    return ids
