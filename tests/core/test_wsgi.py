"""The WSGI driver, driven by hand and under wsgiref's validator."""

import contextlib
import contextvars
import gc
import io
import logging
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_lines import error_in

from dockerflow._core.request_id import get_request_id, noted_request, request_id_context
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.wsgi import DockerflowMiddleware

EXAMPLES = int(os.environ.get("DOCKERFLOW_TEST_EXAMPLES", "2000"))


def make_environ(path="/", method="GET", **extra):
    environ = {
        "PATH_INFO": path,
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        **extra,
    }
    setup_testing_defaults(environ)
    return environ


def start(app, environ):
    """Return the iterable and the list that gets (status, headers)."""
    started = []

    def start_response(status, headers, exc_info=None):
        if exc_info:
            started.clear()
        started.append((status, headers))
        return lambda data: None

    return app(environ, start_response), started


def call(app, environ=None, **kwargs):
    """Do what a server does; return status, headers and body."""
    body, started = start(app, environ or make_environ(**kwargs))
    try:
        data = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    [(status, headers)] = started
    return int(status[:3]), headers, data


def ids_in(headers):
    return [value for name, value in headers if name.lower() == "x-request-id"]


def answering(status="200 OK", body=(b"ok",)):
    def app(environ, start_response):
        start_response(status, [("Content-Type", "text/plain")])
        return list(body)

    return app


def wrap(app, **config):
    return DockerflowMiddleware(app, config=Config(**config), registry=Registry())


@pytest.mark.parametrize(
    ("status", "code", "errno"),
    [("200 OK", 200, 0), ("404 Not Found", 404, 0), ("500 Oh", 500, 500), ("503 No", 503, 503)],
)
def test_one_summary_with_all_fields(summaries, status, code, errno):
    environ = make_environ(
        "/items/é".encode().decode("latin-1"),
        HTTP_USER_AGENT="curl/8", HTTP_ACCEPT_LANGUAGE="de", HTTP_X_REQUEST_ID="abc",
        SCRIPT_NAME="/mount",
    )  # fmt: skip
    got, headers, _ = call(wrap(answering(status)), environ)
    assert (got, ids_in(headers)) == (code, ["abc"])
    [record] = summaries
    assert record.path == "/mount/items/é"
    assert (record.agent, record.lang, record.rid, record.uid) == ("curl/8", "de", "abc", "")
    assert (record.code, record.errno, record.levelno) == (code, errno, logging.INFO)


