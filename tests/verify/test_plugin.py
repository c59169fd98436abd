"""The pytest plugin and the verification in process."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from verify_helpers import VERSION, with_status

from dockerflow.verify import pytest_plugin
from dockerflow.verify.inprocess import DockerflowApp

pytest_plugins = ["pytester"]

SOUND = f"""
from dockerflow.asgi import DockerflowMiddleware as Asgi
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.wsgi import DockerflowMiddleware as Wsgi

registry = Registry()
config = Config(version_path={str(VERSION)!r})

async def bare_asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    await send({{"type": "http.response.start", "status": 404, "headers": []}})
    await send({{"type": "http.response.body", "body": b""}})

def bare_wsgi(environ, start_response):
    start_response("404 Not Found", [])
    return [b""]

asgi = Asgi(bare_asgi, config=config, registry=registry)
wsgi = Wsgi(bare_wsgi, config=config, registry=registry)
"""
USE = "def test_dockerflow(dockerflow_app):\n    dockerflow_app.verify()\n"


@pytest.fixture
def suite(pytester, monkeypatch):
    """Runs a test file with the app's module beside it, and this plugin only."""
    pytester.makepyfile(theapp=SOUND)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(test: str, ini: str = "") -> pytest.RunResult:
        pytester.makeini(f"[pytest]\npythonpath = .\nfilterwarnings = error\n{ini}\n")
        pytester.makepyfile(test_it=test)
        return pytester.runpytest_inprocess("-p", "dockerflow.verify.pytest_plugin")

    return run


def test_the_plugin_is_installed():
    (entry,) = metadata.entry_points(group="pytest11", name="dockerflow")
    assert entry.load() is pytest_plugin


def test_a_sound_app_passes_in_a_suite(suite):
    suite(USE, "dockerflow_app = theapp:asgi").assert_outcomes(passed=1)


def test_a_broken_app_fails_with_the_rule_ids(suite):
    result = suite(USE, "dockerflow_app = theapp:bare_asgi")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: Dockerflow: DF106, DF108, DF110*"])
    result.stdout.fnmatch_lines(["*GET /__heartbeat__: HTTP 404, not HTTP 200 or 5xx*"])


def test_the_fixture_can_be_overridden(suite):
    suite(
        "import pytest, theapp\n"
        "@pytest.fixture\n"
        "def dockerflow_target():\n    return theapp.wsgi\n"
        + USE
        + "def test_client(dockerflow_app):\n"
        "    assert dockerflow_app.client.get('/__lbheartbeat__').status == 200\n"
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("ini", "said"),
    [
        ("", "*Which application should be verified? Set dockerflow_app = module:attribute*"),
        ("dockerflow_app = theapp", "*dockerflow_app = theapp: must be module:attribute*"),
        ("dockerflow_app = theapp:none", "*module 'theapp' has no attribute 'none'*"),
        ("dockerflow_app = nowhere:app", "*No module named 'nowhere'*"),
    ],
)
def test_no_application(suite, ini, said):
    result = suite(USE, ini)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


def test_other_suites_pay_nothing():
    code = (
        "import sys, pytest, pkgutil\n"
        "before = set(sys.modules)\n"
        "import dockerflow.verify.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [
        "dockerflow", "dockerflow.verify", "dockerflow.verify.pytest_plugin",
    ]  # fmt: skip


@pytest.fixture
def app(tmp_path, monkeypatch):
    (tmp_path / "theapp.py").write_text(SOUND)
    monkeypatch.syspath_prepend(tmp_path)
    yield sys.modules.setdefault("theapp", __import__("theapp"))
    del sys.modules["theapp"]


def test_a_sound_app_passes(app):
    for sound in (app.asgi, app.wsgi):
        report = DockerflowApp(sound).verify(version_json=VERSION)
        assert {"DF106", "DF107", "DF108", "DF110"} <= with_status(report, "passed")


def test_what_is_broken_must_show(app):
    subject = DockerflowApp(app.asgi)
    with pytest.raises(AssertionError, match=r"^Dockerflow: DF109\n"):
        subject.verify(broken=True)

    @app.registry.register
    def database() -> None:
        raise ConnectionError("gone")

    assert {"DF109", "DF111"} <= with_status(subject.verify(broken=True), "passed")
    # A heartbeat of 5xx is not a finding.
    assert {"DF108", "DF111"} <= with_status(subject.verify(), "passed")


def test_choices(app, tmp_path):
    subject = DockerflowApp(app.bare_wsgi)
    assert len(subject.verify(select=["df112"]).verdicts) == 1
    subject.verify(ignore=["DF106", "DF108", "DF11"])
    subject.verify(fail_on="never")
    with pytest.raises(AssertionError, match="DF115"):
        subject.verify(static=["/style.css"], select=["DF115"])
    with pytest.raises(ValueError, match="there is no rule 'DF9'"):
        subject.verify(select=["DF9"])
    with pytest.raises(
        ValueError, match="must be one of error, warning, unknown, not-checked, never"
    ):
        subject.verify(fail_on="often")
    other = tmp_path / "other.json"
    other.write_text('{"version": "another"}')
    with pytest.raises(AssertionError, match="DF107"):
        DockerflowApp(app.wsgi).verify(version_json=other, select=["DF107"])


def test_an_app_that_raises(app):
    def raises(environ, start_response):
        raise ValueError("no\x1b[31m way")

    with pytest.raises(AssertionError, match="DF110") as caught:
        DockerflowApp(raises).verify()
    assert "ValueError: no [31m way" in str(caught.value)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_header_that_comes_twice(kind):
    """As one of the app's and one of a middleware's."""
    headers = [("X-Request-ID", "a"), ("x-request-id", "b")]

    async def asgi(scope, receive, send):
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ, start_response):
        start_response("200 OK", headers)
        return [b""]

    with pytest.raises(AssertionError, match=r"X-Request-ID occurs more than once \(a, b\)"):
        DockerflowApp({"asgi": asgi, "wsgi": wsgi}[kind]).verify(select="DF307", fail_on="warning")
