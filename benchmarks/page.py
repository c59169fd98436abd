"""Write what results.json has into docs/performance.md, its plot and results.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
HISTORY = HERE / "history.jsonl"
DETAILS = HERE / "results.md"
PAGE = HERE.parent / "docs" / "performance.md"
PLOT = HERE.parent / "docs" / "performance.svg"

OURS = "dockerflow-middleware"
THEIRS = "python-dockerflow"
BY_HAND = "a line by hand"
LBHEARTBEAT = "/__lbheartbeat__"

Results = Mapping[str, Any]


# The goals: how each is computed, and whether more or less is better.


def goals(results: Results) -> Iterator[tuple[str, float, str, float]]:
    """Yield each goal's name, what was measured, "at least" or "at most", and the goal."""
    groups = results["groups"]
    for name, ratio in (("fastapi", 1.8), ("flask", 1.7), ("django", 1.6)):
        title = groups[name]["title"]
        rows = {row["variant"]: row for row in groups[name]["rows"]}
        ours = rows[OURS]
        yield (
            f"{title}: {THEIRS} adds so many times as much",
            groups[name]["ratio"],
            "at least",
            ratio,
        )
        yield (
            f"{title}: ours adds so many times as much as {BY_HAND}",
            ours["added"] / rows[BY_HAND]["added"], "at most", 1.4,
        )  # fmt: skip
        yield f"{title}: p99, ours to {THEIRS}", ours["p99"] / rows[THEIRS]["p99"], "at most", 1.1
    rows = {(row["variant"], row["path"]): row["added"] for row in groups["asgi"]["rows"]}
    yield f"{LBHEARTBEAT}: µs added", rows[OURS, LBHEARTBEAT], "at most", 12.0
    quiet = rows[f"{OURS}, no summaries of probes", LBHEARTBEAT]
    yield f"{LBHEARTBEAT} without a summary: µs added", quiet, "at most", 3.0
    ids, peer = rows[f"{OURS}, ids alone", "/"], rows["asgi-correlation-id", "/"]
    yield "ids alone: ours to asgi-correlation-id", ids / peer, "at most", 1.0
    freed = float(results["growth"]["garbage"]["ours"])
    yield "objects that the garbage collector frees in 100,000 requests", freed, "at most", 0.0


def is_reached(measured: float, bound: str, goal: float) -> bool:
    return measured >= goal if bound == "at least" else measured <= goal


# The pages.


def parts(results: Results) -> dict[str, str]:
    """Return the generated parts of docs/performance.md, by the names in their markers."""
    made = {"added": _added(results), "machine": _machine(results)}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def _machine(results: Results) -> Iterator[str]:
    machine, load = results["machine"], results["load"]
    yield (
        f"Measured on {results['date']} with {machine['python']} on {machine['cores']} cores of "
        f"{machine['processor']} ({machine['system']}): {load['rounds']} rounds of "
        f"{load['seconds']} s on {load['connections']} connections. Releases: "
        + ", ".join(f"{name} {version}" for name, version in results["releases"].items())
        + "."
    )


def _added(results: Results) -> Iterator[str]:
    yield "| | adds µs | requests/s | p99 ms |"
    yield "|---|---|---|---|"
    for group in results["groups"].values():
        yield f"| **{group['title']}** | | | |"
        for row in group["rows"]:
            added = f"takes {row['cpu']:.0f}" if row["variant"] == "bare" else f"{row['added']:.0f}"
            yield f"| {_name(row)} | {added} | {row['per_second']:,.0f} | {row['p99']:.1f} |"


def _name(row: Mapping[str, Any]) -> str:
    path = "" if row["path"] == "/" else f", `{row['path']}`"
    variant = row["variant"]
    return f"**{variant}**{path}" if variant == OURS else variant + path


def details(results: Results) -> str:
    """Return results.md: all figures, the goals and their history."""
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `make bench`. [Performance](../docs/performance.md) has what users need.",
            "",
            *_machine(results),
            "",
            "## Goals",
            "",
            "| | measured | goal | |",
            "|---|---|---|---|",
            *(
                f"| {name} | {measured:.2f} | {bound} {goal:g} "
                f"| {'reached' if is_reached(measured, bound, goal) else 'not reached'} |"
                for name, measured, bound, goal in goals(results)
            ),
            "",
            "## Servers",
            "",
            *_rows(results),
            "",
            "*Added* is the median over the rounds, with the lowest and the highest beside it. The",
            "last column is the memory that a worker doesn't share with others.",
            "",
            "## Log lines",
            "",
            "As fast as processes can log the fields of a summary, all into one pipe:",
            "",
            *_lines(results),
            "",
            "## Growth",
            "",
            "The cost of one when there are many, in one process and without a server:",
            "",
            *_growth(results),
            "",
            "## History",
            "",
            "`history.jsonl` has a line for each whole run: how many times as much",
            "python-dockerflow adds.",
            "",
            *_history(),
            "",
        ]
    )


