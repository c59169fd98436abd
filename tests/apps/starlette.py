"""The app in Starlette."""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from dockerflow.asgi import DockerflowMiddleware


def hello(request):
    return PlainTextResponse("hello")


def fail(request):
    raise RuntimeError("boom")


def status(request):
    return PlainTextResponse("status", request.path_params["code"])


async def chunks():
    for chunk in "abc":
        yield chunk


async def stream(request):
    return StreamingResponse(chunks())


ROUTES = [
    Route("/", hello),
    Route("/fail", fail),
    Route("/status/{code:int}", status),
    Route("/stream", stream),
]


def make_asgi(options):
    app = Starlette(routes=ROUTES)
    if options is not None:
        app.add_middleware(DockerflowMiddleware, **options)
    return app
