"""What real applications have, once per framework: forms, sessions, files, streams, error pages.

All have the same routes; what they answer is their framework's own.
"""

import hashlib
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

LINES = tuple(f"line {number}\n".encode() for number in range(50))
DATA = bytes(range(256)) * 8
SECRET = "of no use here"
done: list[str] = []
"""What the background tasks did."""


class OwnError(Exception):
    """An error with a page of its own."""


def lines() -> Iterator[bytes]:
    yield from LINES


async def async_lines() -> AsyncIterator[bytes]:
    for line in LINES:
        yield line


# Without a framework: one function, for both protocols.

Answer = tuple[int, list[tuple[str, str]], Any]


def respond(  # noqa: PLR0911, PLR0912 - one for each route
    method: str, path: str, headers: dict[str, str], body: bytes
) -> Answer:
    plain = [("Content-Type", "text/plain")]
    match path:
        case "/form":
            fields = parse_qs(body.decode(), keep_blank_values=True)
            return 200, [("Content-Type", "application/json")], [json.dumps(fields).encode()]
        case "/upload":
            message = EmailMessage()
            message["Content-Type"] = headers.get("content-type", "")
            answer = [message.get_content_type(), len(body), hashlib.sha256(body).hexdigest()]
            return 201, plain, [str(answer).encode()]
        case "/login":
            cookies = [("Set-Cookie", "session=abc; HttpOnly"), ("Set-Cookie", "theme=dark")]
            return 200, [*cookies, *plain], [b"welcome"]
        case "/me":
            return 200, plain, [headers.get("cookie", "nobody").encode()]
        case "/redirect":
            return 302, [("Location", "/me"), *plain], []
        case "/file":
            tag = '"tag"'
            if headers.get("if-none-match") == tag:
                return 304, [("ETag", tag)], []
            asked = headers.get("range", "").removeprefix("bytes=")
            if asked:
                first, last = map(int, asked.split("-"))
                if first >= len(DATA):
                    return 416, [("Content-Range", f"bytes */{len(DATA)}"), *plain], []
                part = DATA[first : last + 1]
                shown = f"bytes {first}-{first + len(part) - 1}/{len(DATA)}"
                return 206, [("Content-Range", shown), *plain], [part]
            return 200, [("ETag", tag), ("Content-Length", str(len(DATA))), *plain], [DATA]
        case "/download":
            return 200, [("X-Twice", "a"), ("X-Twice", "b"), *plain], lines()
        case "/background":
            done.append("bare")
            return 202, plain, [b"later"]
        case "/own-error":
            return 418, [("Content-Type", "text/html")], [b"<h1>My own page</h1>"]
        case "/fail":
            raise ValueError("100% broken")
        case _:
            return 404, [("Content-Type", "text/html")], [b"<h1>My own 404</h1>"]


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-own", b"1")]})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close", "code": 1000})
        return
    assert scope["type"] == "http"
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    status, out, chunks = respond(scope["method"], scope["path"], headers, body)
    raw = [(name.lower().encode(), value.encode()) for name, value in out]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    for chunk in chunks if scope["method"] != "HEAD" else ():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


def bare_wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    headers = {
        key.removeprefix("HTTP_").lower().replace("_", "-"): value
        for key, value in environ.items()
        if key.startswith("HTTP_") or key == "CONTENT_TYPE"
    }
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    method = environ["REQUEST_METHOD"]
    status, out, chunks = respond(method, environ["PATH_INFO"], headers, body)
    start_response(f"{status} Phrase", out)
    return chunks if method != "HEAD" else []


# Starlette and FastAPI


def _starlette_handlers(file: Path) -> dict[str, Any]:
    from starlette.background import BackgroundTask
    from starlette.responses import (
        FileResponse,
        JSONResponse,
        PlainTextResponse,
        RedirectResponse,
        StreamingResponse,
    )

    async def form(request: Any) -> Any:
        return JSONResponse((await request.form()).multi_items())

    async def upload(request: Any) -> Any:
        async with request.form() as fields:
            content = await fields["file"].read()
            answer = [fields["file"].filename, len(content), fields["note"]]
        return JSONResponse(answer, status_code=201)

    async def login(request: Any) -> Any:
        request.session["user"] = "ann"
        response = PlainTextResponse("welcome")
        response.set_cookie("theme", "dark", httponly=True)
        response.set_cookie("seen", "1")
        return response

    async def me(request: Any) -> Any:
        return JSONResponse([request.session.get("user"), request.cookies.get("theme")])

    async def redirect(request: Any) -> Any:
        return RedirectResponse("/me")

    async def serve(request: Any) -> Any:
        return FileResponse(file)

    async def download(request: Any) -> Any:
        response = StreamingResponse(async_lines(), media_type="text/csv")
        response.headers.append("x-twice", "a")
        response.headers.append("x-twice", "b")
        return response

    def background(request: Any) -> Any:
        task = BackgroundTask(done.append, "starlette")
        return PlainTextResponse("later", 202, background=task)

    async def own_error(request: Any) -> Any:
        raise OwnError

    async def fail(request: Any) -> Any:
        raise ValueError("100% broken")

    async def socket(websocket: Any) -> None:
        await websocket.accept(headers=[(b"x-own", b"1")])
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    return dict(locals())


