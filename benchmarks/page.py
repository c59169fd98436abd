"""Write what results.json has into docs/performance.md, and its plot: nothing is measured here."""

from __future__ import annotations

import json
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
        "added": _added(results),
        "lines": _lines(results),
        "growth": _growth(results),
    }
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
    yield "| | CPU µs | added µs | lowest, highest | requests/s | p99 ms | worker's MiB |"
    yield "|---|---|---|---|---|---|---|"
    for group in results["groups"].values():
        yield f"| **{group['title']}** | | | | | | |"
        for row in group["rows"]:
            low, high = row["spread"]
            added = "" if row["variant"] == "bare" else f"**{row['added']:.1f}**"
            if row["goal"] is not None:
                added += f" (goal {row['goal']:g})"
            spread = "" if row["variant"] == "bare" else f"{low:.1f}, {high:.1f}"
            path = "" if row["path"] == "/" else f" `{row['path']}`"
            yield (
                f"| {row['variant']}{path} "
                f"| {row['cpu']:.1f} | {added} | {spread} | {row['per_second']:,.0f} "
                f"| {row['p99']:.2f} | {row['memory']:.1f} |"
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


# The plot: microseconds that are added, one bar for each subject, the frameworks one below the
# other.

_PLOTTED = ("fastapi", "flask", "django")
_LEFT, _WIDTH, _STEP, _TOP = 270, 480, 22, 44
# Both of the documentation's themes, by the reader's preference.
_STYLE = (
    ".card{fill:#fff}text{font:12px sans-serif;fill:#24292f}.head{font-weight:bold}"
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
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" width="{width}" height="{height}" rx="8"/>',
        f'<text x="12" y="22">{title}: median, and all rounds as a line</text>',
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
    kind = {"dockerflow-middleware": "ours", "python-dockerflow": "theirs"}.get(
        variant.partition(", ")[0], "bar"
    )
    low, high = (round(_LEFT + end * scale, 1) for end in row["spread"])
    size = round(row["added"] * scale, 1)
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
    """Write the page and the plot anew."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    PLOT.write_text(plot(results), encoding="utf-8")


if __name__ == "__main__":
    write()
