"""Drain without a server; with real ones see tests/servers/."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from dockerflow import drain
from dockerflow._core.app import Core
from dockerflow._core.messages import Request
from dockerflow.checks import Observation, Registry
from dockerflow.config import Config, ConfigError


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    fresh = drain._State()
    monkeypatch.setattr(drain, "_state", fresh)
    # Servers that other tests run in this process may have left a handler.
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield fresh
    if handler is not None:  # it was installed by Python code
        signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("failed_status_code", [500, 599])
def test_drain(failed_status_code: int) -> None:
    registry = Registry()
    seen: list[Observation] = []
    registry.observe(seen.append)
    registry.register(lambda: pytest.fail("no check is run"), name="check")
    core = Core(Config(heartbeat_failed_status_code=failed_status_code), registry)
    assert not drain.is_draining()
    drain.drain()
    assert drain.is_draining()
    response = core.answer("heartbeat", Request("GET", "/__heartbeat__", "", {}))
    assert response.status == 503
    assert json.loads(response.body) == {
        "status": "error",
        "checks": {"drain": "error"},
        "details": {
            "drain": {
                "status": "error",
                "level": 40,
                "messages": {"dockerflow.checks.E006": "The process is draining and about to exit"},
            }
        },
    }
    for endpoint, method, status in (
        ("heartbeat", "HEAD", 503), ("lbheartbeat", "GET", 200), ("heartbeat", "POST", 405),
    ):  # fmt: skip
        request = Request(method, f"/__{endpoint}__", "", {})
        assert core.answer(endpoint, request).status == status
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {(o.kind, o.status) for o in seen} == {("heartbeat", "error")}
    hidden = Core(Config(heartbeat_details="never"), registry)
    response = hidden.answer("heartbeat", Request("GET", "/__heartbeat__", "", {}))
    assert json.loads(response.body) == {"status": "error"}


@pytest.mark.usefixtures("state")
def test_outside_of_the_main_thread_it_says_how(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        thread = threading.Thread(target=drain.install_once, args=(5,))
        thread.start()
        thread.join()
    (message,) = caplog.messages
    assert "drain_seconds has no effect" in message
    assert "dockerflow.drain.install()" in message


@pytest.mark.usefixtures("state")
def test_under_uwsgi_a_warning_says_why_it_has_no_effect(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops its workers by other means, and replacing its handler would break them."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    assert not drain.install(5)
    drain.install_once(5)
    (message,) = caplog.messages
    assert message.startswith("drain_seconds has no effect: uWSGI ")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("state")
def test_a_server_that_keeps_its_handler(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mod_wsgi replaces signal.signal() by a function that does nothing."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    drain.install_once(5)
    (message,) = caplog.messages
    assert "drain_seconds has no effect: this server handles SIGTERM in a way" in message


def test_a_forked_process_does_not_drain_because_its_parent_does() -> None:
    """Forked in C, as uWSGI does it: no hook of Python's runs."""
    run("""
import ctypes, os
from dockerflow import drain
drain.drain()
child = ctypes.PyDLL(None).fork()
if child == 0:
    os._exit(drain.is_draining())
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert drain.is_draining()
""")


@pytest.mark.usefixtures("state")
def test_wrong_seconds() -> None:
    for seconds in (-1, "abc", True, float("nan")):
        with pytest.raises(ConfigError, match="drain_seconds must be "):
            drain.install(seconds)  # type: ignore[arg-type]
    assert not drain.install(0)


