"""PURE: what Dockerflow asks, one rule for each sentence, and how each is judged.

A rule's function looks at the evidence and yields a :class:`Finding` for what is wrong, or None
for what it looked at and found right. A rule that yields nothing had nothing to look at.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple, cast

from dockerflow.verify import mozlog, users
from dockerflow.verify.evidence import (
    ENDPOINTS,
    HEARTBEAT,
    LBHEARTBEAT,
    VERSION,
    Answer,
    Dockerfile,
    Evidence,
    Image,
    Instruction,
    Log,
    Service,
    VersionFile,
    parse_json,
    printable,
)

Level = Literal["error", "warning"]

REPOSITORY: Final = "https://github.com/mozilla-services/Dockerflow"
_APP: Final = f"{REPOSITORY}#containerized-app-requirements"
_DOCKERFILE: Final = f"{REPOSITORY}#dockerfile-requirements"
_OPTIONAL: Final = f"{REPOSITORY}#optional-recommendations"
_VERSION_OBJECT: Final = f"{REPOSITORY}/blob/main/docs/version_object.md"
_MOZLOG: Final = "https://wiki.mozilla.org/Firefox/Services/Logging"
_HTTP: Final = "https://www.rfc-editor.org/rfc/rfc9110"
_STOP: Final = "https://docs.docker.com/reference/cli/docker/container/stop/"
_STOP_SENTENCE: Final = (
    "The main process inside the container will receive SIGTERM, and after a grace period, SIGKILL."
)

KEYS: Final = ("source", "version", "commit", "build")
ID: Final = "10001"
PORT: Final = "8000"
MAX_FINDINGS: Final = 5
"""How many lines of one log are named for one rule."""


class Finding(NamedTuple):
    """Something that is not as a rule asks."""

    message: str
    where: str
    reproduce: str = ""
    """A shell command that shows it."""
    file: str = ""
    line: int | None = None


Verdicts = Iterator[Finding | None]


class Rule(NamedTuple):
    """What is asked, where that is written, and what to do about it."""

    id: str
    title: str
    level: Level
    sentence: str
    source: str
    looks_at: str
    fix: str
    judge: Callable[[Evidence], Verdicts]

    @property
    def page(self) -> str:
        """The path of its page in the documentation."""
        return f"docs/rules/{self.id}.md"

    @property
    def heading(self) -> str:
        """The title in Markdown, where the underscores of a path would be read as emphasis."""
        return re.sub(r"/\S+|\$\w+", r"`\g<0>`", self.title)


RULES: Final[dict[str, Rule]] = {}


def _rule(  # noqa: PLR0913 - a rule has that many parts
    id_: str, title: str, level: Level, sentence: str, source: str, *, looks_at: str, fix: str
) -> Callable[[Callable[[Evidence], Verdicts]], Callable[[Evidence], Verdicts]]:
    def add(judge: Callable[[Evidence], Verdicts]) -> Callable[[Evidence], Verdicts]:
        RULES[id_] = Rule(id_, title, level, sentence, source, looks_at, fix, judge)
        return judge

    return add


def _about(service: Service, answer: Answer, message: str) -> Finding:
    return Finding(message, service.where, service.reproduce(answer))


def _answers(seen: Evidence, path: str) -> Iterator[tuple[Service, Answer]]:
    for service in seen.services:
        answer = service.get(path)
        if answer is not None:
            yield service, answer


def _is_5xx(answer: Answer) -> bool:
    return answer.status is not None and 500 <= answer.status <= 599 and not answer.error  # noqa: PLR2004


def _is_200(answer: Answer) -> bool:
    return answer.status == 200 and not answer.error  # noqa: PLR2004


# --- The app


@_rule(
    "DF101",
    "Configured by the environment",
    "error",
    "Accept its configuration through environment variables.",
    _APP,
    looks_at="a command: whether $PORT, or a variable of --break, had any effect",
    fix="Read every setting from an environment variable; keep none in the image or in arguments.",
)
def _environment(seen: Evidence) -> Verdicts:
    for run in seen.runs:
        broken = [service for service in seen.broken if service.start]
        if run.listens or any(_reacted(service) for service in broken):
            yield None
        elif broken:
            yield Finding(
                "neither $PORT nor the variable that should break it had any effect",
                run.where,
                run.start,
            )


def _reacted(service: Service) -> bool:
    answer = service.get(HEARTBEAT)
    return service.exited is not None or answer is None or not _is_200(answer)


_literal_port = re.compile(
    r"""(?:--(?:http-)?port[=\s]+|(?:--bind|-b|runserver)[=\s]+[\w.\[\]:]*?:?)(\d{2,5})\b"""
)


@_rule(
    "DF102",
    "Listens on $PORT",
    "error",
    "Listen on environment variable `$PORT` for HTTP requests.",
    _APP,
    looks_at="a command, which gets a free port as $PORT; a Dockerfile whose ENTRYPOINT or CMD "
    "names a port",
    fix="Let the app read PORT, or let a shell fill it in: `sh -c 'exec app --port $PORT'`.",
)
def _port(seen: Evidence) -> Verdicts:
    for run in seen.runs:
        if run.listens:
            yield None
            continue
        ports = ", ".join(map(str, run.elsewhere))
        found = f"it listens on {ports} instead" if ports else "it listens on no port at all"
        yield Finding(f"it got PORT={run.port}, but {found}", run.where, run.start)
    for dockerfile in seen.dockerfiles:
        start = [i for i in _start(dockerfile.instructions).values() if i is not None]
        words = " ".join(" ".join(users.words(instruction.value)) for instruction in start)
        match = _literal_port.search(words)
        if "PORT" in words:
            yield None
        elif match:
            yield _in(dockerfile, f"it listens on port {match[1]} whatever $PORT says", start[-1])


def _versions(seen: Evidence) -> Iterator[tuple[VersionFile, Any]]:
    """Return each version.json that could be parsed, and what it says."""
    for version in _all_versions(seen):
        if version.content is not None:
            try:
                content = parse_json(version.content)
            except ValueError:
                continue
            if isinstance(content, dict):
                yield version, content


def _all_versions(seen: Evidence) -> Iterator[VersionFile]:
    yield from seen.versions
    for image in seen.images:
        yield image.version
    for service, answer in _answers(seen, VERSION):
        if _is_200(answer):
            where = f"{VERSION} of {service.where}"
            yield VersionFile(where, answer.body, service.reproduce(answer))


@_rule(
    "DF103",
    "Has /app/version.json",
    "error",
    "Must have a JSON version object at `/app/version.json`.",
    _APP,
    looks_at="an image",
    fix="Write version.json in CI (`dockerflow version` does) and copy it to /app.",
)
def _version_file(seen: Evidence) -> Verdicts:
    for image in seen.images:
        missing = image.version.content is None
        yield _of(image, "there is no /app/version.json", "ls -l /app") if missing else None


@_rule(
    "DF104",
    "version.json is a version object",
    "error",
    "A Dockerflow containers are required to respond to requests to `/__version__` with a JSON "
    "object that looks like: source, version, commit, build.",
    _VERSION_OBJECT,
    looks_at="a version.json: given, in an image, or as it is served",
    fix="Write an object with the texts source, version, commit and build.",
)
def _version_object(seen: Evidence) -> Verdicts:
    for version in _all_versions(seen):
        if version.content is None:
            continue
        problem = _problem(version.content)
        file = version.file
        yield Finding(problem, version.where, version.reproduce, file) if problem else None


def _problem(body: bytes) -> str:
    try:
        content = parse_json(body)
    except ValueError as error:
        return "it is empty" if not body.strip() else f"it is not JSON: {printable(str(error))}"
    if not isinstance(content, dict):
        return f"it is a JSON {type(content).__name__}, not an object"
    values = cast("dict[str, Any]", content)
    missing = [key for key in KEYS if key not in values]
    if missing:
        return f"it has no {', '.join(missing)}"
    wrong = [key for key in KEYS if not isinstance(values[key], str)]
    return f"{', '.join(wrong)}: not a text" if wrong else ""


@_rule(
    "DF105",
    "version.json says what runs",
    "warning",
    "The version objects provides enough information to identify: Where to find the source code; "
    "The release version of the application; The commit hash for the containerized application; A "
    "link to the CI tool's build job that created the image.",
    _VERSION_OBJECT,
    looks_at="a version.json: given, in an image, or as it is served",
    fix="Fill in source and build with URLs and commit with the full hash; version may be empty.",
)
def _version_values(seen: Evidence) -> Verdicts:
    for version, content in _versions(seen):
        texts = {key: value for key, value in content.items() if isinstance(value, str)}
        bad = [
            key
            for key, is_good in (
                (
                    "source",
                    re.compile(r"(?:https?|ssh|git)://.+|\S+@\S+:\S+|[\w.-]+\.\w+/.+").match,
                ),
                ("commit", re.compile(r"[0-9a-fA-F]{7,64}\Z").match),
                ("build", re.compile(r"https?://.+").match),
            )
            if key in texts and not is_good(texts[key])
        ]
        shown = ", ".join(f"{key} is {json.dumps(printable(texts[key], 60))}" for key in bad)
        message = f"it does not identify what runs: {shown}"
        yield Finding(message, version.where, version.reproduce, version.file) if bad else None


@_rule(
    "DF106",
    "Answers /__version__",
    "error",
    "Respond to `/__version__` with the contents of `/app/version.json`.",
    _APP,
    looks_at="a running app",
    fix="Answer GET /__version__ with HTTP 200 and the file's contents.",
)
def _version_endpoint(seen: Evidence) -> Verdicts:
    for service, answer in _answers(seen, VERSION):
        if not _is_200(answer):
            yield _about(service, answer, f"GET {VERSION}: {answer.said}, not HTTP 200")
            continue
        try:
            is_object = isinstance(answer.json(), dict)
        except ValueError:
            is_object = False
        yield (
            None
            if is_object
            else _about(service, answer, f"GET {VERSION}: the answer is no JSON object")
        )


@_rule(
    "DF107",
    "Serves the version.json that it has",
    "error",
    "Respond to `/__version__` with the contents of `/app/version.json`.",
    _APP,
    looks_at="a running app together with --version-json, an image, or a version.json in the "
    "folder in which the command is started",
    fix="Serve the file itself, and start the app anew after the file was written.",
)
def _version_same(seen: Evidence) -> Verdicts:
    files = [*seen.versions, *(image.version for image in seen.images)]
    for service, answer in _answers(seen, VERSION):
        served = _object(answer.body) if _is_200(answer) else None
        for file in files:
            content = None if file.content is None else _object(file.content)
            if served is None or content is None:
                continue
            differ = [
                key for key in sorted({*content, *served}) if content.get(key) != served.get(key)
            ]
            message = (
                f"GET {VERSION} is not what {file.where} says; "
                f"{printable(', '.join(differ))} differ"
            )
            yield _about(service, answer, message) if differ else None


def _object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that this is, if it is one."""
    try:
        content = parse_json(body)
    except ValueError:
        return None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None


