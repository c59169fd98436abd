"""Where a framework tells which route was taken, the summary has its template."""

import asyncio
import logging
from typing import Any

import pytest

from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config


def ask(app: Any, path: str) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None: ...

    scope = {
        "type": "http", "path": path, "raw_path": path.encode(), "root_path": "", "method": "GET",
        "query_string": b"", "headers": [], "http_version": "1.1", "scheme": "http",
        "client": ("10.0.0.1", 1), "server": ("x", 80), "asgi": {"version": "3.0"},
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))


def test_fastapi(caplog: pytest.LogCaptureFixture) -> None:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    router = fastapi.APIRouter(prefix="/shop")

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    @router.get("/carts/{number}")
    async def cart(number: int) -> int:
        return number

    app.include_router(router)
    with caplog.at_level(logging.INFO, "request.summary"):
        for path in ("/items/7", "/shop/carts/7", "/nowhere"):
            ask(DockerflowMiddleware(app, config=Config(summary_log_route=True)), path)
    summaries = [r.__dict__ for r in caplog.records if r.name == "request.summary"]
    assert [(s["code"], s.get("route")) for s in summaries] == [
        (200, "/items/{number}"),
        (200, "/shop/carts/{number}"),
        (404, None),
    ]
