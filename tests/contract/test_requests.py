"""What every framework's own requests get: ids, one summary each, and nothing broken."""

import asyncio
import contextlib
import dataclasses
import importlib
import itertools
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from log_lines import error_in
from services.command import python

from dockerflow.logging import get_request_id

Client = Any
MakeClient = Callable[..., Client]
Records = list[logging.LogRecord]

ROUTES = [("/", 200), ("/missing", 404), ("/status/500", 500), ("/stream", 200), ("/fail", 500)]
FIELDS = ("agent", "code", "errno", "lang", "method", "path", "rid", "uid")


@pytest.mark.parametrize(("path", "status"), ROUTES)
def test_one_summary_with_the_same_fields_everywhere(
    client: Client, summaries: Records, path: str, status: int
) -> None:
    headers = {"user-agent": "curl/8", "accept-language": "de", "x-request-id": "abc"}
    started = time.monotonic()
    response = client.get(path, headers=headers)
    [record] = summaries
    assert {name: getattr(record, name) for name in FIELDS} == {
        "agent": "curl/8", "code": status, "errno": status if status >= 500 else 0, "lang": "de",
        "method": "GET", "path": path, "rid": "abc", "uid": "",
    }  # fmt: skip
    assert 0 <= record.t <= (time.monotonic() - started) * 1000
    if path == "/fail" and client.row.escapes:
        assert (record.levelno, error_in(record)) == (logging.ERROR, "100% broken")
        assert str(response.error) == "100% broken"
    else:
        said = (logging.ERROR, "100% broken") if client.row.reports and path == "/fail" else None
        assert (record.levelno, error_in(record)) == (said or (logging.INFO, ""))
        assert response.status == status
        assert response.all("x-request-id") == ["abc"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_apps_own_responses_stay_as_they_are(client: Client, method: str) -> None:
    app = client.row.make()
    if "a2wsgi" in client.row.requires:
        app = pytest.importorskip("a2wsgi").WSGIMiddleware(app)
    bare = dataclasses.replace(client, _app=app, _started=contextlib.ExitStack())
    plain = [bare.request(method, path) for path, _ in ROUTES]
    bare.close()
    for (path, _), before in zip(ROUTES, plain, strict=True):
        assert_same_but_for_the_id(before, client.request(method, path), client)


def assert_same_but_for_the_id(plain: Any, ours: Any, client: Client) -> None:
    ids = [pair for pair in ours.headers if pair[0].lower() == "x-request-id"]
    # The page that Starlette shows for an exception comes from further out than what is added.
    is_further_out = ours.error is not None and client.row.is_inside
    assert len(ids) == (0 if ours.status is None or is_further_out else 1)
    headers = [pair for pair in ours.headers if pair not in ids]
    assert (ours.status, headers, ours.body) == (plain.status, plain.headers, plain.body)
    assert repr(ours.error) == repr(plain.error)


def test_durations_are_of_the_monotonic_clock(
    client: Client, summaries: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the system's clock finds it an hour later."""
    hours = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: 3600 * 10**9 * next(hours))
    client.registry.register(lambda: None, name="check")
    for path in ("/", "/stream"):
        client.get(path)
    [timing] = client.get("/__heartbeat__").all("server-timing")
    monkeypatch.undo()
    assert next(hours) > 0
    assert len(summaries) == 3
    assert all(0 <= record.t < 60_000 for record in summaries)
    assert 0 <= float(timing.removeprefix("check;dur=")) < 60_000


def test_logging_is_never_configured_unasked(tmp_path: Path) -> None:
    """In a process without pytest's own handlers, in which each framework serves requests."""
    code = """
import contextlib, importlib.util, logging, pathlib, sys, warnings

def state():
    loggers = [logging.root] + [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    return {
        logger.name: (logger.handlers[:], logger.filters[:], logger.level, logger.propagate)
        for logger in loggers
        if logger.name.partition(".")[0] not in frameworks
    }

frameworks = {"apps", "concurrent", "django", "falcon", "sanic", "tracerite"}
unset = [], [], logging.NOTSET, True
before = {"root": ([], [], logging.WARNING, True)}
assert state() == before, state()
warnings.simplefilter("ignore")
from contract.conftest import ROWS, _make_client
from dockerflow import checks
with contextlib.ExitStack() as stack:
    for row in ROWS:
        if row.name == "fastapi-router":  # its MozlogRequestSummaryLogger needs no configuration
            continue
        if not all(map(importlib.util.find_spec, row.requires)):
            continue
        client = _make_client(stack, row, pathlib.Path(sys.argv[1]))
        client.registry.register(lambda: checks.Error("down"), name="database")
        for path in ("/", "/fail", "/__heartbeat__", "/__version__"):
            client.get(path)
        now = state()
        assert now == {**dict.fromkeys(now, unset), **before}, (row.name, now)
        print(row.name)
assert "dockerflow" in now and "request.summary" in now
"""
    names = python(code, str(tmp_path))
    assert "asgi" in names
    assert "django-middleware-wsgi" in names


def test_streams_and_bodies_arrive_whole(client: Client, summaries: Records) -> None:
    assert client.get("/stream").body == b"one two three"
    assert b"hello" in client.get("/").body
    assert len(summaries) == 2


def test_a_head_request_is_summarised_as_such(client: Client, summaries: Records) -> None:
    status = client.request("HEAD", "/").status
    [record] = summaries
    assert (record.method, record.code) == ("HEAD", status)


def test_a_mounts_path_is_the_whole_path(client: Client, summaries: Records) -> None:
    status = client.get("/", mount="/mount").status  # Falcon doesn't take mounts off under ASGI
    assert [(record.path, record.code) for record in summaries] == [("/mount/", status)]


@pytest.mark.parametrize("path", ["/", "/__lbheartbeat__"])
def test_request_ids_are_echoed_made_or_replaced(client: Client, path: str) -> None:
    for given, is_kept in [("abc-123", True), (None, False), ("a b", False), ("é", False),
                           ("x" * 129, False), ("", False)]:  # fmt: skip
        headers = {} if given is None else {"X-Request-ID": given}
        [answer] = client.get(path, headers=headers).all("x-request-id")
        assert (answer == given) is is_kept
        assert 1 <= len(answer) <= 128
        assert get_request_id() is None  # none is left behind


def test_the_first_configured_header_is_echoed(make_client: MakeClient) -> None:
    client = make_client(request_id_header_name=("traceparent", "X-Trace"))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "x-trace": "other"}
    response = client.get("/", headers=headers)
    assert response.all("x-trace") == [trace]
    assert not response.all("traceparent")
    assert not response.all("x-request-id")


