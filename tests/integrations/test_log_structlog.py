"""structlog's events and the standard library's records come out in one envelope."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema
import pytest

structlog = pytest.importorskip("structlog")

from dockerflow.asgi import DockerflowMiddleware  # noqa: E402
from dockerflow.logging import MozlogHandler, TextFormatter, request_id_context  # noqa: E402
from dockerflow.structlog import (  # noqa: E402  # both need structlog
    MozlogRenderer,
    configure,
    processors,
    render_to_record,
)

SCHEMA = json.loads(
    resources.files("dockerflow.logging").joinpath("mozlog.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FORMATTER = structlog.stdlib.ProcessorFormatter


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in lines:
        VALIDATOR.validate(line)
    return lines


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    root.handlers[:] = [MozlogHandler(stream, "site")]
    root.setLevel(logging.INFO)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def rid() -> Iterator[str]:
    token = request_id_context.set("r-1")
    yield "r-1"
    request_id_context.reset(token)


def by_library() -> None:
    configure()


def by_wrapping() -> None:
    """structlog hands its events on as they are, and our formatter takes them apart."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            FORMATTER.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def by_formatter() -> None:
    """The handler has structlog's formatter, with our renderer at its end."""
    by_wrapping()
    logging.getLogger().handlers[0].setFormatter(
        FORMATTER(
            processors=[FORMATTER.remove_processors_meta, MozlogRenderer("site")],
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        )
    )


def by_formatter_with_meta() -> None:
    by_wrapping()
    logging.getLogger().handlers[0].setFormatter(FORMATTER(processors=[MozlogRenderer("site")]))


WAYS = [by_library, by_wrapping, by_formatter, by_formatter_with_meta]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, stream: io.StringIO) -> Any:
    request.param()
    return request.param


def test_both_in_one_envelope(way: Any, stream: io.StringIO, rid: str) -> None:
    log = structlog.get_logger("app.orders").bind(order=7)
    with structlog.contextvars.bound_contextvars(tenant="t"):
        log.warning("paid %s", "now", amount=12.5, items={"a": {"b": 1}}, nothing=None)
    logging.getLogger("app.orders").warning("paid %s", "now", extra={"order": 7})
    log.debug("not shown")
    event, record = read(stream)
    assert event["Fields"] == {
        "msg": "paid now", "order": 7, "tenant": "t", "amount": 12.5, "items": {"a.b": 1},
        "rid": rid,
    }  # fmt: skip
    assert record["Fields"]["msg"] == "paid now"
    if way is not by_formatter:  # there structlog itself loses what it isn't asked for
        assert record["Fields"]["order"] == 7
    assert record["Fields"]["rid"] == rid
    envelopes = [
        {key: value for key, value in line.items() if key not in {"Timestamp", "Fields"}}
        for line in (event, record)
    ]
    if way is by_formatter:  # without its meta data nobody knows which logger it was
        envelopes[1]["Type"] = envelopes[0]["Type"]
    assert envelopes[0] == envelopes[1]
    assert (event["Type"], event["Logger"], event["Severity"]) == ("app.orders", "site", 4)


def test_exceptions_and_stacks(way: Any, stream: io.StringIO) -> None:
    log = structlog.get_logger("app")
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        log.exception("one", n=1)
        log.error("two", exc_info=error)
        logging.getLogger("app").exception("three")
    log.info("four", stack_info=True)
    *errors, stack = read(stream)
    for line in errors:
        assert line["Severity"] == 3
        assert line["Fields"]["error"] == "ValueError('outer')"
        assert "KeyError: 'inner'" in line["Fields"]["traceback"]
    assert errors[0]["Fields"]["n"] == 1
    assert "test_exceptions_and_stacks" in stack["Fields"]["stack"]
    assert set(stack["Fields"]) == {"msg", "stack"}


