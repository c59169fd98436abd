"""Make version.json: from a CI's environment, from arguments or from git; and judge one.

The four keys are what the Dockerflow specification names; an app may have others, which stay.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from dockerflow.version import VersionError, get_version

KEYS: Final = ("source", "version", "commit", "build")
GIT_SECONDS: Final = 60
DIRTY: Final = "-dirty"  # git's own word for a working tree with changes

_AUTHORITY: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
# git's other form of an ssh address: [user@]host:path
_SCP: Final = re.compile(r"(?:[^@/]*@)?([\w.-]{2,}):/?([^/].*)", re.DOTALL)
_SECRET: Final = re.compile("token|passw|secret|credential|key|auth|signature", re.IGNORECASE)
_is_commit: Final = re.compile("[0-9a-fA-F]{7,64}").fullmatch


def clean_url(url: str) -> str:
    """Return an address that anybody may see and open: without credentials, and not ssh.

    What is no address, such as the path of a folder, gives an empty text.
    """
    match = _AUTHORITY.fullmatch(url)
    if match is None:
        match = _SCP.fullmatch(url)
        return f"https://{match[1]}/{match[2]}" if match else ""
    scheme, authority, rest = match.groups()
    host = authority.rpartition("@")[2]
    if "@" in rest and not re.fullmatch(r"(\[.*\]|[^:]*)(:\d*)?", host):
        # A password with a slash in it that nobody escaped.
        path = rest.rpartition("@")[2]
        host, slash, path = path.partition("/")
        rest = slash + path
    if "ssh" in scheme.lower():
        scheme, host = "https", re.sub(r":\d*$", "", host)  # the port is that of ssh
    if not host:
        return ""
    path, question, query = rest.partition("#")[0].partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if not _SECRET.search(pair.partition("=")[0])]
    if kept != pairs:
        question, query = "?" if kept else "", "&".join(kept)
    return f"{scheme}://{host}{path}{question}{query}"


def _github(env: Mapping[str, str]) -> dict[str, str]:
    source = _join(
        env.get("GITHUB_SERVER_URL") or "https://github.com", env.get("GITHUB_REPOSITORY")
    )
    return {
        "source": source,
        "version": env.get("GITHUB_REF_NAME", ""),
        "commit": env.get("GITHUB_SHA", ""),
        "build": _join(source, "actions/runs", env.get("GITHUB_RUN_ID")),
    }


def _circleci(env: Mapping[str, str]) -> dict[str, str]:
    source = clean_url(env.get("CIRCLE_REPOSITORY_URL", ""))
    if not source or source.startswith("https://github.com/"):
        owner, name = env.get("CIRCLE_PROJECT_USERNAME"), env.get("CIRCLE_PROJECT_REPONAME")
        source = _join("https://github.com", owner, name) or source
    return {
        "source": source,
        "version": env.get("CIRCLE_TAG", ""),
        "commit": env.get("CIRCLE_SHA1", ""),
        "build": env.get("CIRCLE_BUILD_URL", ""),
    }


def _gitlab(env: Mapping[str, str]) -> dict[str, str]:
    return {
        "source": env.get("CI_PROJECT_URL", ""),
        "version": env.get("CI_COMMIT_TAG") or env.get("CI_COMMIT_REF_NAME", ""),
        "commit": env.get("CI_COMMIT_SHA", ""),
        "build": env.get("CI_JOB_URL") or env.get("CI_PIPELINE_URL", ""),
    }


def _taskcluster(env: Mapping[str, str]) -> dict[str, str]:
    # A task names each repository by a prefix of its own, such as GECKO_HEAD_REV.
    prefixes = sorted(
        name.removesuffix("_HEAD_REV")
        for name, value in env.items()
        if name.endswith("_HEAD_REV") and value
    )
    if len({env[f"{prefix}_HEAD_REV"] for prefix in prefixes}) > 1:
        names = ", ".join(f"{prefix}_HEAD_REV" for prefix in prefixes)
        message = f"the environment has several commits ({names}): give --source and --commit"
        raise VersionError(message)
    prefix = prefixes[0] if prefixes else ""
    return {
        "source": env.get(f"{prefix}_HEAD_REPOSITORY", ""),
        "version": env.get(f"{prefix}_HEAD_TAG") or env.get("APP_VERSION", ""),
        "commit": env.get(f"{prefix}_HEAD_REV", ""),
        "build": _join(env.get("TASKCLUSTER_ROOT_URL"), "tasks", env.get("TASK_ID")),
    }


def _join(*parts: str | None) -> str:
    """Join the parts of a URL; without one of them there is none."""
    return "/".join(part.strip("/") for part in parts if part) if all(parts) else ""


def _arguments(env: Mapping[str, str]) -> dict[str, str]:
    """Return what a Dockerfile's ``ARG DOCKERFLOW_COMMIT`` and the like give."""
    return {key: env.get(f"DOCKERFLOW_{key.upper()}", "") for key in KEYS}


# By name: what shows that the CI is there, and how it is read.
CIS: Final[dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, str]], dict[str, str]]]]] = {
    "github": (("GITHUB_ACTIONS", "GITHUB_SHA"), _github),
    "circleci": (("CIRCLECI", "CIRCLE_SHA1"), _circleci),
    "gitlab": (("GITLAB_CI", "CI_COMMIT_SHA"), _gitlab),
    "taskcluster": (("TASK_ID", "TASKCLUSTER_ROOT_URL"), _taskcluster),
}
ORIGINS: Final = (*CIS, "git")


