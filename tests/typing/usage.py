"""How an application uses the library: only type checkers read this, nothing runs it."""

from collections.abc import Callable, Iterable
from typing import Any, assert_type

from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette

from dockerflow import checks
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config
from dockerflow.version import get_version, release
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware


@checks.register
def database() -> checks.Error | None:
    return checks.Error("no answer", id="app.E001")


@checks.register(name="search", timeout=2, critical=False)
async def search_cluster() -> list[checks.CheckMessage]:
    return [checks.Warning("slow", hint="wait", id="app.W001")]


assert_type(database(), checks.Error | None)

registry = checks.Registry()
registry.register_partial(int, "1", name="partial")
config = Config(
    version_path="/srv/app", request_id_header_name=["traceparent"], silenced_checks={"app.E001"}
)

starlette = Starlette()
starlette.add_middleware(DockerflowMiddleware, config=config, registry=registry)
fastapi = FastAPI()
fastapi.add_middleware(DockerflowMiddleware)
wrapped = DockerflowMiddleware(fastapi, registry=registry)
starlette.mount("/sub", wrapped)

flask = Flask(__name__)
flask.wsgi_app = WSGIMiddleware(flask.wsgi_app)  # type: ignore[method-assign]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


WSGIMiddleware(application, config=config)


async def script() -> int:
    results = await registry.arun(config)
    assert_type(results, checks.CheckResults)
    assert_type(results.statuses, dict[str, str])
    assert_type(results.durations, dict[str, float])
    return results.level + registry.run().level


assert_type(get_version("/app"), dict[str, Any] | None)
assert_type(release(), str | None)
assert_type(release(root="/app"), str | None)
