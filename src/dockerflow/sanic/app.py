"""The Sanic extension: endpoints, request IDs and summaries around an app."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ctypes import c_bool
from functools import partial
from inspect import isawaitable
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any, Final, cast

from sanic import HTTPResponse, Request, Sanic
from sanic.constants import HTTP_METHODS
from sanic.exceptions import NotFound, RequestCancelled
from sanic.http import Stage
from sanic.response import BaseHTTPResponse
from sanic.worker.process import WorkerProcess

from dockerflow import drain, sentry
from dockerflow._core.app import Core
from dockerflow._core.endpoints import Endpoint, group_of, path_below
from dockerflow._core.exchange import Exchange
from dockerflow._core.extension import (
    ALREADY_ADDED,
    Extension,
    is_overridden,
    make_config,
    read_settings,
    version_of,
)
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import EXPOSE
from dockerflow._core.messages import Request as CoreRequest
from dockerflow._core.settings import LIST_HEADERS, Reloading, warn_of_unknown
from dockerflow.checks._check import signature
from dockerflow.checks.registry import Registry
from dockerflow.sanic.checks import check_redis_connected

logger: logging.Logger = logging.getLogger("dockerflow.sanic")

_EXCHANGE: Final = "_dockerflow_exchange"
_FORGET: Final = "_dockerflow_forget"
_FIRST: Final = 1_000_000
_HERE: Final = "."
# Tells a worker to drain. Processes without a handler for it ignore it.
_DRAIN: Final[Any] = getattr(signal, "SIGURG", None)


class Dockerflow(Extension):
    """Dockerflow's endpoints, request IDs and summaries for a Sanic app.

    :param app: the app; without one, call :meth:`init_app` later.
    :param redis: a client of ``redis.asyncio``: registers ``check_redis_connected``.
    :param silenced_checks: IDs of check messages to leave out.
    :param version_path: the folder of version.json, or the file.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.

    Subclasses may override :meth:`summary_extra`, and, as python-dockerflow's, the views and
    middlewares whose names begin with an underscore.

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
        super().__init__(silenced_checks, registry, logger)
        self.version_path = version_path
        if redis is not None:
            self.registry.register_partial(check_redis_connected, redis)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Sanic[Any, Any]) -> None:
        """Add Dockerflow to an app, before it starts.

        :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.
        :raises ValueError: when the app already has Dockerflow.
        """
        if hasattr(app.ctx, "dockerflow_cores"):
            raise ValueError(ALREADY_ADDED)
        cores = Reloading(partial(self._read_settings, app), self._make_core)
        app.ctx.dockerflow = self
        app.ctx.dockerflow_cores = cores
        for path, endpoint in cores.get().paths.items():
            if not path.endswith("/"):
                group = group_of(path)
                app.add_route(
                    partial(self._group_view, group) if group else partial(self._view, endpoint),
                    path,
                    methods=HTTP_METHODS,
                    name=f"dockerflow.{endpoint}.{group}" if group else f"dockerflow.{endpoint}",
                    ignore_body=True,
                )
        # Before every other middleware, so that no session or database affects a probe.
        register_middleware: Any = cast("Any", app).register_middleware  # its types are partial
        register_middleware(self._on_request, "request", priority=_FIRST)
        register_middleware(self._response_middleware, "response", priority=_FIRST)
        app.add_signal(self._exception_handler, "http.lifecycle.exception")
        app.add_signal(self._on_end, "http.lifecycle.response")
        app.register_listener(self._before_processes, "main_process_start")
        app.register_listener(self._in_main_process, "main_process_ready")
        app.register_listener(self._before_start, "before_server_start")
        app.register_listener(self._at_start, "after_server_start")
        app.register_listener(self._at_stop, "after_server_stop")

    def summary_extra(self, request: Request | None = None) -> dict[str, Any]:
        """Return the fields of the request's summary, as far as they are known.

        The summary has them as a subclass returns them; only ``code`` and ``t`` are always the real
        ones.

        :param request: by default the one that is being served.
        """
        exchange = self._exchange(Request.get_current() if request is None else request)
        return exchange.fields()

    def _read_settings(self, app: Sanic[Any, Any]) -> dict[str, Any]:
        path = None if self.version_path == _HERE else self.version_path
        return read_settings(self, cast("dict[str, Any]", app.config), path)

    def _make_core(self, settings: Mapping[str, Any]) -> Core:
        return Core(make_config(settings, _HERE), self.registry)

    def _before_start(self, app: Sanic[Any, Any]) -> None:
        """Fail if a setting that was made after init_app() is wrong."""
        warn_of_unknown(app.config, "app.config")
        self._make_core(self._read_settings(app))

    def _before_processes(self, app: Sanic[Any, Any]) -> None:
        app.shared_ctx.dockerflow_is_draining = RawValue(c_bool)

    def _in_main_process(self, app: Sanic[Any, Any]) -> None:
        """Forward SIGTERM to the processes that serve: Sanic's manager is their parent."""
        self._before_start(app)
        seconds = _core_of(app).config.drain_seconds
        drain.install_in_parent(seconds, partial(_notify_workers, app))

    def _at_start(self, app: Sanic[Any, Any]) -> None:
        seconds = _core_of(app).config.drain_seconds
        if not seconds:
            return
        with Guarded(self.logger, "drain_seconds has no effect"):
            if app.asgi or not os.environ.get("SANIC_WORKER_PROCESS"):
                drain.install_once(seconds)  # another server's handler, or none
            elif hasattr(app, "multiplexer"):
                asyncio.get_running_loop().add_signal_handler(_DRAIN, drain.drain)
                # A signal that came before the handler is lost. Of several apps, one has the flag.
                is_draining: c_bool | None = getattr(app.shared_ctx, "dockerflow_is_draining", None)
                if is_draining is not None and is_draining.value:
                    drain.drain()
            elif callable(signal.getsignal(signal.SIGTERM)):  # else Sanic leaves signals alone
                drain.install_at_loop(seconds, partial(app.stop, terminate=False))

    def _at_stop(self, _: Sanic[Any, Any]) -> None:
        self.registry.close()

    async def _respond(self, endpoint: Endpoint, request: Request) -> HTTPResponse:
        core = _core_of(request.app)
        response = await core.aanswer(
            endpoint,
            _make_request(request, core),
            debug=bool(request.app.debug),
            version=version_of(self, core),
            error_logger=self.logger,
        )
        return HTTPResponse(response.body, response.status, dict(response.headers))

    async def _view(self, endpoint: Endpoint, request: Request) -> HTTPResponse:
        """Serve one of Dockerflow's own paths, as a subclass may do itself."""
        response: Any = getattr(self, f"_{endpoint}_view")(request)
        if isawaitable(response):
            response = await response
        return cast("HTTPResponse", response)

    async def _group_view(self, group: str, request: Request) -> HTTPResponse:
        # The settings may have changed since the route was made.
        if group not in _core_of(request.app).config.heartbeat_groups:
            raise NotFound(f"Requested URL {request.path} not found")
        return await self._view("heartbeat", request)

    async def _version_view(self, request: Request) -> HTTPResponse:
        return await self._respond("version", request)

    async def _heartbeat_view(self, request: Request) -> HTTPResponse:
        return await self._respond("heartbeat", request)

    async def _lbheartbeat_view(self, request: Request) -> HTTPResponse:
        return await self._respond("lbheartbeat", request)

    async def _error_view(self, request: Request) -> HTTPResponse:
        return await self._respond("error", request)

    async def _on_request(self, request: Request) -> HTTPResponse | None:
        self._request_middleware(request)
        exchange: Exchange | None = getattr(request.ctx, _EXCHANGE, None)
        # /__error__ raises in its route, within the app's error handling.
        if exchange is None or exchange.endpoint is None or exchange.endpoint == "error":
            return None
        return await self._view(exchange.endpoint, request)

    def _request_middleware(self, request: Request) -> None:
        with Guarded(self.logger, "The request ID could not be set"):
            extract_request_id(request)

    def _exchange(self, request: Request) -> Exchange:
        """Return the exchange of this request; begin it if it is new."""
        exchange: Exchange | None = getattr(request.ctx, _EXCHANGE, None)
        return self._begin(request) if exchange is None else exchange

    def _begin(self, request: Request) -> Exchange:
        core = _core_of(request.app)
        path = request.path
        if request.app.asgi:
            path = path_below(path, request.scope.get("root_path", ""))
        exchange = Exchange(
            core.settings,
            _make_request(request, core),
            core.paths.get(path),
            source=request,
            peer=request.ip or "",
            logger=self.summary_logger,
        )
        setattr(request.ctx, _EXCHANGE, exchange)
        request.ctx.start_timestamp = exchange.created
        exchange.enter()
        task: asyncio.Task[Any] | None = None
        with suppress(RuntimeError):  # without an event loop, as tests call the middlewares
            task = asyncio.current_task()
        if task is not None and request.scheme not in {"ws", "wss"}:
            # Sanic's own server has one task for all of a connection's requests.
            abandon = partial(_abandon, exchange)
            task.add_done_callback(abandon)
            setattr(request.ctx, _FORGET, partial(task.remove_done_callback, abandon))
        return exchange

    def _response_middleware(self, request: Request, response: BaseHTTPResponse) -> None:
        with Guarded(self.logger, "The request ID could not be sent back"):
            exchange = self._exchange(request)
            exchange.begin_response(response.status)
            exchange.route = request.uri_template
            name, value = exchange.id_header
            headers: Any = response.headers
            headers.setdefault(name, value)
            if exchange.must_expose_id(headers.getall(EXPOSE, [])):
                headers.add(EXPOSE, name)

    def _exception_handler(self, request: Request, exception: BaseException) -> None:
        with self._completing():
            exchange = self._exchange(request)
            if isinstance(exception, RequestCancelled):
                exchange.client_gone = True  # nobody receives Sanic's response to it
            else:
                exchange.handled = exception
                sentry.hide_summary(exchange)
            if request.stream is not None and request.stream.stage is not Stage.HANDLER:
                # The response went out in part already: Sanic can't send another.
                self._end(exchange, request, exception)

    async def _on_end(self, request: Request, response: HTTPResponse) -> None:
        # This may be another response: one of the app's middlewares replaced it, or failed.
        Dockerflow._response_middleware(self, request, response)
        with self._completing():
            self._end(self._exchange(request), request)

    def _completing(self) -> Guarded:
        return Guarded(self.logger, "A request summary could not be completed")

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
        """Take the fields as a subclass changes them."""
        if not is_overridden(self, "summary_extra", Dockerflow):
            return
        own = Dockerflow.summary_extra(self, request)
        summary_extra: Any = self.summary_extra
        given = summary_extra(request) if signature(summary_extra).parameters else summary_extra()
        exchange.change(own, given)


