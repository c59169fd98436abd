"""Measure the library in real servers, beside python-dockerflow and others: make bench.

Every subject of a group is a server of its own, warm and waiting. In every round each is loaded in
turn, the order alternates, and figures of the same round are compared, so that whatever else the
machine does affects all of them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import lines
import page
import servers
from servers import Load, Server

OURS, THEIRS, LBHEARTBEAT = page.OURS, page.THEIRS, page.LBHEARTBEAT


class Group(NamedTuple):
    """Subjects that are compared: variants of an application in a server, and a path."""

    name: str
    title: str
    server: str
    framework: str
    subjects: tuple[tuple[str, str], ...]
    """Variant and path; the first one is the bare application."""


GROUPS = (
    Group(
        "fastapi", "FastAPI, uvicorn[standard]", "uvicorn", "fastapi",
        (
            ("bare", "/"), ("a line by hand", "/"), (THEIRS, "/"), (OURS, "/"),
            (f"{OURS}, orjson", "/"), (f"{OURS}, text", "/"), (f"{OURS}, gcp", "/"),
            ("bare, Sentry", "/"), (f"{THEIRS}, Sentry", "/"), (f"{OURS}, Sentry", "/"),
            ("asgi-correlation-id, structlog", "/"), ("OpenTelemetry", "/"),
        ),
    ),
    Group(
        "flask", "Flask, gunicorn", "gunicorn", "flask",
        (
            ("bare", "/"), ("a line by hand", "/"), (THEIRS, "/"), (OURS, "/"),
            ("bare, Sentry", "/"), (f"{THEIRS}, Sentry", "/"), (f"{OURS}, Sentry", "/"),
        ),
    ),
    Group(
        "django", "Django (WSGI), gunicorn", "gunicorn", "django",
        (
            ("bare", "/"), ("a line by hand", "/"), (THEIRS, "/"), (OURS, "/"),
            ("bare, Sentry", "/"), (f"{THEIRS}, Sentry", "/"), (f"{OURS}, Sentry", "/"),
            ("django-structlog", "/"),
        ),
    ),
    Group(
        "asgi", "an ASGI application without a framework, uvicorn[standard]", "uvicorn", "asgi",
        (
            ("bare", "/"), (OURS, "/"), (OURS, LBHEARTBEAT),
            (f"{OURS}, no summaries of probes", LBHEARTBEAT),
            (f"{OURS}, ids alone", "/"), ("asgi-correlation-id", "/"),
        ),
    ),
    Group(
        "lbheartbeat", "`/__lbheartbeat__` of FastAPI, uvicorn[standard]", "uvicorn", "fastapi",
        (("bare", "/"), (THEIRS, LBHEARTBEAT), (OURS, LBHEARTBEAT)),
    ),
)  # fmt: skip


def measure(group: Group, rounds: int, seconds: int) -> dict[str, Any]:
    """Return the figures of a group's subjects."""
    loads: dict[tuple[str, str], list[Load]] = {subject: [] for subject in group.subjects}
    with ExitStack() as stack:
        running = {
            (variant, path): stack.enter_context(
                Server(group.server, group.framework, variant, path)
            )
            for variant, path in group.subjects
        }
        for server in running.values():
            server.wait()
            server.load(1)
        for index in range(rounds):
            for subject in group.subjects if index % 2 == 0 else reversed(group.subjects):
                loads[subject].append(running[subject].load(seconds))
        memory = {subject: server.memory() for subject, server in running.items()}
    bare = loads[group.subjects[0]]
    rows = []
    for (variant, path), measured in loads.items():
        added = [one.cpu - base.cpu for one, base in zip(measured, bare, strict=True)]
        row = {
            "variant": variant,
            "path": path,
            "cpu": statistics.median(one.cpu for one in measured),
            "added": statistics.median(added),
            "spread": [min(added), max(added)],
            "per_second": statistics.median(one.per_second for one in measured),
            "p99": statistics.median(one.p99 for one in measured),
            "memory": memory[variant, path],
        }
        rows.append(row)
        print(
            f"{group.title}, {variant} {path}: {row['cpu']:.1f} us, adds {row['added']:.1f}, "
            f"p99 {row['p99']:.2f} ms, {row['memory']:.1f} MiB",
            flush=True,
        )
    result: dict[str, Any] = {"title": group.title, "rows": rows}
    if (THEIRS, "/") in loads:
        ratios = [
            (theirs.cpu - base.cpu) / (ours.cpu - base.cpu)
            for theirs, ours, base in zip(loads[THEIRS, "/"], loads[OURS, "/"], bare, strict=True)
        ]
        result |= {"ratio": statistics.median(ratios), "ratios": [min(ratios), max(ratios)]}
        print(f"{group.title}: {THEIRS} adds {result['ratio']:.2f} times as much", flush=True)
    return result


def growth(requests: int) -> dict[str, Any]:
    """Return what growth.py measures."""
    output = subprocess.run(  # noqa: S603
        [servers.python_of(OURS), "growth.py", str(requests)],
        cwd=servers.HERE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    results: dict[str, Any] = json.loads(output)
    print(output, flush=True)
    return results


def machine() -> dict[str, Any]:
    """Return what was measured on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "cores": os.cpu_count(),
    }


def rounded(value: Any) -> Any:
    """Return the figures with four digits: more are noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    """Measure; write the results and the page if nothing was left out."""
    parts = [*(group.name for group in GROUPS), "lines", "growth"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; by default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of load in each round")
    parser.add_argument("--requests", type=int, default=1_000_000, help="in a process's life")
    parser.add_argument("--fresh", action="store_true", help="make the environments anew")
    parser.add_argument("--write", action="store_true", help="write results of some parts, too")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if shutil.which("wrk") is None:
        parser.error("wrk is needed, the load generator (Debian's package wrk)")
    wanted = options.parts or parts
    servers.set_up(fresh=options.fresh)
    results: dict[str, Any] = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(),
        "releases": servers.releases(),
        "load": {
            "rounds": options.rounds,
            "seconds": options.seconds,
            "connections": servers.CONNECTIONS,
        },
        "groups": {},
    }
    if options.parts and page.RESULTS.exists():
        results = json.loads(page.RESULTS.read_text(encoding="utf-8")) | {"date": results["date"]}
    for group in GROUPS:
        if group.name in wanted:
            results["groups"][group.name] = measure(group, options.rounds, options.seconds)
    if "lines" in wanted:
        results["lines"] = lines.run(rounds=3, count=50_000)
    if "growth" in wanted:
        results["growth"] = growth(options.requests)
    if options.write or not options.parts:
        page.RESULTS.write_text(json.dumps(rounded(results), indent=1) + "\n", encoding="utf-8")
        if not options.parts:
            remember(results)
        page.write()


def remember(results: dict[str, Any]) -> None:
    """Add a whole run to the history, and print which goals it has reached."""
    ratios = {name: one["ratio"] for name, one in results["groups"].items() if "ratio" in one}
    with page.HISTORY.open("a", encoding="utf-8") as history:
        history.write(json.dumps({"date": results["date"], **rounded(ratios)}) + "\n")
    for name, measured, bound, goal in page.goals(results):
        word = "reached" if page.is_reached(measured, bound, goal) else "not reached"
        print(f"{name}: {measured:.2f}, {bound} {goal:g}, {word}")


if __name__ == "__main__":
    sys.exit(main())
