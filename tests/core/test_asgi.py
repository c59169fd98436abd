"""The ASGI driver, driven by hand: what goes in, what comes out, and the one summary."""

import asyncio
import contextlib
import contextvars
import gc
import json
import logging
import os
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_lines import error_in

from dockerflow._core.request_id import get_request_id, request_id_context
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.checks import Registry
from dockerflow.config import Config

EXAMPLES = int(os.environ.get("DOCKERFLOW_TEST_EXAMPLES", "2000"))


def make_scope(path="/", method="GET", headers=(), **extra) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        **extra,
    }


async def nothing_more() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def call(app, scope=None, receive=nothing_more, **kwargs):
    """Return the messages that the app sent."""
    sent: list[dict[str, Any]] = []

    async def send(message):
        sent.append(message)

    await app(scope or make_scope(**kwargs), receive, send)
    return sent


def ids_in(sent) -> list[str]:
    return [v.decode() for k, v in sent[0]["headers"] if k.lower() == b"x-request-id"]


async def respond(send, status=200, body=b"ok", headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


def answering(status=200):
    async def app(scope, receive, send):
        await respond(send, status)

    return app


def wrap(app, **config) -> DockerflowMiddleware:
    return DockerflowMiddleware(app, config=Config(**config), registry=Registry())


FIELDS = {"agent", "code", "errno", "lang", "method", "path", "rid", "t", "uid"}


def fields_of(record) -> dict[str, Any]:
    standard = logging.makeLogRecord({}).__dict__
    return {k: v for k, v in record.__dict__.items() if k not in standard and k != "message"}


@pytest.mark.parametrize(
    ("status", "errno"), [(200, 0), (204, 0), (404, 0), (500, 500), (503, 503)]
)
def test_one_summary_with_all_fields(summaries, status, errno):
    headers = [(b"user-agent", b"curl/8"), (b"accept-language", b"de"), (b"x-request-id", b"abc")]
    sent = asyncio.run(call(wrap(answering(status)), path="/items/é", headers=headers))
    assert sent[0]["status"] == status
    assert ids_in(sent) == ["abc"]
    [record] = summaries
    fields = fields_of(record)
    assert fields.pop("t") >= 0
    assert fields == {
        "agent": "curl/8", "code": status, "errno": errno, "lang": "de", "method": "GET",
        "path": "/items/é", "rid": "abc", "uid": "",
    }  # fmt: skip
    assert (record.levelno, error_in(record)) == (logging.INFO, "")


@pytest.mark.parametrize(
    ("sent", "added"),
    [
        ([], True),
        (["X-Total"], True),
        (["X-Total", "X-Page"], True),
        (["X-Total, x-request-ID ,X-Page"], False),
        (["X-Total", "X-Request-ID"], False),
        (["*"], False),
        (["X-Total,*"], False),
        (["X-Request-ID-Old"], True),
        ([""], True),
    ],
)
def test_the_id_is_exposed_once_and_all_stays_all(sent, added):
    async def app(scope, receive, send):
        lines = [(b"Access-Control-Expose-Headers", value.encode()) for value in sent]
        await respond(send, headers=lines)

    [start, _] = asyncio.run(call(wrap(app, request_id_expose_header=True)))
    lines = [v.decode() for k, v in start["headers"] if k.lower().startswith(b"access-control-e")]
    assert lines == [*sent, *(["X-Request-ID"] if added else [])]


def test_each_proxy_may_add_a_line_of_its_own(summaries):
    headers = [(b"x-forwarded-for", b"192.0.2.1"), (b"X-Forwarded-For", b"192.0.2.2, 192.0.2.3")]
    app = wrap(answering(), summary_log_addresses=True)
    asyncio.run(call(app, headers=headers))
    assert summaries[0].remoteAddressChain[:3] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_each_hop_is_in_the_chain_once(summaries):
    """uvicorn's proxy headers and Hypercorn's ProxyFix make the client's address the peer."""
    headers = [(b"x-forwarded-for", b"192.0.2.1, 192.0.2.2")]
    app = wrap(answering(), summary_log_addresses=True)
    asyncio.run(call(app, make_scope(headers=headers, client=("192.0.2.1", 0))))
    assert summaries[0].remoteAddressChain == ["192.0.2.1", "192.0.2.2"]


def test_fields_are_never_null(summaries):
    asyncio.run(call(wrap(answering())))
    fields = fields_of(summaries[0])
    assert set(fields) == FIELDS
    assert None not in fields.values()


def test_an_escaped_exception_is_an_error_and_escapes(summaries):
    async def app(scope, receive, send):
        raise ValueError("100% broken")

    with pytest.raises(ValueError, match="100% broken"):
        asyncio.run(call(wrap(app)))
    [record] = summaries
    assert (record.levelno, error_in(record)) == (logging.ERROR, "100% broken")
    assert (record.code, record.errno) == (500, 500)


def test_an_exception_behind_its_own_answer_is_one_error(summaries):
    async def app(scope, receive, send):  # what Starlette's ServerErrorMiddleware does
        await respond(send, 500)
        raise ValueError("after")

    with pytest.raises(ValueError, match="after"):
        asyncio.run(call(wrap(app)))
    [record] = summaries
    assert (record.levelno, error_in(record), record.code) == (logging.ERROR, "after", 500)


def test_an_exception_in_the_middle_of_a_stream_keeps_the_real_code(summaries):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ValueError("mid")

    with pytest.raises(ValueError, match="mid"):
        asyncio.run(call(wrap(app)))
    [record] = summaries
    assert (record.levelno, record.code, record.errno) == (logging.ERROR, 200, 500)


def test_a_stream_is_passed_on_at_once_and_timed_to_its_last_byte(summaries):
    chunks: list[bytes] = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            message = {"type": "http.response.body", "body": b"%d" % number, "more_body": True}
            await send(message)
            assert chunks[-1] is message  # the same object, at once
            await asyncio.sleep(0.02)
        assert not summaries
        await send({"type": "http.response.body", "body": b""})
        [record] = summaries  # before the background work below
        assert record.t >= 55
        await asyncio.sleep(0.05)

    async def main():
        async def send(message):
            chunks.append(message)

        await wrap(app)(make_scope(), nothing_more, send)

    asyncio.run(main())
    [record] = summaries
    assert record.code == 200


def test_a_longer_stream_takes_no_more_memory():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        chunk = {"type": "http.response.body", "body": b"x", "more_body": True}
        for _ in range(scope["chunks"]):
            await send(chunk)
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        pass

    def peak(chunks):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        asyncio.run(wrapped(make_scope(chunks=chunks), nothing_more, send))
        return tracemalloc.get_traced_memory()[1] - before

    wrapped = wrap(app)
    tracemalloc.start()
    try:
        peak(10)  # what is made once
        assert peak(100_000) < peak(10) + 10_000  # a tenth of a byte for each chunk
    finally:
        tracemalloc.stop()


def test_a_client_gone_before_the_status(summaries):
    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    async def gone():
        return {"type": "http.disconnect"}

    asyncio.run(call(wrap(app), receive=gone))
    [record] = summaries
    assert (record.code, record.errno, record.levelno) == (499, 0, logging.INFO)


def test_a_client_gone_after_the_status(summaries):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 206, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def main():
        async def send(message):
            if message["type"] == "http.response.body":
                raise OSError("client left")

        await wrap(app)(make_scope(), nothing_more, send)

    with pytest.raises(OSError, match="client left"):
        asyncio.run(main())
    [record] = summaries
    assert (record.code, record.errno, record.levelno) == (206, 0, logging.INFO)


@pytest.mark.parametrize("sent", [None, 400, 500])
@pytest.mark.parametrize("raised", [None, RuntimeError("ClientDisconnect")])
def test_a_client_gone_during_its_upload(summaries, sent, raised):
    """What the framework raises or sends because of that is not an error of the app."""
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        if sent:
            await respond(send, sent)
        if raised:
            raise raised

    with contextlib.suppress(RuntimeError):
        asyncio.run(call(wrap(app), receive=receive))
    [record] = summaries
    assert (record.code, record.errno, record.levelno) == (499, 0, logging.INFO)


def test_the_summary_is_logged_in_the_context_of_the_response(summaries):
    """So that it has the trace of its request, although a tracer's span ends before it."""
    span = contextvars.ContextVar("span", default=None)
    seen = []

    def note(record):
        seen.append((record.path, span.get(), get_request_id() == record.rid))
        return True

    async def traced(scope, receive, send):
        token = span.set(scope["path"])
        try:
            await respond(send, scope["status"])
            if scope["status"] == 500:
                raise ValueError
        finally:
            span.reset(token)

    logger = logging.getLogger("request.summary")
    logger.addFilter(note)
    try:
        for status in (200, 503, 500):
            with contextlib.suppress(ValueError):
                asyncio.run(call(wrap(traced), make_scope(f"/{status}", status=status)))
    finally:
        logger.removeFilter(note)
    assert seen == [(f"/{status}", f"/{status}", True) for status in (200, 503, 500)]


def test_requests_leave_nothing_to_the_garbage_collector():
    async def main():
        await call(app)  # what is made once
        gc.collect()
        for _ in range(100):
            await call(app)
        return gc.collect()

    app = wrap(answering(), summary_log_querystring=True)
    gc.disable()
    try:
        assert asyncio.run(main()) < 100
    finally:
        gc.enable()


@pytest.mark.parametrize("path", ["/", "/__heartbeat__"])
def test_a_client_gone_before_the_status_went_out(summaries, path):
    async def main():
        async def send(message):
            raise OSError("client left")

        await wrap(answering())(make_scope(path), nothing_more, send)

    with pytest.raises(OSError, match="client left"):
        asyncio.run(main())
    [record] = summaries
    assert (record.code, record.errno, record.levelno) == (499, 0, logging.INFO)


@pytest.mark.parametrize(("status", "code"), [(None, 499), (200, 200)])
def test_a_cancelled_task_is_summarised_and_still_cancelled(summaries, status, code):
    async def app(scope, receive, send):
        if status:
            await send({"type": "http.response.start", "status": status, "headers": []})
        await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(call(wrap(app)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    [record] = summaries
    assert (record.code, record.levelno) == (code, logging.INFO)


def test_an_app_that_sends_nothing(summaries):
    async def app(scope, receive, send):
        pass

    assert asyncio.run(call(wrap(app))) == []
    assert (summaries[0].code, summaries[0].errno) == (500, 500)


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something.else"])
def test_other_connections_are_passed_on_untouched(summaries, kind):
    seen = []

    async def app(*args):
        seen.extend(args)

    async def main():
        scope = {"type": kind}

        async def send(message): ...

        await wrap(app)(scope, nothing_more, send)
        assert seen[0] is scope
        assert scope == {"type": kind}
        assert seen[1] is nothing_more
        assert seen[2] is send

    asyncio.run(main())
    assert not summaries


def test_the_app_adds_fields_and_cannot_fake_the_code(summaries):
    async def app(scope, receive, send):
        scope["dockerflow.summary"].update(errno=7, uid="u1", code=1, name="n", msg="m", args=1)
        await respond(send)

    asyncio.run(call(wrap(app)))
    fields = fields_of(summaries[0])
    assert (fields["errno"], fields["uid"], fields["code"]) == (7, "u1", 200)
    assert (fields["name_"], fields["msg_"], fields["args_"]) == ("n", "m", 1)


def test_nested_middlewares_summarise_once_and_serve_their_own_checks(summaries):
    inner_registry = Registry()
    inner_registry.register(lambda: None, name="inner")
    inner = DockerflowMiddleware(answering(), config=Config(), registry=inner_registry)

    async def mount(scope, receive, send):
        await inner({**scope, "root_path": "/sub"}, receive, send)

    outer = wrap(mount)
    sent = asyncio.run(call(outer, path="/sub/__heartbeat__"))
    assert json.loads(sent[1]["body"])["checks"] == {"inner": "ok"}
    assert len(ids_in(sent)) == 1
    assert [record.path for record in summaries] == ["/sub/__heartbeat__"]
    asyncio.run(call(wrap(mount, summary_log_probes=False), path="/sub/__heartbeat__"))
    assert len(summaries) == 1


@pytest.mark.parametrize(
    ("path", "root", "whole"),
    [
        ("/api/x", "/api", "/api/x"),
        ("/x", "/api/", "/api/x"),
        ("/api", "/api", "/api"),
        ("/apiary", "/api", "/api/apiary"),
        ("/x", "/", "/x"),
    ],
)
def test_a_path_has_what_the_app_is_mounted_under(summaries, path, root, whole):
    asyncio.run(call(wrap(answering()), path=path, root_path=root))
    assert [record.path for record in summaries] == [whole]


def test_a_scope_that_is_used_again_is_a_new_request(summaries):
    scope = make_scope()
    before = dict(scope)
    for _ in range(2):
        asyncio.run(call(wrap(answering()), scope))
    assert scope == before
    assert len({record.rid for record in summaries}) == 2


def test_the_apps_own_id_header_stays_the_only_one():
    async def app(scope, receive, send):
        await respond(send, headers=[(b"X-Request-Id", b"mine")])

    assert ids_in(asyncio.run(call(wrap(app)))) == ["mine"]


def test_the_apps_message_is_not_changed():
    start = {"type": "http.response.start", "status": 200, "headers": ((b"a", b"b"),)}

    async def app(scope, receive, send):
        await send(start)
        await send({"type": "http.response.body"})

    sent = asyncio.run(call(wrap(app)))
    assert start["headers"] == ((b"a", b"b"),)
    assert len(ids_in(sent)) == 1


def test_broken_logging_does_not_break_the_app(caplog):
    class Broken(logging.Filter):
        def filter(self, record):
            raise RuntimeError("broken filter")

    logger = logging.getLogger("request.summary")
    broken = Broken()
    logger.addFilter(broken)
    logger.setLevel(logging.INFO)
    try:
        sent = asyncio.run(call(wrap(answering())))
    finally:
        logger.removeFilter(broken)
        logger.setLevel(logging.NOTSET)
    assert sent[0]["status"] == 200
    assert "could not be logged" in caplog.text


@pytest.mark.parametrize("header", ["X-Cloud-Trace-Context", "x-request-id"])
def test_header_names_are_read_in_any_case(header):
    app = wrap(answering(), request_id_header_name=(header,))
    sent = asyncio.run(call(app, headers=[(header.upper().encode(), b"trace/1;o=1")]))
    assert (header.lower().encode(), b"trace/1;o=1") in sent[0]["headers"]


def test_header_names_are_not_kept():
    async def main():
        for number in range(300):
            await call(app, headers=[(b"x-%d-" % number + b"x" * 60_000, b"1")])

    app = wrap(answering())
    asyncio.run(main())
    tracemalloc.start()
    try:
        asyncio.run(main())
        assert tracemalloc.get_traced_memory()[0] < 1_000_000  # of 18 MB
    finally:
        tracemalloc.stop()


def test_of_a_header_that_comes_twice_the_first_line_counts(summaries):
    headers = [(b"user-agent", b"one"), (b"user-agent", b"two"), (b"x-request-id", b"given")]
    asyncio.run(call(wrap(answering()), headers=[*headers, (b"x-request-id", b"other")]))
    [record] = summaries
    assert (record.agent, record.rid) == ("one", "given")


def test_probes_can_be_left_out_of_the_log(summaries):
    app = wrap(answering(), summary_log_probes=False)
    asyncio.run(call(app, path="/__lbheartbeat__"))
    assert not summaries
    asyncio.run(call(app, path="/"))
    assert len(summaries) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_probe_that_nobody_logs_is_answered_alike(summaries, monkeypatch, method):
    app = wrap(answering())
    path, headers = "/__lbheartbeat__", [(b"X-Request-ID", b"given")]
    loud = asyncio.run(call(app, path=path, method=method, headers=headers))
    assert len(summaries) == 1
    monkeypatch.setattr(logging.getLogger("request.summary"), "disabled", True)
    quiet = asyncio.run(call(app, path=path, method=method, headers=headers))
    assert len(summaries) == 1
    assert quiet == loud
    assert ids_in(quiet) == ["given"]
    made = [ids_in(asyncio.run(call(app, path=path))) for _ in range(2)]
    assert made[0] != made[1]


def test_the_querystring_is_logged_only_when_asked_for_and_without_secrets(summaries):
    for on in (False, True):
        app = wrap(answering(), summary_log_querystring=on)
        asyncio.run(call(app, make_scope(query_string=b"q=1&api_key=s3cret")))
    assert not hasattr(summaries[0], "querystring")
    assert summaries[1].querystring == "q=1&api_key=[redacted]"


def test_10_000_interleaved_requests_never_swap_ids():
    async def app(scope, receive, send):
        expected = scope["expected"]
        for _ in range(3):
            assert get_request_id() == expected
            await asyncio.sleep(0)
        await respond(send)
        assert get_request_id() == expected

    middleware = wrap(app)

    async def one(number):
        rid = f"id-{number}"
        scope = make_scope(headers=[(b"x-request-id", rid.encode())], expected=rid)
        sent = await call(middleware, scope)
        assert ids_in(sent) == [rid]
        assert request_id_context.get() is None

    async def main():
        for start in range(0, 10_000, 1000):
            await asyncio.gather(*map(one, range(start, start + 1000)))
        assert request_id_context.get() is None

    asyncio.run(main())


def is_valid_id(rid: str) -> bool:
    return 1 <= len(rid) <= 128 and all("!" <= char <= "~" for char in rid)


def test_generated_requests_are_all_answered(summaries):
    rng = random.Random(20260101)
    middleware = wrap(answering())

    def some_bytes(limit):
        return rng.randbytes(rng.randrange(limit))

    async def main():
        for number in range(EXAMPLES):
            value = some_bytes(200) if number % 2 else bytes(rng.choices(range(0x21, 0x7F), k=9))
            scope = make_scope(
                some_bytes(30).decode("utf-8", "surrogateescape"),
                headers=[
                    (b"x-request-id", value), (some_bytes(10), some_bytes(20)),
                    (b"user-agent", some_bytes(20)),
                ],
                query_string=some_bytes(20),
            )  # fmt: skip
            sent = await call(middleware, scope)
            assert sent[0]["status"] == 200
            [rid] = ids_in(sent)
            assert is_valid_id(rid)
            assert number % 2 or rid == value.decode()
            assert summaries.pop().rid == rid

    asyncio.run(main())
    assert not summaries


@given(
    st.lists(st.tuples(st.binary(), st.binary()), max_size=5),
    st.binary(max_size=300),
    st.text().filter(lambda path: not path.startswith("/__")),  # Hypothesis knows our paths
)
def test_any_headers_any_id_any_path(headers, rid, path):
    app = wrap(answering())
    sent = asyncio.run(call(app, path=path, headers=[*headers, (b"x-request-id", rid)]))
    [answer] = ids_in(sent)
    assert sent[0]["status"] == 200
    assert is_valid_id(answer)


def test_wrong_environment_fails_at_start(monkeypatch):
    monkeypatch.setenv("DOCKERFLOW_CHECK_TIMEOUT", "abc")
    with pytest.raises(ValueError, match="DOCKERFLOW_CHECK_TIMEOUT must be .* not 'abc'"):
        DockerflowMiddleware(answering())
