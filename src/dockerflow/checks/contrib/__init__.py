"""Ready-made checks: factories, most of which take the client your app uses and return a check.

No client library is imported before one of its factories or checks is used.
"""

from dockerflow.checks.contrib._celery import celery
from dockerflow.checks.contrib._django import (
    django_cache,
    django_database,
    django_migrations,
    django_redis,
)
from dockerflow.checks.contrib._http import http, tcp
from dockerflow.checks.contrib._redis import redis
from dockerflow.checks.contrib._s3 import s3
from dockerflow.checks.contrib._sqlalchemy import database, migrations
from dockerflow.checks.contrib._system import disk_space, file_age, memory

__all__ = [
    "celery",
    "database",
    "disk_space",
    "django_cache",
    "django_database",
    "django_migrations",
    "django_redis",
    "file_age",
    "http",
    "memory",
    "migrations",
    "redis",
    "s3",
    "tcp",
]
