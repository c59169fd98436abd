"""Ready-made checks: factories, most of which take the client your app uses and return a check.

No client library is imported before one of its factories or checks is used.
"""

from dockerflow.checks.contrib._celery import celery
from dockerflow.checks.contrib._database import database_pool, dbapi
from dockerflow.checks.contrib._django import (
    django_cache,
    django_database,
    django_mail,
    django_migrations,
    django_redis,
    django_storage,
)
from dockerflow.checks.contrib._dns import dns
from dockerflow.checks.contrib._http import http, tcp
from dockerflow.checks.contrib._memcached import memcached
from dockerflow.checks.contrib._rabbitmq import rabbitmq
from dockerflow.checks.contrib._redis import redis
from dockerflow.checks.contrib._s3 import s3
from dockerflow.checks.contrib._smtp import smtp
from dockerflow.checks.contrib._sqlalchemy import database, migrations
from dockerflow.checks.contrib._system import disk_space, file_age, memory

__all__ = [
    "celery",
    "database",
    "database_pool",
    "dbapi",
    "disk_space",
    "django_cache",
    "django_database",
    "django_mail",
    "django_migrations",
    "django_redis",
    "django_storage",
    "dns",
    "file_age",
    "http",
    "memcached",
    "memory",
    "migrations",
    "rabbitmq",
    "redis",
    "s3",
    "smtp",
    "tcp",
]
