"""Applications of Sanic."""

import asyncio
import json
import logging
import pathlib
import tempfile
from unittest import mock

import redis
import sanic
from sanic.compat import Header
from sanic.exceptions import Forbidden
from sanic.request import Request
from sanic_testing.testing import SanicASGITestClient

from dockerflow import checks
from dockerflow.logging import request_id_context
from dockerflow.sanic import Dockerflow
from dockerflow.sanic import checks as ready_made

from .observe import RECORDS, attempt, encode, messages, response, scenario, warned

HEADERS = {"User-Agent": "agent/1", "Accept-Language": "de", "X-Request-ID": "given"}
COUNT = iter(range(1000))


def folder(version=None):
    made = pathlib.Path(tempfile.mkdtemp())
    if version is not None:
        (made / "version.json").write_text(json.dumps(version))
    return str(made)


def make(version=None, extension=Dockerflow, config=None, **options):
    app = sanic.Sanic(f"app{next(COUNT)}")
    app.config.update(config or {})
    options.setdefault("version_path", folder(version))
    app.ctx.dockerflow = extension(app, **options)

    @app.get("/")
    async def index(request):
        return sanic.text("hello")

    @app.get("/ids")
    async def ids(request):
        return sanic.json(
            {
                "ctx.id": request.ctx.id,
                "context": request_id_context.get(),
                "start": type(request.ctx.start_timestamp).__name__,
            }
        )

    @app.get("/raises")
    async def raises(request):
        raise ValueError("no")

    @app.get("/forbidden")
    async def forbidden(request):
        raise Forbidden("no")

    @app.post("/created")
    async def created(request):
        return sanic.json({"id": 1}, 201)

    return app


def text(app, path):
    async def asked():
        _, got = await SanicASGITestClient(app, base_url="http://localhost").get(path)
        return got.text

    return asyncio.run(asked())


def ask(app, path="/", method="get", headers=HEADERS, *, keep=False):
    async def asked():
        client = SanicASGITestClient(app, base_url="http://localhost")
        client.headers.clear()
        _, got = await client.request(method, path, headers=headers)
        return response(got.status_code, got.headers.items(), got.content)

    RECORDS.take()
    return {"response": asyncio.run(asked()), "records": {} if keep else RECORDS.take()}


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
        for method in ("GET", "HEAD", "POST"):
            seen[f"{method} {path}"] = ask(app, path, method)
        seen[f"GET {path}/"] = ask(app, path + "/")
    checks.register(error)
    seen["failing"] = ask(app, "/__heartbeat__")
    app.config["DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE"] = 503
    seen["failing with 503"] = ask(app, "/__heartbeat__")
    app.config.DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE = "599"
    seen["failing with 599, as a text"] = ask(app, "/__heartbeat__")["response"]["status"]
    seen["text"] = text(app, "/__heartbeat__")
    seen["routes"] = {
        route.name.split(".", 1)[1]: [route.path, ",".join(sorted(route.methods))]
        for route in app.router.routes
        if "dockerflow" in route.name
    }
    seen["url_for"] = attempt(lambda: app.url_for("dockerflow.heartbeat"))
    return seen


@scenario
def versions():
    app = make()
    seen = {"missing": ask(app, "/__version__")}

    @app.ctx.dockerflow.version_callback
    async def version(root):
        return {"version": "own", "root": isinstance(root, str)}

    seen["async callback"] = ask(app, "/__version__")["response"]
    seen["decorated"] = encode(version)
    app.ctx.dockerflow.version_callback(lambda root: {"version": "sync"})
    seen["sync callback"] = ask(app, "/__version__")["response"]["body"]
    app.ctx.dockerflow.version_callback(lambda root: None)
    seen["callback gives None"] = ask(app, "/__version__")["response"]
    patched = make({"version": "1.0"})
    extension = patched.ctx.dockerflow
    with mock.patch.object(extension, "_version_callback", return_value={"version": "p"}):
        seen["_version_callback"] = ask(patched, "/__version__")["response"]["body"]
    with mock.patch("dockerflow.version.get_version", return_value={"version": "p"}):
        seen["get_version, before"] = ask(make({"version": "1"}), "/__version__")["response"][
            "body"
        ]
        seen["get_version, after"] = ask(patched, "/__version__")["response"]["body"]
    seen["default path"] = Dockerflow().version_path
    broken = make()
    pathlib.Path(broken.ctx.dockerflow.version_path, "version.json").write_text("{")
    seen["not JSON"] = ask(broken, "/__version__")
    return seen


