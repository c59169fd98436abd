"""Write what results.json says into docs/performance.md, and its plot: nothing is measured here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "performance.md"
PLOT = HERE.parent / "docs" / "performance.svg"

Results = Mapping[str, Any]


def parts(results: Results) -> dict[str, str]:
    """Return the page's generated parts, by the names in their markers."""
    made = {
        "machine": _machine(results),
        "ratios": _ratios(results),
        "servers": _servers(results),
        "growth": _growth(results),
        "memory": _memory(results),
        "pieces": _pieces(results),
    }
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def _machine(results: Results) -> Iterator[str]:
    machine = results["machine"]
    yield (
        f"Measured on {results['date']} with {machine['python']} on {machine['cores']} cores of "
        f"{machine['processor']} ({machine['system']}). Releases: "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + "."
    )


def _ratios(results: Results) -> Iterator[str]:
    yield "| | goal | ratio, quartiles | | bare µs | incumbent µs | ours µs | others µs |"
    yield "|---|---|---|---|---|---|---|---|"
    rows = results["ratios"].values()
    for row in rows:
        times = dict(row["microseconds"])
        bare, theirs, ours = (_number(times.pop(key)) for key in ("bare", "incumbent", "ours"))
        others = ", ".join(f"{name} {_number(value)}" for name, value in times.items())
        low, high = row["quartiles"]
        yield (
            f"| {row['title']}, {row['of']} | {_at_least(row['goal'])} "
            f"| **{row['median']:.2f}**, {low:.2f} to {high:.2f} | {_reached(row)} "
            f"| {bare} | {theirs} | {ours} | {others} |"
        )
    row = results["single_flight"]
    runs = row["runs"]
    yield (
        f"| {row['title']} | {row['goal']} | **{runs['ours']}** "
        f"| {_REACHED[runs['ours'] == row['goal']]} | | {runs['incumbent']} | {runs['ours']} | |"
    )
    row = results["import"]
    low, high = row["quartiles"]
    yield (
        f"| {row['title']} | at most {row['goal']:.0%} "
        f"| **{row['median']:.0%}**, {low:.0%} to {high:.0%} "
        f"| {_REACHED[row['median'] <= row['goal']]} | | | | |"
    )
    counts = [row["rounds"] for row in rows]
    yield ""
    yield f"{min(counts)} to {max(counts)} rounds for each line."


def _servers(results: Results) -> Iterator[str]:
    measured = results.get("servers")
    if measured is None:
        yield "Not measured: there was no load generator."
        return
    yield (
        f"{measured['rounds']} rounds of {measured['seconds']} s for each line, with "
        f"{measured['connections']} connections."
    )
    yield ""
    yield "| server | | path | requests/s | p50 ms | p99 ms | CPU µs | of bare | by CPU | goal | |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for server in measured["settings"].values():
        for row in server["rows"]:
            low, high = row["share"]["quartiles"]
            share, goal = row["share"]["median"], row["goal"]
            cpu_share = row["cpu_share"]["median"]
            yield (
                f"| {server['title']} | {_VARIANTS[row['variant']]} | `{row['path']}` "
                f"| {row['requests_per_second']:.0f} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} "
                f"| {row['cpu_microseconds']:.0f} | {share:.1%}, {low:.1%} to {high:.1%} "
                f"| {cpu_share:.1%} | {'' if goal is None else f'{goal:.0%}'} "
                f"| {'' if goal is None else _REACHED[min(share, cpu_share) >= goal]} |"
            )


_VARIANTS = {
    "bare": "bare",
    "incumbent": "incumbent",
    "ours": "ours",
    "quiet": "ours, logging not set up",
}


def _growth(results: Results) -> Iterator[str]:
    growth = dict(results["growth"])
    life = growth.pop("long_life")
    counts = sorted({int(n) for row in growth.values() for n in row["microseconds"]})
    yield "| µs | " + " | ".join(f"{count:,}" for count in counts) + " |"
    yield "|---|" + "---|" * len(counts)
    for row in growth.values():
        costs = row["microseconds"]
        cells = [_number(costs[str(n)]) if str(n) in costs else "" for n in counts]
        yield f"| {row['title']} | " + " | ".join(cells) + " |"
    yield ""
    memory = {int(count): value / 1024 for count, value in life["kibibytes"].items()}
    first, last = min(memory), max(memory)
    yield (
        f"A process has {memory[first]:.1f} MiB after {first:,} requests of which no two are the "
        f"same, and {memory[last]:.1f} MiB after {last:,}."
    )


