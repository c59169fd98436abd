"""The shortener by FastAPI. ``FRAMEWORK=fastapi python -m links serve`` runs it."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from servestatic import ServeStaticASGI
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from dockerflow.checks import contrib
from dockerflow.fastapi import install
from links import assets, health, hits, page, polling, storage
from links.codes import is_code
from links.schemas import MAX_BODY, Link, NewLink, Problem, explain
from links.settings import get_settings

settings = get_settings()
engine = storage.connect(settings)
store = storage.Storage(engine)
counter = hits.Hits(hits.connect(settings))
health.register(
    contrib.database(engine), contrib.migrations(engine, storage.ALEMBIC_INI), counter.client
)

# FastAPI's pages of documentation load their script from elsewhere; the schema is at /openapi.json.
app = FastAPI(title="Links", docs_url=None, redoc_url=None)
app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY)
app.add_middleware(ServeStaticASGI, **assets.options())
install(app)  # around everything, so that assets have request ids and summaries too


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer as the other ways do."""
    return JSONResponse(explain(error.errors()), status_code=422)


@app.exception_handler(HTTPException)
async def explain_status(_: Request, error: HTTPException) -> JSONResponse:
    """Answer what FastAPI itself refuses under the same key, such as a body that is no UTF-8."""
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


@app.exception_handler(Exception)
async def explain_failure(_: Request, __: Exception) -> JSONResponse:
    """Answer what failed under the same key; the server logs it."""
    return JSONResponse({"error": "Internal Server Error"}, 500)


def shown(request: Request, link: storage.StoredLink, count: int | None) -> Link:
    """Return what a client gets of a link."""
    short_url = f"{request.base_url}{link.code}"
    return Link(code=link.code, short_url=short_url, url=link.url, hits=count)


# Not async: SQLAlchemy's connections block, so these run in threads.


@app.get("/", include_in_schema=False)
@app.head("/", include_in_schema=False)
def index() -> HTMLResponse:
    """Show the page."""
    return HTMLResponse(page.render(), headers=page.HEADERS)


@app.get("/api/links")
@app.head("/api/links", include_in_schema=False)
def newest(request: Request, wait: str = "0") -> list[Link]:
    """Return the newest links; wait so many seconds for one that isn't there yet."""
    links = polling.newest(partial(store.newest, 20), wait)
    counts = counter.get([link.code for link in links])
    return [shown(request, *pair) for pair in zip(links, counts, strict=True)]


@app.post("/api/links", status_code=201, responses={422: {"model": Problem}})
def shorten(new: NewLink, request: Request) -> Link:
    """Keep a link."""
    link = store.add(new.url)
    [count] = counter.get([link.code])
    return shown(request, link, count)


@app.get("/{code}")
@app.head("/{code}", include_in_schema=False)
def follow(code: str, request: Request) -> Response:
    """Send the visitor where the link leads."""
    url = store.find(code) if is_code(code) else None
    if url is None:
        return PlainTextResponse("There is no such link.", status_code=404)
    if request.method == "GET":
        counter.add(code)
    return RedirectResponse(url, status_code=302, headers={"Cache-Control": "no-store"})
