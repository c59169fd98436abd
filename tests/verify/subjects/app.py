"""A sound app of the standard library alone; MUTANT in the environment breaks one thing.

So does the first part of a path: /mutant=no-head/__version__ is what that mutant answers.
RECORDED has responses to give instead: {"GET /path": [status, headers, body]} in JSON.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MUTANT = os.environ.get("MUTANT", "")
RECORDED = json.loads(os.environ.get("RECORDED", "{}"))
VERSION = {
    "source": "https://example.org/app",
    "version": "1.0",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "build": "https://example.org/builds/1",
}
PAGE = (
    b"<html><head><link rel=stylesheet href=style.css></head><img src='http://other.test/x'></html>"
)


def log(type_: str, **fields: object) -> None:
    line = {
        "Timestamp": time.time_ns(),
        "Type": type_,
        "Logger": "subject",
        "Hostname": "host",
        "EnvVersion": "2.0",
        "Severity": 6,
        "Pid": os.getpid(),
        "Fields": fields,
    }
    if MUTANT == "no-timestamp":
        del line["Timestamp"]
    if MUTANT == "no-logger":
        del line["Logger"]
    text = f"{type_} {fields}" if MUTANT == "plain-logs" else json.dumps(line)
    if MUTANT == "silent":
        return
    if MUTANT == "log-file":
        print(text, file=FILE, flush=True)
    # One write for a line: threads would come between the text and its end.
    stream = sys.stderr if MUTANT == "stderr" else sys.stdout
    print(text + "\n", end="", file=stream, flush=True)


def database_is_up() -> bool:
    return os.environ.get("DATABASE") != "down" or MUTANT == "ignores-database"


class Handler(BaseHTTPRequestHandler):
    def parse_request(self) -> bool:
        is_valid = super().parse_request()
        self.mutant = MUTANT
        if is_valid and self.path.startswith("/mutant="):
            mutant, slash, path = self.path.removeprefix("/mutant=").partition("/")
            self.mutant, self.path = mutant, slash + path
        return is_valid

    def answer(self, status: int, body: bytes, type_: str = "application/json") -> None:
        if self.mutant == "crashes" and self.path == "/":
            os._exit(3)
        self.send_response(status)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        for number in (1, 2) if self.mutant == "two-request-ids" else (1,):
            self.send_header("X-Request-ID", f"request-{number}")
        if status == 302:
            self.send_header("Location", "https://elsewhere.test/")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        log("request.summary", agent="", errno=0, lang="", method=self.command, path=self.path, t=1)

    def replay(self) -> bool:
        """Give the recorded response, if there is one."""
        if (recorded := RECORDED.get(f"{self.command} {self.path}")) is None:
            return False
        status, headers, body = recorded
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", len(body))]:
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body.encode() if self.command != "HEAD" else b"")
        return True

    def do_GET(self) -> None:
        if not self.replay():
            self.respond()

    def respond(self) -> None:
        mutant = self.mutant
        if self.path == "/__version__":
            body = json.dumps(VERSION).encode()
            if mutant == "other-version":
                body = json.dumps({**VERSION, "version": "0.9"}).encode()
            if mutant == "version-list":
                body = json.dumps([VERSION]).encode()
            if mutant == "version-lacks":
                body = json.dumps(
                    {key: VERSION[key] for key in ("source", "commit", "build")}
                ).encode()
            if mutant == "version-says-nothing":
                body = json.dumps(dict.fromkeys(VERSION, "")).encode()
            self.answer(404 if mutant == "no-version" else 200, body)
        elif self.path == "/__heartbeat__":
            status = 200 if database_is_up() else 500
            status = {"no-heartbeat": 404, "unwell": 503, "heartbeat-redirects": 302}.get(
                mutant, status
            )
            self.answer(status, b'{"status": "ok"}')
        elif self.path == "/__lbheartbeat__":
            status = {"no-lbheartbeat": 404, "lb-302": 302, "unwell": 500}.get(mutant, 200)
            if mutant == "lb-needs-database" and not database_is_up():
                status = 500
            self.answer(status, b"")
        elif self.path == "/":
            self.answer(200, PAGE, "text/html")
        elif self.path == "/style.css":
            self.answer(404 if mutant == "no-static" else 200, b"a{}", "text/css")
        elif self.path == "/slow":
            time.sleep(1.0)
            self.answer(200, b"done")
        else:
            self.answer(404, b"")

    def do_HEAD(self) -> None:
        if self.mutant == "no-head":
            self.answer(501, b"")
        elif not self.replay():
            self.do_GET()

    def do_POST(self) -> None:
        if self.mutant == "post":
            self.do_GET()
        elif not self.replay():
            self.answer(405, b"")

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True


if MUTANT == "deaf":
    log("app.start", msg="deaf")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    sys.exit(signal.sigwait([signal.SIGTERM]) - signal.SIGTERM)
host = "127.0.0.1" if MUTANT == "loopback" else "0.0.0.0"
port = 0 if MUTANT == "any-port" else int(os.environ["PORT"])
server = Server((host, port), Handler)
if MUTANT == "log-file":
    FILE = open(os.environ["LOG_FILE"], "a")  # noqa: SIM115 - for as long as it runs
if MUTANT == "two-processes":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if MUTANT == "dies-without-database" and not database_is_up():
    sys.exit("no database")


def stop(*_: object) -> None:
    if MUTANT == "drops-requests":
        os._exit(0)
    if MUTANT != "ignores-sigterm":
        threading.Thread(target=server.shutdown).start()


signal.signal(signal.SIGTERM, stop)
log("app.start", msg="listening")
server.serve_forever(0.02)
server.server_close()
