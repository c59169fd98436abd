"""Make version.json from arguments, a CI's environment or git, and find what is wrong with one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from dockerflow.version import KEYS, VersionError, get_version, is_commit

GIT_SECONDS: Final = 60

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
# git's other form of an ssh address: [user@]host:path
_SCP: Final = re.compile(r"(?:[^@/]*@)?([\w.-]{2,}):/?([^/].*)", re.DOTALL)
_SECRET: Final = re.compile("token|passw|secret|credential|key|auth|signature", re.IGNORECASE)


def clean_url(url: str) -> str:
    """Return the URL without credentials, and with https instead of ssh.

    Returns "" if it isn't a URL, such as the path of a folder.
    """
    match = _URL.fullmatch(url)
    if match is None:
        match = _SCP.fullmatch(url)
        return f"https://{match[1]}/{match[2]}" if match else ""
    scheme, authority, rest = match.groups()
    host = authority.rpartition("@")[2]
    if "@" in rest and not re.fullmatch(r"(\[.*\]|[^:]*)(:\d*)?", host):
        # The "host" is a user name and the start of a password that has an unescaped slash.
        host, slash, path = rest.rpartition("@")[2].partition("/")
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
    server = env.get("GITHUB_SERVER_URL") or "https://github.com"
    source = _join(server, env.get("GITHUB_REPOSITORY"))
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
    # Each repository has its own prefix, such as GECKO_HEAD_REV.
    commits = {name: env[name] for name in sorted(env) if name.endswith("_HEAD_REV") and env[name]}
    if len({*commits.values()}) > 1:
        names = ", ".join(commits)
        raise VersionError(
            f"the environment has several commits ({names}): give --source and --commit"
        )
    prefix = next(iter(commits), "").removesuffix("_HEAD_REV")
    return {
        "source": env.get(f"{prefix}_HEAD_REPOSITORY", ""),
        "version": env.get(f"{prefix}_HEAD_TAG") or env.get("APP_VERSION", ""),
        "commit": env.get(f"{prefix}_HEAD_REV", ""),
        "build": _join(env.get("TASKCLUSTER_ROOT_URL"), "tasks", env.get("TASK_ID")),
    }


def _join(*parts: str | None) -> str:
    """Join the parts of a URL; return "" if one of them is missing."""
    return "/".join(part.strip("/") for part in parts if part) if all(parts) else ""


# By name: the variables that identify the CI, and the function that reads its environment.
CIS: Final[dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, str]], dict[str, str]]]]] = {
    "github": (("GITHUB_ACTIONS", "GITHUB_SHA"), _github),
    "circleci": (("CIRCLECI", "CIRCLE_SHA1"), _circleci),
    "gitlab": (("GITLAB_CI", "CI_COMMIT_SHA"), _gitlab),
    "taskcluster": (("TASK_ID", "TASKCLUSTER_ROOT_URL"), _taskcluster),
}
ORIGINS: Final = (*CIS, "git")


def detect(env: Mapping[str, str]) -> str:
    """Return the name of the CI that the environment belongs to, or ``git``."""
    return next((name for name, (signs, _) in CIS.items() if any(map(env.get, signs))), "git")


def gather(
    given: Mapping[str, str], origin: str, *, env: Mapping[str, str], folder: Path
) -> tuple[dict[str, str], list[str], list[str]]:
    """Return the four values, notes about odd ones, and where the values come from.

    Each value is the first that isn't empty: of ``given``, of the variables ``DOCKERFLOW_SOURCE``
    and so on, of the CI, and of git if that has the same commit.

    :param origin: one of ``ORIGINS``.
    :param folder: the checkout, or a folder in it.
    :raises VersionError: when no commit is found.
    """
    values = dict.fromkeys(KEYS, "")
    origins: list[str] = []

    fill = partial(_fill, values, origins)
    fill("arguments", given)
    fill("environment", {key: env.get(f"DOCKERFLOW_{key.upper()}", "") for key in KEYS})
    if origin in CIS and not all(values.values()):
        fill(origin, CIS[origin][1](env))
    reason = ""
    if not all(values[key] for key in KEYS if key != "build"):
        try:
            found = from_git(folder)
        except VersionError as error:
            reason = f" ({error})"
        else:
            # The version and source of another commit would be wrong.
            if values["commit"] in ("", found["commit"]):
                fill("git", found)
    if not values["commit"]:
        message = "no commit was found in the arguments, the environment or git"
        raise VersionError(f"{message}{reason}; give --commit")
    notes: list[str] = []
    for key in ("source", "build"):
        cleaned = clean_url(values[key])
        if values[key] and not cleaned:
            notes.append(f"{key} is left empty, because it is not a URL that others could open")
        values[key] = cleaned
    return values, notes, origins


def _fill(values: dict[str, str], origins: list[str], name: str, more: Mapping[str, str]) -> None:
    """Replace the values that are empty; note the name if there were any."""
    found = {key: _tidy(more.get(key, "")) for key, value in values.items() if not value}
    values.update(found)
    if any(found.values()):
        origins.append(name)


def _tidy(value: str) -> str:
    # Variables with bytes that are not UTF-8 have lone surrogates, which JSON can't have.
    return value.encode("utf-8", "replace").decode().strip()


def from_git(folder: Path) -> dict[str, str]:
    """Return the values of the checkout that ``folder`` is in.

    :raises VersionError: when there is no git, no checkout or no commit yet.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    version = _git(folder, "describe", "--tags", "--always")
    # Our own file may be in the repository; writing it doesn't change the app.
    excluded = ":(top,exclude,glob)**/version.json"
    if _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", excluded):
        version += "-dirty"  # as git describe has it
    try:
        source = _git(folder, "config", "--get", "remote.origin.url")
    except VersionError:
        source = ""
    return {"source": clean_url(source), "version": version, "commit": commit}


