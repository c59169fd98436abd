"""Keep probes out of Sentry's traces. Doesn't import Sentry's SDK."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from dockerflow._core import endpoints
from dockerflow._core.exchange import Exchange

SamplingContext = Mapping[str, Any]
Sampler = Callable[[Any], float | bool | None]


def traces_sampler(rest: Sampler | float, *, path_prefix: str = "") -> Sampler:
    """Make a ``traces_sampler`` for ``sentry_sdk.init`` that drops Dockerflow's own paths.

    :param rest: decides about all other requests: a sampler, or a rate from 0 to 1. With a rate,
        a request that continues a trace is sampled if that trace is, as by ``traces_sample_rate``.
    :param path_prefix: the setting ``path_prefix``.
    :returns: the sampler; it works for WSGI, ASGI and each framework's integration.

    .. versionadded:: 0.1.0
    """
    ours = endpoints.paths(path_prefix, error_endpoint=True)
    of_groups = endpoints.path_of_group("", path_prefix)

    def sample(context: SamplingContext) -> float | bool | None:
        path = _path(context)
        if path in ours or path.startswith(of_groups):
            return 0.0
        if callable(rest):
            return rest(context)
        parent: bool | None = context.get("parent_sampled")
        return rest if parent is None else parent

    return sample


def hide_summary(exchange: Exchange) -> None:
    """Keep the summary of a failed request from becoming an event: its exception already is one.

    Does nothing where Sentry's SDK is not in use.
    """
    # It may be half imported, by another thread.
    integration: Any = sys.modules.get("sentry_sdk.integrations.logging")
    ignore_logger = getattr(integration, "ignore_logger", None)
    name = getattr(exchange.logger, "name", None)  # apps may have put something else in its place
    if ignore_logger is not None and name is not None:
        ignore_logger(name)


def _path(context: SamplingContext) -> str:
    scope: Any = context.get("asgi_scope")
    if scope:
        path, mount_point = str(scope.get("path", "")), str(scope.get("root_path", ""))
        return endpoints.path_below(path, mount_point)
    environ: Any = context.get("wsgi_environ")
    if environ:
        return str(environ.get("PATH_INFO", ""))
    if (request := context.get("aiohttp_request")) is not None:
        return str(request.path)
    transaction: Any = context.get("transaction_context") or {}
    return str(transaction.get("name", ""))
