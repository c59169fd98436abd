"""Celery: a task has the id of the request that published it."""

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
    """Send the id of the current request with each task, and set it while the task runs.

    Call it where the Celery application is made, so in the processes that publish and in the
    workers; it holds for all applications of the process. The id is in the message's header
    ``X-Request-ID``, unless the app sets that one itself. Tasks that a task publishes, such as the
    rest of a chain, have the same id, and so has a retry. A task that was published outside of a
    request has its own task id as the request id.

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
