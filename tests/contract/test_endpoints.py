"""What every framework answers at Dockerflow's own paths."""

import asyncio
import functools
import itertools
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dockerflow import checks, drain

Client = Any
MakeClient = Callable[..., Client]

VERSION = b'{"version": "1.2.3",  "source": "\xc3\xa9"}\n'
ENDPOINTS = ("/__version__", "/__heartbeat__", "/__lbheartbeat__")
GROUP = "/__heartbeat__/ready"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SECRET = "+/0123456789.~-_="


@pytest.fixture
def version_file(tmp_path: Path) -> Path:
    path = tmp_path / "version.json"
    path.write_bytes(VERSION)
    return path


def test_the_three_endpoints(client: Client, version_file: Path) -> None:
    version, heartbeat, lbheartbeat = map(client.get, ENDPOINTS)
    assert (version.status, version.body) == (200, VERSION)
    assert (heartbeat.status, lbheartbeat.status) == (200, 200)
    assert heartbeat.body == b'{"status":"ok","checks":{},"details":{}}'
    assert lbheartbeat.body == client.row.lbheartbeat
    is_json = bool(lbheartbeat.body)
    kind = "application/json" if is_json else "text/plain; charset=utf-8"
    assert lbheartbeat.all("content-type") == [kind]
    for response in (version, heartbeat):
        assert response.all("content-type") == ["application/json"]
    for response in (version, heartbeat, lbheartbeat):
        assert response.all("cache-control") == ["no-store"]
        assert response.all("content-length") == [str(len(response.body))]


