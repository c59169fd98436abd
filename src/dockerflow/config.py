"""The settings of the library, from arguments or from ``DOCKERFLOW_*`` in the environment."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:  # every process imports this module, and these take longer than all of it
    from collections.abc import Callable, Collection, Iterable, Mapping
    from dataclasses import Field
    from inspect import Signature
    from pathlib import Path
    from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, dataclass_transform
else:

    def dataclass_transform(**_: object) -> Callable[[type], type]:
        """Stand in for typing's, which is only for type checkers."""
        return lambda cls: cls


PREFIX: Final = "DOCKERFLOW_"
DEFAULT_HEADER: Final = "X-Request-ID"

REDACTED_KEYS: Final = (
    "pass", "pwd", "secret", "token", "key", "auth", "code", "credential", "session",
    "signature", "sig", "jwt",
)  # fmt: skip
"""Parts of the names of keys whose values are secrets."""


class ConfigError(ValueError):
    """A setting has a value that it can't take. The text names setting, value and what it takes."""


_Kind: TypeAlias = "tuple[str, Callable[[Any], Any]]"
"""What a setting takes, and the function that reads it, which else raises ValueError or TypeError.
"""


_INFINITY: Final = float("inf")


def parse_seconds(value: Any) -> float:
    """Return a time limit in seconds; raise ValueError or TypeError if it isn't a number over 0."""
    if isinstance(value, bool):
        raise TypeError
    seconds = float(value)
    if not 0 < seconds < _INFINITY:
        raise ValueError
    return seconds


def _parse_optional_seconds(value: Any) -> float | None:
    return None if value is None else parse_seconds(value)


def _parse_delay(value: Any) -> float:
    """Return a number of seconds that may be 0."""
    if isinstance(value, bool):
        raise TypeError
    seconds = float(value)
    if not 0 <= seconds < _INFINITY:
        raise ValueError
    return seconds


def parse_count(value: Any) -> int:
    """Return a whole number over 0; raise ValueError or TypeError if it is something else."""
    if isinstance(value, bool | float):
        raise TypeError
    count = int(value)
    if count < 1:
        raise ValueError
    return count


def _parse_server_error(value: Any) -> int:
    if isinstance(value, bool | float):
        raise TypeError
    status = int(value)
    if not 500 <= status <= 599:  # noqa: PLR2004 - the 5xx of RFC 9110
        raise ValueError
    return status


_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off", ""), False),
}


def parse_bool(value: Any) -> bool:
    """Return a boolean, also one of the texts for it; else raise ValueError or TypeError."""
    if isinstance(value, str):
        try:
            return _BOOLEANS[value.strip().lower()]
        except KeyError:
            raise ValueError from None
    if not isinstance(value, bool):
        raise TypeError
    return value


def _parse_details(value: Any) -> str:
    if value not in ("always", "debug", "never"):
        raise ValueError
    return str(value)


def parse_list(value: Any) -> tuple[str, ...]:
    """Split a text at its commas; take any other iterable of texts as it is."""
    if isinstance(value, bytes):
        raise TypeError
    items = value.split(",") if isinstance(value, str) else list(value)
    if not all(isinstance(item, str) for item in items):
        raise TypeError
    return tuple(item.strip() for item in items if item.strip())


def _is_token(name: str) -> bool:
    # https://www.rfc-editor.org/rfc/rfc9110#name-tokens
    return re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) is not None


def _parse_header_names(value: Any) -> tuple[str, ...]:
    names = parse_list(value)
    if not names or not all(map(_is_token, names)):
        raise ValueError
    return names


def _parse_path(value: Any) -> Path | None:
    if value is None:
        return None
    from pathlib import Path  # noqa: PLC0415 - not needed by default

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


def _parse_keys(value: Any) -> tuple[str, ...]:
    return tuple(item.lower() for item in parse_list(value))


