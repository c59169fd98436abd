"""What both drivers share: settings, endpoints and the one summary of each request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dockerflow import _endpoints, _summary
from dockerflow._endpoints import Endpoint
from dockerflow._http import Request, Response
from dockerflow._request_id import DEFAULT_HEADER
from dockerflow.checks.registry import Registry, default_registry
from dockerflow.checks.runner import CheckResults
from dockerflow.config import Config
from dockerflow.version import VersionFile

logger = logging.getLogger("dockerflow")
summary_logger = logging.getLogger("request.summary")


class Core:
    """One app's Dockerflow: what a driver asks, in the order in which it asks."""

    def __init__(self, config: Config | None = None, registry: Registry | None = None) -> None:
        self.config = config = Config() if config is None else config
        self.registry = default_registry if registry is None else registry
        self.paths = _endpoints.paths(config.path_prefix, error_endpoint=config.error_endpoint)
        self.id_headers = tuple(name.lower() for name in config.request_id_header_name)
        # A trace id alone is no valid traceparent, so that header isn't sent back.
        self.response_header = next(
            (name for name in config.request_id_header_name if name.lower() != "traceparent"),
            DEFAULT_HEADER,
        )
        self.wanted_headers = frozenset((*_summary.HEADERS, *self.id_headers))
        self._version_file = VersionFile(config.version_path)

    def needs_checks(self, endpoint: Endpoint, method: str) -> bool:
        """Whether :meth:`respond` is to be given the results of the checks."""
        return endpoint == "heartbeat" and method in _endpoints.METHODS

    def respond(
        self, endpoint: Endpoint, method: str, results: CheckResults | None, *, debug: bool = False
    ) -> Response:
        """Return the answer of an endpoint, without the body if the method is HEAD.

        :param debug: whether the app's framework is in its debug mode.
        :raises RuntimeError: at ``/__error__``, whose purpose that is.
        """
        if method not in _endpoints.METHODS:
            response = _endpoints.METHOD_NOT_ALLOWED
        elif endpoint == "lbheartbeat":
            response = _endpoints.LBHEARTBEAT
        elif endpoint == "version":
            response = _endpoints.version(*self._version_file.read())
        elif results is not None:
            details = self.config.heartbeat_details
            response = _endpoints.heartbeat(
                results,
                failed_status_code=self.config.heartbeat_failed_status_code,
                show_details=details == "always" or (details == "debug" and debug),
            )
        else:
            logger.error(_endpoints.ERROR_MESSAGE)
            raise RuntimeError(_endpoints.ERROR_MESSAGE)
        return response._replace(body=b"") if method == "HEAD" else response

    def summarise(  # noqa: PLR0913 - each is another fact about the request
        self,
        request: Request,
        outcome: _summary.Outcome,
        *,
        seconds: float,
        rid: str,
        extra: Mapping[str, Any],
        endpoint: Endpoint | None,
    ) -> None:
        """Log the summary of a request. Never raises: logging can't break the app."""
        if endpoint is not None and not self.config.summary_log_probes:
            return
        try:
            level, message, fields = _summary.summarise(
                request,
                outcome,
                seconds=seconds,
                rid=rid,
                extra=extra,
                querystring=self.config.summary_log_querystring,
            )
            # The text isn't a template: as an argument its percent signs stay as they are.
            args = (message,) if message else ()
            summary_logger.log(level, "%s" if message else "", *args, extra=fields)
        except Exception:
            with suppress(Exception):
                logger.exception("The summary of a request could not be logged")
