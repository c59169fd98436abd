"""DF3xx: what is recommended."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from dockerflow.verify import instructions, mozlog
from dockerflow.verify.evidence import Dockerfile, Evidence, Instruction, Log, printable
from dockerflow.verify.rules._registry import (
    Finding,
    Findings,
    Unknown,
    in_dockerfile,
    in_log,
    rule,
)

_SOURCE: Final = "https://github.com/mozilla-services/Dockerflow#optional-recommendations"
_FIELD_ORDER: Final = "https://www.rfc-editor.org/rfc/rfc9110#section-5.3"
_MOZLOG: Final = "https://wiki.mozilla.org/Firefox/Services/Logging"

PORT: Final = "8000"
MAX_FINDINGS: Final = 5
"""How many lines of one log are named for one rule."""

_LINE: Final = (
    '{"Timestamp": 1764547200000000000, "Type": "app.start", "Logger": "app", '
    '"Hostname": "web-1", "EnvVersion": "2.0", "Severity": 6, "Pid": 7, '
    '"Fields": {"msg": "listening"}}'
)

_requirement = partial(rule, "error")
_recommendation = partial(rule, "warning", source=_SOURCE)


@_recommendation(
    "DF301",
    "Runs one process",
    sentence="Each instance of a container should only run one process.",
    looks_at="a command or container",
    fix="Run one worker per container, and start it with exec; scale with more containers.",
    why="""
        The platform watches and limits containers, not the processes in them. If one of several
        workers hangs, the container still passes its probes and isn't restarted; if one leaks
        memory, it uses up the limit of all of them.
        """,
    language="shell",
    bad="""
        uvicorn app:app --host 0.0.0.0 --port $PORT --workers 4
        """,
    good="""
        uvicorn app:app --host 0.0.0.0 --port $PORT
        """,
)
def _one_process(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        if run.processes:
            shown = "; ".join(run.processes[:4])
            message = f"it runs {len(run.processes)} processes: {shown}"
            yield None if len(run.processes) == 1 else Finding(message, run.where, run.start)
        elif run.listens:
            message = "its processes can't be seen, because docker runs the container"
            yield Unknown(message, run.where, "start it with podman, or look at `docker top`")


@_recommendation(
    "DF302",
    "Logs mozlog to stdout",
    sentence="Log to `stdout` in the mozlog json schema.",
    looks_at="the output of a command or container; a log file",
    fix="Log one mozlog object per line to stdout. In Python, `dockerflow.logging` does that.",
    why="""
        Log pipelines read one JSON object per line. Any other line arrives as plain text, with no
        severity to alert on and no request ID to search for, and a traceback becomes twenty
        unrelated entries.
        """,
    language="text",
    bad="INFO:app:listening",
    good=_LINE,
)
def _mozlog_stdout(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        if not mozlog.judge(run.stdout) and mozlog.judge(run.stderr):
            yield Finding("it logs mozlog to stderr, not to stdout", run.where, run.start)
        elif any(run.stdout.lines):
            yield _all_mozlog(run.stdout)
        elif any(run.stderr.lines):
            yield Finding("no line on stdout is mozlog", run.where, run.start)
    for log in evidence.logs:
        if any(log.lines):
            yield _all_mozlog(log)


def _all_mozlog(log: Log) -> Finding | None:
    found = {line.number for line in mozlog.judge(log)}
    written = [n for n, line in enumerate(log.lines[: mozlog.MAX_LINES], 1) if line.strip()]
    other = next((number for number in written if number not in found), None)
    if other is None:
        return None
    count = f"{len(found)} of {len(written)} lines {'is' if len(found) == 1 else 'are'}"
    shown = printable(log.lines[other - 1].decode("utf-8", "replace").strip(), 60)
    return in_log(log, other, f"{count} mozlog; this one isn't: {shown}")


@_requirement(
    "DF303",
    "mozlog is valid",
    sentence="mozlog is JSON schema for a common application logging format. Timestamp: required.",
    source=_MOZLOG,
    looks_at="the lines of mozlog in the output of a command or container, or in a log file",
    fix="Write strict JSON with an integer Timestamp in nanoseconds and the types of the schema.",
    why="""
        Log pipelines reject or misfile lines that break the schema. With a date as Timestamp, the
        entry shows up at the wrong time or not at all, and nobody notices until they look for it.
        """,
    language="text",
    bad=_LINE.replace("1764547200000000000", '"2025-12-01T00:00:00Z"'),
    good=_LINE,
)
def _mozlog_valid(evidence: Evidence) -> Findings:
    for log in evidence.all_logs():
        lines = mozlog.judge(log)
        invalid = [line for line in lines if line.error]
        yield from (in_log(log, line.number, line.error) for line in invalid[:MAX_FINDINGS])
        if lines and not invalid:
            yield None


@_recommendation(
    "DF304",
    "mozlog has the recommended fields",
    sentence="For http requests it is recommended to include these common fields in a single log "
    "message rather than spread them over several individual log messages.",
    source=_MOZLOG,
    looks_at="the valid lines of mozlog in the output of a command or container, or in a log file",
    fix=f"Add the fields {', '.join(mozlog.RECOMMENDED)}, and to the Fields of {mozlog.SUMMARY}: "
    f"{', '.join(mozlog.SUMMARY_FIELDS)}.",
    why="""
        Searches, dashboards and alerts filter all services by the same fields: host, logger,
        path, error. A line without them is stored, but not found.
        """,
    language="text",
    bad='{"Timestamp": 1764547200000000000, "Severity": 6, "Fields": {"msg": "listening"}}',
    good=_LINE,
)
def _mozlog_recommended(evidence: Evidence) -> Findings:
    for log in evidence.all_logs():
        lines = [line for line in mozlog.judge(log) if not line.error]
        first_lines: dict[str, int] = {}
        for line in lines:
            for problem in mozlog.lacks(line.content):
                first_lines.setdefault(problem, line.number)
        yield from (in_log(log, number, problem) for problem, number in first_lines.items())
        if lines and not first_lines:
            yield None


_installs = re.compile(
    r"\b(?:apt(?:-get)?|apk|dnf|yum|pip3?|npm|yarn|pnpm|poetry|uv|bundle|cargo|composer|go)\s+"
    r"(?:-\S+\s+)*(?:install|add|ci|sync|fetch|(?:mod\s+)?download|pip\s+install)\b"
).search
_apt = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*(update|install)\b").search
_removes_lists = re.compile(r"/var/lib/apt|\bapt(?:-get)?\s+distclean\b").search
_is_folder = re.compile(r"(?:\.{1,2}|\.{0,2}/\S*|(?:[\w.-]+/)+)(?:\[[\w,-]+\])?").fullmatch
# Options of pip whose value is no package.
_with_path = """
    -r --requirement -c --constraint -t --target --prefix -f --find-links --cache-dir --root --src
