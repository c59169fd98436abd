"""One request and its outcome so far: the request ID, its context and its summary."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, Final, Self

from dockerflow._core.endpoints import BAD_REQUEST, OK, Endpoint
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import Request
from dockerflow._core.request_id import choose_request_id, note_request, request_id_context
from dockerflow._core.settings import RequestSettings
from dockerflow._core.summary import ERROR, NAME, Outcome, summarise, summary_text

logger = logging.getLogger("dockerflow")
summary_logger = logging.getLogger(NAME)

EXCHANGE: Final = "dockerflow.exchange"
"""Where an ASGI scope or a WSGI environ holds the :class:`Exchange`, for the adapters.

Its presence also tells a middleware further in that the request is summarised already.
"""

_logging: Final = Guarded(logger, "The summary of a request could not be logged")
_UNSET: Final = object()
_REPLACED: Final = frozenset({"info", "error"})

current_exchange: ContextVar[Exchange | None] = ContextVar("dockerflow_exchange", default=None)
"""The request that is being served here; ``None`` outside of one."""


def was_made_here(record: logging.LogRecord, exchange: Exchange | None) -> bool:
    """Whether a record was made by the thread, the task and the request that it is handled in.

    A handler such as ``MemoryHandler`` or ``QueueHandler`` passes records on later or elsewhere.

    :param exchange: the current request.
    """
    thread = record.thread
    if thread != threading.get_ident() and thread is not None:  # gevent may replace the function
        return False
    created = record.created
    # The clock may have been set back since then.
    if (
        exchange is not None
        and type(created) is float
        and created < exchange.created <= time.time()
    ):
        return False
    task_name: str | None = getattr(record, "taskName", None)  # Python 3.12
    if task_name is None:
        return True
    try:
        task = sys.modules["asyncio"].current_task()
    except (KeyError, RuntimeError):  # no event loop runs here: the record is another process's
        return False
    return task is not None and task.get_name() == task_name


class Exchange(Outcome):
    """One request, and its response so far.

    Drivers and adapters fill in what they learn, and call :meth:`end`, which logs the summary.
    In a ``with`` statement this is the request that is served, and an exception ends it.

    :param endpoint: the endpoint that the path names, if any.
    :param source: the argument of ``summary_fields``: a scope, an environ or a request.
    :param peer: the address that the connection came from.
    :param logger: where the summary goes; ``None`` logs none.
    """

    finished: float = 0.0
    """When the last byte went out, by the monotonic clock; 0 before."""
    is_ended: bool = False
    route: str | None = None
    """The template of the URL, such as ``/users/{id}``, if the framework provides it."""
    _tokens: tuple[Token[str | None], Token[Exchange | None]] | None = None
    _context: Context | None = None

    def __init__(  # pyright: ignore[reportMissingSuperCall]
        self,
        settings: RequestSettings,
        request: Request,
        endpoint: Endpoint | None = None,
        *,
        source: Any = None,
        peer: str = "",
        logger: logging.Logger | None = summary_logger,
    ) -> None:
        # Those of an outcome have their defaults in the class.
        self.started: float = time.monotonic()
        self.created: float = time.time()
        """When the request began, by the clock that log records have."""
        self.request = request
        self.endpoint: Endpoint | None = endpoint
        self.rid: str = choose_request_id(
            request.headers, settings.id_headers, settings.accepts_id, settings.generate_id
        )
        self.extra: dict[str, Any] = {}
        """The fields that the app adds to the summary."""
        self.source: Any = source
        self.peer = peer
        self.logger: logging.Logger | None = logger
        self._settings = settings

    @property
    def id_header(self) -> tuple[str, str]:
        """The header that sends the ID back: its name and value."""
        return self._settings.response_header, self.rid

    def must_expose_id(self, exposed: Iterable[str]) -> bool:
        """Whether the response lacks the ID's header in its ``Access-Control-Expose-Headers``.

        :param exposed: the lines of that header that the app sends.
        """
        if not self._settings.config.request_id_expose_header:
            return False
        names = [name.strip().lower() for line in exposed for name in line.split(",")]
        return "*" not in names and self.id_header[0].lower() not in names

    @property
    def uid(self) -> object:
        """The user's ID, for log records made during the request; ``None`` if it isn't logged."""
        return self.extra.get("uid") if self._settings.config.summary_personal_data else None

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.end(error)
        self.leave()

    def enter(self) -> None:
        """Make this the request that is served here: it is in the context variables."""
        if current_exchange.get() is not self:
            self._tokens = request_id_context.set(self.rid), current_exchange.set(self)

    def leave(self) -> None:
        """Undo :meth:`enter`, unless another request is served here now."""
        tokens, self._tokens = self._tokens, None
        # A suspended request may be garbage collected while another one is served.
        if tokens is None or current_exchange.get() is not self:
            return
        try:
            request_id_context.reset(tokens[0])
            current_exchange.reset(tokens[1])
        except ValueError:  # the context is a copy of the one that was entered
            request_id_context.set(None)
            current_exchange.set(None)

    def begin_response(self, status: int | None) -> None:
        """Take the status that the app sends, unless the client left before it."""
        if not self.client_gone:
            self.status = status
        if not self.is_ended and self._context is None:
            # Tracers end their span before the last byte goes out. The summary is part of it.
            self._context = copy_context()

    def end(self, exception: BaseException | None = None) -> None:
        """Log the summary, once, however often this is called. Never raises.

        :param exception: what escaped from the app.
        """
        if exception is not None:
            # The server logs the exception later, outside of this request's context.
            note_request(exception, self.rid, self.uid)
        if self.is_ended:
            return
        self.is_ended = True
        self.exception = exception
        # The context has this exchange, in turn.
        context, self._context = self._context, None
        if self.logger is not None:
            with _logging:
                (context or copy_context()).run(self._log_summary, self.logger)

    def fields(self) -> dict[str, Any]:
        """Return the current fields of the summary, except ``code``, which apps can't change."""
        outcome = Outcome(self.status or OK, handled=self.handled)
        _, _, fields = self._summarise(outcome, self.extra)
        del fields["code"]
        return fields

    def change(self, own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Take over what the app has changed in the fields of the summary.

        Values that it left alone may not be final yet, and the time never is.

        :param own: the fields as :meth:`fields` returned them.
        :param given: the fields as the app returned them; missing ones are left out.
        """
        changed = {name: value for name, value in given.items() if own.get(name, _UNSET) != value}
        changed.pop("t", None)
        self.extra.update(changed)
        self.extra.update(dict.fromkeys(own.keys() - given.keys() - {"t"}))

    def _log_summary(self, log: Any) -> None:
        level = logging.INFO if self.error is None else logging.ERROR
        # Not isinstance(), which a mock can deceive. Tests also replace a logger's own info().
        is_logger = issubclass(type(log), logging.Logger) and log.__dict__.keys().isdisjoint(
            _REPLACED
        )
        if (is_logger and not log.isEnabledFor(level)) or self._is_left_out():
            return
        level, error, fields = self._summarise(self, self._extra())
        # Without arguments, logging leaves the text's percent signs as they are.
        text = summary_text(fields, error)
        if not is_logger:  # an app has put something else in its place, such as an adapter
            (log.info if level == logging.INFO else log.error)(text, extra=fields)
            return
        # Not by Logger.log(), which searches the stack for its caller: that is always this place.
        record = log.makeRecord(log.name, level, "dockerflow", 0, text, (), None, NAME)
        record.__dict__.update(fields)
        if error:
            record.__dict__[ERROR] = error
        log.handle(record)

    def _is_left_out(self) -> bool:
        """Whether the request is a probe, or succeeded and isn't in the sample."""
        config = self._settings.config
        if self.endpoint is not None and not config.summary_log_probes:
            return True
        if (
            config.summary_sample_rate >= 1
            or self.exception is not None
            or self.status is None
            or self.status >= BAD_REQUEST
        ):
            return False
        return random.random() >= config.summary_sample_rate  # noqa: S311 - not a secret

    def _summarise(
        self, outcome: Outcome, extra: Mapping[str, Any]
    ) -> tuple[int, str, dict[str, Any]]:
        return summarise(
            self.request,
            outcome,
            self._settings.config,
            seconds=(self.finished or time.monotonic()) - self.started,
            rid=self.rid,
            extra=extra,
            route=self.route,
            peer=self.peer,
        )

    def _extra(self) -> Mapping[str, Any]:
        """Return the fields that the app adds: those it has set, and what its functions return."""
        fields = self.extra
        function = self._settings.config.summary_fields
        if not fields and function is None:
            return fields
        if callable(function):
            with Guarded(logger, "summary_fields failed"):
                fields = {**function(self.source), **fields}
        if not any(map(callable, fields.values())):
            return fields
        called: dict[str, Any] = {}
        for name, value in fields.items():
            with Guarded(logger, "The field %s of a summary failed", name):
                called[name] = value() if callable(value) else value
        return called
