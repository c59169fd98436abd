"""Records whose attributes are made when one is asked for are those that logging makes."""

import asyncio
import copy
import logging
import logging.handlers
import os
import pickle
import queue
import subprocess
import sys
import threading
import time

import pytest

from dockerflow._core import records as _records
from dockerflow._core.records import make_record, untouched
from dockerflow.logging import MozlogFormatter

log = logging.getLogger("tests.records")
# What time it is, and what logging makes of that.
CLOCK = {"created", "msecs", "relativeCreated"}


def compare(level=logging.INFO):
    for _ in range(2):  # anew, and as remembered
        before = time.time()
        made = make_record(log, level, "", {"code": 200})
        after = time.time()
        code = make_record.__code__
        theirs = log.makeRecord(
            log.name, level, _records.__file__, code.co_firstlineno, "", (), None, "make_record"
        )
        theirs.__dict__["code"] = 200
        assert list(vars(made)) == list(vars(theirs))
        for key, value in vars(theirs).items():
            if key not in CLOCK:
                assert vars(made)[key] == value, key
        assert before <= made.created <= after
        assert 0 <= made.created % 1 * 1000 - made.msecs < 1
        assert made.created - made.relativeCreated / 1000 == pytest.approx(
            theirs.created - theirs.relativeCreated / 1000, abs=0.001
        )
        assert isinstance(made, logging.LogRecord)
        assert made.getMessage() == ""


def test_in_the_main_thread():
    compare()
    compare(logging.WARNING)
    compare(25)


def test_in_a_thread_that_is_renamed():
    failures = []

    def work():
        try:
            compare()
            threading.current_thread().name = "renamed"
            compare()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    assert not failures


def test_in_a_task():
    async def main():
        compare()
        await asyncio.gather(*(asyncio.to_thread(compare) for _ in range(2)))

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_in_a_child():
    compare()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            compare()
            assert make_record(log, 20, "", {}).process == os.getpid()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_message_is_no_template():
    record = make_record(log, logging.ERROR, "100 %s", {"code": 500})
    assert record.getMessage() == "100 %s"
    assert record.code == 500


def test_the_apps_own_factory_makes_the_record(monkeypatch):
    class Mine(logging.LogRecord):
        pass

    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Mine)
    try:
        assert type(make_record(log, 20, "", {"code": 1})) is Mine
    finally:
        logging.setLogRecordFactory(factory)


class Proxy:
    """What wrapt puts in a function's place, as ddtrace does: it has all that the function has."""

    def __init__(self, function):
        self.function = function

    def __getattr__(self, name):
        return getattr(self.function, name)

    def __get__(self, instance, owner=None):
        return Proxy(self.function.__get__(instance, owner))

    def __call__(self, *args, **kwargs):
        record = self.function(*args, **kwargs)
        record.traced = True
        return record


def test_what_a_tracer_puts_in_the_place_of_loggings_method_makes_the_record(monkeypatch):
    monkeypatch.setattr(logging.Logger, "makeRecord", Proxy(logging.Logger.makeRecord))
    record = make_record(log, 20, "", {"code": 1})
    assert (record.traced, record.code) == (True, 1)


