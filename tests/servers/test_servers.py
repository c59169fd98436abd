"""What holds under which server; docs/servers.md is what these tests saw.

`make server-matrix` writes it again.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pages
import psutil
import pytest
import services
from services import PATIENCE
from services.matrix import COLUMNS, PAGE, ROWS, WRITE, Row, Server, write_cell

Start = Callable[..., Server]
REMEDY = "run: make server-matrix"
# Seconds. A server that waits for a hung check takes 30 or more.
SOON = 10.0
DRAIN = 4.0


def is_about(row: Row, test: str) -> bool:
    """Whether a test without a column is about this server, too."""
    return {
        "test_a_client_that_leaves_sanic_before_the_response": row.command[0] == "sanic",
        "test_weird_bytes_lose_nothing": not row.is_http2,
        "test_a_second_sigterm_ends_the_drain": row.expected("drain") == "yes",
    }.get(test, True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" not in metafunc.fixturenames:
        return
    names = [name for name, row in ROWS.items() if is_about(row, metafunc.function.__name__)]
    # One process of pytest-xdist has all tests of a row, which share a server.
    rows = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]
    metafunc.parametrize("name", rows, scope="module")


@pytest.fixture(scope="module")
def row(name: str) -> Row:
    return ROWS[name]


@pytest.fixture(scope="module")
def server(row: Row, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests that leave it well."""
    server = Server(row, tmp_path_factory.mktemp("served"))
    yield server
    server.close()


