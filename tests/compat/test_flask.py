"""What apps made for the incumbent's Flask extension rely on, by name."""

import contextlib
import inspect
import json
import logging
import warnings
from types import SimpleNamespace
from unittest import mock

import pytest
from log_lines import error_in

flask = pytest.importorskip("flask")

import werkzeug.exceptions  # noqa: E402 - after the skip

from dockerflow import checks, health  # noqa: E402 - after the skip
from dockerflow.flask import Dockerflow  # noqa: E402 - after the skip
from dockerflow.flask import app as flask_app  # noqa: E402 - after the skip
from dockerflow.flask import checks as flask_checks  # noqa: E402 - after the skip
from dockerflow.flask.checks import messages  # noqa: E402 - after the skip
from dockerflow.flask.signals import heartbeat_failed, heartbeat_passed  # noqa: E402 - after the skip

pytestmark = pytest.mark.usefixtures("no_checks")


@pytest.fixture
def app(tmp_path):
    app = flask.Flask("compat", root_path=str(tmp_path / "app"))

    @app.get("/")
    def index():
        return "hello"

    @app.get("/fail")
    def fail():
        raise ValueError("broken")

    return app


@pytest.fixture
def dockerflow(app):
    return Dockerflow(app)


def test_extension(app):
    dockerflow = Dockerflow()
    dockerflow.init_app(app)
    assert app.extensions["dockerflow"] is dockerflow
    assert dockerflow.logger.level == logging.NOTSET
    with app.test_request_context():
        for name in ("version", "heartbeat", "lbheartbeat"):
            assert flask.url_for(f"dockerflow.{name}") == f"/__{name}__"


def test_loggers_that_a_configuration_has_disabled(app):
    """``dictConfig`` disables those that exist; python-dockerflow made them later."""
    for name in ("dockerflow.flask", "request.summary"):
        logging.getLogger(name).disabled = True
    dockerflow = Dockerflow(app)
    assert not dockerflow.logger.disabled
    assert not dockerflow.summary_logger.disabled


def test_positional_arguments(app, tmp_path):
    client = SimpleNamespace(ping=lambda: True)
    db = SimpleNamespace()
    migrate = SimpleNamespace()
    dockerflow = Dockerflow(app, db, client, migrate, ["x.E001"], str(tmp_path))
    assert dockerflow.silenced_checks == ["x.E001"]
    assert dockerflow.version_path == str(tmp_path)
    assert list(checks.get_checks()) == [
        "check_database_connected",
        "check_redis_connected",
        "check_migrations_applied",
    ]


def test_version_is_in_the_parent_of_the_root_path(app, dockerflow, tmp_path):
    assert dockerflow.version_path == str(tmp_path)
    client = app.test_client()
    assert client.get("/__version__").status_code == 404
    (tmp_path / "version.json").write_text('{"version": "1"}')
    assert client.get("/__version__").json == {"version": "1"}


def test_version_path_may_be_set_later(app, dockerflow, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "version.json").write_text('{"version": "2"}')
    dockerflow.version_path = str(folder)
    assert app.test_client().get("/__version__").json == {"version": "2"}


def test_version_callback(app, dockerflow, tmp_path):
    called = []

    @dockerflow.version_callback
    def version(root):
        called.append((root, flask.current_app.name))
        return {"version": "mine"}

    response = app.test_client().get("/__version__")
    assert (response.status_code, response.json) == (200, {"version": "mine"})
    assert called == [(str(tmp_path), "compat")]
    with mock.patch.object(dockerflow, "_version_callback", return_value={"version": "patched"}):
        assert app.test_client().get("/__version__").json == {"version": "patched"}
    assert callable(version)  # the name is still the function's
    dockerflow.version_callback(lambda root: None)
    assert app.test_client().get("/__version__").status_code == 404


