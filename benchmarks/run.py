"""Measure the library side by side with python-dockerflow, the bare app and others: make bench.

Each variant of a case runs in a process of its own, warm and waiting. In every round each
process does its share in turn, so that whatever else the machine does meets all alike; what
is compared are the figures of the same round. CPU-bound cases are timed by the CPU time
of the process, those that wait by the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
VENVS = HERE / ".venvs"
RESULTS = HERE / "results.json"
INCUMBENT = "dockerflow==2026.3.4"
# The same releases in both environments, but for the libraries that are compared.
COMMON = ["django", "fastapi", "flask", "httpx", "orjson", "uvicorn", "gunicorn"]
OTHERS = ["asgi-correlation-id", "django-health-check", "python-json-logger", "structlog"]


class Ratio(NamedTuple):
    """A goal: the incumbent's cost over the bare app, divided by ours, is at least ``goal``."""

    case: str
    title: str
    goal: float
    number: int  # how many in a round
    clock: str = "cpu"
    subtract_bare: bool = True
    others: tuple[str, ...] = ()


RATIOS = [
    Ratio("asgi", "ASGI, ids and summary to a discarded stream, bare ASGI app", 2.5, 2000),
    Ratio("fastapi", "FastAPI app", 3, 1000),
    Ratio("flask", "Flask app", 4, 1000),
    Ratio("django", "Django app (WSGI)", 2.5, 1000),
    Ratio(
        "formatter", "`MozlogFormatter.format` of a summary record, with orjson", 3, 5000,
        others=("python-json-logger", "structlog"),
    ),
    Ratio("formatter_stdlib", "the same without orjson", 1.3, 5000),
    Ratio("fastapi_lbheartbeat", "`/__lbheartbeat__` in FastAPI, time per request", 20, 1000,
          subtract_bare=False),
    Ratio("fastapi_version", "`/__version__` with a 1 kB file in FastAPI", 10, 1000,
          subtract_bare=False),
    Ratio("flask_ten_checks", "`/__heartbeat__` with ten checks of 100 ms, Flask", 8, 1, "wall",
          subtract_bare=False),
    Ratio("django_ten_checks", "`/__heartbeat__` with ten checks of 100 ms, Django", 8, 1, "wall",
          subtract_bare=False),
]  # fmt: skip


def python_of(variant: str) -> Path:
    return VENVS / ("incumbent" if variant not in ("ours", "bare") else "ours") / "bin" / "python"


class Worker:
    """A process that waits for the number of times that it is to do its thing."""

    def __init__(self, case: str, variant: str, clock: str) -> None:
        self.output: list[str] = []
        self.process = subprocess.Popen(  # noqa: S603
            [python_of(variant), HERE / "worker.py", case, variant, clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        self._wait_for("ready")

    def _wait_for(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            first, _, rest = line.strip().partition(" ")
            if first == word:
                return rest
            self.output.append(line.strip())
        message = f"a worker ended early: {self.process.args}"
        raise RuntimeError(message)

    def time(self, number: int) -> float:
        """Return the seconds for one."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return float(self._wait_for("took")) / number

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def measure(
    case: str, variants: Sequence[str], number: int, rounds: int, clock: str = "cpu"
) -> dict[str, list[float]]:
    """Return the seconds of each round, by variant."""
    workers = {variant: Worker(case, variant, clock) for variant in variants}
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    try:
        for index in range(rounds):
            order = list(workers) if index % 2 == 0 else list(reversed(workers))
            for variant in order:
                times[variant].append(workers[variant].time(number))
    finally:
        for worker in workers.values():
            worker.close()
    return times


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, low, high


def ratio(goal: Ratio, rounds: int) -> dict[str, Any]:
    variants = ["bare", "incumbent", "ours", *goal.others]
    times = measure(goal.case, variants, goal.number, rounds, goal.clock)
    zero = times["bare"] if goal.subtract_bare else [0.0] * rounds
    ratios = [
        (theirs - bare) / max(ours - bare, 1e-9)
        for theirs, ours, bare in zip(times["incumbent"], times["ours"], zero, strict=True)
    ]
    middle, low, high = spread(ratios)
    return {
        "title": goal.title,
        "goal": goal.goal,
        "ratio": middle,
        "quartiles": [low, high],
        "microseconds": {v: statistics.median(times[v]) * 1e6 for v in variants},
    }


def single_flight() -> dict[str, Any]:
    runs = {}
    for variant in ("incumbent", "ours"):
        worker = Worker("single_flight", variant, "wall")
        worker.time(1)
        runs[variant] = int(worker.output[-1].split()[-1])
        worker.close()
    return {"title": "100 concurrent heartbeats on a 50 ms check: runs of the check", "runs": runs}


def imports(rounds: int) -> dict[str, Any]:
    """Import time over that of bare Python, in milliseconds of CPU time."""
    code = "import time; s = time.process_time(); {}; print(time.process_time() - s)"
    python = python_of("ours")
    times: dict[str, list[float]] = {"dockerflow.asgi": [], "asyncio, logging, json": []}
    for _ in range(rounds):
        for name, statement in (
            ("dockerflow.asgi", "import dockerflow.asgi"),
            ("asyncio, logging, json", "import asyncio, logging, json"),
        ):
            output = subprocess.run(  # noqa: S603
                [python, "-c", code.format(statement)], capture_output=True, text=True, check=True
            ).stdout
            times[name].append(float(output))
    share = [
        ours / theirs
        for ours, theirs in zip(
            times["dockerflow.asgi"], times["asyncio, logging, json"], strict=True
        )
    ]
    middle, low, high = spread(share)
    return {
        "title": "import of `dockerflow.asgi`, of the time for asyncio, logging and json",
        "goal": 0.4,
        "share": middle,
        "quartiles": [low, high],
        "milliseconds": {name: statistics.median(t) * 1e3 for name, t in times.items()},
    }


def set_up(*, fresh: bool) -> None:
    """Make the two environments: the incumbent has the same import name as this library."""
    uv = ROOT / ".venv" / "bin" / "uv"
    for name, packages in (
        ("incumbent", [INCUMBENT, *COMMON, *OTHERS, "sqlalchemy", "redis"]),
        ("ours", ["-e", str(ROOT), *COMMON]),
    ):
        folder = VENVS / name
        if folder.exists() and not fresh:
            continue
        subprocess.run([uv, "venv", "-q", "--clear", folder], check=True)  # noqa: S603
        subprocess.run(  # noqa: S603
            [uv, "pip", "install", "-q", "--python", folder, *packages], check=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help="which cases; all if none is named")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--fresh", action="store_true", help="make the environments anew")
    options = parser.parse_args()
    set_up(fresh=options.fresh)
    wanted = set(options.cases)
    results: dict[str, Any] = {"python": platform.python_version(), "cases": {}}
    for goal in RATIOS:
        if wanted and goal.case not in wanted:
            continue
        rounds = 5 if goal.clock == "wall" else options.rounds
        results["cases"][goal.case] = result = ratio(goal, rounds)
        micro = ", ".join(f"{k} {v:.1f}" for k, v in result["microseconds"].items())
        print(
            f"{result['ratio']:6.2f} (goal {goal.goal:g})  {goal.title}  [us: {micro}]", flush=True
        )
    if not wanted or "single_flight" in wanted:
        results["cases"]["single_flight"] = result = single_flight()
        print(result["title"], result["runs"], flush=True)
    if not wanted or "import" in wanted:
        results["cases"]["import"] = result = imports(options.rounds)
        print(f"{result['share']:6.2f} (at most 0.4)  {result['title']} {result['milliseconds']}")
    if not wanted:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
