"""One application's Dockerflow: the response of each endpoint, for every driver and adapter."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final

from dockerflow import drain
from dockerflow import version as versions
from dockerflow._core import endpoints
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.messages import Request, Response
from dockerflow._core.settings import AUTHORIZATION, RequestSettings, warn_of_unknown
from dockerflow._core.summary import NAME
from dockerflow.checks._check import check_context
from dockerflow.checks._log import logger as check_logger
from dockerflow.checks.registry import Registry, default_registry
from dockerflow.checks.runner import CheckResults
from dockerflow.config import Config, Secret
from dockerflow.version import VersionError, VersionFile

logger = logging.getLogger("dockerflow")

GET_VERSION: Final = versions.get_version
"""The library's own function, to detect that a test of an app has replaced it."""


def _ignore(_: CheckResults) -> None: ...


def _require(name: str, value: object, needed: type) -> None:
    if value is not None and not isinstance(value, needed):
        raise TypeError(f"{name} must be a {needed.__name__}, not {type(value).__name__}")


class Core:
    """One application's Dockerflow.

    :param config: the settings; by default those of the environment.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :param lbheartbeat: the response of ``/__lbheartbeat__``, if an adapter has its own.
    :param check_context: gives the context manager that each check runs in, where a framework
        needs one.
    :raises ConfigError: when a setting in the environment is invalid.
    :raises TypeError: when ``config`` isn't a ``Config``, or ``registry`` isn't a ``Registry``.
    """

    def __init__(
        self,
        config: Config | None = None,
        registry: Registry | None = None,
        *,
        lbheartbeat: Response = endpoints.LBHEARTBEAT,
        check_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        _require("config", config, Config)
        _require("registry", registry, Registry)
        for each in (logger, check_logger, logging.getLogger(NAME)):
            # dictConfig() disables the loggers that exist by then, unless it is told not to. A
            # configuration that names one of our formatters has imported this package before.
            each.disabled = False
        warn_of_unknown(os.environ, "the environment")
        self.config: Config = Config() if config is None else config
        self.registry: Registry = default_registry if registry is None else registry
        self.settings: RequestSettings = RequestSettings(self.config)
        self.paths: dict[str, Endpoint] = endpoints.paths(
            self.config.path_prefix,
            error_endpoint=self.config.error_endpoint,
            groups=self.config.heartbeat_groups,
        )
        self._lbheartbeat = lbheartbeat
        self._check_context = check_context
        self.drains: bool = self.config.drain_seconds > 0
        """Whether :meth:`install_drain` has anything to do."""
        self._drain_pid: int | None = None
        self._version_file = VersionFile(self.config.version_path)

    def install_drain(self, *, only_over_a_server: bool = False) -> None:
        """Have SIGTERM drain if the settings require it; see :mod:`dockerflow.drain`.

        Drivers call it for each request: servers set their handlers before their first call, but
        after they import the app, and a fork has to call it again.

        :param only_over_a_server: do nothing yet where no server has set a handler.
        """
        pid = os.getpid()
        if self.drains and self._drain_pid != pid:
            self._drain_pid = None if only_over_a_server else pid
            drain.install_once(self.config.drain_seconds, only_over_a_server=only_over_a_server)

    def answer(
        self,
        endpoint: Endpoint,
        request: Request,
        *,
        debug: bool = False,
        version: Callable[[], object] | None = None,
        on_results: Callable[[CheckResults], object] = _ignore,
        error_logger: logging.Logger = logger,
    ) -> Response:
        """Return the response of an endpoint; for the heartbeat, run the checks.

        :param debug: whether the app's framework is in its debug mode.
        :param version: returns the content of ``/__version__``, or ``None`` if there is none. The
            response reports what it raises. By default version.json is served.
        :param on_results: called with the results of the checks before the response is made.
        :param error_logger: the logger of ``/__error__``.
        :raises RuntimeError: at ``/__error__``.
        """
        if request.method not in endpoints.METHODS:
            return endpoints.METHOD_NOT_ALLOWED
        if endpoint == "heartbeat" and not drain.is_draining():
            results = self.run_checks(self._group(request))
            on_results(results)
            response = self._heartbeat(results, request, debug=debug)
        elif endpoint == "version" and (version := version or self._replaced()) is not None:
            try:
                response = _version(version())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the response reports it
                response = _unreadable_version(error)
        else:
            response = self._other(endpoint, request, error_logger, debug=debug)
        return response._replace(body=b"") if request.method == "HEAD" else response

    async def aanswer(
        self,
        endpoint: Endpoint,
        request: Request,
        *,
        debug: bool = False,
        version: Callable[[], object] | None = None,
        on_results: Callable[[CheckResults], object] = _ignore,
        error_logger: logging.Logger = logger,
    ) -> Response:
        """Return the response like :meth:`answer`, without blocking the event loop.

        :param version: may be async.
        :param on_results: may be async.
        """
        if request.method not in endpoints.METHODS:
            return endpoints.METHOD_NOT_ALLOWED
        if endpoint == "heartbeat" and not drain.is_draining():
            with self._checking():
                results = await self.registry.arun(self.config, group=self._group(request))
            await _awaited(on_results(results))
            response = self._heartbeat(results, request, debug=debug)
        elif endpoint == "version" and (version := version or self._replaced()) is not None:
            try:
                response = _version(await _awaited(version()))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the response reports it
                response = _unreadable_version(error)
        else:
            response = self._other(endpoint, request, error_logger, debug=debug)
        return response._replace(body=b"") if request.method == "HEAD" else response

    def run_checks(self, group: str | None = None) -> CheckResults:
        """Run the checks as for a heartbeat, or as for the one of a group."""
        with self._checking():
            return self.registry.run(self.config, group=group)

    def _group(self, request: Request) -> str | None:
        group = endpoints.group_of(request.path)
        return group if group in self.config.heartbeat_groups else None

    @contextmanager
    def _checking(self) -> Generator[None]:
        token = check_context.set(self._check_context)
        try:
            yield
        finally:
            check_context.reset(token)

    def _heartbeat(self, results: CheckResults, request: Request, *, debug: bool) -> Response:
        config = self.config
        details, secret = config.heartbeat_details, config.heartbeat_secret
        show_details = details == "always" or (details == "debug" and debug)
        if details == "authorized" and isinstance(secret, Secret):
            authorization = request.headers.get(AUTHORIZATION, "")
            show_details = endpoints.is_authorized(authorization, secret.reveal())
        return endpoints.heartbeat(
            results,
            failed_status_code=config.heartbeat_failed_status_code,
            show_details=show_details,
            accept=request.headers.get("accept", "") if config.heartbeat_html else None,
        )

    def _replaced(self) -> Callable[[], object] | None:
        """Return the function that has replaced ``get_version``, if any, with its argument."""
        if versions.get_version is GET_VERSION:
            return None
        return partial(versions.get_version, str(self.config.version_path or "/app"))

    def _other(
        self, endpoint: Endpoint, request: Request, error_logger: logging.Logger, *, debug: bool
    ) -> Response:
        if endpoint == "version":
            return endpoints.version(*self._version_file.read())
        if endpoint == "lbheartbeat":
            return self._lbheartbeat
        if endpoint == "heartbeat":
            drained = self._heartbeat(
                self.registry.drained(self._group(request)), request, debug=debug
            )
            return drained._replace(status=endpoints.DRAINING)
        error_logger.error(endpoints.ERROR_MESSAGE)
        raise RuntimeError(endpoints.ERROR_MESSAGE)


def _version(content: object) -> Response:
    return endpoints.version(None if content is None else endpoints.dump(content), None)


def _unreadable_version(error: BaseException) -> Response:
    logger.error("The version could not be read", exc_info=error)
    if isinstance(error, VersionError):
        return endpoints.version(None, str(error))
    return endpoints.version(None, f"the version could not be read: {type(error).__name__}")


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
