"""One of Django's requests: its exchange, its user, the id of its log records."""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from dockerflow._core.app import Core
from dockerflow._core.exchange import EXCHANGE, Exchange
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import Request
from dockerflow._core.request_id import get_request_id
from dockerflow._core.summary import KEY
from dockerflow.django import _settings
from dockerflow.wsgi import peer_of, watch_body

logger: logging.Logger = logging.getLogger("dockerflow.django")

_ATTRIBUTE: Final = "_dockerflow"


@dataclass
class RequestContext:
    """One request, with the settings at its beginning."""

    core: Core
    exchange: Exchange
    is_outer: bool
    """Whether a driver further out has made the exchange, and summarises."""
    is_driven: bool = False
    """Whether our middleware's ``__call__`` ends the exchange, not an app that calls the hooks."""

    def serving(self) -> AbstractContextManager[object]:
        """Return the context in which ``__call__`` serves the request."""
        if self.is_outer or self.is_driven:  # a driver or middleware further out does it
            return nullcontext()
        self.is_driven = True
        return self.exchange


def begin(request: Any) -> RequestContext:
    """Return the request's context, made when first asked for."""
    known: dict[str, Any] = vars(request)
    context: RequestContext | None = known.get(_ATTRIBUTE)
    if context is not None:
        return context
    core = _settings.reloading().get()
    carrier = known.get("scope") or request.META
    exchange: Exchange | None = carrier.get(EXCHANGE)
    is_outer = exchange is not None
    if exchange is None:
        peer = peer_of(request.META)
        exchange = Exchange(core.settings, make_request(request, core), source=request, peer=peer)
        exchange.enter()
        if "wsgi.input" in request.META and "_stream" in known:
            known["_stream"] = watch_body(known["_stream"], exchange, request.META)
        # For a driver of ours further in.
        carrier.setdefault(KEY, exchange.extra)
    known[_ATTRIBUTE] = context = RequestContext(core, exchange, is_outer)
    known.setdefault("_id", exchange.rid)
    known["_start_timestamp"] = time.time()
    return context


def context_of(request: Any) -> RequestContext | None:
    """Return the request's context, if it has one."""
    context: RequestContext | None = getattr(request, _ATTRIBUTE, None)
    return context


def make_request(request: HttpRequest, core: Core) -> Request:
    """Return what the core needs of a request."""
    meta = request.META
    headers = core.settings.headers_of(meta)
    return Request(request.method or "GET", request.path, meta.get("QUERY_STRING", ""), headers)


def user_id(request: HttpRequest) -> str:
    """Return the id of the user if the app has loaded the user, else an empty string."""
    with Guarded(logger, "The user of a request could not be read"):
        user: Any = request.__dict__.get("user")
        # Any access but this one would evaluate the lazy object.
        if user is None or (
            isinstance(user, LazyObject) and user.__dict__.get("_wrapped", empty) is empty
        ):
            return ""
        return str(user.get_username()) if user.is_authenticated else ""
    return ""


class AddRequestId(logging.Filter):
    """Adds the id to Django's log records about a request that has left the middleware."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set ``rid``, and let the record pass."""
        context = context_of(getattr(record, "request", None))
        if context is not None and get_request_id() is None:
            context.exchange.mark(record)
        return True
