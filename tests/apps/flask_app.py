"""Flask."""

from collections.abc import Callable, Iterator

from flask import Flask, Response

from apps import BROKEN, CHUNKS, CORS, settings_of
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.flask import Dockerflow


def make_wsgi() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def root() -> str:
        return "hello"

    @app.get("/fail")
    def fail() -> str:
        raise ValueError(BROKEN)

    @app.get("/status/500")
    def status_500() -> tuple[str, int, dict[str, str]]:
        return "oh", 500, CORS

    @app.get("/stream")
    def stream() -> Response:
        def chunks() -> Iterator[bytes]:
            yield from CHUNKS

        return Response(chunks())

    return app


def make_with_dockerflow(config: Config, registry: Registry) -> Flask:
    return build_flask(make_wsgi, config=config, registry=registry)


def build_flask(make_app: Callable[[], Flask], *, config: Config, registry: Registry) -> Flask:
    """Make the app with the extension around it, and its settings in ``app.config``."""
    app = make_app()
    app.config.update(settings_of(config))
    Dockerflow(app, registry=registry)
    return app