def test_names_that_logging_uses(way: Any, stream: io.StringIO) -> None:
    structlog.get_logger("app").info("hello", msg="mine", args=1, name="n", message="m", module=2)
    [line] = read(stream)
    assert line["Fields"] == {
        "msg": "hello", "msg_": "mine", "args_": 1, "name_": "n", "message_": "m", "module_": 2,
    }  # fmt: skip


def test_asynchronous(way: Any, stream: io.StringIO, rid: str) -> None:
    async def main() -> None:
        structlog.contextvars.bind_contextvars(tenant="t")
        log = structlog.get_logger("app")
        await log.ainfo("hello", n=1)
        try:
            raise ValueError("x")
        except ValueError:
            await log.aexception("failed")

    asyncio.run(main())
    first, second = read(stream)
    assert first["Fields"] == {"msg": "hello", "n": 1, "tenant": "t", "rid": rid}
    assert second["Fields"]["error"] == "ValueError('x')"
    assert (second["Severity"], second["Fields"]["rid"]) == (3, rid)


def test_without_the_standard_library(stream: io.StringIO, rid: str) -> None:
    out = io.StringIO()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            MozlogRenderer("site"),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=out),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    log = structlog.get_logger().bind(logger="app.orders")
    log.error("oh", a=[1, "b"], msg="mine")
    log.debug("not shown")
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("failed")
    first, second = read(out)
    assert (first["Type"], first["Logger"], first["Severity"]) == ("app.orders", "site", 3)
    assert first["Fields"] == {"msg": "oh", "msg_": "mine", "a": ["1", "b"], "rid": rid}
    assert (second["Severity"], second["Fields"]["error"]) == (3, "ValueError: x")
    assert second["Fields"]["traceback"].startswith("Traceback")


def test_text_for_people(stream: io.StringIO) -> None:
    configure()
    logging.getLogger().handlers[0].setFormatter(TextFormatter())
    structlog.get_logger("app").info("hello", n=1)
    assert stream.getvalue().split()[2:] == ["INFO", "app", "hello", "n=1"]


def test_a_processor_of_ones_own(stream: io.StringIO) -> None:
    def add(logger: Any, name: str, event: Any) -> Any:
        return {**event, "own": 1}

    chain = processors()
    assert chain[-1] is render_to_record
    chain.insert(-1, add)
    structlog.configure(processors=chain, logger_factory=structlog.stdlib.LoggerFactory())
    structlog.get_logger("app").warning("hello", **{"": 1})
    assert read(stream)[0]["Fields"] == {"msg": "hello", "own": 1, "": 1}


def test_odd_events(way: Any, stream: io.StringIO) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    log = structlog.get_logger("app")
    log.info({"a": 1}, loop=loop, nan=float("nan"), key={(1, 2): 3})
    log.info("100%", n=1)
    first, second = read(stream)
    assert first["Fields"]["loop"] == {"self": "[Circular]"}
    assert second["Fields"] == {"msg": "100%", "n": 1}


def test_not_needed_by_others() -> None:
    assert "structlog" not in (sys.modules["dockerflow.logging"].__dict__)


def test_a_line_that_was_kept_gets_no_other_requests_id() -> None:
    """As for the standard library's records, see tests/core/test_logging_handlers.py."""
    stream = io.StringIO()
    target = logging.StreamHandler(stream)
    target.setFormatter(FORMATTER(processors=[MozlogRenderer()]))
    kept = logging.handlers.MemoryHandler(10, logging.ERROR, target)
    log = logging.Logger("kept")
    log.addHandler(kept)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        log.log(scope["level"], "m")

    async def nothing(message: Any = None) -> Any: ...

    for level, rid in ((20, b"first"), (40, b"second")):
        headers = [(b"x-request-id", rid)]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "level": level}
        asyncio.run(DockerflowMiddleware(app)(scope, nothing, nothing))
    first, second = (json.loads(line)["Fields"] for line in stream.getvalue().splitlines())
    assert (first.get("rid"), second.get("rid")) == (None, "second")