def extract_request_id(request: Request) -> None:
    """Set the request's ID where apps look for it; the middleware calls it for each request."""
    request.ctx.id = request.app.ctx.dockerflow._exchange(request).rid  # noqa: SLF001


def _core_of(app: Sanic[Any, Any]) -> Core:
    """Return the core for the settings that the app has now."""
    core: Core = app.ctx.dockerflow_cores.get()
    return core


def _make_request(request: Request, core: Core) -> CoreRequest:
    """Return what the core needs of a request."""
    headers: dict[str, str] = {}
    for name in core.settings.headers:
        lines = cast("list[str]", request.headers.getall(name, []))
        if lines:
            headers[name] = ",".join(lines) if name in LIST_HEADERS else lines[0]
    return CoreRequest(request.method, request.path, request.query_string, headers)


def _notify_workers(app: Sanic[Any, Any]) -> None:
    app.shared_ctx.dockerflow_is_draining.value = True
    for name, worker in app.manager.transient.items():
        if name.startswith(WorkerProcess.SERVER_LABEL):
            for process in filter(WorkerProcess.is_alive, worker.processes):
                with suppress(ProcessLookupError):
                    os.kill(cast("Any", process).pid, _DRAIN)  # its types are partial


def _nothing() -> None: ...


def _abandon(exchange: Exchange, _: asyncio.Task[Any]) -> None:
    """Summarise a request whose task ended before it, as when its client left."""
    if not exchange.is_ended:
        exchange.client_gone = True
        exchange.end()
