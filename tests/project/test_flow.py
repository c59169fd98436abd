"""docs/flow.md names the files that a request passes on its way to a log line."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import sys
from pathlib import Path

import dockerflow
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config
from dockerflow.logging import MozlogHandler

PACKAGE = Path(dockerflow.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "flow.md"
# A context manager, a class of values, and what does nothing without OpenTelemetry.
HELPERS = {"_core/guard.py", "_core/settings.py", "logging/_trace.py"}


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def nothing(message=None):
    return {"type": "http.request"}


def test_a_request_passes_the_files_in_this_order():
    listed = re.findall(r"^\| \d \| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) <= 8
    middleware = DockerflowMiddleware(app, config=Config())
    logger = logging.getLogger("request.summary")
    handler = MozlogHandler(io.StringIO())
    scope = {"type": "http", "method": "GET", "path": "/app/", "root_path": "/app", "headers": []}
    asyncio.run(middleware(scope, nothing, nothing))  # the first one also installs the drain
    passed: dict[str, None] = {}

    def note(frame, event, _):
        if event == "call" and (path := Path(frame.f_code.co_filename)).is_relative_to(PACKAGE):
            passed.setdefault(path.relative_to(PACKAGE).as_posix())

    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    before = sys.getprofile()
    try:
        request = middleware(scope, nothing, nothing)
        sys.setprofile(note)
        asyncio.run(request)
    finally:
        sys.setprofile(before)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert [path for path in passed if path not in HELPERS] == listed
