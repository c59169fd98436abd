"""The users and groups of an image, and what commands such as useradd do to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from getopt import GetoptError, gnu_getopt
from typing import Final, Generic, NamedTuple, TypeVar

from dockerflow.verify.shell import Status, is_known, unknown

ID: Final = "10001"
"""The UID and GID that Dockerflow requires."""

FREE: Final = "a free one, that of "
"""Followed by a name: the ID that the system chooses."""
OF_GROUP: Final = "GID of "
"""Followed by a name: the GID of a group that the base image has."""


class User(NamedTuple):
    """A line of /etc/passwd."""

    id: str = unknown()
    gid: str = unknown()
    exists: bool = True
    """False if there may be such a user, or not."""


class Group(NamedTuple):
    """A line of /etc/group."""

    id: str = unknown()
    members: frozenset[str] = frozenset()
    exists: bool = True
    """False if there may be such a group, or not."""


def as_line(name: str, row: User | Group) -> str:
    """Return a line of /etc/passwd or /etc/group."""
    last = f"{row.gid}::/:" if isinstance(row, User) else ",".join(sorted(row.members))
    return f"{name}:x:{row.id}:{last}\n"


Row = TypeVar("Row", User, Group)


@dataclass
class Table(Generic[Row]):
    """The rows of /etc/passwd or of /etc/group, as far as they are known."""

    kind: type[Row]
    rows: dict[str, Row | None] = field(default_factory=dict[str, "Row | None"])
    """By name; None if there is none with this name."""
    unknown: str = ""
    """Why there may be any others; if empty, the base may have others, but not app or 10001."""
    lines: dict[str, int] = field(default_factory=dict[str, int])
    """Which line of the Dockerfile has changed a row."""

    def get(self, name: str) -> Row | None:
        """Return a row; None if there is certainly none."""
        if name in self.rows:
            return self.rows[name]
        return self.kind(exists=False) if self.unknown or name != "app" else None

    def set(self, name: str, row: Row | None, line: int) -> None:
        """Change a row; if its name isn't known, it may be any."""
        if is_known(name):
            self.rows[name] = row
            self.lines[name] = line
        else:
            self.unknown = self.unknown or "a name that is not known"

    def has_id(self, id_: str) -> bool:
        """Whether a row certainly has this id."""
        return any(row and row.exists and row.id == id_ for row in self.rows.values())

    def blur(self, why: str, line: int = 0, *, also_existing: bool = True) -> None:
        """Forget what is known, as something may have changed any row."""
        self.unknown = self.unknown or why
        if also_existing:
            self.rows = {name: self.kind(exists=False) for name in self.rows}
            self.lines["app"] = line or self.lines.get("app", 0)
        else:
            self.rows = {name: row for name, row in self.rows.items() if row}

    def copy(self) -> Table[Row]:
        """Return a copy that can be changed on its own."""
        return Table(self.kind, dict(self.rows), self.unknown, dict(self.lines))

    def assign(self, other: Table[Row]) -> None:
        """Adopt the state of another one, which is no longer used."""
        self.rows, self.unknown, self.lines = other.rows, other.unknown, other.lines

    def join(self, other: Table[Row]) -> None:
        """Keep only what holds for both."""
        for name in {**self.rows, **other.rows}:
            mine, others = self.get(name), other.get(name)
            if mine != others:
                both = mine is not None and others is not None and mine.exists and others.exists
                fields = zip(mine, others, strict=True) if mine and others and both else ()
                same = [one if one == two else None for one, two in fields]
                self.rows[name] = self._blurred(same) if both else self.kind(exists=False)
                if (mine is None or others is None) and (one := mine or others):
                    self.rows[name] = one._replace(exists=False)
        self.unknown = self.unknown or other.unknown
        self.lines = {**other.lines, **self.lines}

    def _blurred(self, fields: Sequence[object]) -> Row:
        default = self.kind()
        return self.kind(*(d if f is None else f for f, d in zip(fields, default, strict=True)))  # type: ignore[arg-type]


