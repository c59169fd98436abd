"""The endpoints as views, for the middleware and for an app's own URLconf."""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from dockerflow._core.app import Core
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import Response
from dockerflow.checks.runner import CheckResults, is_failure
from dockerflow.django import _settings, checks, signals
from dockerflow.django._context import context_of, make_request

logger: logging.Logger = logging.getLogger("dockerflow.django")

_RESPONSE: Final = "_dockerflow_response"


def version(request: HttpRequest) -> HttpResponse:
    """Serve ``/__version__``."""
    return _respond(request, "version")


def heartbeat(request: HttpRequest) -> HttpResponse:
    """Serve ``/__heartbeat__``, and send the signal for it."""
    checks.update_or_log()
    return _respond(request, "heartbeat")


async def prepare_heartbeat(request: HttpRequest) -> None:
    """Make the heartbeat's response on the event loop, for :func:`heartbeat` to return."""
    await sync_to_async(checks.update_or_log)()
    core = _core_of(request)
    request.__dict__[_RESPONSE] = await core.aanswer(
        "heartbeat",
        make_request(request, core),
        debug=settings.DEBUG,
        on_results=sync_to_async(_send_signal),
    )


def lbheartbeat(request: HttpRequest) -> HttpResponse:
    """Serve ``/__lbheartbeat__``."""
    return _respond(request, "lbheartbeat")


def error(request: HttpRequest) -> HttpResponse:
    """Serve ``/__error__``.

    :raises RuntimeError: always.
    """
    return _respond(request, "error")


def _respond(request: HttpRequest, endpoint: Endpoint) -> HttpResponse:
    made: Response | None = request.__dict__.pop(_RESPONSE, None)
    if made is None:
        core = _core_of(request)
        path: Any = getattr(settings, "DOCKERFLOW_VERSION_CALLBACK", None)
        version = None if path is None else partial(_call_back, path)
        made = core.answer(
            endpoint,
            make_request(request, core),
            debug=settings.DEBUG,
            version=version,
            on_results=_send_signal,
        )
    return HttpResponse(made.body, status=made.status, headers=dict(made.headers))


def _core_of(request: HttpRequest) -> Core:
    context = context_of(request)
    # A view may be called without the middleware.
    return _settings.reloading().get() if context is None else context.core


def _call_back(path: str) -> object:
    return import_string(path)(getattr(settings, "BASE_DIR", None))


def _send_signal(results: CheckResults) -> None:
    signal = signals.heartbeat_failed if is_failure(results) else signals.heartbeat_passed
    # Django fails to log the exception of a receiver that is not a function.
    with Guarded(logger, "A receiver of a heartbeat's signal failed"):
        signal.send_robust(sender=heartbeat, level=results.level)
