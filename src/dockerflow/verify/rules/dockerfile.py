"""DF2xx: what is required of the Dockerfile and its image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from dockerflow.verify.evidence import Dockerfile, Evidence, Image, Instruction, printable
from dockerflow.verify.instructions import start
from dockerflow.verify.rules._registry import (
    Finding,
    Findings,
    in_dockerfile,
    in_image,
    rule,
    unknown_in_dockerfile,
)
from dockerflow.verify.shell import UNKNOWN, is_known, unknown
from dockerflow.verify.users import FREE, ID, OF_GROUP, Group, Table, User

_SOURCE: Final = "https://github.com/mozilla-services/Dockerflow#dockerfile-requirements"

_requirement = partial(rule, "error", source=_SOURCE)


@_requirement(
    "DF201",
    "Sources are in /app",
    sentence="Sources should be copied to the `/app` directory in the container.",
    looks_at="a Dockerfile; an image",
    fix="Use `WORKDIR /app` and `COPY . /app`.",
    why="""
        Anyone who opens a shell in an unfamiliar service looks in `/app`, for the code that a
        traceback names or for version.json, and so do tools that scan images. If every service
        chooses its own folder, people have to search first.
        """,
    language="dockerfile",
    bad="""
        WORKDIR /usr/src/shop
        COPY . .
        """,
    good="""
        WORKDIR /app
        COPY . .
        """,
)
def _sources(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        system = dockerfile.system
        if system.has_sources is None:
            message = f"whether anything is in /app depends on {system.app_unknown}"
            yield from unknown_in_dockerfile(evidence, dockerfile, message)
        else:
            message = "nothing is copied to /app"
            yield None if system.has_sources else in_dockerfile(dockerfile, message)
    for image in evidence.images:
        message = "there is nothing in /app, except perhaps a version.json"
        yield None if image.has_sources else in_image(image, message, "ls -la /app")


_WITHOUT_SHELL = (
    "In an image without a shell: do so in an earlier stage, and "
    "`COPY --from=build /etc/passwd /etc/group /etc/`."
)


@_requirement(
    "DF202",
    f"Group app has GID {ID}",
    sentence="Create an `app` group with a GID of `10001`.",
    looks_at="a Dockerfile; an image",
    fix=f"`RUN groupadd --gid 10001 app` (Alpine: `addgroup -g 10001 app`). {_WITHOUT_SHELL}",
    why="""
        Files in volumes belong to numeric IDs, not names. With the same GID in all images,
        `fsGroup: 10001` fits each of them. A GID assigned during the build can change with the
        base image, and then the app can't open its own files.
        """,
    language="dockerfile",
    bad=r"""
        RUN groupadd app \
         && useradd --uid 10001 --gid app app
        """,
    good=r"""
        RUN groupadd --gid 10001 app \
         && useradd --uid 10001 --gid app app
        """,
)
def _group(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        groups = dockerfile.system.accounts().groups
        group = groups.get("app")
        if group is None:
            yield in_dockerfile(dockerfile, "it creates no group app")
        elif not group.exists and not _is_other_id(group.id):
            message = f"whether there is a group app depends on {_reason(groups)}"
            yield from unknown_in_dockerfile(evidence, dockerfile, message)
        else:
            yield from _judged_id(evidence, dockerfile, "group app has", "GID", group.id, groups)
    for image in evidence.images:
        gid = next((row[2] for row in _rows(image.group, 3) if row[0] == "app"), None)
        message = f"group app has GID {gid}, not {ID}" if gid else "there is no group app"
        yield None if gid == ID else in_image(image, message, "grep app /etc/group")


def _reason(table: Table[Any]) -> str:
    return printable(table.unknown or "a condition that is not known", 100)


def _judged_id(  # noqa: PLR0917
    evidence: Evidence, dockerfile: Dockerfile, has: str, kind: str, id_: str, table: Table[Any]
) -> Findings:
    """Judge the ID of user or group app."""
    at = _at(dockerfile, table.lines.get("app", 0))
    if is_known(id_):
        shown = f"a free {kind}" if id_.startswith(FREE) else f"{kind} {printable(id_, 40)}"
        yield None if id_ == ID else in_dockerfile(dockerfile, f"{has} {shown}, not {ID}", at)
    else:
        name = id_.replace(UNKNOWN, "")
        is_variable = re.fullmatch(r"\w+", name)
        shown = f"{kind} ${name}, which" if is_variable else f"a {kind} that"
        message = f"{has} {shown} is not known"
        yield from unknown_in_dockerfile(evidence, dockerfile, message, at)


def _is_other_id(id_: str) -> bool:
    """Whether what may be created certainly has a wrong ID."""
    return is_known(id_) and id_ != ID


def _at(dockerfile: Dockerfile, line: int) -> Instruction | None:
    return next((i for i in dockerfile.instructions if i.line == line), None)


def _rows(text: str, least: int) -> Iterator[list[str]]:
    """Yield the rows of /etc/passwd or /etc/group that have at least so many fields."""
    rows = (line.split(":") for line in text.splitlines())
    return (row for row in rows if len(row) >= least)


@_requirement(
    "DF203",
    f"User app has UID {ID} and is in group app",
    sentence="Create an `app` user with a UID of `10001` and is a member of the `app` group.",
    looks_at="a Dockerfile; an image",
    fix="`RUN useradd --uid 10001 --gid 10001 app` (Alpine: `adduser -D -u 10001 -G app app`). "
    + _WITHOUT_SHELL,
    why="""
        Files in volumes belong to numeric IDs, and Kubernetes checks `runAsNonRoot` by number. A
        UID assigned during the build can change with the base image: the next release fails with
        "permission denied" on files that the previous one wrote.
        """,
    language="dockerfile",
    bad=r"""
        RUN groupadd --gid 10001 app \
         && useradd --gid app app
        """,
    good=r"""
        RUN groupadd --gid 10001 app \
         && useradd --uid 10001 --gid app app
        """,
)
def _user(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        yield from _user_created(evidence, dockerfile)
    for image in evidence.images:
        problem = _user_problem(image)
        command = "grep app /etc/passwd /etc/group"
        yield in_image(image, problem, command) if problem else None


def _user_created(evidence: Evidence, dockerfile: Dockerfile) -> Findings:
    accounts = dockerfile.system.accounts()
    users, groups = accounts.users, accounts.groups
    user, group = users.get("app"), groups.get("app")
    if user is None:
        yield in_dockerfile(dockerfile, "it creates no user app")
        return
    if not user.exists and not _is_other_id(user.id):
        message = f"whether there is a user app depends on {_reason(users)}"
        yield from unknown_in_dockerfile(evidence, dockerfile, message)
        return
    is_member = _is_member(user, group)
    if (user.id == ID and is_member is not None) or (not is_known(user.id) and is_member is False):
        at = _at(dockerfile, users.lines.get("app", 0))
        message = "user app is not in group app" + (
            f", but in {_group_named(groups, user.gid)}" if is_known(user.gid) else ""
        )
        yield None if is_member else in_dockerfile(dockerfile, message, at)
    elif user.id == ID:
        message = f"whether user app is in group app depends on {_reason(groups)}"
        yield from unknown_in_dockerfile(evidence, dockerfile, message)
    else:
        yield from _judged_id(evidence, dockerfile, "user app has", "UID", user.id, users)


def _is_member(user: User, group: Group | None) -> bool | None:
    """Return whether user app is in group app; None if that isn't known."""
    if OF_GROUP in user.gid and not (group and (user.gid == group.id or group.members)):
        return False  # it is another group's
    if group is None:  # that it is missing is another rule's
        return user.gid == ID if is_known(user.gid) else None
    if not group.exists and (user.gid.startswith(FREE) or user.gid in _OTHERS):
        return False
    if "app" in group.members or (user.gid == group.id and user.gid != unknown()):
        return group.exists or None
    is_certain = group.exists and is_known(user.gid) and is_known(group.id)
    return False if is_certain and all(map(is_known, group.members)) else None


