"""DF2xx: what is required of the Dockerfile and its image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from dockerflow.verify import users
from dockerflow.verify.evidence import Dockerfile, Evidence, Image, printable
from dockerflow.verify.rules._registry import (
    Finding,
    Findings,
    in_dockerfile,
    in_image,
    rule,
)
from dockerflow.verify.users import ID

_SOURCE: Final = "https://github.com/mozilla-services/Dockerflow#dockerfile-requirements"

_requirement = partial(rule, "error", source=_SOURCE)


@_requirement(
    "DF201",
    "Sources are in /app",
    sentence="Sources should be copied to the `/app` directory in the container.",
    looks_at="a Dockerfile; an image",
    fix="Use `WORKDIR /app` and `COPY . /app`.",
)
def _sources(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        is_copied = _copies_to_app(dockerfile)
        yield None if is_copied else in_dockerfile(dockerfile, "nothing is copied to /app")
    for image in evidence.images:
        message = "there is nothing in /app, except perhaps a version.json"
        yield None if image.has_sources else in_image(image, message, "ls -la /app")


_COPYING: Final = frozenset({"cp", "mv", "git", "tar", "unzip", "rsync"})


def _copies_to_app(dockerfile: Dockerfile) -> bool:
    folder = "/"
    for instruction in dockerfile.instructions:
        if instruction.name == "WORKDIR":
            folder = posixpath.normpath(posixpath.join(folder, instruction.value))
        elif instruction.name in ("COPY", "ADD"):
            sources, destination = users.copied(instruction)
            names = [posixpath.basename(source) for source in sources]
            if destination and _is_in_app(folder, destination) and names != ["version.json"]:
                return True
        elif instruction.name == "RUN":
            for command, *arguments in users.commands(instruction):
                paths = (word for word in arguments if word.startswith(("/app", ".")))
                if command in _COPYING and any(_is_in_app(folder, path) for path in paths):
                    return True
    return False


def _is_in_app(folder: str, path: str) -> bool:
    full = posixpath.normpath(posixpath.join(folder, path))
    return full == "/app" or full.startswith("/app/")


@_requirement(
    "DF202",
    f"Group app is {ID}",
    sentence="Create an `app` group with a GID of `10001`.",
    looks_at="a Dockerfile; an image",
    fix="`RUN groupadd --gid 10001 app` (Alpine: `addgroup -g 10001 app`).",
)
def _group(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        ids = users.created_by(dockerfile.users)
        if ids.group is None:
            yield in_dockerfile(dockerfile, "it creates no group app")
        else:
            message = f"group app has {_shown(ids.group)}, not {ID}"
            yield None if ids.group == ID else in_dockerfile(dockerfile, message, ids.group_at)
    for image in evidence.images:
        gid = next((row[2] for row in _rows(image.group, 3) if row[0] == "app"), None)
        message = f"group app has GID {gid}, not {ID}" if gid else "there is no group app"
        yield None if gid == ID else in_image(image, message, "grep app /etc/group")


def _shown(value: str) -> str:
    if value.startswith("$"):
        return f"the value of {value}, which is not known (give --build-arg)"
    return printable(value, 40)


def _rows(text: str, least: int) -> Iterator[list[str]]:
    """Yield the rows of /etc/passwd or /etc/group that have at least so many fields."""
    rows = (line.split(":") for line in text.splitlines())
    return (row for row in rows if len(row) >= least)


@_requirement(
    "DF203",
    f"User app is {ID} and in group app",
    sentence="Create an `app` user with a UID of `10001` and is a member of the `app` group.",
    looks_at="a Dockerfile; an image",
    fix="`RUN useradd --uid 10001 --gid 10001 app` (Alpine: `adduser -D -u 10001 -G app app`).",
)
def _user(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        yield _user_created(dockerfile)
    for image in evidence.images:
        problem = _user_problem(image)
        command = "grep app /etc/passwd /etc/group"
        yield in_image(image, problem, command) if problem else None


def _user_created(dockerfile: Dockerfile) -> Finding | None:
    ids = users.created_by(dockerfile.users)
    if ids.user is None:
        return in_dockerfile(dockerfile, "it creates no user app")
    if ids.user != ID:
        message = f"user app has {_shown(ids.user)}, not {ID}"
        return in_dockerfile(dockerfile, message, ids.user_at)
    if ids.primary == "app" or (ids.primary is not None and ids.primary == ids.group):
        return None
    message = f"user app is in group {_shown(ids.primary or '')}, not in app"
    return in_dockerfile(dockerfile, message, ids.user_at)


def _user_problem(image: Image) -> str:
    user = next((row for row in _rows(image.passwd, 4) if row[0] == "app"), None)
    if user is None:
        return "there is no user app"
    if user[2] != ID:
        return f"user app has UID {user[2]}, not {ID}"
    groups = [row for row in _rows(image.group, 3) if row[0] == "app"]
    is_member = any(row[2] == user[3] or "app" in ",".join(row[3:]).split(",") for row in groups)
    return "" if is_member else "user app is not in group app"


@_requirement(
    "DF204",
    "Has ENTRYPOINT and CMD",
    sentence="Have both `ENTRYPOINT` and `CMD` instructions to start the service.",
    looks_at="a Dockerfile; an image",
    fix='Split the command: `ENTRYPOINT ["python"]` and `CMD ["app.py"]`.',
)
def _entrypoint(evidence: Evidence) -> Findings:
    names = {"ENTRYPOINT": "Entrypoint", "CMD": "Cmd"}
    for dockerfile in evidence.dockerfiles:
        start = users.start(dockerfile.instructions)
        missing = [name for name in names if name not in start]
        message = f"it has no {' and no '.join(missing)}"
        yield in_dockerfile(dockerfile, message) if missing else None
    for image in evidence.images:
        missing = [name for name, key in names.items() if not image.config.get(key)]
        yield Finding(f"it has no {' and no '.join(missing)}", image.where) if missing else None


_is_app_user = re.compile(rf"(?:app|{ID})(?::(?:app|{ID}))?").fullmatch


@_requirement(
    "DF205",
    "Runs as USER app",
    sentence="Have a `USER app` instruction to set the default user.",
    looks_at="a Dockerfile; an image",
    fix="Make `USER app` the last USER instruction; 10001, the same user, is accepted too.",
)
def _default_user(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        last = next((i for i in reversed(dockerfile.instructions) if i.name == "USER"), None)
        if last is None:
            message = "it has no USER, so it runs as the user of its base image"
            yield in_dockerfile(dockerfile, message)
        else:
            message = f"it runs as {_shown(last.value)}, not as app"
            is_app = _is_app_user(last.value)
            yield None if is_app else in_dockerfile(dockerfile, message, last)
    for image in evidence.images:
        user = str(image.config.get("User") or "")
        message = f"it runs as {printable(user, 40) or 'root'}, not as app"
        yield None if _is_app_user(user) else in_image(image, message, "id")