def test_a_patched_get_version_gets_the_version_path(app, tmp_path):
    with mock.patch("dockerflow.version.get_version", return_value={"version": "early"}):
        early = Dockerflow(app)
    assert app.test_client().get("/__version__").json == {"version": "early"}
    early._version_callback.assert_called_once_with(str(tmp_path))
    app = flask.Flask("late", root_path=str(tmp_path / "app"))
    Dockerflow(app)
    with mock.patch("dockerflow.version.get_version", return_value=None) as late:
        assert app.test_client().get("/__version__").status_code == 404
    late.assert_called_once_with(str(tmp_path))


def test_lbheartbeat_is_empty(app, dockerflow):
    response = app.test_client().get("/__lbheartbeat__")
    assert (response.status_code, response.data) == (200, b"")


def test_heartbeat_payload_and_signals(app, dockerflow):
    heard = []

    def passed(sender, level):
        heard.append(("passed", sender, level))

    def failed(sender, level):
        heard.append(("failed", sender, level))

    heartbeat_passed.connect(passed)
    heartbeat_failed.connect(failed)
    checks.register(lambda: None, name="fine")
    assert app.test_client().get("/__heartbeat__").json["status"] == "ok"

    @checks.register
    def bad():
        return [checks.Error("oh", id="tests.E001")]

    response = app.test_client().get("/__heartbeat__")
    assert response.status_code == 500
    assert json.loads(response.data) == {
        "status": "error",
        "checks": {"fine": "ok", "bad": "error"},
        "details": {"bad": {"status": "error", "level": 40, "messages": {"tests.E001": "oh"}}},
    }
    assert heard == [("passed", dockerflow, 0), ("failed", dockerflow, 40)]


@pytest.mark.parametrize("where", ["argument", "attribute", "setting"])
def test_a_list_of_silenced_checks_changed_in_place(app, where):
    silenced = ["tests.E000"]
    if where == "setting":
        app.config["DOCKERFLOW_SILENCED_CHECKS"] = silenced
    dockerflow = Dockerflow(app, silenced_checks=silenced if where == "argument" else None)
    if where == "attribute":
        silenced = dockerflow.silenced_checks
    checks.register(lambda: checks.Error("oh", id="tests.E001"), name="bad")
    client = app.test_client()
    assert client.get("/__heartbeat__").status_code == 500
    silenced.append("tests.E001")
    assert client.get("/__heartbeat__").status_code == 200
    silenced.remove("tests.E001")
    assert client.get("/__heartbeat__").status_code == 500
    dockerflow.silenced_checks = None
    assert client.get("/__heartbeat__").status_code == 500


def test_failed_status_code_is_read_when_used(app, dockerflow):
    checks.register(lambda: checks.Critical("oh", id="x"), name="bad")
    assert app.test_client().get("/__heartbeat__").status_code == 500
    app.config["DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE"] = 503
    assert app.test_client().get("/__heartbeat__").status_code == 503


@pytest.mark.parametrize("name", ["version", "heartbeat", "lbheartbeat"])
def test_summaries_of_probes_whose_client_does_not_close(app, dockerflow, summaries, name):
    app.test_client().get(f"/__{name}__")
    assert [record.path for record in summaries] == [f"/__{name}__"]


def test_summary_of_a_client_that_does_not_close(app, dockerflow, summaries):
    app.test_client().get(
        "/?a=b", headers={"User-Agent": "tests", "Accept-Language": "de", "X-Request-ID": "r1"}
    )
    [record] = summaries
    assert record.levelno == logging.INFO
    expected = {"agent": "tests", "lang": "de", "method": "GET", "path": "/", "rid": "r1"}
    expected |= {"errno": 0, "code": 200, "uid": ""}
    assert {key: getattr(record, key) for key in expected} == expected
    assert isinstance(record.t, int)
    assert not hasattr(record, "querystring")