def test_no_response_may_be_stored(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(heartbeat_html=True)
    statuses: list[int] = []

    def look(path: str, *, method: str = "GET", accept: str = "*/*") -> None:
        response = client.request(method, path, {"accept": accept})
        assert response.all("cache-control") == ["no-store"], (method, path, response)
        statuses.append(response.status)

    def look_everywhere() -> None:
        for method, path in itertools.product(("GET", "HEAD", "POST"), ENDPOINTS):
            look(path, method=method)
        look("/__heartbeat__", accept="text/html")

    look_everywhere()  # there is no version.json yet
    (tmp_path / "version.json").write_bytes(VERSION)
    look_everywhere()
    (tmp_path / "version.json").write_bytes(b"broken")
    client.registry.register(lambda: checks.Error("down"), name="database")
    look_everywhere()
    monkeypatch.setattr(drain, "is_draining", lambda: True)
    look_everywhere()
    assert set(statuses) == {200, 404, 405, 500, 503}


@pytest.mark.parametrize("path", [*ENDPOINTS, GROUP])
def test_other_methods_are_refused(make_client: MakeClient, path: str) -> None:
    client = make_client(heartbeat_groups={"ready": ["counting"]})
    runs: list[None] = []
    client.registry.register(lambda: runs.append(None), name="counting")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        response = client.request(method, path)
        if (method, client.row.module) == ("BREW", "aiohttp_app"):
            assert response.status == 400  # by its server, which knows no such method
            continue
        if (method, client.row.name, path) == ("BREW", "fastapi-router", GROUP):
            assert response.status == 405  # by FastAPI, whose routes know HTTP's methods only
            continue
        assert (response.status, response.all("allow")) == (405, ["GET, HEAD"]), method
        assert response.all("cache-control") == ["no-store"], method
    assert not runs


@pytest.mark.parametrize("path", [*ENDPOINTS, GROUP])
def test_head_is_get_without_a_body(make_client: MakeClient, version_file: Path, path: str) -> None:
    client = make_client(heartbeat_groups={"ready": ["counting"]})
    headers = {"x-request-id": "same"}
    runs: list[None] = []
    client.registry.register(lambda: runs.append(None), name="counting")
    get, head = (client.request(method, path, headers) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.status == get.status

    def comparable(response: Any) -> list[tuple[str, str]]:
        return [(name, re.sub(r"dur=[\d.]+", "dur=", value)) for name, value in response.headers]

    assert comparable(head) == comparable(get)
    assert len(runs) == (2 if "/__heartbeat__" in path else 0)


@pytest.mark.parametrize("path", [*ENDPOINTS, GROUP])
def test_a_slash_at_the_end_and_mounts(
    make_client: MakeClient, version_file: Path, summaries: list[logging.LogRecord], path: str
) -> None:
    client = make_client(heartbeat_groups={"ready": ["database"]})
    client.registry.register(lambda: None, name="database")
    assert client.get(path + "/").status == 200
    assert client.get(path, mount="/mount").status == 200
    assert client.get(path + "/", mount="/a/b").status == 200
    assert [r.path for r in summaries] == [f"{path}/", f"/mount{path}", f"/a/b{path}/"]
    for other in (path + "//", path + "/x", "/x" + path, path[:-1], path.upper()):
        # Where the framework's router has the routes, it has its own way with two slashes.
        own = {"fastapi-router": {307}, "sanic-extension": {200}, "flask-extension": {308, 404}}
        expected = own.get(client.row.name, {404}) if other == path + "//" else {404}
        assert client.get(other).status in expected


def test_a_prefix_moves_the_endpoints(make_client: MakeClient) -> None:
    client = make_client(path_prefix="/ops")
    assert client.get("/ops/__lbheartbeat__").status == 200
    assert client.get("/ops/__lbheartbeat__/", mount="/mount").status == 200
    assert client.get("/__lbheartbeat__").status == 404


def test_the_error_endpoint(
    client: Client, make_client: MakeClient, summaries: list[logging.LogRecord],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert client.get("/__error__").status == 404
    summaries.clear()
    response = make_client(error_endpoint=True).get("/__error__")
    assert client.row.reports or isinstance(response.error, RuntimeError)
    [record] = summaries
    assert (record.levelno, record.code, record.errno) == (logging.ERROR, 500, 500)
    message = "The __error__ endpoint was called"
    assert (client.row.logger, logging.ERROR, message) in caplog.record_tuples


def test_version_is_missing_then_there_then_changed(client: Client, tmp_path: Path) -> None:
    missing = client.get("/__version__")
    assert missing.status == 404
    assert list(json.loads(missing.body)) == ["error"]
    for text in (b'{"version": "1"}', b'{"version": "later"}'):
        (tmp_path / "version.json").write_bytes(text)
        assert client.get("/__version__").body == text
    (tmp_path / "version.json").unlink()
    assert client.get("/__version__").status == 404


def test_a_replaced_get_version_is_what_is_served(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tests of apps replace it."""
    monkeypatch.delenv("APP_DIR", raising=False)
    assert client.get("/__version__").status == 404
    monkeypatch.setattr("dockerflow.version.get_version", lambda root: {"version": "patched"})
    assert json.loads(client.get("/__version__").body) == {"version": "patched"}
    monkeypatch.undo()
    assert client.get("/__version__").status == 404


@pytest.mark.parametrize("content", [b"", b"1" * 10**7], ids=["empty", "10-MB"])
def test_a_broken_version_file(
    client: Client, version_file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What else can be wrong with it is in core/test_version.py."""
    version_file.write_bytes(content)
    for _ in range(2):
        response = client.get("/__version__")
        assert response.status == 500
        assert "version.json" in json.loads(response.body)["error"]
        assert response.all("content-type") == ["application/json"]
    errors = [r for r in caplog.records if r.name == "dockerflow" and r.levelno == logging.ERROR]
    assert len(errors) == 1  # not one for each probe
    assert client.get("/").status == 200


def test_an_unchanged_version_file_is_not_read_again(
    client: Client, version_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/__version__").body == VERSION

    def must_not_open(*args: Any, **kwargs: Any) -> None:
        pytest.fail("read again")

    monkeypatch.setattr(Path, "open", must_not_open)
    assert client.get("/__version__").body == VERSION


def test_the_heartbeats_payload_is_the_same_everywhere(client: Client) -> None:
    @client.registry.register
    def good() -> None: ...

    @client.registry.register(critical=False)
    async def extra() -> list[checks.CheckMessage]:
        return [checks.Error("down", id="x.E001"), checks.Info("é", id="x.E001")]

    @client.registry.register(name="with a space")
    def warned() -> checks.CheckMessage:
        return checks.Warning("slow")

    response = client.get("/__heartbeat__")
    assert response.status == 200
    assert json.loads(response.body) == {
        "status": "warning",
        "checks": {"good": "ok", "extra": "error", "with a space": "warning"},
        "details": {
            "extra": {
                "status": "error", "level": 40,
                "messages": {"x.E001": "down", "x.E001#2": "é"},
            },
            "with a space": {
                "status": "warning", "level": 30, "messages": {"with a space": "slow"},
            },
        },
    }  # fmt: skip
    again = json.dumps(json.loads(response.body), separators=(",", ":")).encode()
    assert response.body == again  # so the bytes, and the order, are the same everywhere
    assert client.get("/__heartbeat__?checks=good").body == again  # it takes no parameters
    timings = re.sub(r"dur=\d+\.\d", "dur=", response.all("server-timing")[0])
    assert timings == "good;dur=, extra;dur=, with_a_space;dur="


@pytest.mark.parametrize(("level", "code"), [(checks.Error, 599), (checks.Critical, 503)])
def test_a_failing_heartbeat_has_the_configured_status(
    make_client: MakeClient, level: type[checks.CheckMessage], code: int
) -> None:
    client = make_client(heartbeat_failed_status_code=code)
    client.registry.register(lambda: level("down", id="x.E001"), name="database")
    response = client.get("/__heartbeat__")
    assert response.status == code
    assert json.loads(response.body)["status"] == level.__name__.lower()


@pytest.mark.parametrize("details", ["never", "debug"])
def test_details_can_be_hidden(make_client: MakeClient, details: str) -> None:
    client = make_client(heartbeat_details=details)
    client.registry.register(lambda: checks.Error("secret", id="x.E001"), name="database")
    response = client.get("/__heartbeat__")
    assert response.body == b'{"status":"error"}'
    assert not response.all("server-timing")


def test_details_for_clients_with_the_secret(make_client: MakeClient) -> None:
    groups = {"ready": ["database"]}
    client = make_client(
        heartbeat_details="authorized", heartbeat_secret=SECRET, heartbeat_html=True,
        heartbeat_groups=groups,
    )  # fmt: skip
    client.registry.register(lambda: checks.Error("down", id="x.E001"), name="database")
    wrong = [
        "", "Bearer", f"Basic {SECRET}", SECRET, f"Bearer {SECRET[:-1]}", f"Bearer {SECRET}=",
        f"Bearer {SECRET.upper()}x", "Bearer \xe9", f"Bearer {SECRET[:-1]}\xe9", "Bearer \xff\xfe",
    ]  # fmt: skip
    for path in ("/__heartbeat__", GROUP):
        for headers in ({}, *({"authorization": value} for value in wrong)):
            response = client.get(path, headers)
            assert (response.status, response.body) == (500, b'{"status":"error"}'), headers
            assert not response.all("server-timing")
            page = client.get(path, {**BROWSER, **headers})
            assert page.status == 500
            assert b"database" not in page.body
        for scheme in ("Bearer", "bearer", "BEARER "):
            headers = {"authorization": f"{scheme} {SECRET}"}
            response = client.get(path, headers)
            assert (response.status, response.all("cache-control")) == (500, ["no-store"])
            assert json.loads(response.body)["checks"] == {"database": "error"}
            assert response.all("server-timing")[0].startswith("database;dur=")
            assert b"database" in client.get(path, {**BROWSER, **headers}).body
            assert client.request("HEAD", path, headers).all("server-timing")


@pytest.mark.parametrize("details", ["always", "debug", "never"])
def test_the_secret_counts_only_if_details_are_for_authorized_clients(
    make_client: MakeClient, details: str
) -> None:
    client = make_client(heartbeat_details=details, heartbeat_secret=SECRET)
    for headers in ({}, {"authorization": f"Bearer {SECRET}"}):
        payload = json.loads(client.get("/__heartbeat__", headers).body)
        assert ("checks" in payload) == (details == "always")


def test_a_group_has_its_checks_and_what_they_require(make_client: MakeClient) -> None:
    groups = {"ready": ["database", "tag:search"], "v1.jobs-2": "broker"}
    client = make_client(heartbeat_groups=groups, heartbeat_tags="web")
    register = client.registry.register
    register(lambda: None, name="network")
    register(lambda: None, name="database", requires="network")
    register(lambda: checks.Warning("slow", id="x.W001"), name="index", tags=("search", "web"))
    register(lambda: checks.Error("down", id="x.E001"), name="broker")
    ready, jobs, everything = (
        client.get(path) for path in (GROUP, "/__heartbeat__/v1.jobs-2/", "/__heartbeat__")
    )
    assert (ready.status, jobs.status, everything.status) == (200, 500, 200)
    assert json.loads(ready.body) == {
        "status": "warning",
        "checks": {"network": "ok", "database": "ok", "index": "warning"},
        "details": {"index": {"status": "warning", "level": 30, "messages": {"x.W001": "slow"}}},
    }
    timing = re.sub(r"dur=\d+\.\d", "dur=", ready.all("server-timing")[0])
    assert timing == "network;dur=, database;dur=, index;dur="
    assert json.loads(jobs.body)["checks"] == {"broker": "error"}
    assert json.loads(everything.body)["checks"] == {"index": "warning"}


def test_another_group_is_a_path_of_the_app(make_client: MakeClient) -> None:
    client = make_client(heartbeat_groups={"ready": ["database"]})
    client.registry.register(lambda: None, name="database")
    assert client.get(GROUP).status == 200
    for path in ("other", "Ready", "ready/x", "{group}", "<group>"):
        assert client.get(f"/__heartbeat__/{path}").status == 404, path
    assert client.get("/__lbheartbeat__/ready").status == 404


def test_a_group_without_a_check_fails(make_client: MakeClient) -> None:
    client = make_client(heartbeat_groups={"ready": ["databse", "tag:serch"]})
    client.registry.register(lambda: None, name="database", tags="search")
    response = client.get(GROUP)
    assert response.status == 500
    payload = json.loads(response.body)
    assert payload["checks"] == {"heartbeat_groups": "error"}
    [(id_, text)] = payload["details"]["heartbeat_groups"]["messages"].items()
    assert id_ == "dockerflow.checks.E005"
    assert "'ready'" in text
    assert "'databse', 'tag:serch'" in text
    assert client.get("/__heartbeat__").status == 200


def test_a_prefix_moves_groups_of_checks(make_client: MakeClient) -> None:
    client = make_client(heartbeat_groups={"ready": ["database"]}, path_prefix="/ops")
    client.registry.register(lambda: None, name="database")
    for path, mount in [("/ops" + GROUP, ""), (f"/ops{GROUP}/", "/mount")]:
        response = client.get(path, mount=mount)
        assert json.loads(response.body)["checks"] == {"database": "ok"}
    assert client.get(GROUP).status == 404


def test_a_group_is_a_probe_like_the_heartbeat(
    make_client: MakeClient, summaries: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    groups = {"ready": ["database"]}
    client = make_client(heartbeat_groups=groups, summary_log_probes=False)
    client.registry.register(lambda: None, name="database")
    assert client.get(GROUP).status == 200
    assert not summaries
    monkeypatch.setattr(drain, "is_draining", lambda: True)
    response = client.get(GROUP)
    assert (response.status, response.all("cache-control")) == (503, ["no-store"])
    assert json.loads(response.body)["checks"] == {"drain": "error"}


def test_a_page_for_people(make_client: MakeClient) -> None:
    client = make_client(heartbeat_html=True, heartbeat_failed_status_code=503)
    client.registry.register(lambda: checks.Error("<b> & co", id="x.E001"), name="database")
    page = client.get("/__heartbeat__", BROWSER)
    assert page.status == 503
    assert page.all("content-type") == ["text/html; charset=utf-8"]
    assert page.all("vary") == ["Accept"]
    assert page.all("cache-control") == ["no-store"]
    assert page.all("content-length") == [str(len(page.body))]
    assert page.all("content-security-policy")[0].startswith("default-src 'none'; ")
    assert page.all("server-timing")[0].startswith("database;dur=")
    assert b"&lt;b&gt; &amp; co" in page.body
    head = client.request("HEAD", "/__heartbeat__/", BROWSER)
    assert (head.status, head.body) == (503, b"")
    assert head.all("content-type") == page.all("content-type")
    for headers in ({}, {"accept": "*/*"}, {"accept": "text/html;q=0.5, application/json"}):
        answer = client.get("/__heartbeat__", headers)
        assert answer.all("content-type") == ["application/json"]
        assert answer.all("vary") == ["Accept"]
        assert json.loads(answer.body)["checks"] == {"database": "error"}
    for path in ("/__version__", "/__lbheartbeat__"):
        answer = client.get(path, BROWSER)
        assert "text/html" not in answer.all("content-type")[0]
        assert not answer.all("vary")


def test_the_page_is_off_by_default_and_hides_details(
    client: Client, make_client: MakeClient
) -> None:
    plain = client.get("/__heartbeat__", BROWSER)
    assert plain.all("content-type") == ["application/json"]
    assert not plain.all("vary")
    hiding = make_client(heartbeat_html=True, heartbeat_details="never")
    hiding.registry.register(lambda: checks.Error("secret", id="x.E001"), name="database")
    page = hiding.get("/__heartbeat__", BROWSER)
    assert page.status == 500
    assert b"error" in page.body
    assert b"secret" not in page.body
    assert b"database" not in page.body


def test_sync_and_async_checks_run_at_the_same_time(client: Client) -> None:
    arrived: list[str] = []
    everybody = threading.Event()

    def arrive(name: str) -> None:
        arrived.append(name)
        if len(arrived) == 10:
            everybody.set()

    def make_sync(name: str) -> Callable[[], Any]:
        def check() -> Any:
            arrive(name)
            return None if everybody.wait(4) else checks.Error("alone")

        return check

    def make_async(name: str) -> Callable[[], Any]:
        async def check() -> Any:
            arrive(name)
            end = time.monotonic() + 4
            while not everybody.is_set():
                if time.monotonic() > end:
                    return checks.Error("alone")
                await asyncio.sleep(0.005)
            return None

        return check

    for number in range(10):
        name = f"check{number}"
        client.registry.register((make_async if number % 2 else make_sync)(name), name=name)
    payload = json.loads(client.get("/__heartbeat__").body)
    assert payload["checks"] == {f"check{number}": "ok" for number in range(10)}


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What a hung sync check waits for; set at the end."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(scope="module")
def payloads() -> set[bytes]:
    """The different payloads that hung and raising checks led to."""
    return set()


def test_hung_and_raising_checks_are_contained(
    make_client: MakeClient, released: threading.Event, payloads: set[bytes]
) -> None:
    client = make_client(check_timeout=0.1)
    register = client.registry.register
    in_time = functools.partial(register, timeout=8)  # these end at once
    register(released.wait, name="hung_sync")

    @register
    async def hung_async() -> None:
        await asyncio.sleep(3600)

    @in_time()
    def raising() -> None:
        raise OSError("password=s3cret")

    @in_time()
    async def exiting() -> None:
        raise BaseException("s3cret")

    @in_time()
    def nonsense() -> str:
        return "all good"

    @in_time()
    def good() -> None: ...

    response = client.get("/__heartbeat__")
    payload = json.loads(response.body)
    assert response.status == 500
    assert b"s3cret" not in response.body
    ids = {name: list(detail["messages"]) for name, detail in payload["details"].items()}
    assert ids == {
        "hung_sync": ["dockerflow.checks.E002"], "hung_async": ["dockerflow.checks.E002"],
        "raising": ["dockerflow.checks.E001"], "exiting": ["dockerflow.checks.E001"],
        "nonsense": ["dockerflow.checks.E003"],
    }  # fmt: skip
    assert payload["checks"]["good"] == "ok"
    payloads.add(response.body)
    assert payloads == {response.body}  # to the byte what the other frameworks answered


def test_options_of_checks_are_the_same_everywhere(make_client):
    client = make_client(heartbeat_tags="web", check_ttl=60, silenced_checks="x.W1")
    runs = []

    @client.registry.register(critical=False)
    def base():
        return checks.Error("e", id="x.E1")

    @client.registry.register(tags="web", requires="base")
    async def skipped():
        runs.append("skipped")

    @client.registry.register(tags=("web", "other"))
    def cached():
        runs.append("cached")
        return checks.Warning("w", id="x.W1")

    @client.registry.register
    def untagged():
        runs.append("untagged")

    for _ in range(2):
        response = client.request("GET", "/__heartbeat__")
        assert response.status == 200
        payload = json.loads(response.body)
        assert payload["checks"] == {"base": "error", "skipped": "info", "cached": "ok"}
        assert list(payload["details"]["skipped"]["messages"]) == ["dockerflow.checks.I001"]
    assert runs == ["cached"]
    assert "cached;dur=" in response.all("server-timing")[0]
    assert ';desc="age ' in response.all("server-timing")[0]
    client.request("GET", "/__heartbeat__?tags=untagged&tag=untagged")
    assert runs == ["cached"], "the URL takes no parameter"


def test_a_check_in_the_background_is_the_same_everywhere(make_client):
    client = make_client()
    runs = []
    client.registry.register(lambda: runs.append(1), name="check", interval=60, failures=2)
    for _ in range(3):
        assert client.request("GET", "/__heartbeat__").status == 200
    assert runs == [1]
    client.registry.close()


def test_drain_is_the_same_everywhere(make_client, monkeypatch):
    client = make_client(heartbeat_failed_status_code=500)
    client.registry.register(lambda: None, name="check")
    assert client.request("GET", "/__heartbeat__").status == 200
    monkeypatch.setattr(drain, "is_draining", lambda: True)
    response = client.request("GET", "/__heartbeat__")
    assert response.status == 503
    assert json.loads(response.body)["checks"] == {"drain": "error"}
    assert client.request("HEAD", "/__heartbeat__").status == 503
    assert client.request("GET", "/__lbheartbeat__").status == 200
    assert client.request("GET", "/").status == 200