@_rule(
    "DF108",
    "Answers /__heartbeat__",
    "error",
    "Respond to `/__heartbeat__` with a HTTP 200 or 5xx on error.",
    _APP,
    looks_at="a running app",
    fix="Answer GET /__heartbeat__ in time with HTTP 200, or 5xx when something is wrong.",
)
def _heartbeat(seen: Evidence) -> Verdicts:
    for service, answer in _answers(seen, HEARTBEAT):
        fine = _is_200(answer) or _is_5xx(answer)
        yield (
            None
            if fine
            else _about(service, answer, f"GET {HEARTBEAT}: {answer.said}, not HTTP 200 or 5xx")
        )


@_rule(
    "DF109",
    "The heartbeat checks backing services",
    "error",
    "This should check backing services like a database for connectivity and may respond with the "
    "status of backing services and application components as a JSON payload.",
    _APP,
    looks_at="a command, started with what --break names: NAME=VALUE that breaks a service",
    fix="Connect to each backing service in the heartbeat, and answer 5xx when that fails.",
)
def _heartbeat_services(seen: Evidence) -> Verdicts:
    for service in seen.broken:
        answer = service.get(HEARTBEAT)
        if service.exited is not None:
            message = (
                f"with {service.broken_by} the app exits ({service.exited}) instead of saying so"
            )
            yield Finding(message, service.where, service.start)
        elif answer is not None:
            message = f"GET {HEARTBEAT} with {service.broken_by}: {answer.said}, not HTTP 5xx"
            yield None if _is_5xx(answer) else _about(service, answer, message)


