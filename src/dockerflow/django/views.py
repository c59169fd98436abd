"""The endpoints as views, for the middleware and for a URLconf of one's own."""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from dockerflow._core.app import VERSION_FILE
from dockerflow._core.endpoints import Endpoint
from dockerflow.checks.runner import CheckResults, is_failure
from dockerflow.django import _settings, checks, signals

logger: logging.Logger = logging.getLogger("dockerflow.django")


def version(request: HttpRequest) -> HttpResponse:
    """Answer ``/__version__``."""
    path = getattr(settings, "DOCKERFLOW_VERSION_CALLBACK", None)
    content: object = VERSION_FILE
    if path is not None:
        try:
            content = import_string(path)(getattr(settings, "BASE_DIR", None))
        except Exception as error:  # noqa: BLE001 - the answer says so
            content = error
    return respond(request, "version", version=content)


def heartbeat(request: HttpRequest) -> HttpResponse:
    """Answer ``/__heartbeat__``, and send the signal for it."""
    core = _settings.core_of(request)
    results: CheckResults | None = getattr(request, "_dockerflow_results", None)
    if results is None and core.needs_checks("heartbeat", request.method or "GET"):
        with checks.in_surroundings():
            results = checks.registry().run(core.config)
    if results is not None:
        signal = signals.heartbeat_failed if is_failure(results) else signals.heartbeat_passed
        try:
            signal.send_robust(sender=heartbeat, level=results.level)
        except Exception:  # Django can't log the failure of a receiver that is no function
            logger.exception("A receiver of a heartbeat's signal failed")
    return respond(request, "heartbeat", results)


def lbheartbeat(request: HttpRequest) -> HttpResponse:
    """Answer ``/__lbheartbeat__``."""
    return respond(request, "lbheartbeat")


def error(request: HttpRequest) -> HttpResponse:
    """Answer ``/__error__`` by raising.

    :raises RuntimeError: always, that being its purpose.
    """
    return respond(request, "error")


def respond(
    request: HttpRequest,
    endpoint: Endpoint,
    results: CheckResults | None = None,
    **options: Any,
) -> HttpResponse:
    """Return the core's answer as Django's."""
    core = _settings.core_of(request)
    method = request.method or "GET"
    accept = request.META.get("HTTP_ACCEPT", "")
    answer = core.respond(endpoint, method, results, accept=accept, debug=settings.DEBUG, **options)
    response = HttpResponse(answer.body, status=answer.status)
    for name, value in answer.headers:
        response[name] = value
    return response
