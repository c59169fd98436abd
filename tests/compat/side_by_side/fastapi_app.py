"""Applications of FastAPI."""

import asyncio
import contextlib
import io
import json
import logging
import os
import pathlib
import tempfile
from unittest import mock

import fastapi
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient

from dockerflow import checks
from dockerflow.fastapi import router
from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware
from dockerflow.logging import MozlogFormatter, request_id_context

from .observe import RECORDS, attempt, encode, response, scenario

HEADERS = {"User-Agent": "agent/1", "Accept-Language": "de", "X-Request-ID": "given"}
BOTH = (MozlogRequestSummaryLogger, RequestIdMiddleware)


def folder(version=None):
    made = pathlib.Path(tempfile.mkdtemp())
    if version is not None:
        (made / "version.json").write_text(json.dumps(version))
    return str(made)


def make(version=None, middlewares=BOTH, **options):
    app = fastapi.FastAPI(**options)
    app.state.APP_DIR = folder(version)
    app.include_router(router)
    for middleware in middlewares:
        app.add_middleware(middleware)

    @app.get("/")
    async def index():
        return {"id": request_id_context.get()}

    @app.get("/sync")
    def sync():
        return {"id": request_id_context.get()}

    @app.get("/raises")
    async def raises():
        raise ValueError("no")

    @app.get("/forbidden")
    async def forbidden():
        raise fastapi.HTTPException(403, "no")

    @app.post("/created", status_code=201)
    async def created(body: dict):
        return body

    @app.get("/stream")
    async def stream():
        async def parts():
            yield b"a"
            yield b"b"

        return StreamingResponse(parts())

    @app.get("/logs")
    async def logs():
        logging.getLogger("app").info("from the view")
        return {}

    return app


def ask(app, path="/", method="GET", headers=HEADERS, *, keep=False, **options):
    RECORDS.take()
    client = TestClient(app, raise_server_exceptions=False)
    del client.headers["User-Agent"]
    got = client.request(method, path, headers=headers, **options)
    return {
        "response": response(got.status_code, got.headers.items(), got.content),
        "records": {} if keep else RECORDS.take(),
    }


def ok():
    return []


def warning():
    return [checks.Warning("low", id="app.W001")]


def error():
    return [checks.Error("down", id="app.E001")]


@scenario
def endpoints():
    app = make({"version": "1.0", "commit": "abc", "name": "ü"})
    checks.register(ok)
    checks.register(warning)
    seen = {}
    for path in ("/__version__", "/__lbheartbeat__", "/__heartbeat__"):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            seen[f"{method} {path}"] = ask(app, path, method)
        seen[f"GET {path}/"] = ask(app, path + "/", follow_redirects=False)
    checks.register(error)
    seen["failing"] = ask(app, "/__heartbeat__")
    app.state.DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE = 503
    seen["failing with 503"] = ask(app, "/__heartbeat__")
    app.state.DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE = "599"
    seen["failing with 599, as a text"] = ask(app, "/__heartbeat__")["response"]["status"]
    seen["text"] = TestClient(app).get("/__heartbeat__").text
    return seen


@scenario
def without_middlewares():
    app = make({"version": "1.0"}, middlewares=())
    return {
        path: ask(app, path)
        for path in ("/", "/__version__", "/__lbheartbeat__", "/__heartbeat__", "/__error__")
    }