@_rule(
    "DF110",
    "Answers /__lbheartbeat__",
    "error",
    "Respond to `/__lbheartbeat__` with an HTTP 200.",
    _APP,
    looks_at="a running app",
    fix="Answer GET /__lbheartbeat__ with HTTP 200 at once, before redirects, host checks and "
    "logins.",
)
def _lbheartbeat(seen: Evidence) -> Verdicts:
    for service, answer in _answers(seen, LBHEARTBEAT):
        message = f"GET {LBHEARTBEAT}: {answer.said}, not HTTP 200"
        yield None if _is_200(answer) else _about(service, answer, message)


@_rule(
    "DF111",
    "The load balancer's heartbeat needs no backing service",
    "error",
    "This is for load balancer checks and should **not** check backing services.",
    _APP,
    looks_at="a command, started with what --break names; a running app whose heartbeat is 5xx",
    fix="Answer /__lbheartbeat__ without touching a database, a cache or another service.",
)
def _lbheartbeat_alone(seen: Evidence) -> Verdicts:
    unwell = [s for s in seen.services if (a := s.get(HEARTBEAT)) is not None and _is_5xx(a)]
    for service in [*seen.broken, *unwell]:
        because = (
            f" with {service.broken_by}" if service.broken_by else " while the heartbeat is 5xx"
        )
        answer = service.get(LBHEARTBEAT)
        if service.exited is not None:
            yield Finding(f"the app exits{because}", service.where, service.start)
        elif answer is not None:
            message = f"GET {LBHEARTBEAT}{because}: {answer.said}, not HTTP 200"
            yield None if _is_200(answer) else _about(service, answer, message)


