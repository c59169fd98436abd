"""Health checks: register them with a decorator, run them with or without a web app."""

from dockerflow.checks.messages import (
    CRITICAL,
    DEBUG,
    ERROR,
    INFO,
    STATUSES,
    WARNING,
    CheckMessage,
    Critical,
    Debug,
    Error,
    Info,
    Warning,  # noqa: A004 - the name that Django's checks use too
    level_to_text,
)
from dockerflow.checks.registry import (
    Registry,
    clear_checks,
    default_registry,
    get_checks,
    register,
    register_partial,
    run_checks,
    run_checks_async,
)
from dockerflow.checks.runner import CheckResults

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "STATUSES",
    "WARNING",
    "CheckMessage",
    "CheckResults",
    "Critical",
    "Debug",
    "Error",
    "Info",
    "Registry",
    "Warning",
    "clear_checks",
    "default_registry",
    "get_checks",
    "level_to_text",
    "register",
    "register_partial",
    "run_checks",
    "run_checks_async",
]
