"""Applications of Flask."""

import io
import json
import logging
import logging.config
import os
import pathlib
import tempfile
import threading
import time
import uuid
from unittest import mock

import flask
import flask_login
import redis
import sqlalchemy.exc
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from werkzeug.exceptions import Forbidden

from dockerflow import checks
from dockerflow.flask import Dockerflow
from dockerflow.flask import checks as ready_made
from dockerflow.flask.signals import heartbeat_failed, heartbeat_passed

from .observe import RECORDS, attempt, encode, messages, response, scenario, warned

HEADERS = {"User-Agent": "agent/1", "Accept-Language": "de", "X-Request-ID": "given"}


def folder(version=None):
    made = pathlib.Path(tempfile.mkdtemp())
    if version is not None:
        (made / "version.json").write_text(json.dumps(version))
    return str(made)


def make(version=None, extension=Dockerflow, **options):
    app = flask.Flask("app")
    app.config["SECRET_KEY"] = "s"
    options.setdefault("version_path", folder(version))
    app.dockerflow = extension(app, **options)

    @app.route("/")
    def index():
        return "hello"

    @app.route("/ids")
    def ids():
        return {
            "g.request_id": flask.g.request_id,
            "g._request_id": flask.g._request_id,
            "start": type(flask.g._start_timestamp).__name__,
        }

    @app.route("/raises")
    def raises():
        raise ValueError("no")

    @app.route("/forbidden")
    def forbidden():
        raise Forbidden

    @app.route("/created", methods=["POST", "PUT"])
    def created():
        return {"id": 1}, 201

    @app.route("/redirect")
    def redirect():
        return flask.redirect("/")

    @app.route("/stream")
    def stream():
        return flask.Response(iter(["a", "b"]))

    return app


def ask(app, path="/", method="GET", headers=HEADERS, *, keep=False, close=True, **options):
    RECORDS.take()
    client = app.test_client()
    got = client.open(path, method=method, headers=headers, **options)
    seen = response(got.status_code, got.headers.items(), got.get_data())
    if close:
        got.close()  # as servers do
    return {"response": seen, "records": {} if keep else RECORDS.take()}


def ok():
    return []


def warning():
    return [checks.Warning("low", id="app.W001")]


def error():
    return [checks.Error("down", id="app.E001")]


@scenario
def endpoints():
    app = make({"version": "1.0", "commit": "abc", "name": "ü"})
    checks.register(ok)
    checks.register(warning)
    seen = {}
    for path in ("/__version__", "/__lbheartbeat__", "/__heartbeat__"):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            seen[f"{method} {path}"] = ask(app, path, method)
        seen[f"GET {path}/"] = ask(app, path + "/")
    checks.register(error)
    seen["failing"] = ask(app, "/__heartbeat__")
    app.config["DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE"] = 503
    seen["failing with 503"] = ask(app, "/__heartbeat__")
    app.config["DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE"] = "599"
    seen["failing with 599, as a text"] = ask(app, "/__heartbeat__")["response"]["status"]
    seen["text"] = app.test_client().get("/__heartbeat__").text
    seen["rules"] = {
        rule.endpoint: [str(rule), ",".join(sorted(rule.methods))]
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("dockerflow")
    }
    seen["blueprint"] = "dockerflow" in app.blueprints
    with app.test_request_context():
        seen["url_for"] = attempt(lambda: flask.url_for("dockerflow.heartbeat"))
    seen["extension"] = app.extensions["dockerflow"] is app.dockerflow
    return seen


@scenario
def without_a_version():
    app = make()
    seen = {"missing": ask(app, "/__version__")}

    @app.dockerflow.version_callback
    def version(root):
        return {"version": "own", "root": isinstance(root, str)}

    seen["callback"] = ask(app, "/__version__")["response"]
    seen["decorated"] = encode(version)
    app.dockerflow.version_callback(lambda root: None)
    seen["callback gives None"] = ask(app, "/__version__")["response"]
    return seen


