"""The example does the same in all of its ways, and is the citizen that Dockerflow asks for."""

import gzip
import json
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import jsonschema
import pytest
import services
from services.command import verify

from .conftest import EXAMPLE, PATIENCE, VERSION, WAYS, environment, run

SCHEMA = json.loads(
    resources.files("dockerflow.logging").joinpath("mozlog.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
WELL = {"database": "ok", "migrations": "ok"}


def test_shorten_and_follow(shared):
    made = shared.shorten("https://example.org/a/long path?q=ü#part")
    assert (made.status, made.headers.get_content_type()) == (201, "application/json")
    link = made.json()
    assert re.fullmatch(r"[1-9A-Za-z]{8}", link["code"])
    assert link == {
        "code": link["code"],
        "short_url": f"{shared.url}/{link['code']}",
        "url": "https://example.org/a/long%20path?q=%C3%BC#part",
        "hits": None,
    }
    for method in ("GET", "HEAD"):
        followed = shared.request(method, f"/{link['code']}")
        assert (followed.status, followed.headers["Location"]) == (302, link["url"])
        assert followed.headers["Cache-Control"] == "no-store"
    other = shared.shorten("http://example.org").json()
    assert other["url"] == "http://example.org/"
    assert shared.get("/api/links").json()[:2] == [other, link]


def test_a_client_can_wait_for_a_new_link(shared):
    shared.shorten("https://example.org/known")
    began = time.monotonic()
    known = shared.get("/api/links?wait=0.5").json()
    assert time.monotonic() - began >= 0.5, "nothing came"
    assert known[0]["url"] == "https://example.org/known"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.get, "/api/links?wait=60")
        time.sleep(0.5)
        new = shared.shorten("https://example.org/new").json()
        assert waiting.result(PATIENCE).json()[0] == new
    for wrong in ("", "x", "-1", "nan"):
        assert shared.get(f"/api/links?wait={wrong}").json()[0] == new


def test_what_is_no_code_is_not_found(shared):
    for path in ("/11111111", "/nothing", "/%00", "/%ff", "/a%0ab", "/" + "1" * 3000, "/static/x"):
        assert shared.get(path).status == 404, path
    assert b"There is no such link" in shared.get("/11111111").body
    for method in ("PUT", "DELETE"):
        assert shared.request(method, "/api/links").status == 405


def test_head_is_as_get(shared):
    for path in ("/", "/api/links"):
        head = shared.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Type"] == shared.get(path).headers["Content-Type"]


WRONG = [
    "javascript:alert(1)", "ftp://example.org/", "//example.org", "example.org", "", " ", "http://",
    "https://example.org/" + "x" * 2000, 7, None, ["https://example.org/"], True,
]  # fmt: skip


@pytest.mark.parametrize("url", WRONG, ids=lambda url: repr(url)[:20])
def test_a_wrong_address_is_refused(shared, url):
    refused = shared.shorten(url)
    assert refused.status == 422
    assert refused.json() == {
        "error": "url: must be complete, begin with http:// or https:// and have at most "
        "2000 characters"
    }


SHAPE = 'the body must be JSON such as {"url": "https://example.org/"}'


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"", SHAPE), (b"{", SHAPE), (b"[]", SHAPE), (b"null", SHAPE), (b"{}", "url: Field required")],
)
def test_a_broken_body_is_refused(shared, body, error):
    refused = shared.request("POST", "/api/links", body, Content_Type="application/json")
    assert (refused.status, refused.json()) == (422, {"error": error})


@pytest.mark.parametrize("shared", ["fastapi"], indirect=True)
def test_the_schema_names_what_is_refused(shared):
    schema = shared.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/api/links", "/{code}"}
    refused = schema["paths"]["/api/links"]["post"]["responses"]["422"]
    assert refused["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")


def test_a_body_that_is_no_text_is_refused(shared):
    body = b'{"url": "\xff"}'
    refused = shared.request("POST", "/api/links", body, Content_Type="application/json")
    assert refused.status in (400, 422), refused.body  # 400 is FastAPI's own
    assert list(refused.json()) == ["error"]


def test_a_body_that_is_too_large_is_not_read(shared):
    """Else a few of them would take all the memory that a container has."""
    longest = "https://example.org/" + "x" * 1980
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in longest)
    body = b'{"url": "%s"}' % escaped.encode()
    made = shared.request("POST", "/api/links", body, Content_Type="application/json")
    assert (made.status, made.json()["url"]) == (201, longest)
    with shared.connected(
        b"POST /api/links HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n{"
    ) as sender:
        assert sender.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_an_address_can_not_add_headers(shared):
    link = shared.shorten("https://example.org/\r\nX-Own: 1").json()
    followed = shared.get(f"/{link['code']}")
    assert "X-Own" not in followed.headers
    assert followed.headers["Location"].startswith("https://example.org/")


