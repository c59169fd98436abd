"""``dockerflow checks``: the checks of real apps, without HTTP."""

from __future__ import annotations

import json
import re

import pytest

REGISTERED = """
import time
from dockerflow import checks

print("the app says something")

@checks.register
def fine():
    pass

@checks.register
async def quick():
    return checks.Info("for your information", id="app.I001")

@checks.register(critical=False)
def spare():
    return checks.Error("the spare is broken", id="app.E001")
"""
FAILING = (
    REGISTERED
    + """
@checks.register
def database():
    raise OSError("no route\\nto \\x1b[31mhost\\u202e")

@checks.register(timeout=0.2)
def stuck():
    time.sleep(1)
"""
)
OWN = """
from dockerflow import checks
from dockerflow.config import Config

registry = checks.Registry()
registry.register(lambda: checks.Error("mine", id="own.E001"), name="own")
config = Config(silenced_checks=["own.E002"])
registry.register(lambda: checks.Error("mine", id="own.E002"), name="silenced")
"""


@pytest.fixture
def write(dockerflow, forgotten_apps):
    def write(name, text):
        path = dockerflow.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return write


def test_table(dockerflow, write):
    write("myapp.py", FAILING)
    result = dockerflow("checks", "myapp")
    assert result.code == 1
    assert result.err == "the app says something\n"
    assert re.sub(r"\d\.\d{3} s", "T", result.out).splitlines() == [
        "fine      ok        T",
        "quick     info      T",
        "    app.I001: for your information",
        "spare     error     T",
        "    app.E001: the spare is broken",
        "database  error     T",
        "    dockerflow.checks.E001: Check database raised OSError",
        r"    OSError: no route to \x1b[31mhost\u202e",
        "stuck     error     T",
        "    dockerflow.checks.E002: Check stuck did not finish within 0.2 s",
        "status    error",
    ]


def test_json(dockerflow, write):
    write("myapp.py", FAILING)
    result = dockerflow("checks", "myapp", "--format", "json")
    assert result.code == 1
    content = json.loads(result.out)
    assert content["status"] == "error"
    assert content["checks"] == {
        "fine": "ok",
        "quick": "info",
        "spare": "error",
        "database": "error",
        "stuck": "error",
    }
    assert content["details"]["quick"]["messages"] == {"app.I001": "for your information"}
    assert content["exceptions"] == {"database": "OSError: no route to \x1b[31mhost\u202e"}
    assert content["durations"].keys() == content["checks"].keys()


def test_fail_level(dockerflow, write):
    write("myapp.py", REGISTERED)  # the spare one isn't critical: a warning at most
    assert dockerflow("checks", "myapp").code == 0
    for level, code in (("warning", 1), ("error", 0), ("critical", 0)):
        assert dockerflow("checks", "myapp", "--fail-level", level).code == code


def test_no_checks(dockerflow, write):
    write("myapp.py", "")
    result = dockerflow("checks", "myapp")
    assert (result.code, result.out) == (0, "status  ok\n")
    assert result.error == "dockerflow checks: myapp has no checks"


def test_observers_are_called_before_the_end(dockerflow, write):
    observer = (
        "\n@checks.observe\ndef observe(seen): time.sleep(0.1); print(seen.kind, seen.name)\n"
    )
    write("myapp.py", REGISTERED.partition("@")[0] + observer)
    assert "\nheartbeat heartbeat\n" in dockerflow.process("checks", "myapp").err


def test_an_app_that_disables_other_loggers(dockerflow, write):
    config = "import logging.config\nlogging.config.dictConfig({'version': 1})\n"
    write("myapp.py", FAILING + config)
    assert "    OSError: no route to " in dockerflow.process("checks", "myapp").out


def test_verbose(dockerflow, write):
    write("myapp.py", FAILING)
    result = dockerflow.python(
        "import contextlib, io, sys\n"
        "from dockerflow.cli import main\n"
        "sys.stderr = io.StringIO()\n"
        "main(['checks', 'myapp', '--verbose'])\n"
        "print('Traceback (most' in sys.stderr.getvalue())"
    )
    assert result.out.splitlines()[-1] == "True"