@_rule(
    "DF112",
    "HEAD is answered like GET",
    "warning",
    "All general-purpose servers MUST support the methods GET and HEAD.",
    f"{_HTTP}#section-9.1",
    looks_at="the endpoints of a running app that answer GET",
    fix="Answer HEAD with the status of GET and no body; probes and load balancers use it.",
)
def _head(seen: Evidence) -> Verdicts:
    for service in seen.services:
        for path in ENDPOINTS:
            get, head = service.get(path), service.answers.get(("HEAD", path))
            if get is None or head is None or not (_is_200(get) or _is_5xx(get)):
                continue
            message = f"HEAD {path}: {head.said}, but GET: {get.said}"
            yield None if head.status == get.status else _about(service, head, message)


@_rule(
    "DF113",
    "Other methods are refused",
    "warning",
    "The 405 (Method Not Allowed) status code indicates that the method received in the "
    "request-line is known by the origin server but not supported by the target resource.",
    f"{_HTTP}#section-15.5.6",
    looks_at="POST to the endpoints of a running app that answer GET",
    fix="Answer POST with HTTP 405 and an Allow header.",
)
def _methods(seen: Evidence) -> Verdicts:
    for service in seen.services:
        for path in ENDPOINTS:
            get, post = service.get(path), service.answers.get(("POST", path))
            if get is None or post is None or not (_is_200(get) or _is_5xx(get)):
                continue
            refused = post.status is not None and (400 <= post.status < 500 or post.status == 501)  # noqa: PLR2004
            message = f"POST {path}: {post.said}, not HTTP 405"
            yield None if refused else _about(service, post, message)


def _logs(seen: Evidence) -> Iterator[Log]:
    yield from seen.logs
    for run in seen.runs:
        yield from (log for log in (run.stdout, run.stderr) if log is not None)


@_rule(
    "DF114",
    "Logs to stdout or stderr",
    "error",
    "Send text logs to `stdout` or `stderr`.",
    _APP,
    looks_at="what a command writes; a log",
    fix="Log lines of UTF-8 to stdout or stderr, and to no file.",
)
def _text_logs(seen: Evidence) -> Verdicts:
    for run in seen.runs:
        for file in run.log_files:
            yield Finding(f"it logs to the file {file}", run.where, run.start)
        if not any(log is not None and any(log.lines) for log in (run.stdout, run.stderr)):
            yield Finding("it wrote nothing to stdout or stderr", run.where, run.start)
    for log in _logs(seen):
        bad = next((n for n, line in enumerate(log.lines, 1) if not _is_text(line)), None)
        if bad is not None:
            yield _at(log, bad, "it is not text in UTF-8")
        elif any(log.lines):
            yield None


