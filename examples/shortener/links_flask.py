"""The shortener by Flask. ``FRAMEWORK=flask python -m links serve`` runs it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from flask import Flask, Response, json, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError
from servestatic import ServeStatic
from werkzeug.exceptions import HTTPException

from dockerflow.checks import contrib
from dockerflow.flask import Dockerflow
from links import assets, health, hits, page, polling, storage
from links.codes import is_code
from links.schemas import MAX_BODY, Link, NewLink, explain
from links.settings import get_settings

settings = get_settings()
engine = storage.connect(settings)
store = storage.Storage(engine)
counter = hits.Hits(hits.connect(settings))
health.register(
    contrib.database(engine), contrib.migrations(engine, storage.ALEMBIC_INI), counter.client
)

app = Flask(__name__, static_folder=None)
app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
app.wsgi_app = ServeStatic(app.wsgi_app, **assets.options())  # type: ignore[method-assign]
# After it and so around it: assets have request ids and summaries too.
Dockerflow(app, version_path=Path(__file__).parent)


def shown(link: storage.StoredLink, count: int | None) -> dict[str, object]:
    """Return what a client gets of a link."""
    short_url = f"{request.url_root}{link.code}"
    return Link(code=link.code, short_url=short_url, url=link.url, hits=count).model_dump()


@app.errorhandler(HTTPException)
def explain_status(error: HTTPException) -> ResponseReturnValue:
    """Answer what Flask itself refuses, or fails at, under the key of our own errors."""
    response = error.get_response()
    response.set_data(json.dumps({"error": error.name}))
    response.content_type = "application/json"
    return response


@app.get("/")
def index() -> ResponseReturnValue:
    """Show the page."""
    return page.render(), page.HEADERS


@app.get("/api/links")
def newest() -> Response:
    """Return the newest links; wait so many seconds for one that isn't there yet."""
    links = polling.newest(partial(store.newest, 20), request.args.get("wait", "0"))
    counts = counter.get([link.code for link in links])
    return jsonify([shown(*pair) for pair in zip(links, counts, strict=True)])


@app.post("/api/links")
def shorten() -> ResponseReturnValue:
    """Keep a link."""
    try:
        new = NewLink.model_validate_json(request.get_data())
    except ValidationError as error:
        return explain(error.errors()), 422
    link = store.add(new.url)
    [count] = counter.get([link.code])
    return shown(link, count), 201


@app.get("/<code>")
def follow(code: str) -> ResponseReturnValue:
    """Send the visitor where the link leads."""
    url = store.find(code) if is_code(code) else None
    if url is None:
        return Response("There is no such link.", 404, mimetype="text/plain")
    if request.method == "GET":
        counter.add(code)
    response = redirect(url, code=302)
    response.headers["Cache-Control"] = "no-store"
    return response
