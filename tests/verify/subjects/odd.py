"""An app that is sound but for what its argument names; the standard library alone."""

import gzip
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODE = sys.argv[1]
BROKEN = os.environ.get("DATABASE") == "down"
VERSION = (Path(__file__).parent / "version.json").read_bytes()
PAGE = b"<html><title>App</title><script nonce=%x></script></html>"


class Handler(BaseHTTPRequestHandler):
    def handle_one_request(self) -> None:
        if MODE == "dies-without-database" and BROKEN:
            os._exit(3)
        super().handle_one_request()

    def do_GET(self) -> None:
        status, body, headers = 200, b"", {}
        if self.path == "/__version__":
            body = VERSION
        elif self.path == "/__heartbeat__":
            status = 503 if BROKEN else 200
        elif self.path != "/__lbheartbeat__":
            status = 404
        if MODE == "one-page":
            status, body = 200, PAGE % time.time_ns()
        elif MODE == "one-empty-page":
            status, body = 200, b""
        elif MODE == "gzip":
            body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        elif MODE == "refuses-host":
            status, body = 400, b"Bad Request: unknown host\n"
        elif MODE == "refuses-host-page":
            status, body = 400, b"<html>\n<title>DisallowedHost at /</title>"
        elif MODE == "needs-headers" and (
            self.headers["Authorization"] != "Bearer s3cret" or self.headers["X-Team"] != "web=1"
        ):
            status = 401
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        if MODE == "dies" and self.path == "/__version__":
            os._exit(7)
        self.do_GET()

    def log_message(self, *_: object) -> None:
        names = {"Type": "a", "Logger": "odd", "Hostname": "h", "EnvVersion": "2.0"}
        line = {"Timestamp": time.time_ns(), **names, "Fields": {"msg": self.path}}
        print(json.dumps(line), flush=True)

    def address_string(self) -> str:
        return "client"


class Metrics(Handler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"requests_total 7\n")


def stop(*_: object) -> None:
    if "STOPPED" in os.environ:
        with open(os.environ["STOPPED"], "a") as file:
            file.write("stopped\n")
    os._exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if MODE == "ignores-sigterm" else stop)
port = int(os.environ["PORT"])
if MODE == "waits-for-database" and BROKEN:
    time.sleep(600)
if MODE == "other-port":
    port = 0
if MODE == "metrics-first":
    metrics = ThreadingHTTPServer(("0.0.0.0", 0), Metrics)
    threading.Thread(target=metrics.serve_forever, daemon=True).start()
    time.sleep(2)
if MODE == "closes-first":  # as an engine's port, behind which the app isn't there yet
    with socket.create_server(("0.0.0.0", port)) as early:
        early.settimeout(0.1)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            with suppress(TimeoutError):
                early.accept()[0].close()
if MODE == "unix":

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)

    Server(os.environ["SOCKET"], Handler).serve_forever(0.02)
host = "127.0.0.2" if MODE == "one-address" else "0.0.0.0"
ThreadingHTTPServer((host, port), Handler).serve_forever(0.02)
