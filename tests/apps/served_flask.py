"""What the tests with real servers serve of Flask."""

from flask import Response, stream_with_context

from apps import served
from apps.flask_app import make_wsgi
from dockerflow.flask import Dockerflow

app = make_wsgi()
Dockerflow(app, version_path=".")


@app.get("/endless")
def endless() -> Response:
    chunks = served.wsgi_app({"PATH_INFO": "/endless"}, lambda status, headers: None)
    return Response(stream_with_context(chunks), 206)
