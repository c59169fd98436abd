"""The ASGI driver: Dockerflow around any ASGI 3 application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from dockerflow import sentry
from dockerflow._core.app import Core
from dockerflow._core.endpoints import SERVER_ERROR, Endpoint, path_below
from dockerflow._core.exchange import EXCHANGE, Exchange, summary_logger
from dockerflow._core.messages import EXPOSE, Request, Response
from dockerflow._core.settings import LIST_HEADERS, RequestSettings
from dockerflow._core.summary import KEY
from dockerflow.checks.registry import Registry
from dockerflow.config import Config

__all__ = ["DockerflowMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_EXPOSE: Final = EXPOSE.lower().encode()


class DockerflowMiddleware:
    """Serve Dockerflow's endpoints in front of an ASGI application, and summarise its requests.

    Works as a wrapper, ``app = DockerflowMiddleware(app)``, and as a middleware class,
    ``app.add_middleware(DockerflowMiddleware)``. Only HTTP requests are touched; websockets and
    lifespan events are passed through unchanged.

    :param app: the application.
    :param config: the settings; by default those of the environment.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :raises ConfigError: when a setting in the environment is invalid.
    :raises TypeError: when ``config`` isn't a ``Config``, or ``registry`` isn't a ``Registry``.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self, app: ASGIApp, *, config: Config | None = None, registry: Registry | None = None
    ) -> None:
        self.app = app
        self._core = Core(config, registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._pass_on(scope, receive, send)
            return
        core = self._core_of(scope)
        if core.drains:
            core.install_drain()
        endpoint = None
        if self._serves_endpoints:
            path, root = scope["path"], scope.get("root_path")
            endpoint = core.paths.get(path_below(path, root) if root else path)
        outer: Exchange | None = scope.get(EXCHANGE)
        if outer is not None:  # another of our middlewares further out does the rest
            outer.endpoint = outer.endpoint or endpoint
            self._join(outer)
            await self._serve(core, endpoint, scope, receive, send)
            return

        exchange = _Exchange(core, endpoint, scope, receive, send)
        self._join(exchange)
        scope[EXCHANGE] = exchange
        scope[KEY] = exchange.extra
        exchange.enter()
        try:
            await self._serve(core, endpoint, scope, exchange.receive, exchange.send)
            if not exchange.is_ended:
                exchange.end()
        except BaseException as error:
            exchange.end(error)
            raise
        finally:
            exchange.leave()
            # The caller may use the scope again.
            scope.pop(EXCHANGE, None)
            scope.pop(KEY, None)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        core = self._core_of(scope)
        core.install_drain()
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":  # the app has ended
                core.registry.close()

    def _serve(
        self, core: Core, endpoint: Endpoint | None, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        if endpoint is None:
            return self.app(scope, receive, send)
        return self._respond(core, endpoint, scope, send)

    async def _respond(self, core: Core, endpoint: Endpoint, scope: Scope, send: Send) -> None:
        response = await self._answer(core, endpoint, scope)
        headers = response.raw_headers()
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    # Adapters override these.

    _serves_endpoints = True

    def _core_of(self, scope: Scope) -> Core:  # noqa: ARG002 - an adapter has one for each app
        return self._core

    def _join(self, exchange: Exchange) -> None:
        """Take part in a request, as the outermost middleware or as one within it."""
        exchange.logger = exchange.logger or summary_logger

    async def _answer(self, core: Core, endpoint: Endpoint, scope: Scope) -> Response:
        return await core.aanswer(endpoint, make_request(scope, core.settings))


class _Exchange(Exchange):
    """A request whose response goes out through :meth:`send`."""

    send_failed = False

    def __init__(
        self, core: Core, endpoint: Endpoint | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        request = make_request(scope, core.settings)
        super().__init__(core.settings, request, endpoint, source=scope, logger=None)
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.finished:
            self.client_gone = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        is_start = kind == "http.response.start"
        if is_start:
            message = self._with_id(message)
        try:
            await self._send(message)
        except OSError:  # how a server reports that the client left (ASGI's HTTP spec, 2.4)
            self.client_gone = self.send_failed = True
            raise
        if is_start:
            self.begin_response(message["status"])
        elif not self.finished and (
            kind == "http.response.pathsend"
            or (kind == "http.response.body" and not message.get("more_body", False))
        ):
            self.finished = time.monotonic()
            # After the response to an error its exception is still to come, as from Starlette.
            if self.status is not None and self.status < SERVER_ERROR:
                self.end()

    def _with_id(self, message: Message) -> Message:
        headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
        name = self._settings.raw_response_header
        if name not in [key.lower() for key, _ in headers]:
            headers.append((name, self.rid.encode("latin-1")))
        if self._settings.config.request_id_expose_header:
            exposed = [value.decode("latin-1") for key, value in headers if key.lower() == _EXPOSE]
            if self.must_expose_id(exposed):
                headers.append((_EXPOSE, self.id_header[0].encode("latin-1")))
        # The app's own message stays as it is: it may send it again.
        return {**message, "headers": headers}

    def end(self, exception: BaseException | None = None) -> None:
        """Log the summary, with what the server and the framework have put into the scope."""
        if self.is_ended and exception is None:
            return
        client = self.source.get("client")
        if client:
            self.peer = client[0]
        # FastAPI and Starlette put the route that they chose here.
        self.route = getattr(self.source.get("route"), "path", None)
        if self.send_failed:  # what escapes because the client left is not a failure of the app
            exception = None
        if exception is not None:
            sentry.hide_summary(self)
        super().end(exception)


def make_request(scope: Scope, settings: RequestSettings) -> Request:
    """Return what the core needs of the scope, decoding none of the other headers."""
    wanted = settings.raw_headers
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name = wanted.get(key.lower())  # in lower case already, but not from every test client
        if name is None:
            continue
        if name not in headers:
            headers[name] = value.decode("latin-1")
        elif name in LIST_HEADERS:
            headers[name] += "," + value.decode("latin-1")
    path: str = scope["path"]
    if root := scope.get("root_path"):
        path = _full_path(path, root.rstrip("/"))
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(scope["method"], path, query, headers)


def _full_path(path: str, root: str) -> str:
    if path == root or path.startswith(root + "/"):
        return path
    return root + path
