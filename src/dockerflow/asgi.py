"""The ASGI driver: Dockerflow around any ASGI 3 application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from dockerflow._core import Core
from dockerflow._http import Request, Response
from dockerflow._request_id import choose_request_id, request_id_context
from dockerflow._summary import KEY, SERVER_ERROR, Outcome
from dockerflow.checks.registry import Registry
from dockerflow.config import Config

__all__ = ["DockerflowMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


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

    def __init__(
        self, app: ASGIApp, *, config: Config | None = None, registry: Registry | None = None
    ) -> None:
        self.app = app
        self._core = core = Core(config, registry)
        self._wanted = {name.encode("latin-1"): name for name in core.wanted_headers}
        self._id_header = core.response_header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        endpoint = self._core.paths.get(_route_path(scope))
        if KEY in scope:  # another of our middlewares further out does the rest
            app = self.app if endpoint is None else self._endpoint
            await app(scope, receive, send)
            return

        started = time.monotonic()
        request = self._request(scope)
        rid = choose_request_id(request.headers, self._core.id_headers)
        extra: dict[str, Any] = {}
        scope[KEY] = extra
        exchange = _Exchange(receive, send, (self._id_header, rid.encode("latin-1")))

        def summarise(exception: BaseException | None = None) -> None:
            exchange.is_summarised = True
            self._core.summarise(
                request,
                Outcome(exchange.status, exception, exchange.client_gone),
                seconds=(exchange.finished or time.monotonic()) - started,
                rid=rid,
                extra=extra,
                endpoint=endpoint,
            )

        exchange.on_last_byte = summarise
        app = self.app if endpoint is None else self._endpoint
        token = request_id_context.set(rid)
        try:
            await app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            if not exchange.is_summarised:
                # What escapes because the client left is no failure of the app.
                summarise(None if exchange.send_failed else error)
            raise
        else:
            if not exchange.is_summarised:
                summarise()
        finally:
            scope.pop(KEY, None)  # whoever made the scope may use it again
            try:
                request_id_context.reset(token)
            except ValueError:  # ended in another context, as when it is garbage collected
                request_id_context.set(None)

    async def _endpoint(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer one of Dockerflow's own paths, as an ASGI application."""
        core = self._core
        endpoint, method = core.paths[_route_path(scope)], scope["method"]
        results = None
        if core.needs_checks(endpoint, method):
            results = await core.registry.arun(core.config)
        await _send_response(send, core.respond(endpoint, method, results))

    def _request(self, scope: Scope) -> Request:
        """Return what the core needs of the scope, decoding none of the other headers."""
        headers = {}
        wanted = self._wanted
        for key, value in scope["headers"]:
            # Servers send lower-case names, but test clients needn't. The first one counts.
            name = wanted.get(key) or wanted.get(key.lower())
            if name is not None and name not in headers:
                headers[name] = value.decode("latin-1")
        query = scope.get("query_string", b"").decode("latin-1")
        return Request(scope["method"], _full_path(scope), query, headers)


class _Exchange:
    """What is known of one request's answer while it goes out."""

    __slots__ = (
        "_id_header",
        "_receive",
        "_send",
        "client_gone",
        "finished",
        "is_summarised",
        "on_last_byte",
        "send_failed",
        "status",
    )

    def __init__(self, receive: Receive, send: Send, id_header: tuple[bytes, bytes]) -> None:
        self._receive = receive
        self._send = send
        self._id_header = id_header
        self.status: int | None = None
        self.client_gone = False
        self.finished = 0.0
        self.is_summarised = False
        self.send_failed = False
        self.on_last_byte: Callable[[], None]

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.finished:
            self.client_gone = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            # The app's own message stays as it is: it may send it again.
            message = dict(message)
            headers: Iterable[tuple[bytes, bytes]] = message.get("headers", ())
            message["headers"] = headers = list(headers)
            if all(name.lower() != self._id_header[0] for name, _ in headers):
                headers.append(self._id_header)
            self.status = message["status"]
        try:
            await self._send(message)
        except OSError:  # how a server tells that the client left (ASGI's HTTP spec, 2.4)
            self.client_gone = self.send_failed = True
            raise
        if (
            (kind == "http.response.body" and not message.get("more_body", False))
            or (kind == "http.response.pathsend")
        ) and not self.finished:
            self.finished = time.monotonic()
            # After an error's answer its exception is still to come, as from Starlette.
            if self.status is not None and self.status < SERVER_ERROR:
                self.on_last_byte()


async def _send_response(send: Send, response: Response) -> None:
    headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _route_path(scope: Scope) -> str:
    """Return the path below what the app is mounted under.

    ``path`` has the mount in it by the ASGI spec, but not from every server and router.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _full_path(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path if path.startswith(root) else root + path
