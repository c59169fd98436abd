"""Health checks: register them with a decorator, run them with or without a web app."""

from dockerflow.checks import messages as _messages
from dockerflow.checks._observers import Observation
from dockerflow.checks._options import CheckOptions
from dockerflow.checks.messages import *  # noqa: F403 - these names are public here too
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
    unregister,
)
from dockerflow.checks.runner import CheckDetail, CheckResults
from dockerflow.heartbeat_file import HeartbeatFile

__all__ = [
    "CheckDetail",
    "CheckOptions",
    "CheckResults",
    "HeartbeatFile",
    "Observation",
    "Registry",
    "clear_checks",
    "default_registry",
    "get_checks",
    "observe",
    "register",
    "register_partial",
    "run_checks",
    "run_checks_async",
    "unregister",
]
__all__ += _messages.__all__
