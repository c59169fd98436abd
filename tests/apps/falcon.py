"""The app in Falcon, in both its forms."""

import falcon
import falcon.asgi

from dockerflow import asgi, wsgi


class Hello:
    def on_get(self, req, resp):
        resp.text = "hello"

    on_head = on_get


class Fail:
    def on_get(self, req, resp):
        raise RuntimeError("boom")


class Status:
    def on_get(self, req, resp, code):
        resp.status, resp.text = code, "status"


class Stream:
    def on_get(self, req, resp):
        resp.stream = iter([b"a", b"b", b"c"])


def as_async(resource):
    """Return the resource with coroutines for its methods."""

    class Async:
        async def on_get(self, *args, **kwargs):
            resource.on_get(*args, **kwargs)

        on_head = on_get

    return Async()


class AsyncStream:
    async def on_get(self, req, resp):
        async def chunks():
            for chunk in (b"a", b"b", b"c"):
                yield chunk

        resp.stream = chunks()


def reraise(req, resp, error, params):
    raise error  # so that an exception escapes, as elsewhere


async def reraise_async(req, resp, error, params):
    raise error


def route(app, form, stream):
    app.add_route("/", form(Hello()))
    app.add_route("/fail", form(Fail()))
    app.add_route("/status/{code:int}", form(Status()))
    app.add_route("/stream", stream)


def make_wsgi(options):
    app = falcon.App()
    app.add_error_handler(RuntimeError, reraise)
    route(app, lambda resource: resource, Stream())
    return app if options is None else wsgi.DockerflowMiddleware(app, **options)


def make_asgi(options):
    app = falcon.asgi.App()
    app.add_error_handler(RuntimeError, reraise_async)
    route(app, as_async, AsyncStream())
    return app if options is None else asgi.DockerflowMiddleware(app, **options)
