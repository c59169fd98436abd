"""Django's settings. What differs between deployments is in ``links.settings``."""

from __future__ import annotations

from pathlib import Path

import dj_database_url
from django.core.management.utils import get_random_secret_key

from links import logs
from links.schemas import MAX_BODY
from links.settings import get_settings

_settings = get_settings()

BASE_DIR = Path(__file__).parent.parent
# Nothing here is signed: no sessions, no forms of Django's, no users. With them it has to be a
# setting, the same in every process.
SECRET_KEY = get_random_secret_key()
# The load balancer knows the hosts. Here a wrong one does no more than get its own name back.
ALLOWED_HOSTS = ["*"]
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY

INSTALLED_APPS = ["dockerflow.django", "links_django"]
MIDDLEWARE = [
    "dockerflow.django.middleware.DockerflowMiddleware",  # first: probes know no Host header
    "django.middleware.security.SecurityMiddleware",
]
ROOT_URLCONF = "links_django.urls"

DATABASES = {
    "default": dj_database_url.parse(
        _settings.database_url.get_secret_value(),
        conn_max_age=60,
        conn_health_checks=True,  # a restart of the server costs no request
    )
}
if not _settings.is_embedded:
    # Beside those that the URL has, such as sslmode.
    DATABASES["default"].setdefault("OPTIONS", {})["connect_timeout"] = 3
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGGING = logs.config()
# Its checks are those that links_django.apps registers, in the place of the adapter's own two, and
# everybody sees which one failed, as with the other ways.
DOCKERFLOW_CHECKS: list[str] = []
DOCKERFLOW_HEARTBEAT_DETAILS = "always"