def _is_text(line: bytes) -> bool:
    try:
        return "\0" not in line.decode()
    except UnicodeDecodeError:
        return False


@_rule(
    "DF115",
    "Serves its own static content",
    "error",
    "Serve its own static content.",
    _APP,
    looks_at="what --static names; else what the page at / of a running app is made of",
    fix="Serve the files with the app (for example with WhiteNoise); no other server will.",
)
def _static(seen: Evidence) -> Verdicts:
    for service in seen.services:
        for answer in service.assets:
            # A file may well be larger than what is read of it.
            fine = answer.status == 200 and bool(answer.body)  # noqa: PLR2004
            message = f"GET {answer.url}: {answer.said}, not a file"
            yield None if fine else _about(service, answer, message)


@_rule(
    "DF116",
    "Ends on SIGTERM",
    "error",
    _STOP_SENTENCE,
    _STOP,
    looks_at="a command, which has --grace seconds to end",
    fix="Handle SIGTERM; start the app with exec, so that no shell stands between it and the "
    "signal.",
)
def _sigterm(seen: Evidence) -> Verdicts:
    for run in seen.runs:
        if run.asked_to_end:
            message = f"it still ran {run.grace:g} s after SIGTERM"
            yield None if run.terminated is not None else Finding(message, run.where, run.start)


@_rule(
    "DF117",
    "Finishes requests on SIGTERM",
    "error",
    _STOP_SENTENCE,
    _STOP,
    looks_at="a command: a request for what --slow names is being answered when SIGTERM comes",
    fix="On SIGTERM stop taking connections, finish the open requests, then end.",
)
def _in_flight(seen: Evidence) -> Verdicts:
    for run in seen.runs:
        answer = run.in_flight
        if answer is not None:
            fine = answer.status is not None and not answer.error
            message = f"a request was lost at SIGTERM: {answer.error}"
            start = f"{run.start} & sleep 3; curl -i {answer.url} & sleep 1; kill -TERM %1; wait"
            yield None if fine else Finding(message, run.where, start)


# --- The Dockerfile


def _in(dockerfile: Dockerfile, message: str, at: Instruction | None = None) -> Finding:
    line = at.line if at else dockerfile.line
    return Finding(message, dockerfile.where, dockerfile.reproduce, dockerfile.where, line)


def _of(image: Image, message: str, command: str) -> Finding:
    tool = image.reproduce
    return Finding(message, image.where, f"{tool} {shlex.quote(command)}" if tool else "")


@_rule(
    "DF201",
    "Sources are in /app",
    "error",
    "Sources should be copied to the `/app` directory in the container.",
    _DOCKERFILE,
    looks_at="a Dockerfile; an image",
    fix="Use `WORKDIR /app` and `COPY . /app`.",
)
def _sources(seen: Evidence) -> Verdicts:
    for dockerfile in seen.dockerfiles:
        yield None if _copies(dockerfile) else _in(dockerfile, "nothing is copied to /app")
    for image in seen.images:
        message = "there is nothing in /app but a version.json at most"
        yield None if image.sources else _of(image, message, "ls -la /app")


def _copies(dockerfile: Dockerfile) -> bool:
    folder, stage = "/", -1
    for instruction in dockerfile.instructions:
        if instruction.stage != stage:
            stage = instruction.stage
        if instruction.name == "WORKDIR":
            folder = posixpath.normpath(posixpath.join(folder, instruction.value))
        elif instruction.name in ("COPY", "ADD"):
            words = users.words(re.sub(r"^(?:--\S+\s+)+", "", instruction.value))
            sources = [posixpath.basename(word) for word in words[:-1]]
            if words and _is_app(folder, words[-1]) and sources != ["version.json"]:
                return True
        elif instruction.name == "RUN" and any(
            words[0] in ("cp", "mv", "git", "tar", "unzip", "rsync")
            and any(_is_app(folder, word) for word in words[1:] if word.startswith(("/app", ".")))
            for words in users.commands(instruction)
        ):
            return True
    return False


