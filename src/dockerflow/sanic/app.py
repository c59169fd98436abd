"""The Sanic extension: endpoints, request ids and summaries around an app."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sanic import HTTPResponse, Request, Sanic
from sanic.constants import HTTP_METHODS
from sanic.exceptions import RequestCancelled
from sanic.http import Stage
from sanic.response import BaseHTTPResponse
from sanic.worker.process import WorkerProcess

from dockerflow import drain
from dockerflow._core.app import VERSION_FILE, Core
from dockerflow._core.endpoints import ENDPOINTS, Endpoint, path_below, path_of
from dockerflow._core.exchange import Exchange, summary_logger
from dockerflow._core.extension import RegistersChecks
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import Request as NeutralRequest
from dockerflow._core.settings import LIST_HEADERS, Reloading, present
from dockerflow.checks.registry import Registry, default_registry
from dockerflow.config import Config
from dockerflow.sanic.checks import check_redis_connected

logger: logging.Logger = logging.getLogger("dockerflow.sanic")

_V = TypeVar("_V", bound=Callable[[str], Any])
_EXCHANGE: Final = "_dockerflow_exchange"
_FORGET: Final = "_dockerflow_forget"
_completing: Final = Guarded(logger, "The summary of a request could not be completed")
_FIRST: Final = 1_000_000
_HERE: Final = "."
# What tells a worker to drain: processes that don't know of it ignore it.
_DRAIN: Final[Any] = getattr(signal, "SIGURG", None)


class Dockerflow(RegistersChecks):
    """Dockerflow's endpoints, request ids and summaries for a Sanic app.

    :param app: the app; without one, call :meth:`init_app` later.
    :param redis: a client of ``redis.asyncio``: registers ``check_redis_connected``.
    :param silenced_checks: ids of check messages to leave out.
    :param version_path: the folder of version.json, or the file.
    :param registry: the checks of the heartbeat; by default the process's own.
    :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.

    Subclasses may override :meth:`summary_extra`.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        app: Sanic[Any, Any] | None = None,
        redis: Any = None,
        silenced_checks: Iterable[str] | None = None,
        version_path: str | Path = _HERE,
        *,
        registry: Registry | None = None,
    ) -> None:
        self.registry: Registry = default_registry if registry is None else registry
        self.silenced_checks: list[str] = list(silenced_checks or ())
        self.version_path = version_path
        self.summary_logger: logging.Logger = summary_logger
        self.get_version: Callable[[str], Any] | None = None
        if redis is not None:
            self._register_for(check_redis_connected, redis)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Sanic[Any, Any]) -> None:
        """Put Dockerflow around an app, before it starts.

        :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.
        """
        cores = Reloading(partial(self._read_settings, app), self._make_core)
        app.ctx.dockerflow = self
        app.ctx.dockerflow_cores = cores
        config = cores.get().config
        endpoints: tuple[Endpoint, ...] = ENDPOINTS
        if config.error_endpoint:
            endpoints = (*endpoints, "error")
        for endpoint in endpoints:
            app.add_route(
                partial(self._respond, endpoint),
                path_of(endpoint, config.path_prefix),
                methods=HTTP_METHODS,
                name=f"dockerflow_{endpoint}",
                ignore_body=True,
            )
        # Before every other middleware, so that no session or database is in a probe's way.
        register_middleware: Any = cast("Any", app).register_middleware  # its types are partial
        register_middleware(self._on_request, "request", priority=_FIRST)
        register_middleware(self._on_response, "response", priority=_FIRST)
        app.add_signal(self._on_exception, "http.lifecycle.exception")
        app.add_signal(self._on_end, "http.lifecycle.response")
        app.register_listener(self._in_main_process, "main_process_ready")
        app.register_listener(self._before_start, "before_server_start")
        app.register_listener(self._at_start, "after_server_start")
        app.register_listener(self._at_stop, "after_server_stop")

    def version_callback(self, func: _V) -> _V:
        """Take ``func``, sync or async, to give the content of ``/__version__``, as a decorator.

        It is called with the version path and returns an object for JSON, or ``None`` when
        there is no version.
        """
        self.get_version = func
        return func

    def summary_extra(self, request: Request | None = None) -> dict[str, Any]:
        """Return the fields of the request's summary, as they are known by now.

        What a subclass adds, changes or leaves out is so in the summary. Only ``code`` is
        always the real one.

        :param request: by default the one that is being served.
        """
        exchange = self._exchange(Request.get_current() if request is None else request)
        return exchange.fields()

    def _read_settings(self, app: Sanic[Any, Any]) -> dict[str, Any]:
        return {
            **present(cast("dict[str, Any]", app.config)),
            # These may change as the app's settings may.
            "version_path": self.version_path,
            "silenced_checks": tuple(self.silenced_checks),
        }

    def _make_core(self, settings: Mapping[str, Any]) -> Core:
        path, silenced = settings["version_path"], settings["silenced_checks"]
        given: dict[str, Any] = {}
        if path != _HERE:
            given["version_path"] = path
        if silenced:
            given["silenced_checks"] = silenced
        config = Config.from_settings(settings, defaults={"version_path": _HERE}, **given)
        return Core(config, self.registry)

    def _before_start(self, app: Sanic[Any, Any]) -> None:
        """Fail when a setting that was made after init_app() is wrong."""
        self._make_core(self._read_settings(app))

    def _in_main_process(self, app: Sanic[Any, Any]) -> None:
        """Drain for all of the processes that serve, of which Sanic's manager is the parent."""
        self._before_start(app)
        seconds = _core_of(app).config.drain_seconds
        drain.install_in_parent(seconds, partial(_tell_workers, app))

    def _at_start(self, app: Sanic[Any, Any]) -> None:
        seconds = _core_of(app).config.drain_seconds
        if not seconds:
            return
        with Guarded(logger, "drain_seconds has no effect"):
            if app.asgi or not os.environ.get("SANIC_WORKER_PROCESS"):
                drain.install_once(seconds)  # another server's handler, or none
            elif hasattr(app, "multiplexer"):
                asyncio.get_running_loop().add_signal_handler(_DRAIN, drain.drain)
            elif callable(signal.getsignal(signal.SIGTERM)):  # else Sanic was to leave it alone
                drain.install_at_loop(seconds, partial(app.stop, terminate=False))

    def _at_stop(self, _: Sanic[Any, Any]) -> None:
        self.registry.close()

    async def _respond(self, endpoint: Endpoint, request: Request) -> HTTPResponse:
        """Serve one of Dockerflow's own paths."""
        core = _core_of(request.app)
        response = await core.aanswer(
            endpoint,
            _neutral(request, core),
            debug=bool(request.app.debug),
            version=partial(self._version, core),
        )
        headers = dict(response.headers)
        content_type = headers.pop("Content-Type", None)
        return HTTPResponse(response.body, response.status, headers, content_type)

    def _version(self, core: Core) -> object:
        callback = self.get_version
        return VERSION_FILE if callback is None else callback(str(core.config.version_path))

    async def _on_request(self, request: Request) -> HTTPResponse | None:
        endpoint: Endpoint | None = None
        with Guarded(logger, "The request's id could not be set"):
            endpoint = self._exchange(request).endpoint
        # The route of /__error__ raises where the app's error handling shows it.
        if endpoint is None or endpoint == "error":
            return None
        return await self._respond(endpoint, request)

    def _exchange(self, request: Request) -> Exchange:
        """Return the exchange of this request; begin it if it is new."""
        exchange: Exchange | None = getattr(request.ctx, _EXCHANGE, None)
        return self._begin(request) if exchange is None else exchange

    def _begin(self, request: Request) -> Exchange:
        core = _core_of(request.app)
        path = request.path
        if request.app.asgi:
            path = path_below(path, request.scope.get("root_path", ""))
        exchange = Exchange(core.settings, _neutral(request, core), core.paths.get(path))
        exchange.logger = self.summary_logger
        exchange.source = request
        exchange.peer = request.ip or ""
        setattr(request.ctx, _EXCHANGE, exchange)
        request.ctx.id = exchange.rid
        request.ctx.start_timestamp = time.time()
        exchange.enter()
        task = asyncio.current_task()
        if task is not None and request.scheme not in {"ws", "wss"}:
            # Sanic's own server has one task for all of a connection's requests.
            abandon = partial(_abandon, exchange)
            task.add_done_callback(abandon)
            setattr(request.ctx, _FORGET, partial(task.remove_done_callback, abandon))
        return exchange

    async def _on_response(self, request: Request, response: BaseHTTPResponse) -> None:
        with Guarded(logger, "The request's id could not be sent back"):
            exchange = self._exchange(request)
            if not exchange.client_gone:
                exchange.status = response.status
            exchange.route = request.uri_template
            name, value = exchange.id_header
            headers = cast("MutableMapping[str, str]", response.headers)
            headers.setdefault(name, value)

    async def _on_exception(self, request: Request, exception: BaseException) -> None:
        with _completing:
            exchange = self._exchange(request)
            if isinstance(exception, RequestCancelled):
                exchange.client_gone = True  # Sanic's response to it reaches nobody
            else:
                exchange.handled = exception
            if request.stream is not None and request.stream.stage is not Stage.HANDLER:
                # The response went out in part already: Sanic can't send another.
                self._end(exchange, request, exception)

    async def _on_end(self, request: Request, response: HTTPResponse) -> None:
        with _completing:
            exchange = self._exchange(request)
            if not exchange.client_gone:
                exchange.status = response.status
            self._end(exchange, request)

    def _end(
        self, exchange: Exchange, request: Request, exception: BaseException | None = None
    ) -> None:
        try:
            if not exchange.is_ended:
                self._collect(exchange, request)
        finally:
            exchange.end(exception)
            exchange.leave()
            getattr(request.ctx, _FORGET, _nothing)()

    def _collect(self, exchange: Exchange, request: Request) -> None:
        """Take the fields as a ``summary_extra()`` of the app changes them."""
        summary_extra: Any = self.summary_extra
        if getattr(summary_extra, "__func__", None) is Dockerflow.summary_extra:
            return
        own = Dockerflow.summary_extra(self, request)
        given = summary_extra(request) if signature(summary_extra).parameters else summary_extra()
        exchange.change(own, given)


def _core_of(app: Sanic[Any, Any]) -> Core:
    """Return the core for the settings that the app has now."""
    core: Core = app.ctx.dockerflow_cores.get()
    return core


def _neutral(request: Request, core: Core) -> NeutralRequest:
    """Return what the core needs of a request."""
    headers: dict[str, str] = {}
    for name in core.settings.raw_headers.values():
        lines = cast("list[str]", request.headers.getall(name, []))
        if lines:
            headers[name] = ",".join(lines) if name in LIST_HEADERS else lines[0]
    return NeutralRequest(request.method, request.path, request.query_string, headers)


def _tell_workers(app: Sanic[Any, Any]) -> None:
    for name, worker in app.manager.transient.items():
        if name.startswith(WorkerProcess.SERVER_LABEL):
            for process in filter(WorkerProcess.is_alive, worker.processes):
                with suppress(ProcessLookupError):
                    os.kill(cast("Any", process).pid, _DRAIN)  # its types are partial


def _nothing() -> None: ...


def _abandon(exchange: Exchange, _: asyncio.Task[Any]) -> None:
    """Summarise a request whose task was cancelled, as when its client left."""
    if not exchange.is_ended:
        exchange.client_gone = True
        exchange.end()
