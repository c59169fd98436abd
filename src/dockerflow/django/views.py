"""The endpoints as views, for the middleware and for an app's own URLconf."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.checks.registry import registry as django_check_registry
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from dockerflow import version as versions
from dockerflow._core.app import GET_VERSION, Core
from dockerflow._core.endpoints import SERVER_ERROR, Endpoint
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import Response
from dockerflow.checks.runner import CheckResults, is_failure
from dockerflow.django import _settings, checks
from dockerflow.django._context import context_of, make_request
from dockerflow.django.signals import heartbeat_failed, heartbeat_passed

logger: logging.Logger = logging.getLogger("dockerflow.django")

# The settings count, unless a test of an app has replaced one of these.
_STATUS: Final = SERVER_ERROR
_CALLBACK: Final = "dockerflow.version.get_version"
HEARTBEAT_FAILED_STATUS_CODE: int = _STATUS
version_callback: str = _CALLBACK

_RESPONSE: Final = "_dockerflow_response"


def version(request: HttpRequest) -> HttpResponse:
    """Serve ``/__version__``."""
    return _respond(request, "version")


def heartbeat(request: HttpRequest) -> HttpResponse:
    """Serve ``/__heartbeat__``, and send the signal for it."""
    checks.update_or_log(django_check_registry)
    return _respond(request, "heartbeat")


async def prepare_heartbeat(request: HttpRequest) -> None:
    """Make the heartbeat's response on the event loop, for :func:`heartbeat` to return."""
    await sync_to_async(checks.update_or_log)(django_check_registry)
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
    core = _core_of(request)
    if made is None:
        made = core.answer(
            endpoint,
            make_request(request, core),
            debug=settings.DEBUG,
            version=_version() if endpoint == "version" else None,
            on_results=_send_signal,
            error_logger=logger,
        )
    status = made.status
    is_replaced = endpoint == "heartbeat" and HEARTBEAT_FAILED_STATUS_CODE != _STATUS
    if is_replaced and status == core.config.heartbeat_failed_status_code:
        status = HEARTBEAT_FAILED_STATUS_CODE
    return HttpResponse(made.body, status=status, headers=dict(made.headers))


def _core_of(request: HttpRequest) -> Core:
    context = context_of(request)
    # A view may be called without the middleware.
    return _settings.reloading().get() if context is None else context.core


def _version() -> Callable[[], object] | None:
    """Return what calls the app's function, or ``None`` for version.json itself."""
    path = version_callback
    if path == _CALLBACK:
        path = getattr(settings, "DOCKERFLOW_VERSION_CALLBACK", None) or _CALLBACK
    if path == _CALLBACK and versions.get_version is GET_VERSION:
        return None
    return partial(_call_back, path)


def _call_back(path: str) -> object:
    return import_string(path)(getattr(settings, "BASE_DIR", None))


def _send_signal(results: CheckResults) -> None:
    signal = heartbeat_failed if is_failure(results) else heartbeat_passed
    # Django fails to log the exception of a receiver that is not a function.
    with Guarded(logger, "A receiver of a heartbeat's signal failed"):
        signal.send_robust(sender=heartbeat, level=results.level)
