"""Find which user and group ``app`` a Dockerfile's commands create."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, cast

from dockerflow.verify.evidence import Instruction

ID: Final = "10001"
"""The id that Dockerflow asks for, of user and group."""

# Options without a value of useradd and the like, in shadow, Debian and busybox.
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
_LONG_WITH_VALUE: Final = frozenset({
    "uid", "gid", "group", "groups", "ingroup", "home", "home-dir", "shell", "comment", "gecos",
    "base-dir", "password", "skel", "expiredate", "inactive", "key", "conf", "firstuid", "lastuid",
    "login", "new-name",
})  # fmt: skip
_SHELLS: Final = frozenset({"sh", "ash", "bash", "dash"})
_PREFIXES: Final = frozenset({"sudo", "exec", "export", "{", "then", "else", "do", "if", "!"})
_assignment = re.compile(r"([A-Za-z_]\w*)=").match
_variable = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")
# Quoted text, substitutions and escapes are kept; comments and redirections dropped.
_token = re.compile(
    r"""(?P<kept>'[^']*'|"(?:\\.|[^"\\])*"|\$\([^()]*\)|\\[^\n])
      | (?P<dropped>(?<!\S)\#[^\n]*|\\\n
          |(?:(?<!\S)\d+)?&?>>?\s*(?:&\s*[\d-]+|[^\s;&|()<>]+))
      | [;&|\n()]""",
    re.VERBOSE | re.DOTALL,
)
_flags_before = re.compile(r"^(?:--\S+\s+)+")


def words(value: str) -> list[str]:
    """Return the words of an instruction's value, in shell or JSON form."""
    if value.startswith("["):
        try:
            parts = json.loads(value)
        except ValueError:
            parts = None
        if isinstance(parts, list):
            return [str(part) for part in cast("list[object]", parts)]
    return _split(value)


def copied(instruction: Instruction) -> tuple[list[str], str]:
    """Return the sources and the destination of a COPY or ADD."""
    *sources, destination = words(_flags_before.sub("", instruction.value)) or [""]
    return sources, destination


def start(instructions: Iterable[Instruction]) -> dict[str, Instruction]:
    """Return the ENTRYPOINT and the CMD that are in force at the end, by name."""
    found: dict[str, Instruction] = {}
    for instruction in instructions:
        if instruction.name not in ("ENTRYPOINT", "CMD"):
            continue
        cmd = found.get("CMD")
        if instruction.name == "ENTRYPOINT" and cmd and cmd.stage != instruction.stage:
            del found["CMD"]  # a build drops it if it comes from the stage below
        found.pop(instruction.name, None)
        if words(instruction.value):
            found[instruction.name] = instruction
    return {name: found[name] for name in ("ENTRYPOINT", "CMD") if name in found}


def commands(instruction: Instruction) -> Iterator[list[str]]:
    """Return the words of each command that a RUN runs, with its variables substituted."""
    text = _flags_before.sub("", instruction.value)
    if text.startswith("["):
        text = shlex.join(words(text))
    yield from _commands(f"{text}\n{instruction.body}", dict(instruction.variables))


def _commands(text: str, variables: dict[str, str]) -> Iterator[list[str]]:
    parts = _token.sub(lambda m: m["kept"] or (" " if m["dropped"] else "\0"), text).split("\0")
    for part in parts:
        found = _split(_variable.sub(lambda m: variables.get(m[1] or m[3], m[2] or m[0]), part))
        while found and found[0] in _PREFIXES:
            del found[0]
        assigned: dict[str, str] = {}
        while found and _assignment(found[0]):
            name, _, assigned[name] = found.pop(0).partition("=")
        if not found:
            variables.update(assigned)
            continue
        command = found[0].rpartition("/")[2]
        script = next((at for at, word in enumerate(found) if re.match(r"-\w*c$", word)), None)
        if command in _SHELLS and script is not None and found[script + 1 :]:
            yield from _commands(found[script + 1], variables)
        else:
            yield [command, *found[1:]]


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # quotes that are not closed
        return text.split()


class Ids(NamedTuple):
    """The ids of user and group ``app``, None if it is not created, and where each is created."""

    group: str | None = None
    user: str | None = None
    primary: str | None = None
    """The group that the user is put in."""
    user_at: Instruction | None = None
    group_at: Instruction | None = None