@dataclass
class Accounts:
    """The two files of one root folder."""

    users: Table[User] = field(default_factory=lambda: Table(User))
    groups: Table[Group] = field(default_factory=lambda: Table(Group))
    line: int = 0
    """The line of the instruction that runs."""

    def copy(self) -> Accounts:
        """Return a copy that can be changed on its own."""
        return Accounts(self.users.copy(), self.groups.copy(), self.line)

    def join(self, other: Accounts) -> None:
        """Keep only what holds for both."""
        self.users.join(other.users)
        self.groups.join(other.groups)

    def assign(self, other: Accounts) -> None:
        """Adopt the state of another one, which is no longer used."""
        self.users.assign(other.users)
        self.groups.assign(other.groups)

    # --- Changes, each as the commands have it in common; they return whether it fails.

    def gid_of(self, group: str) -> str | None:
        """Return the GID of a group that is given by name or GID; None if there is none."""
        if not is_known(group):
            return group
        if group.isdecimal():
            gid = _number(group)
            can_be = self.groups.unknown or gid != ID or self.groups.has_id(gid)
            return gid if can_be else None
        row = self.groups.get(group)
        if row is not None and not row.exists:  # it does, or the command would fail
            row = Group(unknown(f"{OF_GROUP}{group}"))
            self.groups.set(group, row, self.line)
        return None if row is None else row.id

    def add_group(self, name: str, gid: str | None, *, unique: bool = True) -> Status:
        """Create a group."""
        row = self.groups.get(name)
        number = f"{FREE}{name}" if gid is None else _number(gid)
        if (row and row.exists) or not number or (unique and self.groups.has_id(number)):
            return Status.ERROR
        self.groups.set(name, Group(number), self.line)
        return Status.OK

    def add_user(
        self,
        name: str,
        uid: str | None,
        group: str | None,
        supplementary: Iterable[str] = (),
        *,
        unique: bool = True,
        free_gid: bool = True,
    ) -> Status:
        """Create a user.

        :param group: its primary group; None to create one of the same name.
        :param free_gid: take another GID if that of the UID's number is taken.
        """
        row = self.users.get(name)
        number = f"{FREE}{name}" if uid is None else _number(uid)
        if (row and row.exists) or not number or (unique and self.users.has_id(number)):
            return Status.ERROR
        certain = True
        for other in supplementary:
            known = self.groups.get(other)
            may_lack = not self.groups.unknown and other not in _STANDARD
            certain = certain and not (may_lack and known and not known.exists)
            if self.add_member(name, other) != Status.OK:
                return Status.ERROR
        if group is None:
            taken = self.groups.has_id(number)
            if taken and not free_gid:
                return Status.ERROR
            is_free = taken or uid is None
            if self.add_group(name, None if is_free else number, unique=False) != Status.OK:
                return Status.ERROR
            gid = f"{FREE}{name}" if is_free else number
        else:
            found = self.gid_of(group)
            if found is None:
                return Status.ERROR
            gid = found
        self.users.set(name, User(number, gid, certain), self.line)
        return Status.OK

    def add_member(self, user: str, group: str) -> Status:
        """Put a user into a group."""
        if group.isdecimal():
            names = [n for n, row in self.groups.rows.items() if row and row.id == _number(group)]
            group = names[0] if names else f"the group {group}"
        if self.gid_of(group) is None:
            return Status.ERROR
        if is_known(group) and (row := self.groups.get(group)):
            members = row.members | {user}
            self.groups.set(group, row._replace(members=members), self.line)
        return Status.OK

    def remove_member(self, user: str, group: str) -> Status:
        """Take a user out of a group."""
        if row := self.groups.get(group):
            self.groups.set(group, row._replace(members=row.members - {user}), self.line)
        return Status.OK

    def write(self, text: str, *, is_passwd: bool, append: bool) -> None:
        """Add lines to one of the files; the first with a name counts."""
        table: Table[User] | Table[Group] = self.users if is_passwd else self.groups
        if not append:
            table.rows, table.unknown = {}, ""
        for line in text.splitlines():
            name, *rest = line.strip("\n").split(":")
            if not is_known(name):
                table.unknown = table.unknown or "text that is not known"
            elif len(rest) >= 2 and not ((row := table.get(name)) and row.exists):  # noqa: PLR2004
                id_ = _number(rest[1]) or rest[1]
                if is_passwd:
                    gid = rest[2] if len(rest) > 2 else unknown()  # noqa: PLR2004
                    self.users.set(name, User(id_, _number(gid) or gid), self.line)
                else:
                    members = rest[2].split(",") if len(rest) > 2 and rest[2] else ()  # noqa: PLR2004
                    self.groups.set(name, Group(id_, frozenset(members)), self.line)


