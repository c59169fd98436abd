"""What works where the wheel was installed with one extra alone: nox -s extras runs it, for each.

It needs nothing but that extra: python -P tests/smoke.py EXTRA, or ``core`` for none.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import wsgiref.simple_server
from importlib import metadata
from pathlib import Path

from dockerflow import checks
from dockerflow.checks import contrib
from dockerflow.testing import Client, capture_summaries

COMPILED = {".so", ".pyd", ".dll", ".dylib"}


def holds(application):
    """The endpoints, the request's id and the summary, as an application's own tests see them."""
    with Client(application) as client, capture_summaries() as summaries:
        for path, statuses in (
            ("/__lbheartbeat__", {200}),
            ("/__heartbeat__", {200, 500}),
            ("/__version__", {200, 404}),
        ):
            assert client.get(path).status in statuses, path
            assert client.request("POST", path).status == 405, path
        summaries.clear()
        response = client.get("/", {"X-Request-ID": "abc"})
    assert response.all("x-request-id") == ["abc"], response
    assert [(one.path, one.rid, one.code) for one in summaries] == [("/", "abc", response.status)]


def status_of(check):
    """What the heartbeat would say of one check."""
    registry = checks.Registry()
    registry.register(check, name="it")
    results = registry.run()
    ids = [key for detail in results.details.values() for key in detail["messages"]]
    return (results.statuses["it"], *ids)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "dockerflow", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wsgi_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def asgi_app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@contextlib.contextmanager
def served():
    """The port of a server of the standard library with a WSGI application of ours."""
    from dockerflow.wsgi import DockerflowMiddleware

    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_):
            pass

    with wsgiref.simple_server.make_server(
        "127.0.0.1", 0, DockerflowMiddleware(wsgi_app), handler_class=Quiet
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def core():
    from dockerflow.asgi import DockerflowMiddleware as Asgi
    from dockerflow.logging import configure_logging
    from dockerflow.wsgi import DockerflowMiddleware as Wsgi

    packages = {item.metadata["Name"] for item in metadata.distributions()}
    assert packages == {"dockerflow-middleware"}, packages
    compiled = [
        path for path in Path(sysconfig.get_path("purelib")).rglob("*") if path.suffix in COMPILED
    ]
    assert not compiled, compiled
    holds(Asgi(asgi_app))
    holds(Wsgi(wsgi_app))
    with served() as port:
        done = command("healthcheck", f"http://127.0.0.1:{port}/__heartbeat__")
        assert done.returncode == 0, done
    done = command("version")
    assert done.returncode == 2, done
    assert "pip install 'dockerflow-middleware[cli]'" in done.stderr, done
    with contextlib.redirect_stdout(io.StringIO()) as output:
        configure_logging("smoke")
        logging.getLogger("smoke").warning("hello")
    assert json.loads(output.getvalue())["Fields"]["msg"] == "hello"


def django():
    import django as framework
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        BASE_DIR=tempfile.gettempdir(),
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["dockerflow.django"],
        MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of a test",
    )
    globals()["urlpatterns"] = [path("", lambda _request: HttpResponse("hello"))]
    framework.setup()
    holds(get_wsgi_application())
    assert status_of(contrib.django_database()) == ("ok",)


def flask():
    import flask as framework

    from dockerflow.flask import Dockerflow

    app = framework.Flask(__name__)
    Dockerflow(app)
    app.add_url_rule("/", view_func=lambda: "hello")
    holds(app)


def fastapi():
    import fastapi as framework

    from dockerflow.fastapi import install

    app = framework.FastAPI()
    install(app)
    app.get("/")(lambda: "hello")
    holds(app)


def sanic():
    from sanic import Sanic, text

    from dockerflow.sanic import Dockerflow

    app = Sanic("smoke", configure_logging=False)
    Dockerflow(app)

    @app.get("/")
    async def root(_request):
        return text("hello")

    holds(app)


def aiohttp():
    import asyncio

    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    from dockerflow.aiohttp import setup

    async def root(_request):
        return web.Response(text="hello")

    async def main():
        app = web.Application()
        app.router.add_get("/", root)
        setup(app)
        async with TestClient(TestServer(app)) as client:
            for path in ("/__lbheartbeat__", "/__heartbeat__", "/__version__"):
                assert (await client.get(path)).status in {200, 404, 500}, path
                assert (await client.post(path)).status == 405, path
            summaries.clear()
            response = await client.get("/", headers={"X-Request-ID": "abc"})
            assert response.headers["x-request-id"] == "abc", response

    with capture_summaries() as summaries:
        asyncio.run(main())
    assert [(one.path, one.rid, one.code) for one in summaries] == [("/", "abc", 200)]


def orjson():
    from dockerflow.logging import MozlogFormatter

    assert "orjson" in sys.modules
    record = logging.makeLogRecord({"msg": "hello", "args": None})
    assert json.loads(MozlogFormatter().format(record))["Fields"]["msg"] == "hello"


def structlog():
    import structlog as package

    from dockerflow.structlog import MozlogRenderer

    output = io.StringIO()
    package.configure(
        processors=[MozlogRenderer("smoke")], logger_factory=package.WriteLoggerFactory(output)
    )
    package.get_logger().info("hello", answer=42)
    line = json.loads(output.getvalue())
    assert (line["Fields"]["msg"], line["Fields"]["answer"]) == ("hello", 42), line


def sqlalchemy():
    import sqlalchemy as package

    engine = package.create_engine("sqlite://")
    assert status_of(contrib.database(engine)) == ("ok",)
    engine.dispose()


def alembic():
    import sqlalchemy as package

    engine = package.create_engine("sqlite://")
    with tempfile.TemporaryDirectory() as folder:
        assert status_of(contrib.migrations(engine, folder)) == ("ok",)
    engine.dispose()


def redis():
    import redis as package

    client = package.Redis(port=closed_port(), retry=None)
    assert status_of(contrib.redis(client)) == ("error", "dockerflow.health.E004")


def http():
    with served() as port:
        url = f"http://127.0.0.1:{port}/__lbheartbeat__"
        assert status_of(contrib.http(url)) == ("ok",)
    assert status_of(contrib.http(url)) == ("error", "dockerflow.health.E016")


def celery():
    import celery as package

    from dockerflow.celery import setup

    setup()
    app = package.Celery(broker="memory://")
    assert status_of(contrib.celery(app, timeout=0.1)) == ("error", "dockerflow.health.E030")


def s3():
    import boto3

    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{closed_port()}", region_name="us-east-1",
        aws_access_key_id="x", aws_secret_access_key="x",
        config=boto3.session.Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    assert status_of(contrib.s3(client, "bucket")) == ("error", "dockerflow.health.E031")


def rabbitmq():
    import pika

    parameters = pika.ConnectionParameters("127.0.0.1", closed_port())
    assert status_of(contrib.rabbitmq(parameters)) == ("error", "dockerflow.health.E037")


def aio_pika():
    import asyncio

    import aio_pika as package
    import yarl

    async def make():
        return package.Connection(yarl.URL("amqp://127.0.0.1"))

    connection = asyncio.run(make())  # it has a loop, and isn't connected
    assert status_of(contrib.rabbitmq(connection)) == ("error", "dockerflow.health.E037")


def memcached():
    import pymemcache

    client = pymemcache.Client(("127.0.0.1", closed_port()))
    assert status_of(contrib.memcached(client)) == ("error", "dockerflow.health.E039")


def psycopg():
    import psycopg_pool

    server = f"host=127.0.0.1 port={closed_port()}"
    with psycopg_pool.ConnectionPool(server, min_size=1, timeout=0.2) as pool:
        assert status_of(contrib.database_pool(pool)) == ("error", "dockerflow.health.E011")


def dns():
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], closed_port()
    check = contrib.dns("app.test", resolver=resolver, timeout=0.2)
    assert status_of(check) == ("error", "dockerflow.health.E048")


def observed_by(observer):
    registry = checks.Registry()
    registry.observe(observer)
    registry.register(lambda: None, name="it")
    registry.run()
    registry.close()


def prometheus():
    import prometheus_client

    from dockerflow.prometheus import PrometheusObserver

    observed_by(PrometheusObserver())
    assert 'dockerflow_check_level{check="it"} 0.0' in prometheus_client.generate_latest().decode()


def opentelemetry():
    from dockerflow.opentelemetry import OpenTelemetryObserver

    observed_by(OpenTelemetryObserver())  # without the SDK, it measures nothing


def cli():
    with served() as port:
        done = command("verify", f"http://127.0.0.1:{port}", "--select", "DF110")
        assert done.returncode == 0, done
        assert "DF110" in done.stdout, done
    for name in ("checks", "logs", "version"):
        assert command(name, "--help").returncode == 0, name


def everything():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    for extra in project["project"]["optional-dependencies"]:
        if extra != "all":
            globals()[function(extra)]()


def function(extra):
    return {"all": "everything"}.get(extra, extra.replace("-", "_"))


if __name__ == "__main__":
    # That a service is not there is what some checks are to find out.
    logging.getLogger("dockerflow.checks").addHandler(logging.NullHandler())
    globals()[function(sys.argv[1])]()