def _git(folder: Path, *arguments: str) -> str:
    command = ("git", *arguments)
    try:
        result = subprocess.run(  # noqa: S603 - a fixed command, and no shell
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        message = "git is not installed"
        raise VersionError(message) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VersionError(f"git can't be run: {error}") from None
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        raise VersionError(f"git: {lines[0].removeprefix('fatal: ')}" if lines else "git failed")
    return result.stdout.strip()


def merge(path: Path | None, values: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, Any]:
    """Return the new content of the file: the values, then the other keys of it and of ``extra``.

    The file's source stays if ``values`` has none; its other three values belong to one build.

    :param path: the file; ``None`` if there is nothing to keep.
    :raises VersionError: when the file exists and is broken.
    """
    try:
        existing = (None if path is None else get_version(path)) or {}
    except VersionError as error:
        raise VersionError(f"{error}; --replace discards that file") from None
    content: dict[str, Any] = {key: values[key] for key in KEYS}
    source = existing.get("source")
    if not content["source"] and isinstance(source, str):
        content["source"] = clean_url(source)
    content.update((key, value) for key, value in existing.items() if key not in KEYS)
    content.update((key, _tidy(value)) for key, value in extra.items())
    return content


def dump(content: Mapping[str, Any]) -> str:
    """Return the content as indented JSON, with a newline at the end."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    # An existing file may have escaped lone surrogates in its other keys.
    return text.encode("utf-8", "replace").decode() + "\n"


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file as a whole: readers see the old or the new one, never a part.

    :raises VersionError: when it can't be written.
    """
    try:
        path = Path(os.path.realpath(path))  # the file behind a link, not the link
        try:
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:
            mode = 0o644  # the app may run as another user
        with tempfile.TemporaryDirectory(prefix=".version.json.", dir=path.parent) as folder:
            temporary = Path(folder) / "version.json"
            temporary.write_text(dump(content), encoding="utf-8", newline="\n")
            temporary.chmod(mode)
            temporary.replace(path)
    except OSError as error:
        raise VersionError(f"{path} can't be written: {error.strerror or error}") from None


def problems(content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the content of a version.json, one line each."""
    found = {key: _problem(key, content[key]) if key in content else "is missing" for key in KEYS}
    return [f"{key} {problem}" for key, problem in found.items() if problem]


def _problem(key: str, value: object) -> str:
    if not isinstance(value, str):
        return f"must be a string, not {json.dumps(value)[:80]}"
    if re.search(r"[\x00-\x1f\x7f]", value):
        return "has control characters"
    if key == "commit" and not is_commit(value):
        return f"must be a git hash, not {json.dumps(value)[:80]}"
    if key in ("source", "build") and value:
        match = _URL.fullmatch(value)
        if match is None or not match[2]:
            return "is not a URL"  # not shown: it may hold credentials
        if clean_url(value) != value.partition("#")[0]:
            return "has credentials, or is an ssh address"
    return ""
