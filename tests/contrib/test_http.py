import asyncio
import datetime as dt
import http.server
import os
import socket
import ssl
import threading
import time

import pytest

pytest.importorskip("httpx2")

import httpx
import httpx2
import services

from dockerflow import health
from dockerflow.checks import contrib
from dockerflow.checks.contrib import _http


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self):
        super().setup()
        type(self).connections += 1

    def do_GET(self):
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/")
        elif self.path == "/silent":
            time.sleep(5)
            self.send_response(200)
        elif self.path == "/endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            except OSError:
                self.close_connection = True
                return
        elif self.path == "/once":  # closes the connection that it said it would keep
            self.send_response(200)
            self.close_connection = True
        elif self.path == "/broken":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
            self.close_connection = True
            return
        else:
            self.send_response(503 if self.path == "/down" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass


def serve(context=None):
    handler = type("Handler", (Handler,), {"connections": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients of these tests go away
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture
def server():
    server = serve()
    yield server
    server.shutdown()
    server.server_close()


CLIENTS = {
    "sync": httpx2.Client, "async": httpx2.AsyncClient,
    "httpx sync": httpx.Client, "httpx async": httpx.AsyncClient,
}  # fmt: skip
KINDS = ["own", *CLIENTS]


def ask(kind, url, times=1, verify=True, client_options=None, **options):
    """Run the check with its own client or with one of the caller's; give the last message."""
    client_options = {"timeout": 5, "verify": verify, **(client_options or {})}
    if "async" in kind:

        async def main():
            async with CLIENTS[kind](**client_options) as client:
                check = contrib.http(url, client=client, **options)
                return [await check() for _ in range(times)][-1]

        return asyncio.run(main())
    if kind != "own":
        with CLIENTS[kind](**client_options) as client:
            check = contrib.http(url, client=client, **options)
            return [check() for _ in range(times)][-1]
    check = contrib.http(url, **options)
    try:
        return [check() for _ in range(times)][-1]
    finally:
        # The check keeps its client as long as the process lives.
        _http._own_client(check.args[0], os.getpid()).close()
        _http._own_client.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_answers(server, kind):
    url = f"http://127.0.0.1:{server.server_port}"
    assert ask(kind, url + "/", times=5) is None
    assert server.RequestHandlerClass.connections == 1  # one client, and one connection kept
    assert ask(kind, url + "/once", times=3) is None
    assert ask(kind, url + "/endless") is None
    assert ask(kind, url + "/", method="HEAD") is None
    assert ask(kind, url + "/down").id == health.ERROR_HTTP_STATUS
    assert ask(kind, url + "/down", expected=503) is None
    assert ask(kind, url + "/redirect").id == health.ERROR_HTTP_STATUS
    assert ask(kind, url + "/redirect", expected={301, 302}) is None
    assert ask(kind, url + "/broken").id == health.ERROR_HTTP_EXCEPTION


def test_a_client_that_follows_redirects_does(server):
    url = f"http://127.0.0.1:{server.server_port}/redirect"
    assert ask("sync", url, client_options={"follow_redirects": True}) is None


def test_no_answer_in_time(server):
    url = f"http://127.0.0.1:{server.server_port}/silent"
    assert ask("own", url, timeout=0.2).id == health.ERROR_HTTP_TIMED_OUT
    for kind in CLIENTS:
        message = ask(kind, url, client_options={"timeout": 0.2})
        assert message.id == health.ERROR_HTTP_TIMED_OUT


@pytest.mark.parametrize("kind", KINDS)
def test_cannot_connect(kind, caplog):
    url = f"http://user:s3cret@127.0.0.1:{services.free_port()}/path?token=s3cret"
    message = ask(kind, url)
    assert message.id == health.ERROR_CANNOT_CONNECT_HTTP
    assert "127.0.0.1" not in message.msg
    assert "http://127.0.0.1/path" in caplog.messages[0] if caplog.messages else True
    assert "s3cret" not in " ".join(
        r.getMessage() for r in caplog.records if r.name.startswith("dockerflow")
    )


@pytest.fixture
def authority():
    return pytest.importorskip("trustme").CA()


def tls_server(authority, days):
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    start = end - dt.timedelta(days=400)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_before=start, not_after=end).configure_cert(context)
    return serve(context)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("days", "options", "id_"),
    [
        (60, {}, None),
        (13, {}, health.WARNING_CERTIFICATE_EXPIRES),
        (13, {"certificate_days": 7}, None),
        (-1, {}, health.ERROR_HTTP_CERTIFICATE),
    ],
)
def test_certificate(authority, kind, days, options, id_):
    server = tls_server(authority, days)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    try:
        message = ask(kind, f"https://localhost:{server.server_port}/", verify=context, **options)
    finally:
        server.shutdown()
        server.server_close()
    assert (message and message.id) == id_
    if id_ == health.WARNING_CERTIFICATE_EXPIRES:
        assert message.msg == "The TLS certificate expires in 12 days."
        assert message.level == 30


def test_unknown_authority(authority):
    server = tls_server(authority, 60)
    message = ask("own", f"https://localhost:{server.server_port}/")
    server.shutdown()
    server.server_close()
    assert message.id == health.ERROR_HTTP_CERTIFICATE


def test_without_verification_the_expiry_is_unknown(authority):
    server = tls_server(authority, 1)
    message = ask("sync", f"https://localhost:{server.server_port}/", verify=False)
    server.shutdown()
    server.server_close()
    assert message is None


def test_tcp(server):
    assert contrib.tcp("127.0.0.1", server.server_port)() is None
    assert contrib.tcp("127.0.0.1", services.free_port())().id == health.ERROR_CANNOT_CONNECT_TCP
    assert contrib.tcp("no-such-host.invalid", 80)().id == health.ERROR_TCP_UNKNOWN_HOST
    assert contrib.tcp("a" * 64 + ".test", 80)().level == 40


def test_tcp_no_connection_in_time():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):  # the queue is full then
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            message = contrib.tcp(*listener.getsockname(), timeout=0.2)()
    assert message.id == health.ERROR_TCP_TIMED_OUT
