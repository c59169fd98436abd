"""Handlers: each line is whole, whatever happens to standard output and to the process."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import fcntl
import io
import json
import logging
import logging.handlers
import os
import queue
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from unittest import mock

import pytest
from log_lines import check, parse, record

from dockerflow._core.request_id import choose_request_id
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.logging import (
    GoogleCloudFormatter,
    MozlogFormatter,
    MozlogHandler,
    QueuedHandler,
    RequestIdLogFilter,
    _handlers,
    request_id_context,
)

LINES = int(os.environ.get("LOG_LINES", "16000"))  # of all the threads of one process


@pytest.fixture
def logger():
    return logging.Logger("app")


def run(code: str, *args: str, **options):
    """Start Python with a program whose output is read from pipes.

    Some fork with threads on purpose; from 3.15 on, os.fork() raises its warning like any other.
    """
    fork = "ignore:This process:DeprecationWarning"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-W", fork, "-c", code, *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def messages_of(output: bytes) -> list[str]:
    return [json.loads(line)["Fields"]["msg"] for line in output.splitlines()]


# --- any stream ----------------------------------------------------------------------------------


def test_handler_writes_to_the_stdout_of_the_moment(logger, capsys):
    logger.addHandler(MozlogHandler(name="site"))
    logger.info("one")
    out, err = capsys.readouterr()
    assert check(parse(out.rstrip("\n")))["Logger"] == "site"
    assert out.endswith("}\n")
    assert err == ""
    with pytest.MonkeyPatch.context() as patch:
        stream = io.StringIO()
        patch.setattr(sys, "stdout", stream)
        logger.info("two")
    assert '"two"' in stream.getvalue()
    assert capsys.readouterr() == ("", "")


def test_handler_sets_the_name(logger):
    handler = MozlogHandler(io.StringIO(), "site")
    assert handler.name is None
    made = record()
    handler.emit(made)
    assert made.logger_name == "site"
    handler.setFormatter(logging.Formatter("%(logger_name)s!"))
    handler.emit(made)
    assert handler.stream.getvalue().endswith("\nsite!\n")


def test_set_stream():
    one, two = io.StringIO(), io.StringIO()
    handler = MozlogHandler(one)
    assert handler.setStream(two) is one
    handler.emit(record())
    assert one.getvalue() == ""
    assert two.getvalue()
    assert "StringIO" in repr(handler) or "MozlogHandler" in repr(handler)


def test_basic_config_keeps_mozlog():
    handler = MozlogHandler(io.StringIO())
    root = logging.getLogger()
    level = root.level
    before = root.handlers[:]
    root.handlers.clear()
    try:
        logging.basicConfig(handlers=[handler], level=logging.INFO)
        assert isinstance(handler.formatter, MozlogFormatter)
    finally:
        root.handlers[:] = before
        root.setLevel(level)


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_nobody_reads(logger, capsys):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, Gone()):
        handler = MozlogHandler(stream)
        logger.addHandler(handler)
        logger.info("m")
        handler.flush()
    for standard in (closed, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", standard)
            handler = MozlogHandler()
            handler.emit(record("m"))
            handler.flush()
    assert capsys.readouterr() == ("", "")


def test_other_write_errors_are_reported(logger, capsys):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError("disk full")

    logger.addHandler(MozlogHandler(Full()))
    logger.info("m")
    assert "disk full" in capsys.readouterr().err


def test_stream_that_cannot_hold_unicode(logger):
    raw = io.BytesIO()
    logger.addHandler(MozlogHandler(io.TextIOWrapper(raw, encoding="ascii")))
    logger.info("é \U0001f600")
    assert parse(raw.getvalue().decode().rstrip("\n"))["Fields"]["msg"] == "é \U0001f600"


def test_request_id_filter(logger):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(MozlogFormatter())
    logger.addHandler(handler)

    def log():
        request_id_context.set("id-1")
        logger.info("without")
        handler.addFilter(RequestIdLogFilter())
        logger.info("with")
        logger.info("own", extra={"rid": "mine"})

    contextvars.copy_context().run(log)
    logger.info("outside")
    rids = [check(parse(line))["Fields"].get("rid") for line in stream.getvalue().splitlines()]
    assert rids == [None, "id-1", "mine", None]


def test_request_id_filter_for_text():
    made = record("m")
    assert RequestIdLogFilter().filter(made)
    assert logging.Formatter("[%(rid)s] %(message)s").format(made) == "[None] m"
    assert not RequestIdLogFilter("other").filter(made)


# --- the request that a record belongs to --------------------------------------------------------


async def serve(path, headers=()):
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}

    async def nothing(message=None): ...

    await DockerflowMiddleware(write_for_the_user)(scope, nothing, nothing)


async def write_for_the_user(scope, receive, send):
    user = scope["path"]
    scope["dockerflow.summary"]["uid"] = user
    log = logging.getLogger("buffered")
    log.info("%s", user)
    await asyncio.sleep(0.02)
    if user == "bob":
        log.error("%s", user)


@pytest.fixture
def buffered():
    """A logger whose handler keeps the lines until there is an error."""
    stream = io.StringIO()
    target = MozlogHandler(stream)
    handler = logging.handlers.MemoryHandler(100, logging.ERROR, target)
    logger = logging.getLogger("buffered")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler, stream
    logger.removeHandler(handler)


HEADERS = {
    name: [(b"x-request-id", name.encode()), (b"traceparent", b"00-" + digit * 32 + b"-" + b"1" * 16 + b"-01")]
    for name, digit in (("alice", b"a"), ("bob", b"b"))
}  # fmt: skip


WAYS = ["one after the other", "in threads"]
if sys.version_info >= (3, 12):  # before, records have no task's name
    WAYS.append("in tasks")


def test_a_clock_that_is_set_back_takes_no_id():
    handler = MozlogHandler(io.StringIO())

    async def app(scope, receive, send):
        now = time.time()
        with mock.patch.object(time, "time", return_value=now - 60):
            handler.handle(record("a line"))

    async def nothing(message=None): ...

    scope = {"type": "http", "method": "GET", "path": "/", "headers": HEADERS["alice"]}
    asyncio.run(DockerflowMiddleware(app)(scope, nothing, nothing))
    assert json.loads(handler.stream.getvalue())["Fields"]["rid"] == "alice"


@pytest.mark.parametrize("formatter", [MozlogFormatter, GoogleCloudFormatter])
@pytest.mark.parametrize("how", WAYS)
def test_a_line_that_was_kept_gets_no_other_requests_id_or_user(buffered, how, formatter):
    handler, stream = buffered
    handler.target.addFilter(RequestIdLogFilter())  # where it is too late
    handler.target.setFormatter(formatter())
    users = ("alice", "bob")

    async def in_tasks():
        await asyncio.gather(*[serve(user, HEADERS[user]) for user in users])

    if how == "in threads":
        for user in users:
            thread = threading.Thread(target=asyncio.run, args=[serve(user, HEADERS[user])])
            thread.start()
            thread.join()
    elif how == "in tasks":
        asyncio.run(in_tasks())
    else:
        for user in users:
            asyncio.run(serve(user, HEADERS[user]))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 3
    for line in lines:
        fields = line.get("Fields", line)
        user = fields.get("msg", fields.get("message"))
        found = (fields.get("rid"), fields.get("uid"), line.get("logging.googleapis.com/trace"))
        if user == "bob":
            trace = "b" * 32 if formatter is GoogleCloudFormatter else None
            assert found == ("bob", "bob", trace)
        else:
            assert found == (None, None, None)


def test_a_record_of_another_process_needs_no_asyncio_here(monkeypatch):
    """Such a record may have a task's name, and a WSGI process may never import asyncio."""
    monkeypatch.delitem(sys.modules, "asyncio")
    token = request_id_context.set("rid-1")
    made = record(taskName="Task-1")
    assert RequestIdLogFilter().filter(made)
    request_id_context.reset(token)
    assert made.rid is None