@scenario
def versions():
    app = make()
    seen = {"missing": ask(app, "/__version__")}
    del app.state.APP_DIR
    os.environ["APP_DIR"] = folder({"version": "environment"})
    seen["environment"] = ask(app, "/__version__")["response"]
    app.state.APP_DIR = folder({"version": "state"})
    seen["state"] = ask(app, "/__version__")["response"]["body"]
    app.state.APP_DIR = pathlib.Path(folder({"version": "path"}))
    seen["Path"] = ask(app, "/__version__")["response"]["body"]
    with mock.patch("dockerflow.fastapi.views.get_version", return_value={"v": 1}) as patched:
        seen["patched in views"] = ask(app, "/__version__")["response"]["body"]
        seen["called with"] = [type(call.args[0]).__name__ for call in patched.call_args_list]
    with mock.patch("dockerflow.fastapi.views.get_version", return_value=None):
        seen["patched with None"] = ask(app, "/__version__")["response"]
    del app.state.APP_DIR
    del os.environ["APP_DIR"]
    with mock.patch("dockerflow.fastapi.views.get_version", return_value={"v": 1}) as patched:
        ask(app, "/__version__")
        seen["default"] = [str(call.args[0]) for call in patched.call_args_list]
    with mock.patch("dockerflow.version.get_version", return_value={"v": 1}):
        app.state.APP_DIR = folder({"version": "state"})
        seen["patched in version"] = ask(app, "/__version__")["response"]["body"]
    app.state.APP_DIR = folder()
    pathlib.Path(app.state.APP_DIR, "version.json").write_text("{")
    seen["not JSON"] = ask(app, "/__version__")
    return seen


@scenario
def error_endpoint():
    app = make()
    seen = {"off": ask(app, "/__error__")}
    app.state.DOCKERFLOW_ERROR_ENDPOINT = True
    seen["on"] = ask(app, "/__error__")
    return seen


@scenario
def summaries():
    app = make()
    app.state.DOCKERFLOW_SUMMARY_LOG_QUERYSTRING = True
    return {
        "plain": ask(app),
        "sync": ask(app, "/sync"),
        "without headers": ask(app, headers={}),
        "not found": ask(app, "/missing"),
        "not allowed": ask(app, "/", "POST"),
        "raises": ask(app, "/raises"),
        "forbidden": ask(app, "/forbidden"),
        "created": ask(app, "/created", "POST", json={"a": 1}),
        "invalid": ask(app, "/created", "POST", json=[]),
        "stream": ask(app, "/stream"),
        "query string": ask(app, "/?a=1&b=%C3%BC+x&c=%2F"),
        "secret": ask(app, "/?password=x&a=1"),
        "encoded path": ask(app, "/%C3%BC"),
        "mounted": ask(make(root_path="/mounted"), "/mounted/"),
        "line of the view": ask(app, "/logs"),
    }


@scenario
def mozlog():
    seen = {}
    for path in ("/", "/raises"):
        ask(make(), path, keep=True)
        seen[path] = RECORDS.lines()
    return seen


@scenario
def middlewares():
    class Adding(MozlogRequestSummaryLogger):
        def _format(self, scope, info):
            return {**super()._format(scope, info), "added": 1}

    class Logging(MozlogRequestSummaryLogger):
        async def __call__(self, scope, receive, send):
            logging.getLogger("app").info("before")
            await super().__call__(scope, receive, send)

    own = make(middlewares=())
    own.add_middleware(MozlogRequestSummaryLogger, logger=logging.getLogger("app.summary"))
    positional = make(middlewares=())
    positional.add_middleware(MozlogRequestSummaryLogger, logging.getLogger("app.summary"))
    instance = MozlogRequestSummaryLogger(make(middlewares=()))
    seen = {
        "in the other order": ask(make(middlewares=BOTH[::-1])),
        "summary only": ask(make(middlewares=BOTH[:1])),
        "ids only": ask(make(middlewares=BOTH[1:])),
        "own logger": ask(own),
        "own logger by position": ask(positional),
        "_format overridden": ask(make(middlewares=(Adding,))),
        "__call__ overridden": ask(make(middlewares=(Logging,))),
        "attributes": attempt(lambda: [instance.logger.name, type(instance.app).__name__]),
        "wrapped": attempt(lambda: ask(MozlogRequestSummaryLogger(make(middlewares=())))),
        "RequestIdMiddleware's app": attempt(
            lambda: type(RequestIdMiddleware(make(middlewares=())).app).__name__
        ),
    }
    instance.logger = logging.getLogger("app.replaced")
    seen["logger replaced"] = attempt(lambda: ask(instance))
    return seen


