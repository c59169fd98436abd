"""What tests of checks share: ways to run a registry, and checks that count their runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest

from dockerflow.checks import CheckResults, Registry
from dockerflow.config import Config

PATIENCE = 10.0
"""Seconds that nothing takes, even on a busy machine."""

CONFIG = Config(check_timeout=5, heartbeat_timeout=8)

Runner = Callable[..., CheckResults]


def run(registry: Registry, config: Config = CONFIG) -> CheckResults:
    results = registry.run(config)
    json.dumps(results, allow_nan=False)
    return results


def arun(registry: Registry, config: Config = CONFIG) -> CheckResults:
    results = asyncio.run(registry.arun(config))
    json.dumps(results, allow_nan=False)
    return results


both = pytest.mark.parametrize("runner", [run, arun])


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def waiting(registry: Registry, name: str) -> int:
    """How many heartbeats wait for a check that is under way; nothing public tells."""
    execution = registry._checks[name].execution
    return 0 if execution is None else len(execution.done._done_callbacks)


def ids(results: CheckResults, name: str) -> list[str]:
    return list(results.details[name]["messages"])


class Probe:
    """A check that counts its runs, and returns what its test sets."""

    def __init__(self, returns: Any = None) -> None:
        self.returns = returns
        self.runs = 0

    def __call__(self) -> Any:
        self.runs += 1
        return self.returns


class AsyncProbe(Probe):
    async def __call__(self) -> Any:
        return super().__call__()


probes = pytest.mark.parametrize("kind", [Probe, AsyncProbe])


def run_script(source: str) -> str:
    """Run a script in a process of its own, which must succeed, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