def test_a_filter_puts_the_id_on_a_record_when_it_is_made(buffered):
    handler, stream = buffered
    handler.addFilter(RequestIdLogFilter())
    for user in ("alice", "bob"):
        asyncio.run(serve(user, HEADERS[user]))
    fields = [json.loads(line)["Fields"] for line in stream.getvalue().splitlines()]
    assert [(line["rid"], line.get("uid")) for line in fields] == [
        ("alice", None), ("bob", "bob"), ("bob", "bob"),
    ]  # fmt: skip


def test_a_queue_listener_adds_no_request(logger):
    """Its thread may have been started while a request was served, and may have its context."""
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    stream = io.StringIO()
    logger.addHandler(logging.handlers.QueueHandler(lines))
    listener = logging.handlers.QueueListener(lines, MozlogHandler(stream))
    request_id_context.set("the starter's")
    logger.info("m")
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(listener.handle, lines.get()))
    thread.start()
    thread.join()
    assert "rid" not in json.loads(stream.getvalue())["Fields"]


def test_lines_of_child_tasks_and_threads_have_the_request(logger):
    stream = io.StringIO()
    logger.addHandler(MozlogHandler(stream))

    async def app(scope, receive, send):
        logger.info("task")
        await asyncio.gather(child(), asyncio.create_task(child()))
        await asyncio.to_thread(logger.info, "thread")

    async def child():
        logger.info("child")

    async def nothing(message=None): ...

    scope = {"type": "http", "method": "GET", "path": "/", "headers": HEADERS["bob"]}
    asyncio.run(DockerflowMiddleware(app)(scope, nothing, nothing))
    fields = [json.loads(line)["Fields"] for line in stream.getvalue().splitlines()]
    assert [line["rid"] for line in fields] == ["bob"] * 4