APPS = {  # code, attribute
    "registry": ("", "registry"),
    "asgi": (
        (
            "from dockerflow.asgi import DockerflowMiddleware\n"
            "async def app(scope, receive, send): ...\n"
            "app = DockerflowMiddleware(app, registry=registry, config=config)\n"
        ),
        "app",
    ),
    "wsgi, wrapped": (
        (
            "from dockerflow.wsgi import DockerflowMiddleware\n"
            "class Wrapper:\n"
            "    def __init__(self, app): self.app = app\n"
            "def app(environ, start_response): ...\n"
            "app = Wrapper(Wrapper(DockerflowMiddleware(app, registry=registry, config=config)))\n"
        ),
        "app",
    ),
    "fastapi": (
        (
            "from fastapi import FastAPI\n"
            "from dockerflow.asgi import DockerflowMiddleware\n"
            "app = FastAPI()\n"
            "app.add_middleware(DockerflowMiddleware, registry=registry, config=config)\n"
        ),
        "app",
    ),
    "fastapi, installed": (
        (
            "from fastapi import FastAPI\n"
            "from dockerflow.fastapi import install\n"
            "app = FastAPI()\n"
            "install(app, registry=registry, config=config)\n"
        ),
        "app",
    ),
    "fastapi, wrapped": (
        (
            "from fastapi import FastAPI\n"
            "from starlette.middleware.gzip import GZipMiddleware\n"
            "from dockerflow.fastapi import install\n"
            "app = FastAPI()\n"
            "install(app, registry=registry, config=config)\n"
            "app = GZipMiddleware(app)\n"
        ),
        "app",
    ),
    "fastapi, by a router": (
        (
            "from fastapi import FastAPI\n"
            "from dockerflow.fastapi import make_router\n"
            "app = FastAPI()\n"
            "app.include_router(make_router(registry=registry, config=config))\n"
        ),
        "app",
    ),
    "flask, wrapped": (
        (
            "from flask import Flask\n"
            "from dockerflow.flask import Dockerflow\n"
            "app = Flask('web')\n"
            "Dockerflow(app, silenced_checks=config.silenced_checks, registry=registry)\n"
            "def wrap(app): return lambda environ, start_response: app(environ, start_response)\n"
            "app.wsgi_app = wrap(app.wsgi_app)\n"
        ),
        "app",
    ),
    "sanic": (
        (
            "from sanic import Sanic\n"
            "from dockerflow.sanic import Dockerflow\n"
            "app = Sanic('web')\n"
            "Dockerflow(app, silenced_checks=config.silenced_checks, registry=registry)\n"
        ),
        "app",
    ),
    "quart": (
        (
            "from quart import Quart\n"
            "from dockerflow.asgi import DockerflowMiddleware\n"
            "app = Quart('web')\n"
            "app.asgi_app = DockerflowMiddleware(app.asgi_app, registry=registry, config=config)\n"
        ),
        "app",
    ),
    "aiohttp": (
        (
            "from aiohttp import web\n"
            "from dockerflow.aiohttp import setup\n"
            "app = web.Application()\n"
            "setup(app, registry=registry, config=config)\n"
        ),
        "app",
    ),
    "factory": (
        (
            "from fastapi import FastAPI\n"
            "from dockerflow.asgi import DockerflowMiddleware\n"
            "def create_app(debug=False, *args, **kwargs):\n"
            "    app = FastAPI()\n"
            "    app.add_middleware(DockerflowMiddleware, registry=registry, config=config)\n"
            "    return app\n"
        ),
        "create_app",
    ),
    "factory, as gunicorn has it": (
        ("class some:\n    @staticmethod\n    def make(): return registry\n"),
        "some.make()",
    ),
}


