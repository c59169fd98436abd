"""The middleware, which belongs first in ``MIDDLEWARE``."""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.core.signals import got_request_exception
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.utils.functional import LazyObject, empty

from dockerflow._core import summary as _summary
from dockerflow._core.app import EXCHANGE, Core, Exchange
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.messages import Request
from dockerflow.django import _settings, checks, views
from dockerflow.drain import install_once

logger: logging.Logger = logging.getLogger("dockerflow.django")


class DockerflowMiddleware:
    """Serve Dockerflow's endpoints before anything else, and summarise requests.

    One class for WSGI and ASGI. Subclasses may override ``process_request``,
    ``process_response``, ``process_exception`` and ``_build_extra_meta``; under ASGI an
    overridden one runs in Django's thread for sync code, as it may use the database.

    :param get_response: the rest of Django.
    :raises ConfigError: when a setting is wrong.

    .. versionadded:: 0.1.0
    """

    sync_capable = True
    async_capable = True

    viewpatterns: ClassVar[list[tuple[re.Pattern[str], Callable[[HttpRequest], Any]]]] = [
        (re.compile(r"/__version__/?\Z"), views.version),
        (re.compile(r"/__heartbeat__/?\Z"), views.heartbeat),
        (re.compile(r"/__lbheartbeat__/?\Z"), views.lbheartbeat),
    ]

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.async_mode: bool = iscoroutinefunction(get_response)
        if self.async_mode:
            markcoroutinefunction(self)
        # A wrong setting fails here, also where the app isn't in INSTALLED_APPS.
        core = _settings.make(_settings.read())
        checks.update()
        self._drain_seconds = core.config.drain_seconds
        # A gunicorn worker has set its handlers by now, unless the app is loaded before it is.
        install_once(self._drain_seconds, only_over_a_server=True)
        self._has_installed = False

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request; a coroutine does under ASGI."""
        if not self._has_installed:
            self._has_installed = True
            install_once(self._drain_seconds)
        if self.async_mode:
            return self._acall(request)
        exchange = _begin(request, is_driven=True)
        try:
            try:
                response = self.process_request(request)
            except Exception as error:  # noqa: BLE001 - so that the answer has the request's id
                response = response_for_exception(request, error)
            if response is None:
                response = self.get_response(request)
            return self.process_response(request, response)
        except BaseException as error:
            exchange.end(error)
            raise
        finally:
            exchange.leave()

    async def _acall(self, request: HttpRequest) -> Any:
        exchange = _begin(request, is_driven=True)
        try:
            view = self._find_view(request)
            core = _settings.core_of(request)
            if view is views.heartbeat and core.needs_checks("heartbeat", request.method or ""):
                registry = await sync_to_async(checks.registry)()
                with checks.in_surroundings():
                    results = await registry.arun(core.config)
                request.__dict__["_dockerflow_results"] = results
            # What the app gives to a view, such as the version, may block.
            in_thread = view not in (None, views.lbheartbeat)
            try:
                response = await self._hook("process_request", request, in_thread=in_thread)
            except Exception as error:  # noqa: BLE001 - so that the answer has the request's id
                answer: Callable[..., Awaitable[Any]] = sync_to_async(response_for_exception)
                response = await answer(request, error)
            if response is None:
                response = await self.get_response(request)
            return await self._hook("process_response", request, response)
        except BaseException as error:
            exchange.end(error)
            raise
        finally:
            exchange.leave()

    async def _hook(self, name: str, *args: Any, in_thread: bool = False) -> Any:
        """Call a hook: in a thread if it isn't ours, since it may block."""
        hook = getattr(self, name)
        if not in_thread and not any(map(self._is_overridden, (name, "_build_extra_meta"))):
            return hook(*args)
        call: Callable[..., Awaitable[Any]] = sync_to_async(hook, thread_sensitive=True)
        return await call(*args)

    def _is_overridden(self, name: str) -> bool:
        function = getattr(getattr(self, name), "__func__", None)
        return function is not getattr(DockerflowMiddleware, name)

    def _find_view(self, request: HttpRequest) -> Callable[[HttpRequest], Any] | None:
        core = _settings.core_of(request)
        path = request.path_info
        endpoint = core.paths.get(path)
        if self.viewpatterns == _OWN_PATTERNS or endpoint == "error":
            return None if endpoint is None else _VIEWS[endpoint]
        # A subclass has patterns of its own.
        if prefix := core.config.path_prefix:
            if not path.startswith(prefix):
                return None
            path = path[len(prefix) :]
        for pattern, view in self.viewpatterns:
            if pattern.match(path):
                return view
        return None

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Begin a request; return the answer if the path is one of ours."""
        exchange = _begin(request)
        view = self._find_view(request)
        if view is None:
            return None
        exchange.endpoint = _settings.core_of(request).paths.get(request.path_info)
        answer: HttpResponse = view(request)
        return answer

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        """Send the id back, and log the summary, or see to it that the last byte does."""
        exchange = _begin(request)
        exchange.status = response.status_code
        response.headers.setdefault(*exchange.id_header)
        self._collect(exchange, request)
        if _is_outer(request):
            return response
        if getattr(response, "streaming", False):
            _watch(exchange, response)
        else:
            exchange.finished = time.monotonic()
            exchange.end()
            exchange.source = None  # else each other would keep them until the collector runs
        if not _is_driven(request):
            exchange.leave()
        return response

    def process_exception(self, request: HttpRequest, exception: BaseException) -> None:
        """Remember what a view raised; it is an ERROR if the answer is a 5xx."""
        exchange = _begin(request)
        exchange.handled = exception
        # Whoever calls the hooks themselves may call none after this one.
        if not (_is_driven(request) or _is_outer(request) or isinstance(exception, _NO_FAILURES)):
            self._collect(exchange, request)
            exchange.end(exception)

    def _build_extra_meta(self, request: HttpRequest) -> dict[str, Any]:
        """Return the fields of the summary, as they are known by now.

        What a subclass adds, changes or leaves out is so in the summary. Only ``code`` is
        always the real one.
        """
        exchange = _begin(request)
        fields = exchange.fields()
        fields["uid"] = fields.get("uid") or _user_id(request)
        return fields

    def _collect(self, exchange: Exchange, request: HttpRequest) -> None:
        """Take what the summary is to say, while the request is there."""
        try:
            match = request.resolver_match
            if match is not None:
                exchange.route = match.route
            uid = _user_id(request)
            if uid:
                exchange.extra.setdefault("uid", uid)
            if self._is_overridden("_build_extra_meta"):
                ours = DockerflowMiddleware._build_extra_meta(self, request)
                given = self._build_extra_meta(request)
                exchange.change(ours, given)
        except Exception:
            logger.exception("The fields of a summary could not be made")


_OWN_PATTERNS: Final = DockerflowMiddleware.viewpatterns.copy()
_VIEWS: Final[Mapping[Endpoint, Callable[[HttpRequest], Any]]] = {
    "version": views.version,
    "heartbeat": views.heartbeat,
    "lbheartbeat": views.lbheartbeat,
    "error": views.error,
}
# Django answers them with a 4xx.
_NO_FAILURES: Final = (
    Http404,
    PermissionDenied,
    BadRequest,
    SuspiciousOperation,
    MultiPartParserError,
)


def _is_outer(request: HttpRequest) -> bool:
    """Whether a driver further out has the exchange, and summarises."""
    return bool(getattr(request, "_dockerflow_is_outer", False))


def _is_driven(request: HttpRequest) -> bool:
    return bool(getattr(request, "_dockerflow_is_driven", False))


def _begin(request: Any, *, is_driven: bool = False) -> Exchange:
    """Return the request's exchange, made when first asked for."""
    known: dict[str, Any] = vars(request)
    exchange: Exchange | None = known.get("_dockerflow_exchange")
    if exchange is not None:
        return exchange
    carrier = known.get("scope") or request.META
    outer: Exchange | None = carrier.get(EXCHANGE)
    if outer is None:
        core = _settings.live().get()
        known["_dockerflow_core"] = core
        exchange = Exchange(core, _neutral(request, core))
        exchange.source = request
        exchange.peer = request.META.get("REMOTE_ADDR", "")
        exchange.enter()
        # So that a middleware further in, of the ASGI or WSGI kind, knows.
        carrier.setdefault(_summary.KEY, exchange.extra)
    else:
        exchange = outer
    known["_dockerflow_exchange"] = exchange
    known["_dockerflow_is_outer"] = outer is not None
    known["_dockerflow_is_driven"] = is_driven
    known.setdefault("_id", exchange.rid)
    known["_start_timestamp"] = time.time()
    return exchange


