"""Settings that a framework has, and a core that follows them."""

import asyncio
import contextvars
import itertools
import json
import logging
import os
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from log_lines import error_in

from dockerflow import asgi, checks, wsgi
from dockerflow._core.app import Core
from dockerflow._core.exchange import Exchange
from dockerflow._core.messages import Request
from dockerflow._core.request_id import get_request_id
from dockerflow._core.settings import Reloading, RequestSettings, present
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.checks import Registry
from dockerflow.config import SETTINGS, Config, ConfigError
from dockerflow.version import VersionError


def test_given_wins_over_settings_over_environment_over_defaults(monkeypatch):
    name = "DOCKERFLOW_CHECK_TIMEOUT"
    assert Config.from_settings({}).check_timeout == 5
    assert Config.from_settings({}, defaults={"check_timeout": 6}).check_timeout == 6
    monkeypatch.setenv(name, "7")
    assert Config.from_settings({}, defaults={"check_timeout": 6}).check_timeout == 7
    assert Config.from_settings({name: "8"}).check_timeout == 8
    assert Config.from_settings({name: "8"}, check_timeout=9).check_timeout == 9
    # What is given for one leaves the settings of those after it as they are.
    both = {"DOCKERFLOW_VERSION_PATH": "/b", "DOCKERFLOW_PATH_PREFIX": "/x"}
    assert Config.from_settings(both, version_path="/a").path_prefix == "/x"


def test_the_settings_that_are_present_are_picked() -> None:
    settings: dict[str, Any] = {"OTHER": 1, "DOCKERFLOW_CHECK_TIMEOUT": 2}
    assert present(settings) == {"DOCKERFLOW_CHECK_TIMEOUT": 2}
    settings["DOCKERFLOW_PATH_PREFIX"] = "/a"
    assert present(settings) == {"DOCKERFLOW_CHECK_TIMEOUT": 2, "DOCKERFLOW_PATH_PREFIX": "/a"}
    assert present({}) == {}


def test_settings_that_say_nothing():
    settings = {"DOCKERFLOW_CHECK_TIMEOUT": None, "DOCKERFLOW_OTHER": 1, "DEBUG": True}
    assert Config.from_settings(settings) == Config()


def test_an_unknown_variable_is_named_once_with_the_nearest_setting(monkeypatch, caplog):
    # Names that no other run of this test in the process has had.
    near, far = (f"DOCKERFLOW_{name}_{next(numbers)}" for name in ("CHEK_TIMEOUT", "QQQ"))
    monkeypatch.setenv(near, "5")
    monkeypatch.setenv(far, "")
    for _ in range(3):
        DockerflowMiddleware(lambda: None)
    text = "in the environment is not a setting of Dockerflow"
    hint = "did you mean DOCKERFLOW_CHECK_TIMEOUT?"
    assert sorted(caplog.record_tuples) == [
        ("dockerflow", logging.WARNING, f"{near} {text}: {hint}"),
        ("dockerflow", logging.WARNING, f"{far} {text}"),
    ]


numbers = itertools.count()


def test_names_of_others_are_not_taken_for_settings(monkeypatch, caplog):
    """Those of test suites, and what Kubernetes sets for a Service."""
    names = [
        "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP",
        "PORT_80_TCP_PROTO", "PORT_80_TCP_PORT", "PORT_80_TCP_ADDR", "WEB_SERVICE_HOST",
        "TEST_EXAMPLES",
    ]  # fmt: skip
    for name in (*SETTINGS, *(f"DOCKERFLOW_{name}" for name in names)):
        monkeypatch.setenv(name, "")
    DockerflowMiddleware(lambda: None)
    assert caplog.messages == []


def test_the_error_names_the_frameworks_setting():
    with pytest.raises(ConfigError) as caught:
        Config.from_settings({"DOCKERFLOW_CHECK_TIMEOUT": "abc"})
    assert str(caught.value) == (
        "DOCKERFLOW_CHECK_TIMEOUT must be a number of seconds greater than 0, not 'abc'"
    )


def test_settings_are_named_like_variables():
    assert "DOCKERFLOW_PATH_PREFIX" in SETTINGS
    assert len(SETTINGS) == len(Config.table()) == len(set(SETTINGS))


