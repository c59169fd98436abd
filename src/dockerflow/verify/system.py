"""What the commands of a build leave in an image: users, groups, and files in /app."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any, Final, cast

from dockerflow.verify import users
from dockerflow.verify.bases import Base
from dockerflow.verify.shell import UNKNOWN, Shell, Status, is_known, unknown
from dockerflow.verify.users import Accounts, Group, Table, User

APP: Final = "/app"
_PASSWD: Final = "/etc/passwd"  # noqa: S105
_GROUP: Final = "/etc/group"
_FILES: Final = frozenset({_PASSWD, _GROUP})
_Content = str | Table[User] | Table[Group]

_changes_accounts = re.compile(
    r"(?:user|group)(?:add|mod|del)|(?:add|del)(?:user|group)|gpasswd|newusers|sysusers"
    r"|/etc/(?:passwd|group)\b"
).search
# Scripts that are piped into a shell, and are known to install something else.
_installers = re.compile(
    r"nodesource\.com|rustup\.rs|install\.python-poetry\.org|astral\.sh|get\.docker\.com"
    r"|bun\.sh|deno\.land|getcomposer\.org|nvm-sh/nvm|dl\.yarnpkg\.com|pyenv|install-poetry"
    r"|get-poetry|sdk\.cloud\.google\.com|get\.volta\.sh|get-pip|pnpm\.io|installer\.golangci|get\.helm\.sh"
).search


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def is_in_app(path: str) -> bool:
    """Whether a path is /app or below it."""
    return _is_in(path, APP)


class System:
    """The state of an image while it is built."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.family: str = base.family
        self.has_shadow: bool = False
        """Whether Alpine has groupadd and the like."""
        self.line: int = 0
        why = "" if base.is_known else base.name
        self.files: dict[str, _Content] = {
            _PASSWD: Table(User, unknown=why),
            _GROUP: Table(Group, unknown=why),
        }
        """What is known of files: their text, or the rows of /etc/passwd and /etc/group."""
        self.populated: set[str] = set()
        """Files that are there, and folders that aren't empty."""
        self.app_unknown: str = why
        """Why it isn't known whether anything is in /app."""
        if base.is_known and re.search(r"(?:^|/)node(?:[:@]|$)", base.name):
            accounts = self.accounts()
            accounts.users.rows["node"] = User("1000", "1000")
            accounts.groups.rows["node"] = Group("1000")

    # --- What a shell needs.

    def copy(self) -> System:
        """Return a copy that can be changed on its own."""
        other = System(self.base)
        other.assign(self)
        other.files = {
            path: content if isinstance(content, str) else cast("_Content", content.copy())
            for path, content in self.files.items()
        }
        other.populated = set(self.populated)
        return other

    def assign(self, other: System) -> None:
        """Adopt the state of another one, which is no longer used."""
        self.family, self.has_shadow, self.line = other.family, other.has_shadow, other.line
        self.files, self.populated = other.files, other.populated
        self.app_unknown = other.app_unknown

    def join(self, other: System) -> None:
        """Keep only what holds for both."""
        for path in self.files.keys() | other.files.keys():
            mine, others = self.files.get(path), other.files.get(path)
            if isinstance(mine, Table) and isinstance(others, Table):
                cast("Any", mine).join(others)
            elif isinstance(mine, Table) or isinstance(others, Table):
                self.files[path] = mine if isinstance(mine, Table) else cast("Any", others)
                cast("Any", self.files[path]).blur("a condition that is not known")
            elif mine != others:
                self.files[path] = unknown()
        if any(map(is_in_app, self.populated ^ other.populated)):
            self.app_unknown = self.app_unknown or "a condition that is not known"
        self.app_unknown = self.app_unknown or other.app_unknown
        self.populated &= other.populated
        self.has_shadow = self.has_shadow or other.has_shadow

    @property
    def size(self) -> int:
        """How much a copy takes."""
        tables = (table for table in self.files.values() if isinstance(table, Table))
        return len(self.files) + len(self.populated) + sum(len(t.rows) for t in tables)

    @property
    def sh_is_dash(self) -> bool:
        """Whether /bin/sh certainly is dash."""
        return self.base.is_known and self.base.family == "debian"

    def read(self, path: str) -> str:
        """Return what a file contains."""
        content = self.files.get(path)
        return content if isinstance(content, str) else unknown()

    def write(self, path: str, text: str, *, append: bool) -> None:
        """Write a file."""
        if not is_known(path):
            self._maybe_in_app(path)
            return
        self.populated.add(path)
        content = self.files.get(path)
        if isinstance(content, Table):
            root = posixpath.dirname(posixpath.dirname(path))
            self.accounts(root).write(text, is_passwd=content.kind is User, append=append)
            return
        if append and content is None:
            folders = (path.rpartition("/")[0], "/")
            is_copied = any(f"{folder}/*" in self.populated for folder in folders)
            content = unknown() if is_copied else ""
        before = content if append and isinstance(content, str) else ""
        self.files[path] = (before + text)[-(1 << 16) :]

    def forget(self, why: str) -> None:
        """Forget everything that is known."""
        for table in self.tables():
            table.rows = {}
            table.blur(why, self.line)
        for path in [path for path in self.files if path not in _FILES]:
            del self.files[path]
        self.populated = set()
        self.app_unknown = self.app_unknown or why

    def cannot_follow(self, text: str, why: str, folder: str) -> None:
        """Record that anything a text mentions may have happened."""
        is_any = not is_known(text)  # as a script's is
        if is_any and _installers(text):
            return
        if is_any or _changes_accounts(text):
            for table in self.tables():
                table.blur(why, self.line, also_existing=not is_any)
        if is_any or APP in text or is_in_app(folder):
            self.app_unknown = self.app_unknown or why

    def tables(self) -> list[Table[Any]]:
        """Return the rows of /etc/passwd and of /etc/group."""
        return [cast("Table[Any]", self.files[path]) for path in (_PASSWD, _GROUP)]

    def accounts(self, root: str = "/") -> Accounts:
        """Return the users and groups of a root folder."""
        found: list[Any] = []
        for path, kind in ((_PASSWD, User), (_GROUP, Group)):
            full = root.rstrip("/") + path
            content = self.files.get(full)
            if not isinstance(content, Table):
                table: Table[Any] = Table(cast("Any", kind), unknown=f"the folder {root}")
                self.files[full] = table
                if isinstance(content, str):
                    one = Accounts(table, table, self.line)
                    one.write(content, is_passwd=kind is User, append=False)
                content = table
            found.append(content)
        return Accounts(found[0], found[1], self.line)

    # --- Files.

    @property
    def has_sources(self) -> bool | None:
        """Whether anything but a version.json is in /app; None if that isn't known."""
        in_app = (path for path in self.populated if path.startswith(f"{APP}/"))
        if any(path != f"{APP}/version.json" for path in in_app):
            return True
        return None if self.app_unknown else False

    def fill(self, path: str, mounted: Iterable[str] = ()) -> None:
        """Record a file at a path, or files in it."""
        if not is_known(path):
            self._maybe_in_app(path)
        elif path == APP:
            self.app_unknown = self.app_unknown or f"whether {APP} is a folder"
        elif not any(_is_in(path, m) for m in mounted):
            self.populated.add(path)

    def _maybe_in_app(self, path: str) -> None:
        start = path.partition(UNKNOWN)[0]
        if start.startswith(f"{APP}/"):
            self.populated.add(f"{APP}/*")
        elif f"{APP}/".startswith(start):
            self.app_unknown = self.app_unknown or "a path that is not known"

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with what is in it."""
        path = path.removesuffix("/*")
        for found in [p for p in self.populated if _is_in(p, path)]:
            self.populated.discard(found)
        if path == APP:
            self.app_unknown = ""
        for found in [p for p in self.files if _is_in(p, path)]:
            content = self.files[found]
            if isinstance(content, Table) and found in _FILES:
                content.rows, content.unknown = {}, ""
            else:
                del self.files[found]

    def put(self, path: str, content: _Content) -> None:
        """Replace a file."""
        if isinstance(content, Table):
            content = cast("_Content", cast("Any", content).copy())
        if path not in _FILES:
            self.files[path] = content
        elif isinstance(content, Table) and (content.kind is User) == (path == _PASSWD):
            content.lines["app"] = self.line
            self.files[path] = content
        else:
            text = content if isinstance(content, str) else unknown()
            self.accounts().write(text, is_passwd=path == _PASSWD, append=False)
        self.populated.add(path)

    def take(  # noqa: C901, PLR0912
        self, other: System, source: str, target: str, *, into: bool, contents: bool
    ) -> None:
        """Copy a file or folder from an image, which may be this one.

        :param into: the target is a folder.
        :param contents: what is in a folder is copied, not the folder.
        """
        if not (is_known(source) and is_known(target)):
            self.fill(target)
            name = posixpath.basename(source)
            if target in (*_FILES, "/etc", "/") or name in ("passwd", "group"):
                for table in self.tables():
                    table.blur("a path that is not known", self.line, also_existing=True)
            return
        base, folder = source.rstrip("/"), target.rstrip("/")
        entries: dict[str, _Content | None] = dict.fromkeys(other.populated)
        entries.update(other.files)
        depth = base.count("/") + 1
        is_pattern = any(char in base for char in "*?[")
        is_folder, copied = source.endswith("/") or _is_folder(base), set[str]()
        for path, content in entries.items():
            top = "/".join(path.split("/")[:depth]) if is_pattern else base
            if is_pattern and not fnmatch.fnmatchcase(top, base):
                continue
            name = f"/{posixpath.basename(top)}" if into else ""
            if path == top:
                to = f"{folder}{name}"
            elif path.startswith(f"{top}/"):
                is_folder = True
                to = f"{folder}{'' if contents else name}{path[len(top) :]}"
            else:
                continue
            copied.add(to)
            if content is None:
                self.populated.add(to)
            else:
                self.put(to, content)
        one = f"{folder}/{posixpath.basename(base)}" if into else target
        if one in _FILES and one not in copied:
            self.put(one, unknown())
        if is_in_app(target):
            # From an empty /app comes nothing.
            if APP in copied:
                self.fill(APP)
            elif not (is_in_app(base) and other.has_sources is False):
                self.populated.add(one if one != APP else f"{APP}/*")
        elif folder == "" and not is_in_app(base) and is_folder and other.app_unknown:
            self.app_unknown = self.app_unknown or other.app_unknown

    def take_from_context(self, source: str, target: str, *, into: bool) -> None:
        """Copy a file or folder that isn't known."""
        name = posixpath.basename(source.rstrip("/"))
        is_tree = source.endswith(("/", "*")) or _is_folder(source)
        if not is_known(target):
            self.fill(target)
            return
        folder = target.rstrip("/")
        one = f"{folder}/{name}" if into and name not in ("", ".") else target
        if one in _FILES:
            self.put(one, unknown())
        elif target in ("/", "/etc", "/etc/") and is_tree:
            for table in self.tables() if name not in ("", ".") else ():
                table.blur(f"what {source} contains", also_existing=False)
            if folder == "":
                self.app_unknown = self.app_unknown or f"what {source} contains"
        if "version.json" not in (name, posixpath.basename(one)):
            # What is behind a URL is a program rather than the project's own script.
            scripts = [one] if one not in _FILES and "://" not in source else []
            self.files |= dict.fromkeys(scripts, unknown())
            if one != APP:
                self.populated.add(one)
            elif not into:
                self.populated.add(f"{APP}/*")
            if is_tree or not into:
                self.populated.add(f"{folder}/*")
        else:
            self.populated.add(one if one != APP else f"{APP}/version.json")

    def unpack(self, folder: str, archive: str) -> None:
        """Unpack an archive that isn't known."""
        if folder == "/":
            for table in self.tables():
                table.blur(f"what {archive} contains", also_existing=False)
            self.app_unknown = self.app_unknown or f"what {archive} contains"
        self.fill(f"{folder.rstrip('/')}/*")

    # --- Commands.

    def run(self, words: list[str], shell: Shell) -> Status:  # noqa: PLR0911
        """Run a command that is not the shell's own."""
        name, arguments = posixpath.basename(words[0]), words[1:]
        if not is_known(words[0]):
            text = " ".join(arguments)
            self.cannot_follow(words[0] + text, "a command that is not known", shell.folder)
            shell.print(unknown())
            return Status.PLAIN
        if name == "busybox":
            before, self.family = self.family, "alpine"
            status = shell.run_words(arguments)
            self.family = before
            return status
        if name in users.COMMANDS:
            return self._run_accounts(name, arguments, shell)
        if command := _commands.get(name):
            return command(self, arguments, shell)
        if script := self._copied_command(words[0], shell):
            return shell.run_script(script, arguments)
        if "/" in words[0] and not words[0].startswith(_SYSTEM_FOLDERS):
            is_tool = name in _TOOLS or "node_modules" in words[0] or name.endswith(".py")
            is_installed = words[0].startswith("/") and "bin" in words[0].split("/")[:-1]
            if not is_tool and not is_installed:
                return shell.run_script(words[0], arguments)
        if name.endswith(".sh"):
            return shell.run_script(words[0], arguments)
        return self.run_other(name, arguments, shell)

    def _copied_command(self, word: str, shell: Shell) -> str | None:
        """Return the path of a command that the build itself has put into a folder of commands."""
        folder, name = posixpath.split(word)
        if name in _TOOLS or name.endswith(".py"):
            return None
        folders = [shell.path(folder)] if folder else _BIN
        paths = [f"{one}/{name}" for one in folders if posixpath.basename(one) in ("bin", "sbin")]
        return next((path for path in paths if path in self.files), None)

    def run_other(self, name: str, arguments: list[str], shell: Shell) -> Status:
        """Run a command that isn't known; it may write to where it is and to what it names."""
        text = " ".join(arguments)
        takes_text = name.startswith(("python", "perl", "ruby", "node", "php", "awk", "ed"))
        if takes_text and is_known(shell.stdin):
            text += shell.stdin
        elif takes_text and shell.stdin != unknown() and arguments in ([], ["-"]):
            self.cannot_follow(shell.stdin, "a script that is not known", shell.folder)
        if _changes_accounts(text) and name not in _READING:
            self.cannot_follow(text.replace(APP, ""), f"what {name} does", "/")
        if name not in _HARMLESS:
            paths = [shell.path(word.rpartition("=")[2]) for word in arguments]
            in_app = is_in_app(shell.path(".")) or any(map(is_in_app, paths)) or f"{APP}/" in text
            if in_app and not self._is_mounted(shell):
                self.app_unknown = self.app_unknown or f"what {name} does in /app"
        if name not in _SILENT:
            shell.print(unknown())
        return Status.PLAIN

    @staticmethod
    def _is_mounted(shell: Shell) -> bool:
        return any(_is_in(APP, m) for m in shell.mounted)

    def _run_accounts(self, name: str, arguments: list[str], shell: Shell) -> Status:
        shell.steps.take(self.size // 50)
        is_shadow = name.startswith(("user", "group", "gpasswd")) or name == "newusers"
        lacks = self.family == "alpine" and is_shadow and not self.has_shadow
        if not shell.is_root or (lacks and self.base.is_known):
            return Status.ERROR
        roots: dict[str, Accounts] = {}

        def accounts_of(root: str) -> Accounts:
            full = shell.path(root) if root != "/" else shell.root
            return roots.setdefault(full, self.accounts(full))

        return users.run(name, arguments, self.family, accounts_of)


def _is_folder(path: str) -> bool:
    """Whether a path is that of a whole tree, as far as its name tells."""
    return posixpath.basename(path) in _TREES


_TREES: Final = frozenset(
    ["", ".", "root", "rootfs", "out", "output", "install", "overlay", "sysroot", "mnt", "image"]
)
_SYSTEM_FOLDERS: Final = ("/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/")
_BIN: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_TOOLS: Final = frozenset({
    "configure", "gradlew", "mvnw", "bootstrap", "autogen.sh", "manage.py", "artisan", "python",
    "python3", "pip", "pip3", "npm", "yarn", "node", "go", "cargo", "poetry", "uv", "flask",
    "rebar3", "mix", "lein", "sbt", "composer", "bundle", "rake", "rails", "pipenv", "conda",
})  # fmt: skip
_harmless = """
    apt apt-get aptitude apk dnf yum microdnf zypper pacman dpkg rpm gem pipx conda mamba mkdir
    chmod chown chgrp ls rmdir stat du df find sleep date whoami uname sync mount umount
    ldconfig locale-gen localedef update-ca-certificates update-alternatives dpkg-reconfigure
    debconf-set-selections add-apt-repository apt-key gpg ssh-keyscan corepack rustup strip
    a2enmod a2dissite a2ensite docker-php-ext-install docker-php-ext-configure
    docker-php-ext-enable pecl setcap chpasswd passwd chsh chage usermod kill pkill service
    systemctl nginx java ssh crontab
"""
_HARMLESS: Final = frozenset(_harmless.split())

_SILENT: Final = frozenset({"mkdir", "rmdir", "chmod", "chown", "chgrp", "sleep", "sync"})
# They leave the text of a file that they name as it is.
_READING: Final = _SILENT | {
    "cmp", "cut", "diff", "du", "file", "head", "ls", "md5sum", "sha256sum", "stat", "tail", "wc",
}  # fmt: skip

_Command = Callable[[System, list[str], Shell], Status]


def _operands(arguments: list[str], with_value: str = "") -> tuple[list[str], dict[str, str]]:
    """Split arguments into operands and options; those named take a value."""
    takes = with_value.split()
    operands: list[str] = []
    options: dict[str, str] = {}
    rest = [*arguments]
    while rest:
        word = rest.pop(0)
        if word == "--":
            return operands + rest, options
        if not word.startswith("-") or word == "-":
            operands.append(word)
            continue
        name, has_value, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if has_value:
            options[name] = value
        elif word in takes:
            options[word] = rest.pop(0) if rest else ""
        elif not word.startswith("--"):
            for at, letter in enumerate(word[1:], 2):
                if f"-{letter}" in takes:
                    options[f"-{letter}"] = word[at:] or (rest.pop(0) if rest else "")
                    break
                options[f"-{letter}"] = ""
        else:
            options[word] = ""
    return operands, options


def _copy(system: System, arguments: list[str], shell: Shell, *, moves: bool = False) -> Status:
    operands, options = _operands(
        arguments, "-t -S -m -o -g -e --exclude --include --filter --files-from --mode --owner "
        "--group --target-directory --chmod --chown",
    )  # fmt: skip
    target = options.get("-t", options.get("--target-directory"))
    if target is None:
        target = operands.pop() if len(operands) > 1 else ""
        into = target.endswith("/") or target in (".", "..") or len(operands) > 1
    else:
        into = True
    if not target or "--directory" in options:
        return Status.PLAIN
    full = shell.path(target) if is_known(target) else target
    into = into or full in _FOLDERS or any(p.startswith(f"{full}/") for p in system.populated)
    for source in operands:
        path = shell.path(source) if is_known(source) else source
        contents = source.endswith(("/.", "/*"))
        if source == "version.json" or source.endswith("/version.json"):
            system.fill(f"{full}/version.json" if into or full == APP else full, shell.mounted)
            continue
        before = set(system.populated), system.app_unknown
        system.take(system, path.removesuffix("/*"), full, into=into, contents=contents)
        if any(_is_in(full, m) for m in shell.mounted):
            system.populated, system.app_unknown = before
        elif is_in_app(full) and not is_in_app(path):
            system.fill(full if full != APP else f"{APP}/*")
        if moves and is_known(path):
            system.remove(path)
    return Status.PLAIN


_folders = "/ /etc /usr /bin /usr/bin /usr/local/bin /tmp /opt /srv /var /home /root"
_FOLDERS: Final = frozenset(_folders.split())


def _move(system: System, arguments: list[str], shell: Shell) -> Status:
    return _copy(system, arguments, shell, moves=True)


def _install(system: System, arguments: list[str], shell: Shell) -> Status:
    if any(re.fullmatch("-[a-zA-Z]*d[a-zA-Z]*|--directory", word) for word in arguments):
        return Status.PLAIN
    return _copy(system, arguments, shell)


def _link(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, _ = _operands(arguments, "-t -S")
    if len(operands) > 1 and is_known(operands[-1]) and shell.path(operands[-1]) == APP:
        source = shell.path(operands[0]) if is_known(operands[0]) else unknown()
        if any(_is_in(path, source) for path in system.populated):
            system.fill(f"{APP}/*")
        else:
            system.app_unknown = system.app_unknown or f"the folder that {APP} is a link to"
    return Status.PLAIN


def _remove(system: System, arguments: list[str], shell: Shell) -> Status:
    for path in _operands(arguments)[0]:
        if is_known(path):
            system.remove(shell.path(path))
        elif f"{APP}/".startswith(path.partition(UNKNOWN)[0]) and system.has_sources:
            system.app_unknown = "a path that is removed"
            system.populated = {p for p in system.populated if not is_in_app(p)}
    return Status.PLAIN


def _find(system: System, arguments: list[str], shell: Shell) -> Status:
    paths = list(takewhile(lambda word: not word.startswith(("-", "(", "!")), arguments))
    options = {word for word in arguments[len(paths) :] if not word.isdecimal()}
    if "-delete" in options and options <= {"-delete", "-depth", "-mindepth", "-xdev"}:
        for path in filter(is_known, paths or ["."]):  # everything in it
            system.remove(shell.path(path))
    return system.run_other("find", arguments, shell)


def _fill_all(system: System, paths: Iterable[str], shell: Shell) -> Status:
    for path in paths:
        system.fill(shell.path(path) if is_known(path) else path, shell.mounted)
    return Status.PLAIN


def _touch(system: System, arguments: list[str], shell: Shell) -> Status:
    return _fill_all(system, _operands(arguments, "-r -t -d")[0], shell)


def _tee(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, options = _operands(arguments)
    for path in operands:
        full = shell.path(path) if is_known(path) else path
        system.write(full, shell.stdin, append="-a" in options or "--append" in options)
    shell.print(shell.stdin)
    return Status.OK


def _cat(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, _ = _operands(arguments)
    for path in operands or ["-"]:
        known = is_known(path)
        shell.print(
            shell.stdin if path == "-" else system.read(shell.path(path)) if known else path
        )
    return Status.PLAIN


def _dd(system: System, arguments: list[str], shell: Shell) -> Status:
    for word in arguments:
        if word.startswith("of="):
            system.write(shell.path(word[3:]), unknown(), append=False)
    return Status.PLAIN


def _curl(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, options = _operands(
        arguments, "-o --output --output-dir -H --header -d --data -X --request -u --user -A "
        "--retry --retry-delay --connect-timeout -m --max-time -w --cacert -e -b -F -T -x -K -Y -y "
        "-C -E -r -t -z -Q --proto --ciphers --resolve",
    )  # fmt: skip
    path = options.get("-o", options.get("--output"))
    folder = options.get("--output-dir", ".")
    if path is not None and path != "-":
        return _write_unknown(system, posixpath.join(folder, path), shell)
    if {"-O", "--remote-name", "--remote-name-all", "-J"} & set(options):
        names = [posixpath.basename(url.partition("?")[0]) or "index" for url in operands]
        return _fill_all(system, [posixpath.join(folder, name) for name in names], shell)
    shell.print(unknown(" ".join(operands).replace(UNKNOWN, "")))
    return Status.PLAIN


def _write_unknown(system: System, path: str, shell: Shell) -> Status:
    if is_known(path):
        full = shell.path(path)
        if full in _FILES:
            system.put(full, unknown())
        system.files.pop(full, None) if full not in _FILES else None
    return _fill_all(system, [path], shell)


def _wget(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, options = _operands(
        arguments, "-O --output-document -P --directory-prefix -t --tries -T --timeout --header "
        "-o -a -U --user --password",
    )  # fmt: skip
    path = options.get("-O", options.get("--output-document"))
    if path == "-":
        shell.print(unknown(" ".join(operands).replace(UNKNOWN, "")))
        return Status.PLAIN
    if path is not None:
        return _write_unknown(system, path, shell)
    folder = options.get("-P", options.get("--directory-prefix", "."))
    names = [posixpath.basename(url.partition("?")[0]) or "index.html" for url in operands]
    return _fill_all(system, [posixpath.join(folder, name) for name in names], shell)


def _tar(system: System, arguments: list[str], shell: Shell) -> Status:
    words = [*arguments]
    if words and not words[0].startswith("-"):
        words[0] = f"-{words[0]}"
    long_ones = {"--extract", "--get"} & set(words)
    letters = "".join(w[1:] for w in words if w.startswith("-") and not w.startswith("--"))
    folder = "."
    for index, word in enumerate(words):
        if word.startswith("--directory="):
            folder = word.partition("=")[2]
        elif re.fullmatch("-[a-zA-Z]*C|--directory|--cd", word):
            folder = next((w for w in words[index + 1 :] if not w.startswith("-")), ".")
        elif word.startswith("-C"):
            folder = word[2:]
    extracts = bool(long_ones) or ("x" in letters and "c" not in letters.partition("x")[0])
    if not extracts:
        shell.print(unknown())
        return Status.PLAIN
    return _unpack(system, folder, shell)


def _unpack(system: System, folder: str, shell: Shell) -> Status:
    if is_known(folder) and shell.path(folder) == "/":
        system.app_unknown = system.app_unknown or "an archive that is unpacked to /"
        return Status.PLAIN
    return _fill_all(system, [posixpath.join(folder, "*")], shell)


def _unzip(system: System, arguments: list[str], shell: Shell) -> Status:
    _, options = _operands(arguments, "-d -x")
    if {"-l", "-p", "-t", "-v", "-Z"} & set(options):
        shell.print(unknown())
        return Status.PLAIN
    return _unpack(system, options.get("-d", "."), shell)


def _seven_zip(system: System, arguments: list[str], shell: Shell) -> Status:
    folders = [word[2:] for word in arguments if word.startswith("-o")]
    if arguments[:1] and arguments[0] in ("x", "e"):
        return _unpack(system, folders[0] if folders else ".", shell)
    return Status.PLAIN


def _git(system: System, arguments: list[str], shell: Shell) -> Status:
    words, folder = [*arguments], "."
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-C", "-c", "--git-dir", "--work-tree") and words:
            value = words.pop(0)
            folder = value if option in ("-C", "--work-tree") else folder
    command, rest = (words[0], words[1:]) if words else ("", [])
    operands, _ = _operands(
        rest, "-b --branch --depth -o --origin -c --config -j --jobs --reference --template "
        "--filter --shallow-since --separate-git-dir",
    )  # fmt: skip
    if command == "clone" and operands:
        name = re.sub(r"(?:/?\.git)?/*$", "", operands[0]).rpartition("/")[2].rpartition(":")[2]
        path = operands[1] if len(operands) > 1 else name or UNKNOWN
        return _fill_all(system, [posixpath.join(folder, path, "*")], shell)
    if command in ("checkout", "pull", "submodule", "worktree", "init", "reset", "merge", "apply"):
        return _fill_all(system, [posixpath.join(folder, "*")], shell)
    shell.print(unknown())
    return Status.PLAIN


def _checkout(system: System, arguments: list[str], shell: Shell) -> Status:
    """Svn and hg."""
    operands, _ = _operands(arguments, "-r --rev -b --branch --username --password -u")
    if operands[:1] and operands[0] in ("co", "checkout", "export", "clone") and operands[1:]:
        name = posixpath.basename(operands[1].rstrip("/"))
        path = operands[2] if len(operands) > 2 else name  # noqa: PLR2004
        return _fill_all(system, [posixpath.join(path, "*")], shell)
    shell.print(unknown())
    return Status.PLAIN


def _go(system: System, arguments: list[str], shell: Shell) -> Status:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    folder = "."
    for index, word in enumerate(arguments):
        if word == "-C":
            folder = arguments[index + 1] if index + 1 < len(arguments) else "."
    for index, word in enumerate(rest):
        path = word.partition("=")[2] if word.startswith(("-o=", "--o=")) else None
        if word in ("-o", "--o") and index + 1 < len(rest):
            path = rest[index + 1]
        if path is not None and command in ("build", "test"):
            return _fill_all(system, [posixpath.join(folder, path)], shell)
    if command == "build":
        return _fill_all(system, [posixpath.join(folder, "*")], shell)
    if command == "install" and (target := shell.variables.get("GOBIN")):
        return _fill_all(system, [f"{target}/*"], shell)
    shell.print(unknown())
    return Status.PLAIN


_PIP_FOLDERS: Final = (
    "-t --target --prefix --root --src -d --dest -w --wheel-dir --download --download-dir"
)


def _pip(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, options = _operands(
        arguments, f"{_PIP_FOLDERS} -r --requirement -c --constraint -i --index-url "
        "--extra-index-url --trusted-host -f --find-links --no-binary --only-binary --python",
    )  # fmt: skip
    if operands[:1] and operands[0] in ("install", "download", "wheel"):
        folders = [options[name] for name in _PIP_FOLDERS.split() if name in options]
        return _fill_all(system, [posixpath.join(f, "*") for f in folders], shell)
    shell.print(unknown())
    return Status.PLAIN


def _python(system: System, arguments: list[str], shell: Shell) -> Status:
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        module, rest = arguments[1], arguments[2:]
        if module == "pip":
            return _pip(system, rest, shell)
        if module in ("venv", "virtualenv"):
            return _venv(system, rest, shell)
        if module in ("compileall", "ensurepip"):
            return Status.PLAIN
    if arguments and arguments[0] in ("-V", "--version"):
        shell.print(unknown())
        return Status.PLAIN
    return system.run_other("python", arguments, shell)


def _venv(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, _ = _operands(arguments, "-p --python --prompt")
    return _fill_all(system, [posixpath.join(path, "*") for path in operands], shell)


def _uv(system: System, arguments: list[str], shell: Shell) -> Status:
    if arguments[:1] == ["pip"]:
        return _pip(system, arguments[1:], shell)
    if arguments[:1] == ["venv"]:
        return _venv(system, arguments[1:] or [".venv"], shell)
    return system.run_other("uv", arguments, shell)


def _npm(system: System, arguments: list[str], shell: Shell) -> Status:
    harmless = {"-g", "--global", "config", "cache", "set", "global", "--version", "-v"}
    if harmless & set(arguments):
        shell.print(unknown())
        return Status.PLAIN
    return system.run_other("npm", arguments, shell)


def _output_option(*names: str, command: str = "") -> _Command:
    """Return a command that writes into the folder of an option."""

    def run(system: System, arguments: list[str], shell: Shell) -> Status:
        _, options = _operands(arguments, " ".join(names))
        paths = [options[name] for name in names if name in options]
        if paths:
            return _fill_all(system, [posixpath.join(path, "*") for path in paths], shell)
        return system.run_other(command, arguments, shell)

    return run


def _apk(system: System, arguments: list[str], shell: Shell) -> Status:
    shell.print(unknown())
    if system.family == "":
        system.family = "alpine"
    text = " ".join(arguments)
    if "shadow" in text or not is_known(text) or "-r" in arguments:
        system.has_shadow = system.has_shadow or "add" in arguments
    return Status.PLAIN


def _is_of(family: str) -> _Command:
    """Return a command that shows which distribution it is."""

    def run(system: System, _arguments: list[str], shell: Shell) -> Status:
        if system.family == "":
            system.family = family
        shell.print(unknown())
        return Status.PLAIN

    return run


def _exists(row: User | Group | None) -> Status:
    if row is None:
        return Status.FALSE
    return Status.OK if row.exists else Status.UNKNOWN


def _getent(system: System, arguments: list[str], shell: Shell) -> Status:
    accounts = system.accounts(shell.root)
    table: Any = {"passwd": accounts.users, "group": accounts.groups}.get(
        arguments[0] if arguments else ""
    )
    if table is None or len(arguments) != 2 or not is_known(arguments[1]):  # noqa: PLR2004
        shell.print(unknown())
        return Status.UNKNOWN
    if arguments[1].isdecimal():
        is_taken = table.has_id(arguments[1])
        is_free = arguments[1] == users.ID and not table.unknown
        shell.print("" if is_free and not is_taken else unknown())
        return Status.OK if is_taken else Status.FALSE if is_free else Status.UNKNOWN
    status = _exists(table.get(arguments[1]))
    shell.print(_line_of(table, arguments[1]))
    return status


def _line_of(table: Table[Any], name: str) -> str:
    """Return a user's or group's line; empty if there is certainly none."""
    row = table.get(name)
    return "" if row is None else users.as_line(name, row) if row.exists else unknown()


def _id(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, options = _operands(arguments)
    if not operands:
        is_number = {"-u", "-g"} & set(options) and "-n" not in options and shell.is_root
        shell.print("0\n" if is_number else unknown())
        return Status.OK
    if not is_known(operands[0]) or operands[0].isdecimal():
        shell.print(unknown())
        return Status.UNKNOWN
    row = system.accounts(shell.root).users.get(operands[0])
    status = _exists(row)
    if row is None:
        return status
    wanted = row.id if "-u" in options else row.gid if "-g" in options else unknown()
    shell.print((wanted if wanted.isdecimal() and "-n" not in options else unknown()) + "\n")
    return status


def _grep(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, options = _operands(arguments, "-e -f -m -A -B -C --regexp")
    pattern = options.get("-e") or (operands.pop(0) if operands else unknown())
    path = shell.path(operands[0]) if len(operands) == 1 and is_known(operands[0]) else ""
    table = system.files.get(path)
    match = re.fullmatch(r"\^?([a-z_][a-z0-9_-]*):?", pattern)
    if not isinstance(table, Table) or match is None or "-v" in options:
        shell.print(unknown())
        return Status.UNKNOWN
    # What else has the pattern in it, is no user or group of this name.
    is_whole = not set(options) - {"-e", "-E", "-w", "-i"}
    shell.print(_line_of(table, match[1]) if is_whole else unknown())
    status = _exists(table.get(match[1]))
    return status if status != Status.FALSE or match[0].startswith("^") else Status.UNKNOWN


def _tail(system: System, arguments: list[str], shell: Shell) -> Status:
    *option, path = arguments or [""]
    table = system.files.get(shell.path(path)) if is_known(path) else None
    is_one = " ".join(option) in ("-1", "-n1", "-n 1")
    if is_one and isinstance(table, Table) and table.rows and not table.unknown:
        shell.print(_line_of(table, [*table.rows][-1]) or unknown())  # the newest is the last
        return Status.OK
    return system.run_other("tail", arguments, shell)


def _sed(system: System, arguments: list[str], shell: Shell) -> Status:
    operands, options = _operands(arguments, "-e -f --expression --file -l")
    in_place = any(re.match("-[a-zA-Z]*i|--in-place", word) for word in arguments)
    if not in_place:
        shell.print(unknown())
        return Status.PLAIN
    text = " ".join(arguments)
    for word in operands:
        path = shell.path(word) if is_known(word) else ""
        content = system.files.get(path)
        if isinstance(content, Table):
            about_app = re.search(rf"app|{users.ID}", text) or not is_known(text) or "-f" in options
            if about_app or content.rows.get("app") is not None:
                content.blur("what sed changes", system.line)
        elif path in system.files:
            system.files[path] = unknown()
    return Status.PLAIN


def _sysusers(system: System, arguments: list[str], shell: Shell) -> Status:
    accounts = system.accounts(shell.root)
    operands, options = _operands(arguments, "--root --image --replace")
    texts: list[str] = []
    if "--inline" in options:
        texts = operands
    elif operands:
        for path in operands:
            full = shell.path(path) if "/" in path else f"/usr/lib/sysusers.d/{path}"
            texts.append(shell.stdin if path == "-" else system.read(full))
    else:
        files = system.files.items()
        texts = [t for path, t in files if isinstance(t, str) and "/sysusers.d/" in path]
    for line in "\n".join(texts).splitlines():
        match line.split():
            case ["u" | "u!", name, *rest]:
                uid, _, group = (rest[0] if rest else "-").partition(":")
                _sysuser(accounts, name, uid, group)
            case ["g", name, *rest]:
                accounts.add_group(name, rest[0] if rest and rest[0] != "-" else None)
            case ["m", name, group, *_]:
                accounts.add_member(name, group)
            case [word, *_] if not is_known(line) and not word.startswith("#"):
                for table in (accounts.users, accounts.groups):
                    cast("Table[Any]", table).blur("a file that is not known", also_existing=False)
            case _:
                pass
    return Status.PLAIN


def _sysuser(accounts: Accounts, name: str, uid: str, group: str) -> None:
    number = None if uid in ("-", "") else uid
    if group:
        accounts.add_user(name, number, group)
        return
    row = accounts.groups.get(name)
    accounts.add_user(name, number, name if row and row.exists else None)


def _newusers(system: System, _arguments: list[str], _shell: Shell) -> Status:
    for table in system.tables():
        table.blur("what newusers creates", system.line, also_existing=False)
    return Status.PLAIN


def _automation(system: System, _arguments: list[str], shell: Shell) -> Status:
    """Ansible and its like can do anything."""
    system.cannot_follow(unknown(), "a script that is not known", shell.folder)
    return Status.PLAIN


_commands: Final[dict[str, _Command]] = {
    "cp": _copy, "mv": _move, "install": _install, "rsync": _copy, "scp": _copy, "ln": _link,
    "rm": _remove, "touch": _touch, "tee": _tee, "cat": _cat, "dd": _dd, "curl": _curl,
    "wget": _wget, "tar": _tar, "bsdtar": _tar, "unzip": _unzip, "7z": _seven_zip, "git": _git,
    "find": _find, "svn": _checkout,
    "hg": _checkout, "go": _go, "pip": _pip, "pip3": _pip, "python": _python,
    "python3": _python, "virtualenv": _venv, "uv": _uv, "npm": _npm, "yarn": _npm, "pnpm": _npm,
    "dotnet": _output_option("-o", "--output", command="dotnet"),
    "cargo": _output_option("--root", "--target-dir", "--out-dir", command="cargo"),
    "bundle": _output_option("--path", command="bundle"),
    "javac": _output_option("-d", command="javac"),
    "gcc": _output_option("-o", command="gcc"), "g++": _output_option("-o", command="g++"),
    "cc": _output_option("-o", command="cc"),
    "apk": _apk, "apt-get": _is_of("debian"), "apt": _is_of("debian"),
    "dnf": _is_of("fedora"), "yum": _is_of("fedora"), "microdnf": _is_of("fedora"),
    "getent": _getent, "id": _id, "grep": _grep, "egrep": _grep, "sed": _sed, "tail": _tail,
    "systemd-sysusers": _sysusers, "newusers": _newusers, "ansible-playbook": _automation,
    "puppet": _automation, "chef-client": _automation, "salt-call": _automation,
}  # fmt: skip