@scenario
def handlers():
    logger = logging.getLogger("request.summary")
    seen = {"before": len(logger.handlers)}
    for _ in range(2):
        ask(make())
    seen["after two apps"] = len(logger.handlers)
    seen["level"] = logger.level
    return seen


@scenario
def printed():
    """What is on standard output, by the handlers that the root logger has."""
    text = logging.StreamHandler(io.StringIO())
    text.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    mozlog = logging.StreamHandler(io.StringIO())
    mozlog.setFormatter(MozlogFormatter(logger_name="app"))
    logger = logging.getLogger("request.summary")
    seen = {}
    for name, handlers in {"none": [], "text": [text], "mozlog": [mozlog]}.items():
        logging.root.handlers[:] = handlers
        logger.handlers.clear()
        with contextlib.redirect_stdout(io.StringIO()) as output:
            ask(make())
        lines = [json.loads(line) for line in output.getvalue().splitlines()]
        seen[name] = [
            [line["Type"], line["Fields"]["path"], line["Fields"]["rid"]] for line in lines
        ]
    seen["mozlog, by the root"] = len(mozlog.stream.getvalue().splitlines())
    return seen


@scenario
def with_other_middleware():
    app = make(middlewares=())
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    for middleware in BOTH:
        app.add_middleware(middleware)

    @app.middleware("http")
    async def timing(request, call_next):
        got = await call_next(request)
        got.headers["X-App"] = "1"
        got.headers["X-Seen-Id"] = str(request_id_context.get())
        return got

    @app.exception_handler(ValueError)
    async def failed(request, error):
        return JSONResponse({"error": "own"}, 418)

    @app.exception_handler(404)
    async def missing(request, error):
        return JSONResponse({"error": "missing"}, 404)

    checks.register(error)
    return {
        path: ask(app, path, headers={**HEADERS, "Origin": "https://example.org"})
        for path in ("/", "/missing", "/raises", "/__lbheartbeat__", "/__heartbeat__")
    }


@scenario
def ids():
    app = make()
    seen = {"made": ask(app, headers={}), "odd": ask(app, headers={"X-Request-ID": "a b"})}
    app.state.DOCKERFLOW_REQUEST_ID_HEADER_NAME = "x-trace"
    seen["other header"] = ask(app, headers={"X-Trace": "t", "X-Request-ID": "r"})
    app.state.DOCKERFLOW_REQUEST_ID_HEADER_NAME = "X-Trace"
    seen["other header, in capitals"] = ask(app, headers={"X-Trace": "t", "X-Request-ID": "r"})
    return seen


@scenario
def lifespans():
    """Checks of clients that are made at startup, registered each time."""

    class Service:
        def __init__(self, text):
            self.text = text

        async def up(self):
            return [checks.Info(self.text, id="app.I001")]

        def sync(self, *given):
            return [checks.Info(f"{self.text} {given}", id="app.I002")]

    started = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        started.append(1)
        service = Service(f"service {len(started)}")
        checks.register(service.up, name="service.up")
        checks.register_partial(service.sync, 1, 2, name="service.sync")

        @checks.register
        def inner():
            return [checks.Info(service.text, id="app.I003")]

        yield

    seen = {}
    app = make(lifespan=lifespan)
    for number in ("first", "second"):
        RECORDS.take()

        def started_once():
            with TestClient(app) as client:
                got = client.get("/__heartbeat__")
                return {"status": got.status_code, "body": got.json()}

        seen[number] = {"response": attempt(started_once), "records": RECORDS.take()}
    return seen