def test_ids_that_the_apps_validator_refuses_are_replaced_by_those_of_its_generator(
    make_client: MakeClient, summaries: Records
) -> None:
    seen: list[str] = []

    def validate(rid: str) -> bool:
        seen.append(rid)
        return rid.startswith("ours-")

    client = make_client(request_id_validator=validate, request_id_generator=lambda: "made")
    for given, rid in [
        ("ours-1", "ours-1"),
        ("theirs", "made"),
        ("ours- 2", "made"),
        (None, "made"),
    ]:
        headers = {} if given is None else {"X-Request-ID": given}
        assert client.get("/", headers).all("x-request-id") == [rid]
        assert summaries[-1].rid == rid
    assert seen == ["ours-1", "theirs"]  # it gets none that would be refused anyway


def test_failing_functions_break_no_request(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Ours take their place, and each is logged once."""
    made: list[Any] = ["a\r\nb: c", None, SystemExit(1)]

    def generate() -> str:
        rid = made.pop(0)
        if isinstance(rid, BaseException):
            raise rid
        return rid

    def validate(rid: str) -> bool:
        return 1 / 0 > 1

    client = make_client(request_id_validator=validate, request_id_generator=generate)
    for _ in range(3):
        [rid] = client.get("/", {"X-Request-ID": "abc"}).all("x-request-id")
        assert re.fullmatch("[0-9a-f-]{36}", rid)
    assert not made
    assert [r.getMessage() for r in caplog.records if r.name == "dockerflow"] == [
        "request_id_validator failed; this is logged once",
        "request_id_generator failed; this is logged once",
    ]


@pytest.mark.parametrize("path", ["/", "/__lbheartbeat__", "/status/500", "/missing"])
def test_scripts_of_other_origins_can_read_the_id_by_setting(
    make_client: MakeClient, path: str
) -> None:
    own = ["X-Total"] if path == "/status/500" else []
    for is_on in (False, True):
        client = make_client(
            request_id_expose_header=is_on, request_id_header_name=("traceparent", "X-Trace")
        )
        lines = client.get(path).all("access-control-expose-headers")
        assert ", ".join(lines) == ", ".join([*own, *(["X-Trace"] if is_on else [])])


def test_probes_can_be_left_out_of_the_log(make_client: MakeClient, summaries: Records) -> None:
    client = make_client(summary_log_probes=False)
    client.get("/__heartbeat__")
    client.get("/__lbheartbeat__/")
    client.get("/")
    assert [record.path for record in summaries] == ["/"]


def test_probes_get_through_whatever_the_host_is(
    row: Any, make_client: MakeClient, request: pytest.FixtureRequest
) -> None:
    if row.module == "django_app":
        pytest.importorskip("django")
        importlib.import_module("apps.django_app")  # configures Django
        from django.test import override_settings

        strict = override_settings(ALLOWED_HOSTS=[], SECURE_SSL_REDIRECT=True)
        strict.enable()
        request.addfinalizer(strict.disable)
    client = make_client()
    for host in ("10.1.2.3:8000", "[::1]", "evil.example", "", "b\xe4d"):
        client.host = host
        for path in ("/__lbheartbeat__", "/__heartbeat__/"):
            assert client.get(path).status == 200
    if row.module == "django_app":  # which its own pages don't
        assert client.get("/").status in (301, 400)


def test_an_application_mounted_in_starlette(asgi_client: Any, summaries: Records) -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from dockerflow.asgi import DockerflowMiddleware

    bare = importlib.import_module("apps.bare")
    routes = [Mount("/sub", app=DockerflowMiddleware(bare.asgi_app))]
    client = asgi_client(Starlette(routes=routes))
    assert client.get("/sub/__lbheartbeat__").status == 200
    assert client.get("/__lbheartbeat__").status == 404
    assert [record.path for record in summaries] == ["/sub/__lbheartbeat__"]

    summaries.clear()
    client = asgi_client(DockerflowMiddleware(Starlette(routes=routes)))
    response = client.get("/sub/", headers={"x-request-id": "abc"})
    assert (response.status, response.all("x-request-id")) == (200, ["abc"])
    assert client.get("/sub/__lbheartbeat__").status == 200
    assert client.get("/__lbheartbeat__").status == 200
    expected = ["/sub/", "/sub/__lbheartbeat__", "/__lbheartbeat__"]
    assert [record.path for record in summaries] == expected


@pytest.mark.parametrize("is_added", [False, True])
def test_background_tasks_run_after_the_summary(
    asgi_client: Any, summaries: Records, is_added: bool
) -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from dockerflow.asgi import DockerflowMiddleware

    counts: list[int] = []

    def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(note))

    def note() -> None:
        counts.append(len(summaries))

    app: Any = Starlette(routes=[Route("/", page)])
    if is_added:
        app.add_middleware(DockerflowMiddleware)
    else:
        app = DockerflowMiddleware(app)
    assert asgi_client(app).get("/").status == 200
    assert counts == [1]
    assert len(summaries) == 1


def test_starlettes_websockets_and_lifespan_go_through(summaries: Records) -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    from dockerflow.asgi import DockerflowMiddleware

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    app = DockerflowMiddleware(Starlette(routes=[WebSocketRoute("/__version__", echo)]))

    def connect(kind: str, *incoming: dict[str, Any]) -> list[str]:
        sent: list[Any] = []
        messages = iter(incoming)

        async def receive() -> dict[str, Any]:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": kind, "path": "/__version__", "headers": [], "query_string": b""}
        asyncio.run(app(scope, receive, send))
        return [message["type"] for message in sent]

    connected = {"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hi"}
    assert connect("websocket", *connected) == [
        "websocket.accept", "websocket.send", "websocket.close",
    ]  # fmt: skip
    assert connect("lifespan", {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}) == [
        "lifespan.startup.complete", "lifespan.shutdown.complete",
    ]  # fmt: skip
    assert not summaries


def test_addresses_by_setting(make_client: MakeClient, summaries: Records) -> None:
    client = make_client(summary_log_addresses=True)
    client.get("/", headers={"x-forwarded-for": "198.51.100.1, 198.51.100.2"})
    [record] = summaries
    chain = vars(record)["remoteAddressChain"]
    assert chain[:2] == ["198.51.100.1", "198.51.100.2"]
    assert len(chain) == 3  # and the one that is connected


def test_one_switch_for_personal_data(make_client: MakeClient, summaries: Records) -> None:
    client = make_client(summary_log_addresses=True, summary_personal_data=False)
    client.get("/", headers={"x-forwarded-for": "192.0.2.1"})
    [record] = summaries
    assert not vars(record).keys() & {"uid", "email", "remoteAddressChain"}
