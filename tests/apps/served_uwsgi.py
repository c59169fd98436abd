"""What the test with uWSGI serves: its master serves, logs and checks once before it forks."""

import logging
import os
from collections.abc import Iterable
from typing import Any

from dockerflow import checks
from dockerflow.logging import configure_logging
from dockerflow.testing import Client
from dockerflow.wsgi import DockerflowMiddleware

# Lines that wait in a queue are written by a thread, which a fork doesn't copy.
configure_logging("served", format="mozlog", queue_size=100)
log = logging.getLogger("app")


@checks.register
def sync() -> None: ...


@checks.register
async def later() -> None: ...


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    log.info("in a request")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


application = DockerflowMiddleware(app)

# As apps do that fill caches before the fork.
for path in ("/", "/__heartbeat__"):
    assert Client(application).get(path).status == 200
