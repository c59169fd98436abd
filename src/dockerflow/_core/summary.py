"""Level, message and fields of a ``request.summary`` record. No I/O."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, unquote_plus

from dockerflow._core.endpoints import BAD_REQUEST, SERVER_ERROR, path_of
from dockerflow._core.messages import Request
from dockerflow.config import REDACTED_KEYS, Config

KEY: Final = "dockerflow.summary"
"""Where an ASGI scope or a WSGI environ holds the fields that the app adds to the summary."""

NAME: Final = "request.summary"
"""The logger of summaries, and the function that their records name, whatever their logger."""

TEXT_FIELDS: Final = ("method", "path", "code", "t")
"""The fields that :func:`summary_text` shows."""

DETAIL_FIELDS: Final = ("agent", "errno", "lang", "rid")
"""The fields for which a line on a terminal has no room."""

ERROR: Final = "summary_error"
"""The attribute of a record that holds the text of the exception that made the summary an error."""

FORWARDED: Final = "x-forwarded-for"
HEADERS: Final = ("user-agent", "accept-language", FORWARDED)
"""The headers that a summary needs."""

CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request whose client disconnected before a status was sent (nginx's number)."""

# A record's own attributes, which extra fields must not replace. A tracer's record factory may add
# others, which aren't among these.
RESERVED: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message", "asctime", "taskName",
}  # fmt: skip

# A query string may contain anything, including personal data.
_PERSONAL: Final = ("uid", "email", "remoteAddressChain", "querystring")

# Besides letters and digits, what a path may have as it is (RFC 3986). Sanic's paths are
# percent-encoded already, so % is among them.
_SAFE: Final = "/:@!$&'()*+,;=-._~%"
_is_safe: Final = re.compile(rf"[A-Z]+ [A-Za-z0-9{re.escape(_SAFE)}]+ [0-9]+ [0-9]+").fullmatch
_PROBES: Final = rf"{path_of('heartbeat')}(?:/[\w.-]+)?|{path_of('lbheartbeat')}"
_ASSETS: Final = "avif|css|gif|ico|jpe?g|js|map|mjs|otf|png|svg|ttf|wasm|webp|woff2?"
_is_routine_path: Final = re.compile(rf"(?:{_PROBES})/?\Z|\.(?:{_ASSETS})\Z").search
_camel_hump: Final = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_no_word: Final = re.compile("[^A-Za-z0-9]+")


@dataclass(eq=False)
class Outcome:
    """The outcome of a request so far."""

    status: int | None = None
    """The status that was sent, if any."""
    exception: BaseException | None = None
    """The exception that escaped from the app."""
    client_gone: bool = False
    handled: BaseException | None = None
    """The exception that the framework turned into a response; it counts if that is a 5xx."""

    @property
    def code(self) -> int:
        """The status, or the one that stands for a response that was never sent."""
        if self.status is not None:
            return int(self.status)
        is_cancelled = self.exception is not None and not _is_error(self.exception)
        return CLIENT_CLOSED_REQUEST if self.client_gone or is_cancelled else SERVER_ERROR

    @property
    def error(self) -> BaseException | None:
        """The exception that makes the summary an error."""
        if self.client_gone and self.status is None:
            return None  # what failed, failed because of that
        if self.exception is not None and _is_error(self.exception):
            return self.exception
        if self.handled is None or self.code < SERVER_ERROR:
            return None
        return self.handled


def _is_error(exception: BaseException) -> bool:
    # Cancellation (asyncio's, trio's, a closed generator) is not an error of the app.
    return isinstance(exception, Exception | SystemExit | KeyboardInterrupt)