def test_summary_by_hand(app, dockerflow, summaries):
    with app.test_request_context("/"):
        assert app.preprocess_request() is None
        assert flask.g.request_id == flask.g._request_id
        assert flask.g._start_timestamp > 0
        response = app.process_response(flask.Response("x"))
        assert response.headers["X-Request-ID"] == flask.g.request_id
        [record] = summaries
        assert record.rid == flask.g.request_id


def test_summary_of_an_exception(app, dockerflow, summaries):
    assert app.test_client().get("/fail").status_code == 500
    [record] = summaries
    assert (record.levelname, error_in(record), record.errno) == ("ERROR", "broken", 500)


def test_summary_of_a_propagated_exception_by_hand(app, dockerflow, summaries):
    app.testing = True
    with app.test_request_context("/fail"), pytest.raises(ValueError):  # noqa: PT012 - as Flask itself does
        try:
            app.full_dispatch_request()
        except ValueError as error:
            app.handle_exception(error)
    [record] = summaries
    assert (record.levelname, error_in(record)) == ("ERROR", "broken")


def test_request_id_of_the_app(app, dockerflow):
    @app.before_request
    def own():
        flask.g.request_id = "mine"

    with app.test_request_context("/"):
        app.preprocess_request()
        assert flask.g.request_id == "mine"


def test_request_id_is_new_for_each_request_in_one_app_context(app, dockerflow):
    @app.get("/id")
    def id_():
        return flask.g.request_id

    with app.app_context():
        ids = {app.test_client().get("/id").text for _ in range(2)}
    assert len(ids) == 2


def test_summary_extra_by_hand(app, dockerflow):
    with app.test_request_context("/x", headers={"User-Agent": "a", "Accept-Language": "b"}):
        extra = dockerflow.summary_extra()
    wanted = {"agent": "a", "lang": "b", "method": "GET", "path": "/x", "errno": 0, "uid": ""}
    assert {key: extra[key] for key in wanted} == wanted
    assert {"rid", "t"} <= extra.keys()


def test_summary_extra_of_a_subclass(app, summaries):
    class Mine(Dockerflow):
        def summary_extra(self):
            extra = super().summary_extra()
            extra["tenant"] = "t1"
            extra["errno"] = 17
            del extra["agent"]
            return extra

    Mine(app)
    app.test_client().get("/")
    [record] = summaries
    assert (record.tenant, record.errno, record.code) == ("t1", 17, 200)
    assert not hasattr(record, "agent")
    assert record.path == "/"


@pytest.mark.parametrize("path", ["/__lbheartbeat__", "/__heartbeat__", "/__version__"])
def test_summaries_of_probes_have_the_standard_fields_only(app, summaries, path):
    class Mine(Dockerflow):
        def summary_extra(self):
            return {**super().summary_extra(), "tenant": flask.g.tenant}

        def user_id(self):
            return "u1"

    in_context = []

    def look(record):
        in_context.append(flask.has_request_context())
        return True

    dockerflow = Mine(app)
    dockerflow.summary_logger.addFilter(look)
    try:
        app.test_client().get(path)
    finally:
        dockerflow.summary_logger.removeFilter(look)
    [record] = summaries
    assert not hasattr(record, "tenant")
    assert record.uid == ""
    assert in_context == [path != "/__lbheartbeat__"]


