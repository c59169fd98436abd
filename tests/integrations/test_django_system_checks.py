"""``manage.py check``: the middleware, the settings, and the app itself."""

import os
import re
import subprocess
import sys
from io import StringIO

import pytest

pytest.importorskip("django")

import django
from apps import django_app  # noqa: F401 - configures Django
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.http import HttpResponse
from django.test import Client, override_settings

from dockerflow import health
from dockerflow.django import _system_checks
from dockerflow.django.middleware import DockerflowMiddleware

django.setup()

OURS = "dockerflow.django.middleware.DockerflowMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
HERE = f"{__name__}."
CALLBACK = "DOCKERFLOW_VERSION_CALLBACK must be the dotted path of a function"


class Own(DockerflowMiddleware):
    """A subclass counts as ours."""


def by_function(get_response):
    return get_response


def django_check(*args, **settings):
    """Return what ``manage.py check`` writes to standard error."""
    settings = {
        "INSTALLED_APPS": ["dockerflow.django"], "DOCKERFLOW_CHECKS": [], "MIDDLEWARE": [OURS],
        **settings,
    }  # fmt: skip
    out = StringIO()
    with override_settings(**settings):
        call_command("check", *args, tags=["dockerflow"], stdout=StringIO(), stderr=out)
    return out.getvalue()


@pytest.mark.parametrize(
    "paths",
    [
        [OURS],
        (OURS, SECURITY, COMMON),
        [HERE + "Own", SECURITY],
        ["django_prometheus.middleware.PrometheusBeforeMiddleware", OURS],
        [
            "opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware",
            "elasticapm.contrib.django.middleware.TracingMiddleware",
            OURS,
            "no.such.Middleware",
        ],
    ],
)
def test_in_its_place(paths):
    assert django_check(MIDDLEWARE=paths) == ""


@pytest.mark.parametrize("paths", [[], [SECURITY, HERE + "by_function", "no.such.Middleware"]])
def test_missing(paths):
    text = django_check(MIDDLEWARE=paths)
    assert f"?: ({health.WARNING_MIDDLEWARE_MISSING}) MIDDLEWARE has no {OURS}," in text
    assert "HINT: Make it the first entry." in text
    assert text.count("dockerflow.W") == 1


