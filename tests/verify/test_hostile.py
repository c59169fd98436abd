"""Subjects that don't behave: each ends in a verdict in time, and nothing of it is left."""

from __future__ import annotations

import os
import re
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil
import pytest
from verify_helpers import failed, findings, with_status

from dockerflow.cli.verify import _exit_on_sigterm
from dockerflow.verify.probes import Targets
from dockerflow.verify.process import Process, started
from dockerflow.verify.run import verify

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path_factory, monkeypatch) -> Iterator[None]:
    # A temporary folder for this test alone, since others run at the same time.
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    children = set(psutil.Process().children(recursive=True))
    threads = threading.active_count()
    yield
    end = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    assert set(psutil.Process().children(recursive=True)) <= children
    assert not list(temporary.glob("dockerflow-verify*"))


closed = threading.Event()


@contextmanager
def server(answer) -> Iterator[str]:
    closed.clear()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.recv(65536)
                answer(self.request)
            except OSError:
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            closed.set()
            listening.shutdown()
            thread.join()


def forever(sock: socket.socket, data: bytes, pause: float = 0.0) -> None:
    while not closed.wait(pause):
        sock.sendall(data)


def gigabyte(sock: socket.socket) -> None:
    sock.sendall(HEAD + b"Content-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        sock.sendall(b"x" * (1 << 20))


ANSWERS = {
    "never": lambda s: closed.wait(60),
    "drips headers": lambda s: forever(s, b"X", 0.05) if s.sendall(HEAD) is None else None,
    "endless headers": lambda s: s.sendall(HEAD) or forever(s, b"X-A: b\r\n"),
    "endless body": lambda s: s.sendall(HEAD + b"\r\n") or forever(s, b"x" * 65536),
    "drips a body": lambda s: s.sendall(HEAD + b"\r\n") or forever(s, b"x", 0.05),
    "a gigabyte": gigabyte,
    "chunks without end": lambda s: (
        s.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") or forever(s, b"1\r\nx\r\n", 0.01)
    ),
    "less than it said": lambda s: s.sendall(HEAD + b"Content-Length: 100\r\n\r\nx"),
    "no HTTP": lambda s: s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "binary": lambda s: s.sendall(os.urandom(1000)),
    "closes": lambda s: s.close(),
    "redirects to itself": lambda s: s.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: /__version__\r\nContent-Length: 0\r\n\r\n"
    ),
    "status 99": lambda s: s.sendall(b"HTTP/1.1 99 What\r\nContent-Length: 0\r\n\r\n"),
    "wrong gzip": lambda s: s.sendall(
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name):
    before = psutil.Process().memory_info().rss
    started = time.monotonic()
    with server(ANSWERS[name]) as url:
        report = verify(Targets(url=url, timeout=0.2, limit=5))
    assert time.monotonic() - started < 15
    assert "DF106" in failed(report)
    assert report.exit_code == 1
    assert psutil.Process().memory_info().rss - before < 200 << 20


def test_a_connection_that_is_reset():
    def reset(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    with server(reset) as url:
        report = verify(Targets(url=url, timeout=5, limit=5), selected=frozenset({"DF110"}))
    ((finding,),) = (verdict.findings for verdict in report.verdicts)
    assert "the server reset the connection, not HTTP 200" in finding.message


def test_all_requests_together_have_a_limit():
    started = time.monotonic()
    with server(lambda s: closed.wait(60)) as url:
        report = verify(Targets(url=url, timeout=10, limit=0.3))
    assert time.monotonic() - started < 5
    assert report.exit_code == 1


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        report = verify(Targets(url=url))
        assert report.exit_code == 2
        assert url in report.could_not_run[0]
        assert report.could_not_run[0].endswith("; --wait gives it time to start")
        assert {v.status for v in report.verdicts} == {"not checked"}
        assert verify(Targets(url="http://nowhere.invalid")).exit_code == 2


def python(code: str, **options) -> tuple[Targets, str]:
    options.setdefault("timeout", 1)
    return Targets(command=(sys.executable, "-c", code), **options)


SERVE = """
import http.server, os, signal, subprocess, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
"""


def left(marker: str) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if marker in line and process.pid != os.getpid():
            found.append(line)
    return found


def test_daemons_that_leave_the_session_are_ended():
    marker = f"marker-{os.getpid()}"
    code = SERVE + (
        f"code = 'import os, time; os.setsid(); os.fork() and os._exit(0); time.sleep(600)'\n"
        f"subprocess.Popen([sys.executable, '-c', code, {marker!r}], env={{}}, close_fds=True).wait()\n"
        "server.serve_forever()"
    )
    report = verify(python(code))
    assert report.could_not_run == []
    assert left(marker) == []
    assert "DF301" in failed(report)


@pytest.mark.parametrize(("workers", "status"), [(1, "passed"), (2, "failed")])
def test_a_master_and_its_only_worker_count_as_one(workers, status):
    code = SERVE + (
        f"for _ in range({workers}):\n if not os.fork(): server.serve_forever()\nsignal.pause()"
    )
    report = verify(python(code))
    assert "DF301" in with_status(report, status)


def test_forks_on_and_on():
    marker = f"fork-{os.getpid()}"
    code = SERVE + (
        "def forks():\n"
        f" for _ in range(60): subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}],"
        " start_new_session=True); time.sleep(.05)\n"
        "threading.Thread(target=forks, daemon=True).start()\n"
        "server.serve_forever()"
    )
    verify(python(code))
    assert left(marker) == []


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_floods_the_log(stream):
    code = SERVE + (
        f"def flood():\n while True: sys.{stream}.write('x' * 1000 + chr(10) * 50)\n"
        "threading.Thread(target=flood, daemon=True).start()\n"
        "server.serve_forever()"
    )
    before = psutil.Process().memory_info().rss
    report = verify(python(code, timeout=10))
    assert report.could_not_run == []
    assert psutil.Process().memory_info().rss - before < 300 << 20


def test_ignores_sigterm():
    code = SERVE + "signal.signal(signal.SIGTERM, signal.SIG_IGN); server.serve_forever()"
    started = time.monotonic()
    report = verify(python(code, grace=0.5))
    assert time.monotonic() - started < 30
    assert "DF116" in failed(report)


def test_stops_itself():
    code = SERVE + "server.handle_request(); os.kill(os.getpid(), signal.SIGSTOP)"
    report = verify(python(code, grace=0.3, timeout=0.3))
    assert report.exit_code == 1


def test_listens_on_nothing():
    report = verify(Targets(command=("sleep", "600"), wait=0.3))
    assert report.could_not_run == []
    (finding,) = findings(report, "DF102")
    assert "no port at all" in finding.message


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("false",), "exited with 1 before it listened: it wrote nothing"),
        (("sh", "-c", "echo no such luck >&2; exit 3"), "exited with 3 .*no such luck"),
        (("sh", "-c", "printf %0400d 1 >&2; exit 3"), "exited with 3 .*0001$"),
        (
            (
                "sh",
                "-c",
                """echo '{"Severity": 3, "Fields": {"msg": "no port", "error": "taken"}}'; echo '{"Severity": 6}'; echo bye >&2""",
            ),
            "before it listened: no port: taken$",
        ),
        (
            (
                sys.executable,
                "-c",
                "import sys, traceback\ntry: 1 / 0\nexcept ArithmeticError: traceback.print_exc()\nsys.exit('Bye')",
            ),
            "exited with 1 before it listened: ZeroDivisionError: division by zero$",
        ),
        (("sh", "-c", "echo '[3]'; echo the end"), "before it listened: the end$"),
        (
            ("sh", "-c", """echo '{"Severity": 6, "Fields": {"msg": "bye"}}'"""),
            "before it listened: bye$",
        ),
        (("/nonexistent/app",), "can't be started: No such file or directory"),
        (("/",), "can't be started: Permission denied"),
        (("a\0b",), "can't be started: embedded null byte"),
    ],
)
def test_could_not_run(command, said):
    report = verify(Targets(command=command))
    assert report.exit_code == 2
    (reason,) = report.could_not_run
    assert re.search(said, reason), reason