@pytest.mark.parametrize("kind", APPS)
def test_apps_with_their_own_registry(dockerflow, write, kind):
    code, attribute = APPS[kind]
    write("pkg/__init__.py", "")
    write("pkg/web.py", OWN + code)
    result = dockerflow("checks", f"pkg.web:{attribute}", "--format", "json")
    assert result.code == 1, result
    checks = json.loads(result.out)["checks"]
    silenced = "error" if "registry" in (attribute, kind) or "gunicorn" in kind else "ok"
    assert checks == {"own": "error", "silenced": silenced}


@pytest.mark.parametrize(
    "code",
    [
        "async def app(scope, receive, send): ...",
        "def app(environ, start_response): ...",
        "class App:\n    def __call__(self, environ, start_response): ...\napp = App()",
    ],
)
def test_any_app_has_the_registry_of_the_process(dockerflow, write, code):
    write("myapp.py", REGISTERED + code)
    assert "spare" in dockerflow("checks", "myapp:app").out


@pytest.mark.parametrize("target", ["myapp:create_app", "myapp:create_app()"])
def test_flask_in_its_context(dockerflow, write, target):
    write(
        "myapp.py",
        "from flask import Flask, current_app\n"
        "from dockerflow import checks\n"
        "def create_app():\n"
        "    app = Flask('shop')\n"
        "    checks.register(lambda: checks.Warning(current_app.name, id='a'), name='name')\n"
        "    return app\n",
    )
    result = dockerflow("checks", target)
    assert result.code == 0
    assert "    a: shop\n" in result.out


DJANGO = {
    "site/__init__.py": "",
    "site/settings.py": "SECRET_KEY = 'x'\nINSTALLED_APPS = ['shop.apps.ShopConfig']\nUSE_TZ = True\n",
    "site/wsgi.py": "from django.core.wsgi import get_wsgi_application as get\napplication = get()\n",
    "shop/__init__.py": "",
    "shop/apps.py": (
        "from django.apps import AppConfig\n"
        "class ShopConfig(AppConfig):\n"
        "    name = 'shop'\n"
        "    def ready(self):\n"
        "        from dockerflow import checks\n"
        "        checks.register(lambda: checks.Error('closed', id='shop.E001'), name='shop')\n"
    ),
}


def test_django(dockerflow, write):
    for name, text in DJANGO.items():
        write(name.replace("site/", "mysite/"), text)
    settings = {"DJANGO_SETTINGS_MODULE": "mysite.settings"}
    for args, env in (
        (["--django", "mysite.settings"], {}),
        ([], settings),
        (["mysite.wsgi:application"], settings),
    ):
        result = dockerflow.process("checks", *args, **env)
        assert result.code == 1, result
        assert "    shop.E001: closed\n" in result.out
    result = dockerflow.process("checks", "--django", "nosite.settings")
    assert result.code == 2
    assert "'nosite.settings' can't be loaded: ModuleNotFoundError" in result.error


ADAPTED = {
    "site/settings.py": (
        "SECRET_KEY = 'x'\nDEBUG = False\n"
        "INSTALLED_APPS = ['shop.apps.ShopConfig', {app}]\nMIDDLEWARE = [{middleware}]\n"
        "DOCKERFLOW_CHECKS = ['shop.checks.{check}']\nSILENCED_SYSTEM_CHECKS = ['shop.E001']\n"
    ),
    "shop/checks.py": (
        "from django.core.checks import Error\n"
        "def stock(app_configs, **kwargs):\n"
        "    return [Error('sold out', id='shop.E002')]\n"
    ),
    "shop/web.py": (
        "from dockerflow.django.middleware import DockerflowMiddleware\n"
        "class Own(DockerflowMiddleware): pass\n"
    ),
}
OWN_MIDDLEWARE = "'shop.web.Own'"


