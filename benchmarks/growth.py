"""Whether cost grows: with checks, header lines, requests at once, and the life of a process."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from measure import Worker, measure, rounded


class Growth(NamedTuple):
    """What one thing costs when there are ever more of them."""

    case: str
    title: str
    counts: tuple[int, ...]
    number: int  # how many in a round
    clock: str = "cpu"
    over_bare: bool = True

    def run(self, rounds: int) -> dict[str, Any]:
        """Measure it; return the cost by how many there are."""
        costs = {}
        for count in self.counts:
            variants = ["bare", "ours"] if self.over_bare else ["ours"]
            number = max(self.number, count)
            times = measure(f"{self.case}:{count}", variants, number, rounds, clock=self.clock)
            zero = times["bare"] if self.over_bare else [0.0] * rounds
            middle = statistics.median(a - b for a, b in zip(times["ours"], zero, strict=True))
            costs[str(count)] = rounded(middle * 1e6)
            print(f"{self.title}: {count}: {costs[str(count)]:.1f} us", flush=True)
        return {"title": self.title, "microseconds": costs}


GROWTHS = [
    Growth(
        "many_checks", "a heartbeat's time for each of its checks", (1, 10, 100, 1000), 2000,
        "wall", over_bare=False,
    ),
    Growth("many_headers", "added cost of a request, by its header lines", (1, 10, 100), 2000),
    Growth(
        "concurrent_requests", "added cost of a request, by the requests at once",
        (1, 10, 100, 1000, 10000), 5000,
    ),
    Growth(
        "streamed_chunks", "added cost of a chunk, by the chunks of a streamed response",
        (1, 10, 100, 1000, 10000), 10000,
    ),
]  # fmt: skip

STEPS = 10


def long_life(requests: int) -> dict[str, Any]:
    """Return the memory of a process while it serves many requests, in KiB."""
    worker = Worker("long_life", "ours")
    memory = {}
    step = max(1, requests // STEPS)
    for done in range(step, step * STEPS + 1, step):
        worker.time(step)
        memory[str(done)] = int(worker.output[-1].split()[-1])
    worker.close()
    first, *_, last = memory.values()
    print(f"memory after {step} requests {first} KiB, after {step * STEPS} {last} KiB", flush=True)
    return {"title": "memory of a process, in KiB, after so many requests", "kibibytes": memory}


def run(rounds: int, requests: int) -> dict[str, Any]:
    results = {growth.case: growth.run(rounds) for growth in GROWTHS}
    results["long_life"] = long_life(requests)
    return results