def _is_app(folder: str, path: str) -> bool:
    full = posixpath.normpath(posixpath.join(folder, path))
    return full == "/app" or full.startswith("/app/")


@_rule(
    "DF202",
    "Group app is 10001",
    "error",
    "Create an `app` group with a GID of `10001`.",
    _DOCKERFILE,
    looks_at="a Dockerfile; an image",
    fix="`RUN groupadd --gid 10001 app` (Alpine: `addgroup -g 10001 app`).",
)
def _group(seen: Evidence) -> Verdicts:
    for dockerfile in seen.dockerfiles:
        ids = users.made_by(dockerfile.users)
        if ids.group is None:
            yield _in(dockerfile, "it creates no group app")
        else:
            message = f"group app has {_shown(ids.group)}, not 10001"
            yield None if ids.group == ID else _in(dockerfile, message, ids.group_at)
    for image in seen.images:
        gid = next((row[2] for row in _rows(image.group, 3) if row[0] == "app"), None)
        message = "there is no group app" if gid is None else f"group app has GID {gid}, not 10001"
        yield None if gid == ID else _of(image, message, "grep app /etc/group")


def _shown(value: str) -> str:
    if value.startswith("$"):
        return f"the value of {value}, which is not known (give --build-arg)"
    return printable(value, 40)


