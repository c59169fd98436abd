"""Check messages: how they are made, compared and shown."""

from __future__ import annotations

from typing import Any

import pytest

from dockerflow import checks, health
from dockerflow.checks import CheckMessage, level_to_text

CLASSES = [
    (checks.Debug, checks.DEBUG, 10, "debug"),
    (checks.Info, checks.INFO, 20, "info"),
    (checks.Warning, checks.WARNING, 30, "warning"),
    (checks.Error, checks.ERROR, 40, "error"),
    (checks.Critical, checks.CRITICAL, 50, "critical"),
]


@pytest.mark.parametrize(("cls", "constant", "level", "text"), CLASSES)
def test_levels(cls: type[CheckMessage], constant: int, level: int, text: str) -> None:
    assert constant == level
    assert level_to_text(level) == checks.STATUSES[level] == text
    message = cls("m")
    assert isinstance(message, CheckMessage)
    assert message.level == level
    assert (message.msg, message.hint, message.obj, message.id) == ("m", None, None, None)
    assert message.is_serious() is (level >= 40)
    assert message.is_serious(level) is True
    assert message.is_serious(level + 1) is False


@pytest.mark.parametrize(("level", "text"), [(0, "ok"), (35, "unknown"), (-1, "unknown")])
def test_level_to_text(level: int, text: str) -> None:
    assert level_to_text(level) == text


@pytest.mark.parametrize(
    "message",
    [
        CheckMessage("m", 40, "h", "o", "i"),
        CheckMessage("m", level=40, hint="h", obj="o", id="i"),
        CheckMessage(msg="m", id="i", obj="o", hint="h", level=40),
    ],
)
def test_constructor(message: CheckMessage) -> None:
    values = message.level, message.msg, message.hint, message.obj, message.id
    assert values == (40, "m", "h", "o", "i")
    assert repr(message) == "<CheckMessage: level=40, msg='m', hint='h', obj='o', id='i'>"


@pytest.mark.parametrize(("cls", "level"), [(case[0], case[2]) for case in CLASSES])
def test_constructor_of_subclasses(cls: type[CheckMessage], level: int) -> None:
    """A subclass has the signature of its base; an argument wins over the level of the class."""
    assert cls.level == level
    assert cls("m", None, "h", "o", "i") == cls(msg="m", hint="h", obj="o", id="i")
    assert repr(cls("m")).startswith(f"<{cls.__name__}: level={level}, msg='m', ")
    assert cls("m", level + 5).level == cls("m", level=level + 5).level == level + 5
    assert cls("m", level + 5, "h").hint == "h"
    assert cls("m", level) == cls("m")
    assert cls("m", 0).level == 0


class Own(CheckMessage):
    level = checks.WARNING


class OwnError(checks.Error):
    level = checks.CRITICAL


class Escalating(checks.Error):
    def __init__(self, msg: str, hint: str | None = None) -> None:
        super().__init__(msg, checks.CRITICAL, hint)


def test_subclasses_of_apps() -> None:
    assert (Own("m").level, Own("m", 40).level, Own.level) == (30, 40, 30)
    assert repr(Own("m")) == "<Own: level=30, msg='m', hint=None, obj=None, id=None>"
    assert (OwnError("m").level, OwnError("m", id="i").is_serious(checks.CRITICAL)) == (50, True)
    assert (Escalating("m", "h").level, Escalating("m", "h").hint) == (50, "h")


@pytest.mark.parametrize("level", [None, "error", 4.5])
def test_level_must_be_a_number(level: Any) -> None:
    with pytest.raises(TypeError, match="level must be "):
        CheckMessage("m", level)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (checks.Error("m"), "?: m"),
        (checks.Error("m", id="i"), "?: (i) m"),
        (checks.Error("m", obj="o"), "o: m"),
        (checks.Error("m", None, "h", 5, "i"), "5: (i) m\n\tHINT: h"),
        (CheckMessage("m", 10, "h"), "?: m\n\tHINT: h"),
    ],
)
def test_str(message: CheckMessage, text: str) -> None:
    assert str(message) == text


def test_equality() -> None:
    message = checks.Error("m", None, "h", "o", "i")
    assert message == checks.Error("m", None, "h", "o", "i")
    for other in (
        checks.Error("x", None, "h", "o", "i"),
        checks.Error("m", None, "x", "o", "i"),
        checks.Error("m", None, "h", "x", "i"),
        checks.Error("m", None, "h", "o", "x"),
        checks.Critical("m", None, "h", "o", "i"),
        checks.Error("m", 50, "h", "o", "i"),
        CheckMessage("m", 50, "h", "o", "i"),
        "m",
        None,
    ):
        assert message != other


def test_unhashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(checks.Error("m"))


def test_ids() -> None:
    ids = {name: value for name, value in vars(health).items() if name.isupper()}
    assert len(set(ids.values())) == len(ids)
    prefixes = {"INFO": "I", "WARNING": "W", "ERROR": "E"}
    for name, id_ in ids.items():
        package, *parts, number = id_.split(".")
        assert (package, number[0]) == ("dockerflow", prefixes[name.split("_")[0]])
        assert parts in (["checks"], ["health"], [])  # those of Django's settings have no part
    assert [health.ERROR_CHECK_RAISED, health.ERROR_CHECK_TIMED_OUT] == [
        "dockerflow.checks.E001",
        "dockerflow.checks.E002",
    ]
    assert health.ERROR_CHECK_BAD_RESULT == "dockerflow.checks.E003"
    assert health.ERROR_CANNOT_CONNECT_DATABASE == "dockerflow.health.E001"
    assert health.ERROR_REDIS_EXCEPTION == "dockerflow.health.E010"
