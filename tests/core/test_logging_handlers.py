"""Lines are whole, whatever happens to standard output and to the process."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from dockerflow.logging import MozlogHandler, QueuedHandler
from dockerflow.logging import _handlers as _log_handlers

LINES = int(os.environ.get("LOG_LINES", "16000"))  # of all the threads of one process


MANY = """
import logging, os, sys, threading
from dockerflow.logging import configure_logging

lines = int(sys.argv[1]) // 8
configure_logging("app", queue_size=int(sys.argv[2]))
log = logging.getLogger("app")
parent = os.getpid()
for _ in range(3):
    if os.getpid() == parent:
        os.fork()

def write(number):
    for n in range(lines):
        # Every thirtieth is longer than what a pipe takes at once.
        log.info("%s", "x" * (9000 if n % 30 == 0 else 50), extra={"n": n, "thread_": number})

threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def run(code: str, *args: str, **options):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("queue_size", [0, 1000])
def test_four_processes_with_eight_threads_and_one_pipe(queue_size):
    with run(MANY, str(LINES), str(queue_size)) as process:
        seen = set()
        dropped = 0
        for line in process.stdout:
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


def test_a_signal_in_the_midst_of_a_long_line():
    code = """
import logging, os, signal, sys
from dockerflow.logging import configure_logging
configure_logging("app")
def leave(*_):
    logging.info("leaving")
    sys.exit(3)
signal.signal(signal.SIGTERM, leave)
sys.stderr.write("ready\\n"); sys.stderr.flush()
logging.info("y" * 3_000_000)
logging.info("never")
"""
    with run(code) as process:
        process.stderr.readline()
        head = process.stdout.read(100_000)  # it is at the line now, and can't go on
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        lines = (head + process.stdout.read()).splitlines()
        assert process.wait(20) == 3
    assert [json.loads(line)["Fields"]["msg"][:7] for line in lines] == ["y" * 7, "leaving"]


def wait_for_waiting(pid):
    """Wait until a process waits for a lock of a file, or for long where the system doesn't tell."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        with contextlib.suppress(OSError), open("/proc/locks") as locks:
            if re.search(rf"-> POSIX .* {pid} ", locks.read()):
                return
        time.sleep(0.02)


def test_a_signal_while_another_process_writes():
    code = """
import logging, signal, sys
from dockerflow.logging import configure_logging
configure_logging("app")
def leave(*_):
    logging.info("leaving")
    sys.exit(3)
signal.signal(signal.SIGTERM, leave)
sys.stderr.write("ready\\n"); sys.stderr.flush()
logging.info("waiting")
logging.info("never")
"""
    reader, writer = os.pipe()
    fcntl.lockf(writer, fcntl.LOCK_EX)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE
    )  # fmt: skip
    process.stderr.readline()
    wait_for_waiting(process.pid)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    fcntl.lockf(writer, fcntl.LOCK_UN)
    assert process.wait(20) == 3
    process.stderr.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        messages = [json.loads(line)["Fields"]["msg"] for line in lines]
    assert messages == ["waiting", "leaving"]


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


def test_a_torn_line_is_ended(tmp_path):
    output = _log_handlers._Output(0)
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"half a li")
    output._is_torn = True
    output.write(descriptor, b"one\n")
    output.write(descriptor, b"two\n")
    os.close(descriptor)
    assert path.read_bytes() == b"half a li\none\ntwo\n"


@pytest.mark.parametrize("queue_size", ["0", "100"])
@pytest.mark.parametrize("how", ["sys.stdout.close()", "os.close(1)", "sys.stdout = None", ""])
def test_stdout_is_gone(how, queue_size):
    code = f"""
import logging, os, sys
from dockerflow.logging import configure_logging
configure_logging("app", queue_size={queue_size})
logging.info("one")
{how or "pass"}
for n in range(3): logging.info("m" * 20_000)
print("alive", file=sys.stderr)
"""
    process = run(code)
    if not how:
        process.stdout.close()  # nobody reads
        process.stdout = None
    _, errors = process.communicate(timeout=30)
    assert b"alive" in errors
    # Python itself complains about its own stream at the end, with status 120.
    assert process.returncode in (0, 120)


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


def test_nobody_waits_forever_for_a_reader_that_is_stuck(monkeypatch):
    code = """
import logging, sys, time
from dockerflow.logging import _handlers as _log_handlers
from dockerflow.logging import configure_logging
_log_handlers._EXIT_SECONDS = 0.2
configure_logging("app", queue_size=100)
for n in range(1000): logging.info("x" * 5000)
print("done", file=sys.stderr)
"""
    with run(code) as process:  # and nobody reads
        assert process.stderr.readline() == b"done\n"
        assert process.wait(20) == 0


def test_a_fork_takes_no_line_with_it():
    code = """
import logging, os
from dockerflow.logging import configure_logging
configure_logging("app", queue_size=1000)
for n in range(200): logging.info("parent %d", n)
pid = os.fork()
logging.info("after %d", os.getpid())
if pid: os.waitpid(pid, 0)
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
