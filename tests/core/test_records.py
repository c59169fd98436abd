"""Records made from what is always the same are those that logging makes."""

import asyncio
import logging
import os
import threading
import time

import pytest

from dockerflow._records import make_record

PLACE = "/srv/app/place.py", 7, "function"
log = logging.getLogger("tests.records")
# What time it is, and what logging makes of that.
CLOCK = {"created", "msecs", "relativeCreated"}


def compare(level=logging.INFO):
    for _ in range(2):  # anew, and as remembered
        before = time.time()
        made = make_record(log, level, "", PLACE, {"code": 200})
        after = time.time()
        theirs = log.makeRecord(log.name, level, PLACE[0], 7, "", (), None, "function")
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
        assert type(made) is logging.LogRecord
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
            assert make_record(log, 20, "", PLACE, {}).process == os.getpid()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_message_is_no_template():
    record = make_record(log, logging.ERROR, "100 %s", PLACE, {"code": 500})
    assert record.getMessage() == "100 %s"
    assert record.code == 500


def test_the_apps_own_factory_makes_the_record(monkeypatch):
    class Mine(logging.LogRecord):
        pass

    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Mine)
    try:
        assert type(make_record(log, 20, "", PLACE, {"code": 1})) is Mine
    finally:
        logging.setLogRecordFactory(factory)


def test_the_apps_own_logger_makes_the_record():
    class Own(logging.Logger):
        def makeRecord(self, *args, **kwargs):  # noqa: N802
            record = super().makeRecord(*args, **kwargs)
            record.own = True
            return record

    record = make_record(Own("own"), 20, "", PLACE, {"code": 1})
    assert (record.own, record.code) == (True, 1)


@pytest.mark.parametrize(
    "flag", ["logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"]
)
def test_what_logging_is_told_to_leave_out(monkeypatch, flag):
    monkeypatch.setattr(logging, flag, False, raising=False)  # the last one is Python 3.12's
    monkeypatch.setattr("dockerflow._records._templates", {})
    compare()

    async def main():
        compare()

    asyncio.run(main())


def test_threads_are_looked_up_when_a_record_is_made(monkeypatch):
    # gevent's monkey.patch_all() comes after the import in a worker of a preloaded app.
    monkeypatch.setattr(threading, "get_ident", lambda: 4711)
    compare()
    assert make_record(log, 20, "", PLACE, {}).thread == 4711


def test_templates_are_bounded():
    for number in range(300):
        make_record(logging.Logger(f"tests.{number}"), 20, "", PLACE, {})
    from dockerflow._records import _templates

    assert len(_templates) <= 100
