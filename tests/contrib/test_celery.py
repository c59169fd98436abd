import subprocess
import sys

import pytest

pytest.importorskip("celery")
pytest.importorskip("redis")

import kombu.pools
import services
from celery import Celery

from dockerflow import health
from dockerflow.checks import contrib


@pytest.fixture
def app(redis_server):
    app = Celery("tests", broker=f"redis://127.0.0.1:{redis_server.port}/0", set_as_current=False)
    yield app
    kombu.pools.reset()
    app.close()


def start_worker(redis_server, folder):
    code = f"from celery import Celery; app = Celery('tests', broker='redis://127.0.0.1:{redis_server.port}/0')"
    (folder / "work.py").write_text(code, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "work", "worker", "--concurrency", "1", "--pool",
         "threads", "--without-mingle", "--without-gossip", "--loglevel", "WARNING"],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_workers(app, redis_server, tmp_path):
    check = contrib.celery(app, timeout=0.5)
    assert check().id == health.ERROR_NO_CELERY_WORKERS
    worker = start_worker(redis_server, tmp_path)
    try:
        services.wait_for(lambda: check() is None, "the worker")
        assert (
            contrib.celery(app, timeout=0.5, min_workers=2)().id == health.ERROR_NO_CELERY_WORKERS
        )
        for _ in range(10):
            assert contrib.celery(app, timeout=10)() is None
        before = redis_server.connections()
        for _ in range(10):
            assert contrib.celery(app, timeout=10)() is None
        services.wait_for(
            lambda: redis_server.connections() <= before, "no more connections", services.NOTICE
        )
    finally:
        worker.kill()
        worker.wait()
    assert check().id == health.ERROR_NO_CELERY_WORKERS


def test_no_broker(redis_server):
    app = Celery(
        "tests", broker=f"redis://127.0.0.1:{services.free_port()}/0", set_as_current=False
    )
    message = contrib.celery(app, timeout=1)()
    assert message.id == health.ERROR_CANNOT_CONNECT_CELERY_BROKER
    assert "127.0.0.1" not in message.msg
    app.close()


def test_the_broker_stops_and_comes_back(app, redis_server):
    check = contrib.celery(app, timeout=0.5)
    assert check().id == health.ERROR_NO_CELERY_WORKERS
    redis_server.stop()
    assert check().id == health.ERROR_CANNOT_CONNECT_CELERY_BROKER
    redis_server.start()
    assert check().id == health.ERROR_NO_CELERY_WORKERS
    redis_server.restart()
    assert check().id == health.ERROR_NO_CELERY_WORKERS