@pytest.mark.parametrize("path", ["/", "/__version__", "/__heartbeat__", "/__lbheartbeat__"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_validator_is_content_around_and_inside(path, method, tmp_path):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"hello"]

    (tmp_path / "version.json").write_text("{}")
    app = validator(wrap(validator(app), version_path=tmp_path))
    status, headers, body = call(app, path=path, method=method)
    assert status == (405 if method == "POST" and path != "/" else 200)
    assert len(ids_in(headers)) == 1
    if method == "HEAD":
        assert body == b""


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_body_says_how_many_chunks_it_has(summaries, kind):
    def app(environ, start_response):
        start_response("200 OK", [])
        return kind((b"a", b"b"))

    body = wrap(app)(make_environ(), lambda *_: None)
    assert len(body) == 2
    assert list(body) == [b"a", b"b"]
    assert not summaries
    body.close()
    [record] = summaries
    assert record.code == 200


@pytest.mark.parametrize("when", ["call", "first", "later", "close"])
def test_an_escaped_exception_is_one_error_and_escapes(summaries, when):
    class Body:
        def __iter__(self):
            if when == "first":
                raise ValueError("100% broken")
            yield b"x"
            if when == "later":
                raise ValueError("100% broken")

        def close(self):
            if when == "close":
                raise ValueError("100% broken")

    def app(environ, start_response):
        if when == "call":
            raise ValueError("100% broken")
        start_response("200 OK", [])
        return Body()

    with pytest.raises(ValueError, match="100% broken"):
        call(wrap(app))
    [record] = summaries
    assert (record.levelno, error_in(record)) == (logging.ERROR, "100% broken")
    assert record.code == (500 if when == "call" else 200)
    assert record.errno == 500
    assert request_id_context.get() is None


def test_the_iterable_is_closed_once_and_timed_to_its_last_byte(summaries):
    closed = []

    class Body:
        def __iter__(self):
            for _ in range(3):
                time.sleep(0.02)
                yield b"x"

        def close(self):
            closed.append(get_request_id())

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body()

    call(wrap(app), HTTP_X_REQUEST_ID="abc")
    assert closed == ["abc"]
    [record] = summaries
    assert record.t >= 55


def test_a_body_is_not_read_ahead():
    produced = []

    def app(environ, start_response):
        start_response("200 OK", [])
        for number in range(3):
            produced.append(number)
            yield b"x"

    body, started = start(wrap(app), make_environ())
    assert (produced, started) == ([], [])
    next(body)
    assert produced == [0]
    assert len(started) == 1
    body.close()


@pytest.mark.parametrize(("began", "code"), [(False, 499), (True, 200)])
def test_a_client_gone(summaries, began, code):
    def app(environ, start_response):
        start_response("200 OK", [])
        while True:
            yield b"x"

    body, _ = start(wrap(app), make_environ())
    if began:
        next(body)
    assert not summaries
    body.close()
    body.close()
    [record] = summaries
    assert (record.code, record.errno, record.levelno) == (code, 0, logging.INFO)


class BrokenInput(io.BytesIO):
    """The connection was reset."""

    def read(self, size=-1, /):
        raise OSError("connection reset by peer")

    readline = readinto = read


READS = {
    "all": lambda body: body.read(),
    "exactly": lambda body: body.read(8),
    "parts": lambda body: list(iter(lambda: body.read(3), b"")),
    "into": lambda body: [body.readinto(bytearray(3)) for _ in range(4)],
    "line": lambda body: list(iter(body.readline, b"")),
    "lines": lambda body: body.readlines(),
    "iterated": lambda body: list(body),
    "next": lambda body: [next(body), *body],
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("body", [io.BytesIO, BrokenInput])
def test_a_client_gone_during_its_upload(summaries, read, body):
    """What the framework raises or sends because of that is not an error of the app."""

    def app(environ, start_response):
        try:
            READS[read](environ["wsgi.input"])
        finally:
            start_response("400 Bad Request", [])
        return []

    given = {"CONTENT_LENGTH": "8", "wsgi.input": body(b"a\nb")}
    if body is BrokenInput:
        with pytest.raises(OSError, match="reset"):
            call(wrap(app), make_environ(method="POST", **given))
    else:
        assert call(wrap(app), make_environ(method="POST", **given))[0] == 400
    [record] = summaries
    assert (record.code, record.errno, record.levelno) == (499, 0, logging.INFO)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("length", ["8", "", "x", "9" * 5000])
def test_a_body_is_read_as_without_the_driver(summaries, read, length):
    def app(environ, start_response):
        got.append(READS[read](environ["wsgi.input"]))
        assert environ["wsgi.input"].tell() == 8
        start_response("200 OK", [])
        return []

    got = []
    for served in (app, wrap(app)):
        body = io.BytesIO(b"ab\ncd\nef")
        environ = make_environ(method="POST", **{"wsgi.input": body})
        if length:
            environ["CONTENT_LENGTH"] = length
        else:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        call(served, environ)
        assert environ["wsgi.input"] is body
    assert got[0] == got[1]
    [record] = summaries
    assert record.code == 200


def test_a_body_read_by_read1_is_complete(summaries):
    def app(environ, start_response):
        body = environ["wsgi.input"]
        assert (body.read1(3), body.read()) == (b"abc", b"def")
        assert body.read() == b""
        start_response("200 OK", [])
        return []

    call(wrap(app), method="POST", CONTENT_LENGTH="6", **{"wsgi.input": io.BytesIO(b"abcdef")})
    [record] = summaries
    assert record.code == 200


def test_requests_leave_nothing_to_the_garbage_collector():
    def app(environ, start_response):
        environ["app.body"] = environ["wsgi.input"]  # as in the request objects of frameworks
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    def post():
        call(served, method="POST", CONTENT_LENGTH="1", **{"wsgi.input": io.BytesIO(b"x")})

    served = wrap(app)
    post()  # what is made once
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            post()
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_each_hop_is_in_the_chain_once(summaries):
    def fixed(environ, start_response):  # what Werkzeug's ProxyFix does
        environ["werkzeug.proxy_fix.orig"] = {"REMOTE_ADDR": environ["REMOTE_ADDR"]}
        return app(environ | {"REMOTE_ADDR": "192.0.2.1"}, start_response)

    app = wrap(answering(), summary_log_addresses=True)
    call(fixed, make_environ(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.1"))
    assert summaries[0].remoteAddressChain == ["192.0.2.1", "10.0.0.1"]


def test_the_summary_is_logged_in_the_context_of_the_response(summaries):
    """So that it has the trace of its request, although a tracer's span ends before it."""
    span = contextvars.ContextVar("span", default=None)
    seen = []

    def note(record):
        seen.append((span.get(), get_request_id() == record.rid))
        return True

    def app(environ, start_response):
        token = span.set(environ["PATH_INFO"])
        try:
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/fail":
                raise ValueError
            return iter([b"a", b"b"]) if environ["PATH_INFO"] == "/stream" else [b"a"]
        finally:
            span.reset(token)

    logger = logging.getLogger("request.summary")
    logger.addFilter(note)
    try:
        for path in ("/", "/stream", "/fail"):
            with contextlib.suppress(ValueError):
                call(wrap(app), path=path)
    finally:
        logger.removeFilter(note)
    assert seen == [("/", True), ("/stream", True), ("/fail", True)]


def test_a_body_that_fails_before_there_is_a_status(summaries):
    def app(environ, start_response):
        raise RuntimeError("boom")
        yield b""

    with pytest.raises(RuntimeError):
        call(wrap(app))
    [record] = summaries
    assert (record.code, record.errno, record.levelno) == (500, 500, logging.ERROR)


def test_an_app_that_sends_nothing(summaries):
    body, started = start(wrap(lambda environ, start_response: []), make_environ())
    assert list(body) == []
    body.close()
    assert started == []
    assert (summaries[0].code, summaries[0].errno) == (500, 500)


def test_a_second_status_with_exc_info_counts(summaries):
    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oh", [], sys.exc_info())
        return [b"oh"]

    status, headers, _ = call(wrap(app))
    assert status == summaries[0].code == 500
    assert len(ids_in(headers)) == 1


def test_a_single_chunk_still_tells_its_length():
    body, _ = start(wrap(answering()), make_environ())
    assert len(body) == 1
    body.close()


def test_the_app_adds_fields(summaries):
    def app(environ, start_response):
        environ["dockerflow.summary"].update(errno=7, uid="u1", code=1)
        return answering()(environ, start_response)

    environ = make_environ()
    before = dict(environ)
    call(wrap(app), environ)
    assert environ == before
    [record] = summaries
    assert (record.errno, record.uid, record.code) == (7, "u1", 200)


def test_an_exception_of_the_body_has_the_id_before_close():
    """A server may log it before it closes the body."""

    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"one"
        raise ValueError

    body, _ = start(wrap(app), make_environ(HTTP_X_REQUEST_ID="abc"))
    assert next(body) == b"one"
    with pytest.raises(ValueError, match="^$") as caught:
        next(body)
    assert noted_request(caught.value)[0] == "abc"
    body.close()


def test_nested_middlewares_summarise_once(summaries):
    status, headers, _ = call(wrap(wrap(answering())))
    assert (status, len(ids_in(headers)), len(summaries)) == (200, 1, 1)


def test_a_probe_of_a_mounted_app_can_be_left_out_of_the_log(summaries):
    inner = wrap(answering())

    def mount(environ, start_response):
        path = environ["PATH_INFO"].removeprefix("/sub")
        return inner({**environ, "SCRIPT_NAME": "/sub", "PATH_INFO": path}, start_response)

    outer = wrap(mount, summary_log_probes=False)
    for path in ("/sub/__heartbeat__", "/sub/"):
        assert call(outer, PATH_INFO=path)[0] == 200
    assert [record.path for record in summaries] == ["/sub/"]


def test_the_apps_own_id_header_stays_the_only_one():
    def app(environ, start_response):
        start_response("200 OK", [("X-REQUEST-ID", "mine")])
        return []

    _, headers, _ = call(wrap(app))
    assert ids_in(headers) == ["mine"]


def streaming(environ, start_response):
    expected = environ["HTTP_X_REQUEST_ID"]
    start_response("200 OK", [])
    for _ in range(3):
        assert get_request_id() == expected
        yield b"x"
    assert get_request_id() == expected


def test_10_000_requests_on_reused_threads_never_swap_ids():
    middleware = wrap(streaming)

    def one(number):
        _, headers, _ = call(middleware, HTTP_X_REQUEST_ID=f"id-{number}")
        assert ids_in(headers) == [f"id-{number}"]
        assert request_id_context.get() is None
        return threading.get_ident()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(10_000)))) <= 8


def test_10_000_bodies_taking_turns_in_one_thread_never_swap_ids():
    middleware = wrap(streaming)
    rng = random.Random(1)
    for _ in range(100):
        bodies = [
            start(middleware, make_environ(HTTP_X_REQUEST_ID=f"id-{number}"))[0]
            for number in range(100)
        ]
        open_bodies = list(bodies)
        while open_bodies:
            body = rng.choice(open_bodies)
            if next(body, None) is None:
                open_bodies.remove(body)
            assert request_id_context.get() is None
        for body in bodies:
            body.close()
    assert request_id_context.get() is None


def test_a_body_may_go_on_in_another_context():
    body, _ = start(wrap(streaming), make_environ(HTTP_X_REQUEST_ID="abc"))
    for _ in range(3):
        assert contextvars.Context().run(next, body) == b"x"
    contextvars.Context().run(body.close)


def test_generated_requests_are_all_answered(summaries):
    rng = random.Random(20260101)
    middleware = wrap(answering())

    def some_text(limit):
        return rng.randbytes(rng.randrange(limit)).decode("latin-1")

    for number in range(EXAMPLES):
        environ = {
            "REQUEST_METHOD": "GET", "PATH_INFO": some_text(30), "QUERY_STRING": some_text(20),
            "HTTP_X_REQUEST_ID": some_text(200), "HTTP_USER_AGENT": some_text(20),
        }  # fmt: skip
        status, headers, _ = call(middleware, environ)
        assert status == 200
        [rid] = ids_in(headers)
        assert 1 <= len(rid) <= 128
        assert all("!" <= char <= "~" for char in rid)
        assert summaries.pop().rid == rid, number
    assert not summaries


@given(
    st.text().filter(lambda path: not path.startswith("/__")),  # Hypothesis knows our paths
    st.text(max_size=300),
    st.text(),
)
def test_any_path_any_id_any_query(path, rid, query):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_X_REQUEST_ID": rid}
    status, headers, _ = call(wrap(answering()), {**environ, "QUERY_STRING": query})
    assert status == 200
    assert len(ids_in(headers)) == 1


def test_broken_logging_does_not_break_the_app(caplog):
    def broken(record):
        raise RuntimeError("broken filter")

    logger = logging.getLogger("request.summary")
    logger.addFilter(broken)
    logger.setLevel(logging.INFO)
    try:
        status, _, body = call(wrap(answering()))
    finally:
        logger.removeFilter(broken)
        logger.setLevel(logging.NOTSET)
    assert (status, body) == (200, b"ok")
    assert "could not be logged" in caplog.text
