"""PURE: which user and group ``app`` a Dockerfile's commands make."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, cast

from dockerflow.verify.evidence import Instruction

ID: Final = "10001"

# Options without a value of useradd and its like, as shadow, Debian and busybox have them.
_FLAGS: Final = {"useradd": "rmMUNlo", "groupadd": "rfo", "adduser": "DSHq", "addgroup": "Sq"}
_LONG_WITH_VALUE: Final = frozenset(
    [
        "uid",
        "gid",
        "group",
        "groups",
        "ingroup",
        "home",
        "home-dir",
        "shell",
        "comment",
        "gecos",
        "base-dir",
        "password",
        "skel",
        "expiredate",
        "inactive",
        "key",
        "conf",
        "firstuid",
        "lastuid",
    ]
)
_assignment = re.compile(r"\w+=").match
_flags_before = re.compile(r"^(?:--\S+\s+)+")


def words(value: str) -> list[str]:
    """Return the words of an instruction, in either of its forms."""
    if value.startswith("["):
        try:
            parts = json.loads(value)
        except ValueError:
            parts = None
        if isinstance(parts, list):
            return [str(part) for part in cast("list[object]", parts)]
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def commands(instruction: Instruction) -> Iterator[list[str]]:
    """Return the words of each command that a RUN runs, with its variables filled in."""
    text = _flags_before.sub("", instruction.value)
    if text.startswith("["):
        parts = words(text)
        text = parts[2] if parts[1:2] == ["-c"] and len(parts) > 2 else shlex.join(parts)  # noqa: PLR2004
    text = re.sub(
        r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)",
        lambda m: instruction.variables.get(m[1] or m[3], m[2] or m[0]),
        f"{text}\n{instruction.body}",
    )
    for part in re.split(r"&&|\|\||[;|\n]|(?<!&)&(?!&)", text):
        try:
            found = shlex.split(part, comments=True)
        except ValueError:
            found = part.split()
        while found and (
            found[0] in ("sudo", "exec", "{", "(", "then", "if", "!") or _assignment(found[0])
        ):
            del found[0]
        if found:
            yield [found[0].rpartition("/")[2], *found[1:]]


class Ids(NamedTuple):
    """The ids of user and group ``app``, each None when it is not made, and where they are made."""

    group: str | None = None
    user: str | None = None
    primary: str | None = None
    """The group that the user is told to be in."""
    user_at: Instruction | None = None
    group_at: Instruction | None = None


def made_by(instructions: Iterable[Instruction]) -> Ids:
    """Return what the RUNs among the instructions make."""
    ids = Ids()
    for instruction in instructions:
        if instruction.name in {"RUN", "COPY", "ADD"}:
            ids = _written(ids, instruction)
        if instruction.name == "RUN":
            for command, *rest in commands(instruction):
                if command in _FLAGS:
                    ids = _made(ids, command, *_options(rest, command), instruction)
    return ids


def _written(ids: Ids, instruction: Instruction) -> Ids:
    """Take lines for /etc/passwd and /etc/group into account."""
    text = f"{instruction.value}\n{instruction.body}"
    if match := re.search(r"\bapp:[^:\s]*:(\d+):(\d+):", text):
        ids = ids._replace(user=match[1], primary=match[2], user_at=instruction)
    if match := re.search(r"\bapp:[^:\s]*:(\d+):(?!\d)", text):
        ids = ids._replace(group=match[1], group_at=instruction)
    return ids


def _made(
    ids: Ids, command: str, options: dict[str, str], names: list[str], at: Instruction
) -> Ids:
    if command in ("groupadd", "addgroup"):
        if names != ["app"]:
            return ids
        gid = options.get("gid") or options.get("g") or "a free GID"
        return ids._replace(group=gid, group_at=at)
    if "app" not in (*names[:1], *names[-1:]):
        return ids
    uid = options.get("uid") or options.get("u") or "a free UID"
    group = _group_of(command, options, names)
    ids = ids._replace(user=uid, user_at=at, primary=group)
    # Without a group to be in, each makes one of the same name, and with the same id if it can.
    if group is None and ids.group is None and "N" not in options:
        ids = ids._replace(group=uid, group_at=at, primary="app")
    return ids


def _group_of(command: str, options: dict[str, str], names: list[str]) -> str | None:
    keys = ("gid", "g", "groups", "G") if command == "useradd" else ("ingroup", "G", "gid")
    groups = [part for key in keys for part in options.get(key, "").split(",") if part]
    if command == "adduser" and len(names) > 1:
        groups.append(names[-1])
    return next((group for group in groups if group in ("app", ID)), next(iter(groups), None))


def _options(rest: list[str], command: str) -> tuple[dict[str, str], list[str]]:
    """Split arguments into options and names."""
    options: dict[str, str] = {}
    names: list[str] = []
    left = iter(rest)
    for word in left:
        name, has, value = word.lstrip("-").partition("=")
        if not word.startswith("-"):
            names.append(word)
        elif word.startswith("--"):
            # To adduser --group is a flag.
            takes = name in _LONG_WITH_VALUE and (name != "group" or command == "useradd")
            options[name] = next(left, "") if takes and not has else value
        else:
            letters = word[1:]
            while letters and letters[0] in _FLAGS[command]:
                options[letters[0]] = ""
                letters = letters[1:]
            if letters:
                options[letters[0]] = letters[1:] or next(left, "")
    return options, names
