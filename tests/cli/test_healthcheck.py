"""``dockerflow healthcheck``: against servers that answer, and against those that misbehave."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from dockerflow.cli import healthcheck
from dockerflow.cli.healthcheck import HttpProbe, Outcome, main, run_with_timeout

LIMIT = 0.5


class Server:
    """Accepts connections, reads the request, and does with each what ``behave`` does."""

    def __init__(self, behave):
        self.behave = behave
        self.requests = []
        self.stopped = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection, suppress(OSError):
            self.requests.append(connection.recv(65536).decode())
            self.behave(self, connection)

    def close(self):
        self.stopped.set()
        self.socket.close()


@contextmanager
def serving(behave):
    server = Server(behave)
    try:
        yield server
    finally:
        server.close()


def says(data: bytes):
    return lambda server, connection: connection.sendall(data)


def answer(status: str, body: bytes = b"", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


OK = answer("200 OK")


def ask(port, *args, path="/__lbheartbeat__"):
    return main([path, "--port", str(port), *args])


# In its own process, as Docker runs it.


def test_healthy(dockerflow):
    with serving(says(OK)) as server:
        for result in (
            dockerflow.process("healthcheck", PORT=str(server.port)),
            dockerflow("healthcheck", "--port", server.port, PORT="nonsense"),
            dockerflow("healthcheck", f"http://127.0.0.1:{server.port}/__lbheartbeat__"),
        ):
            assert (result.code, result.err) == (0, ""), result
            assert result.out.startswith(
                f"healthy: http://127.0.0.1:{server.port}/__lbheartbeat__ responded with 200 in "
            )
    first = server.requests[0]
    assert first.startswith("GET /__lbheartbeat__ HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in first
    assert len(server.requests) == 3


def test_default_path_has_the_prefix(dockerflow):
    with serving(says(OK)) as server:
        port = str(server.port)
        assert dockerflow("healthcheck", PORT=port, DOCKERFLOW_PATH_PREFIX="/ops/").code == 0
        assert dockerflow("healthcheck", "/x", PORT=port, DOCKERFLOW_PATH_PREFIX="/ops").code == 0
    paths = [request.split()[1] for request in server.requests]
    assert paths == ["/ops/__lbheartbeat__", "/x"]


def test_unix_socket(dockerflow):
    path = dockerflow.folder / "app.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        requests = []

        def serve() -> None:
            for _ in range(3):
                connection, _ = listening.accept()
                with connection:
                    requests.append(connection.recv(65536).decode())
                    connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        result = dockerflow("healthcheck", f"unix:{path}")
        assert result.out.startswith(
            f"healthy: unix:{path}:/__lbheartbeat__ responded with 200 in "
        )
        for target in (f"unix:{path}:/__heartbeat__", "unix:app.sock"):
            result = dockerflow("healthcheck", target, DOCKERFLOW_PATH_PREFIX="/ops")
            assert result.code == 0, result
        thread.join()
    assert [request.split()[1] for request in requests] == [
        "/__lbheartbeat__", "/__heartbeat__", "/ops/__lbheartbeat__",
    ]  # fmt: skip
    assert "\r\nHost: localhost\r\n" in requests[0]
    result = dockerflow("healthcheck", f"unix:{path}")
    assert result.code == 1
    assert result.error.endswith("failed while connecting: Connection refused")


def test_unhealthy_says_which_checks_fail(dockerflow):
    checks = {"database": "error", "cache": "ok", "search\n": "warning"}
    body = json.dumps({"status": "error", "checks": checks, "details": {}}).encode()
    with serving(says(answer("500 Oh", body))) as server:
        result = dockerflow("healthcheck", "/__heartbeat__", "--port", server.port)
    assert (result.code, result.out) == (1, "")
    assert result.error == (
        f"unhealthy: http://127.0.0.1:{server.port}/__heartbeat__ "
        "responded with 500: database error, search? warning"
    )


def test_the_secret_goes_to_a_heartbeat_of_this_machine_only(monkeypatch):
    secret = "correct-horse-battery"
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_SECRET", secret)
    header = f"Authorization: Bearer {secret}"
    with serving(says(answer("200 OK"))) as server:
        for path in ("/__heartbeat__", "/__heartbeat__/ready", "/x/__heartbeat__/"):
            assert main([path, "--port", str(server.port)]) == 0
            assert header in server.requests.pop()
        for target in (
            f"http://127.0.0.1:{server.port}/__lbheartbeat__",
            f"http://127.0.0.1:{server.port}/health",
            f"http://127.1:{server.port}/__heartbeat__",
        ):
            assert main([target]) == 0
            assert secret not in server.requests.pop()
        monkeypatch.delenv("DOCKERFLOW_HEARTBEAT_SECRET")
        assert main(["/__heartbeat__", "--port", str(server.port)]) == 0
        assert "Authorization" not in server.requests.pop()


def test_a_wrong_secret_is_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_SECRET", "correct-horse\nbattery-staple")
    with serving(says(answer("200 OK"))) as server:
        assert main(["/__heartbeat__", "--port", str(server.port)]) == 1
    err = capsys.readouterr().err
    assert "DOCKERFLOW_HEARTBEAT_SECRET must be at least 16" in err
    assert "battery" not in err


def test_nobody_listens(dockerflow):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = dockerflow.process("healthcheck", PORT=str(port))
    assert result.code == 1
    assert result.error.endswith(" failed while connecting: Connection refused")


def test_a_server_that_never_answers_keeps_no_process(dockerflow):
    with serving(lambda server, _: server.stopped.wait(60)) as server:
        started = time.monotonic()
        result = dockerflow.process("healthcheck", "--port", server.port, "--timeout", "0.5")
        assert time.monotonic() - started < 20
    assert result.code == 1
    assert result.error.endswith("took over 0.5 s and was still waiting for the response")


def test_output_closed(dockerflow):
    """The exit code is what counts."""
    with serving(says(OK)) as server:
        code = (
            "import os, subprocess, sys\n"
            "done = subprocess.run([sys.executable, '-m', 'dockerflow', 'healthcheck', '--port',"
            f" '{server.port}'], preexec_fn=lambda: (os.close(1), os.close(2)))\n"
            "sys.exit(done.returncode + 40)"
        )
        assert dockerflow.python(code).code == 40


# The rest needs no process.


def forever(data: bytes):
    def behave(server, connection):
        while not server.stopped.wait(0.02):
            connection.sendall(data)

    return behave


def after(first: bytes, then):
    def behave(server, connection):
        connection.sendall(first)
        then(server, connection)

    return behave


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = {
    "silence": (forever(b""), "waiting for the response"),
    "trickled headers": (after(HEAD, forever(b"a: b\r\n")), "waiting for the response"),
    "continue for ever": (forever(b"HTTP/1.1 100 Continue\r\n\r\n"), "waiting for the response"),
    "body missing": (
        after(HEAD + b"Content-Length: 5\r\n\r\n", forever(b"")),
        "reading the response",
    ),
    "trickled body": (after(HEAD + b"\r\n", forever(b"x")), "reading the response"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_servers(kind, capsys):
    behave, stage = SLOW[kind]
    with serving(behave) as server:
        started = time.monotonic()
        assert ask(server.port, "--timeout", str(LIMIT)) == 1
        seconds = time.monotonic() - started
    assert LIMIT <= seconds < LIMIT + 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(f" took over 0.5 s and was still {stage}\n")


HUGE = 10 << 20
WRONG = {
    "no HTTP": (b"hello\r\n\r\n", "failed while waiting for the response: BadStatusLine: hello"),
    "ssh": (b"SSH-2.0-OpenSSH\r\n", "BadStatusLine: SSH-2.0-OpenSSH"),
    "nothing": (b"", "Remote end closed connection without response"),
    "status without number": (b"HTTP/1.1 OK\r\n\r\n", "BadStatusLine"),
    "status 9999": (b"HTTP/1.1 9999 OK\r\n\r\n", "BadStatusLine"),
    "status 99": (b"HTTP/1.1 99 OK\r\n\r\n", "BadStatusLine"),
    "escapes": (b"\x1b[31m\xff\x00\r\n", "BadStatusLine: ?[31m"),
    "long line": (b"HTTP/1.1 200 " + b"x" * 100_000, "LineTooLong: got more than 65536 bytes"),
    "many headers": (HEAD + b"a: b\r\n" * 1000, "got more than 100 headers"),
    "huge body": (
        HEAD + b"\r\n" + bytes(2 << 20),
        "responded with 200 with a body over 1048576 bytes",
    ),
    "huge chunk": (CHUNKED + b"200000\r\n" + bytes(2 << 20), "a body over 1048576 bytes"),
    "body cut off": (
        HEAD + b"Content-Length: 10\r\n\r\nabc",
        "responded with 200, but the body is shorter than announced",
    ),
    "chunks cut off": (CHUNKED + b"a\r\nabc", "IncompleteRead"),
    "wrong chunks": (CHUNKED + b"zz\r\n", "failed while reading the response"),
    "redirect": (
        answer("302 Found", headers="Location: https://example.com/\x1b\r\n"),
        "responded with 302, a redirect to https://example.com/?, which is not followed",
    ),
    "redirect to nowhere": (answer("301 Moved"), "a redirect to nowhere, which is not followed"),
    "404": (answer("404 Not Found"), "responded with 404"),
    "500 with JSON of another kind": (answer("500 Oh", b"[1]"), "responded with 500"),
    "500 with odd checks": (answer("500 Oh", b'{"checks": ["a"]}'), "responded with 500"),
    "500 with deep JSON": (answer("500 Oh", b"[" * 200_000), "responded with 500"),
    "500 not UTF-8": (answer("500 Oh", b"\xff\xfe{"), "responded with 500"),
    "101": (b"HTTP/1.1 101 Switching\r\n\r\n", "responded with 101"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_answers(kind, capsys):
    data, reason = WRONG[kind]
    with serving(says(data)) as server:
        assert ask(server.port, "--timeout", "30") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"unhealthy: http://127.0.0.1:{server.port}/__lbheartbeat__ ")
    assert reason in err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert len(err) <= healthcheck.MAX_LINE + 1


def test_reset(capsys):
    def reset(_, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serving(reset) as server:
        assert ask(server.port) == 1
    assert "Connection reset by peer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "data",
    [
        OK,
        answer("204 No Content"),
        answer("299 Fine", b"x" * 1000),
        HEAD + b"\r\nuntil the end",
        b"HTTP/1.0 200\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        HEAD + b"\r\n" + bytes(1 << 20),
    ],
    ids=["200", "204", "299", "closed at the end", "HTTP/1.0", "chunked", "100 first", "1 MiB"],
)
def test_good_answers(data, capsys):
    with serving(says(data)) as server:
        assert ask(server.port) == 0
    assert capsys.readouterr().err == ""


def test_a_probe_that_hangs_ends_in_time():
    """Nothing but the thread's end interrupts resolving a name."""

    class Stuck(HttpProbe):
        def run(self, timeout):
            self.stage = "stuck"
            release.wait(60)

    release = threading.Event()
    outcome = run_with_timeout(Stuck("http://x/"), 0.1)
    release.set()
    assert outcome == Outcome(False, "took over 0.1 s and was still stuck")


