"""What every app gets from the middleware, whichever framework it is made with."""

import asyncio
import importlib.util
import io
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.validate import validator

import pytest

from dockerflow.checks import Error, Registry, Warning
from dockerflow.config import Config

APPS = Path(__file__).parents[1] / "apps"
CLIENTS = [
    "bare-asgi",
    "bare-wsgi",
    "bare-a2wsgi",
    "starlette-asgi",
    "fastapi-asgi",
    "flask-wsgi",
    "falcon-asgi",
    "falcon-wsgi",
    "django-asgi",
    "django-wsgi",
]
ENDPOINTS = ["/__version__", "/__heartbeat__", "/__lbheartbeat__"]
BEHIND_ERROR_PAGE = ("starlette-asgi", "fastapi-asgi")  # the page for errors is further out


class Answer(NamedTuple):
    """A response; the names of its headers in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    error: BaseException | None = None

    def all(self, name):
        return [value for key, value in self.headers if key == name]

    def without_id(self):
        headers = [pair for pair in self.headers if pair[0] != "x-request-id"]
        return self.status, headers, self.body, repr(self.error)


def drive_asgi(app, method, path, mount, headers, scheme) -> Answer:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": mount + path,
        "raw_path": (mount + path).encode(),
        "query_string": b"",
        "root_path": mount,
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
        "client": ("10.0.0.1", 1234),
        "server": ("10.0.0.2", 80),
        "state": {},
    }

    async def run():
        sent: list[dict[str, Any]] = []
        incoming = [{"type": "http.request", "body": b"", "more_body": False}]
        error = None

        async def receive():
            if incoming:
                return incoming.pop()
            await asyncio.Event().wait()  # the client stays until it has the answer

        async def send(message):
            sent.append(message)

        try:
            await app(scope, receive, send)
        except Exception as escaped:
            error = escaped
        start = sent[0] if sent else {"status": 0}
        pairs = [(k.decode().lower(), v.decode("latin-1")) for k, v in start.get("headers", [])]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(start["status"], pairs, body, error)

    return asyncio.run(run())


def drive_wsgi(app, method, path, mount, headers, scheme) -> Answer:
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": mount,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "10.0.0.2",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "10.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{"HTTP_" + k.upper().replace("-", "_"): v for k, v in headers.items()},
    }
    started: list[Any] = [("0", [])]
    error, body, chunks = None, None, []

    def start_response(status, headers, exc_info=None):
        started.append((status, headers))
        return chunks.append

    try:
        body = validator(app)(environ, start_response)
        chunks.extend(body)
    except AssertionError:  # what the validator complains of
        raise
    except Exception as escaped:
        error = escaped
    finally:
        if body is not None:
            body.close()
    status, pairs = started[-1]
    return Answer(
        int(status.split()[0]), [(k.lower(), v) for k, v in pairs], b"".join(chunks), error
    )


class Client:
    """Makes the app with the middleware, and asks it."""

    def __init__(self, name: str) -> None:
        framework, _, self.kind = name.partition("-")
        self.name, self.framework = name, framework
        pytest.importorskip("a2wsgi" if self.kind == "a2wsgi" else framework) if (
            framework != "bare" or self.kind == "a2wsgi"
        ) else None
        self.make = getattr(load(framework), "make_" + self.kind)
        self.drive = drive_wsgi if self.kind == "wsgi" else drive_asgi
        self.registry = Registry()
        self.app = None

    def with_app(self, **config) -> "Client":
        self.app = self.make({"config": Config(**config), "registry": self.registry})
        return self

    def ask(self, path="/", method="GET", *, mount="", headers=None, scheme="https", app=None):
        headers = {"Host": "example.com", **(headers or {})}
        if app is None:
            app = self.app or self.with_app().app
        return self.drive(app, method, path, mount, headers, scheme)


def load(framework):
    # Not by name: a module of ours is called like the framework.
    name = f"dockerflow_test_apps_{framework}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, APPS / f"{framework}.py")
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


@pytest.fixture(params=CLIENTS)
def client(request):
    return Client(request.param)


@pytest.fixture
def summaries():
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("request.summary")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield records
    logger.setLevel(level)
    logger.removeHandler(handler)


# -- endpoints --


def test_the_three_endpoints(client, tmp_path):
    (tmp_path / "version.json").write_text('{"version": "1"}')
    client.with_app(version_path=tmp_path)
    version, heartbeat, lbheartbeat = map(client.ask, ENDPOINTS)
    assert [a.status for a in (version, heartbeat, lbheartbeat)] == [200, 200, 200]
    assert version.body == b'{"version": "1"}'
    assert json.loads(heartbeat.body) == {"status": "ok", "checks": {}, "details": {}}
    assert lbheartbeat.body == b""
    assert version.all("content-type") == heartbeat.all("content-type") == ["application/json"]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_methods_slash_mount_and_no_store(client, path, tmp_path):
    client.with_app(version_path=tmp_path)
    get = client.ask(path)
    assert get.all("cache-control") == ["no-store"]
    assert get.all("content-length") == [str(len(get.body))]
    for same in (
        client.ask(path + "/"),
        client.ask(path, mount="/mnt"),
        client.ask(path + "/", mount="/mnt/deep"),
    ):
        assert same.without_id() == get.without_id()
    head = client.ask(path, "HEAD")
    assert head.without_id() == get._replace(body=b"").without_id()
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = client.ask(path, method)
        assert (refused.status, refused.all("allow")) == (405, ["GET, HEAD"])
        assert refused.all("cache-control") == ["no-store"]


def test_a_prefix_moves_the_endpoints(client, tmp_path):
    (tmp_path / "version.json").write_text("{}")
    client.with_app(path_prefix="/ops", version_path=tmp_path)
    for path in ENDPOINTS:
        assert client.ask("/ops" + path).status == 200
        assert client.ask(path).status == 404
        assert client.ask("/ops" + path, mount="/mnt").status == 200
    assert client.ask().body == b"hello"


def test_version_missing_broken_changed_and_cached(client, tmp_path, monkeypatch):
    from dockerflow import version

    reads = []
    load_file = version._load
    monkeypatch.setattr(version, "_load", lambda path: reads.append(path) or load_file(path))
    file = tmp_path / "version.json"
    client.with_app(version_path=tmp_path)
    missing = client.ask("/__version__")
    assert (missing.status, list(json.loads(missing.body))) == (404, ["error"])

    file.write_text("{broken")
    for _ in range(2):
        broken = client.ask("/__version__")
        assert (broken.status, list(json.loads(broken.body))) == (500, ["error"])
        assert str(tmp_path) not in broken.body.decode()
    for number in (1, 2):
        file.write_text(json.dumps({"version": number}))
        os.utime(file, ns=(number, number))
        for _ in range(3):
            assert json.loads(client.ask("/__version__").body) == {"version": number}
    assert len(reads) == 3


@pytest.mark.parametrize("path", ["/__lbheartbeat__", "/__heartbeat__"])
def test_probes_come_by_the_pods_address_and_without_tls(client, path):
    headers = {"Host": "10.1.2.3:8000"}
    assert client.ask(path, headers=headers, scheme="http").status == 200
    if client.framework == "django":  # which the app itself refuses
        assert client.ask("/", headers=headers, scheme="http").status == 400
        assert client.ask("/", scheme="http").status == 301


# -- heartbeat --


def register_everything(registry, hang: threading.Event):
    def hung():
        hang.wait(30)

    async def hung_async():
        await asyncio.sleep(30)

    def raising():
        raise RuntimeError("the password is hunter2")

    async def raising_async():
        raise LookupError("the password is hunter2")

    async def warning():
        return [Warning("slow", id="app.W001"), Warning("slower", id="app.W001"), Error("no id")]

    registry.register(lambda: [], "fine")
    registry.register(lambda: 42, "nonsense")
    registry.register(lambda: Error("é broken", id="app.E001"), "optional", critical=False)
    for check in (hung, hung_async, raising, raising_async, warning):
        registry.register(check)


def test_the_heartbeats_payload_is_the_same_everywhere(client, caplog):
    hang = threading.Event()
    try:
        answers = []
        for one in (client, Client("bare-asgi")):
            register_everything(one.registry, hang)
            one.with_app(check_timeout=0.15, heartbeat_timeout=2)
            answers.append(one.ask("/__heartbeat__"))
    finally:
        hang.set()
    assert answers[0].body == answers[1].body
    assert answers[0].status == 500
    payload = json.loads(answers[0].body)
    errors = ["nonsense", "hung", "hung_async", "raising", "raising_async", "warning"]
    assert payload["status"] == "error"
    assert payload["checks"] == {
        "fine": "ok",
        **dict.fromkeys(errors, "error"),
        "optional": "error",
    } or payload["checks"] == {"fine": "ok", **dict.fromkeys(errors, "error"), "optional": "warning"}
    messages = {name: list(detail["messages"]) for name, detail in payload["details"].items()}
    assert messages == {
        "nonsense": ["dockerflow.checks.E003"],
        "optional": ["app.E001"],
        "hung": ["dockerflow.checks.E002"],
        "hung_async": ["dockerflow.checks.E002"],
        "raising": ["dockerflow.checks.E001"],
        "raising_async": ["dockerflow.checks.E001"],
        "warning": ["app.W001", "app.W001#2", "warning"],
    }
    assert b"hunter2" not in answers[0].body
    assert "hunter2" in caplog.text
    assert "raising;dur=" in answers[0].all("server-timing")[0]


def test_checks_overlap(client):
    arrived: list[str] = []
    names = ["one", "two", "three", "four"]
    everybody = threading.Event()

    def arrive(name):
        arrived.append(name)
        if len(arrived) == len(names):
            everybody.set()

    def sync(name):
        arrive(name)
        return [] if everybody.wait(5) else Error("alone")

    async def wait(name):
        arrive(name)
        until = time.monotonic() + 5
        while not everybody.is_set():
            if time.monotonic() > until:
                return Error("alone")
            await asyncio.sleep(0.001)
        return []

    for name, check in zip(names, (sync, wait, sync, wait), strict=True):
        client.registry.register_partial(check, name, name=name)
    answer = client.ask("/__heartbeat__")
    assert json.loads(answer.body)["checks"] == dict.fromkeys(names, "ok")


def test_a_raising_check_does_not_hide_that_the_app_lives(client):
    client.registry.register(lambda: 1 / 0, "bad")
    client.with_app(heartbeat_failed_status_code=503)
    assert client.ask("/__heartbeat__").status == 503
    assert client.ask("/__heartbeat__", "HEAD").status == 503
    assert client.ask("/__lbheartbeat__").status == 200
    assert client.ask("/").status == 200


# -- summaries --


@pytest.mark.parametrize(
    ("method", "path", "code", "errno", "message"),
    [
        ("GET", "/", 200, 0, ""),
        ("HEAD", "/", 200, 0, ""),
        ("GET", "/missing", 404, 0, ""),
        ("GET", "/status/500", 500, 500, ""),
        ("GET", "/status/503", 503, 503, ""),
        ("GET", "/stream", 200, 0, ""),
        ("GET", "/fail", 500, 500, "boom"),
        ("GET", "/__lbheartbeat__", 200, 0, ""),
        ("POST", "/__heartbeat__", 405, 0, ""),
    ],
)
def test_one_summary_with_the_same_fields(client, summaries, method, path, code, errno, message):
    headers = {"User-Agent": "tester/1", "Accept-Language": "de, en", "X-Request-ID": "abc"}
    answer = client.ask(path, method, headers=headers)
    (record,) = summaries
    fields = ("agent", "code", "errno", "lang", "method", "path", "rid", "uid")
    assert {name: getattr(record, name) for name in fields} == {
        "agent": "tester/1",
        "code": code,
        "errno": errno,
        "lang": "de, en",
        "method": method,
        "path": path,
        "rid": "abc",
        "uid": "",
    }
    assert type(record.t) is int
    assert 0 <= record.t < 10_000
    assert record.getMessage() == message
    assert record.levelno == (logging.ERROR if message else logging.INFO)
    assert (answer.error is not None) == bool(message)


# -- request ids --


@pytest.mark.parametrize("path", ["/", "/missing", "/stream", "/status/500", *ENDPOINTS])
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("abc-123", True),
        ("x" * 128, True),
        (None, False),
        ("", False),
        ("x" * 129, False),
        ("two words", False),
        ("caf\xe9", False),
    ],
)
def test_exactly_one_id_is_sent_back(client, summaries, path, sent, kept):
    answer = client.ask(path, headers={} if sent is None else {"X-Request-ID": sent})
    (rid,) = answer.all("x-request-id")
    assert (rid == sent) is kept
    assert kept or len(rid) == 36
    assert [record.rid for record in summaries] == [rid]


# -- the app's own answers --


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/", "/missing", "/fail", "/status/500", "/stream"])
def test_the_apps_own_answers_stay_as_they_are(client, method, path):
    plain = client.ask(path, method, app=client.make(None))
    ours = client.ask(path, method)
    assert ours.without_id() == plain.without_id()
    answered = ours.status and not (path == "/fail" and client.name in BEHIND_ERROR_PAGE)
    assert not answered or len(ours.all("x-request-id")) == 1
