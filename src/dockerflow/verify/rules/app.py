"""DF1xx: what is required of the app."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

from dockerflow.verify import instructions
from dockerflow.verify.evidence import (
    ENDPOINTS,
    HEARTBEAT,
    LBHEARTBEAT,
    VERSION,
    Dockerfile,
    Evidence,
    Response,
    Service,
    VersionFile,
    json_object,
    printable,
)
from dockerflow.verify.rules._registry import (
    Finding,
    Findings,
    Unknown,
    in_dockerfile,
    in_image,
    in_log,
    rule,
)
from dockerflow.verify.shell import is_known
from dockerflow.version import KEYS, is_commit, parse_json

_SOURCE: Final = "https://github.com/mozilla-services/Dockerflow#containerized-app-requirements"
_VERSION_OBJECT: Final = (
    "https://github.com/mozilla-services/Dockerflow/blob/main/docs/version_object.md"
)
_HTTP: Final = "https://www.rfc-editor.org/rfc/rfc9110"
_LOOPBACK: Final = "https://www.rfc-editor.org/rfc/rfc1122#section-3.2.1.3"
_STOP: Final = "https://docs.docker.com/reference/cli/docker/container/stop/"
_STOP_SENTENCE: Final = (
    "The main process inside the container will receive SIGTERM, and after a grace period, SIGKILL."
)
_ANY_PAGE: Final = "the response is that of any path, such as a random one"
_VERSION_SENTENCE: Final = "Respond to `/__version__` with the contents of `/app/version.json`."

_requirement = partial(rule, "error", source=_SOURCE)
_recommendation = partial(rule, "warning")


@_requirement(
    "DF101",
    "Configured by the environment",
    sentence="Accept its configuration through environment variables.",
    looks_at="a command or container: whether `$PORT` or a variable given by `--break` has any "
    "effect",
    fix="Read every setting from an environment variable, not from the image or from arguments.",
    why="""
        The same image can move from staging to production only if nothing about either is built
        into it. A setting in the image needs a separate build for each environment, and a
        credential in it can be read by everyone who can pull it.
        """,
    language="python",
    bad="""
        with open("production.toml", "rb") as file:
            settings = tomllib.load(file)
        """,
    good="""
        settings = os.environ
        """,
)
def _environment(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        broken = [service for service in evidence.broken if service.start]
        if run.listens or any(_reacted(service) for service in broken):
            yield None
        elif broken:
            message = "neither $PORT nor the variable that should break it had any effect"
            yield Finding(message, run.where, run.start)


def _reacted(service: Service) -> bool:
    response = service.get(HEARTBEAT)
    return response is None or not response.is_200


_own = "port|addr(?:ess)?|bind|listen|https?|host|socket"
# An option of a server: --db-host or --metrics-port is about something else.
_port_option = re.compile(
    rf"--?D?(?:(?:{_own}|server|web|app|api|tcp|public|quarkus|micronaut|jetty)[._-]?)*(?:{_own})"
    "|-[bplPS]",
    re.IGNORECASE,
).fullmatch
# What has a name is elsewhere, such as redis:6379.
_address = re.compile(
    r"(?:\w+://)?(?:(?:[\d.*+]*|localhost):|\[[\da-f:]*\]:)?(\d{2,5})/?", re.IGNORECASE
).fullmatch
_is_client = re.compile(r"(?:.*/)?(?:wait-for.*|nc|psql|pg_isready|mysql.*|redis-cli)").fullmatch


def _literal_port(words: list[str]) -> str:
    """Return the port that a command names; empty if it names none."""
    if words and _is_client(words[0]):
        return ""
    for before, word in zip(["", *words], words, strict=False):
        name, _, value = word.partition("=")
        if value and _port_option(name) and (match := _address(value)):
            return match[1]
        is_value = _port_option(before) or before in ("runserver", "http.server")
        if is_value and (match := _address(word)):
            return match[1]
        if (match := re.fullmatch(r"-[bpPl](?:[\w.*]*:)?(\d{2,5})", word)) is not None:
            return match[1]
    return ""


@_requirement(
    "DF102",
    "Listens on $PORT",
    sentence="Listen on environment variable `$PORT` for HTTP requests.",
    looks_at="a command or container, which gets a free port as `$PORT`; a Dockerfile whose "
    "ENTRYPOINT or CMD names a port",
    fix="Have the app read `$PORT`, or have a shell insert it: `sh -c 'exec app --port $PORT'`.",
    why="""
        The platform chooses the port and sends requests there. An app that listens on another
        port looks as if it never started: its probes fail, and it is restarted again and again.
        """,
    language="dockerfile",
    bad="""
        ENTRYPOINT ["uvicorn", "app:app", "--host", "0.0.0.0"]
        CMD ["--port", "9000"]
        """,
    good=r"""
        ENTRYPOINT ["sh", "-c", "exec uvicorn app:app --host 0.0.0.0 --port $PORT \"$@\"", "--"]
        CMD ["--no-access-log"]
        """,
)
def _port(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        if run.listens:
            yield None
            continue
        ports = ", ".join(map(str, run.other_ports))
        found = f"it listens on {ports} instead"
        if not ports:
            found = f"within {run.waited:g} s (--wait) it listens on no port at all"
        yield Finding(f"it got PORT={run.port}, but {found}", run.where, run.start)
    for dockerfile in evidence.dockerfiles:
        yield from _port_in_dockerfile(dockerfile)


def _port_in_dockerfile(dockerfile: Dockerfile) -> Findings:
    started = [one for one in instructions.start(dockerfile.instructions).values() if one]
    last = started[-1] if started else None
    in_json = [instructions.json_words(one.value) for one in started]
    if len(started) > 1 and all(words is not None for words in in_json):
        # In JSON form, CMD continues the command of ENTRYPOINT.
        whole = [word for words in in_json for word in words or ()]
        started = [started[-1]._replace(value=json.dumps(whole))]
    elif started and in_json[0] is None:
        started = started[:1]  # a shell ignores what follows it
    commands = [command for one in started for command in instructions.commands(one)]
    if any(instructions.PORT in word for command in commands for word in command.words):
        yield None
        return
    for command in commands:
        if is_known(command.port) and command.port:
            message = f"it sets PORT to {printable(command.port, 40)}, regardless of $PORT"
            yield in_dockerfile(dockerfile, message, last)
        elif port := _literal_port(command.words):
            message = f"it listens on port {port} regardless of $PORT"
            yield in_dockerfile(dockerfile, message, last)
        elif any(re.search(r"(?<!\$)(?<!\$\{)\bPORT\b", word) for word in command.words):
            yield None  # as in a program that reads it


@_requirement(
    "DF103",
    "Has /app/version.json",
    sentence="Must have a JSON version object at `/app/version.json`.",
    looks_at="an image",
    fix="Write version.json in CI, for example with `dockerflow version write`, and copy it "
    "to /app.",
    why="""
        In an incident, the first question is which commit is running. The file in the image tells
        you even if the app doesn't start; without the file, `/__version__` has nothing to serve.
        """,
    language="console",
    bad="""
        $ docker run --rm --entrypoint ls example/app /app
        app.py
        """,
    good="""
        $ docker run --rm --entrypoint ls example/app /app
        app.py
        version.json
        """,
)
def _version_file(evidence: Evidence) -> Findings:
    for image in evidence.images:
        is_missing = image.version.content is None
        message = "there is no /app/version.json"
        yield in_image(image, message, "ls -l /app") if is_missing else None


def _versions(evidence: Evidence) -> Iterator[tuple[VersionFile, bytes]]:
    """Yield each version.json, and its content: given, in an image, or as it is served."""
    for version in [*evidence.versions, *(image.version for image in evidence.images)]:
        if version.content is not None:
            yield version, version.content
    for service, response in _responses(evidence, VERSION):
        if response.is_200 and not response.compression and not service.is_any_page(response):
            where = f"{VERSION} of {service.where}"
            yield VersionFile(where, None, service.reproduce(response)), response.body


@_requirement(
    "DF104",
    "version.json is a version object",
    sentence="A Dockerflow containers are required to respond to requests to `/__version__` with "
    "a JSON object that looks like: source, version, commit, build.",
    source=_VERSION_OBJECT,
    looks_at="a version.json: a given file, the one in an image, or as an app serves it",
    fix="Write an object with the strings source, version, commit and build.",
    why="""
        Dashboards and release tools read these four keys from every service. If one is missing or
        isn't a string, the tool fails, or shows nothing for the service.
        """,
    language="json",
    bad="""
        {"version": "1.4.2", "commit": "8c1f9a27"}
        """,
    good="""
        {
          "source": "https://github.com/example/app",
          "version": "1.4.2",
          "commit": "8c1f9a27d0b64e7c9a3f5e21b8d4c6f07a19e3b5",
          "build": "https://github.com/example/app/actions/runs/1234"
        }
        """,
)
def _version_object(evidence: Evidence) -> Findings:
    for version, content in _versions(evidence):
        problem = _problem(content)
        file = version.file
        yield Finding(problem, version.where, version.reproduce, file) if problem else None


def _problem(body: bytes) -> str:
    try:
        content = parse_json(body)
    except ValueError as error:
        return f"it is not JSON: {printable(str(error))}" if body.strip() else "it is empty"
    if not isinstance(content, dict):
        return f"it is a JSON {type(content).__name__}, not an object"
    values = cast("dict[str, Any]", content)
    if missing := [key for key in KEYS if key not in values]:
        return f"it has no {', '.join(missing)}"
    wrong = [key for key in KEYS if not isinstance(values[key], str)]
    return f"{', '.join(wrong)}: not a string" if wrong else ""


@_recommendation(
    "DF105",
    "version.json identifies what runs",
    sentence="The version objects provides enough information to identify: Where to find the "
    "source code; The release version of the application; The commit hash for the containerized "
    "application; A link to the CI tool's build job that created the image.",
    source=_VERSION_OBJECT,
    looks_at="a version.json: a given file, the one in an image, or as an app serves it",
    fix="Set source and build to URLs and commit to the full hash; version may be empty.",
    why="""
        The file is needed when something is wrong, and then placeholders don't help: nobody can
        check out the commit `HEAD` a week later, or find build `1234` without knowing where.
        """,
    language="json",
    bad="""
        {
          "source": "https://github.com/example/app",
          "version": "1.4.2",
          "commit": "HEAD",
          "build": "1234"
        }
        """,
    good="""
        {
          "source": "https://github.com/example/app",
          "version": "1.4.2",
          "commit": "8c1f9a27d0b64e7c9a3f5e21b8d4c6f07a19e3b5",
          "build": "https://github.com/example/app/actions/runs/1234"
        }
        """,
)
def _version_values(evidence: Evidence) -> Findings:
    good: dict[str, Callable[[str], object]] = {
        "source": re.compile(r"(?:https?|ssh|git)://.+|\S+@\S+:\S+|[\w.-]+\.\w+/.+").match,
        "commit": is_commit,
        "build": re.compile(r"https?://.+").match,
    }
    for version, body in _versions(evidence):
        if (content := json_object(body)) is None:
            continue
        bad = [
            f"{key} is {json.dumps(printable(text, 60))}"
            for key, is_good in good.items()
            if isinstance(text := content.get(key), str) and not is_good(text)
        ]
        message = f"it does not identify what runs: {', '.join(bad)}"
        yield Finding(message, version.where, version.reproduce, version.file) if bad else None


def _responses(evidence: Evidence, path: str) -> Iterator[tuple[Service, Response]]:
    for service in evidence.services:
        response = service.get(path)
        if response is not None:
            yield service, response


def _on(service: Service, response: Response, message: str) -> Finding:
    return Finding(message, service.where, service.reproduce(response))


@_requirement(
    "DF106",
    "Responds to /__version__",
    sentence=_VERSION_SENTENCE,
    looks_at="a running app",
    fix="Respond to GET `/__version__` with HTTP 200 and the contents of the file, which "
    "`dockerflow version write` writes.",
    why="""
        Deployment tools compare this response with the commit that they have just rolled out.
        Without it, nobody can tell from outside whether a deployment is complete, or which
        version is failing.
        """,
    language="console",
    bad="""
        $ curl -i localhost:8000/__version__
        HTTP/1.1 404 Not Found
        """,
    good="""
        $ curl -i localhost:8000/__version__
        HTTP/1.1 200 OK
        Content-Type: application/json

        {
          "source": "https://github.com/example/app",
          "version": "1.4.2",
          "commit": "8c1f9a27d0b64e7c9a3f5e21b8d4c6f07a19e3b5",
          "build": "https://github.com/example/app/actions/runs/1234"
        }
        """,
)
def _version_endpoint(evidence: Evidence) -> Findings:
    for service, response in _responses(evidence, VERSION):
        if not response.is_200:
            yield _on(service, response, f"GET {VERSION}: {response.summary}, not HTTP 200")
        elif response.compression:
            message = f"GET {VERSION}: the response is compressed ({response.compression}), "
            yield _on(service, response, message + "which the request did not accept")
        elif service.is_any_page(response):
            yield _on(service, response, f"GET {VERSION}: {_ANY_PAGE}")
        elif json_object(response.body) is None:
            yield _on(service, response, f"GET {VERSION}: the response is not a JSON object")
        else:
            yield None


@_requirement(
    "DF107",
    "Serves its own version.json",
    sentence=_VERSION_SENTENCE,
    looks_at="a running app, compared with `--version-json`, the file in an image, or version.json"
    " in the current folder",
    fix="Serve the file itself, and restart the app when the file has changed.",
    why="""
        A wrong version is worse than none: a rollout looks complete while the old code still
        runs, and errors are attributed to the wrong release.
        """,
    language="console",
    bad="""
        $ jq -r .version /app/version.json
        1.4.2
        $ curl -s localhost:8000/__version__ | jq -r .version
        1.4.1
        """,
    good="""
        $ jq -r .version /app/version.json
        1.4.2
        $ curl -s localhost:8000/__version__ | jq -r .version
        1.4.2
        """,
)
def _version_same(evidence: Evidence) -> Findings:
    files = [*evidence.versions, *(image.version for image in evidence.images)]
    for service, response in _responses(evidence, VERSION):
        served = json_object(response.body) if response.is_200 else None
        for file in files:
            content = None if file.content is None else json_object(file.content)
            if served is None or content is None:
                continue
            keys = sorted({*content, *served})
            differ = [key for key in keys if content.get(key) != served.get(key)]
            shown = printable(", ".join(differ))
            message = f"GET {VERSION} is not the content of {file.where}; {shown} differ"
            yield _on(service, response, message) if differ else None


@_requirement(
    "DF108",
    "Responds to /__heartbeat__",
    sentence="Respond to `/__heartbeat__` with a HTTP 200 or 5xx on error.",
    looks_at="a running app",
    fix="Respond to GET `/__heartbeat__` in time: with HTTP 200, or with 5xx if something is "
    "wrong.",
    why="""
        This endpoint lets monitoring distinguish an app whose database is down (5xx) from an app
        that is gone (no response). A redirect to a login page means neither: the alert fires all
        the time or, if the monitor follows redirects, never.
        """,
    language="console",
    bad="""
        $ curl -i localhost:8000/__heartbeat__
        HTTP/1.1 302 Found
        Location: /login
        """,
    good="""
        $ curl -i localhost:8000/__heartbeat__
        HTTP/1.1 200 OK
        Content-Type: application/json

        {"status": "ok", "checks": {"database": "ok"}, "details": {}}
        """,
)
def _heartbeat(evidence: Evidence) -> Findings:
    for service, response in _responses(evidence, HEARTBEAT):
        if service.is_any_page(response):
            yield _on(service, response, f"GET {HEARTBEAT}: {_ANY_PAGE}")
            continue
        is_fine = response.is_200 or response.is_5xx
        message = f"GET {HEARTBEAT}: {response.summary}, not HTTP 200 or 5xx"
        yield None if is_fine else _on(service, response, message)


@_requirement(
    "DF109",
    "The heartbeat checks backing services",
    sentence="This should check backing services like a database for connectivity and may respond "
    "with the status of backing services and application components as a JSON payload.",
    looks_at="a command or container, started again with each variable given by `--break`",
    fix="Connect to each backing service in the heartbeat, and respond with 5xx if that fails.",
    why="""
        A heartbeat that is always 200 stays green while every request fails because the database
        is unreachable: users notice the outage before you do. And an app that exits without its
        database can't report the cause.
        """,
    language="console",
    bad="""
        $ DATABASE_URL=postgres://127.0.0.1:1/none ./app &
        $ curl -i localhost:8000/__heartbeat__
        HTTP/1.1 200 OK
        Content-Type: application/json

        {"status": "ok"}
        """,
    good="""
        $ DATABASE_URL=postgres://127.0.0.1:1/none ./app &
        $ curl -i localhost:8000/__heartbeat__
        HTTP/1.1 500 Internal Server Error
        Content-Type: application/json

        {"status": "error", "checks": {"database": "error"}, "details": {}}
        """,
)
def _heartbeat_services(evidence: Evidence) -> Findings:
    unwell = [found.where for found, response in _responses(evidence, HEARTBEAT) if response.is_5xx]
    for service in evidence.broken:
        response, cause = service.get(HEARTBEAT), service.broken_by
        if service.no_response:
            message = f"with {cause} the app {service.no_response}, instead of reporting it"
            yield Finding(message, service.where, service.start)
        elif response is not None and response.is_5xx and service.where in unwell:
            message = f"GET {HEARTBEAT} is HTTP 5xx, but also without {cause}"
            yield Unknown(message, service.where, "start it with services that work (--env)")
        elif response is not None:
            message = f"GET {HEARTBEAT} with {cause}: {response.summary}, not HTTP 5xx"
            yield None if response.is_5xx else _on(service, response, message)


@_requirement(
    "DF110",
    "Responds to /__lbheartbeat__",
    sentence="Respond to `/__lbheartbeat__` with an HTTP 200.",
    looks_at="a running app",
    fix="Respond to GET `/__lbheartbeat__` with HTTP 200 before any redirect, host check or login.",
    why="""
        A load balancer sends traffic only to instances that respond with 200. Its checks often
        use plain HTTP and an IP address as the host, so a redirect to HTTPS or a check of the
        host name takes healthy instances out of service.
        """,
    language="console",
    bad="""
        $ curl -i localhost:8000/__lbheartbeat__
        HTTP/1.1 301 Moved Permanently
        Location: https://app.example.org/__lbheartbeat__
        """,
    good="""
        $ curl -i localhost:8000/__lbheartbeat__
        HTTP/1.1 200 OK
        """,
)
def _lbheartbeat(evidence: Evidence) -> Findings:
    for service, response in _responses(evidence, LBHEARTBEAT):
        if service.is_any_page(response):
            yield _on(service, response, f"GET {LBHEARTBEAT}: {_ANY_PAGE}")
            continue
        message = f"GET {LBHEARTBEAT}: {response.summary}, not HTTP 200"
        yield None if response.is_200 else _on(service, response, message)


@_requirement(
    "DF111",
    "The load balancer's heartbeat needs no backing service",
    sentence="This is for load balancer checks and should **not** check backing services.",
    looks_at="a command or container, started again with each variable given by `--break`; a "
    "running app whose heartbeat is 5xx",
    fix="Respond to `/__lbheartbeat__` without using a database, a cache or another service.",
    why="""
        If this endpoint fails whenever the database does, the load balancer takes out all
        instances at the same time. A fault in one backing service becomes an outage of
        everything, including the pages that don't need that service.
        """,
    language="console",
    bad="""
        $ DATABASE_URL=postgres://127.0.0.1:1/none ./app &
        $ curl -i localhost:8000/__lbheartbeat__
        HTTP/1.1 503 Service Unavailable
        """,
    good="""
        $ DATABASE_URL=postgres://127.0.0.1:1/none ./app &
        $ curl -i localhost:8000/__lbheartbeat__
        HTTP/1.1 200 OK
        """,
)
def _lbheartbeat_alone(evidence: Evidence) -> Findings:
    unhealthy = [
        service for service, response in _responses(evidence, HEARTBEAT) if response.is_5xx
    ]
    for service in [*evidence.broken, *unhealthy]:
        cause = f"with {service.broken_by}" if service.broken_by else "while the heartbeat is 5xx"
        response = service.get(LBHEARTBEAT)
        if service.no_response:
            message = f"the app {service.no_response} {cause}"
            yield Finding(message, service.where, service.start)
        elif response is not None:
            message = f"GET {LBHEARTBEAT} {cause}: {response.summary}, not HTTP 200"
            yield None if response.is_200 else _on(service, response, message)


def _other_method(
    evidence: Evidence, method: str
) -> Iterator[tuple[Service, str, Response, Response]]:
    """Yield each endpoint that works, with its responses to GET and to another method."""
    for service in evidence.services:
        for path in ENDPOINTS:
            get, other = service.get(path), service.responses.get((method, path))
            if get is not None and other is not None and (get.is_200 or get.is_5xx):
                yield service, path, get, other


@_recommendation(
    "DF112",
    "HEAD gets the same status as GET",
    sentence="All general-purpose servers MUST support the methods GET and HEAD.",
    source=f"{_HTTP}#section-9.1",
    looks_at="the endpoints of a running app that respond to GET",
    fix="Respond to HEAD with the status of GET and without a body.",
    why="""
        Many load balancers and uptime monitors check with HEAD, as `curl --head` does. If HEAD
        fails where GET succeeds, they report a healthy app as down.
        """,
    language="console",
    bad="""
        $ curl --head localhost:8000/__lbheartbeat__
        HTTP/1.1 501 Not Implemented
        """,
    good="""
        $ curl --head localhost:8000/__lbheartbeat__
        HTTP/1.1 200 OK
        """,
)
def _head(evidence: Evidence) -> Findings:
    for service, path, get, head in _other_method(evidence, "HEAD"):
        message = f"HEAD {path}: {head.summary}, but GET: {get.summary}"
        yield None if head.status == get.status else _on(service, head, message)


@_recommendation(
    "DF113",
    "Other methods are refused",
    sentence="The 405 (Method Not Allowed) status code indicates that the method received in the "
    "request-line is known by the origin server but not supported by the target resource.",
    source=f"{_HTTP}#section-15.5.6",
    looks_at="POST to the endpoints of a running app that respond to GET",
    fix="Respond to POST with HTTP 405 and an Allow header.",
    why="""
        A POST to these endpoints is a mistake, for example by a misconfigured monitor. With a
        200, the mistake goes unnoticed; often the response even comes from a catch-all route of
        the app, so that what the monitor sees isn't the endpoint at all.
        """,
    language="console",
    bad="""
        $ curl -i -X POST localhost:8000/__heartbeat__
        HTTP/1.1 200 OK
        """,
    good="""
        $ curl -i -X POST localhost:8000/__heartbeat__
        HTTP/1.1 405 Method Not Allowed
        Allow: GET, HEAD
        """,
)
def _methods(evidence: Evidence) -> Findings:
    for service, path, _, post in _other_method(evidence, "POST"):
        is_refused = post.status in (*range(400, 500), HTTPStatus.NOT_IMPLEMENTED)
        message = f"POST {path}: {post.summary}, not HTTP 405"
        yield None if is_refused else _on(service, post, message)


@_requirement(
    "DF114",
    "Logs to stdout or stderr",
    sentence="Send text logs to `stdout` or `stderr`.",
    looks_at="the output of a command or container; a log file",
    fix="Log text in UTF-8 to stdout or stderr, not to a file.",
    why="""
        A log file vanishes with its container, including the last lines before the crash that you
        are investigating. Until then it fills the disk, while log collectors, which read stdout
        and stderr, see nothing.
        """,
    language="python",
    bad="""
        handler = logging.FileHandler("app.log")
        """,
    good="""
        handler = logging.StreamHandler(sys.stdout)
        """,
)
def _text_logs(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        if run.log_files is None:
            message = "what it writes to /tmp and volumes can't be seen: the image has no sh and ls"
            would_tell = "an image that has them, or one without volumes and --read-only"
            yield Unknown(message, run.where, would_tell)
        for file in run.log_files or ():
            yield Finding(f"it logs to the file {file}", run.where, run.start)
        if not any(run.stdout.lines) and not any(run.stderr.lines):
            yield Finding("it wrote nothing to stdout or stderr", run.where, run.start)
    for log in evidence.all_logs():
        bad = next((n for n, line in enumerate(log.lines, 1) if not _is_text(line)), None)
        if bad is not None:
            yield in_log(log, bad, "it is not UTF-8 text")
        elif any(log.lines):
            yield None


def _is_text(line: bytes) -> bool:
    try:
        return "\0" not in line.decode()
    except UnicodeDecodeError:
        return False


@_requirement(
    "DF115",
    "Serves its own static content",
    sentence="Serve its own static content.",
    looks_at="the files given by `--static`, otherwise those that the page at / of a running app "
    "refers to",
    fix="Serve the files from the app, for example with WhiteNoise.",
    why="""
        There is no other web server: files that the app doesn't serve are missing, and pages load
        without styles and scripts. This often shows up only in production, because frameworks
        serve static files themselves in development.
        """,
    language="console",
    bad="""
        $ curl -i localhost:8000/
        HTTP/1.1 200 OK
        Content-Type: text/html

        <link rel="stylesheet" href="/static/app.css">

        $ curl -i localhost:8000/static/app.css
        HTTP/1.1 404 Not Found
        """,
    good="""
        $ curl -i localhost:8000/
        HTTP/1.1 200 OK
        Content-Type: text/html

        <link rel="stylesheet" href="/static/app.css">

        $ curl -i localhost:8000/static/app.css
        HTTP/1.1 200 OK
        Content-Type: text/css

        body { margin: 0 }
        """,
)
def _static(evidence: Evidence) -> Findings:
    for service in evidence.services:
        for response in service.assets:
            # Not is_200: the file may be larger than what is read of it.
            is_fine = response.status == HTTPStatus.OK and bool(response.body)
            message = f"GET {response.url}: {response.summary}, not a file"
            yield None if is_fine else _on(service, response, message)


@_requirement(
    "DF116",
    "Exits on SIGTERM",
    sentence=_STOP_SENTENCE,
    source=_STOP,
    looks_at="a command or container, which has `--grace` seconds to exit",
    fix="Handle SIGTERM; start the app with exec, so that no shell comes between it and the "
    "signal.",
    why="""
        An app that doesn't exit on SIGTERM is killed after the grace period, 10 seconds with
        Docker and 30 in Kubernetes. Each instance delays a rollout by that time, open requests
        are cut off, and what the app saves at shutdown is lost.
        """,
    language="python",
    bad="""
        def stop(*_):
            logger.info("received SIGTERM")


        signal.signal(signal.SIGTERM, stop)
        """,
    good="""
        def stop(*_):
            logger.info("received SIGTERM")
            threading.Thread(target=server.shutdown).start()


        signal.signal(signal.SIGTERM, stop)
        """,
)
def _sigterm(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        if run.ended_in_time is not None:
            message = f"it still ran {run.grace:g} s after SIGTERM"
            yield None if run.ended_in_time else Finding(message, run.where, run.start)


@_requirement(
    "DF117",
    "Finishes requests on SIGTERM",
    sentence=_STOP_SENTENCE,
    source=_STOP,
    looks_at="a command or container, which gets SIGTERM during a request to the path given by "
    "`--slow`",
    fix="On SIGTERM stop accepting connections, finish the open requests, then end.",
    why="""
        Every deployment, scale-down and node upgrade stops containers. If they drop open
        requests, users see errors each time, and a payment whose response was lost may be sent
        twice.
        """,
    language="shell",
    bad="""
        uvicorn app:app --host 0.0.0.0 --port $PORT --timeout-graceful-shutdown 1
        """,
    good="""
        uvicorn app:app --host 0.0.0.0 --port $PORT --timeout-graceful-shutdown 20
        """,
)
def _in_flight(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        response = run.in_flight
        if response is not None:
            is_fine = response.status is not None and not response.error
            message = f"a request was lost at SIGTERM: {response.error}"
            start = f"{run.start} & sleep 3; curl -i {response.url} & sleep 1; kill -TERM %1; wait"
            yield None if is_fine else Finding(message, run.where, start)
        elif run.too_fast is not None:
            request = f"GET {run.too_fast.url} ({run.too_fast.summary})"
            message = f"{request} had ended when SIGTERM was sent, 0.5 s after its start"
            would_tell = "give --slow a path that takes longer"
            yield Unknown(message, run.where, would_tell)


@rule(
    "error",
    "DF118",
    "Listens on a reachable address",
    sentence="Internal host loopback address. Addresses of this form MUST NOT appear outside a "
    "host.",
    source=_LOOPBACK,
    looks_at="the addresses on which a command or container listens on `$PORT`",
    fix="Listen on 0.0.0.0 or ::, for example with `--host 0.0.0.0`.",
    why="""
        In a container, 127.0.0.1 is the container itself. Everything works when tried from
        inside, but connections to the published port fail, and no request ever arrives. 127.0.0.1
        is the default of uvicorn, Flask and many development servers.
        """,
    language="shell",
    bad="""
        uvicorn app:app --port $PORT
        """,
    good="""
        uvicorn app:app --port $PORT --host 0.0.0.0
        """,
)
def _addresses(evidence: Evidence) -> Findings:
    for run in evidence.runs:
        if not run.listens:
            continue
        if not run.addresses:
            message = "what listens on $PORT can't be seen, as in a container with its own network"
            yield Unknown(message, run.where, "give the URL with the container's own address")
        elif all(ipaddress.ip_address(address).is_loopback for address in run.addresses):
            message = f"it listens on {' and '.join(run.addresses)} only"
            yield Finding(message, run.where, run.start)
        else:
            yield None
