"""Find, read and validate version.json, the description of what is deployed."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from dockerflow.config import Config

logger: logging.Logger = logging.getLogger("dockerflow")

KEYS: Final[tuple[str, ...]] = ("source", "version", "commit", "build")
"""The keys that the Dockerflow specification names. Others may be added."""

MAX_BYTES: Final = 1 << 20
"""The largest version.json that is served, in bytes. Real ones have a few hundred."""

# The place that the Dockerflow specification names.
_IN_APP: Final = Path("/app/version.json")


class VersionError(ValueError):
    """version.json exists but can't be used. The message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


def _printable(text: str) -> str:
    # File names may have bytes that are not UTF-8, which logs and terminals can't encode.
    return text.encode("utf-8", "backslashreplace").decode()


def _log(error: VersionError) -> None:
    logger.error("%s", error)  # without a traceback, which would add nothing


def get_version(root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the content of version.json.

    :param root: the folder that has version.json, or the file itself.
    :returns: the object in the file, or ``None`` if there is no file.
    :raises VersionError: when the file can't be read, is over 1 MiB, or isn't a JSON object.
    """
    path = resolve(root)
    body = _load(path)
    return None if body is None else _parse(body, path)


def release(root: Path | str | None = None) -> str | None:
    """Return the name of the deployed release, for an error tracker such as Sentry.

    This is the version. If the version has no digit, as ``main`` or ``latest``, it can't tell one
    build from another, and the commit is used instead. Characters that Sentry refuses are replaced
    by ``-``, and the name is cut off at Sentry's limit of 200 characters.

    :param root: the folder that has version.json, or the file itself; by default the file that
        the app serves, see ``Config.version_path``.
    :returns: the name, or ``None`` if there is no file, or it has neither a version nor a commit.
        A broken file is logged as an error and also gives ``None``.
    :raises ConfigError: when ``root`` isn't given and a setting in the environment is wrong.

    .. versionadded:: 0.1.0
    """
    if root is None:
        root = Config().version_path
    try:
        content = get_version(resolve(root)) or {}
    except VersionError as error:
        _log(error)
        return None
    version, commit = (_release_name(content.get(key)) for key in ("version", "commit"))
    return version if any(map(str.isdigit, version)) else commit or version or None


def _release_name(value: object) -> str:
    if not isinstance(value, str):
        return ""
    # https://docs.sentry.io/platforms/python/configuration/releases/
    name = re.sub(r"[\s/\\\x00-\x1f\x7f\ud800-\udfff]+", "-", value.strip())[:200]
    return "" if name in (".", "..") else name


def is_commit(text: str) -> bool:
    """Whether ``text`` is a git commit hash: 7 to 64 hexadecimal digits."""
    return re.fullmatch("[0-9a-fA-F]{7,64}", text) is not None


def parse_json(data: bytes | str) -> Any:
    """Parse JSON as RFC 8259 defines it: UTF-8, without ``NaN``, ``Infinity`` and ``1e999``.

    :raises ValueError: when it is not valid; the message is one line.
    """
    try:
        # Given bytes, json.loads would also accept UTF-16 and UTF-32.
        text = data if isinstance(data, str) else data.decode()
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_parse_float)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_float(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number:.40} is out of range")
    return value


_Outcome = tuple[bytes | None, str | None]


class VersionFile:
    """version.json as it is served: read again only when the file has changed.

    :param path: the folder that has it, or the file; ``None`` looks in ``/app``, then in the
        working directory.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self._path = path
        # The state of the file before it was read, and the outcome: one value for all threads.
        self._last: tuple[object, _Outcome] = None, (None, None)

    def read(self) -> _Outcome:
        """Return the file's bytes, or what is wrong with it; ``(None, None)`` if it is missing.

        Never raises. A broken file is logged as an error and a missing one as a warning, once
        for each change.
        """
        path = resolve(self._path)
        state = path, _state(path)
        last_state, outcome = self._last
        if state != last_state:
            outcome = self._read(path)
            self._last = state, outcome
        return outcome

    def _read(self, path: Path) -> _Outcome:
        try:
            body = _load(path)
            if body is None:
                self._warn_of_missing(path)
            else:
                _parse(body, path)
        except VersionError as error:
            _log(error)
            return None, str(error)
        return body, None

    def _warn_of_missing(self, path: Path) -> None:
        # The response to the client doesn't name the places.
        with suppress(OSError):  # when the working directory was removed
            path = path.absolute()
        places = [path] if self._path is not None else [_IN_APP, path]
        logger.warning(
            "Found no %s: write it with `dockerflow version write`,"
            " or set DOCKERFLOW_VERSION_PATH if it is elsewhere",
            _printable(" and no ".join(map(str, dict.fromkeys(places)))),
        )


def _state(path: Path) -> object:
    """Return a value that differs once the file has changed."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return str(error)
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def resolve(path: str | os.PathLike[str] | None) -> Path:
    """Return the path of the version file, which may not exist.

    :param path: the file, or its folder; ``None`` looks in ``/app``, then the working directory.
    """
    if path is None:
        return _IN_APP if stat.S_ISREG(_mode(_IN_APP)) else Path("version.json")
    path = Path(path)
    return path / "version.json" if stat.S_ISDIR(_mode(path)) else path


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _load(path: Path) -> bytes | None:
    """Return the file's bytes, or ``None`` if it is missing."""
    try:
        body = _read_start(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise VersionError(f"{path.name} can't be read: {reason}") from error
    if len(body) > MAX_BYTES:
        raise VersionError(f"{path.name} is larger than {MAX_BYTES} bytes")
    return body


def _read_start(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO or a terminal could block
        message = "not a regular file"
        raise OSError(message)
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _parse(body: bytes, path: Path) -> dict[str, Any]:
    if not body.strip():
        raise VersionError(f"{path.name} is empty")
    try:
        content = parse_json(body)
    except ValueError as error:
        raise VersionError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise VersionError(f"{path.name} must be a JSON object, not a {type(content).__name__}")
    return cast("dict[str, Any]", content)