@pytest.mark.parametrize("path", ["/__lbheartbeat__", "/__heartbeat__", "/__version__"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_route_that_the_app_has_at_our_path(app, path, slash):
    """The route that was added first is served."""
    app.add_url_rule(f"{path}{slash}", "own", lambda: "own")
    Dockerflow(app)
    other = flask.Flask("other")
    Dockerflow(other)
    other.add_url_rule(f"{path}{slash}", "own", lambda: "own")
    assert app.test_client().get(f"{path}{slash}").text == "own"
    assert other.test_client().get(f"{path}{slash}").text != "own"
    for served in {"/__lbheartbeat__", "/__heartbeat__"} - {path}:
        assert app.test_client().get(served).status_code == 200
        assert app.test_client().get(served).text != "own"


@pytest.mark.parametrize("built", [{"errno": 0}, {}, {"errno": 7}])
def test_fields_built_anew_keep_the_errors_number(app, summaries, built):
    class Mine(Dockerflow):
        def summary_extra(self):
            return {"path": "/fail", **built}

    Mine(app)
    app.test_client().get("/fail")
    [record] = summaries
    assert record.errno == (built.get("errno") or 500)


@pytest.mark.parametrize("own", [{}, {"t": "soon", "code": 1}])
def test_summary_extra_without_our_fields(app, summaries, own):
    class Mine(Dockerflow):
        def summary_extra(self):
            return {"tenant": "t1", **own}

    Mine(app)
    app.test_client().get("/")
    [record] = summaries
    ours = {"agent", "errno", "lang", "method", "path", "rid", "uid"}
    assert not ours & vars(record).keys()
    assert (record.tenant, record.code, type(record.t)) == ("t1", 200, int)


def test_summary_logger_may_be_another(app, dockerflow, caplog):
    caplog.set_level(logging.INFO)
    dockerflow.summary_logger = logging.getLogger("another")
    app.test_client().get("/")
    assert [record.name for record in caplog.records] == ["another"]


@pytest.mark.parametrize(("id_", "uid"), [("100", "100"), (0, 0), ("0", "0"), (None, "")])
def test_user_id(app, dockerflow, summaries, id_, uid):
    flask_login = pytest.importorskip("flask_login")
    app.secret_key = "of no use"
    manager = flask_login.LoginManager(app)

    class User(flask_login.UserMixin):
        id = id_
        email = "jane@example.org"

        def get_id(self):
            return self.id if self.id == 0 else super().get_id()

    manager.user_loader(lambda _: User())

    @app.get("/login")
    def login():
        flask_login.login_user(User())
        return ""

    with app.test_request_context("/"):
        assert not dockerflow.user_id()
        flask_login.login_user(User())
        assert dockerflow.user_id() == (None if uid == "" else uid)
        assert dockerflow.summary_extra()["uid"] == uid
    app.test_client().get("/login")
    assert summaries[-1].uid == uid
    app.test_client().get("/")
    assert summaries[-1].uid == ""


def test_user_id_of_a_broken_loader(app, dockerflow, summaries):
    flask_login = pytest.importorskip("flask_login")
    app.secret_key = "of no use"
    manager = flask_login.LoginManager(app)

    @manager.request_loader
    def load(request):
        raise RuntimeError("no database")

    assert app.test_client().get("/").status_code == 200
    assert summaries[-1].uid == ""


def test_deprecated_names(app, dockerflow):
    with pytest.warns(DeprecationWarning, match=r"checks\.register"):

        @dockerflow.check
        def one():
            return None

    with pytest.warns(DeprecationWarning, match="register"):

        @dockerflow.check(name="two")
        def other():
            return None

    def of(obj):
        return [checks.Warning(obj, id="w")]

    with pytest.warns(DeprecationWarning, match="register_partial"):
        assert dockerflow.init_check(of, "thing")()[0].msg == "thing"
    with pytest.warns(DeprecationWarning, match="get_checks"):
        known = dockerflow.checks
    assert isinstance(known, dict)
    assert list(known) == ["one", "two", "of"]
    assert known["of"]()[0].msg == "thing"
    known.clear()
    assert checks.get_checks() == {}


def test_a_factory_may_run_twice(app):
    for ping in (False, True):
        Dockerflow(flask.Flask("f"), redis=SimpleNamespace(ping=lambda ping=ping: ping))
    assert checks.get_checks()["check_redis_connected"]() == []


def test_database_check():
    sqlalchemy = pytest.importorskip("sqlalchemy")
    db = mock.Mock(engine=sqlalchemy.create_engine("sqlite://"))
    assert flask_checks.check_database_connected(db) == []
    for error, id_ in (
        (sqlalchemy.exc.DBAPIError("", "", Exception("x")), health.ERROR_DB_API_EXCEPTION),
        (sqlalchemy.exc.SQLAlchemyError("x"), health.ERROR_SQLALCHEMY_EXCEPTION),
    ):
        db = mock.Mock()
        db.engine.connect.side_effect = error
        assert [message.id for message in flask_checks.check_database_connected(db)] == [id_]


def test_redis_check():
    redis = pytest.importorskip("redis")
    client = mock.Mock()
    client.ping.return_value = True
    assert flask_checks.check_redis_connected(client) == []
    client.ping.return_value = False
    assert flask_checks.check_redis_connected(client)[0].id == health.ERROR_REDIS_PING_FAILED
    for error, id_ in (
        (redis.ConnectionError("x"), health.ERROR_CANNOT_CONNECT_REDIS),
        (redis.RedisError("x"), health.ERROR_REDIS_EXCEPTION),
    ):
        client.ping.side_effect = error
        assert flask_checks.check_redis_connected(client)[0].id == id_


def test_messages():
    assert messages.Error is flask_checks.Error is checks.Error
    assert flask_checks.level_to_text(50) == "critical"


def test_signatures():
    def names(function):
        return [name for name in inspect.signature(function).parameters if name != "registry"]

    assert names(Dockerflow) == [
        "app", "db", "redis", "migrate", "silenced_checks", "version_path",
    ]  # fmt: skip
    assert all(
        parameter.default is None for parameter in inspect.signature(Dockerflow).parameters.values()
    )
    with pytest.raises(TypeError, match="databse"):
        Dockerflow(databse=None)
    assert names(Dockerflow.init_app) == ["self", "app"]
    assert names(flask_checks.check_database_connected) == ["db"]
    assert names(flask_checks.check_migrations_applied) == ["migrate"]
    assert names(flask_checks.check_redis_connected) == ["client"]


def test_every_name_of_the_checks():
    for name in (
        "CheckMessage", "Debug", "Info", "Warning", "Error", "Critical", "DEBUG", "INFO",
        "WARNING", "ERROR", "CRITICAL", "STATUSES", "level_to_text",
    ):  # fmt: skip
        assert getattr(checks, name) is getattr(flask_checks, name) is getattr(messages, name)


def test_blueprint(app, dockerflow):
    assert "dockerflow" in app.blueprints
    rules = {rule.endpoint: rule.rule for rule in app.url_map.iter_rules()}
    for name in ("version", "heartbeat", "lbheartbeat"):
        assert rules[f"dockerflow.{name}"] == f"/__{name}__"


@pytest.mark.parametrize("names", ["X-Trace", ["X-Other", "x-trace"]])
def test_settings_are_read_when_used(app, dockerflow, summaries, names):
    app.config["DOCKERFLOW_REQUEST_ID_HEADER_NAME"] = names
    app.config["DOCKERFLOW_SUMMARY_LOG_QUERYSTRING"] = True
    app.test_client().get("/?a=b", headers={"X-Trace": "t1"})
    [record] = summaries
    assert (record.rid, record.querystring) == ("t1", "a=b")


@pytest.mark.parametrize("name", ["dockerflow.flask", "of.the.app"])
def test_the_error_endpoint(app, caplog, name):
    app.config["DOCKERFLOW_ERROR_ENDPOINT"] = True
    dockerflow = Dockerflow(app)
    assert dockerflow.logger.name == "dockerflow.flask"
    dockerflow.logger = logging.getLogger(name)
    assert app.test_client().get("/__error__").status_code == 500
    assert (name, logging.ERROR, "The __error__ endpoint was called") in caplog.record_tuples


@pytest.mark.parametrize("name", ["dockerflow.flask", "of.the.app"])
def test_the_extensions_logger(app, dockerflow, caplog, name):
    dockerflow.logger = logging.getLogger(name)

    def fail(*_, **__):
        raise RuntimeError("no metrics")

    with (
        mock.patch.object(Dockerflow, "user_id", side_effect=RuntimeError("no user")),
        heartbeat_passed.connected_to(fail),
    ):
        assert app.test_client().get("/").status_code == 200
        assert app.test_client().get("/__heartbeat__").status_code == 200
    logged = [
        (record.name, str(record.exc_info[1])) for record in caplog.records if record.exc_info
    ]
    assert set(logged) == {(name, "no user"), (name, "no metrics")}


def test_database_and_migrations_in_the_heartbeat(app):
    pytest.importorskip("alembic")  # as an app has it: not imported first by two checks at once
    db = mock.Mock()
    db.engine.connect.side_effect = RuntimeError("x")
    migrate = mock.Mock()
    migrate.get_config.side_effect = RuntimeError("no folder")
    Dockerflow(app, db=db, migrate=migrate)
    payload = app.test_client().get("/__heartbeat__").json
    assert payload["checks"] == {
        "check_database_connected": "error", "check_migrations_applied": "info",
    }  # fmt: skip
    messages = payload["details"]["check_migrations_applied"]["messages"]
    assert list(messages) == [health.INFO_CANT_CHECK_MIGRATIONS]


def test_deprecated_names_warn_once_per_place(app, dockerflow):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for number in range(3):
            dockerflow.check(lambda: None, name=str(number))
            dockerflow.init_check(flask_checks.check_redis_connected, number)
            assert dockerflow.checks
    assert [warning.category for warning in caught] == [DeprecationWarning] * 3
    assert {warning.filename for warning in caught} == {__file__}


class Overriding(Dockerflow):
    """The hooks and views that a subclass of the incumbent's extension can replace."""

    def __init__(self, app):
        self.called = []
        super().__init__(app)

    def _before_request(self):
        super()._before_request()
        self.called.append(("before", flask.g.request_id))

    def _after_request(self, response):
        response = super()._after_request(response)
        self.called.append(("after", response.status_code))
        return response

    def _got_request_exception(self, sender, exception, **extra):
        super()._got_request_exception(sender, exception, **extra)
        self.called.append(("exception", str(exception)))

    def _heartbeat_view(self):
        response = super()._heartbeat_view()
        response.headers["X-Mine"] = "1"
        return response

    def _lbheartbeat_view(self):
        return "busy", 429

    def _version_view(self):
        return {"version": "mine"}


@pytest.mark.parametrize("with_driver", [True, False])
def test_overridden_hooks_and_views(app, summaries, with_driver):
    mine = Overriding(app)
    if not with_driver:
        app.wsgi_app = flask.Flask.wsgi_app.__get__(app)
    client = app.test_client()
    assert client.get("/", headers={"X-Request-ID": "r1"}).status_code == 200
    assert client.get("/fail", headers={"X-Request-ID": "r2"}).status_code == 500
    assert mine.called == [
        ("before", "r1"), ("after", 200), ("before", "r2"), ("exception", "broken"), ("after", 500),
    ]  # fmt: skip
    heartbeat = client.get("/__heartbeat__")
    assert (heartbeat.json["status"], heartbeat.headers["X-Mine"]) == ("ok", "1")
    assert client.get("/__lbheartbeat__").status_code == 429
    assert client.get("/__version__").json == {"version": "mine"}
    assert [record.code for record in summaries] == [200, 500, 200, 429, 200]


def test_hooks_called_by_hand(app, dockerflow, summaries):
    with app.test_request_context("/", headers={"X-Request-ID": "r1"}):
        dockerflow._before_request()
        assert flask.g.request_id == "r1"
        response = dockerflow._after_request(flask.Response("x", 201))
    assert response.status_code == 201
    [record] = summaries
    assert (record.rid, record.code, record.levelname) == ("r1", 201, "INFO")


def test_a_patched_extract_request_id(app, dockerflow):
    def own(request):
        flask.g.request_id = f"mine {request.path}"

    @app.get("/id")
    def id_():
        return flask.g.request_id

    with mock.patch("dockerflow.flask.app.extract_request_id", own):
        assert app.test_client().get("/id").text == "mine /id"


@pytest.mark.parametrize("with_driver", [True, False])
def test_a_failing_heartbeat_raises_nothing(app, dockerflow, with_driver):
    app.errorhandler(flask_app.HeartbeatFailure)(lambda error: ("not called", 200))
    checks.register(lambda: checks.Error("oh", id="x"), name="bad")
    if not with_driver:
        app.wsgi_app = flask.Flask.wsgi_app.__get__(app)
    assert app.test_client().get("/__heartbeat__").status_code == 500
    assert issubclass(flask_app.HeartbeatFailure, werkzeug.exceptions.InternalServerError)


def test_the_blueprint_is_known_to_the_extension(app, dockerflow):
    """Apps exempt it from CSRF tokens and rate limits."""
    assert app.blueprints["dockerflow"] is dockerflow._blueprint


HTTP_EXCEPTIONS = [
    (werkzeug.exceptions.NotFound(), 404),
    (werkzeug.exceptions.ServiceUnavailable(), 503),
    (werkzeug.exceptions.HTTPException(), 500),
    (ValueError("broken"), 500),
]
with contextlib.suppress(ImportError):
    from starlette.exceptions import HTTPException

    HTTP_EXCEPTIONS.append((HTTPException(403), 403))


@pytest.mark.usefixtures("dockerflow")
@pytest.mark.parametrize("with_driver", [True, False])
@pytest.mark.parametrize(("error", "code"), HTTP_EXCEPTIONS)
def test_http_exceptions_that_escape(app, summaries, error, code, with_driver):
    """As from an app in connexion, which makes the response of what escapes from Flask."""
    app.config.update(PROPAGATE_EXCEPTIONS=True, TRAP_HTTP_EXCEPTIONS=True)

    @app.get("/raise")
    def view():
        raise error

    if not with_driver:
        app.wsgi_app = flask.Flask.wsgi_app.__get__(app)
    with pytest.raises(type(error)):
        app.test_client().get("/raise")
    [record] = summaries
    is_error = code >= 500
    assert (record.code, record.errno) == (code, code * is_error)
    assert record.levelno == (logging.ERROR if is_error else logging.INFO)


def test_an_http_exception_on_the_debuggers_page_is_an_error(app, dockerflow, summaries):
    """In debug mode Flask lets a missing key of a form escape, for the debugger to show it."""
    app.debug = True
    app.add_url_rule("/key", "key", lambda: flask.request.args["missing"])
    with pytest.raises(werkzeug.exceptions.BadRequestKeyError):
        app.test_client().get("/key")
    [record] = summaries
    assert (record.code, record.levelname) == (500, "ERROR")


def test_names_that_are_gone():
    """What the incumbent's module only imports or needs itself."""
    for name in ("current_user", "has_flask_login", "UserLoadingError", "version", "checks"):
        assert not hasattr(flask_app, name)


def test_checks_have_the_requests_id_in_g(app, dockerflow):
    seen = []

    @checks.register
    def check():
        seen.append((flask.g.request_id, flask.g._request_id))

    response = app.test_client().get("/__heartbeat__", headers={"X-Request-ID": "abc"})
    assert (response.status_code, seen) == (200, [("abc", "abc")])


@pytest.mark.parametrize("name", ["version", "heartbeat", "lbheartbeat"])
def test_a_replaced_view_function(app, dockerflow, name):
    app.view_functions[f"dockerflow.{name}"] = lambda: ("a login is needed", 401)
    assert app.test_client().get(f"/__{name}__").status_code == 401