def _rows(results: Results) -> Iterator[str]:
    yield "| | CPU µs | added µs | lowest, highest | requests/s | p99 ms | MiB |"
    yield "|---|---|---|---|---|---|---|"
    for group in results["groups"].values():
        yield f"| **{group['title']}** | | | | | | |"
        for row in group["rows"]:
            low, high = row["spread"]
            added = spread = ""
            if row["variant"] != "bare":
                added, spread = f"**{row['added']:.1f}**", f"{low:.1f}, {high:.1f}"
            yield (
                f"| {_name(row)} | {row['cpu']:.1f} | {added} | {spread} "
                f"| {row['per_second']:,.0f} | {row['p99']:.2f} | {row['memory']:.1f} |"
            )


def _lines(results: Results) -> Iterator[str]:
    rows = results["lines"]
    counts = list(next(iter(rows.values())))
    yield "| lines a second, by processes | " + " | ".join(counts) + " |"
    yield "|---|" + "---|" * len(counts)
    for variant, rates in rows.items():
        yield f"| {variant} | " + " | ".join(f"{rates[count]:,.0f}" for count in counts) + " |"


def _growth(results: Results) -> Iterator[str]:
    growth = results["growth"]
    counts = sorted({int(n) for costs in growth["rows"].values() for n in costs})
    yield "| µs | " + " | ".join(f"{count:,}" for count in counts) + " |"
    yield "|---|" + "---|" * len(counts)
    for title, costs in growth["rows"].items():
        cells = [f"{costs[str(n)]:.1f}" if str(n) in costs else "" for n in counts]
        yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""
    sizes = {int(count): size for count, size in growth["memory"].items()}
    first, last = min(sizes), max(sizes)
    garbage = growth["garbage"]
    yield (
        f"A process has {sizes[first]:.1f} MiB after {first:,} requests of which no two are the "
        f"same, and {sizes[last]:.1f} MiB after {last:,}. While it serves {garbage['requests']:,} "
        f"requests, the garbage collector frees {garbage['ours']:,} objects, and "
        f"{garbage['bare']:,} without the library."
    )


def _history() -> Iterator[str]:
    yield "| | FastAPI | Flask | Django |"
    yield "|---|---|---|---|"
    if not HISTORY.exists():
        return
    for line in HISTORY.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        ratios = (f"{run[name]:.2f}" for name in ("fastapi", "flask", "django"))
        yield f"| {run['date']} | " + " | ".join(ratios) + " |"


# The plot: microseconds that are added, one bar for each subject, the frameworks one below the
# other.

_PLOTTED = ("fastapi", "flask", "django")
_LEFT, _WIDTH, _STEP, _TOP = 235, 250, 24, 44  # narrow, for telephones
# Both of the documentation's themes, by the reader's preference.
_STYLE = (
    ".card{fill:#fff}text{font:14px sans-serif;fill:#24292f}.head{font-weight:bold}"
    ".bar{fill:#8c959f}.ours{fill:#1a7f37}.theirs{fill:#bc4c00}"
    ".line{stroke:#24292f}"
    "@media(prefers-color-scheme:dark){.card{fill:#161b22}text{fill:#e6edf3}"
    ".bar{fill:#6e7681}.ours{fill:#3fb950}.theirs{fill:#db6d28}.line{stroke:#e6edf3}}"
)


def plot(results: Results) -> str:
    """Return the plot as SVG: the CPU time that each subject adds to a request."""
    groups = [results["groups"][name] for name in _PLOTTED]
    rows = [row for group in groups for row in group["rows"][1:]]
    scale = _WIDTH / max(row["spread"][1] for row in rows)
    height = _TOP + _STEP * (len(rows) + len(groups)) + 12
    width = _LEFT + _WIDTH + 60
    title = "CPU time added to a request, in microseconds"
    caption = "µs of CPU time added to a request: median, and range of all rounds"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" width="{width}" height="{height}" rx="8"/>',
        f'<text x="12" y="22">{caption}</text>',
    ]
    top = _TOP
    for group in groups:
        made.append(f'<text class="head" x="12" y="{top + 12}">{escape(group["title"])}</text>')
        top += _STEP
        for row in group["rows"][1:]:
            made += _bar(row, top, scale)
            top += _STEP
    return "\n".join([*made, "</svg>", ""])


def _bar(row: Mapping[str, Any], top: int, scale: float) -> Iterator[str]:
    variant: str = row["variant"]
    kind = {OURS: "ours", THEIRS: "theirs"}.get(variant.partition(", ")[0], "bar")
    low, high = (round(_LEFT + max(0, end) * scale, 1) for end in row["spread"])
    size = round(max(0, row["added"]) * scale, 1)
    yield f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(variant)}</text>'
    yield f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{size}" height="16"/>'
    yield f'<line class="line" x1="{low}" x2="{high}" y1="{top + 8}" y2="{top + 8}"/>'
    yield f'<text x="{max(high, _LEFT + size) + 6}" y="{top + 12}">{row["added"]:.0f}</text>'


def fill(text: str, results: Results) -> str:
    """Return the page with its generated parts as the results are."""
    for name, part in parts(results).items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            message = f"{PAGE.name} has no place for {name}"
            raise ValueError(message)
        text = f"{before}{begin}\n{part}\n{end}{after}"
    return text


def write() -> None:
    """Write the pages and the plot anew."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    PLOT.write_text(plot(results), encoding="utf-8")
    DETAILS.write_text(details(results), encoding="utf-8")


if __name__ == "__main__":
    write()
