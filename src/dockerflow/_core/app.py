"""What both drivers share: settings, endpoints and the one summary of each request."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress

from dockerflow._core import (
    conflict,  # noqa: F401 # pyright: ignore[reportUnusedImport] - must run first
)
from dockerflow._core import (
    endpoints as _endpoints,
)
from dockerflow._core import (
    summary as _summary,
)
from dockerflow._core.messages import Response
from dockerflow._core.records import make_record
from dockerflow._core.request_id import (
    DEFAULT_HEADER,
    choose_request_id,
    exchange_context,
    note_request,
    request_id_context,
)
from dockerflow.config import Config, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from typing import Any, Final

    from dockerflow._core.endpoints import Endpoint
    from dockerflow._core.messages import Request
    from dockerflow._core.request_id import Served
    from dockerflow.checks.registry import Registry
    from dockerflow.checks.runner import CheckResults

logger = logging.getLogger("dockerflow")
summary_logger = logging.getLogger("request.summary")

EXCHANGE: Final = "dockerflow.exchange"
"""Where an ASGI scope or a WSGI environ holds the :class:`Exchange`, for the adapters.

That it is there also tells a middleware further in that the request is summarised already.
"""

VERSION_FILE: Final = object()
"""Says that version.json itself is to be served."""


class Core:
    """One app's Dockerflow: what a driver asks, in the order in which it asks.

    :param lbheartbeat: the answer of ``/__lbheartbeat__``, where an adapter has another one.
    """

    def __init__(
        self,
        config: Config | None = None,
        registry: Registry | None = None,
        *,
        lbheartbeat: Response = _endpoints.LBHEARTBEAT,
    ) -> None:
        # Only whoever serves an app needs these: importing the package isn't to wait for them.
        from dockerflow.checks.registry import default_registry  # noqa: PLC0415
        from dockerflow.version import VersionFile  # noqa: PLC0415

        self._lbheartbeat = lbheartbeat
        config = Config() if config is None else config
        self.config: Config = config
        self.registry: Registry = default_registry if registry is None else registry
        self.paths: dict[str, Endpoint] = _endpoints.paths(
            config.path_prefix, error_endpoint=config.error_endpoint
        )
        self.id_headers: tuple[str, ...] = tuple(
            name.lower() for name in config.request_id_header_name
        )
        # A trace id alone is no valid traceparent, so that header isn't sent back.
        self.response_header: str = next(
            (name for name in config.request_id_header_name if name.lower() != "traceparent"),
            DEFAULT_HEADER,
        )
        self.wanted_headers: frozenset[str] = frozenset(
            (
                *_summary.HEADERS,
                *_summary.TRACE_HEADERS,
                *self.id_headers,
                *((_summary.FORWARDED,) if config.summary_log_addresses else ()),
            )
        )
        self._version_file = VersionFile(config.version_path)
        # What was read last, and the answer that it led to.
        self._version: tuple[object, Response | None] = None, None
        self._leaves_out = not config.summary_log_probes or config.summary_sample_rate < 1
        self._shows_more = (
            config.summary_log_querystring
            or config.summary_log_route
            or config.summary_log_addresses
            or config.summary_fields is not None
        )

    def needs_checks(self, endpoint: Endpoint, method: str) -> bool:
        """Whether :meth:`respond` is to be given the results of the checks."""
        if endpoint != "heartbeat" or method not in _endpoints.METHODS:
            return False
        from dockerflow import drain  # noqa: PLC0415 - only the heartbeat needs it

        return not drain.is_draining()

    def install_drain(self, *, only_over_a_server: bool = False) -> None:
        """Have SIGTERM drain if the settings ask for that; see :mod:`dockerflow.drain`.

        :param only_over_a_server: leave it for later where no server has set a handler yet.
        """
        if self.config.drain_seconds:
            from dockerflow import drain  # noqa: PLC0415 - few need it

            drain.install_once(self.config.drain_seconds, only_over_a_server=only_over_a_server)

    def respond(  # noqa: PLR0913 - what is by name has a default
        self,
        endpoint: Endpoint,
        method: str,
        results: CheckResults | None,
        *,
        accept: str = "",
        debug: bool = False,
        version: object = VERSION_FILE,
    ) -> Response:
        """Return the answer of an endpoint, without the body if the method is HEAD.

        :param results: what the checks said; ``None`` where :meth:`needs_checks` said no.
        :param accept: the request's Accept header, which chooses the heartbeat's form.
        :param debug: whether the app's framework is in its debug mode.
        :param version: what the app's own function gave in the place of version.json: an
            object, ``None`` for nothing, or the exception that it raised.
        :raises RuntimeError: at ``/__error__``, whose purpose that is.
        """
        if method not in _endpoints.METHODS:
            response = _endpoints.METHOD_NOT_ALLOWED
        elif endpoint == "lbheartbeat":
            response = self._lbheartbeat
        elif endpoint == "version":
            if version is VERSION_FILE:
                response = self._file_response()
            else:
                response = _endpoints.version(*_dump_version(version))
        elif endpoint == "heartbeat":
            details = self.config.heartbeat_details
            failed_status_code = self.config.heartbeat_failed_status_code
            if results is None:
                results, failed_status_code = self.registry.drained(), _endpoints.DRAINING
            response = _endpoints.heartbeat(
                results,
                failed_status_code=failed_status_code,
                show_details=details == "always" or (details == "debug" and debug),
                accept=accept if self.config.heartbeat_html else None,
            )
        else:
            logger.error(_endpoints.ERROR_MESSAGE)
            raise RuntimeError(_endpoints.ERROR_MESSAGE)
        if method == "HEAD":
            return Response(response.status, response.headers, b"")
        return response

    def _file_response(self) -> Response:
        """Return version.json as it is now."""
        content = self._version_file.read()
        known, response = self._version
        if response is None or content is not known:
            response = _endpoints.version(*content)
            self._version = content, response
        return response

    def logs_probes(self, log: logging.Logger) -> bool:
        """Whether :meth:`summarise` may log a request to one of Dockerflow's own paths there."""
        return self.config.summary_log_probes and log.isEnabledFor(logging.INFO)

    def summarise(self, exchange: Exchange) -> None:
        """Log the summary of a request. Never raises: logging can't break the app."""
        config = self.config
        log = exchange.logger
        has_failed = exchange.exception is not None or exchange.handled is not None
        if not has_failed and not log.isEnabledFor(logging.INFO):
            return
        if self._leaves_out and self._is_left_out(exchange):
            return
        try:
            level, message, fields = self.fields(exchange, exchange)
            if not config.summary_personal_data:
                fields = _summary.without_personal_data(fields)
            if has_failed and not log.isEnabledFor(level):
                return
            if level >= logging.ERROR:
                _hide_from_sentry(log.name)
            log.handle(make_record(log, level, message, fields))
        except Exception:
            with suppress(Exception):
                logger.exception("The summary of a request could not be logged")

    def fields(
        self, exchange: Exchange, outcome: _summary.Outcome, *, is_over: bool = True
    ) -> tuple[int, str, dict[str, Any]]:
        """Return level, message and fields of a summary, by the settings.

        :param is_over: whether the request is, so that functions are asked for fields.
        """
        seconds = (exchange.finished or time.monotonic()) - exchange.started
        if not self._shows_more:
            extra: Mapping[str, Any] = exchange.extra
            if extra and is_over:
                extra = self._extra(exchange)
            return _summary.summarise(exchange.request, outcome, seconds, exchange.rid, extra)
        config = self.config
        exchange.complete()
        return _summary.summarise(
            exchange.request,
            outcome,
            seconds,
            exchange.rid,
            self._extra(exchange) if is_over else exchange.extra,
            querystring=config.summary_log_querystring,
            redacted=config.summary_redacted_keys,
            route=exchange.route if config.summary_log_route else None,
            peer=exchange.peer if config.summary_log_addresses else None,
        )

    def _is_left_out(self, exchange: Exchange) -> bool:
        """Whether the request is a probe, or succeeded and isn't in the sample."""
        if exchange.endpoint is not None and not self.config.summary_log_probes:
            return True
        if (
            self.config.summary_sample_rate >= 1
            or exchange.exception is not None
            or exchange.status is None
            or exchange.status >= _BAD_REQUEST
        ):
            return False
        from random import random  # noqa: PLC0415 - slow to import, and few need it

        return random() >= self.config.summary_sample_rate  # noqa: S311 - no secret

    def _extra(self, exchange: Exchange) -> Mapping[str, Any]:
        """Return the fields that the app adds: what it said, and what its functions say now."""
        made = exchange.extra
        function = self.config.summary_fields
        if callable(function):
            try:
                made = {**function(exchange.source), **made}
            except Exception:
                logger.exception("summary_fields failed")
        if made and any(map(callable, made.values())):
            made = dict(made)
            for name, value in tuple(made.items()):
                if callable(value):
                    try:
                        made[name] = value()
                    except Exception:
                        del made[name]
                        logger.exception("The field %s of a summary failed", name)
        return made


