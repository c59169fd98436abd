"""How things are measured: processes that take turns, and what is made of their times."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
VENVS = HERE / ".venvs"

INCUMBENT = "dockerflow==2026.3.4"
# The same releases in both environments, but for the libraries that are compared.
COMMON = ["django", "fastapi", "flask", "httpx", "orjson", "uvicorn[standard]", "gunicorn"]
OTHERS = ["asgi-correlation-id", "django-health-check", "python-json-logger", "structlog"]

# Each summary has these; the incumbent leaves one or the other out, as code in Flask.
FIELDS = {"agent", "lang", "method", "path", "rid"}


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


def python_of(variant: str) -> Path:
    name = "incumbent" if variant == "incumbent" or variant in OTHERS else "ours"
    return VENVS / name / "bin" / "python"


class Worker:
    """A process that waits for the number of times that it is to do its thing."""

    def __init__(self, case: str, variant: str, clock: str = "cpu") -> None:
        self.output: list[str] = []
        self.process = subprocess.Popen(  # noqa: S603
            [python_of(variant), HERE / "worker.py", case, variant, clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        count, *self.fields = self._wait_for("lines").split()
        self.lines = int(count)
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
    case: str,
    variants: Sequence[str],
    number: int,
    rounds: int,
    *,
    clock: str = "cpu",
    summaries: bool = False,
) -> dict[str, list[float]]:
    """Return the seconds of each round, by variant.

    :param summaries: whether the libraries log one summary for each thing that is done.
    """
    workers = {variant: Worker(case, variant, clock) for variant in variants}
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    try:
        for variant, worker in workers.items():
            if summaries and variant in {"incumbent", "ours"}:
                assert worker.lines == 1, (case, variant, worker.lines)
                assert set(worker.fields) >= FIELDS, (case, variant, worker.fields)
        for index in range(rounds):
            order = list(workers) if index % 2 == 0 else list(reversed(workers))
            for variant in order:
                times[variant].append(workers[variant].time(number))
    finally:
        for worker in workers.values():
            worker.close()
    return times


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": rounded(middle), "quartiles": [rounded(low), rounded(high)]}


def rounded(value: float) -> float:
    """Return four digits: more are noise."""
    return float(f"{value:.4g}")


class Comparison(NamedTuple):
    """How many times less this library needs than the incumbent."""

    case: str
    title: str
    goal: float | None
    number: int  # how many in a round
    clock: str = "cpu"
    subtract_bare: bool = False
    others: tuple[str, ...] = ()
    summaries: bool = True

    def run(self, rounds: int) -> dict[str, Any]:
        """Measure it; return the ratio, and the time of each variant."""
        if self.clock == "wall":
            rounds = min(rounds, 5)
        times = measure(
            self.case,
            ["bare", "incumbent", "ours", *self.others],
            self.number,
            rounds,
            clock=self.clock,
            summaries=self.summaries,
        )
        zero = times["bare"] if self.subtract_bare else [0.0] * rounds
        ratios = [
            (theirs - bare) / max(ours - bare, 1e-9)
            for theirs, ours, bare in zip(times["incumbent"], times["ours"], zero, strict=True)
        ]
        return {
            "title": self.title,
            "goal": self.goal,
            "of": "added cost" if self.subtract_bare else "time",
            "rounds": rounds,
            **spread(ratios),
            "microseconds": {
                name: rounded(statistics.median(t) * 1e6) for name, t in times.items()
            },
        }