@pytest.mark.parametrize(
    ("app", "middleware"),
    [("'dockerflow.django'", ""), ("", OWN_MIDDLEWARE), ("'dockerflow.django'", OWN_MIDDLEWARE)],
)
def test_django_as_its_heartbeat_does(dockerflow, write, app, middleware):
    for name, text in {**DJANGO, **ADAPTED}.items():
        if "settings" in name:
            text = text.format(app=app, middleware=middleware, check="stock")
        write(name.replace("site/", "mysite/"), text)
    result = dockerflow.process("checks", "--django", "mysite.settings", "--format", "json")
    assert result.code == 1, result
    content = json.loads(result.out)
    assert content["checks"] == {"shop": "ok", "stock": "error"}
    assert content["details"]["stock"]["messages"] == {"shop.E002": "sold out"}


def test_django_with_a_wrong_setting(dockerflow, write):
    for name, text in {**DJANGO, **ADAPTED}.items():
        if "settings" in name:
            text = text.format(app="'dockerflow.django'", middleware="", check="nothing")
        write(name.replace("site/", "mysite/"), text)
    result = dockerflow.process("checks", "--django", "mysite.settings")
    assert result.code == 2
    assert "DOCKERFLOW_CHECKS names 'shop.checks.nothing'" in result.error


def test_the_exception_behind_a_ready_made_check_is_shown(dockerflow, write):
    write(
        "myapp.py",
        "from dockerflow.checks import contrib, register\n"
        "register(contrib.tcp('127.0.0.1', 1), name='mail')\n",
    )
    result = dockerflow("checks", "myapp")
    assert "    dockerflow.health.E021: " in result.out
    assert "    ConnectionRefusedError: " in result.out


def test_settings_of_the_environment(dockerflow, write):
    write("myapp.py", FAILING)
    result = dockerflow("checks", "myapp", DOCKERFLOW_SILENCED_CHECKS="dockerflow.checks.E001")
    assert result.code == 2
    assert (
        "DOCKERFLOW_SILENCED_CHECKS must be check IDs other than dockerflow.checks.E*" in result.err
    )
    result = dockerflow("checks", "myapp", DOCKERFLOW_CHECK_TIMEOUT="soon")
    assert result.code == 2
    assert (
        "DOCKERFLOW_CHECK_TIMEOUT must be a number of seconds greater than 0, not 'soon'"
        in result.err
    )


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nope", "'nope' can't be loaded: ModuleNotFoundError: No module named 'nope'"),
        (
            "json:nope",
            "'json:nope' can't be loaded: AttributeError: module 'json' has no attribute",
        ),
        ("", "TARGET must be MODULE or MODULE:ATTRIBUTE, such as myapp.main:app, not ''"),
        ("./bad.py", "such as myapp.main:app, not './bad.py'"),
        ("json:", "such as myapp.main:app, not 'json:'"),
        ("json:dumps", "'json:dumps' can't be loaded: TypeError: it is a function, not an app"),
        ("json:JSONDecoder", "it is a type, not an app"),
        ("os:sep", "it is a str, not an app, a registry, or a function that makes an app"),
        ("broken", "invalid syntax"),
        ("leaves", "'leaves' can't be loaded: SystemExit: no settings"),
        ("raises", "RuntimeError: two lines (line 1"),
        ("raises:app", "raises.py, line 2)"),
    ],
)
def test_could_not_run(dockerflow, write, target, says):
    write("broken.py", "def (")
    write("leaves.py", "import sys; sys.exit('no settings')")
    write("raises.py", "\nraise RuntimeError('two\\nlines (line 1')")
    result = dockerflow("checks", target)
    assert (result.code, result.out) == (2, "")
    assert says in result.error
    assert "importlib" not in result.error, "where the module was looked for is not the place"


def test_nothing_to_run(dockerflow):
    result = dockerflow("checks")
    assert result.code == 2
    assert "TARGET is required, such as myapp.main:app, or --django" in result.error
    result = dockerflow("checks", "x", "--django", "y")
    assert result.code == 2
    assert "can't be combined" in result.error