def test_a_middleware_that_cant_be_imported_is_left_to_django(tmp_path, monkeypatch):
    """It may need what only the process that serves has, and ``manage.py`` must run."""
    (tmp_path / "needs_a_key.py").write_text("import os\nos.environ['NO_SUCH_KEY']\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert health.WARNING_MIDDLEWARE_MISSING in django_check(MIDDLEWARE=["needs_a_key.Middleware"])


@pytest.mark.parametrize("ours", [OURS, HERE + "Own"])
def test_not_first(ours):
    text = django_check(MIDDLEWARE=[SECURITY, COMMON, ours])
    assert f"({health.WARNING_MIDDLEWARE_NOT_FIRST}) In MIDDLEWARE, {SECURITY} comes" in text
    assert "HINT: Put Dockerflow's first" in text


def test_twice():
    text = django_check(MIDDLEWARE=[OURS, SECURITY, OURS])
    assert f"({health.WARNING_MIDDLEWARE_DUPLICATED}) MIDDLEWARE has {OURS} twice." in text
    assert "HINT: Keep the first one." in text


def test_why_the_version_callback_cant_be_imported():
    with pytest.raises(SystemCheckError, match='os.missing.*: Module "os" does not define'):
        django_check(DOCKERFLOW_VERSION_CALLBACK="os.missing")


def test_a_warning_can_be_silenced():
    silenced = [health.WARNING_MIDDLEWARE_MISSING]
    assert django_check(MIDDLEWARE=[], SILENCED_SYSTEM_CHECKS=silenced) == ""


@pytest.mark.parametrize(
    ("settings", "says", "hint"),
    [
        (
            {"DOCKERFLOW_CHECK_TIMEOUT": "abc"},
            "DOCKERFLOW_CHECK_TIMEOUT must be a number of seconds greater than 0, not 'abc'.",
            "HINT: Time limit of a check",
        ),
        (
            {"DOCKERFLOW_HEARTBEAT_SECRET": "too-short"},
            "DOCKERFLOW_HEARTBEAT_SECRET must be at least 16",
            "HINT: With",
        ),
        (
            {"DOCKERFLOW_HEARTBEAT_DETAILS": "authorized"},
            "heartbeat_details is 'authorized', but heartbeat_secret is not set.",
            "",
        ),
        ({"DOCKERFLOW_CHECKS": ["no.such"]}, "DOCKERFLOW_CHECKS names 'no.such'", ""),
        (
            {"DOCKERFLOW_SYSTEM_CHECKS": 3},
            "DOCKERFLOW_SYSTEM_CHECKS must be true or false, not 3",
            "",
        ),
        *(
            ({"DOCKERFLOW_VERSION_CALLBACK": path}, f"{CALLBACK}, not {path!r}", "")
            for path in ("no.such", "os.sep", "os", 5)
        ),
        ({"SILENCED_SYSTEM_CHECKS": ["dockerflow.checks.E001"]}, "SILENCED_SYSTEM_CHECKS", ""),
    ],
)
def test_wrong(settings, says, hint):
    with pytest.raises(SystemCheckError) as caught:
        django_check(**settings)
    text = str(caught.value)
    assert f"({health.ERROR_WRONG_SETTING}) {says}" in text
    assert hint in text
    assert "too-short" not in text


def test_each_wrong_one_is_reported(monkeypatch):
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_TIMEOUT", "-1")
    with pytest.raises(SystemCheckError) as caught:
        django_check(DOCKERFLOW_CHECK_TIMEOUT="abc", DOCKERFLOW_PATH_PREFIX="x")
    text = str(caught.value)
    assert text.count(health.ERROR_WRONG_SETTING) == 3
    for name, value in (
        ("CHECK_TIMEOUT", "abc"),
        ("PATH_PREFIX", "x"),
        ("HEARTBEAT_TIMEOUT", "-1"),
    ):
        assert re.search(rf"DOCKERFLOW_{name} must be .+, not '{value}'", text)


def test_a_setting_wins_over_a_wrong_variable(monkeypatch):
    monkeypatch.setenv("DOCKERFLOW_HEARTBEAT_TIMEOUT", "-1")
    assert django_check(DOCKERFLOW_HEARTBEAT_TIMEOUT=3) == ""


def test_unknown():
    text = django_check(DOCKERFLOW_CHEKS=[], DOCKERFLOW_QQQ=1)
    code = health.WARNING_UNKNOWN_SETTING
    assert f"({code}) DOCKERFLOW_CHEKS is not a setting of Dockerflow." in text
    assert "HINT: Did you mean DOCKERFLOW_CHECKS?" in text
    assert f"({code}) DOCKERFLOW_QQQ is not a setting of Dockerflow.\n" in text


def test_unknown_when_the_middleware_is_made(caplog):
    with override_settings(DOCKERFLOW_CHECK_TIMEUOT=1, DOCKERFLOW_CHECKS=[]):
        for _ in range(3):
            DockerflowMiddleware(lambda request: HttpResponse())
    [message] = [text for text in caplog.messages if "TIMEUOT" in text]
    assert message == (
        "DOCKERFLOW_CHECK_TIMEUOT in Django's settings is not a setting of Dockerflow: did you "
        "mean DOCKERFLOW_CHECK_TIMEOUT?"
    )


def test_what_is_silenced_is_not_logged_either(caplog):
    codes = [health.WARNING_UNKNOWN_SETTING, health.WARNING_APP_NOT_INSTALLED]
    own = {"INSTALLED_APPS": [], "DOCKERFLOW_CHECKS": [], "DOCKERFLOW_UNHEARD_OF": 1}
    _system_checks._warn_if_not_installed.cache_clear()
    with override_settings(SILENCED_SYSTEM_CHECKS=codes, **own):
        DockerflowMiddleware(lambda request: HttpResponse())
    assert caplog.messages == []
    with override_settings(**own):
        DockerflowMiddleware(lambda request: HttpResponse())
    assert len(caplog.messages) == 2


def needs_more(app_configs, client, **kwargs):
    return []


def needs_databases(app_configs, databases, **kwargs):
    """As Django passes both."""
    assert (app_configs, databases) == (None, None)
    return []


def test_a_check_that_needs_another_argument():
    with pytest.raises(SystemCheckError, match="needs_more needs the argument 'client'"):
        django_check(DOCKERFLOW_CHECKS=[HERE + "needs_more"])


@pytest.mark.usefixtures("no_checks")
def test_a_check_gets_what_django_passes():
    paths = [HERE + "needs_databases"]
    shown = {"DOCKERFLOW_CHECKS": paths, "DOCKERFLOW_HEARTBEAT_DETAILS": "always"}
    with override_settings(MIDDLEWARE=[OURS], **shown):
        content = Client().get("/__heartbeat__").json()
    assert content["checks"] == {"needs_databases": "ok"}


def test_the_app_is_not_installed(caplog):
    text = django_check(INSTALLED_APPS=[])
    assert f'({health.WARNING_APP_NOT_INSTALLED}) INSTALLED_APPS has no "dockerflow.django"' in text
    assert "HINT: Add it." in text


MANAGE = """
import os
import sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
SETTINGS = """
SECRET_KEY = "x" * 50 + "abcdefghij"
INSTALLED_APPS = ["django.contrib.contenttypes", "dockerflow.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["a.test"]
USE_TZ = True
MIDDLEWARE = ["dockerflow.django.middleware.DockerflowMiddleware"]
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "manage.py").write_text(MANAGE)
    (tmp_path / "urls.py").write_text("urlpatterns = []\n")

    def run(settings, *command):
        (tmp_path / "settings.py").write_text(SETTINGS + settings)
        return subprocess.run(
            [sys.executable, *(command or ("manage.py", "check"))],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip

    return run


def test_a_sound_project(project):
    project("", "manage.py", "migrate", "--skip-checks")
    for options in ([], ["--fail-level", "WARNING"], ["--tag", "dockerflow"]):
        done = project("", "manage.py", "check", *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert "no issues" in done.stdout


def test_the_checks_of_the_heartbeat_are_system_checks_too(project):
    done = project("")
    assert done.returncode == 0
    assert "(dockerflow.health.W001) Unapplied migration contenttypes.0001_initial" in done.stderr
    done = project("DATABASES['default']['NAME'] = '/no/such/folder/db'\n")
    assert done.returncode == 1
    assert "(dockerflow.health.E001)" in done.stderr


def test_the_checks_for_deployment(project):
    done = project("MIDDLEWARE.insert(0, 'x.y')\n", "manage.py", "check", "--deploy")
    assert done.returncode == 0, done.stderr
    assert "(security.W001)" in done.stderr
    assert "(dockerflow.W002) In MIDDLEWARE, x.y comes before" in done.stderr
    assert "(dockerflow.health.W001)" in done.stderr


def test_a_check_that_needs_another_argument_is_not_run(project, tmp_path):
    (tmp_path / "own.py").write_text("def needs_more(app_configs, client, **kwargs): ...\n")
    done = project("DOCKERFLOW_CHECKS = ['own.needs_more']\n")
    assert done.returncode == 1
    assert "needs_more needs the argument 'client'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_reported_and_no_application_starts(project):
    """Reported by the check; and the application doesn't start, with the same line."""
    wrong = "DOCKERFLOW_CHECK_TIMEOUT = 'abc'\n"
    says = "DOCKERFLOW_CHECK_TIMEOUT must be a number of seconds greater than 0, not 'abc'"
    done = project(wrong)
    assert done.returncode == 1
    assert f"?: (dockerflow.E001) {says}." in done.stderr
    assert "Traceback" not in done.stderr
    for protocol in ("wsgi", "asgi"):
        code = f"from django.core.{protocol} import get_{protocol}_application as get; get()"
        environ = "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'; "
        done = project(wrong, "-c", environ + code)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"dockerflow.config.ConfigError: {says}"


def test_a_server_that_misses_the_app(project):
    code = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
        "from django.core.wsgi import get_wsgi_application as get; get(); get()"
    )
    done = project("INSTALLED_APPS.pop()\n", "-c", code)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert 'INSTALLED_APPS has no "dockerflow.django"' in line
    assert "(dockerflow.W005)" in line