@pytest.fixture
def start(row: Row, tmp_path: Path) -> Iterator[Start]:
    """Starts one that the test may do anything to."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, **environ: str) -> Server:
            server = Server(row, tmp_path, *options, **environ)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def see(name: str, row: Row) -> Callable[[str, str], None]:
    """Takes what was seen of a column: it must be what is expected, and what the page has."""

    def see(column: str, value: str = "yes") -> None:
        assert value == row.expected(column), column
        if os.environ.get(WRITE):
            write_cell(name, column)
        known = {cells[0]: cells[1:] for cells in page_rows()}
        assert known[name][COLUMNS.index(column)] == row.cell(column), REMEDY

    return see


def page_rows() -> list[list[str]]:
    return pages.rows(pages.between(PAGE.read_text(encoding="utf-8"), "matrix")[1])


def test_the_page_has_these_rows_and_their_footnotes() -> None:
    assert os.environ.get(WRITE) or [cells[0] for cells in page_rows()] == [*ROWS], REMEDY
    notes = [note for row in ROWS.values() for _, note in row.but.values()]
    assert set(notes) == set(re.findall(r"^\[\^([\w-]+)\]:", PAGE.read_text("utf-8"), re.MULTILINE))


# --- endpoints, ids, summaries -------------------------------------------------------------------


def test_endpoints(server: Server, row: Row, see: Any) -> None:
    heartbeat = b'{"status":"ok","checks":{"good":"ok","sync":"ok"},"details":{}}'
    expected = {
        "/__version__": b'{"version": "1"}', "/__heartbeat__": heartbeat, "/__lbheartbeat__": b"",
    }  # fmt: skip
    for path, body in expected.items():
        get = server.get(path)
        assert (get.status, get.body) == (200, body)
        slash = server.get(path + "/")
        assert (slash.status, slash.body) == (200, body)
        head = server.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        names = [{name.lower() for name in answer.headers} for answer in (head, get)]
        if row.command[:2] == ["django", "runserver"] and not body:
            names = [{*found, "content-length"} for found in names]  # Django removes it if it is 0
        assert names[0] == names[1]
        assert get.headers["Content-Length"] == str(len(body))
        assert head.headers.get("Content-Length", "0") == get.headers["Content-Length"]
        post = server.request("POST", path)
        assert (post.status, post.headers["Allow"]) == (405, "GET, HEAD")
        assert post.json()
    see("endpoints")


def test_request_ids(server: Server, see: Any) -> None:
    """Those that came, and those that are made: sent back once, the same in each line."""
    sent = {"/": "abc-1", "/stream": "abc-2"}
    for path, given in [*sent.items(), *((path, None) for path in sent)]:
        response = server.get(path, **{"X-Request-ID": given} if given else {})
        [rid] = response.headers.get_all("X-Request-ID")
        assert rid == (given or rid)
        assert rid
        assert server.summary(rid)["Fields"]["path"] == path
        lines = [line for line in server.app_lines(path) if line["Fields"].get("rid") == rid]
        assert lines
    for path in sent:
        rids = {line["Fields"].get("rid") for line in server.app_lines(path)}
        assert None not in rids
    see("request id")


def test_one_summary(server: Server, see: Any) -> None:
    expected = {
        "/": (200, 0, 6), "/stream": (200, 0, 6), "/nowhere": (404, 0, 6), "/fail": (500, 500, 3),
    }  # fmt: skip
    sent = {f"one-{number}": path for number, path in enumerate(expected)}
    for rid, path in sent.items():
        try:
            response = server.get(path, X_Request_ID=rid)
        except http.client.RemoteDisconnected:
            assert (server.command[0], path) == ("uwsgi", "/fail")
        else:
            assert response.status == expected[path][0]
            assert path != "/stream" or response.body == b"one two three"
    for rid, path in sent.items():
        line = server.summary(rid)
        fields = line["Fields"]
        assert (fields["code"], fields["errno"], line["Severity"]) == expected[path]
        assert (fields["path"], fields["method"]) == (path, "GET")
        assert fields.get("msg") == ("100% broken" if path == "/fail" else None)
    # By now a second one would be there.
    for rid in sent:
        assert server.summary(rid)
    see("summaries")


def test_weird_bytes_lose_nothing(server: Server) -> None:
    for line, header in [
        (b"GET /%ff%fe%00%0a HTTP/1.1", b"X-Request-ID: \xff\xfe"),
        (b"GET /\xff\xfe HTTP/1.1", b"X-Request-ID: a b"),
        (b"GET / HTTP/1.1", b"X-Request-ID: " + b"x" * 1000),
        (b"GET /a?%ff=\xe4 HTTP/1.1", b"User-Agent: \xe4\xff"),
    ]:
        answer = server.send(line + b"\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        head = answer.partition(b"\r\n\r\n")[0]
        ids = head.lower().count(b"x-request-id:")
        if head[9:12] == b"400":  # from the server itself: only Sanic's is the app too
            assert ids <= 1
            continue
        assert head[9:12] in (b"200", b"404")
        assert ids == 1
    assert server.get("/__lbheartbeat__").status == 200  # and every line is strict JSON


# --- clients that leave --------------------------------------------------------------------------


def summaries(server: Server, path: str) -> list[tuple[int, int, int]]:
    """Return code, errno and severity of the summaries of a path."""
    lines = [line for line in server.lines() if line["Type"] == "request.summary"]
    found = [(line["Fields"], line["Severity"]) for line in lines if line["Fields"]["path"] == path]
    return [(fields["code"], fields["errno"], severity) for fields, severity in found]


def test_a_client_that_leaves_its_upload(server: Server, row: Row, see: Any) -> None:
    is_called = row.expected("client leaves its upload") != "–"
    with server.unfinished("POST", "/upload", b"x" * 1000), contextlib.suppress(AssertionError):
        # The app reads. Some servers first read the whole body themselves.
        server.wait_for(lambda: server.app_lines("/upload"), "a call", PATIENCE if is_called else 1)
    if is_called:
        server.wait_for(lambda: summaries(server, "/upload"), "a summary")
    assert server.get("/").status == 200
    found = summaries(server, "/upload")
    values = {(499, 0, 6): "yes", (200, 0, 6): "200"}
    see("client leaves its upload", ", ".join(values.get(each, str(each)) for each in found) or "–")


def test_a_client_that_leaves_the_response(server: Server, row: Row, see: Any) -> None:
    tracebacks = server.output().count("Traceback")
    with server.unfinished("GET", "/endless"):
        server.wait_for(lambda: server.app_lines("/endless"), "the response")
    server.wait_for(lambda: summaries(server, "/endless"), "a summary")
    assert server.get("/").status == 200
    found = summaries(server, "/endless")
    assert found == [(206, 0, 6)]
    assert server.output().count("Traceback") == tracebacks
    see("client leaves the response")


def test_a_client_that_leaves_sanic_before_the_response(server: Server) -> None:
    with server.unfinished("GET", "/late"):
        server.wait_for(lambda: server.app_lines("/late"), "the request")
    assert server.wait_for(lambda: summaries(server, "/late")) == [(499, 0, 6)]


# --- checks --------------------------------------------------------------------------------------


def seconds_to_end(server: Server) -> float:
    asked = time.monotonic()
    server.stop()
    return time.monotonic() - asked


def test_broken_checks_and_sigterm(start: Start, row: Row, see: Any) -> None:
    """They are reported in time, harm nothing, and don't keep the server from ending."""
    server = start(BROKEN="1", DOCKERFLOW_CHECK_TIMEOUT="0.5", DOCKERFLOW_HEARTBEAT_TIMEOUT="8")
    raised, hung = ["dockerflow.checks.E001"], ["dockerflow.checks.E002"]
    pids = server.pids(row.workers)
    for _ in range(2):
        asked = time.monotonic()
        response = server.get("/__heartbeat__")
        assert time.monotonic() - asked < 8
        assert response.status == 500
        payload = response.json()
        assert (payload["checks"]["good"], payload["checks"]["sync"]) == ("ok", "ok")
        ids = {name: [*detail["messages"]] for name, detail in payload["details"].items()}
        assert ids == {
            "hung": hung, "hung_async": hung, "exits": raised, "exits_async": raised,
            "crashes": raised, "crashes_async": raised,
        }  # fmt: skip
    assert server.pids(row.workers) == pids
    see("broken checks")
    asked = time.monotonic()
    server.process.terminate()
    with contextlib.suppress(services.subprocess.TimeoutExpired):
        server.process.wait(SOON)
    see("SIGTERM", "no" if server.process.poll() is None else "yes")