@scenario
def version_replaced_and_patched():
    app = make({"version": "1.0"})
    seen = {}
    with mock.patch.object(app.dockerflow, "_version_callback", return_value={"version": "p"}):
        seen["_version_callback"] = ask(app, "/__version__")["response"]["body"]
    with mock.patch("dockerflow.version.get_version", return_value={"version": "p"}) as patched:
        seen["get_version, after"] = ask(app, "/__version__")["response"]["body"]
        later = make({"version": "1.0"})
        seen["get_version, before"] = ask(later, "/__version__")["response"]["body"]
        seen["called with"] = [type(call.args[0]).__name__ for call in patched.call_args_list][:1]
    seen["default"] = app.dockerflow._version_callback.__name__
    broken = make()
    broken.dockerflow.version_callback(lambda root: 1 / 0)
    seen["raises"] = ask(broken, "/__version__")
    pathlib.Path(broken.dockerflow.version_path, "version.json").write_text("{")
    seen["not JSON"] = ask(make(version_path=broken.dockerflow.version_path), "/__version__")
    return seen


@scenario
def version_path():
    seen = {
        "default": make(version_path=None).dockerflow.version_path == str(pathlib.Path.cwd().parent)
    }
    package = pathlib.Path(folder({"version": "parent"}), "package")
    package.mkdir()
    app = flask.Flask("app", root_path=str(package))
    Dockerflow(app)
    seen["parent"] = ask(app, "/__version__")["response"]["body"]
    beside = flask.Flask("app", root_path=folder({"version": "beside"}))
    Dockerflow(beside)
    seen["beside"] = ask(beside, "/__version__")["response"]
    moved = make({"version": "1"})
    moved.dockerflow.version_path = folder({"version": "2"})
    seen["changed"] = ask(moved, "/__version__")["response"]["body"]
    return seen


@scenario
def error_endpoint():
    app = make()
    seen = {"off": ask(app, "/__error__")}
    app.config["DOCKERFLOW_ERROR_ENDPOINT"] = True
    seen["on"] = ask(app, "/__error__")
    return seen


@scenario
def summaries():
    app = make()
    app.config["DOCKERFLOW_SUMMARY_LOG_QUERYSTRING"] = True
    return {
        "plain": ask(app),
        "without headers": ask(app, headers={"User-Agent": ""}),
        "not found": ask(app, "/missing"),
        "not allowed": ask(app, "/", "POST"),
        "raises": ask(app, "/raises"),
        "forbidden": ask(app, "/forbidden"),
        "created": ask(app, "/created", "POST", json={}),
        "redirect": ask(app, "/redirect"),
        "stream": ask(app, "/stream"),
        "stream, not closed": ask(app, "/stream", close=False)["records"],
        "probe, not closed": ask(app, "/__lbheartbeat__", close=False)["records"],
        "query string": ask(app, "/?a=1&b=%C3%BC+x&c=%2F"),
        "secret": ask(app, "/?password=x&a=1"),
        "broken query string": ask(app, "/?a=%ff"),
        "encoded path": ask(app, "/%C3%BC"),
        "mounted": ask(app, "/", base_url="http://localhost/mounted/"),
    }


@scenario
def mozlog():
    seen = {}
    for path in ("/", "/raises"):
        ask(make(), path, keep=True)
        seen[path] = RECORDS.lines()
    return seen


@scenario
def ids():
    app = make()
    seen = {"given": ask(app, "/ids")}
    seen["made"] = ask(app, "/ids", headers={})
    seen["odd"] = ask(app, "/ids", headers={"X-Request-ID": "a b"})
    app.config["DOCKERFLOW_REQUEST_ID_HEADER_NAME"] = "X-Trace"
    seen["other header"] = ask(app, "/ids", headers={"X-Trace": "t", "X-Request-ID": "r"})
    app.config["DOCKERFLOW_REQUEST_ID_HEADER_NAME"] = "X-One,X-Two"
    seen["several headers"] = ask(app, "/ids", headers={"X-Two": "two"})["response"]["body"]
    own = make()
    own.before_request_funcs.setdefault(None, []).insert(
        0, lambda: setattr(flask.g, "request_id", "own")
    )
    seen["set by the app"] = ask(own, "/ids")["response"]["body"]
    from dockerflow.logging import request_id_context

    seen["after the request"] = encode(request_id_context.get())
    return seen


class User(flask_login.UserMixin):
    def __init__(self, key):
        self.id = key


class Named(User):
    def get_id(self):
        return self.id


class Called(User):
    def is_authenticated(self):
        return True