@pytest.mark.parametrize("queue_size", [0, 100_000])
def test_eight_threads_mix_nothing_up(queue_size):
    """Also without the GIL: ids are unique, and each line has its own thread's values."""
    stream = io.StringIO()
    handler = QueuedHandler(stream, queue_size=queue_size) if queue_size else MozlogHandler(stream)
    formatter = MozlogFormatter()  # one for all handlers, as with logging.config
    handler.setFormatter(formatter)
    barrier = threading.Barrier(8)
    errors = []

    def work(number):
        barrier.wait(20)
        try:
            for n in range(300):
                rid = choose_request_id({}, ())
                token = request_id_context.set(rid)
                handler.handle(record(f"{number} é", nested={"n": n, "rid": rid}))
                made = formatter.format(record("x", n=n, who=number))
                assert json.loads(made)["Fields"] == {"n": n, "who": number, "msg": "x"}
                request_id_context.reset(token)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.flush()
    handler.close()
    assert not errors
    fields = [line["Fields"] for line in read(stream)]
    assert len(fields) == len({line["rid"] for line in fields}) == 2400
    assert all(line["nested"]["rid"] == line["rid"] for line in fields)


# --- standard output ---------------------------------------------------------------------------

MANY = """
import logging, os, sys, threading
from dockerflow.logging import configure_logging

lines = int(sys.argv[1]) // 8
configure_logging("app", queue_size=int(sys.argv[2]), max_bytes=int(sys.argv[3]) or None)
log = logging.getLogger("app")
parent = os.getpid()
for _ in range(3):
    if os.getpid() == parent:
        os.fork()

def write(number):
    for n in range(lines):
        # Every thirtieth is longer than what a pipe takes in one piece.
        log.info("%s", "x" * (9000 if n % 30 == 0 else 50), extra={"n": n, "thread_": number})

threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("queue_size", "max_bytes", "pause"), [(0, 0, 0), (0, 0, 0.3), (0, 4096, 0.3), (1000, 0, 0)]
)
def test_four_processes_with_eight_threads_and_one_pipe(queue_size, max_bytes, pause):
    """Long and short lines are whole, also if the reader pauses again and again."""
    with run(MANY, str(LINES), str(queue_size), str(max_bytes)) as process:
        seen = set()
        dropped = 0
        for number, line in enumerate(process.stdout):
            if pause and number % 8000 == 0:
                time.sleep(pause)
            assert len(line) <= max_bytes or not max_bytes
            out = json.loads(line)
            fields = out["Fields"]
            if "dropped" in fields:
                dropped += fields["dropped"]
            else:
                seen.add((out["Pid"], fields["thread_"], fields["n"]))
        assert process.stderr.read() == b""
    assert len(seen) + dropped == 4 * (LINES // 8) * 8
    assert (dropped == 0) or queue_size


def test_a_slow_non_blocking_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ
    handler = MozlogHandler(os.fdopen(writer, "w"))
    logger = logging.Logger("app")
    logger.addHandler(handler)
    sizes = [10, 100_000, 3000, 5000, 10] * 3

    def log():
        for size in sizes:
            logger.info("x" * size)
        handler.stream.close()

    thread = threading.Thread(target=log)
    thread.start()
    data = b""
    while got := os.read(reader, 1000):
        data += got
    thread.join()
    os.close(reader)
    assert [len(json.loads(line)["Fields"]["msg"]) for line in data.splitlines()] == sizes


# What a signal handler logs while a record is handled is dropped by the logging of some releases of
# Python, such as 3.13.5. The line that it interrupts is whole in any case.


LEAVE = """
import logging, signal, sys
from dockerflow.logging import configure_logging
configure_logging("app")
def leave(*_):
    logging.info("leaving")
    sys.exit(3)