# --- SIGTERM -------------------------------------------------------------------------------------


def test_drain_under_load(start: Start, row: Row, see: Any) -> None:
    """After SIGTERM only the heartbeat changes, until load balancers have had their time."""
    server = start(DOCKERFLOW_DRAIN_SECONDS=str(DRAIN))
    server.pids(row.workers)
    if row.expected("drain") == "no":
        assert server.get("/__heartbeat__").status == 200
        warnings = [line for line in server.lines() if "drain_seconds" in str(line["Fields"])]
        assert warnings, server.output()
        server.stop()
        see("drain", "no")
        return
    stop = threading.Event()
    answers: list[tuple[str, Any]] = []

    def load(path: str) -> None:
        while not stop.wait(0.01):
            try:
                answers.append((path, server.get(path).status))
            except OSError as error:
                answers.append((path, error))

    paths = ("/", "/__lbheartbeat__", "/stream")
    threads = [threading.Thread(target=load, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        assert server.get("/__heartbeat__").status == 200
        asked = time.monotonic()
        server.process.terminate()
        server.wait_for(lambda: server.get("/__heartbeat__").status == 503)
        before = len(answers)
        services.wait_for(lambda: time.monotonic() > asked + DRAIN / 2, "half of the drain")
        responses = [server.get("/__heartbeat__") for _ in range(4 * row.workers)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {(path, 200) for path in paths}
    assert len(answers) > before
    for response in responses:
        assert (response.status, response.json()["checks"]) == (503, {"drain": "error"})
    # Sanic's handler may interrupt its manager in the middle of a message, which then fails.
    codes = (0, -signal.SIGTERM, 1) if row.command[0] == "sanic" else (0, -signal.SIGTERM)
    assert server.process.wait(PATIENCE) in codes
    assert time.monotonic() - asked > DRAIN * 0.9
    see("drain")


def test_a_second_sigterm_ends_the_drain(start: Start, row: Row) -> None:
    server = start(DOCKERFLOW_DRAIN_SECONDS="60")
    server.pids(row.workers)
    server.process.terminate()
    server.wait_for(lambda: server.get("/__heartbeat__").status == 503)
    time.sleep(1)  # until each worker has the first one
    os.killpg(server.process.pid, signal.SIGTERM)  # as gunicorn passes on the first one only
    server.process.wait(PATIENCE / 2)


# --- processes -----------------------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_reload(start: Start, row: Row, see: Any) -> None:
    """New processes check, and make ids and summaries as the first ones did."""
    if row.reload is None:
        see("reload", "–")
        return

    def is_replaced() -> bool:  # some servers start the new ones before they end the old ones
        return not any(map(is_alive, old)) and bool(server.pids())

    by_signal = isinstance(row.reload, signal.Signals)
    server = start(*(() if by_signal else row.reload))
    old = server.pids(row.workers)
    if by_signal:
        server.process.send_signal(row.reload)
    else:
        here = server.folder / "here.py"
        here.write_text(here.read_text() + "\n")
        with contextlib.suppress(AssertionError):
            server.wait_for(is_replaced, "new processes", 20)
        if any(map(is_alive, old)):  # what watches the files had not begun yet
            here.write_text(here.read_text() + "\n")
    server.wait_for(is_replaced, "new processes")
    assert server.get("/__heartbeat__").status == 200
    response = server.get("/")
    assert int(response.body) not in old
    assert server.summary(response.headers["X-Request-ID"])["Pid"] == int(response.body)
    see("reload")


def test_workers(start: Start, row: Row, see: Any) -> None:
    """Each has ids of its own, its own process id in its lines, and runs the checks."""
    if row.workers == 1:
        see("workers", "–")
        return
    server = start()
    served: list[tuple[str, int]] = []

    def all_did() -> bool:
        answer = server.get("/")
        served.append((answer.headers["X-Request-ID"], int(answer.body)))
        return len({pid for _, pid in served}) == row.workers

    for _ in range(100):
        all_did()
    server.wait_for(all_did, "an answer of each worker")
    assert len({rid for rid, _ in served}) == len(served)
    for kind in ("app", "request.summary"):

        def logged(kind: str = kind) -> set[tuple[str, int]]:
            lines = [line for line in server.lines() if line["Type"] == kind]
            return {(line["Fields"].get("rid"), line["Pid"]) for line in lines}

        server.wait_for(lambda: {*served} <= logged(), f"a line of {kind} for each request", 20)
    for _ in range(4 * row.workers):
        answer = server.get("/__heartbeat__")
        assert (answer.status, answer.json()["checks"]) == (200, {"good": "ok", "sync": "ok"})
    see("workers")