def test_a_core_follows_its_settings(caplog):
    settings = {"DOCKERFLOW_PATH_PREFIX": "/a"}
    live = Reloading(lambda: settings, lambda now: Core(Config.from_settings(now)))
    first = live.get()
    assert first.config.path_prefix == "/a"
    assert live.get() is first
    settings["DOCKERFLOW_PATH_PREFIX"] = "/b"
    second = live.get()
    assert second.config.path_prefix == "/b"
    settings["DOCKERFLOW_PATH_PREFIX"] = "no slash"
    assert live.get() is second
    assert live.get() is second
    [record] = caplog.records  # once for each change, not for each request
    assert record.getMessage().startswith("DOCKERFLOW_PATH_PREFIX must be ")
    assert record.getMessage().endswith("; the previous settings remain in effect")
    assert record.levelno == logging.ERROR
    settings["DOCKERFLOW_PATH_PREFIX"] = "/c"
    assert live.get().config.path_prefix == "/c"


def test_a_core_follows_lists_that_are_changed_in_place():
    settings: dict[str, Any] = {"DOCKERFLOW_SILENCED_CHECKS": ["a"]}
    live = Reloading(lambda: settings, Config.from_settings)
    settings["DOCKERFLOW_SILENCED_CHECKS"].append("b")
    assert live.get().silenced_checks == ("a", "b")
    settings["DOCKERFLOW_SILENCED_CHECKS"] = ["a", "b"]  # as it is
    before = live.get()
    settings["DOCKERFLOW_SILENCED_CHECKS"].remove("a")
    assert live.get().silenced_checks == ("b",)
    settings["DOCKERFLOW_HEARTBEAT_GROUPS"] = {"ready": ["a"]}
    assert live.get().heartbeat_groups == {"ready": ("a",)}
    settings["DOCKERFLOW_HEARTBEAT_GROUPS"]["ready"].append("b")
    assert live.get().heartbeat_groups == {"ready": ("a", "b")}
    assert live.get() is live.get() is not before


@pytest.mark.parametrize("driver", [asgi.DockerflowMiddleware, wsgi.DockerflowMiddleware])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"config": {"check_timeout": 3}}, "config must be a Config, not dict"),
        ({"registry": checks}, "registry must be a Registry, not module"),
    ],
)
def test_arguments_of_another_type_are_refused(driver, given, message):
    with pytest.raises(TypeError, match=message):
        driver(driver, **given)


def test_a_core_with_a_wrong_setting_fails_at_the_start():
    with pytest.raises(ConfigError, match="DOCKERFLOW_PATH_PREFIX"):
        Reloading(
            lambda: {"DOCKERFLOW_PATH_PREFIX": 1}, lambda now: Core(Config.from_settings(now))
        )


@pytest.mark.parametrize(
    ("content", "status", "body"),
    [
        ({"version": "1.2"}, 200, {"version": "1.2"}),
        (None, 404, {"error": "there is no version.json"}),
        (object(), 500, {"error": "the version could not be read: TypeError"}),
        (float("nan"), 500, {"error": "the version could not be read: ValueError"}),
        (KeyError("secret"), 500, {"error": "the version could not be read: KeyError"}),
        (VersionError("version.json is empty"), 500, {"error": "version.json is empty"}),
    ],
)
def test_a_version_from_the_app(content, status, body, caplog):
    core = Core()

    def version():
        if isinstance(content, Exception):
            raise content
        return content

    async def aversion():
        return version()

    response = core.answer("version", Request("GET", "/__version__", "", {}), version=version)
    assert (response.status, json.loads(response.body)) == (status, body)
    assert [r.levelno for r in caplog.records] == ([logging.ERROR] if status == 500 else [])
    head = Request("HEAD", "/__version__", "", {})
    for same in (
        core.answer("version", head, version=version),
        asyncio.run(core.aanswer("version", head, version=version)),
        asyncio.run(core.aanswer("version", head, version=aversion)),
    ):
        assert (same.status, same.headers, same.body) == (status, response.headers, b"")


@pytest.mark.parametrize("is_async", [False, True])
def test_the_heartbeat_gives_its_results_to_the_adapter(is_async):
    registry = Registry()
    entered = []

    @contextmanager
    def check_context():
        entered.append("in")
        yield
        entered.append("out")

    registry.register(lambda: entered.append("check"), name="check")
    core = Core(registry=registry, check_context=check_context)
    levels = []
    request = Request("GET", "/__heartbeat__", "", {})
    if is_async:

        async def on_results(results):
            levels.append(results.level)

        response = asyncio.run(core.aanswer("heartbeat", request, on_results=on_results))
    else:
        response = core.answer(
            "heartbeat", request, on_results=lambda results: levels.append(results.level)
        )
    assert (response.status, levels, entered) == (200, [0], ["in", "check", "out"])
    wrong = request._replace(method="POST")
    assert core.answer("heartbeat", wrong, on_results=levels.append).status == 405
    assert (levels, len(entered)) == ([0], 3)


