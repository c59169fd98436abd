"""Ready-made checks: each is a factory that takes the app's own client and gives a check.

No client library is imported before one of its factories or checks is used.
"""

from dockerflow.checks.contrib._django import (
    django_cache,
    django_database,
    django_migrations,
    django_redis,
)
from dockerflow.checks.contrib._redis import redis
from dockerflow.checks.contrib._sqlalchemy import database, migrations

__all__ = [
    "database",
    "django_cache",
    "django_database",
    "django_migrations",
    "django_redis",
    "migrations",
    "redis",
]
