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
_FLAGS: Final = {
    "useradd": "rmMUNlo",
    "groupadd": "rfo",
    "adduser": "DSHq",
    "addgroup": "Sq",
    "usermod": "aomLU",
    "groupmod": "o",
    "userdel": "rf",
    "groupdel": "f",
    "deluser": "q",
    "delgroup": "q",
}
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
        "login",
        "new-name",
    ]
)
_assignment = re.compile(r"([A-Za-z_]\w*)=").match
_variable = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")
# What a shell takes as one thing, what it leaves out, and what ends a command.
_shell = re.compile(
    r"""(?P<kept>'[^']*'|"(?:\\.|[^"\\])*"|\$\([^()]*\)|\\[^\n])
      | (?P<dropped>(?<!\S)\#[^\n]*|\\\n
          |(?:(?<!\S)\d+)?&?>>?\s*(?:&\s*[\d-]+|[^\s;&|()<>]+))
      | (?P<end>[;&|\n()])""",
    re.VERBOSE | re.DOTALL,
)
_shells: Final = frozenset({"sh", "ash", "bash", "dash"})
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
    yield from _commands(f"{text}\n{instruction.body}", dict(instruction.variables))


def _commands(text: str, variables: dict[str, str]) -> Iterator[list[str]]:
    parts = [""]
    end = 0
    for match in _shell.finditer(text):
        parts[-1] += text[end : match.start()] + (match["kept"] or " " * bool(match["dropped"]))
        if match["end"]:
            parts.append("")
        end = match.end()
    parts[-1] += text[end:]
    for part in parts:
        filled = _variable.sub(lambda m: variables.get(m[1] or m[3], m[2] or m[0]), part)
        try:
            found = shlex.split(filled)
        except ValueError:
            found = filled.split()
        while found and found[0] in (
            "sudo",
            "exec",
            "export",
            "{",
            "then",
            "else",
            "do",
            "if",
            "!",
        ):
            del found[0]
        assigned: dict[str, str] = {}
        while found and _assignment(found[0]):
            name, _, assigned[name] = found.pop(0).partition("=")
        if not found:
            variables.update(assigned)
            continue
        command = found[0].rpartition("/")[2]
        script = next((at for at, word in enumerate(found) if re.match(r"-\w*c$", word)), None)
        if command in _shells and script is not None and found[script + 1 :]:
            yield from _commands(found[script + 1], variables)
        else:
            yield [command, *found[1:]]


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
    if command in ("userdel", "deluser"):
        return ids._replace(user=None) if names == ["app"] else ids
    if command in ("groupdel", "delgroup"):
        return ids._replace(group=None) if names == ["app"] else ids
    if command == "usermod":
        return _changed_user(ids, options, names, at)
    if command in ("addgroup", "adduser") and len(names) > 1 and not options:
        # To both, two names mean: put this user into that group.
        return ids._replace(primary="app") if names == ["app", "app"] else ids
    make = _made_user if command in ("useradd", "adduser") else _made_group
    return make(ids, command, options, names, at)


def _made_group(
    ids: Ids, command: str, options: dict[str, str], names: list[str], at: Instruction
) -> Ids:
    if command == "groupmod":
        names = [*names, options.get("n", ""), options.get("new-name", "")]
        free = ids.group or "the GID that it had"
    else:
        names, free = names if len(names) == 1 else [], "a free GID"
    if "app" not in names:
        return ids
    return ids._replace(group=options.get("gid") or options.get("g") or free, group_at=at)


def _made_user(
    ids: Ids, command: str, options: dict[str, str], names: list[str], at: Instruction
) -> Ids:
    if "app" not in (*names[:1], *names[-1:]):
        return ids
    uid = options.get("uid") or options.get("u") or "a free UID"
    group = _group_of(command, options, names)
    if command == "adduser" and group is None and {"S", "system"} & set(options):
        # A user of the system gets a group of its own only when told so.
        group = "app" if "group" in options else "nogroup"
    elif group is None and {"N", "no-user-group"} & set(options):
        group = "users"
    # Without a group to be in, each makes one of the same name, and with the same id if it can.
    if ids.group is None and group in (None, "app"):
        ids, group = ids._replace(group=uid, group_at=at), "app"
    return ids._replace(user=uid, user_at=at, primary=group or "another")


def _changed_user(ids: Ids, options: dict[str, str], names: list[str], at: Instruction) -> Ids:
    if "app" not in (*names, options.get("l"), options.get("login")):
        return ids
    uid = options.get("uid") or options.get("u") or ids.user or "the UID that it had"
    # One renamed from another stays in that one's group, which has to be renamed as well.
    group = _group_of("useradd", options, names) or ids.primary or "app"
    return ids._replace(user=uid, user_at=at, primary=group)


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