"""
_WITH_PATH: Final = frozenset(_with_path.split())


@_recommendation(
    "DF305",
    "Optimized for production",
    sentence="Containers should be optimized for production use.",
    looks_at="a Dockerfile",
    fix="Copy the files that list the dependencies and install them before `COPY . .`; end "
    "`apt-get install` with `&& rm -rf /var/lib/apt/lists/*`.",
    why="""
        A build reuses a layer only if everything before it is unchanged. If the sources are
        copied first, changing one line reinstalls all dependencies: builds take minutes, and each
        release pushes and pulls the whole layer. Leftover package lists add tens of megabytes
        that nothing uses.
        """,
    language="dockerfile",
    bad="""
        COPY . .
        RUN pip install -r requirements.txt
        """,
    good="""
        COPY requirements.txt .
        RUN pip install -r requirements.txt
        COPY . .
        """,
)
def _production(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        findings = list(_wasteful(dockerfile))
        yield from findings or [None]


def _wasteful(dockerfile: Dockerfile) -> Findings:
    sources_copied: Instruction | None = None
    listed = -1  # the stage that has package lists
    for instruction in dockerfile.instructions:
        if _copies_all(instruction):
            sources_copied = instruction
        if instruction.name != "RUN":
            continue
        text = f"{instruction.value}\n{instruction.body}"
        is_after = sources_copied is not None and sources_copied.stage == instruction.stage
        commands = [command.words for command in instructions.commands(instruction)]
        installing = [words for words in commands if _installs(" ".join(words))]
        if is_after and (found := [words for words in installing if not _installs_app(words)]):
            match = _installs(" ".join(found[0]))
            shown = match[0] if match else ""
            message = f"`{shown}` after all sources were copied runs again after each change"
            yield in_dockerfile(dockerfile, message, instruction)
            sources_copied = None
        used = {match[1]: match[0] for match in map(_apt, map(" ".join, commands)) if match}
        # An update writes the lists; before an installation alone, a script may have done so.
        writes_lists = "update" in used or ("install" in used and listed != instruction.stage)
        if writes_lists and not _removes_lists(text):
            listed = instruction.stage
            message = f"`{used.get('install') or used['update']}` leaves its package lists"
            yield in_dockerfile(dockerfile, f"{message} in the image", instruction)


def _copies_all(instruction: Instruction) -> bool:
    if instruction.name not in ("COPY", "ADD") or "--from=" in instruction.value:
        return False
    return any(source in (".", "./", "/") for source in instructions.copied(instruction)[0])


def _installs_app(words: list[str]) -> bool:
    """Whether the app itself is installed, from its folder, or without its dependencies."""
    pairs = zip(["", *words], words, strict=False)
    operands = [word for before, word in pairs if before not in _WITH_PATH]
    if words[:2] == ["go", "install"]:  # what is not the app has a version
        return not any("@" in word for word in operands)
    return "--no-deps" in words or any(map(_is_folder, operands))


@_recommendation(
    "DF306",
    f"Listens on port {PORT}",
    sentence="Listen on port 8000.",
    looks_at="a Dockerfile; an image: EXPOSE, and PORT in its environment",
    fix="Add `ENV PORT=8000` and `EXPOSE 8000`.",
    why="""
        With the same port everywhere, load balancers, manifests and firewall rules can be written
        once. Each exception has to be known in several places, and if one of them is missed, no
        request arrives.
        """,
    language="dockerfile",
    bad="""
        ENV PORT=5000
        EXPOSE 5000
        """,
    good="""
        ENV PORT=8000
        EXPOSE 8000
        """,
)
def _port_8000(evidence: Evidence) -> Findings:
    for dockerfile in evidence.dockerfiles:
        ports, last = _ports(dockerfile)
        yield None if PORT in ports else in_dockerfile(dockerfile, _other_port(ports), last)
    for image in evidence.images:
        exposed = [str(port).partition("/")[0] for port in image.config.get("ExposedPorts") or ()]
        environ = [str(pair).partition("=") for pair in image.config.get("Env") or ()]
        ports = [value for name, _, value in environ if name == "PORT"] or exposed
        yield None if PORT in ports else Finding(_other_port(ports), image.where)


def _other_port(ports: list[str]) -> str:
    if not ports:
        return "it names no port: it has neither EXPOSE nor ENV PORT"
    return f"it is for port {printable(', '.join(dict.fromkeys(ports)), 40)}, not {PORT}"


def _ports(dockerfile: Dockerfile) -> tuple[list[str], Instruction | None]:
    """Return the ports that EXPOSE and ENV name, and the last of these instructions."""
    ports: list[str] = []
    last: Instruction | None = None
    for instruction in dockerfile.instructions:
        match = re.search(r"(?:^|\s)PORT=(\S*)", instruction.value)
        if instruction.name == "EXPOSE":
            ports += [word.partition("/")[0] for word in instruction.value.split()]
            last = instruction
        elif instruction.name == "ENV" and match:
            ports = [match[1]]
            last = instruction
    return ports, last


@rule(
    "warning",
    "DF307",
    "Each response has one X-Request-ID",
    sentence="a sender MUST NOT generate multiple field lines with the same name in a message.",
    source=_FIELD_ORDER,
    looks_at="the responses of a running app that have X-Request-ID",
    fix="Let either the proxy or the app add X-Request-ID: the proxy passes it to the app, and the "
    "app's response keeps it.",
    why="""
        With two IDs for one request, the one that a user quotes may not be the one in the logs.
        Some clients join both with a comma, which matches nothing.
        """,
    language="console",
    bad="""
        $ curl -i localhost:8000/__lbheartbeat__
        HTTP/1.1 200 OK
        X-Request-ID: 5f0c9d6e2b7a4c3f
        X-Request-ID: a81e44d0c7b95f12
        """,
    good="""
        $ curl -i localhost:8000/__lbheartbeat__
        HTTP/1.1 200 OK
        X-Request-ID: 5f0c9d6e2b7a4c3f
        """,
)
def _one_request_id(evidence: Evidence) -> Findings:
    for service in evidence.services:
        for response in service.responses.values():
            ids = response.headers.get("x-request-id")
            if ids is not None and "," in ids:
                request = f"{response.method} {response.url}"
                message = f"{request}: X-Request-ID occurs more than once ({printable(ids, 150)})"
                yield Finding(message, service.where, service.reproduce(response))
                break
            if ids is not None:
                yield None