_standard = """
    root daemon bin sys adm tty disk lp mail news man kmem dialout cdrom floppy tape sudo audio dip
    www-data backup operator src shadow utmp video sasl plugdev staff games users nogroup wheel
    input render kvm netdev ping nobody node ssl-cert docker 0 4 27 33 50 100 65534
"""
_STANDARD: Final = frozenset(_standard.split())
"""Groups that base images have."""


def _number(text: str) -> str:
    """Return a number as the files have it; empty if it is none."""
    if not is_known(text):
        return text
    return text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else ""


# --- The commands.

_USERADD: Final = (
    "b:c:d:De:f:Fg:G:hk:K:lmMNop:rR:P:s:u:UZ:",
    [
        "base-dir=", "btrfs-subvolume-home", "comment=", "home-dir=", "defaults", "expiredate=",
        "inactive=", "gid=", "groups=", "skel=", "key=", "no-log-init", "create-home",
        "no-create-home", "no-user-group", "non-unique", "password=", "system", "root=",
        "prefix=", "shell=", "uid=", "user-group", "selinux-user=", "badname", "badnames",
    ],
)  # fmt: skip
_SHADOW: Final[dict[str, tuple[str, list[str]]]] = {
    "useradd": _USERADD,
    "groupadd": (
        "fg:K:op:rR:P:U:",
        ["force", "gid=", "key=", "non-unique", "password=", "system", "root=", "prefix=",
         "users="],
    ),
    "usermod": (
        "abc:d:e:f:g:G:l:Lmop:rR:P:s:u:Uv:V:w:W:Z:",
        [
            "append", "badname", "comment=", "home=", "expiredate=", "inactive=", "gid=",
            "groups=", "login=", "lock", "move-home", "non-unique", "password=", "remove",
            "root=", "prefix=", "shell=", "uid=", "unlock",
        ],
    ),
    "groupmod": (
        "ag:n:op:R:P:U:",
        ["append", "gid=", "new-name=", "non-unique", "password=", "root=", "prefix=", "users="],
    ),
    "userdel": ("frR:P:Z", ["force", "remove", "root=", "prefix="]),
    "groupdel": ("fR:P:", ["force", "root=", "prefix="]),
    "gpasswd": ("a:d:A:M:Q:rR", ["add=", "delete=", "administrators=", "members=", "root="]),
}  # fmt: skip
_BUSYBOX: Final[dict[str, tuple[str, list[str]]]] = {
    "adduser": (
        "h:g:s:G:SDu:Hk:",
        ["home=", "gecos=", "shell=", "ingroup=", "system", "disabled-password", "uid=",
         "no-create-home", "skel=", "empty-password"],
    ),
    "addgroup": ("g:S", ["gid=", "system"]),
    "deluser": ("", ["remove-home"]),
    "delgroup": ("", []),
}  # fmt: skip
# Debian's are in Perl: one dash or two, and any beginning of an option that is no other's.
_DEBIAN: Final = [
    "add-extra-groups", "allow-all-names", "allow-badname", "backup", "comment=", "conf=", "debug",
    "disabled-login", "disabled-password", "encrypt-home", "firstgid=", "firstuid=",
    "force-badname", "gecos=", "gid=", "group", "help", "home=", "ingroup=", "lastgid=",
    "lastuid=", "no-create-home", "only-if-empty", "quiet", "remove-home", "shell=", "system",
    "uid=", "verbose", "version",
]  # fmt: skip
_LONG: Final = {
    "a": "add", "d": "delete", "g": "gid", "G": "groups", "u": "uid", "l": "login",
    "n": "new-name", "N": "no-user-group", "o": "non-unique", "f": "force", "R": "root",
    "P": "prefix", "M": "members", "U": "users", "S": "system", "r": "system",
}  # fmt: skip
# Where a letter means something else.
_OF_COMMAND: Final = {"adduser": {"G": "ingroup", "g": "gecos"}, "useradd": {"U": "user-group"}}
COMMANDS: Final = frozenset({*_SHADOW, *_BUSYBOX})


class _Call(NamedTuple):
    name: str
    options: dict[str, str]
    names: list[str]

    def has(self, option: str) -> bool:
        return option in self.options

    def list(self, option: str) -> list[str]:
        return [name for name in self.options.get(option, "").split(",") if name]


