"""Register checks and run them: in the default registry of the process, or in another one."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Collection, Iterable, MutableMapping
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack, cast, overload

from dockerflow.checks import _loop, _plan, messages, runner
from dockerflow.checks._background import Background
from dockerflow.checks._check import Check, CheckFunction, signature, unwrap
from dockerflow.checks._log import log_thread, logger
from dockerflow.checks._observers import Observer, Observers
from dockerflow.checks._options import CheckOptions, parse
from dockerflow.checks._process import PerProcess, lock
from dockerflow.checks.runner import CheckResults
from dockerflow.config import Config, ConfigError, is_async

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

# Names that python-dockerflow has here.
CheckMessage = messages.CheckMessage
CheckFn = CheckFunction
ChecksResults = CheckResults
level_to_text: Final = messages.level_to_text

CLOSING_SECONDS: Final = 1.0

_F = TypeVar("_F", bound=CheckFunction)
_O = TypeVar("_O", bound=Observer)


class Registry:
    """The checks of one app, by name and in the order of their registration.

    .. versionadded:: 0.1.0
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._observers = Observers()
        self._placeholders = {
            name: Check(name, _placeholder, {}, self._observers)
            for name in ("heartbeat_tags", "heartbeat_groups")
        }
        self._background = PerProcess(Background)
        self._logged: set[str] = set()
        weakref.finalize(self, _stop, self._background).atexit = False

    @overload
    def register(self, func: _F, name: str | None = ..., **options: Unpack[CheckOptions]) -> _F: ...

    @overload
    def register(
        self, func: None = ..., name: str | None = ..., **options: Unpack[CheckOptions]
    ) -> Callable[[_F], _F]: ...

    def register(
        self, func: _F | None = None, name: str | None = None, **options: Unpack[CheckOptions]
    ) -> _F | Callable[[_F], _F]:
        """Register a check, as a decorator (with or without arguments) or by a call.

        A check is a function without arguments, sync or async. It returns nothing if all is
        well, otherwise one or more messages (see :mod:`dockerflow.checks.messages`). A check that
        raises counts as an error.

        It replaces a check with the same name, including its state. If that check is another
        function, a warning is logged. Partials and methods count as the function behind them,
        so an app factory or a fixture may register the same check for each new client.

        Options are given by name. Some have their default in the ``Config``, in the field in
        parentheses.

        :param func: the check.
        :param name: its name in the heartbeat; by default the function's name.
        :param timeout: how long it may take, in seconds (``check_timeout``).
        :param critical: whether its errors fail the heartbeat; by default they do.
        :param ttl: for how many seconds its result is reused (``check_ttl``).
        :param interval: seconds between its runs in the background, which begin with the first
            heartbeat (``check_interval``).
        :param max_age: how old a healthy result may be, in seconds. By default
            ``(failures + 1) * interval + timeout`` for a check with an ``interval``.
        :param requires: names of checks that must pass first, otherwise this one is skipped.
        :param failures: failure threshold: how many failures in a row make it fail; 1 by default.
        :param recoveries: success threshold: how many successes in a row make it pass again; 1
            by default.
        :param tags: tags by which ``heartbeat_tags`` and ``heartbeat_groups`` choose checks.
        :param silenced: IDs of its messages to leave out, in addition to ``silenced_checks``.
        :returns: ``func`` itself, or the decorator.
        :raises TypeError: when ``func`` isn't callable or needs an argument, ``name`` isn't a
            string, or there is no such option.
        :raises ValueError: when an option has a wrong value.
        """
        parsed = parse(options)

        def add(func: _F) -> _F:
            if not callable(func):
                raise TypeError(f"a check must be a function without arguments, not {func!r}")
            key = _name_of(func) if name is None else name
            if not isinstance(cast("object", key), str):
                raise TypeError(f"a check's name must be a string, not {key!r}")
            _refuse_required(key, func)
            check = Check(key, func, parsed, self._observers)
            logger.disabled = False  # by dictConfig(), which may have imported this module
            with lock.get():
                known = self._checks.get(key)
                self._checks[key] = check
            if known is not None:
                self._forget(known)
                new, old = _identity(func), _identity(known.function)
                if new != old:
                    logger.warning("Check %s is registered twice: %s replaces %s", key, new, old)
            return func

        return add if func is None else add(func)

    def register_partial(
        self,
        func: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        **options: Unpack[CheckOptions],
    ) -> CheckFunction:
        """Register ``func`` to be called with ``args``, as ``name`` or by the function's name.

        It accepts the options of :meth:`register`, and raises the same errors.

        :returns: the check that was registered.
        """
        return self.register(functools.partial(func, *args), name=name, **options)

    def get_checks(self) -> dict[str, CheckFunction]:
        """Return the registered functions by name. Changing the result changes the registry."""
        functions = {name: check.function for name, check in self._snapshot().items()}
        return _Functions(self, functions)

    def unregister(self, name: str) -> None:
        """Remove one check. If it is running, it isn't stopped.

        :raises KeyError: when no check has that name.
        """
        with lock.get():
            check = self._checks.pop(name, None)
        if check is None:
            names = ", ".join(map(str, self._snapshot())) or "none"
            raise KeyError(f"no check is named {name!r}; there are {names}")
        self._forget(check)

    def clear_checks(self) -> None:
        """Remove every check. Those that are running aren't stopped."""
        with lock.get():
            checks = tuple(self._checks.values())
            self._checks.clear()
        self._forget(*checks)

    def _forget(self, *checks: Check) -> None:
        for check in checks:
            check.is_registered = False
        self._background.get().remove()

    def _snapshot(self) -> dict[str, Check]:
        with lock.get():  # another thread may register one
            return self._checks.copy()

    def observe(self, func: _O) -> _O:
        """Have ``func`` called with each :class:`Observation`; also a decorator.

        There is one for each execution of a check, once however many heartbeats share it, and
        one for each heartbeat. ``func`` is called in another thread, which no heartbeat waits
        for. What it raises is logged. If 1000 observations are waiting, further ones are
        dropped. A script should call :meth:`close` at its end, to wait for its observers.

        :returns: ``func`` itself.
        :raises TypeError: when ``func`` isn't callable, or is async.
        """
        if not callable(func) or is_async(func):
            raise TypeError(
                f"an observer must be a function with one argument that isn't async, not {func!r}"
            )
        self._observers.add(func)
        return func

    def validate(self, config: Config | None = None) -> None:
        """Check what can be checked only once all checks are registered.

        The heartbeat reports the same as errors of the checks concerned.

        :raises ConfigError: when a check requires one that doesn't exist, or requires itself
            indirectly, or its options conflict with ``config``, or no check has any of the tags in
            ``heartbeat_tags`` or is in one of ``heartbeat_groups``.
        """
        config = config or Config()
        problems = [
            f"Check {name} can't run: {entry.problem}"
            for group in (None, *config.heartbeat_groups)
            for name, entry in self._make_plan(config, group).entries.items()
            if entry.problem
        ]
        if problems:
            raise ConfigError("; ".join(dict.fromkeys(problems)))

    def close(self) -> None:
        """Stop running checks in the background; the next heartbeat starts them again.

        Waits a second at most for observers that haven't been called yet.
        """
        _stop(self._background)
        self._observers.join(CLOSING_SECONDS)

    def run(self, config: Config | None = None, *, group: str | None = None) -> CheckResults:
        """Run all checks at the same time and return their results. Blocks.

        :param config: has the time limits and the silenced IDs; by default the environment's.
        :param group: run only the checks of this group in the ``heartbeat_groups`` of ``config``.
        :raises ConfigError: when there is no ``config``, and the environment has a wrong value.
        :raises KeyError: when there is no such group.
        """
        run = self._make_run(config or Config(), group)
        runner.run_all(run)
        return self._finish(run, group)

    async def arun(self, config: Config | None = None, *, group: str | None = None) -> CheckResults:
        """Run all checks like :meth:`run`, async ones on the running event loop.

        The loop is asyncio's or trio's.
        """
        run = self._make_run(config or Config(), group, _loop.running_loop())
        await runner.arun_all(run)
        return self._finish(run, group)

    def drained(self, group: str | None = None) -> CheckResults:
        """Return the results of a process that is about to exit, without running a check."""
        results, messages = runner.draining()
        self._notify(group, results, messages)
        return results

    def _make_run(
        self, config: Config, group: str | None, loop: AbstractEventLoop | None = None
    ) -> runner.Run:
        plan = self._make_plan(config, group)
        if wanted := _plan.selectors(config, group):
            known = self._logged.union(*map(_plan.selectors_of, self._snapshot().values()))
            for selector in sorted(set(wanted) - known):
                self._logged.add(selector)
                kind = "tag" if selector.startswith(_plan.TAG) else "name"
                text = f"No check has the {kind} %r from the setting {_setting(group)}"
                name = selector.removeprefix(_plan.TAG)
                log_thread.get().submit(functools.partial(logger.warning, text, name))
        return runner.Run(plan, config.heartbeat_timeout, self._background.get(), loop)

    def _make_plan(self, config: Config, group: str | None) -> _plan.Plan:
        plan = _plan.make(self._snapshot(), config, group)
        if plan.entries or not _plan.selectors(config, group):
            return plan
        # Checking nothing isn't healthy.
        return _plan.make_empty(self._placeholders[_setting(group)], config, group)

    def _finish(self, run: runner.Run, group: str | None) -> CheckResults:
        results, messages = runner.collect(run)
        self._notify(group, results, messages, time.monotonic() - run.began)
        return results

    def _notify(
        self,
        group: str | None,
        results: CheckResults,
        messages: list[CheckMessage],
        duration: float = 0.0,
    ) -> None:
        name = "heartbeat" if group is None else f"heartbeat/{group}"
        self._observers.notify("heartbeat", name, results.level, messages, duration)