_BAD_REQUEST: Final = 400
_UNSET: Final = object()


def _hide_from_sentry(name: str) -> None:
    """Keep a logger's errors from becoming events: the exception itself is one already."""
    sentry = sys.modules.get("sentry_sdk.integrations.logging")
    if sentry is not None:
        sentry.ignore_logger(name)


class Exchange(_summary.Outcome):
    """One request, and what is known of its answer so far.

    Drivers and adapters fill in what they learn, and say when it ends.

    :param endpoint: the endpoint that answers, if the app doesn't.
    :param summarises: whether the end is logged.
    """

    finished: float = 0.0
    """When the last byte went out, by the monotonic clock; 0 before."""
    logger: logging.Logger = summary_logger
    is_ended: bool = False
    source: Any = None
    """What ``summary_fields`` is given: a driver's scope or environ, or a framework's request."""
    route: str | None = None
    """The template of the URL, such as ``/users/{id}``, where the framework tells it."""
    peer: str = ""
    """The address of whoever is connected."""
    _tokens: tuple[Token[str | None], Token[Served | None]] | None = None

    def __init__(
        self,
        core: Core,
        request: Request,
        endpoint: Endpoint | None = None,
        *,
        summarises: bool = True,
    ) -> None:
        self.started: float = time.monotonic()
        self.request = request
        self.endpoint: Endpoint | None = endpoint
        self.rid: str = choose_request_id(request.headers, core.id_headers)
        self.extra: dict[str, Any] = {}
        """The fields that the app adds to the summary."""
        self.summarises = summarises
        self._core = core

    @property
    def id_header(self) -> tuple[str, str]:
        """The header that sends the id back: its name and value."""
        return self._core.response_header, self.rid

    @property
    def uid(self) -> object:
        """The user's id, for the lines that are logged during the request."""
        return self.extra.get("uid") if self._core.config.summary_personal_data else None

    def complete(self) -> None:
        """Fill in what is known only at the end; drivers override it."""

    def fields(self) -> dict[str, Any]:
        """Return the fields of the summary as they are known by now, for the app to change.

        All but the real ``code``, which it can't.
        """
        outcome = _summary.Outcome(self.status or _endpoints.OK, None, handled=self.handled)
        _, _, fields = self._core.fields(self, outcome, is_over=False)
        del fields["code"]
        return fields

    def change(self, own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Let the summary say what the app made of its fields.

        Values that are the core's own aren't kept: they may not be final; the time never is.

        :param own: the fields as :meth:`fields` gave them.
        :param given: the fields as the app changed them; those that it lacks are left out.
        """
        changed = {name: value for name, value in given.items() if own.get(name, _UNSET) != value}
        changed.pop("t", None)
        self.extra.update(changed)
        self.extra.update(dict.fromkeys(own.keys() - given.keys()))

    def enter(self) -> None:
        """Make this the request that is served here: it is in the context variables."""
        self._tokens = request_id_context.set(self.rid), exchange_context.set(self)

    def leave(self) -> None:
        """Undo :meth:`enter`."""
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            return
        try:
            request_id_context.reset(tokens[0])
            exchange_context.reset(tokens[1])
        except ValueError:  # ended in another context, as when it is garbage collected
            request_id_context.set(None)
            exchange_context.set(None)

    def end(self, exception: BaseException | None = None) -> None:
        """Log the summary, once, however often the end is told.

        :param exception: what escaped the app.
        """
        if exception is not None:
            # The server logs it when this is no longer the request that is served.
            note_request(exception, self.rid, self.uid)
        if not self.is_ended:
            self.is_ended = True
            if self.summarises:
                self.exception = exception
                self._core.summarise(self)


class LiveCore:
    """The core of an app whose framework has settings, which may change while it serves.

    :param read: returns those of the framework's settings that are there, by their names, which
        begin with ``DOCKERFLOW_``; see :data:`dockerflow.config.SETTINGS`.
    :param make: makes a core of them.
    :raises ConfigError: when a setting is wrong at the start. Later a wrong one is logged, and
        those before it stay.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, Any]], make: Callable[[Mapping[str, Any]], Core]
    ) -> None:
        self._read = read
        self._make = make
        settings = dict(read())
        self._current = settings, make(settings)

    def get(self) -> Core:
        """Return the core for the settings as they are now."""
        settings, core = self._current
        now = self._read()
        if now != settings:
            try:
                core = self._make(now)
            except ConfigError as error:
                logger.error("%s; the former settings stay", error)  # noqa: TRY400 - it says it all
            self._current = dict(now), core
        return core


def _dump_version(content: object) -> tuple[bytes | None, str | None]:
    """Return what the app's own function gave as JSON, or what is wrong with it."""
    if content is None:
        return None, None
    if not isinstance(content, BaseException):
        try:
            return _endpoints.dump(content), None
        except (TypeError, ValueError, RecursionError) as error:
            content = error
    from dockerflow.version import VersionError  # noqa: PLC0415

    logger.error("The version could not be read", exc_info=content)
    if isinstance(content, VersionError):
        return None, str(content)
    return None, f"the version could not be read: {type(content).__name__}"