@scenario
def error_endpoint():
    app = make()
    seen = {"off": ask(app, "/__error__")}
    on = {"DOCKERFLOW_ERROR_ENDPOINT": True}
    seen["on"] = ask(make(config=on), "/__error__")
    later = make()
    later.config.update(on)
    seen["on, set later"] = ask(later, "/__error__")
    return seen


@scenario
def summaries():
    app = make()
    app.config["DOCKERFLOW_SUMMARY_LOG_QUERYSTRING"] = True
    return {
        "plain": ask(app),
        "without headers": ask(app, headers={}),
        "not found": ask(app, "/missing"),
        "not allowed": ask(app, "/", "post"),
        "raises": ask(app, "/raises"),
        "forbidden": ask(app, "/forbidden"),
        "created": ask(app, "/created", "post"),
        "query string": ask(app, "/?a=1&b=%C3%BC+x&c=%2F"),
        "secret": ask(app, "/?password=x&a=1"),
        "encoded path": ask(app, "/%C3%BC"),
    }


@scenario
def mozlog():
    seen = {}
    for path in ("/", "/raises"):
        ask(make(), path, keep=True)
        seen[path] = RECORDS.lines()
    return seen


@scenario
def ids():
    app = make()
    seen = {"given": ask(app, "/ids"), "made": ask(app, "/ids", headers={})}
    seen["odd"] = ask(app, "/ids", headers={"X-Request-ID": "a b"})
    app.config["DOCKERFLOW_REQUEST_ID_HEADER_NAME"] = "X-Trace"
    seen["other header"] = ask(app, "/ids", headers={"X-Trace": "t", "X-Request-ID": "r"})
    return seen


@scenario
def subclassed():
    class Own(Dockerflow):
        def summary_extra(self, request):
            out = super().summary_extra(request)
            out["query_string"] = request.query_string
            out["uid"] = 0
            return out

    class Nothing(Dockerflow):
        def summary_extra(self, request):
            return {"only": 1}

    return {
        "summary_extra": ask(make(extension=Own), "/?a=1"),
        "raises": ask(make(extension=Own), "/raises"),
        "nothing": ask(make(extension=Nothing)),
    }


@scenario
def loggers():
    app = make()
    extension = app.ctx.dockerflow
    seen = {
        "logger": attempt(lambda: [extension.logger.name, extension.logger.level]),
        "summary_logger": attempt(lambda: extension.summary_logger.name),
        "handlers": attempt(lambda: sorted({type(h).__name__ for h in extension.logger.handlers})),
        "set": attempt(lambda: extension.logger.setLevel(logging.ERROR)),
    }
    extension.summary_logger = logging.getLogger("app.summary")
    seen["replaced summary_logger"] = ask(app)
    on = make(config={"DOCKERFLOW_ERROR_ENDPOINT": True})
    on.ctx.dockerflow.logger = logging.getLogger("app.errors")
    seen["replaced logger"] = ask(on, "/__error__")
    return seen


@scenario
def factories():
    extension = Dockerflow(version_path=folder({"version": "1"}))
    app = sanic.Sanic("factory")
    seen = {"returned": encode(extension.init_app(app))}
    seen["later"] = ask(app, "/__version__")["response"]

    def create_app():
        app = make()

        @checks.register
        async def inner():
            return [checks.Info("inner", id="app.I001")]

        return app

    for number in ("first", "second"):
        seen[number] = ask(create_app(), "/__heartbeat__")["response"]["body"]
    return seen