class Broken(User):
    @property
    def is_authenticated(self):
        return True

    def get_id(self):
        raise sqlalchemy.exc.SQLAlchemyError


@scenario
def users():
    seen = {}
    users = {
        "7": User(7), "text": User("abc"), "int": Named(7), "zero": Named(0), "none": Named(None), "unsaved": User(None),
        "empty": Named(""), "uuid": Named(uuid.UUID(int=5)), "callable": Called(3),
        "broken": Broken(1), "without attributes": object(),
    }  # fmt: skip
    for name, user in users.items():
        app = make()
        manager = flask_login.LoginManager(app)
        manager.request_loader(lambda request, user=user: user)

        @app.route("/who")
        def who():
            return str(type(flask_login.current_user._get_current_object()).__name__)

        got = ask(app, "/who")
        seen[name] = {"response": got["response"]["status"], "records": got["records"]}
    app = make()
    flask_login.LoginManager(app).request_loader(lambda request: None)
    seen["anonymous"] = ask(app)["records"]

    loads = []
    app = make()
    flask_login.LoginManager(app).request_loader(lambda request: loads.append(1) or User(1))
    seen["not used by the view"] = ask(app)["records"]
    seen["loaded"] = len(loads)
    return seen


@scenario
def subclassed():
    class Own(Dockerflow):
        def summary_extra(self):
            out = super().summary_extra()
            out["query_string"] = flask.request.query_string.decode()
            out["errno"] = out["errno"] or 7
            out["code"] = 1
            out.pop("lang", None)
            return out

        def user_id(self):
            return 0

    class Nobody(Dockerflow):
        def user_id(self):
            return None

    class Nothing(Dockerflow):
        def summary_extra(self):
            return {"only": 1}

    class Configured(Dockerflow):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.extra = True

        def init_app(self, app):
            super().init_app(app)
            self.initialised = True

    configured = make(extension=Configured).dockerflow
    return {
        "summary_extra": ask(make(extension=Own), "/?a=1"),
        "raises": ask(make(extension=Own), "/raises"),
        "user_id": ask(make(extension=Nobody)),
        "nothing": ask(make(extension=Nothing)),
        "init_app": [configured.extra, configured.initialised],
    }


@scenario
def loggers():
    app = make()
    extension = app.dockerflow
    seen = {
        "logger": attempt(lambda: [extension.logger.name, extension.logger.level]),
        "summary_logger": attempt(
            lambda: [extension.summary_logger.name, extension.summary_logger.level]
        ),
        "handlers": attempt(lambda: sorted({type(h).__name__ for h in extension.logger.handlers})),
        "set": attempt(lambda: extension.logger.setLevel(logging.ERROR)),
    }
    extension.summary_logger = logging.getLogger("app.summary")
    seen["replaced summary_logger"] = ask(app)
    extension.logger = logging.getLogger("app.errors")
    app.config["DOCKERFLOW_ERROR_ENDPOINT"] = True
    seen["replaced logger"] = ask(app, "/__error__")
    mocked = make()
    mocked.dockerflow.summary_logger = mock.Mock()
    ask(mocked)
    seen["mocked"] = [call[0] for call in mocked.dockerflow.summary_logger.method_calls]
    adapted = make()
    adapted.dockerflow.summary_logger = logging.LoggerAdapter(
        logging.getLogger("app.summary"), {"adapted": 1}
    )
    seen["adapter"] = ask(adapted)["records"]
    logging.getLogger("request.summary").setLevel(logging.ERROR)
    seen["quiet"] = ask(make())["records"]
    return seen


@scenario
def factories():
    seen = {}
    extension = Dockerflow()
    app = flask.Flask("app")
    seen["returned"] = encode(extension.init_app(app))
    seen["later"] = ask(app, "/__lbheartbeat__")["response"]
    seen["version path"] = isinstance(extension.version_path, str)

    def create_app():
        app = flask.Flask("app")
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        db = SQLAlchemy(app)
        Dockerflow(app, db=db)

        @checks.register
        def inner():
            return [checks.Info("inner", id="app.I001")]

        return app

    for number in ("first", "second"):
        seen[number] = ask(create_app(), "/__heartbeat__")["response"]["body"]
    seen["checks"] = sorted(checks.get_checks())

    def twice():
        app = flask.Flask("app")
        extension = Dockerflow(app)
        extension.init_app(app)
        return ask(app, "/__heartbeat__")

    seen["twice on one app"] = attempt(twice)

    def shared():
        extension = Dockerflow(version_path=folder({"version": "1"}))
        for name in ("one", "two"):
            app = flask.Flask(name)
            extension.init_app(app)
        return ask(app, "/__version__")["response"]["body"]

    seen["one extension for two apps"] = attempt(shared)
    return seen


