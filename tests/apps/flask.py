"""The app in Flask."""

from flask import Flask

from dockerflow.wsgi import DockerflowMiddleware


def make_wsgi(options):
    app = Flask("contract")
    app.config["PROPAGATE_EXCEPTIONS"] = True  # so that an exception escapes, as elsewhere
    if options is not None:
        app.wsgi_app = DockerflowMiddleware(app.wsgi_app, **options)

    @app.get("/")
    def hello():
        return "hello"

    @app.get("/fail")
    def fail():
        raise RuntimeError("boom")

    @app.get("/status/<int:code>")
    def status(code):
        return "status", code

    @app.get("/stream")
    def stream():
        return iter("abc")

    return app