@scenario
def hooks_of_the_app():
    app = make({"version": "1"})
    called = []

    @app.on_request
    async def before(request):
        called.append(["before", hasattr(request.ctx, "id")])

    @app.on_response
    async def after(request, got):
        called.append(["after", got.status])
        got.headers["X-App"] = "1"

    seen = {}
    for path in ("/", "/missing", "/raises", "/__lbheartbeat__", "/__heartbeat__", "/__version__"):
        called.clear()
        seen[path] = ask(app, path)
        seen[path]["called"] = [list(call) for call in called]

    handled = make()

    @handled.exception(ValueError)
    async def failed(request, error):
        return sanic.json({"error": "own"}, 418)

    seen["own exception handler"] = ask(handled, "/raises")
    checks.register(error)
    seen["failing"] = ask(app, "/__heartbeat__")["response"]
    return seen


@scenario
def deprecated_names():
    extension = make().ctx.dockerflow
    with warned() as categories:
        known = extension.checks

        @extension.check
        def bare():
            return []

        @extension.check(name="named")
        def other():
            return []

        extension.init_check(ready_made.check_redis_connected, object())
        names = sorted(extension.checks)
    return {"warned": categories, "names": names, "is a dict": isinstance(known, dict)}


@scenario
def patched():
    app = make()
    fresh = make()

    def request():
        headers = Header({"x-request-id": "abc", "user-agent": "a"})
        return Request(b"/x?a=1", headers, "1.1", "GET", None, fresh)

    def extract():
        from dockerflow.sanic.app import extract_request_id

        made = request()
        extract_request_id(made)
        return [made.ctx.id, request_id_context.get()]

    seen = {"extract_request_id by hand": attempt(extract)}
    with mock.patch("dockerflow.checks.get_checks", return_value={"patched": error}):
        seen["get_checks"] = ask(app, "/__heartbeat__")["response"]["body"]
    fresh.ctx.dockerflow._response_middleware(request(), sanic.text("x"))
    seen["middleware by hand"] = RECORDS.take()
    seen["summary_extra by hand"] = attempt(lambda: fresh.ctx.dockerflow.summary_extra(request()))
    return seen


@scenario
def silenced():
    checks.register(error)
    checks.register(warning)
    app = make(silenced_checks=["app.E001"])
    seen = {"given": ask(app, "/__heartbeat__")["response"]}
    app.ctx.dockerflow.silenced_checks.append("app.W001")
    seen["changed in place"] = ask(app, "/__heartbeat__")["response"]
    plain = make()
    seen["default"] = encode(plain.ctx.dockerflow.silenced_checks)
    plain.ctx.dockerflow.silenced_checks.append("app.E001")
    seen["default changed in place"] = ask(plain, "/__heartbeat__")["response"]["status"]
    return seen


class Connection:
    """As a client of redis.asyncio, and as aioredis had it: awaited, then a context manager."""

    def __init__(self, result):
        self.result = result

    def __await__(self):
        return self
        yield

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    async def ping(self):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Redis:
    """As sanic_redis's extension."""

    def __init__(self, result):
        self.conn = Connection(result)


@scenario
def redis_checks():
    results = {
        "ok": b"PONG", "true": True, "false": False, "other": b"other",
        "ConnectionError": redis.ConnectionError("refused"),
        "RedisError": redis.RedisError("broken"),
    }  # fmt: skip

    def shown(result):
        return messages(asyncio.run(ready_made.check_redis_connected(Redis(result))))

    seen = {name: attempt(lambda result=result: shown(result)) for name, result in results.items()}
    app = make(redis=Redis(b"PONG"))
    seen["registered"] = list(checks.get_checks())
    seen["heartbeat"] = ask(app, "/__heartbeat__")["response"]
    return seen


@scenario
def added_twice():
    app = make()
    return {"again": attempt(lambda: Dockerflow(app) and None)}
