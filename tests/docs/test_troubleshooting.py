"""What docs/troubleshooting.md quotes is what users really see."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys

import pages
import pytest
from markdown_it import MarkdownIt
from services.command import verify

from dockerflow import checks, health
from dockerflow._core import conflict as _beside
from dockerflow.asgi import DockerflowMiddleware as Asgi
from dockerflow.config import Config, ConfigError
from dockerflow.testing import Client
from dockerflow.wsgi import DockerflowMiddleware

PAGE = pages.DOCS / "troubleshooting.md"


def app(environ, start_response):
    start_response("404 Not Found", [])
    return [b"of the app"]


def get(path, *, registry=None, **settings):
    registry = checks.Registry() if registry is None else registry
    with Client(DockerflowMiddleware(app, config=Config(**settings), registry=registry)) as client:
        return client.get(path)


def heartbeat_of(check, **options):
    registry = checks.Registry()
    registry.register(check, name="it", **options)
    return get("/__heartbeat__", registry=registry).body.decode()


def a_wrong_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKERFLOW_CHECK_TIMEOUT", "soon")
    with pytest.raises(ConfigError) as caught:
        Asgi(app)
    return str(caught.value)


def overwritten(monkeypatch, tmp_path):
    import dockerflow

    monkeypatch.delattr(dockerflow, "__version__")
    spec = importlib.util.spec_from_file_location("beside", _beside.__file__)
    with pytest.raises(ImportError) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return str(caught.value)


def not_there(monkeypatch, tmp_path):
    response = get("/__version__", version_path=tmp_path)
    assert response.status == 404
    return f"`/__version__` {response.json()['error']}"


def broken(monkeypatch, tmp_path):
    (tmp_path / "version.json").write_text("{oops", encoding="utf-8")
    response = get("/__version__", version_path=tmp_path)
    assert response.status == 500
    return f"`/__version__` {response.json()['error']}"


def no_app(monkeypatch, tmp_path):
    """Of the app: also with a prefix, and for what is off by default."""
    for path in ("/__lbheartbeat__", "/__error__"):
        response = get(path, path_prefix="/x")
        assert (response.status, response.body) == (404, b"of the app")
    assert get("/__error__").body == b"of the app"
    return "/__lbheartbeat__ /__error__"


def no_checks(monkeypatch, tmp_path):
    return get("/__heartbeat__").body.decode()


def hidden(monkeypatch, tmp_path):
    return get("/__heartbeat__", heartbeat_details="never").body.decode()


def bad_checks(monkeypatch, tmp_path):
    monkeypatch.setattr(logging.getLogger("dockerflow.checks.registry"), "disabled", True)

    def hangs():
        import time

        time.sleep(0.3)

    registry = checks.Registry()
    registry.register(lambda: 1 / 0, name="one")
    registry.register(lambda: None, name="two", requires="one")
    dependent = get("/__heartbeat__", registry=registry).body.decode()
    return dependent + heartbeat_of(hangs, timeout=0.05) + heartbeat_of(lambda: True)


def draining(monkeypatch, tmp_path):
    from dockerflow import drain

    monkeypatch.setattr(drain, "is_draining", lambda: True)
    response = get("/__heartbeat__")
    assert response.status == 503
    return response.body.decode()


def without_the_extra(monkeypatch, tmp_path):
    code = (
        "import sys; sys.modules['click'] = None; from dockerflow import cli; sys.exit(cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "verify"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    return done.stderr


def does_not_start(monkeypatch, tmp_path):
    report = verify("--", sys.executable, "-c", "raise SystemExit('no')")
    return report["could_not_run"][0]


LISTENS_ELSEWHERE = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
server.serve_forever()
"""


def message(rule, code, *options):
    """The message of the rule's only finding on Python code that is started."""
    report = verify("--select", rule, *options, "--", sys.executable, "-c", code)
    (verdict,) = report["rules"]
    (finding,) = verdict["findings"]
    return finding["message"]


def elsewhere(monkeypatch, tmp_path):
    text, _, port = message("DF102", LISTENS_ELSEWHERE, "--wait", "3").partition(" on ")
    return f"{text} on {8000 if port.split()[0].isdigit() else port} instead"


def does_not_listen(monkeypatch, tmp_path):
    return message("DF102", "import time; time.sleep(600)", "--wait", "0.3")


SERVES = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("GET")
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def on_loopback(monkeypatch, tmp_path):
    return message("DF118", SERVES)


def one_page(monkeypatch, tmp_path):
    return message("DF110", SERVES)


def lines_of_others(monkeypatch, tmp_path):
    return message("DF302", "print('x', flush=True);" + SERVES)


SEEN = {
    ("start", 0): a_wrong_setting,
    ("start", 1): overwritten,
    ("endpoints", 0): no_app,
    ("endpoints", 2): not_there,
    ("endpoints", 3): broken,
    ("endpoints", 4): no_app,
    ("heartbeat", 0): no_checks,
    ("heartbeat", 1): hidden,
    ("heartbeat", 2): bad_checks,
    ("heartbeat", 3): bad_checks,
    ("heartbeat", 4): bad_checks,
    ("heartbeat", 5): bad_checks,
    ("heartbeat", 6): draining,
    ("verify", 0): without_the_extra,
    ("verify", 1): does_not_start,
    ("verify", 2): elsewhere,
    ("verify", 3): does_not_listen,
    ("verify", 4): on_loopback,
    ("verify", 5): one_page,
    ("verify", 6): lines_of_others,
}
# What is put around the app is the app's own, and "not checked" is no message.
OTHERS = {("endpoints", 1), ("verify", 7)}


def quoted() -> dict[tuple[str, int], list[str]]:
    text = PAGE.read_text(encoding="utf-8")
    found = {}
    for name in ("start", "endpoints", "heartbeat", "verify"):
        for number, row in enumerate(pages.rows(pages.between(text, name)[1])):
            (inline,) = MarkdownIt().parseInline(row[0])
            found[name, number] = [t.content for t in inline.children if t.type == "code_inline"]
    return found


def test_each_row_is_looked_at():
    assert set(quoted()) == {*SEEN, *OTHERS}


@pytest.mark.parametrize("row", SEEN, ids=str)
def test_what_is_quoted_is_seen(row, monkeypatch, tmp_path):
    seen = SEEN[row](monkeypatch, tmp_path)
    assert quoted()[row]
    for text in quoted()[row]:
        assert text in seen, f"{text!r} isn't in {seen!r}"


def test_ids_are_the_librarys():
    ids = {text for texts in quoted().values() for text in texts if text.startswith("dockerflow.")}
    assert ids <= {value for name, value in vars(health).items() if name.isupper()}
    assert ids
