"""Which endpoint a path names, and the response of each endpoint. No I/O."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

from dockerflow._core import heartbeat_page
from dockerflow._core.messages import Response
from dockerflow.checks.messages import level_to_text
from dockerflow.checks.runner import CheckResults, is_failure

Endpoint: TypeAlias = Literal["version", "heartbeat", "lbheartbeat", "error"]

ENDPOINTS: Final[tuple[Endpoint, ...]] = ("version", "heartbeat", "lbheartbeat")
ALL_ENDPOINTS: Final[tuple[Endpoint, ...]] = (*ENDPOINTS, "error")
ERROR_MESSAGE: Final = "The __error__ endpoint was called"
METHODS: Final = ("GET", "HEAD")

OK: Final = 200
BAD_REQUEST: Final = 400
SERVER_ERROR: Final = 500
DRAINING: Final = 503
"""Status code of the heartbeat of a process that is about to exit."""

MAX_TIMING_BYTES: Final = 4096
"""The limit of a Server-Timing header: servers and proxies refuse headers over about 8 KiB."""

_JSON: Final = "application/json"


def path_of(endpoint: Endpoint, prefix: str = "") -> str:
    """Return the path of an endpoint."""
    return f"{prefix}/__{endpoint}__"


def paths(
    prefix: str = "", *, error_endpoint: bool = False, groups: Iterable[str] = ()
) -> dict[str, Endpoint]:
    """Return the endpoint of each path, with and without a slash at its end."""
    ours: dict[str, Endpoint] = {path_of(name, prefix): name for name in ENDPOINTS}
    if error_endpoint:
        ours[path_of("error", prefix)] = "error"
    for group in groups:
        ours[path_of_group(group, prefix)] = "heartbeat"
    return {path + slash: endpoint for path, endpoint in ours.items() for slash in ("", "/")}


def path_of_group(group: str, prefix: str = "") -> str:
    """Return the path of the heartbeat of a group of checks."""
    return f"{path_of('heartbeat', prefix)}/{group}"


def group_of(path: str) -> str:
    """Return which group of checks a heartbeat's path names; an empty string without one."""
    _, found, group = path.removesuffix("/").rpartition(path_of_group(""))
    return group if found else ""


def is_authorized(authorization: str, secret: str) -> bool:
    """Whether an Authorization header has the secret; compares them in constant time.

    https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    """
    scheme, _, token = authorization.partition(" ")
    # The header may have any characters; the secret is ASCII.
    given = token.strip(" ").encode("utf-8", "surrogatepass")
    return scheme.lower() == "bearer" and hmac.compare_digest(given, secret.encode())


def path_below(path: str, mount_point: str) -> str:
    """Return the path below the mount point.

    ASGI's ``path`` includes ``root_path`` by the specification, but not in every server and router.
    """
    root = mount_point.rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


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
    """Return compact, strict JSON.

    :raises ValueError, TypeError: when the content has values that JSON lacks.
    """
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _error(status: int, message: str) -> Response:
    return _response(status, dump({"error": message}))


LBHEARTBEAT: Final = _response(OK, b"", "text/plain; charset=utf-8")
LBHEARTBEAT_JSON: Final = _response(OK, dump({"status": "ok"}))
METHOD_NOT_ALLOWED: Final = _response(
    405,
    dump({"error": "this endpoint supports only GET and HEAD"}),
    headers=(("Allow", ", ".join(METHODS)),),
)


def version(body: bytes | None, error: str | None) -> Response:
    """Return the response of ``/__version__``: the file's bytes, or the error in it."""
    if error is not None:
        return _error(SERVER_ERROR, error)
    if body is None:
        return _error(404, "there is no version.json")
    return _response(OK, body)


def heartbeat(
    results: CheckResults,
    *,
    failed_status_code: int,
    show_details: bool,
    accept: str | None = None,
) -> Response:
    """Return the response of ``/__heartbeat__``.

    :param accept: the request's Accept header, empty if it has none; ``None`` where the heartbeat
        is JSON for every client.
    """
    status = failed_status_code if is_failure(results) else OK
    payload: dict[str, object] = {"status": level_to_text(results.level)}
    headers: tuple[tuple[str, str], ...] = ()
    if show_details:
        payload["checks"] = results.statuses
        payload["details"] = results.details
        if results.durations:
            headers = (("Server-Timing", server_timing(results.durations, results.ages)),)
    if accept is not None:
        headers = (("Vary", "Accept"), *headers)
        if heartbeat_page.is_preferred(accept):
            body = heartbeat_page.render(results, show_details=show_details)
            headers = (*headers, *heartbeat_page.HEADERS)
            return _response(status, body, heartbeat_page.CONTENT_TYPE, headers)
    return _response(status, dump(payload), headers=headers)


def server_timing(durations: Mapping[str, float], ages: Mapping[str, float] | None = None) -> str:
    """Return a Server-Timing value: durations in milliseconds, as many as fit.

    The result of an earlier run also has its age in seconds.

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
