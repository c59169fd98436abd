"""Register checks and run them: a registry of one's own, or the default one of the process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from types import FunctionType
from typing import Any, TypeVar, cast, overload

from dockerflow.checks import runner
from dockerflow.checks.runner import Check, CheckFunction, CheckResults
from dockerflow.config import Config, parse_seconds

_F = TypeVar("_F", bound=CheckFunction)


class Registry:
    """The checks of one app, by name and in the order of their registration.

    .. versionadded:: 0.1.0
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    @overload
    def register(
        self,
        func: _F,
        name: str | None = ...,
        *,
        timeout: float | None = ...,
        critical: bool = ...,
    ) -> _F: ...

    @overload
    def register(
        self,
        func: None = ...,
        name: str | None = ...,
        *,
        timeout: float | None = ...,
        critical: bool = ...,
    ) -> Callable[[_F], _F]: ...

    def register(
        self,
        func: _F | None = None,
        name: str | None = None,
        *,
        timeout: float | None = None,
        critical: bool = True,
    ) -> _F | Callable[[_F], _F]:
        """Register a check, as a decorator (with or without arguments) or by a call.

        A check is a function without arguments, sync or async. It returns nothing, one message
        or several (see :mod:`dockerflow.checks.messages`); raising is a failure.

        :param func: the check.
        :param name: what the heartbeat calls it; by default the function's name.
        :param timeout: how long it may take, in seconds; by default ``Config.check_timeout``.
        :param critical: whether an error of it fails the heartbeat.
        :returns: ``func`` itself, or the decorator.
        :raises TypeError: when ``func`` can't be called.
        :raises ValueError: when another check has the name, or the timeout isn't over 0.
        """
        limit = None if timeout is None else _to_seconds(timeout)

        def add(func: _F) -> _F:
            _must_be_callable(func)
            key = _name_of(func) if name is None else name
            known = self._checks.get(key)
            if known is not None and not _is_same(known.function, func):
                message = (
                    f"another check is registered as {key!r} already: "
                    "give this one a name of its own, or each app a Registry"
                )
                raise ValueError(message)
            self._checks[key] = Check(key, func, timeout=limit, critical=critical)
            return func

        return add if func is None else add(func)

    def register_partial(
        self, func: Callable[..., Any], *args: Any, name: str | None = None
    ) -> CheckFunction:
        """Register ``func`` to be called with ``args``, as ``name`` or by the function's name.

        :returns: the check that was registered.
        :raises TypeError: when ``func`` can't be called.
        :raises ValueError: when another check has the name.
        """
        return self.register(functools.partial(func, *args), name=name)

    def get_checks(self) -> dict[str, CheckFunction]:
        """Return the registered functions by name."""
        return {name: check.function for name, check in self._checks.items()}

    def clear_checks(self) -> None:
        """Forget every check. Those that run now are not stopped."""
        self._checks.clear()

    def run(self, config: Config | None = None) -> CheckResults:
        """Run all checks at the same time and return what they said. Blocks; never raises.

        :param config: has the time limits and the silenced ids; by default that of the
            environment.
        """
        config = config or Config()
        started = self._prepare(config)
        runner.wait(started)
        return runner.collect(started, config.silenced_checks)

    async def arun(self, config: Config | None = None) -> CheckResults:
        """Run all checks like :meth:`run`, async ones on the running event loop."""
        import asyncio

        config = config or Config()
        started = self._prepare(config, asyncio.get_running_loop())
        await runner.await_all(started)
        return runner.collect(started, config.silenced_checks)

    def _prepare(self, config: Config, loop: Any = None) -> list[runner.Started]:
        return runner.prepare(
            tuple(self._checks.values()),
            check_timeout=config.check_timeout,
            heartbeat_timeout=config.heartbeat_timeout,
            loop=loop,
        )


def _to_seconds(timeout: object) -> float:
    try:
        return parse_seconds(timeout)
    except (TypeError, ValueError, OverflowError):
        message = f"timeout is {timeout!r}, but takes a number of seconds over 0"
        raise ValueError(message) from None


def _must_be_callable(func: object) -> None:
    if not callable(func):
        message = f"a check is a function without arguments, not {func!r}"
        raise TypeError(message)


def _name_of(func: Any) -> str:
    while isinstance(func, functools.partial):
        func = func.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return getattr(func, "__name__", None) or type(func).__name__


def _is_same(one: Any, other: Any) -> bool:
    """Whether both are the same function, perhaps defined anew when its module was reloaded."""
    if isinstance(one, functools.partial) and isinstance(other, functools.partial):
        first, second = cast("tuple[functools.partial[Any], ...]", (one, other))
        return (
            _is_same(first.func, second.func)
            and first.args == second.args
            and first.keywords == second.keywords
        )
    if not (isinstance(one, FunctionType) and isinstance(other, FunctionType)):
        return bool(one == other)
    # Every lambda of a module may have the same name, and so tell nothing by it.
    return one is other or (
        one.__name__ != "<lambda>"
        and (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
    )


default_registry = Registry()
"""The registry of a process with one app; what the functions of :mod:`dockerflow.checks` use."""

register = default_registry.register
register_partial = default_registry.register_partial
get_checks = default_registry.get_checks
clear_checks = default_registry.clear_checks


def _registry_of(checks: Iterable[tuple[str, CheckFunction]]) -> Registry:
    registry = Registry()
    for name, function in checks:
        registry.register(function, name=name)
    return registry


def _config(silenced_check_ids: Collection[str] | None) -> Config:
    if silenced_check_ids is None:
        return Config()
    return Config(silenced_checks=tuple(silenced_check_ids))


def run_checks(
    checks: Iterable[tuple[str, CheckFunction]],
    silenced_check_ids: Collection[str] | None = None,
) -> CheckResults:
    """Run ``checks``, pairs of a name and a function, without registering them.

    :param silenced_check_ids: ids of messages to leave out; by default those of the environment.
    """
    return _registry_of(checks).run(_config(silenced_check_ids))


async def run_checks_async(
    checks: Iterable[tuple[str, CheckFunction]],
    silenced_check_ids: Collection[str] | None = None,
) -> CheckResults:
    """Run ``checks`` like :func:`run_checks`, async ones on the running event loop."""
    return await _registry_of(checks).arun(_config(silenced_check_ids))
