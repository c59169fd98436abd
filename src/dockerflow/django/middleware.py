"""The middleware, which belongs first in ``MIDDLEWARE``."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.utils.deprecation import MiddlewareMixin
from django.utils.log import request_logger

from dockerflow import sentry
from dockerflow._core.app import Core
from dockerflow._core.endpoints import ENDPOINTS, OK, SERVER_ERROR, Endpoint, group_of, path_of
from dockerflow._core.exchange import Exchange, summary_logger
from dockerflow._core.extension import is_overridden
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import EXPOSE
from dockerflow._core.request_id import (  # noqa: F401 - apps import them from here
    get_or_generate_request_id,
    request_id_context,
)
from dockerflow.django import _settings, _system_checks, checks, views
from dockerflow.django._context import AddRequestId, RequestContext, begin, context_of, user_id
from dockerflow.django._streaming import watch

logger: logging.Logger = logging.getLogger("dockerflow.django")


View = Callable[[HttpRequest], Any]

_VIEWS: Final[Mapping[Endpoint, View]] = {
    "version": views.version,
    "heartbeat": views.heartbeat,
    "lbheartbeat": views.lbheartbeat,
    "error": views.error,
}
# Django responds to these with 4xx.
_NO_FAILURES: Final = (
    Http404,
    PermissionDenied,
    BadRequest,
    SuspiciousOperation,
    MultiPartParserError,
)
_add_request_id: Final = AddRequestId()


def extract_request_id(request: HttpRequest) -> None:
    """Choose the request's ID; it is ``request._id``, and set until the response."""
    begin(request).enter()


