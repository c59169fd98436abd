"""What the ready-made checks share: names, lazy imports, and the log behind a message."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final, TypeVar
from urllib.parse import quote, quote_plus

from dockerflow.checks.messages import CheckMessage

QUICK: Final = 0.5
"""Seconds: a pooled connection that is stale fails in less."""

logger = logging.getLogger("dockerflow.checks.contrib")

_F = TypeVar("_F", bound=Callable[..., Any])


def named(name: str) -> Callable[[_F], _F]:
    """Give a check the name by which it is registered, be it the sync or the async one.

    The factories return a ``functools.partial`` of these functions: the registry finds this
    name in it, tells two clients apart by it, and sees whether it is a coroutine function.
    """

    def set_name(func: _F) -> _F:
        func.__name__ = name
        return func

    return set_name


def load(module: str, extra: str) -> Any:
    """Import what only this check needs.

    :raises ImportError: naming the extra to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = f"this check needs {package}: pip install 'dockerflow-middleware[{extra}]'"
        raise ImportError(message, name=package) from error


def report(
    message: CheckMessage,
    error: BaseException | None = None,
    *,
    detail: str = "",
    secrets: Iterable[object] = (),
) -> CheckMessage:
    """Log what is behind a message, which strangers may read, and return the message.

    :param error: what the client raised; goes to the log with its traceback.
    :param detail: what else only the log may have.
    :param secrets: texts that not even the log may have, such as passwords. ``None`` and empty
        ones are left out.
    """
    hidden = {
        form(str(secret)) for secret in secrets if secret for form in (str, quote, quote_plus)
    }
    text = "".join(traceback.format_exception(error)) if error is not None else ""
    exc_info = error
    if any(secret in text for secret in hidden):
        exc_info, detail = None, f"{detail}\n{text}".strip()
    elif error is not None and not detail:
        detail = f"{type(error).__name__}: {error}"
    for secret in sorted(hidden, key=len, reverse=True):
        detail = detail.replace(secret, "***")
    logger.log(message.level, "%s: %s", message.id, detail, exc_info=exc_info)
    return message