def test_a_long_url_does_not_hide_the_reason(capsys):
    with serving(says(answer("503 No"))) as server:
        assert ask(server.port, path="/" + "x" * 1000) == 1
    assert capsys.readouterr().err.endswith("xxx responded with 503\n")


def test_odd_paths():
    with serving(says(OK)) as server:
        assert ask(server.port, path="/a b/é?q=ü&r=%20#part") == 0
        assert ask(server.port, path="/a\r\nHost: x") == 0
    assert server.requests[0].startswith("GET /a%20b/%C3%A9?q=%C3%BC&r=%20 HTTP/1.1\r\n")
    assert server.requests[1].startswith("GET /aHost:%20x HTTP/1.1\r\n")


def test_ipv6():
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listening:
        probe = HttpProbe(f"http://[::1]:{listening.getsockname()[1]}/")

        def serve():
            with listening.accept()[0] as connection:
                connection.sendall(OK)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert run_with_timeout(probe, 20).is_healthy
        thread.join(20)


def test_ipv6_has_the_default_port_and_gets_the_secret(monkeypatch, capsys):
    """Port 80 is for root, so the connection is redirected to another one."""
    secret = "correct-horse-battery"
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_SECRET", secret)
    connected = []
    connect = socket.create_connection
    with serving(says(answer("200 OK"))) as server:

        def redirect(address, *args, **options):
            connected.append(address)
            return connect(("127.0.0.1", server.port), *args, **options)

        monkeypatch.setattr(socket, "create_connection", redirect)
        assert main(["http://[::1]/__heartbeat__"]) == 0
        assert f"Authorization: Bearer {secret}" in server.requests.pop()
        assert main(["http://[2001:db8::7]/__heartbeat__"]) == 0
        assert secret not in server.requests.pop()
    assert connected == [("::1", 80), ("2001:db8::7", 80)]