def run(
    name: str, arguments: list[str], family: str, accounts_of: Callable[[str], Accounts]
) -> Status:
    """Run one of :data:`COMMANDS`.

    :param family: of the distribution: debian, alpine, fedora; empty if it isn't known.
    :param accounts_of: returns the accounts of a root folder.
    """
    if name in _SHADOW:
        return _run_shadow(name, arguments, accounts_of)
    accounts = accounts_of("/")
    # Where it isn't known which of them it is, it is one of those that it works with.
    outcomes: list[Accounts] = []
    for one in (family,) if family else ("debian", "alpine", "fedora"):
        outcome = accounts.copy()
        if _run_in_family(name, arguments, one, outcome) == Status.OK:
            outcomes.append(outcome)
    if not outcomes:
        return Status.ERROR
    first, *others = outcomes
    for outcome in others:
        first.join(outcome)
    accounts.assign(first)
    return Status.OK


def _run_in_family(name: str, arguments: list[str], family: str, accounts: Accounts) -> Status:
    if family == "fedora":  # there, adduser is useradd, and it has none of the others
        is_useradd = name == "adduser"
        return _run_shadow("useradd", arguments, lambda _: accounts) if is_useradd else Status.ERROR
    if family == "debian":
        arguments = [re.sub("^--?(?=[A-Za-z])", "--", word) for word in arguments]
        call = _parsed(name, arguments, "", _DEBIAN)
    else:
        call = _parsed(name, arguments, *_BUSYBOX[name])
    if call is None or not call.names:
        return Status.ERROR
    return _run_simple(call, family, accounts)


def _parsed(name: str, arguments: list[str], short: str, long: list[str]) -> _Call | None:
    names = _LONG | _OF_COMMAND.get(name, {})
    try:
        found, operands = gnu_getopt(arguments, short, long)
    except GetoptError:
        return None
    options = {option.lstrip("-"): value for option, value in found}
    return _Call(name, {names.get(key, key): text for key, text in options.items()}, operands)


def _run_shadow(name: str, arguments: list[str], accounts_of: Callable[[str], Accounts]) -> Status:
    call = _parsed(name, arguments, *_SHADOW[name])
    if call is None or not call.names:
        return Status.OK if call and call.has("D") else Status.ERROR
    if call.has("non-unique") and not {"uid", "gid"} & set(call.options):
        return Status.ERROR
    if call.has("user-group") and {"gid", "no-user-group"} & set(call.options):
        return Status.ERROR
    accounts = accounts_of(call.options.get("root") or call.options.get("prefix") or "/")
    if len(call.names) > 1:
        if all(map(is_known, call.names)):
            return Status.ERROR
        why = "arguments that are not known"  # which may be options
        accounts.users.blur(why)
        accounts.groups.blur(why)
        return Status.OK
    return _shadow[name](call, call.names[0], accounts)


def _useradd(call: _Call, name: str, accounts: Accounts) -> Status:
    if call.has("D"):  # it is for the defaults, and takes no name
        return Status.ERROR
    group = call.options.get("gid", "100" if call.has("no-user-group") else None)
    return accounts.add_user(
        name,
        call.options.get("uid"),
        group,
        call.list("groups"),
        unique=not call.has("non-unique"),
    )


def _groupadd(call: _Call, name: str, accounts: Accounts) -> Status:
    row = accounts.groups.get(name)
    if call.has("force") and row:
        if not row.exists:
            row = Group(unknown(f"{OF_GROUP}{name}"))
        accounts.groups.set(name, row, accounts.line)
        return Status.OK
    gid = call.options.get("gid")
    if call.has("force") and gid is not None and accounts.groups.has_id(_number(gid)):
        gid = None
    status = accounts.add_group(name, gid, unique=not call.has("non-unique"))
    if status == Status.OK:
        for user in call.list("users"):
            accounts.add_member(user, name)
    return status