def _stop(background: PerProcess[Background]) -> None:
    background.get().clear()


def _name_of(func: CheckFunction) -> str:
    func = unwrap(func)
    return getattr(func, "__name__", None) or type(func).__name__


def _refuse_required(name: str, func: CheckFunction) -> None:
    """Refuse a check that can't be called without arguments, if its signature can be read.

    :raises TypeError: when it has a parameter without a default.
    """
    try:
        # A decorator may pass what the function behind it needs. One of wrapt's has that function's
        # signature as its own.
        if hasattr(func, "__signature__"):
            return
        parameters = signature(func, follow_wrapped=False).parameters.values()
    except Exception:  # noqa: BLE001 - a foreign object may raise anything
        return
    for parameter in parameters:
        is_variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not is_variable:
            raise TypeError(
                f"check {name} needs the argument {parameter.name!r}, but checks are called "
                f"without any: bind it with register_partial(function, {parameter.name}) or "
                "functools.partial"
            )


def _setting(group: str | None) -> str:
    """Return the name of the setting that selects the checks of a heartbeat."""
    return "heartbeat_tags" if group is None else "heartbeat_groups"


def _placeholder() -> None:
    """Stands in for the checks of a heartbeat that selects none; it is never run."""


def _identity(func: Any) -> str:
    """Return a function's module and qualified name; of partials and methods the one behind."""
    func = unwrap(func)
    while isinstance(func, MethodType):
        func = unwrap(func.__func__)
    if not isinstance(getattr(func, "__qualname__", None), str):
        func = func.__class__
    identity = f"{func.__module__}.{func.__qualname__}"
    if isinstance(func, FunctionType) and func.__name__ == "<lambda>":
        identity += f" in line {func.__code__.co_firstlineno}"  # all of one scope share the name
    return identity


