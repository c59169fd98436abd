"""Checks in processes that fork, end, are patched by gevent, or have no threads left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from checking import (
    run_script,
)

PREAMBLE = """
import asyncio, os, signal, sys, threading, time
from dockerflow import checks
from dockerflow.config import Config

@checks.register
def hung():
    print("hung", flush=True)
    threading.Event().wait(60)

@checks.register
async def hung_too():
    await asyncio.sleep(60)

CONFIG = Config(check_timeout=0.1)
"""


RUN = "assert set(checks.default_registry.run(CONFIG).statuses.values()) == {'error'}\n"


ARUN = (
    "async def main():\n"
    "    results = await checks.default_registry.arun(CONFIG)\n"
    "    assert set(results.statuses.values()) == {'error'}\n"
    "asyncio.run(main())\n"
)


@pytest.mark.parametrize("code", [RUN, ARUN, RUN + ARUN])
@pytest.mark.parametrize("ending", ["sys.exit(3)", "SIGTERM"])
def test_process_exits(code: str, ending: str) -> None:
    """Within a second; the best of three, as the machine may be busy with something else."""
    tail = ending if ending != "SIGTERM" else "while True: time.sleep(60)"
    source = f"{PREAMBLE}\n{code}\nprint('ready', flush=True)\n{tail}\n"
    assert any(seconds_to_exit(source, ending) < 1 for _ in range(3))


def seconds_to_exit(source: str, ending: str) -> float:
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as p:
        try:
            assert p.stdout is not None
            assert {p.stdout.readline() for _ in range(2)} == {"hung\n", "ready\n"}
            started = time.monotonic()
            if ending == "SIGTERM":
                p.send_signal(signal.SIGTERM)
            assert p.wait(10) == (-signal.SIGTERM if ending == "SIGTERM" else 3)
            return time.monotonic() - started
        finally:
            p.kill()


IN_BOTH = """
import asyncio, ctypes, os, sys, threading, time
from dockerflow.checks import Registry
from dockerflow.config import Config

is_child = False
registry = Registry()
LATE = dict.fromkeys(("hung", "ahung", "fine", "afine"), "error")
FINE = {"hung": "error", "ahung": "error", "fine": "ok", "afine": "ok"}

@registry.register
def hung():
    threading.Event().wait(60)

@registry.register
async def ahung():
    await asyncio.sleep(60)

@registry.register
def fine():
    if not is_child:
        threading.Event().wait(60)

@registry.register
async def afine():
    if not is_child:
        await asyncio.sleep(60)

def in_child():
    for _ in range(2):
        assert registry.run(Config(check_timeout=0.4)).statuses == FINE
        assert asyncio.run(registry.arun(Config(check_timeout=0.4))).statuses == FINE

registry.observe(lambda _: None)
assert registry.run(Config(check_timeout=0.1)).statuses == LATE
"""

BACKGROUND = """
import ctypes, os, sys, threading, time
from dockerflow.checks import Registry

is_child = False
registry = Registry()
runs = 0

@registry.register(interval=0.1, max_age=0.5)
def check():
    global runs
    runs += 1

seen = []
registry.observe(seen.append)

def in_child():
    global runs
    runs = 0
    time.sleep(0.3)
    assert runs == 0, "nothing runs before the first heartbeat"
    seen.clear()
    assert registry.run().level == 0
    while runs < 5:
        time.sleep(0.01)
    while registry.run().level:  # until the clock of a busy machine is in time
        time.sleep(0.01)
    registry.close()
    assert {"check", "heartbeat"} <= {observation.kind for observation in seen}

assert registry.run().level == 0
while runs < 3:  # afterwards, the next one is a while off
    time.sleep(0.001)
"""

FORK = """
# The interpreter itself survives no fork in C while another thread wants its lock.
time.sleep(0.03)
child = FORK()
if child == 0:
    is_child = True
    try:
        in_child()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"])
@pytest.mark.parametrize("before", [IN_BOTH, BACKGROUND])
def test_fork(before: str, fork: str) -> None:
    """As in a server that runs checks before it forks; uWSGI forks in C, without Python's hooks."""
    run_script(before + FORK.replace("FORK", fork))


def test_a_fork_while_another_thread_is_in_the_engine() -> None:
    """It may hold any lock: for each of many forks, another thread runs heartbeats."""
    run_script("""
        import os, threading
        from dockerflow.checks import Registry

        registry = Registry()
        registry.observe(lambda _: None)
        registry.register(lambda: None, name="check")
        registry.register(lambda: None, name="background", interval=0.001, max_age=60)

        def ask_for_ever():
            while True:
                registry.run()

        threading.Thread(target=ask_for_ever, daemon=True).start()
        for _ in range(30):
            child = os.fork()
            if child == 0:
                os._exit(0 if registry.run().level == 0 else 1)
            _, status = os.waitpid(child, 0)
            assert status == 0
    """)


def test_gevent_patches_after_the_checks_are_registered() -> None:
    """As gunicorn's gevent worker does with --preload."""
    pytest.importorskip("gevent")
    run_script("""
        import time
        from dockerflow import checks
        from dockerflow.config import Config

        runs = 0
        seen = []
        checks.observe(seen.append)

        @checks.register
        def sync(): pass

        @checks.register
        async def async_(): pass

        @checks.register(interval=0.02)
        def background():
            global runs
            runs += 1

        import gevent.monkey
        gevent.monkey.patch_all()
        registry = checks.default_registry
        for _ in range(2):
            statuses = registry.run(Config(check_timeout=2)).statuses
            assert statuses == {"sync": "ok", "async_": "ok", "background": "ok"}, statuses
        while runs < 3:
            time.sleep(0.01)
        registry.close()
        assert {"check", "heartbeat"} == {observation.kind for observation in seen}
    """)


@pytest.mark.parametrize("is_async", [False, True])
def test_no_more_threads(is_async: bool) -> None:
    """The check fails, and runs again when there are threads again."""
    run_script(f"""
        import threading
        from dockerflow.checks import Registry

        registry = Registry()

        @registry.register
        {"async def" if is_async else "def"} check(): pass

        registry.register(check, name="background", interval=60)
        registry.observe(lambda _: None)

        def refuse(_):
            raise RuntimeError("can't start new thread")

        start, threading.Thread.start = threading.Thread.start, refuse
        results = registry.run()
        assert list(results.details["check"].messages) == ["dockerflow.checks.E001"], results
        assert results.statuses["background"] == "error"
        registry.close()
        threading.Thread.start = start
        assert registry.run().level == 0
    """)