signal.signal(signal.SIGTERM, leave)
sys.stderr.write("ready\\n"); sys.stderr.flush()
"""


def test_a_signal_in_the_middle_of_a_long_line():
    with run(LEAVE + "logging.info('y' * 3_000_000); logging.info('never')") as process:
        process.stderr.readline()
        head = process.stdout.read(100_000)  # it is at the line now, and can't go on
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        output = head + process.stdout.read()
        assert process.wait(20) == 3
    messages = [message[:7] for message in messages_of(output)]
    assert messages in (["y" * 7, "leaving"], ["y" * 7])


def wait_for_waiting(pid):
    """Wait until a process waits for a lock or a pipe, or for long where the system doesn't tell."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/wchan") as place:
            if re.search("pipe_write|lock", place.read()):
                return
        time.sleep(0.02)


@pytest.mark.parametrize("is_long", [False, True])
def test_a_signal_while_another_process_writes(is_long):
    """A short line waits for room in the pipe, a long one also for other processes' long lines."""
    code = LEAVE + f"logging.info('waiting' * {1000 if is_long else 1}); logging.info('never')"
    reader, writer = os.pipe()
    filling = b""
    if is_long:
        fcntl.lockf(writer, fcntl.LOCK_EX)
    else:
        filling = b"{}\n" * (fcntl.fcntl(writer, 1032) // 3)  # F_GETPIPE_SZ
        os.write(writer, filling)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE
    )  # fmt: skip
    process.stderr.readline()
    wait_for_waiting(process.pid)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    fcntl.lockf(writer, fcntl.LOCK_UN)
    os.close(writer)
    with os.fdopen(reader, "rb") as output:
        data = output.read()
    assert process.wait(20) == 3
    process.stderr.close()
    messages = {message[:7] for message in messages_of(data.removeprefix(filling))}
    assert messages in ({"waiting", "leaving"}, {"waiting"})


STORM = """
import logging, random, signal, sys
from dockerflow.logging import configure_logging

class Interrupted(BaseException):
    pass

def interrupt(*_):
    raise Interrupted

configure_logging("app")
signal.signal(signal.SIGALRM, interrupt)
n = 0
for _ in range(1000):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3))
        while True:
            n += 1
            logging.info("%d %s", n, "x" * (5000 if n % 30 == 0 else 0))
    except Interrupted:
        pass
logging.info("end")
"""


