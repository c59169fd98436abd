"""The servers that tests of any folder can use; see services/."""

from __future__ import annotations

import contextvars
import functools
import gc
import inspect
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process would compile what it imports
os.environ.pop("PYTEST_ADDOPTS", None)  # meant for this pytest, not for those that tests start
# A shell that runs the tests in the background lets them, and what they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import services
import services.browser

from dockerflow import checks
from dockerflow.testing import capture_summaries

# An example's time limit fails where a machine is busy.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")


@functools.cache
def _has_properties(file: Path) -> bool:
    return "DOCKERFLOW_TEST_EXAMPLES" in file.read_text(encoding="utf-8")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests whose number of examples DOCKERFLOW_TEST_EXAMPLES sets, for ``-m property``."""
    if (
        isinstance(item, pytest.Function)
        and _has_properties(item.path)
        and "EXAMPLES" in inspect.getsource(item.function)
    ):
        item.add_marker("property")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add tests that were run again to the file that DOCKERFLOW_TEST_UNSTABLE names, if any."""
    if path := os.environ.get("DOCKERFLOW_TEST_UNSTABLE"):
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(f"{report.nodeid}\n" for report in terminalreporter.getreports("rerun"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run each test in a context of its own: none leaves the next one a request's id."""
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    contextvars.copy_context().run(pyfuncitem.obj, **arguments)
    return True


@pytest.fixture
def summaries() -> Iterator[list[logging.LogRecord]]:
    """The records of request.summary that are logged during the test, in order."""
    with capture_summaries() as records:
        yield records


@pytest.fixture(autouse=True)
def same_summary_handlers() -> Iterator[None]:
    """FastAPI's MozlogRequestSummaryLogger adds a handler to the logger of the process."""
    handlers = logging.getLogger("request.summary").handlers
    before = handlers[:]
    yield
    handlers[:] = before


@pytest.fixture
def no_checks() -> Iterator[None]:
    """Nothing is in the registry of the process, before the test and after it."""
    checks.clear_checks()
    yield
    checks.clear_checks()


@pytest.fixture(scope="module")
def quick_collections() -> Iterator[None]:
    """Let gc.collect() look at new objects only, not at all modules of all frameworks."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def postgres_for_all() -> Iterator[services.Postgres]:
    server = services.Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_for_all() -> Iterator[services.RedisServer]:
    server = services.RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def cluster_for_all() -> Iterator[services.RedisCluster]:
    server = services.RedisCluster()
    yield server
    server.close()


@pytest.fixture(scope="session")
def rabbitmq_for_all() -> Iterator[services.RabbitMQ]:
    server = services.RabbitMQ()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb_for_all() -> Iterator[services.MariaDB]:
    server = services.MariaDB()
    yield server
    server.close()


@pytest.fixture(scope="session")
def memcached_for_all() -> Iterator[services.Memcached]:
    server = services.Memcached()
    yield server
    server.close()


@pytest.fixture(scope="session")
def smtp_server_for_all() -> Iterator[services.SmtpServer]:
    server = services.SmtpServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def dns_server_for_all() -> Iterator[services.DnsServer]:
    server = services.DnsServer()
    yield server
    server.close()


@pytest.fixture
def postgres(postgres_for_all: services.Postgres) -> services.Postgres:
    """PostgreSQL, running and without connections, whatever the test before did to it."""
    postgres_for_all.mend()
    return postgres_for_all


@pytest.fixture
def redis_server(redis_for_all: services.RedisServer) -> services.RedisServer:
    """Redis, running and without connections."""
    redis_for_all.mend()
    return redis_for_all


@pytest.fixture
def redis_cluster(cluster_for_all: services.RedisCluster) -> services.RedisCluster:
    """A Redis cluster, running and without connections."""
    cluster_for_all.mend()
    return cluster_for_all


@pytest.fixture
def rabbitmq(rabbitmq_for_all: services.RabbitMQ) -> services.RabbitMQ:
    """RabbitMQ, running and without connections."""
    rabbitmq_for_all.mend()
    return rabbitmq_for_all


@pytest.fixture
def mariadb(mariadb_for_all: services.MariaDB) -> services.MariaDB:
    """MariaDB, running and without connections of the user."""
    mariadb_for_all.mend()
    return mariadb_for_all


@pytest.fixture
def memcached(memcached_for_all: services.Memcached) -> services.Memcached:
    """Memcached, running."""
    memcached_for_all.mend()
    return memcached_for_all


@pytest.fixture
def smtp_server(smtp_server_for_all: services.SmtpServer) -> services.SmtpServer:
    """A mail server, running."""
    smtp_server_for_all.mend()
    return smtp_server_for_all


@pytest.fixture
def dns_server(dns_server_for_all: services.DnsServer) -> services.DnsServer:
    """A nameserver, running."""
    dns_server_for_all.mend()
    return dns_server_for_all


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium, driven by Selenium."""
    with services.browser.chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """A folder for screenshots, which is kept if DOCKERFLOW_TEST_SCREENSHOTS names it."""
    folder = Path(os.environ.get("DOCKERFLOW_TEST_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
