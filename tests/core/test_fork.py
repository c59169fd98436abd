"""A process that forks in C, as uWSGI does, runs no after-fork hooks: nothing may rely on them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork()")

SCRIPT = """
    import ctypes, json, os, sys, time
    from dockerflow.checks import Registry
    from dockerflow.config import Config
    from dockerflow.logging import configure_logging
    from dockerflow.testing import Client
    from dockerflow.wsgi import DockerflowMiddleware

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    registry = Registry()

    @registry.register
    def sync(): ...

    @registry.register
    async def later(): ...

    @registry.register(interval=60)
    def background(): ...

    configure_logging(queue_size=QUEUE_SIZE)
    client = Client(DockerflowMiddleware(app, config=Config(check_timeout=5), registry=registry))

    def use():
        began = time.monotonic()
        assert client.get("/").status == 200
        heartbeat = client.get("/__heartbeat__")
        assert heartbeat.status == 200, heartbeat
        assert heartbeat.json()["checks"] == dict.fromkeys(("sync", "later", "background"), "ok")
        assert time.monotonic() - began < 5

    import logging
    use()  # before the fork, as apps do that fill their caches
    for handler in logging.root.handlers:
        handler.flush()
    for _ in range(2):
        if ctypes.PyDLL(None).fork() == 0:
            use()
            for handler in logging.root.handlers:
                handler.flush()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    use()
"""


@pytest.mark.parametrize("queue_size", [0, 100])
def test_children_serve_check_and_log_as_themselves(queue_size):
    code = textwrap.dedent(SCRIPT).replace("QUEUE_SIZE", str(queue_size))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    summaries = [line for line in lines if line["Type"] == "request.summary"]
    assert len(summaries) == 8
    assert len({line["Fields"]["rid"] for line in summaries}) == 8
    by_process: dict[int, int] = {}
    for line in summaries:
        by_process[line["Pid"]] = by_process.get(line["Pid"], 0) + 1
    assert sorted(by_process.values()) == [2, 2, 4]


FIRST_HEARTBEAT = """
    import os, sys, threading, time
    from dockerflow.checks import Registry
    from dockerflow.config import Config

    registry = Registry()

    @registry.register
    async def check(): pass

    threading.Thread(target=registry.run, daemon=True).start()
    while "asyncio" not in sys.modules:
        time.sleep(0.0005)
    time.sleep(0.003)
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(registry.run(Config(check_timeout=5)).statuses != {"check": "ok"})
"""


def test_a_fork_during_the_first_heartbeat():
    """It must not be in the middle of an import, which would never end in the child."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FIRST_HEARTBEAT)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