def test_no_line_is_written_twice_or_keeps_later_ones_back_if_a_signal_handler_raises():
    output, errors = run(STORM).communicate(timeout=60)
    assert errors == b""
    *messages, last = messages_of(output)
    assert len(set(messages)) == len(messages)
    assert last == "end"


def test_a_full_pipe_delays_no_other_file(tmp_path):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"\n")
    path = tmp_path / "log"
    with os.fdopen(writer, "w") as pipe, path.open("w") as file:
        full, free = (MozlogHandler(stream) for stream in (pipe, file))
        record = logging.makeLogRecord({"msg": "m"})
        threads = [
            threading.Thread(target=handler.emit, args=(record,)) for handler in (full, free)
        ]
        for thread, seconds in zip(threads, (0.5, 10), strict=True):
            thread.start()
            thread.join(seconds)
        alive = [thread.is_alive() for thread in threads]
        os.close(reader)
        for thread in threads:
            thread.join()
    assert alive == [True, False]
    assert messages_of(path.read_bytes()) == ["m"]


def test_a_long_line_does_not_wait_for_a_reader_that_is_gone(logger, monkeypatch):
    monkeypatch.setattr(_handlers, "_ROOM_SECONDS", 60)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as pipe:
        logger.addHandler(MozlogHandler(pipe))
        logger.info("unread")
        os.close(reader)
        started = time.monotonic()
        logger.info("x" * 9000)
        assert time.monotonic() - started < 30


def test_a_full_disk_tears_one_line_only():
    logger = logging.Logger("app")
    with open("/dev/full", "w") as full:
        handler = MozlogHandler(full)
        logger.addHandler(handler)
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            logger.info("lost")
            logger.info("z" * 10_000)
        assert "No space left" in errors.getvalue()
        handler.setStream(io.StringIO())
        logger.info("kept")
        assert json.loads(handler.stream.getvalue())["Fields"]["msg"] == "kept"


def test_after_a_torn_line_a_new_one_begins(tmp_path):
    code = """
import logging, resource
from dockerflow.logging import configure_logging
configure_logging("app")
logging.raiseExceptions = False
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))  # as if the disk were full
logging.info("x" * 9000)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
logging.info("one")
logging.info("two")
"""
    path = tmp_path / "log"
    with path.open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True, timeout=60)
    torn, *lines = path.read_bytes().splitlines()
    assert len(torn) == 5000
    assert messages_of(b"\n".join(lines)) == ["one", "two"]


def test_a_descriptor_that_is_given_another_file(tmp_path):
    """As by a daemon or a log's rotation: standard output was a pipe, and takes less in a piece."""
    code = """
import logging, os, resource, sys
from dockerflow.logging import configure_logging
configure_logging("app")
logging.raiseExceptions = False
logging.info("on the pipe")
os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))  # as if it were full
for text in "xy":
    logging.info(text * 2000)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
logging.info("end")
"""
    path = tmp_path / "log"
    output, errors = run(code, str(path)).communicate(timeout=60)
    assert (messages_of(output), errors) == (["on the pipe"], b"")
    whole, torn, *rest = path.read_bytes().splitlines()
    assert messages_of(whole) == ["x" * 2000]
    assert len(whole) + 1 + len(torn) == 3000
    assert messages_of(b"\n".join(rest)) == ["end"]


@pytest.mark.parametrize("queue_size", ["0", "100"])
@pytest.mark.parametrize("how", ["sys.stdout.close()", "os.close(1)", "sys.stdout = None", ""])
def test_stdout_is_gone(how, queue_size):
    """Lines are dropped, and nothing is written to standard error."""
    code = f"""
import logging, os, sys
from dockerflow.logging import configure_logging
configure_logging("app", queue_size={queue_size})
logging.info("one")
logging.root.handlers[0].flush()
{how or "pass"}
for n in range(3): logging.info("m" * 20_000)
logging.shutdown()
print("alive", file=sys.stderr, flush=True)
os._exit(0)  # Python itself may complain about its stream
"""
    process = run(code)
    if not how:
        process.stdout.close()  # nobody reads
        process.stdout = None
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"alive\n")


