"""One of Django's requests: its exchange, its user, the ID of its log records."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
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
    is_by_hand: bool
    """Whether the app, or its test, calls the hooks itself, so that they end the exchange."""

    def serving(self) -> AbstractContextManager[object]:
        """Return the context in which ``__call__`` serves the request."""
        if not self.is_by_hand:  # a driver or middleware further out does it
            return nullcontext()
        self.is_by_hand = False
        return self.exchange

    def enter(self) -> None:
        """Set the request's ID, where nothing further out does it."""
        if self.is_by_hand:
            self.exchange.enter()

    def leave(self) -> None:
        """Undo :meth:`enter`."""
        if self.is_by_hand:
            self.exchange.leave()


def begin(request: Any, *, is_first: bool = False) -> RequestContext:
    """Return the request's context, made when first asked for.

    :param is_first: whether this is where a request begins: one that has ended is served again.
    """
    known: dict[str, Any] = vars(request)
    context: RequestContext | None = known.get(_ATTRIBUTE)
    if context is not None and not (is_first and context.exchange.is_ended):
        return context
    core = _settings.reloading().get()
    carrier = known.get("scope") or request.META
    exchange: Exchange | None = carrier.get(EXCHANGE)
    is_outer = exchange is not None
    if exchange is None:
        peer = peer_of(request.META)
        exchange = Exchange(core.settings, make_request(request, core), source=request, peer=peer)
        if "wsgi.input" in request.META and "_stream" in known:
            known["_stream"] = watch_body(known["_stream"], exchange, request.META)
        # For a driver of ours further in.
        carrier[KEY] = exchange.extra
    known[_ATTRIBUTE] = context = RequestContext(core, exchange, is_outer, not is_outer)
    known["_id"] = exchange.rid
    known["_start_timestamp"] = exchange.created
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


def user_id(request: HttpRequest) -> Any:
    """Return the user's primary key if the app has loaded the user, else an empty string."""
    with Guarded(logger, "The user of a request could not be read"):
        user: Any = vars(request).get("user")
        # Any access but this one would evaluate the lazy object.
        while isinstance(user, LazyObject):
            user = vars(user).get("_wrapped", empty)
        if user is empty:
            user = vars(request).get("_acached_user")  # loaded by ``request.auser()``
        if user is not None and user.is_authenticated:
            key = getattr(user, "pk", None)
            return "" if key is None else key
    return ""


class AddRequestId(logging.Filter):
    """Adds the ID to Django's log records about a request that has left the middleware."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set ``rid``, and let the record pass."""
        context = context_of(getattr(record, "request", None))
        if context is not None and get_request_id() is None:
            vars(record).setdefault("rid", context.exchange.rid)
        return True
