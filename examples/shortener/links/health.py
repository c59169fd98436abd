"""What the heartbeat asks: the database has to work, Redis only ought to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis

from dockerflow import checks
from dockerflow.checks import contrib

Check = Callable[[], Any]


def register(database: Check, migrations: Check, redis: Redis | None) -> None:
    """Register the checks. Without Redis there is none of it."""
    checks.register(database, name="database")
    checks.register(migrations, name="migrations", requires=("database",))
    if redis is not None:
        checks.register(contrib.redis(redis), name="redis", critical=False)