def _starlette_parts(file: Path) -> dict[str, Any]:
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.middleware.sessions import SessionMiddleware
    from starlette.responses import HTMLResponse
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles

    handlers = _starlette_handlers(file)
    both, get = ["GET", "POST"], ["GET"]
    names = {
        "form": both, "upload": both, "login": get, "me": get, "redirect": get, "download": get,
        "background": get, "fail": get,
    }  # fmt: skip
    routes: list[Any] = [Route(f"/{name}", handlers[name], methods=m) for name, m in names.items()]
    routes += [
        Route("/file", handlers["serve"]),
        Route("/own-error", handlers["own_error"]),
        Route("/with-slash/", handlers["me"]),
        WebSocketRoute("/socket", handlers["socket"]),
        Mount("/static", StaticFiles(directory=file.parent)),
    ]

    async def page_404(request: Any, error: Any) -> Any:
        return HTMLResponse("<h1>My own 404</h1>", 404)

    async def page_418(request: Any, error: Any) -> Any:
        return HTMLResponse("<h1>My own page</h1>", 418)

    async def page_500(request: Any, error: Any) -> Any:
        return HTMLResponse("<h1>My own 500</h1>", 500)

    return {
        "routes": routes,
        "middleware": [
            Middleware(SessionMiddleware, secret_key=SECRET),
            Middleware(GZipMiddleware, minimum_size=100),
        ],
        "exception_handlers": {404: page_404, OwnError: page_418, 500: page_500},
    }


def make_starlette(file: Path) -> Any:
    from starlette.applications import Starlette

    return Starlette(**_starlette_parts(file))


def make_fastapi(file: Path) -> Any:
    from fastapi import FastAPI

    parts = _starlette_parts(file)
    routes = parts.pop("routes")
    app = FastAPI(**parts)
    app.router.routes.extend(routes)

    @app.get("/items/{number}")
    def item(number: int) -> dict[str, int]:
        return {"number": number}

    return app


# Flask


def make_flask(file: Path) -> Any:
    import flask

    app = flask.Flask(__name__, static_folder=str(file.parent), static_url_path="/static")
    app.secret_key = SECRET

    @app.route("/form", methods=["GET", "POST"])
    def form() -> Any:
        return flask.jsonify(list(flask.request.form.items(multi=True)))

    @app.post("/upload")
    def upload() -> Any:
        sent = flask.request.files["file"]
        return flask.jsonify(sent.filename, len(sent.read()), flask.request.form["note"]), 201

    @app.get("/login")
    def login() -> Any:
        flask.session["user"] = "ann"
        response = flask.make_response("welcome")
        response.set_cookie("theme", "dark", httponly=True)
        response.set_cookie("seen", "1")
        return response

    @app.get("/me")
    @app.get("/with-slash/")
    def me() -> Any:
        return flask.jsonify(flask.session.get("user"), flask.request.cookies.get("theme"))

    @app.get("/redirect")
    def redirect() -> Any:
        return flask.redirect(flask.url_for("me"))

    @app.get("/file")
    def serve() -> Any:
        return flask.send_file(file, conditional=True)

    @app.get("/download")
    def download() -> Any:
        headers = [("X-Twice", "a"), ("X-Twice", "b")]
        return flask.Response(flask.stream_with_context(lines()), headers=headers)

    @app.get("/background")
    def background() -> Any:
        response = flask.Response("later", 202)
        response.call_on_close(lambda: done.append("flask"))
        return response

    @app.get("/own-error")
    def own_error() -> Any:
        raise OwnError

    @app.get("/fail")
    def fail() -> Any:
        raise ValueError("100% broken")

    @app.after_request
    def after(response: Any) -> Any:
        response.headers["X-After"] = "1"
        return response

    app.register_error_handler(OwnError, lambda error: ("<h1>My own page</h1>", 418))
    app.register_error_handler(404, lambda error: ("<h1>My own 404</h1>", 404))
    app.register_error_handler(500, lambda error: ("<h1>My own 500</h1>", 500))
    return app


# Django: see real_django.py


