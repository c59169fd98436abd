"""Measure the library side by side with python-dockerflow, the bare app and others: make bench.

Each variant of a case runs in a process of its own, warm and waiting. In every round each
process does its share in turn, so that whatever else the machine does meets all alike; what
is compared are the figures of the same round. CPU-bound cases are timed by the CPU time
of the process, those that wait by the clock on the wall.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import growth
import page
import servers
from measure import HERE, Comparison, Worker, python_of, rounded, set_up, spread

COMPARISONS = [
    Comparison(
        "asgi", "ASGI, ids and summary around a bare application", 2.5, 2000, subtract_bare=True,
        others=("floor",),
    ),
    Comparison("fastapi", "FastAPI application", 3, 1000, subtract_bare=True, others=("floor",)),
    Comparison("flask", "Flask application", 4, 1000, subtract_bare=True, others=("floor",)),
    Comparison(
        "django", "Django application (WSGI)", 2.5, 1000, subtract_bare=True, others=("floor",)
    ),
    Comparison(
        "ids", "ASGI, ids alone", None, 2000, subtract_bare=True, summaries=False,
        others=("asgi-correlation-id",),
    ),
    Comparison(
        "formatter", "`MozlogFormatter.format` of a summary, with orjson", 3, 5000,
        summaries=False, others=("python-json-logger", "structlog"),
    ),
    Comparison(
        "formatter_stdlib", "`MozlogFormatter.format` of a summary, without orjson", 1.3, 5000,
        summaries=False, others=("python-json-logger", "structlog"),
    ),
    Comparison("fastapi_lbheartbeat", "`/__lbheartbeat__` in FastAPI", 20, 1000),
    Comparison(
        "fastapi_lbheartbeat_quiet", "`/__lbheartbeat__` in FastAPI, summaries off by their level",
        20, 1000, summaries=False,
    ),
    Comparison("fastapi_version", "`/__version__` with a file of 1 kB in FastAPI", 10, 1000),
    Comparison(
        "django_heartbeat", "`/__heartbeat__` in Django with one check that does nothing",
        None, 300, others=("django-health-check",),
    ),
    Comparison(
        "flask_ten_checks", "`/__heartbeat__` in Flask with ten checks of 100 ms", 8, 1, "wall"
    ),
    Comparison(
        "django_ten_checks", "`/__heartbeat__` in Django with ten checks of 100 ms", 8, 1, "wall",
        others=("django-health-check",),
    ),
]  # fmt: skip


def compare(wanted: set[str], rounds: int) -> dict[str, Any]:
    results = {}
    for comparison in COMPARISONS:
        if wanted and comparison.case not in wanted and "ratios" not in wanted:
            continue
        results[comparison.case] = result = comparison.run(rounds)
        micro = ", ".join(f"{k} {v:.1f}" for k, v in result["microseconds"].items())
        goal = "" if comparison.goal is None else f" (goal {comparison.goal:g})"
        low, high = result["quartiles"]
        print(
            f"{result['median']:.2f} [{low:.2f}, {high:.2f}]{goal} {comparison.title}: {micro} us",
            flush=True,
        )
    return results


def single_flight() -> dict[str, Any]:
    runs = {}
    for variant in ("incumbent", "ours"):
        worker = Worker("single_flight", variant, "wall")
        worker.time(1)
        runs[variant] = int(worker.output[-1].split()[-1])
        worker.close()
    result = {
        "title": "100 heartbeats at once on a check of 50 ms: runs of the check",
        "goal": 1,
        "runs": runs,
    }
    print(result["title"], runs, flush=True)
    return result


def imports(rounds: int) -> dict[str, Any]:
    """Import time over that of bare Python, in milliseconds of CPU time."""
    code = "import time; s = time.process_time(); import {}; print(time.process_time() - s)"
    ours, others = "dockerflow.asgi", "asyncio, logging, json"
    times: dict[str, list[float]] = {ours: [], others: []}
    # As it is once installed: with its bytecode, which the first round leaves.
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for index in range(-1, rounds):
        for name, measured in times.items():
            output = subprocess.run(  # noqa: S603
                [python_of("ours"), "-c", code.format(name)],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            ).stdout
            if index >= 0:
                measured.append(float(output))
    result = {
        "title": "import of `dockerflow.asgi`, of the time for asyncio, logging and json",
        "goal": 0.4,
        "rounds": rounds,
        **spread(a / b for a, b in zip(times[ours], times[others], strict=True)),
        "milliseconds": {name: rounded(statistics.median(t) * 1e3) for name, t in times.items()},
    }
    print(f"{result['median']:.0%} (at most 40%) {result['title']} {result['milliseconds']}")
    return result


def pieces(rounds: int) -> dict[str, Any]:
    """Return what each piece of a request costs, in microseconds."""
    output = subprocess.run(  # noqa: S603
        [python_of("ours"), HERE / "pieces.py", str(rounds), "2000"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    times: dict[str, list[float]] = json.loads(output)

    def over(name: str, before: str) -> dict[str, Any]:
        return spread(a - b for a, b in zip(times[name], times[before], strict=True))

    variables = over("variables", "nothing")
    around = over("around", "with_id")
    results = {
        "context variables: two set, and reset": variables,
        "headers read, the request and its answer followed": {
            "median": rounded(around["median"] - variables["median"]),
            "quartiles": [rounded(end - variables["median"]) for end in around["quartiles"]],
        },
        "the id's header added to the answer": spread(
            (given - bare) - (around_ - with_id)
            for given, bare, around_, with_id in zip(
                *(times[name] for name in ("given", "bare", "around", "with_id")), strict=True
            )
        ),
        "an id made, where none came": spread(
            (made - bare_made) - (given - bare)
            for made, bare_made, given, bare in zip(
                *(times[name] for name in ("made", "bare_made", "given", "bare")), strict=True
            )
        ),
        "the summary's record made": over("record", "made"),
        "the record handed to the stream's handler": over("handed", "record"),
        "the record formatted as mozlog": over("format", "handed"),
        "the line written": over("write", "format"),
        "all of it": over("write", "bare_made"),
        "floor: `logging` with the same fields, as mozlog": over("floor", "nothing"),
        "floor: `logging` with the same fields, without a format": over("floor_plain", "nothing"),
    }
    for title, result in results.items():
        print(f"{result['median']:6.2f} us  {title}", flush=True)
    return results


def memory() -> Any:
    """Return what memory.py measures, where there is one."""
    if importlib.util.find_spec("memory") is None:
        return None
    import memory

    return memory.measure()


def machine() -> dict[str, Any]:
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "cores": os.cpu_count(),
    }


def versions() -> dict[str, str]:
    """Return the releases that were measured."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    )
    found: dict[str, str] = {}
    for variant in ("incumbent", "ours"):
        output = subprocess.run(  # noqa: S603
            [python_of(variant), "-c", code], capture_output=True, text=True, check=True
        ).stdout
        found |= json.loads(output)
    shown = (
        "dockerflow", "dockerflow-middleware", "django", "fastapi", "flask", "orjson",
        "starlette", "uvicorn", "gunicorn", "asgi-correlation-id", "django-health-check",
        "python-json-logger", "structlog",
    )  # fmt: skip
    return {name: found[name] for name in shown}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts",
        nargs="*",
        help="which parts: names of cases, ratios, pieces, single_flight, import, growth, "
        "memory, servers; all if none is named, and then the results are written",
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--server-rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load, in each round of a server")
    parser.add_argument("--requests", type=int, default=1_000_000, help="in a process's life")
    parser.add_argument("--fresh", action="store_true", help="make the environments anew")
    parser.add_argument(
        "--write", action="store_true", help="put the named parts into the written results, too"
    )
    options = parser.parse_args()
    set_up(fresh=options.fresh)
    wanted = set(options.parts)
    parts: dict[str, Any] = {
        "pieces": lambda: pieces(options.rounds),
        "single_flight": single_flight,
        "import": lambda: imports(options.rounds),
        "growth": lambda: growth.run(5, options.requests),
        "memory": memory,
        "servers": lambda: servers.run(options.server_rounds, options.seconds),
    }
    unknown = wanted - {"ratios", *parts, *(one.case for one in COMPARISONS)}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    writes = options.write or not wanted
    results: dict[str, Any] = {}
    if writes and wanted and page.RESULTS.exists():
        results = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    results["date"] = dt.datetime.now(tz=dt.UTC).date().isoformat()
    results["machine"] = machine()
    results["versions"] = versions()
    results.setdefault("ratios", {}).update(compare(wanted, options.rounds))
    for name, part in parts.items():
        if not wanted or name in wanted:
            results[name] = part()
    if writes:
        page.RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        page.write()


if __name__ == "__main__":
    sys.exit(main())
