"""Flask."""

from collections.abc import Iterator

from flask import Flask, Response

from apps import BROKEN, CHUNKS


def make_wsgi() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def root() -> str:
        return "hello"

    @app.get("/fail")
    def fail() -> str:
        raise ValueError(BROKEN)

    @app.get("/status/500")
    def status_500() -> tuple[str, int]:
        return "oh", 500

    @app.get("/stream")
    def stream() -> Response:
        def chunks() -> Iterator[bytes]:
            yield from CHUNKS

        return Response(chunks())

    return app