def test_the_page_and_its_assets(shared):
    page = shared.get("/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    text = page.body.decode()
    assert "$" not in text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", text)
    paths = {*re.findall(r'(?:href|src)="(/static/[^"]+)"', text)}
    links = {*re.findall(r'(?:href|src)="([^"]+)"', text)}
    assert links - paths == {"/__heartbeat__", "/__version__"}  # and nothing from elsewhere
    names = {re.sub(r"\.[0-9a-f]{12}(?=\.\w+$)", "", path) for path in paths}
    assert names == {"/static/app.js", "/static/icon.svg", "/static/style.css"}
    assert names.isdisjoint(paths)
    for path in paths:
        source = EXAMPLE / "links/static" / re.sub(r"^/static/(\w+)\.[0-9a-f]{12}", r"\1", path)
        plain = shared.get(path)
        assert (plain.status, plain.body) == (200, source.read_bytes())
        assert "Content-Encoding" not in plain.headers
        compressed = shared.get(path, Accept_Encoding="gzip")
        assert compressed.headers["Content-Encoding"] == "gzip"
        assert len(compressed.body) < len(plain.body)
        assert gzip.decompress(compressed.body) == plain.body
        for answer in (plain, compressed):
            assert answer.headers["Vary"] == "Accept-Encoding"
            caching = answer.headers["Cache-Control"]
            assert "immutable" in caching
            assert int(re.search(r"max-age=(\d+)", caching)[1]) >= 365 * 24 * 3600
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        again = shared.get(path, If_Modified_Since=plain.headers["Last-Modified"])
        assert (again.status, again.body) == (304, b"")
    for name in names:  # what would be cached under a name that stays
        assert shared.get(name).status == 404


def test_endpoints(shared):
    assert shared.checks() == (200, WELL)
    assert shared.get("/__version__").json() == VERSION
    assert shared.get("/__lbheartbeat__").status == 200
    assert shared.get("/", X_Request_ID="mine").headers["X-Request-ID"] == "mine"


@pytest.mark.parametrize("way", WAYS)
def test_logs_and_an_end_that_finishes_requests(start, way):
    """With a drain, too, in which the heartbeat alone says what is coming."""
    shortener = start(way, WEB_CONCURRENCY="2", DOCKERFLOW_DRAIN_SECONDS="3")
    link = shortener.shorten("https://example.org/").json()
    paths = ["/", f"/{link['code']}", "/nothing", "/__heartbeat__", "/__version__"]
    for path in paths:
        shortener.get(path)
    expected = ["/api/links", *paths]

    def logged() -> list[str]:
        seen = [fields["path"] for fields in shortener.summaries()]
        return [path for path in seen if path != "/__lbheartbeat__"]

    services.wait_for(lambda: len(logged()) >= len(expected), "the summaries")
    assert logged() == expected
    assert [line for line in shortener.lines() if line["Severity"] < 4] == []  # but 404s, of Django

    # Half a request, which the server has to wait for.
    body = b'{"url": "https://example.org/"}'
    with shortener.connected(
        b"POST /api/links HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) as slow:
        began = time.monotonic()
        shortener.process.terminate()
        services.wait_for(lambda: shortener.get("/__heartbeat__").status == 503, "drain")
        assert shortener.get("/").status == 200
        assert shortener.shorten("https://example.org/").status == 201
        services.wait_for(lambda: time.monotonic() > began + 3.2, "end of the drain")
        slow.sendall(body)
        assert slow.recv(4096).startswith(b"HTTP/1.1 201")
    assert shortener.process.wait(PATIENCE) in (0, -15)  # uvicorn ends by the signal that it got
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", shortener.port)) != 0

    lines = shortener.lines()
    for line in lines:
        VALIDATOR.validate(line)
    assert {line["Logger"] for line in lines} == {"links"}
    assert shortener.stderr.read_text() == ""


SECRET = "hunter2"
WRONG_SETTINGS = [
    ("PORT", "abc", "'abc'"),
    ("PORT", "0", "'0'"),
    ("PORT", "65536", "'65536'"),
    ("WEB_CONCURRENCY", "-1", "'-1'"),
    ("FRAMEWORK", "rails", "'fastapi', 'flask' or 'django'"),
    ("DATABASE_URL", f"mysql://app:{SECRET}@db/app", "postgresql://"),
    ("DATABASE_URL", f"postgresql://app:{SECRET}@", "postgresql://"),
    ("DATABASE_URL", "sqlite://", "sqlite:///"),
    ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///file"),
    ("DATABASE_URL", "nonsense", "sqlite:///"),
    ("DATABASE_URL", "", "is missing: it takes sqlite:///"),
    ("DATABASE_URL", "sqlite:////no/such/folder/links.sqlite3", "must exist and be writable"),
    ("DATABASE_URL", "sqlite:////etc/passwd/links.sqlite3", "must exist and be writable"),
    ("DATABASE_URL", "sqlite:////tmp", "a file that can't be made"),
    ("REDIS_URL", f"http://:{SECRET}@redis", "redis://"),
    ("REDIS_URL", f"redis://:{SECRET}@redis/first", "redis://host:port/number"),
    ("REDIS_URL", f"redis://:{SECRET}@redis/0?socket_timeout=long", "redis://"),
    ("REDIS_URL", f"redis://:{SECRET}@redis/0?no_such_option=1", "redis://"),
    ("REDIS_URL", f"rediss://:{SECRET}@redis/0?ssl_cert_reqs=perhaps", "rediss://"),
    ("DOCKERFLOW_DRAIN_SECONDS", "soon", "'soon'"),
    ("DOCKERFLOW_LOG_LEVEL", "loud", "'loud'"),
    ("PORT", "abc", "; REDIS_URL takes"),
]
# One start after the other, as each would import everything for itself.
STARTS = """
import contextlib, io, json, os, sys
from links.__main__ import main
from links.settings import get_settings

before = dict(os.environ)
for variables in json.loads(sys.argv.pop()):
    os.environ.clear()
    os.environ.update(before | variables)
    getattr(get_settings, "cache_clear", lambda: None)()
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            main()
        except SystemExit as error:
            code = error.code
    print(json.dumps([code, stderr.getvalue()]))
"""


def test_a_wrong_setting_fails_at_start(example):
    variables = [{name: value} for name, value, _ in WRONG_SETTINGS]
    variables[-1]["REDIS_URL"] = "here"  # all are told at once
    started = subprocess.run(
        [sys.executable, "-c", STARTS, "serve", json.dumps(variables)], cwd=example,
        env=environment(DATABASE_URL="sqlite:///links.sqlite3"), capture_output=True, text=True,
        check=True, timeout=PATIENCE,
    )  # fmt: skip
    said = [json.loads(line) for line in started.stdout.splitlines()]
    for (name, _, words), (code, stderr) in zip(WRONG_SETTINGS, said, strict=True):
        assert code == 2, stderr
        [line] = stderr.splitlines()
        assert line.startswith(name)
        assert words in line
        assert SECRET not in line


@pytest.mark.parametrize("way", ["flask", "django"])  # FastAPI's storage is Flask's
def test_options_of_the_database_url_count(example, way, servers):
    """None is lost on the way to the driver, of which sslmode would matter most."""
    environ = {**servers, "DATABASE_URL": servers["DATABASE_URL"] + "?sslmode=require"}
    failed = run(example, "links", "migrate", FRAMEWORK=way, **environ)
    assert failed.returncode == 1
    assert "server does not support SSL" in failed.stdout, failed.stdout


def test_a_copy_that_nobody_built_builds_itself(example, tmp_path):
    """As `make run` has it; and what is changed is built anew."""
    import shutil

    folder = tmp_path / "app"
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("build"))
    code = "from links import assets; print(assets.is_built())"
    show = [sys.executable, "-c", code]

    def is_built() -> str:
        return subprocess.run(show, cwd=folder, capture_output=True, text=True, check=True).stdout

    assert is_built() == "False\n"
    assert run(folder, "links", "assets").returncode == 0
    assert is_built() == "True\n"
    (folder / "links/static/style.css").write_text("body { color: red }\n", encoding="utf-8")
    assert is_built() == "False\n"


def test_migrations_are_those_of_the_models(example, tmp_path):
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/links.sqlite3"}
    assert run(example, "links", "migrate", **environ).returncode == 0
    checked = run(example, "alembic", "check", **environ)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = run(example, "django", "makemigrations", "--check", "--dry-run",
                  DJANGO_SETTINGS_MODULE="links_django.settings", **environ)  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    down = run(example, "alembic", "downgrade", "base", **environ)
    assert down.returncode == 0, down.stderr


@pytest.mark.parametrize("way", ["flask", "django"])
def test_a_database_that_can_not_be_migrated(example, tmp_path, way):
    """The reason is in the log, and whoever deploys is told by the exit code."""
    (tmp_path / "links.sqlite3").write_bytes(b"no database" * 100)
    environ = {"FRAMEWORK": way, "DATABASE_URL": f"sqlite:///{tmp_path}/links.sqlite3"}
    # Serving migrates SQLite by itself, by the same function.
    for command in ("migrate", "serve") if way == "flask" else ("serve",):
        failed = run(example, "links", command, **environ)
        assert (failed.returncode, failed.stderr) == (1, "")
        [line] = map(json.loads, failed.stdout.splitlines())
        VALIDATOR.validate(line)
        assert line["Severity"] == 3
        assert "not a database" in json.dumps(line["Fields"])


@pytest.fixture
def servers(postgres, redis_server):
    """The variables that name PostgreSQL, with nothing in it, and Redis."""
    with postgres.connect("app", "app") as connection:
        connection.execute("DROP OWNED BY app")
    return {
        "DATABASE_URL": postgres.url("postgresql").render_as_string(hide_password=False),
        "REDIS_URL": f"redis://127.0.0.1:{redis_server.port}/0",
    }


@pytest.mark.parametrize("way", WAYS)
def test_with_servers(start, example, way, servers, postgres, redis_server):  # noqa: PLR0917
    shortener = start(way, **servers)
    # A server's migrations are the deployment's business.
    assert shortener.checks() == (200, {"database": "ok", "migrations": "warning", "redis": "ok"})
    migrated = run(example, "links", "migrate", FRAMEWORK=way, **servers)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    for line in migrated.stdout.splitlines():
        VALIDATOR.validate(json.loads(line))
    assert run(example, "links", "migrate", FRAMEWORK=way, **servers).returncode == 0
    assert shortener.checks() == (200, WELL | {"redis": "ok"})

    link = shortener.shorten("https://example.org/").json()
    assert link["hits"] == 0
    for method in ("GET", "GET", "HEAD", "GET"):
        assert shortener.request(method, f"/{link['code']}").status == 302
    assert shortener.get("/api/links").json() == [link | {"hits": 3}]

    # Redis may go: nobody waits for it, only the numbers are missing.
    redis_server.kill()
    status, checks = shortener.checks()
    assert status == 200
    assert checks == WELL | {"redis": "error"}
    assert shortener.get(f"/{link['code']}").status == 302
    assert shortener.shorten("https://example.org/2").json()["hits"] is None
    assert [known["hits"] for known in shortener.get("/api/links").json()] == [None, None]
    redis_server.start()
    assert shortener.get(f"/{link['code']}").status == 302
    assert shortener.checks() == (200, WELL | {"redis": "ok"})
    assert [known["hits"] for known in shortener.get("/api/links").json()] == [0, 1]

    # A Redis that never answers holds nobody up either: without limits they would wait for ever.
    redis_server.pause()
    began = time.monotonic()
    assert shortener.get(f"/{link['code']}").status == 302
    assert time.monotonic() - began < 10
    status, checks = shortener.checks()
    assert (status, checks["redis"]) == (200, "error")
    redis_server.resume()

    # PostgreSQL may not, but after a restart no request is lost.
    postgres.restart()
    assert shortener.get(f"/{link['code']}").status == 302
    postgres.kill()
    status, checks = shortener.checks()
    assert (status, checks["database"], checks["redis"]) == (500, "error", "ok")
    assert shortener.get("/").status == 200
    failed = shortener.get(f"/{link['code']}")
    assert (failed.status, failed.json()) == (500, {"error": "Internal Server Error"})
    postgres.start()
    assert shortener.checks() == (200, WELL | {"redis": "ok"})
    assert shortener.get(f"/{link['code']}").status == 302
    assert shortener.stop() in (0, -15)
    assert postgres.password not in shortener.output()
    for line in shortener.lines():
        VALIDATOR.validate(line)


@pytest.mark.parametrize("way", WAYS)
def test_it_passes_the_specification(example, tmp_path, monkeypatch, way):
    monkeypatch.chdir(example)
    database = f"DATABASE_URL=sqlite:///{tmp_path}/links.sqlite3"
    report = verify(
        "--version-json", example / "version.json", "--env", f"FRAMEWORK={way}", "--env", database,
        "--env", "HOST=0.0.0.0", "--wait", PATIENCE, "--", sys.executable, "-m", "links", "serve",
    )  # fmt: skip
    assert (report["exit_code"], report["could_not_run"]) == (0, [])
    statuses = {rule["id"]: rule["status"] for rule in report["rules"]}
    # gunicorn is one process more than its worker, which is a recommendation's business.
    failed = {rule for rule, status in statuses.items() if status == "failed"}
    assert failed <= (set() if way == "fastapi" else {"DF301"})
    # All that can be seen from outside without an image was looked at.
    of_the_app = {rule: status for rule, status in statuses.items() if rule.startswith("DF1")}
    unseen = {rule for rule, status in of_the_app.items() if status == "not checked"}
    assert unseen <= {"DF103", "DF109", "DF111", "DF117"}
