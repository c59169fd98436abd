"""What only Sanic has."""

import asyncio
import itertools
import logging

import pytest

sanic = pytest.importorskip("sanic")
pytest.importorskip("sanic_testing")

from dockerflow import checks  # noqa: E402 - after the skip
from dockerflow.config import ConfigError  # noqa: E402
from dockerflow.logging import get_request_id  # noqa: E402
from dockerflow.sanic import Dockerflow  # noqa: E402

numbers = itertools.count()


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Undo what sanic-testing does to the class for good."""
    monkeypatch.setattr(sanic.Sanic, "__call__", sanic.Sanic.__call__)
    monkeypatch.setattr(sanic.Sanic, "test_mode", sanic.Sanic.test_mode)


@pytest.fixture
def app():
    return sanic.Sanic(f"integration{next(numbers)}", configure_logging=False)


@pytest.fixture
def records(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [record for record in caplog.records if record.name == "request.summary"]


def get(app, path, **kwargs):
    async def ask():
        response = (await app.asgi_client.get(path, **kwargs))[1]
        return response, get_request_id()

    response, rid = asyncio.run(ask())
    assert rid is None  # nothing is left behind
    return response


def test_two_apps_with_registries_of_their_own(app):
    other = sanic.Sanic(f"integration{next(numbers)}", configure_logging=False)
    for name, one in (("a", app), ("b", other)):
        registry = checks.Registry()
        registry.register(lambda: None, name=name)
        Dockerflow(one, registry=registry)
        assert get(one, "/__heartbeat__").json["checks"] == {name: "ok"}


def test_a_prefix_and_a_blueprint(app, records):
    blueprint = sanic.Blueprint("shop", url_prefix="/shop")

    @blueprint.get("/item")
    async def item(request):
        return sanic.text(get_request_id())

    app.blueprint(blueprint)
    app.config.DOCKERFLOW_PATH_PREFIX = "/ops"
    Dockerflow(app, registry=checks.Registry())
    assert get(app, "/ops/__lbheartbeat__").status == 200
    assert get(app, "/__lbheartbeat__").status == 404
    assert get(app, "/shop/item", headers={"X-Request-ID": "abc"}).text == "abc"
    assert [record.path for record in records()][-1] == "/shop/item"


def test_a_wrong_setting_fails_at_the_start(app):
    app.config.DOCKERFLOW_CHECK_TIMEOUT = "soon"
    with pytest.raises(ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT is 'soon'"):
        Dockerflow(app)


def test_the_error_endpoint_and_exception_handlers(app, records):
    app.config.DOCKERFLOW_ERROR_ENDPOINT = True
    Dockerflow(app, registry=checks.Registry())

    @app.exception(RuntimeError)
    async def handle(request, exception):
        return sanic.text("sorry", 503)

    response = get(app, "/__error__", headers={"X-Request-ID": "abc"})
    assert (response.status, response.headers["x-request-id"]) == (503, "abc")
    [record] = records()
    assert (record.levelname, record.code, record.rid) == ("ERROR", 503, "abc")


def test_a_broken_version_callback(app):
    dockerflow = Dockerflow(app)

    @dockerflow.version_callback
    async def version(path):
        raise OSError("secret")

    response = get(app, "/__version__")
    assert response.status == 500
    assert "secret" not in response.text


def test_an_exception_after_the_answer_began(app, records):
    Dockerflow(app, registry=checks.Registry())

    @app.get("/half")
    async def half(request):
        response = await request.respond()
        await response.send("one")
        raise ValueError("broken")

    with pytest.raises(AssertionError):  # how httpx tells of an answer without an end
        get(app, "/half")
    [record] = records()
    assert (record.levelname, record.getMessage(), record.code, record.errno) == (
        "ERROR", "broken", 200, 500,
    )  # fmt: skip


def test_a_client_that_leaves(app, records):
    Dockerflow(app, registry=checks.Registry())

    async def main():
        started = asyncio.Event()

        @app.get("/slow")
        async def slow(request):
            started.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(app.asgi_client.get("/slow"))
        await asyncio.wait_for(started.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    [record] = records()
    assert (record.levelname, record.code) == ("INFO", 499)