def test_tls(tmp_path, monkeypatch, capsys):
    import ssl

    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            for _ in range(2):
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection, context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(OK)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        assert main([url]) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert main([url]) == 0
        thread.join(20)


# Waiting


def test_wait_until_healthy(capsys):
    answers = iter([b"", answer("503 No"), OK])
    with serving(lambda _, connection: connection.sendall(next(answers))) as server:
        assert ask(server.port, "--wait", "60") == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err == ""
    assert len(server.requests) == 3


def test_wait_ends(capsys):
    with serving(says(answer("503 No"))) as server:
        started = time.monotonic()
        assert ask(server.port, "--wait", "1") == 1
        seconds = time.monotonic() - started
    assert 0.5 < seconds < 6
    assert len(server.requests) > 1
    assert capsys.readouterr().err.endswith(" responded with 503\n")


def test_a_probe_takes_no_longer_than_the_wait():
    """The last one gets the time that is left, not its own timeout."""
    limits = []

    def probe_once(limit):
        limits.append(limit)
        time.sleep(0.3)
        return Outcome(False, "")

    healthcheck.wait(probe_once, 100, 1)
    assert all(limit <= 1 for limit in limits)
    assert limits == sorted(limits, reverse=True)


def test_the_last_probe_has_time(monkeypatch):
    """Else its reason would be that it took over 0 s, instead of what is wrong with the app."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(healthcheck, "time", clock)
    limits = []

    def probe_once(limit):
        limits.append(limit)
        return Outcome(False, "")

    for hundredths in range(1, 200):
        limits.clear()
        clock.now = 0.0
        healthcheck.wait(probe_once, 100, hundredths / 100)
        assert all(limit >= 0.25 for limit in limits[1:])
    assert len(limits) > 5


# Files


def test_file(tmp_path, dockerflow):
    """Also without the extra: a worker's image needs no click."""
    beat = tmp_path / "beat"
    beat.touch()
    code = (
        "import sys; sys.modules['click'] = None; from dockerflow.cli import main\n"
        f"sys.exit(main(['healthcheck', '--file', {str(beat)!r}, '--max-age', '60']))"
    )
    result = dockerflow.python(code)
    assert (result.code, result.err) == (0, ""), result
    assert re.fullmatch(rf"healthy: {beat} is \d+\.\d s old\n", result.out)
    os.utime(beat, (time.time() - 100,) * 2)
    result = dockerflow("healthcheck", "--file", beat, "--max-age", "60")
    assert result.code == 1
    age = re.fullmatch(rf"unhealthy: {beat} is ([\d.]+) s old, over 60 s", result.error)
    assert age, result
    assert 100 <= float(age[1]) < 200


