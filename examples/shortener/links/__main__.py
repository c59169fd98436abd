"""The command of the image: ``python -m links serve``, ``migrate`` or ``assets``.

``serve`` applies migrations by itself to SQLite only. A database server is shared by several
containers of perhaps two releases: there ``migrate`` is a step of the deployment, before them.
"""

from __future__ import annotations

import argparse
import logging
import logging.config
import os
import sys

from dockerflow.config import Config, ConfigError
from links import assets, logs
from links.settings import STOP_SECONDS, Settings, WrongSettingsError, get_settings

logger = logging.getLogger("links")

APPS = {
    "fastapi": "links_fastapi:app",
    "flask": "links_flask:app",
    "django": "links_django.wsgi:application",
}
"""Where each framework's application is, as servers are told."""


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m links")
    parser.add_argument("command", choices=["serve", "migrate", "assets"])
    command = parser.parse_args().command
    if command == "assets":  # a part of the image's build, where there is no database
        assets.build()
        return
    try:
        settings = get_settings()
        Config()  # DOCKERFLOW_*, which the app reads again
        logging.config.dictConfig(logs.config())
    except (WrongSettingsError, ConfigError) as error:
        parser.exit(2, f"{error}\n")
    if command == "migrate":
        migrate(settings)
    else:
        serve(settings)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest migration; if it can't, end with 1 and a line in the log."""
    try:
        _migrate(settings)
    except Exception:
        logger.exception("The migrations could not be applied")
        sys.exit(1)
    logger.info("The migrations are applied")


def _migrate(settings: Settings) -> None:
    if settings.framework == "django":
        import django
        from django.core.management import call_command

        os.environ["DJANGO_SETTINGS_MODULE"] = "links_django.settings"
        django.setup()
        call_command("migrate", verbosity=0)
    else:
        from links import storage

        engine = storage.connect(settings)
        storage.migrate(engine)
        engine.dispose()


def serve(settings: Settings) -> None:
    """Serve until a signal ends it."""
    if not assets.is_built():
        assets.build()
    if settings.is_embedded:
        migrate(settings)
    if settings.framework == "fastapi":
        import uvicorn

        uvicorn.run(
            APPS["fastapi"],
            host=settings.host,
            port=settings.port,
            workers=settings.web_concurrency,
            log_config=logs.config(),
            access_log=False,  # request.summary says all of it
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    else:
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:links.gunicorn_config"]
        os.environ["WEB_CONCURRENCY"] = str(settings.web_concurrency)  # it can't read an empty one
        # In place of this process, so that signals reach it.
        os.execv(sys.executable, [*gunicorn, APPS[settings.framework]])  # noqa: S606


if __name__ == "__main__":
    main()
