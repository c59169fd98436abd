"""How an application uses the library: only type checkers read this, nothing runs it."""

from collections.abc import Awaitable, Callable, Iterable
from logging import LogRecord
from typing import Any, assert_type

import httpx
import httpx2
import redis
import redis.asyncio
import requests
from aio_pika.abc import AbstractConnection
from aiohttp import ClientSession, web
from fastapi import FastAPI
from flask import Flask
from opentelemetry.sdk.trace import TracerProvider
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sanic import Request, Sanic
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette

from dockerflow import checks, logging
from dockerflow.aiohttp import SUMMARY, setup
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.checks import contrib
from dockerflow.config import Config
from dockerflow.flask import Dockerflow
from dockerflow.opentelemetry import OpenTelemetryObserver, traces_sampler
from dockerflow.prometheus import PrometheusObserver
from dockerflow.propagation import RequestIdPropagator
from dockerflow.sanic import Dockerflow as SanicDockerflow
from dockerflow.testing import Client, Response, capture_summaries
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


aiohttp_app = web.Application()
setup(aiohttp_app)
setup(aiohttp_app, config=config, registry=registry)


async def of_aiohttp(request: web.Request) -> web.Response:
    request[SUMMARY].update(uid="u-1")
    return web.Response()


class WithTenant(Dockerflow):
    def summary_extra(self) -> dict[str, Any]:
        return {**super().summary_extra(), "tenant": "t1"}

    def user_id(self) -> str | None:
        return None


extension = WithTenant(flask, silenced_checks=["app.E001"], version_path="/app", registry=registry)


@extension.version_callback
def version(root: str) -> dict[str, str]:
    return {"version": root}


assert_type(version("/app"), dict[str, str])
assert_type(extension.version_path, str | None)


class OfSanic(SanicDockerflow):
    def summary_extra(self, request: Request[Any, Any] | None = None) -> dict[str, Any]:
        return {**super().summary_extra(request), "tenant": "t1"}


of_sanic = OfSanic(Sanic("typed"), version_path="/app")


@of_sanic.version_callback
async def sanic_version(root: str) -> dict[str, str]:
    return {"version": root}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


WSGIMiddleware(application, config=config)

with Client(wrapped, host="example.org") as client, capture_summaries() as summaries:
    assert_type(client.get("/", {"X-Request-ID": "abc"}), Response)
    assert_type(client.post("/", body=b"").status, int | None)
    assert_type(summaries, list[LogRecord])


async def script() -> int:
    results = await registry.arun(config)
    assert_type(results, checks.CheckResults)
    assert_type(results.statuses, dict[str, str])
    assert_type(results.durations, dict[str, float])
    return results.level + registry.run().level


@checks.observe
def to_metrics(seen: checks.Observation) -> None:
    assert_type(seen.duration, float)


checks.observe(PrometheusObserver())
checks.observe(OpenTelemetryObserver())
TracerProvider(sampler=traces_sampler(0.1))
TracerProvider(sampler=traces_sampler(traces_sampler()))
Config(request_id_generator=lambda: "a", request_id_validator=str.isalnum)

propagator = RequestIdPropagator([".example.com"])
httpx2.Client(event_hooks={"request": [propagator.httpx_hook]})
httpx2.AsyncClient(event_hooks={"request": [propagator.httpx_async_hook]})
propagator.mount(requests.Session())


async def fetch() -> int:
    async with ClientSession(middlewares=[propagator.aiohttp_middleware]) as session:
        return (await session.get("https://www.example.com")).status


@registry.register(ttl=10, requires=("database",), tags="web", failures=2)
def cache() -> None: ...


assert_type(cache(), None)
registry.register_partial(int, "1", name="background", interval=30, max_age=90)
assert_type(registry.run().details["database"].messages, dict[str, str])

assert_type(get_version("/app"), dict[str, Any] | None)
assert_type(release(), str | None)
assert_type(release(root="/app"), str | None)

logging.configure_logging("app", level="INFO", format="text", max_bytes=4096, queue_size=100)
assert_type(logging.logging_config("app"), dict[str, Any])
assert_type(logging.get_request_id(), str | None)
Check = Callable[[], checks.CheckMessage | None]
AsyncCheck = Callable[[], Awaitable[checks.CheckMessage | None]]

engine, async_engine = create_engine("sqlite://"), create_async_engine("sqlite+aiosqlite://")
assert_type(contrib.database(engine), Check)
assert_type(contrib.database(async_engine), AsyncCheck)
assert_type(contrib.migrations(engine, "alembic.ini"), Check)
assert_type(contrib.migrations(async_engine, "alembic.ini"), AsyncCheck)
assert_type(contrib.redis(redis.Redis()), Check)
assert_type(contrib.redis(redis.asyncio.Redis()), AsyncCheck)
assert_type(contrib.http("https://example.org"), Check)
assert_type(contrib.http("https://example.org", client=httpx.Client()), Check)
assert_type(contrib.http("https://example.org", client=httpx.AsyncClient()), AsyncCheck)
assert_type(contrib.http("https://example.org", client=httpx2.Client()), Check)
assert_type(contrib.http("https://example.org", client=httpx2.AsyncClient()), AsyncCheck)
assert_type(contrib.django_database(), Check)
assert_type(contrib.database_pool(ConnectionPool()), Check)
assert_type(contrib.database_pool(AsyncConnectionPool()), AsyncCheck)


async def open_connections(connection: AbstractConnection) -> None:
    assert_type(contrib.rabbitmq(connection), AsyncCheck)


checks.register(contrib.database(async_engine), name="typed", timeout=1)
