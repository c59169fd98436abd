"""The app in FastAPI."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse

from dockerflow.asgi import DockerflowMiddleware


async def chunks():
    for chunk in "abc":
        yield chunk


def make_asgi(options):
    app = FastAPI()
    if options is not None:
        app.add_middleware(DockerflowMiddleware, **options)

    @app.api_route("/", methods=["GET", "HEAD"])
    def hello():
        return PlainTextResponse("hello")

    @app.get("/fail")
    def fail():
        raise RuntimeError("boom")

    @app.get("/status/{code}")
    async def status(code: int):
        return PlainTextResponse("status", code)

    @app.get("/stream")
    async def stream():
        return StreamingResponse(chunks())

    return app