def test_the_headers_that_a_request_needs() -> None:
    settings = RequestSettings(Config(request_id_header_name="TraceParent,X-My_Id,Other"))
    assert settings.id_headers == ("traceparent", "x-my_id", "other")
    assert settings.response_header == "X-My_Id"
    assert set(settings.id_headers) < set(settings.headers)
    assert {"accept", "user-agent", "x-forwarded-for"} < set(settings.headers)
    assert settings.raw_headers[b"accept"] == "accept"
    environ = {"HTTP_X_MY_ID": "1", "HTTP_ACCEPT": "*/*", "HTTP_COOKIE": "2", "PATH_INFO": "/"}
    assert settings.headers_of(environ) == {"x-my_id": "1", "accept": "*/*"}
    only_trace = RequestSettings(Config(request_id_header_name="traceparent"))
    assert only_trace.response_header == "X-Request-ID"


def exchange_of(config=None, **headers):
    settings = RequestSettings(config or Config())
    return Exchange(settings, Request("GET", "/", "", headers))


@pytest.mark.parametrize(
    ("status", "level", "errno", "text"),
    [(500, logging.ERROR, 500, "broken"), (404, logging.INFO, 0, "")],
)
def test_what_a_framework_caught_counts_if_it_became_a_5xx(summaries, status, level, errno, text):
    exchange = exchange_of()
    exchange.status = status
    exchange.handled = ValueError("broken")
    exchange.end()
    exchange.end(KeyError("too late"))
    [record] = summaries
    assert (record.levelno, error_in(record)) == (level, text)
    assert (record.code, record.errno) == (status, errno)


def test_what_escaped_wins_over_what_was_caught(summaries):
    exchange = exchange_of()
    exchange.handled = ValueError("caught")
    exchange.end(KeyError("escaped"))
    assert error_in(summaries[0]) == "'escaped'"


def test_a_summary_that_nobody_will_write_is_not_made(summaries):
    logger = logging.getLogger("request.summary")
    logger.setLevel(logging.ERROR)
    exchange = exchange_of()
    exchange.extra["uid"] = "ada"
    exchange.end()
    exchange = exchange_of()
    exchange.end(ValueError("but this one is"))
    assert [error_in(record) for record in summaries] == ["but this one is"]


def test_enter_and_leave_set_the_id_and_take_it_back():
    outer, inner = exchange_of(), exchange_of()
    outer.enter()
    inner.enter()
    assert get_request_id() == inner.rid
    inner.leave()
    inner.leave()
    assert get_request_id() == outer.rid
    outer.leave()
    assert get_request_id() is None


def test_leave_undoes_only_what_its_own_request_has_set():
    """A suspended request may be garbage collected while another one is served."""
    suspended, served = exchange_of(), exchange_of()
    contextvars.copy_context().run(suspended.enter)
    served.enter()
    try:
        suspended.leave()
        assert get_request_id() == served.rid
    finally:
        served.leave()
    assert get_request_id() is None


def test_leave_in_a_copy_of_the_context_that_was_entered():
    exchange = exchange_of()

    def entered():
        exchange.enter()
        return contextvars.copy_context()

    def left():
        exchange.leave()
        return get_request_id()

    copied = contextvars.copy_context().run(entered)
    assert copied.run(get_request_id) == exchange.rid
    assert copied.run(left) is None


def test_a_coroutine_closed_elsewhere_leaves_the_request_that_is_served(summaries):
    """S9: what a server does with a request that it gives up."""

    async def app(scope, receive, send):
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    suspended = DockerflowMiddleware(app)(scope, None, None)

    async def suspend():
        with suppress(StopIteration):
            suspended.send(None)

    loop = asyncio.new_event_loop()
    contextvars.copy_context().run(loop.run_until_complete, suspend())
    loop.close()
    served = exchange_of()
    served.enter()
    try:
        suspended.close()
        assert get_request_id() == served.rid
    finally:
        served.leave()


def test_a_messages_percent_signs_stay(summaries):
    exchange = exchange_of()
    exchange.end(ValueError("100% %s"))
    [record] = summaries
    assert error_in(record) == "100% %s"


def test_a_summary_is_a_plain_record_made_by_the_apps_own_factory(summaries):
    class Record(logging.LogRecord):
        rid = "set by the factory"

    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Record)
    try:
        exchange = exchange_of()
        exchange.end()
    finally:
        logging.setLogRecordFactory(factory)
    [record] = summaries
    assert type(record) is Record
    assert (record.rid, record.process) == (exchange.rid, os.getpid())