def test_other_streams_are_written_to_as_they_ask():
    class Tee(io.TextIOWrapper):
        pass

    raw = io.BytesIO()
    stream = Tee(raw)
    logger = logging.Logger("app")
    logger.addHandler(MozlogHandler(stream))
    logger.info("m")
    assert json.loads(raw.getvalue())["Fields"]["msg"] == "m"


def test_what_was_printed_before_comes_before():
    code = """
import logging
from dockerflow.logging import configure_logging
configure_logging("app")
for n in range(3):
    print(n)
    logging.info("m")
"""
    out, _ = run(code).communicate(timeout=30)
    assert [line[:1] for line in out.splitlines()] == [b"0", b"{", b"1", b"{", b"2", b"{"]


# Without the GIL, the end of CPython 3.13 itself may wait forever for the lock of sys.modules, which
# a suspended thread was given as it made a record.
@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="free-threaded Python may not end"
)
def test_daemon_threads_at_the_end_of_the_interpreter():
    code = """
import logging, threading, time
from dockerflow.logging import configure_logging
configure_logging("app")
written = []
def write():
    while True:
        logging.info("x" * 20_000)
        written.append(1)
for _ in range(4): threading.Thread(target=write, daemon=True).start()
while len(written) < 20: time.sleep(0.01)
"""
    out, errors = run(code).communicate(timeout=30)
    assert errors == b""
    lines = out.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) > 1
    for line in lines:
        json.loads(line)


def test_logging_after_everything_else():
    code = """
import atexit, logging
from dockerflow.logging import configure_logging
configure_logging("app", queue_size=QUEUE)
class Last:
    def __del__(self): logging.info("del")
atexit.register(lambda: logging.info("atexit"))
import builtins
builtins.last = Last()
logging.info("now")
"""
    for queue_size in ("0", "10"):
        out, errors = run(code.replace("QUEUE", queue_size)).communicate(timeout=30)
        assert errors == b""
        messages = [json.loads(line)["Fields"]["msg"] for line in out.splitlines()]
        assert messages[:2] == ["now", "atexit"]
        assert messages[2:] in ([], ["del"])


# --- the queue -----------------------------------------------------------------------------------


class Slow(io.StringIO):
    """A stream that takes nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()
        self.asked = threading.Event()

    def write(self, text: str) -> int:
        self.asked.set()
        self.may.wait(20)
        return super().write(text)


def read(stream) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def is_within(seconds, condition) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_slow_reader_delays_nobody_and_what_is_dropped_is_counted():
    stream = Slow()
    handler = QueuedHandler(stream, name="app", queue_size=10)
    logger = logging.Logger("app")
    logger.addHandler(handler)
    logger.info("0")
    assert stream.asked.wait(20)  # the first one is on its way, and the queue is empty
    for number in range(1, 31):
        logger.info("%d", number)
    assert handler.dropped == 20
    stream.may.set()
    handler.flush()
    lines = read(stream)
    # What came first is kept. That the others are missing is told before anything later.
    assert {line["Fields"]["msg"] for line in lines if line["Type"] == "app"} == set(
        map(str, range(11))
    )
    [told] = [line for line in lines if line["Type"] == "dockerflow.logging"]
    assert (told["Severity"], told["Logger"], told["Fields"]["dropped"]) == (4, "app", 20)
    logger.info("later")
    handler.flush()
    assert read(stream)[-1]["Fields"]["msg"] == "later"
    assert handler.dropped == 20


@pytest.mark.parametrize("length", [3000, 6000])
@pytest.mark.parametrize("reads", [True, False])
def test_a_slow_reader_delays_no_greenlet(length, reads):
    """Under gevent a thread is a greenlet: if it waited within a write, the process would."""
    pytest.importorskip("gevent")
    code = f"""
