"""gunicorn's configuration, as docs/drain.md has it."""

from typing import Any


def post_worker_init(worker: Any) -> None:
    from dockerflow import drain

    drain.install()
