"""The ids of the messages that the library's own checks and its check engine give."""

from typing import Final

# The engine's own.
INFO_CHECK_SKIPPED: Final = "dockerflow.checks.I001"
ERROR_CHECK_RAISED: Final = "dockerflow.checks.E001"
ERROR_CHECK_TIMED_OUT: Final = "dockerflow.checks.E002"
ERROR_CHECK_BAD_RESULT: Final = "dockerflow.checks.E003"
ERROR_CHECK_STALE: Final = "dockerflow.checks.E004"
ERROR_CHECK_MISCONFIGURED: Final = "dockerflow.checks.E005"
ERROR_DRAINING: Final = "dockerflow.checks.E006"

# Those that dashboards of existing apps know.
INFO_CANT_CHECK_MIGRATIONS: Final = "dockerflow.health.I001"
WARNING_UNAPPLIED_MIGRATION: Final = "dockerflow.health.W001"
ERROR_CANNOT_CONNECT_DATABASE: Final = "dockerflow.health.E001"
ERROR_UNUSABLE_DATABASE: Final = "dockerflow.health.E002"
ERROR_MISCONFIGURED_DATABASE: Final = "dockerflow.health.E003"
ERROR_CANNOT_CONNECT_REDIS: Final = "dockerflow.health.E004"
ERROR_MISSING_REDIS_CLIENT: Final = "dockerflow.health.E005"
ERROR_MISCONFIGURED_REDIS: Final = "dockerflow.health.E006"
ERROR_REDIS_PING_FAILED: Final = "dockerflow.health.E007"
ERROR_DB_API_EXCEPTION: Final = "dockerflow.health.E008"
ERROR_SQLALCHEMY_EXCEPTION: Final = "dockerflow.health.E009"
ERROR_REDIS_EXCEPTION: Final = "dockerflow.health.E010"