_OTHERS: Final = frozenset({"0", "100", "65534"})
"""GIDs that a base image has for root, users and nogroup."""


def _group_named(groups: Table[Group], gid: str) -> str:
    names = [name for name, row in groups.rows.items() if row and row.id == gid]
    return f"group {printable(names[0] if names else gid, 40)}"


def _user_problem(image: Image) -> str:
    user = next((row for row in _rows(image.passwd, 4) if row[0] == "app"), None)
    if user is None:
        return "there is no user app"
    if user[2] != ID:
        return f"user app has UID {user[2]}, not {ID}"
    groups = [row for row in _rows(image.group, 3) if row[0] == "app"]
    if not groups and user[3] == ID:  # that the group is missing is another rule's
        return ""
    is_member = any(row[2] == user[3] or "app" in ",".join(row[3:]).split(",") for row in groups)
    return "" if is_member else "user app is not in group app"


@_requirement(
    "DF204",
    "Has ENTRYPOINT and CMD",
    sentence="Have both `ENTRYPOINT` and `CMD` instructions to start the service.",
    looks_at="a Dockerfile; an image",
    fix='Split the command: `ENTRYPOINT ["python"]` and `CMD ["app.py"]`.',
    why="""
        Arguments of `docker run` replace CMD and keep ENTRYPOINT. With both, one image serves the
        app and runs its other commands, such as `docker run example/app migrate.py`. If one is
        missing, each deployment has to spell out the whole command.
        """,
    language="dockerfile",
    bad="""
        CMD ["python", "app.py"]
        """,
    good="""
        ENTRYPOINT ["python"]
        CMD ["app.py"]
        """,
)
def _entrypoint(evidence: Evidence) -> Findings:
    names = {"ENTRYPOINT": "Entrypoint", "CMD": "Cmd"}
    for dockerfile in evidence.dockerfiles:
        found, base = start(dockerfile.instructions), dockerfile.base
        # An ENTRYPOINT drops the CMD of the base.
        of_base = {"ENTRYPOINT": base.may_have_entrypoint, "CMD": base.name != "scratch"}
        absent = [name for name in names if found.get(name) is None]
        missing = [name for name in absent if name in found or not of_base[name]]
        if missing:
            message = f"it has no {' and no '.join(missing)}"
            yield in_dockerfile(dockerfile, message)
        elif absent:
            message = f"whether it has {' and '.join(absent)} depends on {base.name}"
            yield from unknown_in_dockerfile(evidence, dockerfile, message)
        else:
            yield None
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
    why="""
        If the app runs as root, anyone who gets it to run code owns everything in the container,
        and is one kernel bug or careless mount away from the host. Clusters that enforce
        `runAsNonRoot` refuse to start such an image.
        """,
    language="dockerfile",
    bad="""
        ENTRYPOINT ["python"]
        CMD ["app.py"]
        """,
    good="""
        USER app
        ENTRYPOINT ["python"]
        CMD ["app.py"]
        """,
)
def _default_user(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        last = next((i for i in reversed(dockerfile.instructions) if i.name == "USER"), None)
        base = dockerfile.base
        if last is None and base.is_known:
            is_root = base.family or base.name == "scratch"
            user = "root" if is_root else f"{base.name}'s default user"
            yield in_dockerfile(dockerfile, f"it has no USER, so it runs as {user}")
        elif last is None:
            message = f"it has no USER, so its user depends on {base.name}"
            yield from unknown_in_dockerfile(evidence, dockerfile, message)
        elif "$" in last.value:
            message = f"it runs as {printable(last.value, 40)}, which is not known"
            yield from unknown_in_dockerfile(evidence, dockerfile, message, last)
        else:
            shown = printable(" ".join(last.value.split()), 40) or "root"
            message = f"it runs as {shown}, not as app"
            is_app = _is_app_user(last.value)
            yield None if is_app else in_dockerfile(dockerfile, message, last)
    for image in evidence.images:
        user = str(image.config.get("User") or "")
        message = f"it runs as {printable(user, 40) or 'root'}, not as app"
        yield None if _is_app_user(user) else in_image(image, message, "id")