def test_so_it_does_if_it_came_before_this_package():
    code = """
import logging
numbers = iter("abc")
original = logging.Logger.makeRecord
def traced(*args, **kwargs):
    record = original(*args, **kwargs)
    record.number = next(numbers)
    return record
logging.Logger.makeRecord = traced
from dockerflow._core.records import make_record
log = logging.getLogger("tests")
print(*(make_record(log, 20, "", {}).number for _ in range(3)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "a b c\n"


def test_the_apps_own_logger_makes_the_record():
    class Own(logging.Logger):
        def makeRecord(self, *args, **kwargs):  # noqa: N802
            record = super().makeRecord(*args, **kwargs)
            record.own = True
            return record

    record = make_record(Own("own"), 20, "", {"code": 1})
    assert (record.own, record.code) == (True, 1)


@pytest.mark.parametrize(
    "flag", ["logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"]
)
def test_what_logging_is_told_to_leave_out(monkeypatch, flag):
    monkeypatch.setattr(logging, flag, False, raising=False)  # the last one is Python 3.12's
    compare()

    async def main():
        compare()

    asyncio.run(main())


def test_threads_are_looked_up_when_a_record_is_made(monkeypatch):
    # gevent's monkey.patch_all() comes after the import in a worker of a preloaded app.
    monkeypatch.setattr(threading, "get_ident", lambda: 4711)
    compare()
    assert make_record(log, 20, "", {}).thread == 4711


def fresh():
    return make_record(log, logging.INFO, "", {"code": 200, "rid": "1"})


LOOKS = [
    lambda record: record.name,
    lambda record: record.code,
    lambda record: record.__dict__["rid"],
    vars,
    repr,
    copy.copy,
    pickle.dumps,
    lambda record: hasattr(record, "absent"),
    lambda record: logging.Formatter("%(message)s %(threadName)s").format(record),
    lambda record: logging.Filter("tests").filter(record),
    lambda record: setattr(record, "code", 404),
]


@pytest.mark.parametrize("look", LOOKS)
def test_who_looks_finds_a_record_like_any_other(look):
    record = fresh()
    assert untouched(record) is not None
    look(record)
    assert untouched(record) is None
    assert (record.name, record.levelname, record.rid) == ("tests.records", "INFO", "1")
    assert record.getMessage() == ""
    assert record.threadName == threading.current_thread().name
    with pytest.raises(AttributeError, match="absent"):
        _ = record.absent


def test_all_attributes_may_be_set_at_once():
    record = fresh()
    record.__dict__ = {"name": "other", "code": 1}
    assert vars(record) == {"name": "other", "code": 1}
    assert not hasattr(record, "rid")


def test_its_class_makes_records_as_its_base_does():
    # As by those who make one like another.
    cls = type(fresh())
    record = cls("other", logging.ERROR, "file.py", 7, "it %s", ("broke",), None)
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "it broke")
    record = cls.__new__(cls)
    record.__dict__.update(vars(fresh()))
    assert (record.name, record.code) == ("tests.records", 200)
    assert '"Fields":{"code":200,"rid":"1"}' in MozlogFormatter().format(record)


def test_fields_may_have_any_names():
    fields = dict.fromkeys(("_log", "_task", "_thread", "_time", "_values"), 7)
    record = make_record(log, logging.INFO, "", dict(fields))
    assert {name: getattr(record, name) for name in fields} == fields
    record._values = None
    assert record.name == "tests.records"


def test_the_name_of_the_level_is_that_of_now():
    fresh().levelname  # noqa: B018
    logging.addLevelName(logging.INFO, "info")
    try:
        assert fresh().levelname == "info"
    finally:
        logging.addLevelName(logging.INFO, "INFO")


def test_two_threads_may_look_at_once():
    # A listener's and the request's, where a QueueHandler hands records on as they are.
    class Log(logging.Logger):
        look = None

        @property
        def name(self):
            look, self.look = self.look, None
            if look is not None:  # while the record is being made in full
                thread = threading.Thread(target=look)
                thread.start()
                thread.join()
            return "tests.records"

        @name.setter
        def name(self, _):
            pass

    def look():
        seen.append(record.code)
        record.code = 404

    seen = []
    both = Log("tests.records")
    record = make_record(both, logging.INFO, "", {"code": 200})
    both.look = look
    assert record.levelname == "INFO"
    assert (seen, record.code) == ([200], 404)


def test_what_a_filter_changes_is_so():
    record = fresh()
    record.code = 404
    record.name = "renamed"
    record.more = "text"
    assert '"Type":"renamed"' in MozlogFormatter().format(record)
    assert '"Fields":{"code":404,"rid":"1","more":"text"}' in MozlogFormatter().format(record)
    record = fresh()
    del record.rid
    assert not hasattr(record, "rid")
    assert '"Fields":{"code":200}' in MozlogFormatter().format(record)
    with pytest.raises(AttributeError):
        del record.rid


def test_both_ways_write_the_same_line(monkeypatch):
    for fields in (
        {"code": 200},
        {"code": 200, "logger_name": "x"},
        {"a": None, "b": [1], "c": "\xe9"},
    ):
        record = make_record(log, logging.INFO, "", dict(fields))
        short = MozlogFormatter(logger_name="app").format(record)
        vars(record)
        assert MozlogFormatter(logger_name="app").format(record) == short
        assert MozlogFormatter(logger_name="app")._format(record) == short


def test_a_copy_is_one_of_loggings_own():
    for other in (copy.copy(fresh()), pickle.loads(pickle.dumps(fresh()))):
        assert type(other) is logging.LogRecord
        assert (other.code, other.thread) == (200, threading.get_ident())


def test_another_thread_finds_the_one_that_logged():
    # As from a MemoryHandler that is flushed elsewhere.
    records = []
    begun, end = threading.Event(), threading.Event()

    def work():
        records.extend((fresh(), fresh()))
        begun.set()
        end.wait(10)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    begun.wait(10)
    assert (records[0].thread, records[0].threadName) == (thread.ident, "worker")
    end.set()
    thread.join()
    assert records[1].thread == thread.ident
    assert records[1].threadName != threading.current_thread().name


def test_a_queue_takes_it_to_a_listener():
    lines = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(lines)
    handler.handle(fresh())
    assert (lines.get().code, lines.empty()) == (200, True)