@scenario
def registry_of_one_app():
    def heartbeat():
        return ask(make(registry=checks.Registry()), "/__heartbeat__")["response"]["status"]

    return {"heartbeat": attempt(heartbeat)}


@scenario
def signals():
    app = make()
    heard = []

    def passed(sender, level, **extra):
        heard.append(["passed", sender is app.dockerflow, level, sorted(extra)])

    def failed(sender, level, **extra):
        heard.append(["failed", sender is app.dockerflow, level, sorted(extra)])

    heartbeat_passed.connect(passed)
    heartbeat_failed.connect(failed, sender=app.dockerflow)
    checks.register(warning)
    ask(app, "/__heartbeat__")
    checks.register(error)
    ask(app, "/__heartbeat__")
    return {"heard": heard, "names": [heartbeat_passed.name, heartbeat_failed.name]}


@scenario
def hooks_of_the_app():
    app = make({"version": "1"})
    called = []

    @app.before_request
    def before():
        called.append("before")

    @app.after_request
    def after(got):
        called.append("after")
        got.headers["X-App"] = "1"
        return got

    @app.teardown_request
    def teardown(error):
        called.append("teardown")

    @app.errorhandler(500)
    def failed(error):
        return {"error": "own"}, 500

    @app.errorhandler(404)
    def missing(error):
        return {"error": "missing"}, 404

    seen = {}
    for path in ("/", "/missing", "/raises", "/__lbheartbeat__", "/__heartbeat__", "/__version__"):
        called.clear()
        seen[path] = ask(app, path)
        seen[path]["called"] = list(called)
    checks.register(error)
    seen["failing"] = ask(app, "/__heartbeat__")["response"]
    from dockerflow.flask.app import HeartbeatFailure

    handling = make()
    handling.register_error_handler(HeartbeatFailure, lambda error: ("handled", 555))
    seen["handler of HeartbeatFailure"] = ask(handling, "/__heartbeat__")["response"]["status"]
    return seen


@scenario
def own_routes():
    """As applications that serve one of the paths themselves."""

    def own():
        return {"own": True}

    before = flask.Flask("before")
    before.add_url_rule("/__heartbeat__", "heartbeat", own)
    before.add_url_rule("/__version__/", "version", own)
    Dockerflow(before, version_path=folder({"version": "1"}))
    after = flask.Flask("after")
    Dockerflow(after, version_path=folder({"version": "1"}))
    after.add_url_rule("/__heartbeat__", "heartbeat", own)
    return {
        **{
            path: ask(before, path)["response"]
            for path in ("/__heartbeat__", "/__lbheartbeat__", "/__version__", "/__version__/")
        },
        "after": ask(after, "/__heartbeat__")["response"],
    }


@scenario
def summaries_of_probes():
    """What applications add to summaries: by a subclass, by a user, and by a filter."""

    class Own(Dockerflow):
        def summary_extra(self):
            return {**super().summary_extra(), "asked": flask.request.args.get("a")}

    class Host(logging.Filter):
        def filter(self, record):
            if flask.has_request_context():
                record.host = flask.request.host
            return True

    logging.getLogger("request.summary").addFilter(Host())
    app = make({"version": "1"}, extension=Own)
    login = flask_login.LoginManager(app)

    @login.request_loader
    def load(request):
        user = flask_login.UserMixin()
        user.id = 5
        return user

    return {
        path: ask(app, f"{path}?a=1")
        for path in ("/", "/__heartbeat__", "/__lbheartbeat__", "/__version__")
    }


@scenario
def added_twice():
    app = make()
    return {"again": attempt(lambda: Dockerflow(app) and None)}