def django_settings(file: Path) -> dict[str, Any]:
    importlib.import_module("apps.django_app")  # configures Django
    return {
        "ROOT_URLCONF": "apps.real_django",
        "MIDDLEWARE": [
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.gzip.GZipMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.http.ConditionalGetMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
            "apps.real_django.own_errors",
        ],
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "SESSION_EXPIRE_AT_BROWSER_CLOSE": True,
        "SERVED_FILE": file,
    }


# Sanic


def make_sanic(file: Path, number: int) -> Any:
    import sanic

    # Its way to have several apps in one process, one after the other.
    sanic.Sanic.test_mode = True
    sanic.Sanic._app_registry.clear()
    app: Any = sanic.Sanic(f"real{number}", configure_logging=False)

    @app.route("/form", methods=["GET", "POST"])
    async def form(request: Any) -> Any:
        return sanic.json({name: request.form.getlist(name) for name in request.form or ()})

    @app.post("/upload")
    async def upload(request: Any) -> Any:
        sent = request.files.get("file")
        return sanic.json([sent.name, len(sent.body), request.form.get("note")], 201)

    @app.get("/login")
    async def login(request: Any) -> Any:
        response = sanic.text("welcome")
        response.add_cookie("theme", "dark", httponly=True)
        response.add_cookie("seen", "1")
        return response

    @app.get("/me")
    async def me(request: Any) -> Any:
        return sanic.json([request.cookies.get("theme")])

    @app.get("/redirect")
    async def redirect(request: Any) -> Any:
        return sanic.redirect("/me")

    @app.get("/file")
    async def serve(request: Any) -> Any:
        return await sanic.response.file(file, request_headers=request.headers)

    @app.get("/download")
    async def download(request: Any) -> Any:
        response = await request.respond(content_type="text/csv")
        for line in LINES:
            await response.send(line)
        await response.eof()

    @app.get("/background")
    async def background(request: Any) -> Any:
        async def task() -> None:
            done.append("sanic")

        await request.app.add_task(task())
        return sanic.text("later", 202)

    @app.get("/own-error")
    async def own_error(request: Any) -> Any:
        raise OwnError

    @app.get("/fail")
    async def fail(request: Any) -> Any:
        raise ValueError("100% broken")

    @app.exception(OwnError)
    async def page_418(request: Any, error: Any) -> Any:
        return sanic.html("<h1>My own page</h1>", 418)

    @app.exception(sanic.exceptions.NotFound)
    async def page_404(request: Any, error: Any) -> Any:
        return sanic.html("<h1>My own 404</h1>", 404)

    @app.on_response
    async def after(request: Any, response: Any) -> None:
        response.headers["X-After"] = "1"

    app.static("/static", file.parent)
    return app


def make_aiohttp(file: Path) -> Any:
    from aiohttp import web

    @web.middleware
    async def own_pages(request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except OwnError:
            return web.Response(text="<h1>My own page</h1>", status=418, content_type="text/html")
        except web.HTTPNotFound:
            return web.Response(text="<h1>My own 404</h1>", status=404, content_type="text/html")

    async def form(request: Any) -> Any:
        sent = await request.post()
        return web.json_response({name: sent.getall(name) for name in sent})

    async def upload(request: Any) -> Any:
        sent = await request.post()
        size = len(sent["file"].file.read())
        return web.json_response([sent["file"].filename, size, sent["note"]], status=201)

    async def login(request: Any) -> Any:
        response = web.Response(text="welcome")
        response.set_cookie("theme", "dark", httponly=True)
        response.set_cookie("seen", "1")
        return response

    async def me(request: Any) -> Any:
        return web.json_response([request.cookies.get("theme")])

    async def redirect(request: Any) -> Any:
        raise web.HTTPFound("/me")

    async def serve(request: Any) -> Any:
        return web.FileResponse(file)

    async def download(request: Any) -> Any:
        response = web.StreamResponse(headers={"Content-Type": "text/csv"})
        response.enable_compression()
        await response.prepare(request)
        for line in LINES:
            await response.write(line)
        return response

    async def background(request: Any) -> Any:
        done.append("aiohttp")
        return web.Response(text="later", status=202)

    async def own_error(request: Any) -> Any:
        raise OwnError

    async def fail(request: Any) -> Any:
        raise ValueError("100% broken")

    async def after(request: Any, response: Any) -> None:
        response.headers["X-After"] = "1"

    app = web.Application(middlewares=[own_pages])
    app.on_response_prepare.append(after)
    routes = [form, login, me, redirect, download, background, fail]
    app.add_routes([web.get(f"/{handler.__name__}", handler) for handler in routes])
    app.add_routes([web.get("/own-error", own_error), web.get("/file", serve)])
    app.add_routes([web.post("/form", form), web.post("/upload", upload)])
    app.add_routes([web.static("/static", file.parent)])
    return app
