"""nginx and HAProxy in front of an application, configured as the documentation says."""

import contextlib
import os
import socket
import subprocess
import threading
import wsgiref.simple_server
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import services


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: Any) -> None: ...


class _UnixServer(wsgiref.simple_server.WSGIServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> Any:
        connection, _ = super().get_request()
        return connection, ("local", 0)


@contextlib.contextmanager
def serve(app: Any, path: Path | None = None) -> Iterator[int]:
    """Serve a WSGI application on a free port, which it yields, or on a Unix socket at this path."""
    if path is None:
        server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=_Quiet)
    else:
        server = _UnixServer(str(path), _Quiet)
        server.set_app(app)
        path.chmod(0o666)  # nginx's workers may be another user's
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _proxy(command: list[Any], port: int) -> Iterator[str]:
    process = subprocess.Popen(command)

    def is_open() -> bool:
        assert process.poll() is None
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        services.wait_for(is_open, str(command[0]))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _replace(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def nginx(text: str, folder: Path, **replacements: str) -> Iterator[str]:
    """Run nginx by what the context `http` has, on a free port instead of 8080; yield its URL."""
    [program] = services.find("nginx")
    port = services.free_port()
    text = _replace(text, {"listen 8080": f"listen 127.0.0.1:{port}", **replacements})
    text = text.replace("/var/cache/nginx/", f"{folder}/")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; {user}\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{text}\n}}\n"
    )
    with _proxy([program, "-c", folder / "nginx.conf", "-p", folder], port) as url:
        yield url


@contextlib.contextmanager
def haproxy(text: str, folder: Path, **replacements: str) -> Iterator[str]:
    """Run HAProxy by this configuration, on a free port instead of 8080; yield its URL."""
    [program] = services.find("haproxy")
    port = services.free_port()
    text = _replace(text, {"bind :8080": f"bind 127.0.0.1:{port}", **replacements})
    (folder / "haproxy.cfg").write_text(text)
    with _proxy([program, "-db", "-f", folder / "haproxy.cfg"], port) as url:
        yield url
