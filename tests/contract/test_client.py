"""The client for applications' own tests: what it sends, and the lifespan that it runs."""

import asyncio
import json
import sys
from contextvars import ContextVar
from typing import Any

import pytest

from dockerflow import testing

variable: ContextVar[str] = ContextVar("variable", default="")


@pytest.mark.parametrize("is_async_test", [False, True])
def test_the_client_shares_one_loop_and_the_lifespans_state(is_async_test: bool) -> None:
    loops: list[Any] = []
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert variable.get() == "of the test"
        loops.append(asyncio.get_running_loop())
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                message = await receive()
                events.append(message["type"])
                scope["state"]["answer"] = 42
                await send({"type": f"lifespan.{what}.complete"})
            return
        events.append(f"request {scope['state']}")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def in_a_loop() -> None:
        ask()
        asyncio.get_running_loop()

    def ask() -> None:
        with testing.Client(app) as client:
            assert client.get("/").status == 204
            assert client.get("/").status == 204

    variable.set("of the test")
    asyncio.run(in_a_loop()) if is_async_test else ask()
    assert events == ["lifespan.startup", *["request {'answer': 42}"] * 2, "lifespan.shutdown"]
    assert len(set(map(id, loops))) == 1


@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
def test_the_client_works_in_an_async_test(protocol: str) -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        start_response("204 No Content", [])
        return []

    async def main() -> None:
        client = testing.Client(asgi if protocol == "asgi" else wsgi)
        assert client.get("/") == testing.Response(204, [], b"", None)

    asyncio.run(main())


def test_the_outermost_block_runs_the_lifespan() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                events.append((await receive())["type"])
                await send({"type": f"lifespan.{what}.complete"})
        else:
            events.append("state" if "state" in scope else "no state")

    client = testing.Client(app)
    for _ in range(2):
        events.clear()
        with client:
            with client:
                client.get("/")
            client.get("/")
        assert events == ["lifespan.startup", "state", "state", "lifespan.shutdown"]


def test_a_failed_startup_says_why() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match=r"startup failed: no database"), testing.Client(app):
        pass


@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
def test_the_app_runs_within_no_except_clause(protocol: str) -> None:
    """Else its own exceptions would have another one of the client's as their context."""
    handled: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        handled.append(sys.exc_info()[1])

    def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
        handled.append(sys.exc_info()[1])
        start_response("200 OK", [])
        return []

    testing.Client(app if protocol == "asgi" else wsgi_app).get("/")
    assert handled == [None]


@pytest.mark.parametrize("app", [42, lambda: None, lambda request: None])
def test_what_is_no_application_is_refused(app: Any) -> None:
    """Such as one of aiohttp.web, which can be called without arguments."""
    with pytest.raises(TypeError, match="neither an ASGI nor a WSGI application"):
        testing.Client(app)


@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
def test_what_the_client_sends(protocol: str) -> None:
    def seen(path: str, query: str, body: bytes, kind: str) -> bytes:
        return json.dumps([path, query, body.decode(), kind]).encode()

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        headers = dict(scope["headers"])
        body = (await receive())["body"]
        assert headers[b"content-length"] == b"%d" % len(body)
        answer = seen(
            scope["path"], scope["query_string"].decode(), body, headers[b"content-type"].decode()
        )
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})
        assert (await receive())["type"] == "http.disconnect"

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        path = environ["PATH_INFO"].encode("latin-1").decode()
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        write(seen(path, environ["QUERY_STRING"], body, environ["CONTENT_TYPE"]))
        return []

    client = testing.Client(asgi if protocol == "asgi" else wsgi)
    response = client.post("/caf%C3%A9?q=%C3%A9", {"Content-Type": "text/x"}, body=b"form")
    assert response.error is None
    assert response.json() == ["/café", "q=%C3%A9", "form", "text/x"]
