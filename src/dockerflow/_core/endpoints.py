"""PURE: which endpoint a path names, and what each endpoint answers."""

from __future__ import annotations

import re

from dockerflow._core.messages import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal, TypeAlias

    from dockerflow.checks.runner import CheckResults

Endpoint: TypeAlias = "Literal['version', 'heartbeat', 'lbheartbeat', 'error']"

ENDPOINTS: Final[tuple[Endpoint, ...]] = ("version", "heartbeat", "lbheartbeat")
ERROR_MESSAGE: Final = "The __error__ endpoint was called"
METHODS: Final = ("GET", "HEAD")

DRAINING: Final = 503
"""Status code of the heartbeat of a process that is about to end."""

OK: Final = 200

MAX_TIMING_BYTES: Final = 4096
"""How long a Server-Timing header may be: servers and proxies refuse headers over 8 KiB or so."""

_JSON: Final = "application/json"


def paths(prefix: str = "", *, error_endpoint: bool = False) -> dict[str, Endpoint]:
    """Return every path that is ours, with and without a slash at its end."""
    names: tuple[Endpoint, ...] = (*ENDPOINTS, "error") if error_endpoint else ENDPOINTS
    return {f"{prefix}/__{name}__{slash}": name for name in names for slash in ("", "/")}


def _response(
    status: int,
    body: bytes,
    content_type: str = _JSON,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    return Response(
        status,
        (
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *headers,
        ),
        body,
    )


def dump(content: object) -> bytes:
    """Return compact, strict JSON."""
    import json  # noqa: PLC0415 - many processes never need it

    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _error(status: int, message: str) -> Response:
    return _response(status, dump({"error": message}))


LBHEARTBEAT: Final = _response(200, b"", "text/plain; charset=utf-8")
# Written out, so that importing the package doesn't need json.
LBHEARTBEAT_JSON: Final = _response(200, b'{"status":"ok"}')
METHOD_NOT_ALLOWED: Final = _response(
    405,
    b'{"error":"this endpoint takes GET and HEAD"}',
    headers=(("Allow", ", ".join(METHODS)),),
)


def version(body: bytes | None, error: str | None) -> Response:
    """Answer ``/__version__`` with the file's bytes, or say what is wrong with it."""
    if error is not None:
        return _error(500, error)
    if body is None:
        return _error(404, "there is no version.json")
    return _response(200, body)


def heartbeat(
    results: CheckResults,
    *,
    failed_status_code: int,
    show_details: bool,
    accept: str | None = None,
) -> Response:
    """Answer ``/__heartbeat__`` with what the checks said.

    :param accept: the request's Accept header, empty if it has none; ``None`` if it doesn't
        matter, since the answer is JSON for everybody.
    """
    from dockerflow.checks.messages import level_to_text  # noqa: PLC0415
    from dockerflow.checks.runner import is_failure  # noqa: PLC0415

    status = failed_status_code if is_failure(results) else 200
    payload: dict[str, object] = {"status": level_to_text(results.level)}
    headers: tuple[tuple[str, str], ...] = ()
    if show_details:
        payload["checks"] = results.statuses
        payload["details"] = results.details
        if results.durations:
            headers = (("Server-Timing", server_timing(results.durations, results.ages)),)
    if accept is not None:
        headers = (("Vary", "Accept"), *headers)
        from dockerflow._core import heartbeat_page as page  # noqa: PLC0415  # few have it

        if page.is_preferred(accept):
            body = page.render(results, show_details=show_details)
            return _response(status, body, page.CONTENT_TYPE, (*headers, *page.HEADERS))
    return _response(status, dump(payload), headers=headers)


def server_timing(durations: dict[str, float], ages: dict[str, float] | None = None) -> str:
    """Return a Server-Timing value: durations in milliseconds, as many as fit.

    A result that an earlier heartbeat or the background gave has its age in seconds as well.

    https://www.w3.org/TR/server-timing/#the-server-timing-header-field
    """
    metrics: list[str] = []
    length = 0
    for name, seconds in durations.items():
        token = re.sub(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]", "_", name) or "_"
        metric = f"{token};dur={seconds * 1000:.1f}"
        if ages and name in ages:
            metric += f';desc="age {ages[name]:.1f} s"'
        length += len(metric) + 2
        if length > MAX_TIMING_BYTES:
            break
        metrics.append(metric)
    return ", ".join(metrics)