import gevent.monkey
gevent.monkey.patch_all()
import logging, sys, time
from dockerflow.logging import configure_logging
configure_logging("app", queue_size=10)
for n in range(100):
    logging.info("x" * {length})
    time.sleep(0.001)  # the listener's turn
print("done", file=sys.stderr, flush=True)
sys.stdin.readline()
"""
    with run(code, stdin=subprocess.PIPE) as process:
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        assert process.stderr.readline() == b"done\n"
        if not reads:
            process.stdout.close()
            process.stdout = None
        output, errors = process.communicate(b"\n", timeout=60)
        watchdog.cancel()
        assert (process.returncode, errors) == (0, b"")
    if reads:
        [told] = {*messages_of(output)} - {"x" * length}
        assert re.fullmatch(r"\d+ log lines were dropped, as standard output was too slow", told)


def test_gevent_patches_after_the_first_line():
    """As gunicorn's gevent worker does if gunicorn logs by a handler of ours."""
    pytest.importorskip("gevent")
    code = """
import logging, time
from dockerflow.logging import configure_logging
configure_logging("app", queue_size=10)
logging.info("early")
import gevent.monkey
gevent.monkey.patch_all()
logging.info("late")
logging.shutdown()
time.sleep(0.5)
logging.info("after")
"""
    output, errors = run(code).communicate(timeout=60)
    assert (messages_of(output), errors) == (["early", "late", "after"], b"")


def test_the_queue_is_flushed_at_exit():
    code = """
import logging
from dockerflow.logging import configure_logging
configure_logging("app", queue_size=100_000)
for n in range(20_000): logging.info("%d", n)
"""
    out, errors = run(code).communicate(timeout=60)
    assert errors == b""
    messages = [json.loads(line)["Fields"]["msg"] for line in out.splitlines()]
    assert messages == [str(n) for n in range(20_000)]


@pytest.mark.parametrize("imports", ["logging", "multiprocessing.util"])
def test_the_end_waits_once_for_a_reader_that_is_stuck(imports):
    code = f"""
import logging, sys, {imports}
from dockerflow.logging import QueuedHandler, _handlers, configure_logging
_handlers._FLUSH_SECONDS = 2
configure_logging("app", queue_size=100)
for _ in range(3): logging.root.addHandler(QueuedHandler())
for n in range(1000): logging.info("x" * 5000)
print("done", file=sys.stderr)
"""
    with run(code) as process:  # and nobody reads
        assert process.stderr.readline() == b"done\n"
        started = time.monotonic()
        assert process.wait(20) == 0
        assert time.monotonic() - started < 6  # one after the other, they would wait for eight


