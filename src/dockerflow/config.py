"""The settings of the library, from arguments or from ``DOCKERFLOW_*`` in the environment."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final, Literal

PREFIX: Final = "DOCKERFLOW_"

DEFAULT_HEADER: Final = "X-Request-ID"
"""The header with the request ID."""

REDACTED_KEYS: Final = (
    "pass", "pwd", "secret", "token", "key", "auth", "code", "credential", "session",
    "signature", "sig", "jwt", "bearer", "assertion", "saml", "csrf", "xsrf", "nonce", "cookie",
    "_otp_", "totp", "_pin_", "_sid_", "_cvv_", "_cvc_", "card_number", "cardnumber",
)  # fmt: skip
"""Parts of the names of keys whose values are secrets; see :func:`dockerflow._core.summary.redact`.

They come from the lists of Sentry's SDK, Django's error reports and OWASP's logging cheat sheet,
and from the parameters of OAuth, OpenID Connect and SAML. OAuth's ``state`` isn't among them: it is
a common name for filters, and useless without the browser's session.
"""

UNSILENCEABLE: Final = "dockerflow.checks.E"
"""The IDs of errors about checks that raised, hung or could not run begin with this. Silencing one
would make such a check healthy."""


class ConfigError(ValueError):
    """A setting is invalid. The message names the setting, its value and what is valid."""


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool | float):
        raise TypeError
    return int(value)


def parse_seconds(value: Any) -> float:
    """Return a time limit in seconds, greater than 0 and finite.

    :raises ValueError, TypeError: when the value is anything else.
    """
    seconds = _float(value)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds


def _parse_delay(value: Any) -> float:
    return 0.0 if _float(value) == 0 else parse_seconds(value)


def parse_count(value: Any) -> int:
    """Return an integer greater than 0.

    :raises ValueError, TypeError: when the value is anything else.
    """
    count = _integer(value)
    if count < 1:
        raise ValueError
    return count


def _parse_server_error(value: Any) -> int:
    status = _integer(value)
    if not 500 <= status <= 599:  # noqa: PLR2004 - the 5xx of RFC 9110
        raise ValueError
    return status


_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off", ""), False),
}


def parse_bool(value: Any) -> bool:
    """Return a boolean, given as such or as a string such as ``true``, ``0`` or ``off``.

    :raises ValueError, TypeError: when the value is anything else.
    """
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        raise TypeError
    return value


def parse_list(value: Any) -> tuple[str, ...]:
    """Split a string at its commas; keep the items of any other iterable of strings.

    :raises TypeError: when the value is anything else.
    """
    if isinstance(value, bytes):
        raise TypeError
    items = value.split(",") if isinstance(value, str) else list(value)
    if not all(isinstance(item, str) for item in items):
        raise TypeError
    return tuple(item.strip() for item in items if item.strip())


def parse_silenced(value: Any) -> tuple[str, ...]:
    """Parse IDs of check messages like :func:`parse_list`.

    :raises ValueError: when one is ``UNSILENCEABLE``.
    :raises TypeError: as :func:`parse_list` does.
    """
    ids = parse_list(value)
    if any(id_.startswith(UNSILENCEABLE) for id_ in ids):
        raise ValueError
    return ids


def _parse_keys(value: Any) -> tuple[str, ...]:
    return tuple(item.lower() for item in parse_list(value))


def parse_header_names(value: Any) -> tuple[str, ...]:
    """Parse one or several names of headers like :func:`parse_list`.

    :raises ValueError: when one isn't valid (RFC 9110), or there is none.
    :raises TypeError: as :func:`parse_list` does.
    """
    names = parse_list(value)
    # https://www.rfc-editor.org/rfc/rfc9110#name-tokens
    if not names or not all(re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) for name in names):
        raise ValueError
    return names


def _parse_groups(value: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(value, str):
        pairs = [part.partition("=")[::2] for part in value.split(";") if part.strip()]
        value = {name.strip(): members for name, members in pairs}
        if len(value) < len(pairs):
            raise ValueError
    groups = {name: parse_list(members) for name, members in dict(value).items()}
    # One segment of a path, which no client changes: a dot alone would be the folder itself.
    if not all(re.fullmatch(r"[0-9A-Za-z_-][0-9A-Za-z_.-]*", name) for name in groups):
        raise ValueError
    if not all(groups.values()):
        raise ValueError
    return groups


def _parse_details(value: Any) -> str:
    if value not in ("always", "debug", "authorized", "never"):
        raise ValueError
    return str(value)


class Secret:
    """A string that no ``repr()``, log line or JSON shows.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the string."""
        return self._value

    def __repr__(self) -> str:
        return "'[redacted]'"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def _parse_secret(value: Any) -> Secret:
    text = value.reveal() if isinstance(value, Secret) else value
    # https://www.rfc-editor.org/rfc/rfc6750#section-2.1 - without spaces, and too long to guess
    if not re.fullmatch(r"[\x21-\x7e]{16,}", text):
        raise ValueError
    return Secret(text)


def _parse_path(value: Any) -> Path:
    path = Path(value)
    if not os.fspath(value) or "\0" in str(path):
        raise ValueError
    return path


def _parse_prefix(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    prefix = value.rstrip("/")
    if prefix and not re.fullmatch(r"/[^\s?#]*", prefix):
        raise ValueError
    return prefix


def _parse_share(value: Any) -> float:
    share = _float(value)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _parse_function(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = resolve_name(value)
        except (ImportError, AttributeError):
            raise ValueError from None
    # A coroutine is true, and so a validator would accept all.
    if not callable(value) or is_async(value):
        raise TypeError
    return value


def is_async(function: object) -> bool:
    """Whether this is a coroutine function, or an object that is called like one."""
    return any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))


# What a setting accepts, and its parser, which raises ValueError or TypeError.
_BOOL: Final = ("true or false (also 1/0, yes/no, on/off)", parse_bool)
_SECONDS: Final = ("a number of seconds greater than 0", parse_seconds)


def conflict(
    ttl: float | None, interval: float | None, max_age: float | None = None, prefix: str = ""
) -> str | None:
    """Describe the conflict between these options of a check, in seconds; ``None`` without one."""
    if ttl is not None and interval is not None:
        return (
            f"{prefix}ttl ({ttl:g}) and {prefix}interval ({interval:g}) can't be combined: "
            "a check that runs in the background keeps its last result anyway"
        )
    for name, value in (("ttl", ttl), ("interval", interval)):
        if value is not None and max_age is not None and value > max_age:
            return (
                f"{prefix}{name} must be at most {prefix}max_age, which is {max_age:g}, "
                f"not {value:g}"
            )
    return None


@dataclass(eq=False, repr=False)
class Setting:
    """One field of :class:`Config`, with its documentation."""

    default: object
    takes: str
    _parse: Callable[[Any], Any]
    description: str
    is_secret: bool = False
    name: str = ""

    def __set_name__(self, owner: object, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return repr(self.default)  # for the signature of Config

    @property
    def variable(self) -> str:
        """The setting's name in the environment and in a framework's settings."""
        return PREFIX + self.name.upper()

    def from_environment(self) -> Any:
        """Return the value in the environment, or the default.

        :raises ConfigError: when the value in the environment is invalid.
        """
        # Orchestrators often pass a variable that wasn't given a value as an empty one.
        return self.parse(os.environ.get(self.variable) or self.default, self.variable)

    def parse(self, value: object, source: str) -> Any:
        """Return the value in the form that the field has.

        :param source: what an error calls the setting.
        :raises ConfigError: when the value is invalid.
        """
        if value is None and self.default is None:
            return None
        try:
            return self._parse(value)
        except (TypeError, ValueError, OverflowError):
            shown = "[redacted]" if self.is_secret else _shorten(value)
            value = None  # error trackers show the variables of functions
            raise ConfigError(f"{source} must be {self.takes}, not {shown}") from None


def _setting(
    default: object,
    takes: str,
    parse: Callable[[Any], Any],
    description: str,
    *,
    is_secret: bool = False,
    is_hashed: bool | None = None,
) -> Any:
    return field(default=Setting(default, takes, parse, description, is_secret), hash=is_hashed)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of the library; immutable.

    A field that isn't given is read from the environment when the object is created: the variable
    is ``DOCKERFLOW_`` and the field's name in capitals. If that isn't set, the default applies.

    :raises ConfigError: when a value is invalid.

    .. versionadded:: 0.1.0
    """

    version_path: Path | str | None = _setting(
        None,
        "a folder or a file",
        _parse_path,
        "The folder that contains version.json, or the file itself. By default `/app`, then the "
        "working directory.",
    )
    heartbeat_failed_status_code: int = _setting(
        500,
        "a status code from 500 to 599",
        _parse_server_error,
        "Status code of a failing heartbeat.",
    )
    heartbeat_timeout: float = _setting(
        10.0, *_SECONDS, "Time limit of the heartbeat as a whole, in seconds."
    )
    check_timeout: float = _setting(
        5.0, *_SECONDS, "Time limit of a check that sets none itself, in seconds."
    )
    check_ttl: float | None = _setting(
        None, *_SECONDS, "For how many seconds a check's result is reused. By default it isn't."
    )
    check_interval: float | None = _setting(
        None,
        *_SECONDS,
        "Seconds between two runs of a check in the background. By default checks run when the "
        "heartbeat is requested.",
    )
    heartbeat_tags: Collection[str] = _setting(
        (),
        "tags (comma-separated in the environment)",
        parse_list,
        "The heartbeat runs the checks that have one of these tags. By default it runs all.",
    )
    heartbeat_groups: Mapping[str, Collection[str]] = _setting(
        {},
        "groups such as ready=database,tag:search;jobs=broker, with names of letters, digits, "
        "_, - and .",
        _parse_groups,
        "Groups of checks, by name. `/__heartbeat__/ready` is the heartbeat of the group `ready`. "
        "A member is the name of a check, or `tag:TAG` for all checks with that tag.",
        is_hashed=False,  # dictionaries aren't
    )
    drain_seconds: float = _setting(
        0.0,
        "a number of seconds, or 0 for off",
        _parse_delay,
        "For how many seconds after SIGTERM the heartbeat returns 503 before the server receives "
        "the signal. With 0, the signal isn't delayed.",
    )
    heartbeat_details: Literal["always", "debug", "authorized", "never"] = _setting(
        "always",
        "always, debug, authorized or never",
        _parse_details,
        "When the heartbeat shows more than the overall status: always, only in the framework's "
        "debug mode, only to clients that send `heartbeat_secret`, or never.",
    )
    heartbeat_secret: Secret | str | None = _setting(
        None,
        "at least 16 visible ASCII characters without spaces",
        _parse_secret,
        "With `heartbeat_details` set to `authorized`, the heartbeat shows details only to "
        "requests that send `Authorization: Bearer` with this secret.",
        is_secret=True,
    )
    heartbeat_html: bool = _setting(
        False, *_BOOL, "Whether the heartbeat is a web page for clients that prefer HTML to JSON."
    )
    silenced_checks: Collection[str] = _setting(
        (),
        f"check IDs other than {UNSILENCEABLE}* (comma-separated in the environment)",
        parse_silenced,
        "IDs of check messages to leave out.",
    )
    request_id_header_name: Collection[str] = _setting(
        (DEFAULT_HEADER,),
        "one or more header names (comma-separated)",
        parse_header_names,
        "Headers to read the request ID from, in order of preference, case-insensitive. With "
        "`traceparent`, the trace ID is used.",
    )
    request_id_validator: Callable[[str], object] | str | None = _setting(
        None,
        "a function that isn't async, or its import path as `package.module:name`",
        _parse_function,
        "A function that is called with a request's ID and returns whether to keep it; if not, a "
        "new one is generated. IDs that aren't 1 to 128 visible ASCII characters are never kept.",
    )
    request_id_generator: Callable[[], str] | str | None = _setting(
        None,
        "a function that isn't async, or its import path as `package.module:name`",
        _parse_function,
        "A function that returns a new request ID of 1 to 128 visible ASCII characters. The "
        "default generates random UUIDs.",
    )
    request_id_expose_header: bool = _setting(
        False,
        *_BOOL,
        "Whether `Access-Control-Expose-Headers` names the header with the request ID, so that "
        "scripts of other origins can read it.",
    )
    summary_log_querystring: bool = _setting(
        False,
        *_BOOL,
        "Whether request.summary has the query string, percent-decoded, with the values of secrets "
        "redacted.",
    )
    summary_redacted_keys: Collection[str] = _setting(
        REDACTED_KEYS,
        "parts of keys (comma-separated in the environment)",
        _parse_keys,
        "Which values of the query string are redacted: those whose key contains one of these, "
        "case-insensitive. `_pin_` is the word alone, as in `pin`, `user-pin` and `loginPin`.",
    )
    summary_log_route: bool = _setting(
        False,
        *_BOOL,
        "Whether request.summary has `route`: the template that the path matched, such as "
        "`/items/{id}`, where the framework provides it.",
    )
    summary_log_addresses: bool = _setting(
        False,
        *_BOOL,
        "Whether request.summary has `remoteAddressChain`: the addresses in `X-Forwarded-For`, "
        "then the one that the connection came from.",
    )
    summary_personal_data: bool = _setting(
        True,
        *_BOOL,
        "Whether request.summary may have `uid`, `email`, `remoteAddressChain` and `querystring`, "
        "and other lines the user's ID. If false, none of these is logged, not even if the app "
        "adds it to the summary.",
    )
    summary_sample_rate: float = _setting(
        1.0,
        "a number from 0 to 1",
        _parse_share,
        "Which share of the successful requests (status below 400) is summarised.",
    )
    summary_fields: Callable[[Any], Mapping[str, Any]] | str | None = _setting(
        None,
        "a function that isn't async, or its import path as `package.module:name`",
        _parse_function,
        "A function that returns further fields of request.summary. It is called with the ASGI "
        "scope, the WSGI environ or the framework's request.",
    )
    summary_log_probes: bool = _setting(
        True, *_BOOL, "Whether requests to Dockerflow's own endpoints are summarised."
    )
    error_endpoint: bool = _setting(
        False,
        *_BOOL,
        "Whether to serve `/__error__`, which logs an error and raises an exception.",
    )
    path_prefix: str = _setting(
        "",
        "empty, or a path that begins with a slash",
        _parse_prefix,
        "Path under which the endpoints are served, instead of the root.",
    )

    def __post_init__(self) -> None:
        for setting in self.table():
            value = getattr(self, setting.name)
            # A field that isn't given has its default, which is the Setting itself.
            parsed = (
                setting.from_environment()
                if value is setting
                else setting.parse(value, setting.name)
            )
            object.__setattr__(self, setting.name, parsed)
        problem = conflict(self.check_ttl, self.check_interval, prefix="check_")
        if problem is not None:
            raise ConfigError(problem)
        if self.heartbeat_details == "authorized" and self.heartbeat_secret is None:
            message = "heartbeat_details is 'authorized', but heartbeat_secret is not set"
            raise ConfigError(message)

    @classmethod
    def from_settings(
        cls,
        settings: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> Config:
        """Make a config from a framework's settings, which take precedence over the environment.

        :param settings: the framework's settings, such as ``DOCKERFLOW_CHECK_TIMEOUT``; other
            names and values of ``None`` are ignored.
        :param defaults: by field name, the value if neither of them has it.
        :param given: fields that take precedence over all others.
        :raises ConfigError: when a value is invalid.
        """
        for setting in cls.table():
            name, variable = setting.name, setting.variable
            if name in given:
                continue
            if settings.get(variable) is not None:
                given[name] = setting.parse(settings[variable], variable)
            elif defaults and name in defaults and not os.environ.get(variable):
                given[name] = defaults[name]
        return cls(**given)

    @classmethod
    def table(cls) -> list[Setting]:
        """Return the settings: name, environment variable, default, valid values, description."""
        return [vars(Config)[field.name] for field in fields(cls)]


SETTINGS: Final = frozenset(setting.variable for setting in Config.table())
"""The names of all settings in the environment and in a framework's settings."""


def _shorten(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a foreign __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - one line
