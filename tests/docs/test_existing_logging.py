"""The diffs in docs/existing-logging.md are applied; both files run and log a request."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest
from services.web import environment
from terminal import terminal

PAGE = pages.DOCS / "existing-logging.md"
DIFFS = [block for block in pages.blocks(PAGE) if block.language == "diff"]

# Serves one request with the logging that the file sets up; the request logs a line, too.
SERVE = """
import logging, os
import {name}
if {name}.__dict__.get("LOGGING"):
    from django.conf import settings
    settings.configure(LOGGING={name}.LOGGING, DEBUG=True)
    import django
    django.setup()
from dockerflow.testing import Client
from dockerflow.wsgi import DockerflowMiddleware

def app(environ, start_response):
    if "structlog" in vars({name}):
        {name}.structlog.get_logger("myapp.orders").info("Order is paid", order=7)
    elif "logger" in vars({name}):
        {name}.logger.bind(order=7).info("Order is paid")
    else:
        logging.getLogger("myapp.orders").info("Order is paid", extra={{"order": 7}})
    if "fail" in environ["PATH_INFO"]:
        raise ValueError("no stock")
    start_response("200 OK", [])
    return []

client = Client(DockerflowMiddleware(app))
client.get("/orders/7", {{"x-request-id": "r-1"}})
client.get("/fail", {{"x-request-id": "r-2"}})
for name in ("uvicorn.access", "django.server"):  # those that the file doesn't silence
    if not logging.getLogger(name).propagate:
        logging.getLogger(name).warning("GET / HTTP/1.1 404")
"""
GET, FAIL = r"GET /orders/7 200 \d+ ms", r"GET /fail 500 \d+ ms: no stock"


def kind(block: pages.Block) -> str:
    """Return the heading above a block."""
    above = block.page.read_text(encoding="utf-8").splitlines()[: block.line]
    return [line for line in above if line.startswith("## ")][-1].removeprefix("## ")


def serve(block: pages.Block, side: str, folder: Path, *, on_terminal: bool = False) -> list[str]:
    """Run one side of a diff; return what it prints."""
    unwanted = "+" if side == "before" else "-"
    lines = block.text.splitlines()
    assert {line[:1] for line in lines} == {" ", "+", "-"}, (
        "a line of a diff begins with one of these"
    )
    text = "\n".join(line[1:] for line in lines if line[0] != unwanted)
    (folder / f"{side}.py").write_text(text + "\n", encoding="utf-8")
    command = [sys.executable, "-W", "error", "-c", SERVE.format(name=side)]
    environ = environment(NO_COLOR="1", PYTHONPATH=str(folder))
    shown, errors = folder / "shown", folder / "errors"
    with terminal(shown) if on_terminal else shown.open("wb") as out, errors.open("wb") as err:
        subprocess.run(
            command, check=True, cwd=folder, env=environ, stdout=out, stderr=err, timeout=60
        )
    return (errors.read_text() + shown.read_text()).splitlines()


def test_each_section_has_its_diff() -> None:
    assert list(map(kind, DIFFS)) == [
        "Keep your format", "logging.basicConfig", "logging.config.dictConfig", "Django's LOGGING",
        "structlog", "loguru",
    ]  # fmt: skip


@pytest.mark.parametrize("block", DIFFS, ids=kind)
def test_what_is_there_shows_each_request(block: pages.Block, tmp_path: Path) -> None:
    """With any logging: a line with the request, and none without a message."""
    lines = [line for line in serve(block, "before", tmp_path) if "Order is paid" not in line]
    if kind(block) == "logging.config.dictConfig":  # its level is WARNING
        assert [bool(re.search(FAIL, line)) for line in lines[:1]] == [True]
        return
    first, second = lines[:2]
    assert re.search(GET, first)
    assert re.search(FAIL, second)
    if kind(block) == "Django's LOGGING":
        assert re.fullmatch(rf"INFO \S+ \S+ dockerflow \d+ \d+ {GET}", first)


@pytest.mark.parametrize("block", DIFFS, ids=kind)
def test_a_diff_is_applied(block: pages.Block, tmp_path: Path) -> None:
    lines = serve(block, "after", tmp_path)
    if kind(block) == "Keep your format":
        assert lines[0] == "INFO myapp.orders r-1 Order is paid"
        assert re.fullmatch(f"INFO request.summary r-1 {GET}", lines[1])
        return
    assert not (tmp_path / "errors").read_text()  # all is on standard output
    made = list(map(json.loads, lines))  # nothing else is among them, no access log
    orders, summary, _, failed = made
    assert orders["Fields"]["msg"] == "Order is paid"
    assert (orders["Fields"].get("order") or orders["Fields"]["extra"]["order"]) == 7
    assert summary["Type"] == "request.summary"
    assert (summary["Fields"]["path"], summary["Fields"]["code"]) == ("/orders/7", 200)
    assert "msg" not in summary["Fields"]
    assert (failed["Severity"], failed["Fields"]["msg"]) == (3, "no stock")
    assert [line["Fields"]["rid"] for line in made] == ["r-1", "r-1", "r-2", "r-2"]
    assert {line["Logger"] for line in made} <= {"myapp", "mysite"}


@pytest.mark.parametrize("block", DIFFS[1:], ids=kind)
def test_a_diff_keeps_text_on_a_terminal(block: pages.Block, tmp_path: Path) -> None:
    lines = serve(block, "after", tmp_path, on_terminal=True)
    assert any(re.search(GET, line) for line in lines)
    assert not any('"Timestamp"' in line for line in lines)
