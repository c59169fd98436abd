"""The pages of the documentation and the blocks of code in them, for the tests."""

from __future__ import annotations

import ast
import functools
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
]

ENDPOINTS = ("/__version__", "/__heartbeat__", "/__lbheartbeat__", "/__error__")


class Block(NamedTuple):
    """One block of code, and what the page says of it."""

    page: Path
    line: int
    language: str
    caption: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    if page.parent == DOCS / "rules":  # tests/verify/test_rule_examples.py judges the examples
        return []
    found = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type not in ("fence", "code_block"):
            continue
        directive = re.fullmatch(r"\{code-block\} (\w+)", token.info.strip())
        options, text = "", token.content
        if token.type == "code_block":  # indented: commands without a $
            text = "".join(
                line if before.endswith("\\\n") else f"$ {line}"
                for before, line in pairwise(["", *text.splitlines(keepends=True)])
            )
        if directive:
            options, _, text = text.partition("\n\n")
        found.append(
            Block(
                page,
                token.map[0] + 1,
                directive[1] if directive else token.info.strip() or "console",
                options.removeprefix(":caption: "),
                text,
            )
        )
    return found


def is_walk(page: Path) -> bool:
    """Whether a page is to be followed from its begin to its end, in an empty folder.

    It is if it says which file a block is, as ``:caption: app.py``.
    """
    return any(block.caption for block in blocks(page))


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a block, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            found.append((command, []))
        elif found and (line or found[-1][1]):
            found[-1][1].append(line)
        elif line:
            message = f"a block of commands begins with {line!r}, not with a $"
            raise ValueError(message)
    return found


@functools.cache
def _functions(file: Path) -> frozenset[str]:
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def is_test(name: str) -> bool:
    """Whether there is a test of this name, such as ``core/test_version.py::test_missing``."""
    file, _, function = name.partition("::")
    return function.startswith("test_") and function in _functions(ROOT / "tests" / file)


def between(text: str, name: str) -> tuple[str, str, str]:
    """Split a page at a part that is made from the code."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    assert text.count(begin) == text.count(end) == 1, f"no one part {name!r}"
    before, _, rest = text.partition(begin)
    part, _, after = rest.partition(end)
    return before + begin, part, end + after


def rows(part: str) -> list[list[str]]:
    """Return the cells of a table, without its head."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