@scenario
def logging_configured_first():
    """With dictConfig's default, which disables the loggers that there are."""
    written = io.StringIO()
    stream = {"class": "logging.StreamHandler", "stream": written, "formatter": "json"}
    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {"json": {"()": "dockerflow.logging.MozlogFormatter"}},
            "handlers": {"h": stream},
            "root": {"handlers": ["h"], "level": "INFO"},
        }
    )
    checks.register(warning)
    app = make()
    for path in ("/", "/__heartbeat__"):
        ask(app, path)
    return {"types": [json.loads(line)["Type"] for line in written.getvalue().splitlines()]}


@scenario
def deprecated_names():
    extension = make().dockerflow
    with warned() as categories:
        known = extension.checks

        @extension.check
        def bare():
            return []

        @extension.check(name="named")
        def other():
            return []

        extension.init_check(ready_made.check_redis_connected, object())
        names = sorted(extension.checks)
    return {"warned": categories, "names": names, "is a dict": isinstance(known, dict)}


@scenario
def by_hand():
    """As in unit tests of applications."""
    app = make()
    seen = {}
    with app.test_request_context("/?a=1", headers=HEADERS):
        app.preprocess_request()
        seen["summary_extra"] = encode(app.dockerflow.summary_extra())
        seen["user_id"] = encode(app.dockerflow.user_id())
        seen["response"] = attempt(
            lambda: app.process_response(app.response_class("x")).status_code
        )
        seen["records"] = RECORDS.take()
    with app.test_request_context("/", headers=HEADERS):
        seen["without preprocess_request"] = encode(app.dockerflow.summary_extra())
        seen["response without preprocess_request"] = attempt(
            lambda: app.process_response(app.response_class("x")).status_code
        )
        seen["records without preprocess_request"] = RECORDS.take()
    with app.test_request_context("/", headers=HEADERS):
        app.preprocess_request()
        flask.got_request_exception.send(app, exception=ValueError("sent"))
    seen["exception sent"] = RECORDS.take()
    with app.test_request_context("/", headers=HEADERS):
        app.preprocess_request()
        seen["handled"] = attempt(lambda: app.handle_exception(ValueError("handled")).status_code)
    seen["exception handled"] = RECORDS.take()
    with app.test_request_context("/__heartbeat__"):
        seen["dispatched"] = attempt(lambda: app.full_dispatch_request().status_code)
        seen["view"] = attempt(lambda: "dockerflow.heartbeat" in app.view_functions)
    return seen


@scenario
def patched():
    app = make()
    seen = {"extract_request_id": False}
    try:
        with mock.patch("dockerflow.flask.app.extract_request_id") as extract:
            ask(app)
            seen["extract_request_id"] = extract.called
    except AttributeError:
        seen["extract_request_id"] = "gone"

    def extract():
        from dockerflow.flask.app import extract_request_id

        with app.test_request_context("/", headers=HEADERS):
            extract_request_id(flask.request)
            return flask.g.request_id

    def failure():
        from dockerflow.flask.app import HeartbeatFailure

        return [issubclass(HeartbeatFailure, Exception), HeartbeatFailure.code]

    seen["extract_request_id by hand"] = attempt(extract)
    seen["HeartbeatFailure"] = attempt(failure)
    with mock.patch.object(Dockerflow, "user_id", return_value="patched"):
        seen["user_id"] = ask(app)["records"]
    with mock.patch("dockerflow.checks.get_checks", return_value={"patched": error}):
        seen["get_checks"] = ask(app, "/__heartbeat__")["response"]["body"]
    return seen


@scenario
def silenced():
    checks.register(error)
    checks.register(warning)
    app = make(silenced_checks=["app.E001"])
    seen = {"given": ask(app, "/__heartbeat__")["response"]}
    app.dockerflow.silenced_checks.append("app.W001")
    seen["changed in place"] = ask(app, "/__heartbeat__")["response"]
    app.dockerflow.silenced_checks = []
    seen["replaced"] = ask(app, "/__heartbeat__")["response"]
    plain = make()
    seen["default"] = encode(plain.dockerflow.silenced_checks)
    plain.dockerflow.silenced_checks.append("app.E001")
    seen["default changed in place"] = ask(plain, "/__heartbeat__")["response"]["status"]
    given = ("app.E001",)
    seen["tuple"] = ask(make(silenced_checks=given), "/__heartbeat__")["response"]["status"]
    return seen