def _parse_share(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _parse_function(value: Any) -> Any:
    if isinstance(value, str):
        from pkgutil import resolve_name  # noqa: PLC0415  # it loads what few need

        try:
            value = resolve_name(value)
        except (ImportError, AttributeError):
            raise ValueError from None
    if value is not None and not callable(value):
        raise TypeError
    return value


_BOOL: _Kind = ("true or false (also 1/0, yes/no, on/off)", parse_bool)
_SECONDS: _Kind = ("a number of seconds over 0", parse_seconds)
_OPTIONAL_SECONDS: _Kind = ("a number of seconds over 0", _parse_optional_seconds)
_COUNT: _Kind = ("a whole number over 0", parse_count)


def conflict(
    ttl: float | None, interval: float | None, max_age: float | None, prefix: str = ""
) -> str | None:
    """Say what is wrong between these options of a check, all in seconds, if anything is."""
    if ttl is not None and interval is not None:
        return (
            f"{prefix}ttl is {ttl:g} and {prefix}interval is {interval:g}, but a check takes one "
            "of them: in the background its last result is kept anyway"
        )
    for name, value in (("ttl", ttl), ("interval", interval)):
        if value is not None and max_age is not None and value > max_age:
            return (
                f"{prefix}{name} is {value:g}, but takes at most {prefix}max_age, "
                f"which is {max_age:g}"
            )
    return None


class Setting:
    """One field of :class:`Config`, with what the documentation tells of it."""

    __slots__ = ("_parse", "default", "description", "name", "takes", "variable")

    def __init__(self, default: object, kind: _Kind, description: str) -> None:
        self.default: object = default
        self.takes: str = kind[0]
        self._parse = kind[1]
        self.description: str = description
        self.name: str = ""
        self.variable: str = ""

    def __set_name__(self, owner: object, name: str) -> None:
        self.name = name
        self.variable = PREFIX + name.upper()

    def parse(self, value: object, source: str) -> Any:
        """Return the value as the field has it.

        :param source: what an error calls the setting.
        :raises ConfigError: when the setting doesn't take it.
        """
        try:
            return self._parse(value)
        except (TypeError, ValueError, OverflowError):
            message = f"{source} is {_shorten(value)}, but takes {self.takes}"
            raise ConfigError(message) from None


def _setting(default: object, kind: _Kind, description: str) -> Any:
    return Setting(default, kind, description)


class _DataclassFields:
    """What the functions of :mod:`dataclasses` look for, made when one of them does."""

    def __get__(self, instance: object, owner: type) -> dict[str, Field[Any]]:
        from dataclasses import field, fields, make_dataclass  # noqa: PLC0415 - slow to import

        types = Config.__annotations__
        made = make_dataclass(
            owner.__name__, [(s.name, types[s.name], field(default=s.default)) for s in _SETTINGS]
        )
        return {each.name: each for each in fields(made)}


class _SettingsSignature:
    """What ``help()`` and others that look at run time show as the arguments."""

    def __get__(self, instance: object, owner: type) -> Signature:
        from inspect import Parameter, Signature  # noqa: PLC0415 - slow to import

        types = Config.__annotations__
        return Signature(
            [
                Parameter(
                    setting.name,
                    Parameter.KEYWORD_ONLY,
                    default=setting.default,
                    annotation=types[setting.name],
                )
                for setting in _SETTINGS
            ]
        )


@dataclass_transform(frozen_default=True, kw_only_default=True)
class _Frozen:
    """A frozen dataclass of :class:`Setting`, without the milliseconds that making one takes."""

    __dataclass_fields__: ClassVar[_DataclassFields] = _DataclassFields()
    __signature__: ClassVar[_SettingsSignature] = _SettingsSignature()

    def __init__(self, **given: Any) -> None:
        values = vars(self)
        for setting in _SETTINGS:
            if setting.name in given:
                source = setting.name
                value = given.pop(source)
            else:
                source = setting.variable
                # Orchestrators often pass a variable that nobody filled as an empty one.
                value = os.environ.get(source) or setting.default
            values[setting.name] = setting.parse(value, source)
        if given:
            names = ", ".join(setting.name for setting in _SETTINGS)
            raise TypeError(f"Config has no {', '.join(given)}, but {names}")
        problem = conflict(
            values["check_ttl"], values["check_interval"], values["check_max_age"], "check_"
        )
        if problem is not None:
            raise ConfigError(problem)

    def __setattr__(self, name: str, value: object) -> None:
        from dataclasses import FrozenInstanceError  # noqa: PLC0415 - slow to import

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        from dataclasses import FrozenInstanceError  # noqa: PLC0415 - slow to import

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__qualname__}({values})"

    def __replace__(self, **changes: Any) -> Self:
        """Return a copy with changes, for :func:`copy.replace` of Python 3.13."""
        return type(self)(**{**vars(self), **changes})