class DockerflowMiddleware(MiddlewareMixin):
    """Serve Dockerflow's endpoints before anything else, and log request summaries.

    One class for WSGI and ASGI. Subclasses may override ``process_request``,
    ``process_response``, ``process_exception`` and ``_build_extra_meta``; under ASGI an
    overridden one runs in Django's thread for sync code, as it may use the database.

    :param get_response: the next middleware, or the view.
    :raises ConfigError: when a setting is invalid.
    :raises ValueError: without ``get_response``.

    .. versionadded:: 0.1.0
    """

    get_response: Any  # the next middleware, or the view; sync or async

    viewpatterns: ClassVar[list[tuple[re.Pattern[str], View]]] = [
        (re.compile(rf"{path_of(endpoint)}/?\Z"), _VIEWS[endpoint]) for endpoint in ENDPOINTS
    ]

    def __init__(self, get_response: Any = None) -> None:
        super().__init__(get_response)
        self.async_mode: bool = iscoroutinefunction(get_response)
        self.summary_logger: logging.Logger = summary_logger
        # An invalid setting fails here, also where the app isn't in INSTALLED_APPS.
        self._first_core = _settings.make(_settings.read())
        checks.update()
        _system_checks.register()
        _system_checks.warn()
        request_logger.addFilter(_add_request_id)
        # A gunicorn worker has set its handlers by now, unless the app is loaded before it is.
        self._first_core.install_drain(only_over_a_server=True)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve a request; under ASGI, return a coroutine that does."""
        if self._first_core.drains:
            self._first_core.install_drain()
        if self.async_mode:
            return self.__acall__(request)
        with self._begin(request, is_first=True).serving():
            try:
                response = self.process_request(request)
            except Exception as error:  # noqa: BLE001 - so that the response has the request's ID
                response = response_for_exception(request, error)
            if response is None:
                response = self.get_response(request)
            return self.process_response(request, response)

    async def __acall__(self, request: HttpRequest) -> Any:
        context = self._begin(request, is_first=True)
        with context.serving():
            view = self._find_view(request, context.core)
            if view is views.heartbeat:
                await views.prepare_heartbeat(request)
            # The app's functions that a view calls, such as for the version, may block.
            in_thread = view not in (None, views.lbheartbeat)
            try:
                response = await self._hook("process_request", request, in_thread=in_thread)
            except Exception as error:  # noqa: BLE001 - so that the response has the request's ID
                respond: Callable[..., Awaitable[Any]] = sync_to_async(response_for_exception)
                response = await respond(request, error)
            if response is None:
                response = await self.get_response(request)
            return await self._hook("process_response", request, response)

    async def _hook(self, name: str, *args: Any, in_thread: bool = False) -> Any:
        """Call a hook: in a thread if it isn't ours, since it may block."""
        hook = getattr(self, name)
        if not in_thread and not any(map(self._is_overridden, (name, "_build_extra_meta"))):
            return hook(*args)
        call: Callable[..., Awaitable[Any]] = sync_to_async(hook, thread_sensitive=True)
        return await call(*args)

    def _is_overridden(self, name: str) -> bool:
        return is_overridden(self, name, DockerflowMiddleware)

    def _find_view(self, request: HttpRequest, core: Core) -> View | None:
        path = request.path_info
        endpoint = core.paths.get(path)
        if self.viewpatterns == _OWN_PATTERNS or endpoint == "error":
            return None if endpoint is None else _VIEWS[endpoint]
        if endpoint is not None and group_of(path):
            return _VIEWS[endpoint]
        # A subclass has its own patterns.
        prefix = core.config.path_prefix
        if not path.startswith(prefix):
            return None
        below = path[len(prefix) :]
        return next((view for pattern, view in self.viewpatterns if pattern.match(below)), None)

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Begin a request; return the response if the path is one of ours."""
        context = self._begin(request, is_first=True)
        extract_request_id(request)
        view = self._find_view(request, context.core)
        if view is None:
            return None
        context.exchange.endpoint = context.core.paths.get(request.path_info)
        try:
            response: HttpResponse = view(request)
        finally:
            context.leave()
        return response

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        """Send the ID back, and log the summary, or defer it to the last byte.

        Code that calls the hooks by hand may have no response: then it is ``None``.
        """
        context = self._begin(request)
        context.enter()
        exchange = context.exchange
        exchange.begin_response(OK if response is None else response.status_code)
        if response is not None:
            headers = response.headers
            headers.setdefault(*exchange.id_header)
            exposed = [headers[EXPOSE]] if EXPOSE in headers else []
            if exchange.must_expose_id(exposed):
                headers[EXPOSE] = ", ".join([*exposed, exchange.id_header[0]])
        self._collect(exchange, request)
        if context.is_outer:
            return response
        if getattr(response, "streaming", False):
            watch(exchange, response)
        else:
            exchange.finished = time.monotonic()
            exchange.end()
            exchange.source = None  # else both would stay until the collector runs
        context.leave()
        return response

    def process_exception(self, request: HttpRequest, exception: BaseException) -> None:
        """Remember the exception of a view; it is logged as an ERROR if the response is a 5xx."""
        context = self._begin(request)
        exchange = context.exchange
        exchange.handled = exception
        sentry.hide_summary(exchange)
        if not context.is_by_hand:
            return
        # Code that calls the hooks by hand may call none after this one.
        if not isinstance(exception, _NO_FAILURES):
            context.enter()
            exchange.status = SERVER_ERROR
            self._collect(exchange, request)
            exchange.end(exception)
        context.leave()

    def _build_extra_meta(self, request: HttpRequest) -> dict[str, Any]:
        """Return the fields of the summary, as far as they are known.

        The summary has them as a subclass returns them. Only ``code`` is always the real one.
        """
        exchange = begin(request).exchange
        fields = exchange.fields()
        if "uid" not in exchange.extra:
            fields["uid"] = user_id(request)
        return fields

    def _begin(self, request: HttpRequest, *, is_first: bool = False) -> RequestContext:
        """Return the request's context, with the logger that is set now: apps replace it."""
        context = begin(request, is_first=is_first)
        if not context.is_outer:
            context.exchange.logger = self.summary_logger
        return context

    def _collect(self, exchange: Exchange, request: HttpRequest) -> None:
        """Take the route, the user's ID, and the fields as a subclass changes them."""
        with Guarded(logger, "The fields of a request summary could not be collected"):
            match = request.resolver_match
            if match is not None:
                exchange.route = match.route
            uid = user_id(request)
            if uid != "":
                exchange.extra.setdefault("uid", uid)
            if self._is_overridden("_build_extra_meta"):
                own = DockerflowMiddleware._build_extra_meta(self, request)
                exchange.change(own, self._build_extra_meta(request))


_OWN_PATTERNS: Final = DockerflowMiddleware.viewpatterns.copy()


def _remember_exception(request: Any = None, **_: object) -> None:
    """Note the exception that Django turned into a 500, wherever it came from."""
    context = context_of(request)
    exception = sys.exc_info()[1]
    if context is not None and exception is not None:
        context.exchange.handled = exception
        sentry.hide_summary(context.exchange)


got_request_exception.connect(_remember_exception, dispatch_uid="dockerflow")
