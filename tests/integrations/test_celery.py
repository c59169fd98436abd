"""Celery's tasks have the id of the request that published them, in every pool."""

import contextlib
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("celery")
pytest.importorskip("redis")

import kombu.pools
import services
from celery import Celery, chain, chord, group, signals
from celery.contrib.testing.worker import start_worker
from services.web import environment

import dockerflow.celery
from dockerflow.logging import get_request_id, request_id_context

HEADER = "X-Request-ID"
# The same module for the worker's process and, by its tasks' names, for the test.
WORK = """
import logging

from celery import Celery, signals

import dockerflow.celery
from dockerflow.logging import configure_logging, get_request_id

app = Celery("work", broker="URL", backend="URL")
app.conf.update(broker_connection_retry_on_startup=True, result_extended=True)
dockerflow.celery.setup()
log = logging.getLogger("work")


@signals.setup_logging.connect
def set_up_logging(**_):
    configure_logging("work")


@app.task(name="echo")
def echo(*_):
    log.info("echo")
    return get_request_id()


@app.task(name="publish")
def publish():
    return echo.delay().id


@app.task(name="collect")
def collect(results):
    return [*results, get_request_id()]


@app.task(name="retry", bind=True, max_retries=1, default_retry_delay=0)
def retry(self):
    if self.request.retries == 0:
        raise self.retry()
    return get_request_id()


@app.task(name="fail")
def fail():
    raise ValueError("broken")
"""


@contextlib.contextmanager
def request(rid: str) -> Iterator[None]:
    token = request_id_context.set(rid)
    try:
        yield
    finally:
        request_id_context.reset(token)


@pytest.fixture
def app(redis_server: Any) -> Iterator[Celery]:
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    app = Celery("tests", broker=url, backend=url, set_as_current=False)
    dockerflow.celery.setup()
    yield app
    gc.collect()  # results that nobody waits for unsubscribe from Redis, as long as it runs
    kombu.pools.reset()
    app.close()


@contextlib.contextmanager
def worker(url: str, folder: Path, pool: str, concurrency: int) -> Iterator[Path]:
    """A worker in a process of its own; gives the file that it writes its lines to."""
    (folder / "work.py").write_text(WORK.replace("URL", url), encoding="utf-8")
    lines = folder / "lines"
    with lines.open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "work", "worker", "--pool", pool,
             "--concurrency", str(concurrency), "--without-mingle", "--without-gossip"],
            cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
        )  # fmt: skip
    try:
        yield lines
    finally:
        process.terminate()
        try:
            process.wait(services.PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in path.read_text("utf-8").splitlines() if line.startswith("{")
    ]


@pytest.mark.parametrize(
    ("pool", "concurrency"), [("prefork", 2), ("threads", 4), ("gevent", 10), ("solo", 1)]
)
def test_tasks_of_a_real_worker(
    app: Celery, redis_server: Any, tmp_path: Path, pool: str, concurrency: int
) -> None:
    if pool == "gevent":
        pytest.importorskip("gevent")

    def get(result: Any) -> Any:
        return result.get(timeout=services.PATIENCE)

    def send(name: str, **options: Any) -> Any:
        return app.send_task(name, **options)

    def echo() -> Any:
        return app.signature("echo")

    with worker(app.conf.broker_url, tmp_path, pool, concurrency) as path:
        results = {}
        for rid in (f"rid-{number}" for number in range(20)):
            with request(rid):
                results[rid] = send("echo")
        assert {rid: get(result) for rid, result in results.items()} == {
            rid: rid for rid in results
        }

        with request("a"):
            in_chain = chain(echo(), echo(), echo()).apply_async()
            in_group = group(echo(), echo()).apply_async()
            in_chord = chord([echo(), echo()], app.signature("collect")).apply_async()
            assert get(in_chain) == "a"
            assert get(in_group) == ["a", "a"]
            assert get(in_chord) == ["a", "a", "a"]
            assert get(app.AsyncResult(get(send("publish")))) == "a"
            assert get(send("retry")) == "a"
            assert get(send("echo", headers={HEADER: "own"})) == "own"
            assert get(send("echo", headers={HEADER: "not valid"})) != "not valid"
            with pytest.raises(ValueError, match="broken"):
                get(send("fail"))
        outside = send("echo")
        assert get(outside) == outside.id
        assert get_request_id() is None

    fields = [{"type": line["Type"], **line["Fields"]} for line in lines_of(path)]
    logged = [line["rid"] for line in fields if line["type"] == "work"]
    assert set(results) <= set(logged)
    assert outside.id in logged
    [failed] = [line for line in fields if "ValueError" in line.get("traceback", "")]
    assert failed["rid"] == "a"
    assert all("rid" not in line for line in fields if line["type"] == "celery.worker.strategy")


def make_in_memory() -> tuple[Celery, Any]:
    app = Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False)
    dockerflow.celery.setup()

    @app.task(bind=True, max_retries=1, default_retry_delay=0)
    def show(self: Any, is_to_retry: bool = False) -> str | None:
        if is_to_retry and self.request.retries == 0:
            raise self.retry()
        return get_request_id()

    return app, show


def test_a_worker_in_the_same_process() -> None:
    """The transport in memory, in tests of an app."""

    def leave_logging_alone(
        **_: object,
    ) -> None: ...  # else the root logger stays as Celery sets it

    signals.setup_logging.connect(leave_logging_alone)
    app, show = make_in_memory()
    try:
        with start_worker(app, pool="solo", perform_ping_check=False), request("a"):
            assert show.delay().get(timeout=services.PATIENCE) == "a"
            assert get_request_id() == "a"
    finally:
        signals.setup_logging.disconnect(leave_logging_alone)


def test_what_is_no_id_is_not_sent() -> None:
    """An app may have set any object; brokers take few."""
    _, show = make_in_memory()
    published: list[str] = []

    def note(headers: dict[str, Any], **_: object) -> None:
        published.append(headers.get(HEADER, "none"))

    signals.after_task_publish.connect(note)
    for rid in ("a", "a b", b"a", object()):
        with request(cast("str", rid)):
            show.delay()
    assert published == ["a", "none", "none", "none"]


def test_eager_tasks_have_the_id_of_the_request_around() -> None:
    app, show = make_in_memory()
    app.conf.task_always_eager = True
    with request("a"):
        assert show.delay().get() == "a"
        assert show.delay(is_to_retry=True).get() == "a"
        assert show.apply_async(headers={HEADER: "own"}).get() == "own"
        assert get_request_id() == "a"
    result = show.delay()
    assert result.get() == result.id
    assert get_request_id() is None


def test_a_task_that_is_called_is_a_function() -> None:
    _, show = make_in_memory()
    with request("a"):
        assert show() == "a"
    assert show() is None