@scenario
def routes():
    listed = {}
    for route in router.routes:
        listed.setdefault(route.path, []).append(
            [",".join(sorted(route.methods)), route.name, route.include_in_schema]
        )
    schema = make({"version": "1"}).openapi()["paths"]
    prefixed = fastapi.FastAPI()
    prefixed.include_router(router, prefix="/prefix", tags=["more"])
    return {
        "routes": listed,
        "tags": router.tags,
        "openapi": {
            path: {
                method: {
                    "tags": operation.get("tags"),
                    "summary": operation.get("summary"),
                    "responses": operation.get("responses"),
                }
                for method, operation in schema[path].items()
            }
            for path in sorted(schema)
            if path.startswith("/__")
        },
        "url_path_for": attempt(lambda: str(make().url_path_for("heartbeat"))),
        "prefixed": ask(prefixed, "/prefix/__lbheartbeat__")["response"],
        "prefixed heartbeat": ask(prefixed, "/prefix/__heartbeat__")["response"],
        "not prefixed": ask(prefixed, "/__lbheartbeat__")["response"],
    }


@scenario
def views_on_own_routes():
    import dockerflow.fastapi
    from dockerflow.fastapi import views

    seen = {}
    for name in ("heartbeat", "lbheartbeat", "version", "error"):

        def used(name=name):
            app = fastapi.FastAPI()
            app.state.APP_DIR = folder({"version": "1"})
            app.add_api_route("/own", getattr(dockerflow.fastapi, name))
            return ask(app, "/own")["response"]

        seen[name] = attempt(used)
        seen[f"{name} in views"] = attempt(
            lambda name=name: getattr(views, name) is getattr(dockerflow.fastapi, name)
        )
    seen["lbheartbeat called"] = attempt(lambda: views.lbheartbeat())
    request = mock.Mock()
    request.app.state = fastapi.FastAPI().state
    request.app.state.APP_DIR = folder({"version": "1"})
    seen["version called"] = attempt(lambda: views.version(request))
    checks.register(error)
    answered = fastapi.Response()
    seen["heartbeat called"] = attempt(lambda: asyncio.run(views.heartbeat(request, answered)))
    seen["status set"] = answered.status_code
    seen["error called"] = attempt(lambda: views.error(request))
    seen["logger"] = attempt(lambda: views.logger.name)
    return seen


@scenario
def own_heartbeat():
    """As applications that serve /__heartbeat__ themselves, with the checks."""
    app = fastapi.FastAPI()

    def payload(results):
        return {
            "status": checks.level_to_text(results.level),
            "checks": results.statuses,
            "details": results.details,
        }

    @app.get("/sync")
    def sync():
        return payload(checks.run_checks(checks.get_checks().items()))

    @app.get("/async")
    async def asynchronous():
        return payload(await checks.run_checks_async(checks.get_checks().items()))

    checks.register(warning)
    checks.register(error)
    return {path: ask(app, path)["response"] for path in ("/sync", "/async")}


async def called(app, scope, messages=()):
    """Call an ASGI application by hand."""
    sent = []
    queue = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message["type"])

    base = {
        "type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "query_string": b"",
        "headers": [], "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "root_path": "", "client": None, "server": None,
    }  # fmt: skip
    await app({**base, **scope}, receive, send)
    return sent


@scenario
def by_hand():
    async def inner(scope, receive, send):
        if scope["path"] == "/silent":
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    seen = {}
    for name, scope in {
        "without app in the scope": {},
        "with app": {"app": fastapi.FastAPI()},
        "no response": {"app": fastapi.FastAPI(), "path": "/silent"},
        "websocket": {"type": "websocket", "app": fastapi.FastAPI()},
        "lifespan": {"type": "lifespan"},
    }.items():
        for middleware in BOTH:
            seen[f"{name}, {middleware.__name__}"] = {
                "sent": attempt(
                    lambda scope=scope, middleware=middleware: asyncio.run(
                        called(middleware(inner), scope)
                    )
                ),
                "records": RECORDS.take(),
            }
    seen["id after the request"] = encode(request_id_context.get())
    return seen
