"""Find, load, cache and validate version.json, the description of what is deployed."""

from __future__ import annotations

import json
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, cast

logger: logging.Logger = logging.getLogger("dockerflow")

MAX_BYTES: Final = 1 << 20
"""The largest version.json that is served, in bytes: real ones have a few hundred."""

# Where the Dockerflow specification has the file.
_IN_APP: Final = Path("/app/version.json")

_MISSING: Final = (None, None, (None, None))


class VersionError(ValueError):
    """version.json is there but can't be used; the text says why, in one line."""

    def __init__(self, message: str) -> None:
        # The name of a file may be no UTF-8, and then not every log and terminal takes it.
        super().__init__(message.encode("utf-8", "backslashreplace").decode())


def get_version(root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the content of version.json.

    :param root: the folder that has version.json, or the file itself.
    :returns: the object in the file, or ``None`` when there is no file.
    :raises VersionError: when the file can't be read, is over 1 MiB, or isn't a JSON object.
    """
    path = resolve(Path(root))
    body = _load(path)
    return None if body is None else _parse(body, path)


def release(root: Path | str | None = None) -> str | None:
    """Return a name for what is deployed, for an error tracker such as Sentry.

    It is the version, or the commit where the version tells one build from another as little as
    the name of a branch does: ``main`` or ``latest``, without any digit. Characters that Sentry
    refuses are replaced by ``-``, and what is over its 200 characters is cut off.

    :param root: the folder that has version.json, or the file itself; by default the file that
        the app serves, see ``Config.version_path``.
    :returns: the name, or ``None`` when there is no file, or neither a version nor a commit in
        it. A broken file is logged as an error, and gives ``None`` too.
    :raises ConfigError: when ``root`` isn't given and a setting in the environment is wrong.

    .. versionadded:: 0.1.0
    """
    if root is None:
        from dockerflow.config import Config

        root = Config().version_path
    try:
        content = get_version(resolve(root)) or {}
    except VersionError as error:
        logger.error("%s", error)  # noqa: TRY400 - the one line says it all
        return None
    version, commit = (_release_name(content.get(key)) for key in ("version", "commit"))
    return version if any(map(str.isdigit, version)) else commit or version or None


# https://docs.sentry.io/platforms/python/configuration/releases/
_NOT_IN_RELEASE: Final = r"[\s/\\\x00-\x1f\x7f\ud800-\udfff]+"


def _release_name(value: object) -> str:
    # Not compiled before: what serves version.json needs no name.
    name = re.sub(_NOT_IN_RELEASE, "-", value.strip())[:200] if isinstance(value, str) else ""
    return "" if name in (".", "..") else name


def is_commit(text: str) -> bool:
    """Whether ``text`` is a git commit hash: 7 to 64 hexadecimal digits."""
    return re.fullmatch("[0-9a-fA-F]{7,64}", text) is not None


def parse_json(data: bytes | str) -> Any:
    """Parse JSON as RFC 8259 defines it: UTF-8, without ``NaN`` and ``Infinity``.

    :raises ValueError: when it is not valid; the message is one line.
    """
    try:
        # Given bytes, json.loads would also accept UTF-16 and UTF-32.
        text = data if isinstance(data, str) else data.decode()
        return json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class VersionFile:
    """version.json as it is served: read again only when the file has changed.

    :param path: the folder that has it, or the file; ``None`` looks in ``/app``, then in the
        working directory.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._is_missing = False
        # The file, its state and what is served of it: at once, for the threads that share it.
        self._seen: tuple[Path | None, object, tuple[bytes | None, str | None]] = _MISSING

    def read(self) -> tuple[bytes | None, str | None]:
        """Return the file's bytes, or what is wrong with it; ``(None, None)`` when it is missing.

        Never raises. A broken file is logged as an error, once for each change, and where a
        missing one was looked for as a warning, once for each time that it goes missing.
        """
        seen, known, result = self._seen
        # While such a file is as it was, no other one is meant. The one here may come to be
        # hidden by one in /app.
        if seen is not None and (self._path is not None or seen is _IN_APP):
            with suppress(OSError):
                if _state(seen.stat()) == known:
                    return result
        path = resolve(self._path)
        try:
            state: object = _state(path.stat())
        except (FileNotFoundError, NotADirectoryError):
            self._seen = _MISSING
            if not self._is_missing:
                self._is_missing = True
                logger.warning("%s", self._where(path))
            return _MISSING[2]
        except (OSError, ValueError) as error:
            state = str(error)
        self._is_missing = False
        if path != seen or state != known:
            result = self._check(path)
            self._seen = path, state, result
        return result

    def _where(self, path: Path) -> str:
        """Say where the file was looked for: the answer to strangers doesn't."""
        absolute = str(path)
        with suppress(OSError):  # where the working directory was removed
            absolute = os.path.abspath(path)  # noqa: PTH100
        places = [absolute] if self._path is not None else [str(_IN_APP), absolute]
        text = (
            f"there is no {' and no '.join(dict.fromkeys(places))}: "
            "DOCKERFLOW_VERSION_PATH can name another place"
        )
        return text.encode("utf-8", "backslashreplace").decode()

    @staticmethod
    def _check(path: Path) -> tuple[bytes | None, str | None]:
        try:
            body = _load(path)
            if body is not None:
                _parse(body, path)
        except VersionError as error:
            logger.error("%s", error)  # noqa: TRY400 - the one line says it all
            return None, str(error)
        return body, None


def _state(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def resolve(path: Path | str | None) -> Path:
    """Return the file that is meant: ``path``, the one in it, or the one in ``/app`` or here.

    Never raises, unlike pathlib's own questions, as where a folder may not be looked into.
    """
    if path is None:
        return _IN_APP if os.path.isfile(_IN_APP) else Path("version.json")  # noqa: PTH113
    path = Path(path)
    return path / "version.json" if os.path.isdir(path) else path  # noqa: PTH112


def _load(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        message = f"{path.name} can't be read: {reason}"
        raise VersionError(message) from error
    if len(body) > MAX_BYTES:
        message = f"{path.name} is over {MAX_BYTES} bytes"
        raise VersionError(message)
    return body


def _parse(body: bytes, path: Path) -> dict[str, Any]:
    if not body.strip():
        message = f"{path.name} is empty"
        raise VersionError(message)
    try:
        content = parse_json(body)
    except ValueError as error:
        message = f"{path.name} is not valid JSON: {error}"
        raise VersionError(message) from error
    if not isinstance(content, dict):
        message = f"{path.name} is not a JSON object but a {type(content).__name__}"
        raise VersionError(message)
    return cast("dict[str, Any]", content)
