"""How often links were followed: counted in Redis, which may be missing or down."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from links.settings import Settings

logger = logging.getLogger(__name__)

# Seconds. A visitor waits this long at most for a number that only we want to know.
_PATIENCE = 0.5


def connect(settings: Settings) -> Redis | None:
    """Return the client, which connects when it is used; nothing without ``REDIS_URL``."""
    if settings.redis_url is None:
        return None
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=_PATIENCE,
        socket_timeout=_PATIENCE,
        retry=Retry(NoBackoff(), 1),  # once more, as the pool may hold a connection that is dead
    )


class Hits:
    """Counts for each code.

    :param client: where to; without one nothing is counted.
    """

    def __init__(self, client: Redis | None) -> None:
        self.client = client

    def add(self, code: str) -> None:
        """Count one more; a Redis that fails loses the count, but no visitor."""
        if self.client is None:
            return
        try:
            self.client.incr(_key(code))
        except RedisError as error:
            logger.warning("A hit was not counted", extra={"reason": str(error)})

    def get(self, codes: Sequence[str]) -> list[int | None]:
        """Return the count for each code; none where it isn't known."""
        if self.client is None or not codes:
            return [None] * len(codes)
        try:
            found: Any = self.client.mget([_key(code) for code in codes])
        except RedisError as error:
            logger.warning("Hits could not be read", extra={"reason": str(error)})
            return [None] * len(codes)
        return [int(count or 0) for count in found]


def _key(code: str) -> str:
    return f"links:hits:{code}"
