"""Config: arguments, environment, defaults, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import logging
import os
import pickle
import pydoc
import re
import traceback
from collections import OrderedDict
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow.config import REDACTED_KEYS, Config, ConfigError, Secret, parse_count
from dockerflow.logging import MozlogFormatter


class AsyncFunction:
    async def __call__(self, *_: object) -> None: ...

    def __repr__(self) -> str:
        return "AsyncFunction()"


FIELDS = [field.name for field in dataclasses.fields(Config)]
SWITCHES = [row.name for row in Config.table() if isinstance(row.default, bool)]

# name, default, an argument and its value, a text in the environment and its value
CASES: list[tuple[str, Any, Any, Any, str, Any]] = [
    ("version_path", None, "x/v.json", Path("x/v.json"), "/srv", Path("/srv")),
    ("heartbeat_failed_status_code", 500, 503, 503, "599", 599),
    ("heartbeat_timeout", 10.0, 2, 2.0, "2.5", 2.5),
    ("check_timeout", 5.0, 0.25, 0.25, "7", 7.0),
    ("check_ttl", None, 2, 2.0, "2.5", 2.5),
    ("check_interval", None, 2, 2.0, "2.5", 2.5),
    ("heartbeat_tags", (), ["a", "b"], ("a", "b"), " a , b,,", ("a", "b")),
    (
        "heartbeat_groups", {}, {"r": ["a", "tag:b"], "j.1": "x,y"},
        {"r": ("a", "tag:b"), "j.1": ("x", "y")},
        " r = a , tag:b=c ;; j=d;", {"r": ("a", "tag:b=c"), "j": ("d",)},
    ),
    ("drain_seconds", 0.0, 2, 2.0, "0.0", 0.0),
    ("heartbeat_details", "always", "never", "never", "debug", "debug"),
    ("heartbeat_secret", None, "~" * 16, Secret("~" * 16), "!" * 17, Secret("!" * 17)),
    ("heartbeat_html", False, True, True, "on", True),
    ("silenced_checks", (), ["a", "b"], ("a", "b"), " a , b,,", ("a", "b")),
    ("request_id_header_name", ("X-Request-ID",), "X-A", ("X-A",), "X-A, X-B", ("X-A", "X-B")),
    ("request_id_validator", None, str, str, "collections:OrderedDict", OrderedDict),
    ("request_id_generator", None, str, str, "collections:OrderedDict", OrderedDict),
    ("request_id_expose_header", False, True, True, "1", True),
    ("summary_log_querystring", False, True, True, "1", True),
    ("summary_redacted_keys", REDACTED_KEYS, ["Pin"], ("pin",), "pin, Otp", ("pin", "otp")),
    ("summary_log_route", False, True, True, "1", True),
    ("summary_log_addresses", False, True, True, "1", True),
    ("summary_personal_data", True, False, False, "off", False),
    ("summary_sample_rate", 1.0, 0, 0.0, "0.25", 0.25),
    ("summary_fields", None, str, str, "collections:OrderedDict", OrderedDict),
    ("summary_log_probes", True, False, False, "no", False),
    ("error_endpoint", False, True, True, "On", True),
    ("path_prefix", "", "/x/", "/x", "/a/bX", "/a/bX"),
]  # fmt: skip

SECRETS: list[Any] = ["s" * 15, "s" * 16 + "\n", "s" * 16 + " ", "s" * 16 + "é", 10**20, b"s" * 16]

# name, wrong value by argument or as text in the environment
WRONG: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("heartbeat_timeout", "check_timeout")
        for value in ("0", "-1", "abc", "nan", "inf", 0, -1, float("nan"), float("inf"), None, True)
    ),
    *(
        (name, value)
        for name in ("check_ttl", "check_interval")
        for value in ("0", "-1", "abc", "nan", "inf", 0, -1, float("nan"), True)
    ),
    *(("drain_seconds", value) for value in ("-1", "abc", "nan", "inf", -1, None, True, False)),
    ("heartbeat_tags", 5),
    ("heartbeat_timeout", 10**400),
    *(("heartbeat_failed_status_code", value) for value in ("200", "600", "x", "1e2", 200, 503.0)),
    ("heartbeat_details", "sometimes"),
    ("heartbeat_details", ["always"]),
    *(
        ("heartbeat_groups", value)
        for value in (
            "ready",
            "ready=",
            "=a",
            "a/b=c",
            "..=c",
            ".a=c",
            "a b=c",
            "é=c",
            "a=b;a=c",
            "a\tb=c",
            5,
            None,
            {"ready": []},
            {"ready": 5},
            {5: "a"},
            {"": "a"},
            {"a/b": "a"},
            ["ready"],
        )
    ),
    *(("heartbeat_secret", value) for value in SECRETS),
    ("path_prefix", "x"),
    ("path_prefix", "/a b"),
    ("path_prefix", "/a?b"),
    ("path_prefix", None),
    *(("request_id_header_name", value) for value in ("X\nY", "X Y", "X:", "é", ",", (), 5, b"X")),
    *((name, value) for name in SWITCHES for value in ("maybe", "2", 1, None)),
    *(("summary_sample_rate", value) for value in ("2", "-0.1", "nan", "x", True, None)),
    *(
        (name, value)
        for name in ("summary_fields", "request_id_validator", "request_id_generator")
        for value in ("nowhere:x", "os:nothing", "os:sep", 5, "asyncio:sleep", AsyncFunction())
    ),
    ("summary_redacted_keys", 5),
    ("silenced_checks", 5),
    ("silenced_checks", [5]),
    ("silenced_checks", b"a"),
    ("silenced_checks", "x.E1, dockerflow.checks.E001"),
    ("silenced_checks", ["dockerflow.checks.E002"]),
    ("version_path", 5),
    ("version_path", ""),
    ("version_path", "a\0b"),
]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DOCKERFLOW_"):
            monkeypatch.delenv(name)


def test_cases_cover_every_field() -> None:
    assert [case[0] for case in CASES] == FIELDS, "add a row to CASES, in the order of the fields"


def test_wrong_values_are_there_for_every_field() -> None:
    assert {name for name, _ in WRONG} == set(FIELDS), "add a wrong value to WRONG"


@pytest.mark.parametrize(("name", "default", "given", "value", "text", "parsed"), CASES)
def test_precedence(  # noqa: PLR0917
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    default: Any,
    given: Any,
    value: Any,
    text: str,
    parsed: Any,
) -> None:
    variable = f"DOCKERFLOW_{name.upper()}"
    assert getattr(Config(), name) == default
    monkeypatch.setenv(variable, "")
    assert getattr(Config(), name) == default, "an empty variable is one that isn't set"
    monkeypatch.setenv(variable, text)
    assert getattr(Config(), name) == parsed
    assert getattr(Config(**{name: given}), name) == value


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_wrong_argument(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{name: value})
    text = str(caught.value)
    assert text.startswith(f"{name} must be ")
    assert ", not " in text
    assert len(text.splitlines()) == 1
    if name == "heartbeat_secret":
        assert text.endswith(", not [redacted]")
    elif not isinstance(value, int) or value < 1000:
        assert repr(value) in text


@pytest.mark.parametrize(
    ("name", "value"),
    [case for case in WRONG if isinstance(case[1], str) and case[1] and "\0" not in case[1]],
    ids=repr,
)
def test_wrong_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    variable = f"DOCKERFLOW_{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        Config()
    text = str(caught.value)
    assert text.startswith(f"{variable} must be ")
    shown = "[redacted]" if name == "heartbeat_secret" else repr(value)
    assert text.endswith(f", not {shown}")
    assert len(text.splitlines()) == 1


def test_argument_wins_over_wrong_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_TIMEOUT", "abc")
    assert Config(heartbeat_timeout=1).heartbeat_timeout == 1.0


def test_value_whose_repr_fails_or_is_long() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(ConfigError, match="<Odd>"):
        Config(check_timeout=Odd())  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        Config(check_timeout="x" * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", ["1", "true", "YES", " on ", "0", "False", "no", "off"])
def test_booleans(value: str) -> None:
    expected = value.strip().lower() in {"1", "true", "yes", "on"}
    assert Config(error_endpoint=value).error_endpoint is expected  # type: ignore[arg-type]


def test_frozen() -> None:
    config = Config()
    for name in FIELDS:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, name, getattr(config, name))
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(config, name)
    with pytest.raises(TypeError):
        Config("x")  # type: ignore[misc]
    with pytest.raises(TypeError, match="unknown"):
        Config(unknown=1)  # type: ignore[call-arg]


def test_it_is_hashed_by_its_values() -> None:
    assert hash(Config(path_prefix="/a")) == hash(Config(path_prefix="/a"))
    assert len({hash(Config(path_prefix=f"/{number}")) for number in range(20)}) > 1


def test_its_signature_has_all_settings_and_their_defaults() -> None:
    parameters = inspect.signature(Config).parameters
    assert {name: repr(each.default) for name, each in parameters.items()} == {
        row.name: repr(row.default) for row in Config.table()
    }
    assert parameters["path_prefix"].annotation == "str"
    # Without quotes from 3.14 on.
    assert re.search("check_timeout: '?float'? = 5.0", pydoc.render_doc(Config))


def test_a_subclass_has_the_same_fields() -> None:
    class Own(Config):
        pass

    assert [field.name for field in dataclasses.fields(Own)] == FIELDS
    assert list(inspect.signature(Own).parameters) == FIELDS
    assert dataclasses.replace(Own(), path_prefix="/x").path_prefix == "/x"


def test_what_config_gives_it_takes() -> None:
    config = Config(
        path_prefix="/x", silenced_checks=["a"], version_path="/srv",
        heartbeat_groups={"ready": ["a", "tag:b"]}, heartbeat_secret="s" * 16,
    )  # fmt: skip
    assert dataclasses.replace(config) == config
    assert hash(config) == hash(dataclasses.replace(config))
    assert dataclasses.replace(config, path_prefix="") != config
    assert Config(**dataclasses.asdict(config)) == config
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    assert dataclasses.replace(config, path_prefix="/y").path_prefix == "/y"


def test_equal_only_to_its_own_kind() -> None:
    class Other(Config):
        pass

    assert Config() != Other()
    assert Config() != vars(Config())


def test_repr_names_every_field() -> None:
    config = Config(path_prefix="/x", heartbeat_tags=["a"], heartbeat_groups={"ready": ["a"]})
    assert eval(repr(config), {"Config": Config}) == config  # noqa: PGH001
    assert repr(config).startswith("Config(version_path=None, ")


def test_table() -> None:
    rows = Config.table()
    assert [row.name for row in rows] == FIELDS
    for row in rows:
        assert row.variable == f"DOCKERFLOW_{row.name.upper()}"
        assert row.takes
        assert row.description
        assert getattr(Config(), row.name) == row.default


@given(name=st.sampled_from(FIELDS), value=st.text())
def test_any_text(name: str, value: str) -> None:
    assert len(_refusal(**{name: value}).splitlines()) <= 1
    text = value.replace("\0", "").encode("utf-8", "ignore").decode()
    with mock.patch.dict(os.environ, {f"DOCKERFLOW_{name.upper()}": text}):
        assert len(_refusal().splitlines()) <= 1


def _refusal(**arguments: Any) -> str:
    try:
        Config(**arguments)
    except ConfigError as error:
        return str(error)
    return ""


def test_settings_that_exclude_each_other() -> None:
    text = r"^check_ttl \(5\) and check_interval \(4\) can't be combined: a check that runs in the background"
    with pytest.raises(ConfigError, match=text):
        Config(check_ttl=5, check_interval=4)


def test_authorized_details_take_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is 'authorized', but heartbeat_secret is not set$"):
        Config(heartbeat_details="authorized")
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_SECRET", "s" * 16)
    secret = Config(heartbeat_details="authorized").heartbeat_secret
    assert secret == Secret("s" * 16) != Secret("s" * 17)
    assert secret != "s" * 16


def test_no_variable_in_the_error_of_a_wrong_secret_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Error trackers show the variables of each function in a traceback."""
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_SECRET", "correct-horse-battery\n")
    with pytest.raises(ConfigError) as caught:
        Config()
    assert caught.value.__suppress_context__
    for frame, _ in list(traceback.walk_tb(caught.value.__traceback__))[1:]:
        assert "correct-horse" not in repr(frame.f_locals)


def test_the_secret_is_shown_nowhere() -> None:
    secret = "correct-horse-battery"
    config = Config(heartbeat_details="authorized", heartbeat_secret=secret)
    copied = copy.deepcopy(dataclasses.replace(config, path_prefix="/x"))
    for shown in (config, copied, dataclasses.asdict(config), vars(config)):
        assert secret not in repr(shown)
        assert secret not in str(shown)
        assert secret not in f"{shown!r} {shown}"
        record = logging.LogRecord("x", logging.INFO, "", 1, "%s", ({"config": shown},), None)
        vars(record).update(config=shown, value=config.heartbeat_secret)
        assert secret not in MozlogFormatter().format(record)
    with pytest.raises(ConfigError) as caught:
        Config(heartbeat_secret=f"{secret} {secret}")
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_a_count_is_a_whole_number_over_0():
    assert (parse_count(1), parse_count("2")) == (1, 2)
    for wrong in (0, -1, 1.5, True, "x"):
        with pytest.raises((TypeError, ValueError)):
            parse_count(wrong)
