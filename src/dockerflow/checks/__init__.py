"""Health checks: register them with a decorator, run them with or without a web app."""

from dockerflow.checks._observers import Observation
from dockerflow.checks._options import CheckOptions
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
    observe,
    register,
    register_partial,
    run_checks,
    run_checks_async,
)
from dockerflow.checks.runner import CheckDetail, CheckResults
from dockerflow.heartbeat_file import HeartbeatFile

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "STATUSES",
    "WARNING",
    "CheckDetail",
    "CheckMessage",
    "CheckOptions",
    "CheckResults",
    "Critical",
    "Debug",
    "Error",
    "HeartbeatFile",
    "Info",
    "Observation",
    "Registry",
    "Warning",
    "clear_checks",
    "default_registry",
    "get_checks",
    "level_to_text",
    "observe",
    "register",
    "register_partial",
    "run_checks",
    "run_checks_async",
]