def summarise(
    request: Request,
    outcome: Outcome,
    config: Config,
    *,
    seconds: float,
    rid: str,
    extra: Mapping[str, Any],
    route: object = None,
    peer: str = "",
) -> tuple[int, str, dict[str, Any]]:
    """Return level, text of the exception (empty if the level is INFO) and fields of the record.

    :param seconds: from the start of the request to its last byte.
    :param extra: fields that the app added, which override ours, except ``code``. ``None`` removes
        a field, except an error's ``errno``.
    :param route: the template of the route that the path matched, if it is known.
    :param peer: the address that the connection came from.
    """
    code, error = outcome.code, outcome.error
    headers = request.headers
    fields: dict[str, Any] = {
        "agent": headers.get("user-agent", ""),
        "code": code,
        "errno": code if code >= SERVER_ERROR else 0 if error is None else SERVER_ERROR,
        "lang": headers.get("accept-language", ""),
        "method": request.method,
        "path": request.path,
        "rid": rid,
        "t": int(seconds * 1000),
        "uid": "",
    }
    if config.summary_log_querystring:
        fields["querystring"] = redact(request.query, config.summary_redacted_keys)
    # Frameworks may store any object as the route.
    if config.summary_log_route and route and isinstance(route, str):
        fields["route"] = route
    if config.summary_log_addresses:
        fields["remoteAddressChain"] = _addresses(headers.get(FORWARDED, ""), peer)
    if extra:
        _add(fields, extra)
    if not config.summary_personal_data:
        fields = {name: value for name, value in fields.items() if name not in _PERSONAL}
    if error is not None:
        return logging.ERROR, _message(error), fields
    return logging.INFO, "", fields


def summary_text(fields: Mapping[str, Any], error: str = "") -> str:
    """Return a summary's text for people: ``GET /path 200 6 ms``, then the exception's text.

    It is one line without control characters. Method and path are percent-encoded, so that a
    client can't forge another text.
    """
    values = [_text(fields.get(name, "")) for name in TEXT_FIELDS]
    text = " ".join(values)
    if not _is_safe(text):
        text = " ".join([quote(value, _SAFE, errors="surrogatepass") or "-" for value in values])
    return f"{text} ms: {_one_line(error)}" if error else f"{text} ms"


def is_routine(fields: Mapping[str, Any]) -> bool:
    """Whether a summary is of a probe or of a static file, and its status is below 400."""
    code = fields.get("code")  # a filter of the app may have changed or removed it
    path = _text(fields.get("path", ""))
    return isinstance(code, int) and code < BAD_REQUEST and _is_routine_path(path) is not None


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escaped)


def _add(fields: dict[str, Any], extra: Mapping[str, Any]) -> None:
    code, errno = fields["code"], fields["errno"]
    for key, value in extra.items():
        name = str(key)
        if value is None:
            fields.pop(name, None)
        else:
            fields[name + "_" if name in RESERVED else name] = value
    fields["code"] = code
    if errno and not fields.get("errno"):  # the app may not have known of the error
        fields["errno"] = errno


def redact(query: str, keys: Iterable[str] = REDACTED_KEYS) -> str:
    """Return a query string, percent-decoded, without the values of keys that sound like secrets.

    Users and passwords in URLs are removed, too. A value may itself be a URL with a query string.

    :param keys: parts of such keys, in lower case. They are looked for in the key itself, and in
        its words between underscores: ``_pin_`` is in ``loginPin``, but not in ``shipping``.
    """
    is_secret = re.compile("|".join(map(re.escape, keys)) or "(?!)").search

    def redact_pair(match: re.Match[str]) -> str:
        key, separator, _ = match[0].partition("=")
        if not separator:
            return match[0]
        name = unquote_plus(key)
        words = _no_word.sub("_", _camel_hump.sub("_", name))
        return f"{key}=[redacted]" if is_secret(f"{name} _{words}_".lower()) else match[0]

    def decode(match: re.Match[str]) -> str:
        # An encoded & doesn't end a value, so secrets are replaced before decoding.
        pair = unquote(redact_pair(match), errors="replace")
        return re.sub("[^&;?#]+", redact_pair, _redact_user(pair))

    return re.sub("[^&;]+", decode, query)


def _redact_user(text: str) -> str:
    """Replace what may be a URL's user and password, up to the last ``@``."""
    before, slashes, rest = text.partition("//")
    # A password may have any character. Without one, a later @ may be of the path.
    has_password = ":" in rest.rpartition("@")[0]
    end = (rest if has_password else rest.partition("/")[0]).rfind("@")
    return text if end < 0 else f"{before}{slashes}[redacted]{rest[end:]}"


def _addresses(forwarded: str, peer: str) -> list[str] | None:
    # The peer may be in the header already: servers and middlewares that trust it replace the
    # proxy's address by one of these.
    chain = [address.strip() for address in [*forwarded.split(","), peer]]
    return [address for address in dict.fromkeys(chain) if address] or None


def _message(error: BaseException) -> str:
    text = _text(error)
    # A text without a letter, such as that of SystemExit(1), means nothing without the class.
    return text if any(map(str.isalpha, text)) else type(error).__name__


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        return type(value).__name__