class _Command(NamedTuple):
    name: str
    options: dict[str, str]
    names: list[str]
    at: Instruction

    def option(self, *names: str) -> str | None:
        """Return the first of these options that has a value."""
        return next((self.options[name] for name in names if self.options.get(name)), None)


def created_by(instructions: Iterable[Instruction]) -> Ids:
    """Return what the instructions create."""
    ids = Ids()
    for instruction in instructions:
        if instruction.name in {"RUN", "COPY", "ADD"}:
            ids = _written(ids, instruction)
        if instruction.name == "RUN":
            for name, *arguments in commands(instruction):
                if name in _FLAGS:
                    ids = _apply(ids, _Command(name, *_options(name, arguments), instruction))
    return ids


def _written(ids: Ids, instruction: Instruction) -> Ids:
    """Apply lines that are written to /etc/passwd and /etc/group."""
    text = f"{instruction.value}\n{instruction.body}"
    if match := re.search(r"\bapp:[^:\s]*:(\d+):(\d+):", text):
        ids = ids._replace(user=match[1], primary=match[2], user_at=instruction)
    if match := re.search(r"\bapp:[^:\s]*:(\d+):(?!\d)", text):
        ids = ids._replace(group=match[1], group_at=instruction)
    return ids


def _apply(ids: Ids, command: _Command) -> Ids:
    names = command.names
    match command.name:
        case "userdel" | "deluser" | "groupdel" | "delgroup":
            kind = "user" if "user" in command.name else "group"
            return ids._replace(**{kind: None}) if names == ["app"] else ids
        case "addgroup" | "adduser" if len(names) > 1 and not command.options:
            # Both take two names to mean: put this user into that group.
            return ids._replace(primary="app") if names == ["app", "app"] else ids
        case "usermod":
            return _change_user(ids, command)
        case "useradd" | "adduser":
            return _create_user(ids, command)
        case "groupmod":
            return _change_group(ids, command)
        case _:
            gid = command.option("gid", "g") or "a free GID"
            return ids._replace(group=gid, group_at=command.at) if names == ["app"] else ids


def _change_group(ids: Ids, command: _Command) -> Ids:
    if "app" not in (*command.names, command.option("n", "new-name")):
        return ids
    gid = command.option("gid", "g") or ids.group or "the GID that it had"
    return ids._replace(group=gid, group_at=command.at)


def _create_user(ids: Ids, command: _Command) -> Ids:
    if "app" not in (*command.names[:1], *command.names[-1:]):
        return ids
    uid = command.option("uid", "u") or "a free UID"
    group = _group_of(command)
    if group is None and command.name == "adduser" and {"S", "system"} & set(command.options):
        # A system user gets a group with its name only if asked for.
        group = "app" if "group" in command.options else "nogroup"
    elif group is None and {"N", "no-user-group"} & set(command.options):
        group = "users"
    # By default a group with the user's name is created, with the same id if that is free.
    if ids.group is None and group in (None, "app"):
        ids, group = ids._replace(group=uid, group_at=command.at), "app"
    return ids._replace(user=uid, user_at=command.at, primary=group or "another")


def _change_user(ids: Ids, command: _Command) -> Ids:
    if "app" not in (*command.names, command.option("l", "login")):
        return ids
    uid = command.option("uid", "u") or ids.user or "the UID that it had"
    # A renamed user stays in its group, which has to be renamed too.
    group = _group_of(command) or ids.primary or "app"
    return ids._replace(user=uid, user_at=command.at, primary=group)


def _group_of(command: _Command) -> str | None:
    """Return the group that the options put a user in: app if it is among them."""
    is_adduser = command.name == "adduser"
    keys = ("ingroup", "G", "gid") if is_adduser else ("gid", "g", "groups", "G")
    groups = [part for key in keys for part in command.options.get(key, "").split(",") if part]
    if is_adduser and len(command.names) > 1:
        groups.append(command.names[-1])
    return next((group for group in groups if group in ("app", ID)), next(iter(groups), None))


def _options(command: str, arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split arguments into options and names."""
    options: dict[str, str] = {}
    names: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            names.append(word)
        elif word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            # For adduser, --group is a flag.
            takes = name in _LONG_WITH_VALUE and (name != "group" or command == "useradd")
            options[name] = next(rest, "") if takes and not has_value else value
        else:
            letters = word[1:].lstrip(_FLAGS[command])
            options.update(dict.fromkeys(word[1 : len(word) - len(letters)], ""))
            if letters:
                options[letters[0]] = letters[1:] or next(rest, "")
    return options, names