@scenario
def settings_changed():
    app = make()
    ask(app)
    app.config["DOCKERFLOW_SUMMARY_LOG_QUERYSTRING"] = True
    seen = {"query string": ask(app, "/?a=1")["records"]}
    app.config.update(DOCKERFLOW_REQUEST_ID_HEADER_NAME="X-Other")
    seen["header"] = ask(app, headers={"X-Other": "o"})["records"]
    return seen


class Redis:
    def __init__(self, result):
        self.result = result

    def ping(self):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@scenario
def redis_checks():
    results = {
        "ok": True, "false": False, "none": None, "text": "PONG",
        "ConnectionError": redis.ConnectionError("refused"),
        "TimeoutError": redis.TimeoutError("late"),
        "RedisError": redis.RedisError("broken"),
        "AuthenticationError": redis.AuthenticationError("auth"),
        "NotImplementedError": NotImplementedError("no client"),
    }  # fmt: skip

    def shown(result):
        return messages(ready_made.check_redis_connected(Redis(result)))

    seen = {name: attempt(lambda result=result: shown(result)) for name, result in results.items()}
    app = make(redis=Redis(True))
    seen["registered"] = list(checks.get_checks())
    seen["heartbeat"] = ask(app, "/__heartbeat__")["response"]
    return seen


MIGRATION = """
revision = "{0}"
down_revision = {1!r}
def upgrade(): pass
def downgrade(): pass
"""


@scenario
def database_checks():
    app = flask.Flask("app")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder()}/db.sqlite3"
    db = SQLAlchemy(app)
    directory = pathlib.Path(folder(), "migrations")
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text("")
    (directory / "script.py.mako").write_text("")
    (directory / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    for name, down in (("a1", None), ("b2", "a1")):
        (directory / "versions" / f"{name}.py").write_text(MIGRATION.format(name, down))
    migrate = Migrate(app, db, directory=str(directory))
    Dockerflow(app, db=db, migrate=migrate, version_path=folder())
    seen = {"registered": list(checks.get_checks()), "heartbeat": ask(app, "/__heartbeat__")}
    with app.app_context():
        seen["database"] = attempt(lambda: messages(ready_made.check_database_connected(db)))
        seen["migrations"] = attempt(lambda: messages(ready_made.check_migrations_applied(migrate)))
        with db.engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE alembic_version (version_num TEXT)"))
            connection.execute(sqlalchemy.text("INSERT INTO alembic_version VALUES ('b2')"))
        seen["applied"] = attempt(lambda: messages(ready_made.check_migrations_applied(migrate)))

        class Failing:
            def __init__(self, error):
                self.engine = mock.Mock()
                self.engine.connect.side_effect = error

        operational = sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("refused"))
        for name, error in {
            "OperationalError": operational,
            "SQLAlchemyError": sqlalchemy.exc.SQLAlchemyError("broken"),
            "ValueError": ValueError("other"),
        }.items():
            seen[name] = attempt(
                lambda error=error: messages(ready_made.check_database_connected(Failing(error)))
            )
            failing = mock.Mock(wraps=migrate, directory=migrate.directory, db=Failing(error))
            failing.get_config = migrate.get_config
            seen[f"migrations, {name}"] = attempt(
                lambda failing=failing: messages(ready_made.check_migrations_applied(failing))
            )
    missing = flask.Flask("app")
    missing.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:////nowhere/at/all.db"
    other = SQLAlchemy(missing)
    checks.clear_checks()
    Dockerflow(missing, db=other, version_path=folder())
    got = ask(missing, "/__heartbeat__")
    seen["no database"] = {"status": got["response"]["status"], "body": got["response"]["body"]}
    return seen


@scenario
def checks_need_the_application():
    app = make()

    @checks.register
    def context():
        return [checks.Info(flask.current_app.name, id="app.I001")]

    @checks.register
    def request():
        return [checks.Info(flask.request.path, id="app.I002")]

    @checks.register
    async def asynchronous():
        return [checks.Info("async", id="app.I003")]

    seen = {"with async": ask(app, "/__heartbeat__")["response"]}
    checks.clear_checks()
    checks.register(context)
    checks.register(request)
    seen["without async"] = ask(app, "/__heartbeat__")["response"]

    @checks.register
    def raises():
        raise ValueError("no")

    seen["raises"] = ask(app, "/__heartbeat__")
    return seen


