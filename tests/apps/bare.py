"""The app without a framework, and its WSGI form as an ASGI app by a2wsgi."""

from dockerflow import asgi, wsgi


def answer(path):
    """Return status and chunks."""
    if path == "/fail":
        raise RuntimeError("boom")
    if path.startswith("/status/"):
        return int(path.rpartition("/")[2]), [b"status"]
    return {"/": (200, [b"hello"]), "/stream": (200, [b"a", b"b", b"c"])}.get(path, (404, [b"no"]))


async def asgi_app(scope, receive, send):
    status, chunks = answer(scope["path"])
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for chunk in chunks if scope["method"] != "HEAD" else ():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def wsgi_app(environ, start_response):
    status, chunks = answer(environ["PATH_INFO"])
    start_response(f"{status} Phrase", [("Content-Type", "text/plain")])
    return chunks if environ["REQUEST_METHOD"] != "HEAD" else []


def make_asgi(options):
    return asgi_app if options is None else asgi.DockerflowMiddleware(asgi_app, **options)


def make_wsgi(options):
    return wsgi_app if options is None else wsgi.DockerflowMiddleware(wsgi_app, **options)


def make_a2wsgi(options):
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(make_wsgi(options))