def _rows(text: str, least: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        row = line.split(":")
        if len(row) >= least:
            yield row


@_rule(
    "DF203",
    "User app is 10001 and in group app",
    "error",
    "Create an `app` user with a UID of `10001` and is a member of the `app` group.",
    _DOCKERFILE,
    looks_at="a Dockerfile; an image",
    fix="`RUN useradd --uid 10001 --gid 10001 app` (Alpine: `adduser -D -u 10001 -G app app`).",
)
def _user(seen: Evidence) -> Verdicts:
    for dockerfile in seen.dockerfiles:
        ids = users.made_by(dockerfile.users)
        if ids.user is None:
            yield _in(dockerfile, "it creates no user app")
        elif ids.user != ID:
            message = f"user app has {_shown(ids.user)}, not 10001"
            yield _in(dockerfile, message, ids.user_at)
        else:
            member = ids.primary == "app" or (ids.primary is not None and ids.primary == ids.group)
            message = f"user app is in group {_shown(ids.primary or '')}, not in app"
            yield None if member else _in(dockerfile, message, ids.user_at)
    for image in seen.images:
        user = next((row for row in _rows(image.passwd, 4) if row[0] == "app"), None)
        groups = [row for row in _rows(image.group, 3) if row[0] == "app"]
        command = "grep app /etc/passwd /etc/group"
        if user is None:
            yield _of(image, "there is no user app", command)
        elif user[2] != ID:
            yield _of(image, f"user app has UID {user[2]}, not 10001", command)
        else:
            member = any(
                row[2] == user[3] or "app" in ",".join(row[3:]).split(",") for row in groups
            )
            yield None if member else _of(image, "user app is not in group app", command)


def _start(instructions: list[Instruction]) -> dict[str, Instruction | None]:
    """Return the ENTRYPOINT and the CMD that hold at the end."""
    found: dict[str, Instruction | None] = {"ENTRYPOINT": None, "CMD": None}
    for instruction in instructions:
        if instruction.name not in found:
            continue
        cmd = found["CMD"]
        if instruction.name == "ENTRYPOINT" and cmd and cmd.stage != instruction.stage:
            found["CMD"] = None  # as a build does with what comes from the stage below
        found[instruction.name] = instruction if users.words(instruction.value) else None
    return found


@_rule(
    "DF204",
    "Has ENTRYPOINT and CMD",
    "error",
    "Have both `ENTRYPOINT` and `CMD` instructions to start the service.",
    _DOCKERFILE,
    looks_at="a Dockerfile; an image",
    fix='Split the command: `ENTRYPOINT ["python"]` and `CMD ["app.py"]`.',
)
def _entrypoint(seen: Evidence) -> Verdicts:
    for dockerfile in seen.dockerfiles:
        start = _start(dockerfile.instructions)
        missing = [name for name, instruction in start.items() if instruction is None]
        yield _in(dockerfile, f"it has no {' and no '.join(missing)}") if missing else None
    for image in seen.images:
        names = {"ENTRYPOINT": "Entrypoint", "CMD": "Cmd"}
        missing = [name for name, key in names.items() if not image.config.get(key)]
        message = f"it has no {' and no '.join(missing)}"
        yield Finding(message, image.where) if missing else None


_is_app_user = re.compile(rf"(?:app|{ID})(?::(?:app|{ID}))?").fullmatch


@_rule(
    "DF205",
    "Runs as USER app",
    "error",
    "Have a `USER app` instruction to set the default user.",
    _DOCKERFILE,
    looks_at="a Dockerfile; an image",
    fix="Make `USER app` the last USER instruction; 10001, the same user, is taken too.",
)
def _default_user(seen: Evidence) -> Verdicts:
    for dockerfile in seen.dockerfiles:
        last = next((i for i in reversed(dockerfile.instructions) if i.name == "USER"), None)
        if last is None:
            yield _in(dockerfile, "it has no USER, so it runs as the user of its base image")
        else:
            message = f"it runs as {_shown(last.value)}, not as app"
            yield None if _is_app_user(last.value) else _in(dockerfile, message, last)
    for image in seen.images:
        user = str(image.config.get("User") or "")
        message = f"it runs as {printable(user, 40) or 'root'}, not as app"
        yield None if _is_app_user(user) else _of(image, message, "id")


# --- Recommendations


@_rule(
    "DF301",
    "Runs one process",
    "warning",
    "Each instance of a container should only run one process.",
    _OPTIONAL,
    looks_at="a command",
    fix="Run one worker per container, and start it with exec; scale by more containers.",
)
def _one_process(seen: Evidence) -> Verdicts:
    for run in seen.runs:
        if run.processes:
            shown = "; ".join(run.processes[:4])
            message = f"it runs {len(run.processes)} processes: {shown}"
            yield None if len(run.processes) == 1 else Finding(message, run.where, run.start)


def _at(log: Log, number: int, message: str) -> Finding:
    file = log.where if log.stream == "file" else ""
    return Finding(
        f"line {number}: {message}", log.where, log.reproduce.format(number), file, number
    )


@_rule(
    "DF302",
    "Logs mozlog to stdout",
    "warning",
    "Log to `stdout` in the mozlog json schema.",
    _OPTIONAL,
    looks_at="what a command writes; a log",
    fix="Log one JSON object a line to stdout, as `dockerflow.logging.logging_config()` does.",
)
def _mozlog_stdout(seen: Evidence) -> Verdicts:
    for run in seen.runs:
        if run.stdout is None or run.stderr is None:
            continue
        if not any(run.stdout.lines) and not any(run.stderr.lines):
            continue
        if mozlog.judge(run.stdout).mozlog:
            yield None
        elif mozlog.judge(run.stderr).mozlog:
            yield Finding("it logs mozlog to stderr, not to stdout", run.where, run.start)
        else:
            yield Finding("no line on stdout is mozlog", run.where, run.start)
    for log in seen.logs:
        if any(log.lines):
            fine = mozlog.judge(log).mozlog
            yield None if fine else Finding("no line is mozlog", log.where, log.reproduce.format(1))


@_rule(
    "DF303",
    "mozlog is valid",
    "error",
    "mozlog is JSON schema for a common application logging format. Timestamp: required.",
    _MOZLOG,
    looks_at="the lines of mozlog that a command writes, or in a log",
    fix="Write strict JSON with an integer Timestamp in nanoseconds and the types of the schema.",
)
def _mozlog_valid(seen: Evidence) -> Verdicts:
    for log in _logs(seen):
        lines = mozlog.judge(log).mozlog
        bad = [line for line in lines if line.error]
        yield from (_at(log, line.number, line.error) for line in bad[:MAX_FINDINGS])
        if lines and not bad:
            yield None


@_rule(
    "DF304",
    "mozlog says all it should",
    "warning",
    "For http requests it is recommended to include these common fields in a single log message "
    "rather than spread them over several individual log messages.",
    _MOZLOG,
    looks_at="the valid lines of mozlog that a command writes, or in a log",
    fix="Add Type, Logger, Hostname, EnvVersion and Fields, and to request.summary agent, errno, "
    "lang, method and path.",
)
def _mozlog_recommended(seen: Evidence) -> Verdicts:
    for log in _logs(seen):
        lines = [line for line in mozlog.judge(log).mozlog if line.content and not line.error]
        said: dict[str, int] = {}
        for line in lines:
            for problem in mozlog.lacks(line.content or {}):
                said.setdefault(problem, line.number)
        yield from (_at(log, number, problem) for problem, number in said.items())
        if lines and not said:
            yield None


_installs = re.compile(
    r"\b(?:apt(?:-get)?|apk|dnf|yum|pip3?|npm|yarn|pnpm|poetry|uv|bundle|cargo|composer|go)\s+"
    r"(?:-\S+\s+)*(?:install|add|ci|sync|fetch|(?:mod\s+)?download|pip\s+install)\b"
)


@_rule(
    "DF305",
    "Optimized for production",
    "warning",
    "Containers should be optimized for production use.",
    _OPTIONAL,
    looks_at="a Dockerfile",
    fix="Copy what names the dependencies and install them before `COPY . .`; end "
    "`apt-get install` with `&& rm -rf /var/lib/apt/lists/*`.",
)
def _production(seen: Evidence) -> Verdicts:
    for dockerfile in seen.dockerfiles:
        found: list[Finding] = []
        whole: Instruction | None = None
        for instruction in dockerfile.instructions:
            if instruction.name in ("COPY", "ADD") and "--from=" not in instruction.value:
                words = users.words(re.sub(r"^(?:--\S+\s+)+", "", instruction.value))
                if any(word in (".", "./", "/") for word in words[:-1]):
                    whole = instruction
            if instruction.name != "RUN":
                continue
            text = f"{instruction.value}\n{instruction.body}"
            match = _installs.search(text)
            if match and whole and whole.stage == instruction.stage and not _installs_itself(text):
                message = f"`{match[0]}` after all sources were copied runs at every change of them"
                found.append(_in(dockerfile, message, instruction))
                whole = None
            apt = re.search(r"\bapt(?:-get)?\s+(?:-\S+\s+)*install\b", text)
            if apt and "/var/lib/apt" not in text:
                message = f"`{apt[0]}` leaves its package lists in the image"
                found.append(_in(dockerfile, message, instruction))
        yield from found
        if not found:
            yield None


def _installs_itself(text: str) -> bool:
    """Say whether what is installed are the sources themselves, without their dependencies."""
    return "--no-deps" in text or re.search(r"install\s.*(?:\s|^)\.(?:\s|$)", text) is not None


@_rule(
    "DF306",
    "Listens on port 8000",
    "warning",
    "Listen on port 8000.",
    _OPTIONAL,
    looks_at="a Dockerfile; an image: EXPOSE, and PORT in its environment",
    fix="Add `ENV PORT=8000` and `EXPOSE 8000`.",
)
def _port_8000(seen: Evidence) -> Verdicts:
    for dockerfile in seen.dockerfiles:
        last: Instruction | None = None
        ports: list[str] = []
        for instruction in dockerfile.instructions:
            match = re.search(r"(?:^|\s)PORT=(\S*)", instruction.value)
            if instruction.name == "EXPOSE":
                ports += [word.partition("/")[0] for word in instruction.value.split()]
                last = instruction
            elif instruction.name == "ENV" and match:
                ports = [match[1]]
                last = instruction
        message = f"it is for port {printable(', '.join(ports), 40)}, not 8000"
        if not ports:
            message = "it says no port: it has neither EXPOSE nor ENV PORT"
        yield None if PORT in ports else _in(dockerfile, message, last)
    for image in seen.images:
        exposed = [str(port).partition("/")[0] for port in image.config.get("ExposedPorts") or ()]
        environ = [str(pair).partition("=") for pair in image.config.get("Env") or ()]
        ports = [value for name, _, value in environ if name == "PORT"] or exposed
        message = (
            f"it is for port {printable(', '.join(ports), 40) or 'none that it names'}, not 8000"
        )
        yield None if PORT in ports else Finding(message, image.where)
