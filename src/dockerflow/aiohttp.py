"""Dockerflow for aiohttp.web: endpoints, request IDs and summaries around an application."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from dockerflow import drain, sentry
from dockerflow._core.app import Core
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.exchange import EXCHANGE, Exchange
from dockerflow._core.messages import EXPOSE, Request
from dockerflow._core.settings import LIST_HEADERS, RequestSettings
from dockerflow._core.summary import KEY
from dockerflow.checks.registry import Registry
from dockerflow.config import Config

__all__ = ["SUMMARY", "setup"]


def _key(name: str, kind: type[Any]) -> Any:
    return web.RequestKey(name, kind) if hasattr(web, "RequestKey") else name  # aiohttp 3.14


_EXCHANGE: Final[Any] = _key(EXCHANGE, Exchange)
SUMMARY: Final[Any] = _key(KEY, dict)
"""``request[SUMMARY]`` is a dictionary of the fields that the app adds to the request's summary.

.. versionadded:: 0.1.0
"""


def setup(
    app: web.Application, *, config: Config | None = None, registry: Registry | None = None
) -> None:
    """Serve Dockerflow's endpoints in an application, and log request summaries.

    Call it before the app starts or is mounted in another one.

    :param app: the application.
    :param config: the settings; by default those of the environment.
    :param registry: the checks of the heartbeat; by default the process-wide registry.
    :raises ConfigError: when a setting in the environment is invalid.
    :raises TypeError: when ``config`` isn't a ``Config``, or ``registry`` isn't a ``Registry``.

    .. versionadded:: 0.1.0
    """
    _Dockerflow(Core(config, registry)).add_to(app)


class _Dockerflow:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._endpoints: dict[web.AbstractResource | None, Endpoint] = {}

    def add_to(self, app: web.Application) -> None:
        # Routes, because they follow the app to its mount point.
        for path, endpoint in self._core.paths.items():
            resource = app.router.add_resource(path)
            resource.add_route("*", partial(self._view, endpoint))
            self._endpoints[resource] = endpoint
        app.middlewares.insert(0, self._middleware)
        app.on_response_prepare.append(self._on_prepare)
        app.on_startup.append(self._on_startup)
        app.on_cleanup.insert(0, self._on_cleanup)  # before the app closes what the checks use

    async def _on_startup(self, _: web.Application) -> None:
        drain.install_once(self._core.config.drain_seconds)

    async def _on_cleanup(self, _: web.Application) -> None:
        self._core.registry.close()

    async def _view(self, endpoint: Endpoint, request: web.Request) -> web.Response:
        is_debug = asyncio.get_running_loop().get_debug()  # which is also aiohttp's debug mode
        made = _make_request(request, self._core.settings)
        response = await self._core.aanswer(endpoint, made, debug=is_debug)
        headers = dict(response.headers)
        return web.Response(body=response.body, status=response.status, headers=headers)

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._core.drains:
            # Again, because the app may have set its own SIGTERM handler after startup.
            self._core.install_drain()
        exchange = self._begin(request)
        if request.match_info.route.resource in self._endpoints:
            handler = request.match_info.handler  # without the app's other middlewares
        try:
            return await handler(request)
        except web.HTTPException:  # a response
            raise
        except Exception as error:
            exchange.client_gone |= _is_gone(request)
            exchange.handled = error
            raise

    def _begin(self, request: web.Request) -> Exchange:
        """Return this request's exchange, and begin one if there is none."""
        settings, resource = self._core.settings, request.match_info.route.resource
        endpoint = self._endpoints.get(resource)
        exchange: Exchange | None = request.get(_EXCHANGE)
        if exchange is not None:
            exchange.endpoint = exchange.endpoint or endpoint
            return exchange
        made = _make_request(request, settings)
        exchange = Exchange(settings, made, endpoint, source=request, peer=request.remote or "")
        exchange.route = getattr(resource, "canonical", None)
        request[_EXCHANGE], request[SUMMARY] = exchange, exchange.extra
        exchange.enter()
        # aiohttp has a task for each request, which ends when the last byte has been sent.
        if (task := asyncio.current_task()) is not None:
            task.add_done_callback(partial(_end, exchange))
        return exchange

    async def _on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        exchange = self._begin(request)
        if isinstance(response, web.WebSocketResponse):
            exchange.logger = None
            return
        exchange.client_gone |= _is_gone(request)
        if exchange.status is None:  # otherwise a response has begun and was cut off
            exchange.begin_response(response.status)
        response.headers.setdefault(*exchange.id_header)
        if exchange.must_expose_id(response.headers.getall(EXPOSE, [])):
            response.headers.add(EXPOSE, exchange.id_header[0])


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _make_request(request: web.Request, settings: RequestSettings) -> Request:
    headers: dict[str, str] = {}
    for name in settings.headers:
        if lines := request.headers.getall(name, []):
            value = ",".join(lines) if name in LIST_HEADERS else lines[0]
            headers[name] = value.encode("utf-8", "surrogateescape").decode("latin-1")
    return Request(request.method, request.path, request.rel_url.raw_query_string, headers)


def _end(exchange: Exchange, task: asyncio.Task[Any]) -> None:
    """Log the summary of a request whose task has ended."""
    exchange.client_gone |= task.cancelled()
    error = None if exchange.client_gone else task.exception()
    if isinstance(error, ConnectionError):  # raised by aiohttp when a response was cut off
        error = exchange.handled
    if error is not None or exchange.handled is not None:
        sentry.hide_summary(exchange)
    exchange.end(error)
    exchange.leave()
    exchange.source = None  # which refers to the exchange
