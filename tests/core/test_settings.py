"""Settings that a framework has, and a core that follows them."""

import json
import logging
from typing import Any

import pytest

from dockerflow._core.app import Core, Exchange, LiveCore
from dockerflow._core.messages import Request
from dockerflow.config import SETTINGS, Config, ConfigError, Picker
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


def test_what_is_ours_is_picked_however_the_settings_change() -> None:
    picker = Picker(["B", "A"])
    assert picker.pick({}) == {}
    settings: dict[str, Any] = {"OTHER": 1, "A": 2}
    assert picker.pick(settings) == {"A": 2}
    settings["A"] = 3
    assert picker.pick(settings) == {"A": 3}
    settings["B"] = 4
    assert picker.pick(settings) == {"A": 3, "B": 4}
    assert list(picker.pick({"B": 4, "A": 3})) == ["A", "B"]
    del settings["B"]
    assert picker.pick(settings) == {"A": 3}
    del settings["A"]
    settings["B"] = 5  # as many as before, and another one the last
    assert picker.pick(settings) == {"B": 5}
    assert picker.pick({"B": 6, "OTHER": 1}) == {"B": 6}
    # Others, though as many and with the same last one.
    assert picker.pick({"B": 6, "A": 7}) == {"A": 7, "B": 6}
    assert picker.pick({"OTHER": 6, "A": 7}) == {"A": 7}
    assert picker.pick({"B": 8, "A": 7}) == {"A": 7, "B": 8}
    name = next(iter(SETTINGS))
    assert Picker().pick({name: 1, "A": 2}) == {name: 1}


def test_other_settings_are_looked_through_though_as_many_with_the_same_last_one() -> None:
    picker = Picker(["B", "A"])
    assert picker.pick({"OTHER": 6, "A": 7}) == {"A": 7}
    assert picker.pick({"B": 8, "A": 7}) == {"A": 7, "B": 8}


def test_one_more_is_found_though_the_last_one_is_the_same() -> None:
    picker = Picker(["A"])
    settings: dict[str, Any] = {"OTHER": 1}
    assert picker.pick(settings) == {}
    settings["A"] = 2
    settings["OTHER"] = settings.pop("OTHER")
    assert picker.pick(settings) == {"A": 2}


def test_settings_that_say_nothing():
    settings = {"DOCKERFLOW_CHECK_TIMEOUT": None, "DOCKERFLOW_OTHER": 1, "DEBUG": True}
    assert Config.from_settings(settings) == Config()


def test_the_error_names_the_frameworks_setting():
    with pytest.raises(ConfigError) as caught:
        Config.from_settings({"DOCKERFLOW_CHECK_TIMEOUT": "abc"})
    assert str(caught.value) == (
        "DOCKERFLOW_CHECK_TIMEOUT is 'abc', but takes a number of seconds over 0"
    )


def test_settings_are_named_like_variables():
    assert "DOCKERFLOW_PATH_PREFIX" in SETTINGS
    assert len(SETTINGS) == len(Config.table()) == len(set(SETTINGS))


def test_a_live_core_follows_its_settings(caplog):
    settings = {"DOCKERFLOW_PATH_PREFIX": "/a"}
    live = LiveCore(lambda: settings, lambda now: Core(Config.from_settings(now)))
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
    assert "DOCKERFLOW_PATH_PREFIX" in caplog.text
    assert record.levelno == logging.ERROR
    settings["DOCKERFLOW_PATH_PREFIX"] = "/c"
    assert live.get().config.path_prefix == "/c"


def test_a_live_core_with_a_wrong_setting_fails_at_the_start():
    with pytest.raises(ConfigError, match="DOCKERFLOW_PATH_PREFIX"):
        LiveCore(lambda: {"DOCKERFLOW_PATH_PREFIX": 1}, lambda now: Core(Config.from_settings(now)))


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
    response = core.respond("version", "GET", None, version=content)
    assert (response.status, json.loads(response.body)) == (status, body)
    assert [r.levelno for r in caplog.records] == ([logging.ERROR] if status == 500 else [])
    head = core.respond("version", "HEAD", None, version=content)
    assert (head.status, head.headers, head.body) == (status, response.headers, b"")


def exchange_of(core, **headers):
    return Exchange(core, Request("GET", "/", "", headers))


@pytest.mark.parametrize(
    ("status", "level", "errno", "text"),
    [(500, logging.ERROR, 500, "broken"), (404, logging.INFO, 0, "")],
)
def test_what_a_framework_caught_counts_if_it_became_a_5xx(summaries, status, level, errno, text):
    exchange = exchange_of(Core())
    exchange.status = status
    exchange.handled = ValueError("broken")
    exchange.end()
    exchange.end(KeyError("too late"))
    [record] = summaries
    assert (record.levelno, record.getMessage()) == (level, text)
    assert (record.code, record.errno) == (status, errno)


def test_what_escaped_wins_over_what_was_caught(summaries):
    exchange = exchange_of(Core())
    exchange.handled = ValueError("caught")
    exchange.end(KeyError("escaped"))
    assert summaries[0].getMessage() == "'escaped'"


def test_a_summary_that_nobody_will_write_is_not_made(summaries):
    logger = logging.getLogger("request.summary")
    logger.setLevel(logging.ERROR)
    exchange = exchange_of(Core())
    exchange.extra["uid"] = "ada"
    exchange.end()
    exchange = exchange_of(Core())
    exchange.end(ValueError("but this one is"))
    assert [record.getMessage() for record in summaries] == ["but this one is"]


def test_enter_and_leave_set_the_id_and_take_it_back():
    from dockerflow._core.request_id import get_request_id

    outer, inner = exchange_of(Core()), exchange_of(Core())
    outer.enter()
    inner.enter()
    assert get_request_id() == inner.rid
    inner.leave()
    inner.leave()
    assert get_request_id() == outer.rid
    outer.leave()
    assert get_request_id() is None