@pytest.mark.parametrize("is_there", [True, False])
def test_file_from_the_future_or_missing(tmp_path, capsys, is_there):
    beat = tmp_path / "beat"
    if is_there:
        beat.touch()
        os.utime(beat, (time.time() + 30,) * 2)
    assert main(["--file", str(beat), "--max-age", "60"]) == 1
    reason = "does not exist, or its time is in the future"
    assert capsys.readouterr().err == f"unhealthy: {beat} {reason}\n"


@pytest.mark.parametrize(("name", "reason"), [("a/b", "Not a directory"), ("a\0b", "ValueError: ")])
def test_no_file_can_be_there(name, reason, tmp_path, capsys):
    (tmp_path / "a").touch()
    assert main(["--file", f"{tmp_path}/{name}", "--max-age", "60"]) == 1
    err = capsys.readouterr().err
    assert f" can't be read: {reason}" in err
    assert err.count("\n") == 1


# Usage: exit code 1, as Docker reserves 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--nope"], "unrecognized arguments: --nope"),
        (["a", "b"], "unrecognized arguments: b"),
        (
            ["nope"],
            "TARGET must be a path that begins with /, an http(s) URL, or unix:PATH, not 'nope'",
        ),
        (["unix:"], "or unix:PATH, not 'unix:'"),
        (["unix:/run/a.sock", "--port", "1"], "--port can only be used with a path"),
        (["ftp://x/"], "or unix:PATH, not 'ftp://x/'"),
        (["http://"], "or unix:PATH, not 'http://'"),
        (["http://[::1/"], "TARGET must be"),
        (["http://x:99999/"], "TARGET must be"),
        (["http://x:0/"], "TARGET must be"),
        (["http://u:hunter2@x/"], "TARGET has a user name or a password"),
        (["http://u:hunter2@x:99999/"], "TARGET has a user name or a password"),
        (["http://u:hunter2/1@x/"], "TARGET has a user name or a password"),
        (["http://u:hunter2@[::1/"], "TARGET has a user name or a password"),
        (["x://u:hunter2@x/"], "TARGET has a user name or a password"),
        (["http://x/", "--port", "1"], "--port can only be used with a path; a URL has its own"),
        (["--port", "0"], "--port: must be a port from 1 to 65535, not '0'"),
        (["--port", "65536"], "--port: must be a port from 1 to 65535, not '65536'"),
        (["--port", "٣"], "--port: must be a port from 1 to 65535, not '٣'"),
        (["--port", "9" * 10000], "must be a port"),
        (["--timeout", "0"], "--timeout: must be a number of seconds greater than 0, not '0'"),
        (["--timeout", "-1"], "--timeout: must be a number of seconds greater than 0, not '-1'"),
        (["--timeout", "nan"], "--timeout: must be a number of seconds greater than 0, not 'nan'"),
        (["--timeout", "inf"], "--timeout: must be a number of seconds greater than 0, not 'inf'"),
        (["--timeout", "abc"], "--timeout: must be a number of seconds greater than 0, not 'abc'"),
        (["--wait", "0"], "--wait: must be a number of seconds greater than 0, not '0'"),
        (["--file", "x"], "--file and --max-age must be given together"),
        (["--max-age", "1"], "--file and --max-age must be given together"),
        (["/x", "--file", "x", "--max-age", "1"], "--file can't be combined with TARGET or --port"),
        (["--port"], "--port: expected one argument"),
    ],
    ids=lambda value: "-".join(value)[:20] if isinstance(value, list) else "",
)
def test_wrong_usage(args, says, capsys):
    with pytest.raises(SystemExit, match="^1$"):
        main(args)
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert "hunter2" not in err
    assert len(err) <= healthcheck.MAX_LINE + 1