def _usermod(call: _Call, name: str, accounts: Accounts) -> Status:  # noqa: C901, PLR0912
    users, options = accounts.users, call.options
    row = users.get(name)
    if row is None:
        return Status.ERROR
    if not row.exists:  # it does, or the command would fail
        row = User()
    if "uid" in options:
        uid = _number(options["uid"])
        if not uid or (uid != row.id and not call.has("non-unique") and users.has_id(uid)):
            return Status.ERROR
        row = row._replace(id=uid)
    if "gid" in options:
        gid = accounts.gid_of(options["gid"])
        if gid is None:
            return Status.ERROR
        row = row._replace(gid=gid)
    if "groups" in options:
        if not (call.has("append") or call.has("add")):  # -a
            for group in [n for n, g in accounts.groups.rows.items() if g and name in g.members]:
                accounts.remove_member(name, group)
        for group in call.list("groups"):
            if accounts.add_member(name, group) != Status.OK:
                return Status.ERROR
    new = options.get("login", name)
    if new != name:
        taken = users.get(new)
        if taken and taken.exists:
            return Status.ERROR
        users.set(name, None, accounts.line)
        for group in [n for n, g in accounts.groups.rows.items() if g and name in g.members]:
            accounts.remove_member(name, group)
            accounts.add_member(new, group)
    users.set(new, row, accounts.line)
    return Status.OK


def _groupmod(call: _Call, name: str, accounts: Accounts) -> Status:
    groups, options = accounts.groups, call.options
    row = groups.get(name)
    if row is None:
        return Status.ERROR
    if not row.exists:  # it does, or the command would fail
        row = Group(unknown(f"{OF_GROUP}{name}"))
    if "gid" in options:
        gid = _number(options["gid"])
        if not gid or (gid != row.id and not call.has("non-unique") and groups.has_id(gid)):
            return Status.ERROR
        for user, member in [*accounts.users.rows.items()]:
            if member and member.gid == row.id:  # the command changes that, too
                accounts.users.set(user, member._replace(gid=gid), accounts.line)
        row = row._replace(id=gid)
    new = options.get("new-name", name)
    if new != name:
        taken = groups.get(new)
        if taken and taken.exists:
            return Status.ERROR
        groups.set(name, None, accounts.line)
    groups.set(new, row, accounts.line)
    return Status.OK


def _delete_user(_call: _Call, name: str, accounts: Accounts) -> Status:
    if accounts.users.get(name) is None:
        return Status.ERROR
    accounts.users.set(name, None, accounts.line)
    for group in [n for n, g in accounts.groups.rows.items() if g and name in g.members]:
        accounts.remove_member(name, group)
    return Status.OK


def _delete_group(_call: _Call, name: str, accounts: Accounts) -> Status:
    if accounts.groups.get(name) is None:
        return Status.ERROR
    accounts.groups.set(name, None, accounts.line)
    return Status.OK


def _gpasswd(call: _Call, name: str, accounts: Accounts) -> Status:
    if "members" in call.options and (row := accounts.groups.get(name)):
        members = frozenset(call.list("members"))
        accounts.groups.set(name, row._replace(members=members), accounts.line)
    if "add" in call.options:
        return accounts.add_member(call.options["add"], name)
    if "delete" in call.options:
        return accounts.remove_member(call.options["delete"], name)
    return Status.OK


_shadow: Final = {
    "useradd": _useradd,
    "groupadd": _groupadd,
    "usermod": _usermod,
    "groupmod": _groupmod,
    "userdel": _delete_user,
    "groupdel": _delete_group,
    "gpasswd": _gpasswd,
}


def _run_simple(call: _Call, family: str, accounts: Accounts) -> Status:  # noqa: PLR0911
    """Run a command of Debian's adduser, or of busybox."""
    name, *others = call.names
    adds, is_system = call.name.startswith("add"), call.has("system")
    if others:  # NAME GROUP
        if not all(map(is_known, call.names)):
            accounts.users.blur("arguments that are not known")
            accounts.groups.blur("arguments that are not known")
            return Status.OK
        if accounts.users.get(name) is None:
            return Status.ERROR
        return (accounts.add_member if adds else accounts.remove_member)(name, others[0])
    # Debian's --group without --system makes the command one for groups.
    is_group = call.name.endswith("group") or (call.has("group") and not is_system)
    if not adds:
        return (_delete_group if is_group else _delete_user)(call, name, accounts)
    if is_group:
        return accounts.add_group(name, call.options.get("gid"))
    wanted = {"gid", "ingroup", "group"} & set(call.options)
    if len(wanted) > 1:
        return Status.ERROR
    group = call.options.get("gid", call.options.get("ingroup"))
    row = accounts.groups.get(name)
    if group is None and is_system and not call.has("group"):
        group = "65534"  # nogroup
    elif group is None and is_system and row:  # a group that is there is taken
        group = name
    unique_gid = not (is_system and family == "debian")
    return accounts.add_user(name, call.options.get("uid"), group, free_gid=not unique_gid)