def test_eight_threads_start_one_listener():
    def listeners():
        return [thread for thread in threading.enumerate() if thread not in before]

    before = threading.enumerate()
    handlers = [QueuedHandler(io.StringIO()) for _ in range(30)]
    for handler in handlers:
        barrier = threading.Barrier(8)

        def log(handler=handler, barrier=barrier):
            barrier.wait(20)
            handler.emit(record("m"))

        threads = [threading.Thread(target=log) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        handler.flush()
        assert len(read(handler.stream)) == 8
    assert len(listeners()) == 30
    for handler in handlers:
        handler.close()
    assert is_within(20, lambda: not listeners())
    handlers[0].emit(record("later"))
    assert read(handlers[0].stream)[-1]["Fields"]["msg"] == "later"
    assert not listeners()


def test_a_closed_handler_loses_no_line():
    for _ in range(20):
        handler = QueuedHandler(io.StringIO())
        handler.emit(record("before"))
        handler.close()
        handler.emit(record("after"))
        messages = [line["Fields"]["msg"] for line in read(handler.stream)]
        assert (messages, handler.dropped) == (["before", "after"], 0)


def test_a_closed_handler_waits_for_nobody():
    before = threading.enumerate()
    stream = Slow()
    handler = QueuedHandler(stream)
    handler.emit(record("before"))
    assert stream.asked.wait(20)
    handler.close()
    handler.emit(record("dropped"))
    assert handler.dropped == 1
    stream.may.set()
    assert is_within(20, lambda: len(read(stream)) == 2 and threading.enumerate() == before)
    handler.emit(record("after"))
    messages = [line["Fields"]["msg"] for line in read(stream)]
    assert messages == [
        "before",
        "1 log lines were dropped, as standard output was too slow",
        "after",
    ]


# In C, no thread may hold a lock of the interpreter then: a child has no thread to release it.
FORKS = {
    "os": "os.fork()",
    "C": "logging.root.handlers[0].flush() or ctypes.PyDLL(None).fork()",
}


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("queue_size", [0, 1000])
def test_a_child_writes_its_own_lines_only(fork, queue_size):
    """Servers such as uWSGI fork in C, and don't run what is registered with os."""
    code = f"""
import ctypes, logging, os
from dockerflow.logging import configure_logging
configure_logging("app", queue_size={queue_size})
for n in range(200): logging.info("parent %d", n)
pid = {FORKS[fork]}
logging.info("after %d", os.getpid())
logging.info("y" * 10_000)
if pid == 0:
    logging.shutdown()
    os._exit(0)
os.waitpid(pid, 0)
"""
    out, errors = run(code).communicate(timeout=30)
    assert errors == b""
    lines = [json.loads(line) for line in out.splitlines()]
    messages = [line["Fields"]["msg"] for line in lines]
    assert sorted(m for m in messages if m.startswith("parent")) == sorted(
        f"parent {n}" for n in range(200)
    )
    after = [line for line in lines if line["Fields"]["msg"].startswith("after")]
    assert len({line["Pid"] for line in after}) == 2
    assert all(line["Fields"]["msg"] == f"after {line['Pid']}" for line in after)
    assert messages.count("y" * 10_000) == 2


def test_a_child_writes_although_its_parents_handler_was_closed():
    code = """
import ctypes, logging, os
from dockerflow.logging import configure_logging
configure_logging("app", queue_size=1000)
for n in range(30): logging.info("x" * 5000)  # more than a pipe holds, and nobody reads yet
logging.root.handlers[0].close()
if ctypes.PyDLL(None).fork() == 0:
    logging.info("child")
    os._exit(0)
os.wait()
"""
    out, errors = run(code).communicate(timeout=30)
    assert errors == b""
    assert b'"child"' in out


@pytest.mark.parametrize("queue_size", [0, 1000])
def test_forks_during_the_first_line(queue_size):
    """A child isn't stuck because another thread of its parent did something at that moment."""
    code = f"""
import logging, os, threading
from dockerflow.logging import configure_logging
configure_logging("app", queue_size={queue_size})
thread = threading.Thread(target=logging.info, args=("first",))
thread.start()
pid = os.fork()
if pid == 0:
    logging.info("child")
    logging.shutdown()
    os._exit(0)
thread.join()
os.waitpid(pid, 0)
"""
    program = f"""
import dockerflow.logging, os, sys
code = compile({code!r}, "code", "exec")
for _ in range(60):
    pid = os.fork()
    if pid == 0:
        exec(code, {{}})
        sys.exit()
    os.waitpid(pid, 0)
"""
    out, errors = run(program).communicate(timeout=60)
    assert errors == b""
    assert sorted(messages_of(out)) == ["child"] * 60 + ["first"] * 60


def test_a_forked_multiprocessing_child_flushes():
    code = """
import logging, multiprocessing
from dockerflow.logging import configure_logging
def work():
    for n in range(500): logging.info("child %d", n)
configure_logging("app", queue_size=1000)
logging.info("parent")
child = multiprocessing.get_context("fork").Process(target=work)
child.start(); child.join()
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert len(process.stdout.splitlines()) == 501


def test_no_thread_can_be_had(monkeypatch):
    def fail(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    stream = io.StringIO()
    logger = logging.Logger("app")
    logger.addHandler(QueuedHandler(stream))
    logger.info("m")
    assert read(stream)[0]["Fields"]["msg"] == "m"
