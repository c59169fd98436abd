"""Log lines of one or several processes on one pipe; run by itself, one of these processes.

Each process logs the same lines with the summary's fields as fast as it can, and the pipe is read.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from typing import Any

import servers

PROCESSES = (1, 2, 4)
VARIANTS = ("a line by hand", "python-dockerflow", "dockerflow-middleware")
FIELDS = {
    "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "code": 200,
    "errno": 0,
    "lang": "en-GB,en;q=0.5",
    "method": "GET",
    "path": "/items/4711",
    "rid": "0b39c2e5-6f84-4f0a-9a62-1c3c3a4a1f0e",
    "t": 12,
    "uid": "",
}


def run(rounds: int, count: int) -> dict[str, Any]:
    """Return lines a second, by variant and number of processes."""
    measured: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for variant in VARIANTS:
            for processes in PROCESSES:
                rate = _rate(variant, processes, count)
                measured.setdefault((variant, processes), []).append(rate)
    rows: dict[str, Any] = {variant: {} for variant in VARIANTS}
    for (variant, processes), rates in measured.items():
        rows[variant][str(processes)] = sorted(rates)[len(rates) // 2]
        print(f"{variant}, {processes} processes: {rows[variant][str(processes)]:,.0f} lines/s")
    return rows


def _rate(variant: str, processes: int, count: int) -> float:
    with subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:  # noqa: S607
        writers = [
            subprocess.Popen(  # noqa: S603
                [servers.python_of(variant), __file__, variant, str(count)],
                cwd=servers.HERE,
                stdin=subprocess.PIPE,
                stdout=reader.stdin,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        for writer in writers:
            assert writer.stderr is not None
            assert writer.stderr.readline() == "ready\n", writer.stderr.read()
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.close()
        spans = []
        for writer in writers:
            assert writer.stderr is not None
            spans.append(json.loads(writer.stderr.read()))
            writer.wait(60)
            writer.stderr.close()
        assert reader.stdin is not None
        reader.stdin.close()
        assert reader.stdout is not None
        lines = int(reader.stdout.read())
    assert lines == processes * count, lines
    started, ended = zip(*spans, strict=True)
    return lines / (max(ended) - min(started))


def _main(variant: str, count: int) -> None:
    import apps

    log = logging.getLogger("request.summary")
    if variant == "a line by hand":
        by_hand = apps.log_by_hand()
    else:
        apps.configure(variant)

        def by_hand() -> None:
            log.info("", extra=FIELDS)

    print("ready", file=sys.stderr, flush=True)
    sys.stdin.read()
    started = time.time()
    for _ in range(count):
        by_hand()
    print(json.dumps([started, time.time()]), file=sys.stderr)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