def detect(env: Mapping[str, str]) -> str:
    """Return the name of the CI that this environment is of, or ``git``."""
    for name, (signs, _) in CIS.items():
        if any(env.get(sign) for sign in signs):
            return name
    return "git"


def gather(
    given: Mapping[str, str],
    *,
    env: Mapping[str, str],
    folder: Path,
    origin: str | None = None,
) -> tuple[dict[str, str], list[str]]:
    """Return the four values, and notes for people on what is odd about them.

    Each value is the first that isn't empty: of ``given``, of the variables ``DOCKERFLOW_SOURCE``
    and so on, of the CI, and of git if that has the same commit.

    :param origin: one of ``ORIGINS``; by default what the environment shows.
    :raises VersionError: when there is no commit to be found.
    """
    name = origin or detect(env)
    layers: list[Mapping[str, str]] = [given, _arguments(env)]
    values = _first(layers)
    if name in CIS and not all(values.values()):
        layers.append(CIS[name][1](env))
        values = _first(layers)
    reason = ""
    if not all(values[key] for key in KEYS if key != "build"):
        try:
            found = from_git(folder)
        except VersionError as error:
            reason = f" ({error})"
        else:
            # Another commit's name and place would be wrong here.
            if values["commit"] in ("", found["commit"]):
                values = _first([*layers, found])
    if not values["commit"]:
        message = f"no commit was found in the arguments, the environment or git{reason}"
        raise VersionError(message)
    notes: list[str] = []
    for key in ("source", "build"):
        cleaned = clean_url(values[key])
        if values[key] and not cleaned:
            notes.append(f"{key} is left empty, as it is no URL that others could open")
        values[key] = cleaned
    return values, notes


def _first(layers: list[Mapping[str, str]]) -> dict[str, str]:
    return {
        key: next((value for layer in layers if (value := _tidy(layer.get(key, "")))), "")
        for key in KEYS
    }


def _tidy(value: str) -> str:
    # Bytes of the environment that are not UTF-8 came as lone surrogates, which are no JSON.
    return value.encode("utf-8", "replace").decode().strip()


def from_git(folder: Path) -> dict[str, str]:
    """Return what git says of the checkout that ``folder`` is in.

    :raises VersionError: when there is no git, no checkout or no commit yet.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    version = _git(folder, "describe", "--tags", "--always")
    # Our own file may be in the repository, and is no change of the app.
    excluded = ":(top,exclude,glob)**/version.json"
    if _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", excluded):
        version += DIRTY
    try:
        source = _git(folder, "config", "--get", "remote.origin.url")
    except VersionError:
        source = ""
    return {"source": clean_url(source), "version": version, "commit": commit, "build": ""}


def _git(folder: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(  # noqa: S603 - a fixed list, and no shell
            ("git", *arguments),  # noqa: S607 - whichever git is there
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        message = "git is not installed"
        raise VersionError(message) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"git can't be run: {error}"
        raise VersionError(message) from None
    if result.returncode:
        lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
        message = f"git: {lines[0].removeprefix('fatal: ')}" if lines else "git failed"
        raise VersionError(message)
    return result.stdout.decode("utf-8", "replace").strip()


def merge(path: Path | None, values: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, Any]:
    """Return the new content of the file: the values, then what it and ``extra`` have besides.

    A source that isn't known now stays the file's; the other values are those of one build.

    :param path: the file; ``None`` when there is nothing to keep.
    :raises VersionError: when the file is there and broken.
    """
    existing = (None if path is None else get_version(path)) or {}
    content: dict[str, Any] = {key: values[key] for key in KEYS}
    source = existing.get("source")
    if not content["source"] and isinstance(source, str):
        content["source"] = clean_url(source)
    content.update((key, value) for key, value in existing.items() if key not in KEYS)
    content.update((key, _tidy(value)) for key, value in extra.items())
    return content


def dump(content: Mapping[str, Any]) -> str:
    """Return the content as JSON for people, with a newline at its end."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    # Extra keys of an existing file may have escaped a lone surrogate.
    return text.encode("utf-8", "replace").decode() + "\n"


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file so that whoever reads it sees the old or the new one, never a part.

    :raises VersionError: when it can't be written.
    """
    body = dump(content).encode()
    try:
        path = Path(os.path.realpath(path))  # the file behind a link, not the link
        try:
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:
            mode = 0o644  # the app may run as another user
        handle, name = tempfile.mkstemp(prefix=".version.json.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
            temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        message = f"{path} can't be written: {error.strerror or error}"
        raise VersionError(message) from None


def problems(content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the content of a version.json, one line each."""
    found: list[str] = []
    for key in KEYS:
        value = content.get(key)
        if key not in content:
            found.append(f"{key} is missing")
        elif not isinstance(value, str):
            found.append(f"{key} is {json.dumps(value)[:80]}, but takes a text")
        elif any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):  # noqa: PLR2004
            found.append(f"{key} has control characters")
        elif key in ("source", "build") and value:
            match = _AUTHORITY.fullmatch(value)
            if match is None or not match[2]:
                found.append(f"{key} is no URL")  # not shown: it may hold credentials
            elif clean_url(value) != value.partition("#")[0]:
                found.append(f"{key} has credentials, or is an address for ssh")
        elif key == "commit" and not _is_commit(value):
            found.append(f"commit is {json.dumps(value)[:80]}, but takes a git hash")
    return found
