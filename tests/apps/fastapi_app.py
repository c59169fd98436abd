"""FastAPI, with sync and async functions."""

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse

from apps import BROKEN, CHUNKS, CORS
from dockerflow.checks import Registry
from dockerflow.config import Config


def make_asgi() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def root() -> dict[str, str]:
        return {"hello": "world"}

    @app.get("/fail")
    def fail() -> None:
        raise ValueError(BROKEN)

    @app.get("/status/500")
    def status_500() -> PlainTextResponse:
        return PlainTextResponse("oh", status_code=500, headers=CORS)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        def chunks() -> Iterator[bytes]:
            yield from CHUNKS

        return StreamingResponse(chunks())

    return app


def make_adapted(config: Config | None = None, registry: Registry | None = None) -> FastAPI:
    """Make it with Dockerflow by the adapter."""
    from dockerflow.fastapi import install

    app = make_asgi()
    install(app, config=config, registry=registry)
    return app