class _Functions(dict[str, CheckFunction]):
    """What ``get_checks()`` returns: existing apps change the registry by changing it."""

    def __init__(self, registry: Registry, functions: dict[str, CheckFunction]) -> None:
        super().__init__(functions)
        self._registry = registry

    def __setitem__(self, name: str, func: CheckFunction) -> None:
        self._registry.register(func, name)
        super().__setitem__(name, func)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._registry.unregister(name)

    def clear(self) -> None:
        self._registry.clear_checks()  # those that came after this copy, too
        super().clear()

    def popitem(self) -> tuple[str, CheckFunction]:
        name, func = super().popitem()
        self._registry.unregister(name)
        return name, func

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    # They call those above; dict's own don't.
    pop: Any = MutableMapping[str, CheckFunction].pop
    setdefault: Any = MutableMapping[str, CheckFunction].setdefault
    update = MutableMapping[str, CheckFunction].update


default_registry: Registry = Registry()
"""The registry of a process with one app; what the functions of :mod:`dockerflow.checks` use."""

register: Final = default_registry.register
register_partial: Final = default_registry.register_partial
get_checks: Final = default_registry.get_checks
unregister: Final = default_registry.unregister
clear_checks: Final = default_registry.clear_checks
observe: Final = default_registry.observe


def _prepare(
    checks: Iterable[tuple[str, CheckFunction]], silenced_check_ids: Collection[str] | None
) -> tuple[Registry, Config]:
    registry = Registry()
    for name, function in checks:
        registry.register(function, name=name)
    if silenced_check_ids is None:
        return registry, Config()
    return registry, Config(silenced_checks=tuple(silenced_check_ids))


def run_checks(
    checks: Iterable[tuple[str, CheckFunction]], silenced_check_ids: Collection[str] | None = None
) -> CheckResults:
    """Run ``checks``, pairs of a name and a function, without registering them.

    :param silenced_check_ids: IDs of messages to leave out; by default those of the environment.
    """
    registry, config = _prepare(checks, silenced_check_ids)
    return registry.run(config)


async def run_checks_async(
    checks: Iterable[tuple[str, CheckFunction]], silenced_check_ids: Collection[str] | None = None
) -> CheckResults:
    """Run ``checks`` like :func:`run_checks`, async ones on the running event loop."""
    registry, config = _prepare(checks, silenced_check_ids)
    return await registry.arun(config)
