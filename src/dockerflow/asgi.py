"""The ASGI driver: Dockerflow around any ASGI 3 application."""

from __future__ import annotations

import logging
import time

from dockerflow._core.app import EXCHANGE, Core, Exchange, summary_logger
from dockerflow._core.messages import Request
from dockerflow._core.request_id import choose_request_id
from dockerflow._core.summary import FORWARDED, KEY, SERVER_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from typing import Any, ClassVar, Final, TypeAlias

    from dockerflow._core.endpoints import Endpoint
    from dockerflow._core.messages import Response
    from dockerflow.checks.registry import Registry
    from dockerflow.config import Config

__all__ = ["DockerflowMiddleware"]

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
ASGIApp: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"


class DockerflowMiddleware:
    """Serve Dockerflow's endpoints in front of an ASGI application, and summarise its requests.

    Works as a wrapper, ``app = DockerflowMiddleware(app)``, and as a middleware class,
    ``app.add_middleware(DockerflowMiddleware)``. Only HTTP requests are touched; websockets and
    lifespan events go through as they came.

    :param app: the application.
    :param config: the settings; by default those of the environment.
    :param registry: the checks of the heartbeat; by default the process's own.
    :raises ConfigError: when a setting in the environment is wrong.

    .. versionadded:: 0.1.0
    """

    # What adapters take a part of only: endpoints and summaries; ids there are always.
    _has_endpoints: ClassVar[bool] = True
    _summarises: ClassVar[bool] = True
    _has_live_core: ClassVar[bool] = False
    _logger: logging.Logger | None = None
    """Where summaries go, if not to ``request.summary``."""

    # Servers take the signals before their first call, but after they have imported the app.
    _has_installed = False

    def __init__(
        self, app: ASGIApp, *, config: Config | None = None, registry: Registry | None = None
    ) -> None:
        self._set_up(app, Core(config, registry))

    def _set_up(self, app: ASGIApp, core: Core) -> None:
        self.app = app
        self._core = core
        self._names = _HeaderNames(core.wanted_headers)
        self._id_header = core.response_header.lower().encode("latin-1")

    async def __call__(  # noqa: C901, PLR0912 - calls cost
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self._pass_on(scope, receive, send)
            return
        if self._has_live_core:
            self._update(scope)
        if not self._has_installed:
            self._install_drain()
        path: str = scope["path"]
        if scope.get("root_path"):
            path = _route_path(scope)
        endpoint = self._core.paths.get(path) if self._has_endpoints else None
        if EXCHANGE in scope:  # another of our middlewares further out does the rest
            self._join(scope[EXCHANGE])
            if endpoint is None:
                await self.app(scope, receive, send)
            else:
                await _send_response(send, await self._respond(endpoint, scope))
            return

        request = _request(scope, self._names)
        if endpoint == "lbheartbeat" and not (
            self._summarises and self._core.logs_probes(self._logger or summary_logger)
        ):
            # Load balancers ask this all the time, and nothing is left that could want more.
            response = self._core.respond(endpoint, request.method, None)
            rid = choose_request_id(request.headers, self._core.id_headers)
            await _send_response(send, response, (self._id_header, rid.encode("latin-1")))
            return
        exchange = _Exchange(self._core, request, endpoint, summarises=self._summarises)
        exchange.connect(scope, receive, send, self._id_header)
        self._join(exchange)
        scope[EXCHANGE] = exchange
        scope[KEY] = exchange.extra
        exchange.enter()
        try:
            if endpoint is None:
                await self.app(scope, exchange.receive, exchange.send)
            else:
                await exchange.respond(await self._respond(endpoint, scope))
        except BaseException as error:
            # What escapes because the client left is no failure of the app.
            exchange.end(None if exchange.send_failed else error)
            raise
        else:
            if not exchange.is_ended:
                exchange.end()
        finally:
            # Whoever made the scope may use it again.
            scope.pop(EXCHANGE, None)
            scope.pop(KEY, None)
            exchange.leave()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._has_installed:
            self._install_drain()
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":  # the app has ended
                self._core.registry.close()

    def _update(self, scope: Scope) -> None:
        """Take another core, where the settings may have changed."""

    def _install_drain(self) -> None:
        self._has_installed = True
        self._core.install_drain()

    def _join(self, exchange: Exchange) -> None:
        if self._summarises:
            exchange.summarises = True
            if self._logger is not None:
                exchange.logger = self._logger

    async def _respond(self, endpoint: Endpoint, scope: Scope) -> Response:
        """Return the answer of one of Dockerflow's own paths."""
        core, method = self._core, scope["method"]
        results = None
        if core.needs_checks(endpoint, method):
            results = await core.registry.arun(core.config)
        accept = _accept(scope) if endpoint == "heartbeat" else ""
        return core.respond(endpoint, method, results, accept=accept)


class _Exchange(Exchange):
    """A request whose answer goes out through :meth:`send`."""

    send_failed = False

    def connect(self, scope: Scope, receive: Receive, send: Send, id_header: bytes) -> None:
        """Take the channels to the server, and the name of the header that sends the id back."""
        self.source = scope
        self._receive = receive
        self._send = send
        self._id_header = id_header

    def complete(self) -> None:
        if client := self.source.get("client"):
            self.peer = client[0]
        # FastAPI and Starlette put the route that they chose here.
        if (route := self.source.get("route")) is not None:
            self.route = getattr(route, "path", None)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.finished:
            self.client_gone = True
        return message

    async def send(self, message: Message) -> None:  # noqa: C901 - calls cost
        kind = message["type"]
        if kind == "http.response.start":
            wanted = self._id_header
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            for name, _ in headers:
                if len(name) == len(wanted) and name.lower() == wanted:
                    break  # the app has sent it
            else:
                headers.append((wanted, self.rid.encode("latin-1")))
            # The app's own message stays as it is: it may send it again.
            message = {**message, "headers": headers}
        try:
            await self._send(message)
        except OSError:  # how a server tells that the client left (ASGI's HTTP spec, 2.4)
            self.client_gone = self.send_failed = True
            raise
        if kind == "http.response.body":
            if message.get("more_body", False):
                return
        elif kind != "http.response.pathsend":
            if kind == "http.response.start":
                self.status = message["status"]
            return
        if not self.finished:
            self.finished = time.monotonic()
            # After an error's answer its exception is still to come, as from Starlette.
            if self.status is not None and self.status < SERVER_ERROR:
                self.end()

    async def respond(self, response: Response) -> None:
        """Send an answer that is our own, and whole."""
        start, body = _messages(response, (self._id_header, self.rid.encode("latin-1")))
        try:
            await self._send(start)
            self.status = response.status
            await self._send(body)
        except OSError:
            self.client_gone = self.send_failed = True
            raise
        self.finished = time.monotonic()


class _HeaderNames(dict[bytes, str]):
    """By a header's name as it came, our name for it; empty for one that doesn't matter.

    Servers send the same few names in lower case again and again, but test clients needn't.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        super().__init__((name.encode("latin-1"), name) for name in wanted)

    def __missing__(self, key: bytes) -> str:
        name = self.get(key.lower(), "")
        if len(self) < _MAX_NAMES:  # a client may send ever new ones
            self[key] = name
        return name


_MAX_NAMES: Final = 1000


def _request(scope: Scope, names: _HeaderNames) -> Request:
    """Return what the core needs of the scope, decoding none of the other headers."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        if name := names[key]:
            if name not in headers:  # the first one counts
                headers[name] = value.decode("latin-1")
            elif name == FORWARDED:  # but each proxy may add a line of its own (RFC 9110, 5.3)
                headers[name] += "," + value.decode("latin-1")
    path: str = _full_path(scope) if scope.get("root_path") else scope["path"]
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(scope["method"], path, query, headers)


def _accept(scope: Scope) -> str:
    lines = [value for name, value in scope["headers"] if name.lower() == b"accept"]
    return b",".join(lines).decode("latin-1")


async def _send_response(
    send: Send, response: Response, *more_headers: tuple[bytes, bytes]
) -> None:
    start, body = _messages(response, *more_headers)
    await send(start)
    await send(body)


def _messages(response: Response, *more_headers: tuple[bytes, bytes]) -> tuple[Message, Message]:
    headers = [*response.raw_headers(), *more_headers]
    return (
        {"type": "http.response.start", "status": response.status, "headers": headers},
        {"type": "http.response.body", "body": response.body},
    )


def _route_path(scope: Scope) -> str:
    """Return the path below what the app is mounted under.

    ``path`` has the mount in it by the ASGI spec, but not from every server and router.
    """
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _full_path(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path if path == root or path.startswith(root + "/") else root + path
