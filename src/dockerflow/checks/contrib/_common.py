"""Shared by the ready-made checks: names, lazy imports, arguments, and causes for the log only."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import quote, quote_plus

from dockerflow.checks.messages import CheckMessage, Error
from dockerflow.config import parse_seconds

QUICK: Final = 0.5
"""Seconds: a stale pooled connection fails in less; a client that tried again takes longer."""

Check = Callable[[], CheckMessage | None]
AsyncCheck = Callable[[], Awaitable[CheckMessage | None]]

_F = TypeVar("_F", bound=Callable[..., Any])


def named(name: str) -> Callable[[_F], _F]:
    """Give a check function the name under which it is registered.

    The factories return a ``functools.partial`` of these functions, in which the registry finds
    the name, and whether the check is async.
    """

    def set_name(func: _F) -> _F:
        func.__name__ = name
        return func

    return set_name


def load(module: str, extra: str) -> Any:
    """Import a module that only this check needs.

    :raises ImportError: naming the extra to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = f"this check needs {package}: pip install 'dockerflow-middleware[{extra}]'"
        raise ImportError(message, name=package) from error


def seconds(name: str, value: object) -> float:
    """Return the argument ``name`` of a factory.

    :raises ValueError: when it isn't a number greater than 0.
    """
    try:
        return parse_seconds(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} must be a number of seconds greater than 0, not {value!r}"
        ) from None


def describe(error: BaseException) -> str:
    """Return an exception's class and text; many, such as timeouts, have no text."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


class SuppressStale(suppress):
    """Suppresses errors that occur quickly, as from a stale pooled connection: then try again."""

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return time.monotonic() - self._started < QUICK and super().__exit__(kind, error, trace)


def fail(
    text: str,
    id_: str,
    error: BaseException | None = None,
    *,
    detail: str = "",
    secrets: Iterable[object] = (),
) -> CheckMessage:
    """Return an ``Error`` with a cause like every :func:`report`."""
    return report(Error(text, id=id_), error, detail=detail, secrets=secrets)


def report(
    message: CheckMessage,
    error: BaseException | None = None,
    *,
    detail: str = "",
    secrets: Iterable[object] = (),
) -> CheckMessage:
    """Add the cause to a message, for the log only, since the heartbeat is public.

    :param error: the client's exception; it is logged with its traceback, if that has no secrets.
    :param detail: further details for the log only.
    :param secrets: texts that must not even be logged, such as passwords. ``None`` and empty
        ones are left out.
    """
    hidden = {
        form(str(secret)) for secret in secrets if secret for form in (str, quote, quote_plus)
    }
    if error is not None and not detail:
        detail = describe(error)
    text = "".join(traceback.format_exception(error)) if error is not None else ""
    if any(secret in text for secret in hidden):
        error = None
    for secret in sorted(hidden, key=len, reverse=True):
        detail = detail.replace(secret, "***")
    message.log_detail, message.log_error = detail, error
    return message