def test_ends_during_the_requests():
    code = (
        # Whether it listens and whether it responds, then the first request.
        "for _ in range(3): server.handle_request()"
    )
    report = verify(python(f"{SERVE}{code}\ntime.sleep(0.2)", timeout=0.3))
    assert report.exit_code == 2
    assert "exited with 0 during HEAD /__lbheartbeat__: " in report.could_not_run[0]


def test_what_never_responded_is_not_judged():
    """As with gunicorn, which listens before it finds out that the app can't be imported."""
    code = """
import socket, sys
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as server:
    for _ in range(3):  # whether it listens and whether it responds
        server.accept()[0].close()
sys.exit("no module named nope")
"""
    report = verify(python("import os" + code))
    assert report.exit_code == 2
    assert re.search(
        "exited with 1 before it responded: no module named nope$", *report.could_not_run
    )
    assert failed(report) == set()


def test_sigterm_to_the_verifier_ends_what_it_started():
    marker = f"orphan-{os.getpid()}"
    code = "from dockerflow.cli.verify import verify; verify()"
    command = [sys.executable, "-c", "import time; time.sleep(600)", marker]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    end = time.monotonic() + 30
    while not any(
        line[0] == sys.executable and line[-1] == marker and line[1] == "-c" and "sleep" in line[2]
        for line in left(marker)
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 143
    # What is killed may take a moment on a busy machine.
    while left(marker):
        assert time.monotonic() < end + 10
        time.sleep(0.05)


@pytest.mark.parametrize("when", ["start", "end"])
def test_sigterm_in_the_midst_of_a_start_or_an_end(monkeypatch, when):
    """As by chance: the command runs already, or still, and nobody has it in hand."""
    marker = f"midst-{os.getpid()}"
    start, end = subprocess.Popen, Process.kill

    def start_and_signal(*args, **options):
        popen = start(*args, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        return popen

    def signal_and_end(self):
        os.kill(os.getpid(), signal.SIGTERM)
        end(self)

    if when == "start":
        monkeypatch.setattr(subprocess, "Popen", start_and_signal)
    else:
        monkeypatch.setattr(Process, "kill", signal_and_end)
    command = (sys.executable, "-c", "import time; time.sleep(600)", marker)
    with pytest.raises(SystemExit), _exit_on_sigterm(), started(partial(Process, command, {})):
        assert when == "end", "it was asked to end before"
    assert left(marker) == []