@scenario
def checks_in_time():
    """Checks that wait for each other, that are slow, that several probes ask for."""
    app = make()
    app.config["DOCKERFLOW_CHECK_TIMEOUT"] = 1
    first, second = threading.Event(), threading.Event()

    @checks.register
    def one():
        first.set()
        return [] if second.wait(1) else [checks.Info("alone", id="app.I001")]

    @checks.register
    def two():
        second.set()
        return [] if first.wait(1) else [checks.Info("alone", id="app.I001")]

    seen = {"together": ask(app, "/__heartbeat__")["response"]["body"]}
    checks.clear_checks()
    checks.register(lambda: time.sleep(1.5) or [], name="slow")
    seen["slow"] = ask(app, "/__heartbeat__")["response"]
    checks.clear_checks()
    runs = []
    checks.register(lambda: runs.append(1) or time.sleep(0.5) or [], name="counted")
    probes = [threading.Thread(target=ask, args=(app, "/__heartbeat__")) for _ in range(3)]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join()
    seen["runs of three probes"] = "three" if len(runs) == 3 else "fewer"
    return seen


@scenario
def clock_set_back():
    app = make()

    @app.route("/late")
    def late():
        mock.patch("time.time", return_value=time.time() - 3600).start()
        return ""

    ask(app, "/late", keep=True)
    taken = [record.t for record in RECORDS.kept if record.name == "request.summary"]
    return {"negative": [t < 0 for t in taken]}


@scenario
def parts_that_fail():
    class Own(Dockerflow):
        def user_id(self):
            raise ValueError("no")

    app = make()
    heartbeat_passed.connect(failing_handler)
    return {
        "signal": attempt(lambda: ask(app, "/__heartbeat__")["response"]["status"]),
        "user_id": attempt(lambda: ask(make(extension=Own))["response"]["status"]),
    }


def failing_handler(sender, level, **extra):
    raise ValueError("no")


@scenario
def wrong_settings():
    app = flask.Flask("app")
    app.config["DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE"] = "abc"
    seen = {
        "at start": attempt(
            lambda: encode(Dockerflow(app, version_path=folder()).init_app and None)
        )
    }
    if seen["at start"] is None:
        seen["heartbeat"] = ask(app, "/__heartbeat__")["response"]["status"]
    return seen


@scenario
def environment():
    os.environ["DOCKERFLOW_SUMMARY_LOG_QUERYSTRING"] = "true"
    return ask(make(), "/?a=1")["records"]


SPEC = """
openapi: 3.0.0
info: {title: app, version: "1"}
paths:
  /hello:
    get:
      operationId: side_by_side.flask_app.hello
      responses: {"200": {description: ok}}
  /raises:
    get:
      operationId: side_by_side.flask_app.connexion_raises
      responses: {"200": {description: ok}}
  /forbidden:
    get:
      operationId: side_by_side.flask_app.connexion_forbidden
      responses: {"200": {description: ok}}
"""


def hello():
    return {"hello": flask.g.request_id}


def connexion_raises():
    raise ValueError("no")


def connexion_forbidden():
    flask.abort(403)


@scenario
def connexion():
    import connexion as package

    specification = pathlib.Path(folder(), "openapi.yaml")
    specification.write_text(SPEC)
    outer = package.FlaskApp("app", specification_dir=str(specification.parent))
    outer.add_api("openapi.yaml")
    Dockerflow(outer.app, version_path=folder({"version": "1"}))
    checks.register(warning)
    client = outer.test_client()
    seen = {}
    for path in ("/hello", "/missing", "/raises", "/forbidden", "/__lbheartbeat__", "/__version__",
                 "/__heartbeat__"):  # fmt: skip
        RECORDS.take()
        got = client.get(path, headers=HEADERS)
        codes = {
            getattr(record, "code", got.status_code)
            for record in RECORDS.kept
            if record.name == "request.summary"
        }
        seen[path] = {
            "response": response(got.status_code, got.headers.items(), got.content),
            "the client's code": codes == {got.status_code},
            "records": RECORDS.take(),
        }
    checks.register(error)
    seen["failing"] = client.get("/__heartbeat__").status_code
    return seen