def run(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_worker_drains_also_if_the_app_was_called_before_the_fork() -> None:
    """As apps do that fill caches; the worker sets its own handler after the fork."""
    run("""
import os, signal
from dockerflow.config import Config
from dockerflow.testing import Client
from dockerflow.wsgi import DockerflowMiddleware
def app(environ, start_response):
    start_response("200 OK", [])
    return []
client = Client(DockerflowMiddleware(app, config=Config(drain_seconds=60)))
assert client.get("/").status == 200
if (child := os.fork()) == 0:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    assert client.get("/").status == 200
    signal.raise_signal(signal.SIGTERM)
    os._exit(client.get("/__heartbeat__").status != 503)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""")


HANDLERS = """
import asyncio, os, signal, threading, time
from dockerflow import drain
got = []
"""


def test_the_servers_handler_gets_the_signal_later() -> None:
    run(f"""{HANDLERS}
signal.signal(signal.SIGTERM, lambda *args: got.append(args[0]))
assert drain.install(0.5) and drain.install(0.5)
started = time.monotonic()
os.kill(os.getpid(), signal.SIGTERM)
assert drain.is_draining() and not got
while not got:
    time.sleep(0.01)
assert got == [signal.SIGTERM] and time.monotonic() - started > 0.4
""")


def test_a_second_signal_ends_the_wait() -> None:
    run(f"""{HANDLERS}
signal.signal(signal.SIGTERM, lambda *args: got.append(args[0]))
assert drain.install(60)
for _ in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
assert got == [signal.SIGTERM]
""")


def test_a_handler_of_the_app_that_calls_the_one_before_it() -> None:
    """It calls ours, which calls it if a middleware has installed draining once more."""
    run(f"""{HANDLERS}
signal.signal(signal.SIGTERM, lambda *args: got.append(args[0]))
assert drain.install(60)
before = signal.getsignal(signal.SIGTERM)
def handle(*args):
    got.append("app")
    before(*args)
signal.signal(signal.SIGTERM, handle)
assert drain.install(60)
for _ in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
assert got == ["app", signal.SIGTERM]
""")


def test_the_server_gets_no_further_signal_once_the_wait_was_ended() -> None:
    run(f"""{HANDLERS}
signal.signal(signal.SIGTERM, lambda *args: got.append(args[0]))
assert drain.install(0.5)
for _ in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.8)
assert got == [signal.SIGTERM]
""")


def test_gevent_may_patch_late() -> None:
    """As its gunicorn worker does with --preload: greenlets then seem to be other threads."""
    pytest.importorskip("gevent")
    run(f"""
{HANDLERS}
import gevent
from gevent import monkey
monkey.patch_all()
signal.signal(signal.SIGTERM, lambda *args: got.append(args[0]))
assert gevent.spawn(drain.install, 60).get()
os.kill(os.getpid(), signal.SIGTERM)
gevent.sleep(0)
assert drain.is_draining() and not got
os._exit(0)  # not after a minute
""")


def test_a_signal_in_the_hub_of_gevent() -> None:
    """Which greenlet runs when the signal comes is chance, and the hub must not wait."""
    pytest.importorskip("gevent")
    run(f"""
from gevent import monkey
monkey.patch_all()
import gevent
{HANDLERS}
signal.signal(signal.SIGTERM, lambda *args: got.append(args[0]))
assert drain.install(0.5)
started = time.monotonic()
gevent.get_hub().loop.run_callback(os.kill, os.getpid(), signal.SIGTERM)
while not got:
    gevent.sleep(0.01)
assert drain.is_draining() and time.monotonic() - started > 0.4
""")


def test_a_handler_at_the_event_loop() -> None:
    """As hypercorn's and Sanic's, by the middleware, at the lifespan's start."""
    run(f"""{HANDLERS}
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async def app(scope, receive, send): ...
    app = DockerflowMiddleware(app, config=Config(drain_seconds=0.5))
    await app({{"type": "lifespan"}}, None, None)
    started = time.monotonic()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    assert drain.is_draining() and not stop.is_set()
    await stop.wait()
    assert time.monotonic() - started > 0.4
asyncio.run(main())
""")


def test_without_a_handler_the_process_ends_later() -> None:
    source = f"""{HANDLERS}
assert drain.install(0.5)
os.kill(os.getpid(), signal.SIGTERM)
print("drains", flush=True)
time.sleep(20)
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stdout) == (-15, "drains\n")


@pytest.mark.parametrize("fails", [False, True])
def test_a_parent_tells_its_children_and_waits_for_them(fails: bool) -> None:
    run(f"""{HANDLERS}
import logging
logging.getLogger("dockerflow").addHandler(logging.NullHandler())
def tell():
    got.append("told")
    if {fails}:
        raise OSError("no such process")
signal.signal(signal.SIGTERM, lambda *args: got.append(args[0]))
drain.install_in_parent(0.5, tell)
started = time.monotonic()
os.kill(os.getpid(), signal.SIGTERM)
assert drain.is_draining() and got == ["told"]
while len(got) < 2:
    time.sleep(0.01)
assert got == ["told", signal.SIGTERM] and time.monotonic() - started > 0.4
""")


def test_a_loop_that_can_not_be_asked() -> None:
    """As uvloop's, under Sanic, of which the adapter knows what it does at the signal."""
    run(f"""{HANDLERS}
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: got.append("lost"))
    drain.install_at_loop(0.5, stop.set)
    started = time.monotonic()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    assert drain.is_draining() and not stop.is_set() and not got
    await stop.wait()
    assert time.monotonic() - started > 0.4
asyncio.run(main())
""")