def _memory(results: Results) -> Iterator[str]:
    rows = results.get("memory")
    if not rows:
        yield "Not measured yet."
        return
    yield "| | MiB |"
    yield "|---|---|"
    for title, value in rows.items():
        yield f"| {title} | {value / 1024:.2f} |"


def _pieces(results: Results) -> Iterator[str]:
    yield "| | µs | quartiles |"
    yield "|---|---|---|"
    for title, row in results["pieces"].items():
        low, high = row["quartiles"]
        yield f"| {title} | {row['median']:.2f} | {low:.2f} to {high:.2f} |"


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def _at_least(goal: float | None) -> str:
    return "" if goal is None else f"{goal:g}"


def _reached(row: Mapping[str, Any]) -> str:
    return "" if row["goal"] is None else _REACHED[row["median"] >= row["goal"]]


_REACHED = {True: "reached", False: "**not reached**"}


# The plot: a bar for each ratio, its quartiles, and its goal.

_STYLE = """
.card { fill: #ffffff } text { fill: #1f2328; font: 13px sans-serif } .bar { fill: #3b82c4 }
.short { fill: #c2703d } .line { stroke: #1f2328; stroke-width: 1.5 } .grid { stroke: #d0d7de }
@media (prefers-color-scheme: dark) {
.card { fill: #131416 } text { fill: #d7dce2 } .line { stroke: #d7dce2 } .grid { stroke: #3a3f46 }
}
"""
_LEFT, _WIDTH, _STEP, _TOP = 430, 420, 30, 52
_LOW, _HIGH = 0.5, 100.0


def plot(results: Results) -> str:
    """Return the plot as SVG; it has a ground of its own, so it can be read on any page."""

    def x(value: float) -> float:
        value = min(max(value, _LOW), _HIGH)
        return round(_LEFT + _WIDTH * math.log(value / _LOW) / math.log(_HIGH / _LOW), 1)

    def text(left: float, top: float, content: str, anchor: str = "start") -> str:
        return f'<text x="{left}" y="{top}" text-anchor="{anchor}">{escape(content)}</text>'

    def line(kind: str, left: float, right: float, top: float, bottom: float) -> str:
        return f'<line class="{kind}" x1="{left}" x2="{right}" y1="{top}" y2="{bottom}"/>'

    rows = list(results["ratios"].values())
    height, width = _TOP + _STEP * len(rows) + 16, _LEFT + _WIDTH + 70
    title = "How many times less time than python-dockerflow"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" width="{width}" height="{height}" rx="8"/>',
        text(12, 20, f"{title}, with quartiles; | is the goal, and orange is short of it"),
    ]
    for tick in (0.5, 1, 2, 5, 10, 20, 50, 100):
        made.append(line("grid", x(tick), x(tick), _TOP - 6, height - 12))
        made.append(text(x(tick), _TOP - 10, f"{tick:g}", "middle"))
    for index, row in enumerate(rows):
        top = _TOP + _STEP * index
        goal, value = row["goal"], row["median"]
        low, high = row["quartiles"]
        kind = "short" if goal is not None and value < goal else "bar"
        start, end = sorted((x(1), x(value)))
        bar = f'x="{start}" y="{top + 2}" width="{round(end - start, 1)}" height="18"'
        made += [
            text(_LEFT - 8, top + 15, row["title"].replace("`", ""), "end"),
            f'<rect class="{kind}" {bar}/>',
            line("line", x(low), x(high), top + 11, top + 11),
            text(max(x(high), end, x(goal or _LOW)) + 6, top + 15, f"{value:.1f}"),
        ]
        if goal is not None:
            made.append(line("line", x(goal), x(goal), top - 1, top + 23))
    return "\n".join([*made, "</svg>", ""])


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
    """Write the page and the plot anew."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    PLOT.write_text(plot(results), encoding="utf-8")


if __name__ == "__main__":
    write()
