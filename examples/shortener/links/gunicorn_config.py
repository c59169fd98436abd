"""gunicorn's configuration, for the ways that are WSGI: Flask and Django."""

from __future__ import annotations

from dockerflow.config import Config
from links import logs
from links.settings import STOP_SECONDS, get_settings

_settings = get_settings()
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host

bind = f"{_host}:{_settings.port}"
# One is enough: more containers scale better. With gunicorn's own that makes two processes.
workers = _settings.web_concurrency
worker_class = "gthread"
threads = 8
# It counts from SIGTERM on, and so has to cover the drain too.
graceful_timeout = STOP_SECONDS + round(Config().drain_seconds)
logconfig_dict = logs.config()
control_socket_disable = True  # nobody asks it, and the root file system may be read-only