class Config(_Frozen):
    """Every setting of the library; none can change once made.

    What isn't given is read from the environment when the object is made, as ``DOCKERFLOW_``
    and the field's name in capitals, and has its default if it isn't there either.

    :raises ConfigError: when a value isn't one that the setting takes.

    .. versionadded:: 0.1.0
    """

    version_path: Path | str | None = _setting(
        None,
        ("a folder or a file", _parse_path),
        "The folder that has version.json, or the file itself. By default `/app`, then the "
        "working directory.",
    )
    heartbeat_failed_status_code: int = _setting(
        500,
        ("a status code from 500 to 599", _parse_server_error),
        "Status code of a heartbeat that fails.",
    )
    heartbeat_timeout: float = _setting(
        10.0, _SECONDS, "Time limit of the heartbeat as a whole, in seconds."
    )
    check_timeout: float = _setting(
        5.0, _SECONDS, "Time limit of a check that has none of its own, in seconds."
    )
    check_critical: bool = _setting(
        True,
        _BOOL,
        "Whether an error of a check fails the heartbeat, unless the check says otherwise.",
    )
    check_ttl: float | None = _setting(
        None,
        _OPTIONAL_SECONDS,
        "For how many seconds a check's result is reused. By default it isn't.",
    )
    check_max_age: float | None = _setting(
        None,
        _OPTIONAL_SECONDS,
        "After how many seconds a healthy result no longer counts as healthy. By default that "
        "follows from `interval`, `failures` and `timeout`.",
    )
    check_interval: float | None = _setting(
        None,
        _OPTIONAL_SECONDS,
        "Seconds between two runs of a check in the background. By default checks run when the "
        "heartbeat is requested.",
    )
    check_failures: int = _setting(
        1, _COUNT, "How many failures in a row turn a healthy check into a failed one."
    )
    check_recoveries: int = _setting(
        1, _COUNT, "How many successes in a row turn a failed check into a healthy one."
    )
    heartbeat_tags: Collection[str] = _setting(
        (),
        ("tags, separated by commas in the environment", parse_list),
        "The heartbeat runs the checks that have one of these tags. By default it runs all.",
    )
    drain_seconds: float = _setting(
        0.0,
        ("a number of seconds, or 0 for off", _parse_delay),
        "For how many seconds after SIGTERM the heartbeat is 503 before the server gets the "
        "signal. 0 leaves the signal alone.",
    )
    heartbeat_details: Literal["always", "debug", "never"] = _setting(
        "always",
        ("always, debug or never", _parse_details),
        "When the heartbeat shows more than the overall status: always, in the framework's debug "
        "mode only, or never.",
    )
    heartbeat_html: bool = _setting(
        False, _BOOL, "Whether the heartbeat is a web page for clients that prefer HTML to JSON."
    )
    silenced_checks: Collection[str] = _setting(
        (),
        ("check ids, separated by commas in the environment", parse_list),
        "Ids of check messages to leave out.",
    )
    request_id_header_name: Collection[str] = _setting(
        (DEFAULT_HEADER,),
        ("one or several header names, separated by commas", _parse_header_names),
        "Headers to take the request id from, in order of preference, case-insensitive. From "
        "`traceparent` the trace id is taken.",
    )
    summary_log_querystring: bool = _setting(
        False,
        _BOOL,
        "Whether request.summary has the query string, with the values of secrets redacted.",
    )
    summary_redacted_keys: Collection[str] = _setting(
        REDACTED_KEYS,
        ("parts of keys, separated by commas in the environment", _parse_keys),
        "Which values of the query string are redacted: those whose key contains one of these, "
        "case-insensitive.",
    )
    summary_log_route: bool = _setting(
        False,
        _BOOL,
        "Whether request.summary has `route`: the template that the path matched, such as "
        "`/items/{id}`, where the framework provides it.",
    )
    summary_log_addresses: bool = _setting(
        False,
        _BOOL,
        "Whether request.summary has `remoteAddressChain`: the addresses in `X-Forwarded-For`, "
        "then the one that the connection came from.",
    )
    summary_personal_data: bool = _setting(
        True,
        _BOOL,
        "Whether logs may contain the user's id, email and addresses. If false they contain none "
        "of these, whatever else is set.",
    )
    summary_sample_rate: float = _setting(
        1.0,
        ("a number from 0 to 1", _parse_share),
        "Which share of the successful requests (status below 400) is summarised.",
    )
    summary_fields: Callable[[Any], Mapping[str, Any]] | str | None = _setting(
        None,
        ("a function, or where to import it from as `package.module:name`", _parse_function),
        "A function that returns further fields of request.summary. It is called with the ASGI "
        "scope, the WSGI environ or the framework's request.",
    )
    summary_log_probes: bool = _setting(
        True, _BOOL, "Whether requests to Dockerflow's own endpoints are summarised."
    )
    error_endpoint: bool = _setting(
        False,
        _BOOL,
        "Whether there is an `/__error__`, which logs an error and raises an exception.",
    )
    path_prefix: str = _setting(
        "",
        ("empty, or a path that begins with a slash", _parse_prefix),
        "Path under which the endpoints are served, instead of the root.",
    )

    @classmethod
    def from_settings(
        cls,
        settings: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> Config:
        """Make a config where a framework has settings, which win over the environment.

        :param settings: the framework's settings that are there, such as
            ``DOCKERFLOW_CHECK_TIMEOUT``; those of other names don't matter, nor does one that is
            ``None``.
        :param defaults: by a field's name, what counts where neither has it.
        :param given: fields that win over all others.
        :raises ConfigError: when a value isn't one that the setting takes.
        """
        for setting in _SETTINGS:
            name = setting.name
            if name in given:
                continue
            value = settings.get(setting.variable)
            if value is not None:
                given[name] = setting.parse(value, setting.variable)
            elif defaults and name in defaults and not os.environ.get(setting.variable):
                given[name] = defaults[name]
        return cls(**given)

    @classmethod
    def table(cls) -> list[Setting]:
        """Return the settings: name, environment variable, default, what it takes, and what for."""
        return list(_SETTINGS)


_SETTINGS: Final[tuple[Setting, ...]] = tuple(
    value for value in vars(Config).values() if isinstance(value, Setting)
)

SETTINGS: Final = tuple(setting.variable for setting in _SETTINGS)
"""The names of all settings, as in the environment and in a framework's settings."""


class Picker:
    """Finds which of a framework's settings are ours, anew for each request.

    Names are looked for only when some were added or removed, as seen by how many there are and
    by the last one: there may be hundreds.

    :param names: the names that count.
    """

    def __init__(self, names: Iterable[str] = SETTINGS) -> None:
        # A plain set: a dictionary's keys are intersected with no other kind as fast.
        self._names = set(names)
        self._found: tuple[object, int, str | None, list[str]] = (None, 0, None, [])

    def pick(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return those that are there."""
        known, count, last, present = self._found
        now, now_last = len(settings), next(reversed(settings), None)
        if known is not settings or count != now or last != now_last:
            present = sorted(settings.keys() & self._names)
            self._found = settings, now, now_last, present
        if not present:
            return {}
        return {name: settings[name] for name in present if name in settings}


def _shorten(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever a foreign __repr__ raises
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - one line