@pytest.mark.parametrize("port", ["abc", "0", "tcp://10.0.0.1:80", " 80"])
def test_wrong_port_in_the_environment(port, monkeypatch, capsys):
    monkeypatch.setenv("PORT", port)
    with pytest.raises(SystemExit, match="^1$"):
        main([])
    assert f"$PORT must be a port from 1 to 65535, not {port!r}" in capsys.readouterr().err


def test_empty_port_is_none(monkeypatch):
    monkeypatch.setenv("PORT", "")
    url = "http://127.0.0.1:8000/__lbheartbeat__"
    assert healthcheck.parse_arguments([]).target == url


def test_a_timeout_longer_than_any_clock(monkeypatch):
    with serving(says(OK)) as server:
        assert ask(server.port, "--timeout", "1e300", "--wait", "1e300") == 0


def test_starts_fast(dockerflow):
    """Compared with bare Python, as machines differ: the promise is under 0.15 s."""

    def seconds():  # of the processor, as others may use it at the same time
        return sum(os.times()[2:4])

    def fastest(run):
        times = []
        for _ in range(3):
            started = seconds()
            run()
            times.append(seconds() - started)
        return min(times)

    dockerflow.process("healthcheck", "--port", "1")
    bare = fastest(lambda: dockerflow.python("pass"))
    assert fastest(lambda: dockerflow.process("healthcheck", "--port", "1")) < bare + 0.15
