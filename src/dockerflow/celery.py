"""Celery: a task has the ID of the request that published it."""

# Celery isn't marked as typed.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from celery import signals

from dockerflow._core.request_id import is_valid, request_id_context
from dockerflow.config import DEFAULT_HEADER

__all__ = ["setup"]

_TOKEN = "dockerflow_token"  # noqa: S105 - not a secret


def setup() -> None:
    """Send the current request's ID with each task, and set it while the task runs.

    Call this where the Celery application is created, so that it runs both in the processes that
    publish tasks and in the workers. It applies to all Celery applications of the process. The ID
    is sent in the message header ``X-Request-ID``, unless the app sets that header itself. Retries,
    and tasks that a task publishes, such as the rest of a chain, have the same ID. A task that was
    published outside of a request has its task ID as the request ID.

    .. versionadded:: 0.1.0
    """
    signals.before_task_publish.connect(_publish)
    signals.task_prerun.connect(_begin)
    signals.task_postrun.connect(_end)


def _publish(headers: MutableMapping[str, Any], **_: object) -> None:
    rid: object = request_id_context.get()
    # An app may have set any object. Brokers take few of them, and workers only valid ids.
    if isinstance(rid, str) and is_valid(rid):
        headers.setdefault(DEFAULT_HEADER, rid)


def _begin(task: Any, task_id: str, **_: object) -> None:
    request = task.request
    sent = (request.headers or {}).get(DEFAULT_HEADER)
    # An eager task runs within the request itself.
    for rid in (sent, request_id_context.get(), task_id):
        if isinstance(rid, str) and is_valid(rid):
            setattr(request, _TOKEN, request_id_context.set(rid))
            return


def _end(task: Any, **_: object) -> None:
    token = vars(task.request).pop(_TOKEN, None)
    if token is not None:
        request_id_context.reset(token)