def _neutral(request: HttpRequest, core: Core) -> Request:
    meta = request.META
    headers = {name: meta[key] for key, name in _meta_keys(core.wanted_headers) if key in meta}
    return Request(request.method or "", request.path, meta.get("QUERY_STRING", ""), headers)


@lru_cache(maxsize=8)
def _meta_keys(headers: frozenset[str]) -> list[tuple[str, str]]:
    """Return by which keys Django has the headers."""
    return [("HTTP_" + name.upper().replace("-", "_"), name) for name in headers]


def _user_id(request: HttpRequest) -> str:
    """Return who the user is if the app has loaded them; never load them for this."""
    try:
        user: Any = request.__dict__.get("user")
        # A lazy object knows by this whether it was looked up; asking it otherwise would.
        if user is None or (
            isinstance(user, LazyObject) and user.__dict__.get("_wrapped", empty) is empty
        ):
            return ""
        return str(user.get_username()) if user.is_authenticated else ""
    except Exception:
        logger.exception("The user of a request could not be told")
        return ""


def _watch(exchange: Exchange, response: Any) -> None:
    """Log the summary when the last byte of a streamed answer went out."""

    def close() -> None:
        if not exchange.finished:
            if isinstance(response, FileResponse):
                exchange.finished = time.monotonic()  # the server reads the file itself
            else:
                exchange.client_gone = True
        exchange.end()

    response._resource_closers.append(close)  # noqa: SLF001 - Django calls them when it closes
    if isinstance(response, FileResponse):
        return
    content = response.streaming_content
    wrap: Any = _astream if response.is_async else _stream
    response.streaming_content = wrap(exchange, content)


def _stream(exchange: Exchange, content: Iterator[bytes]) -> Iterator[bytes]:
    """Pass the chunks on, with the request's id set while the app's code runs."""
    iterator = iter(content)
    while True:
        exchange.enter()
        try:
            chunk = next(iterator)
        except StopIteration:
            exchange.finished = time.monotonic()
            return
        except BaseException as error:
            exchange.end(error)
            raise
        finally:
            exchange.leave()
        yield chunk


async def _astream(exchange: Exchange, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    iterator = aiter(content)
    while True:
        exchange.enter()
        try:
            chunk = await anext(iterator)
        except StopAsyncIteration:
            exchange.finished = time.monotonic()
            exchange.end()
            return
        except BaseException as error:
            exchange.end(error)
            raise
        finally:
            exchange.leave()
        yield chunk


def _remember(request: Any = None, **_: object) -> None:
    """Note the exception that Django turned into a 500, wherever it came from."""
    exchange: Exchange | None = getattr(request, "_dockerflow_exchange", None)
    if exchange is not None:
        exchange.handled = sys.exc_info()[1] or exchange.handled


got_request_exception.connect(_remember, dispatch_uid="dockerflow")
