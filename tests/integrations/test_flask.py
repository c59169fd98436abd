"""What only Flask has."""

import gc
import io
import json
import logging
import threading

import pytest
from log_lines import error_in

flask = pytest.importorskip("flask")

from services.command import python  # noqa: E402 - after the skip
from werkzeug.middleware.dispatcher import DispatcherMiddleware  # noqa: E402

from dockerflow import checks  # noqa: E402
from dockerflow._core.request_id import noted_request  # noqa: E402
from dockerflow.config import ConfigError  # noqa: E402
from dockerflow.flask import Dockerflow  # noqa: E402
from dockerflow.logging import MozlogHandler, get_request_id  # noqa: E402
from dockerflow.testing import Client  # noqa: E402
from dockerflow.wsgi import DockerflowMiddleware  # noqa: E402


def make_app(name="served", registry=None, **settings):
    app = flask.Flask(name)
    app.config.update(settings)

    @app.get("/")
    def index():
        return name

    @app.get("/fail")
    def fail():
        raise ValueError("broken")

    @app.get("/stream")
    def stream():
        def events():
            yield "data: 1\n\n"
            yield "data: 2\n\n"

        return flask.Response(events(), mimetype="text/event-stream")

    dockerflow = Dockerflow(app, registry=registry or checks.Registry())
    return app, dockerflow


def test_two_apps_with_registries_of_their_own():
    (one, first), (two, second) = make_app("one"), make_app("two")
    first.registry.register(lambda: None, name="a")
    second.registry.register(lambda: checks.Error("x"), name="b")
    assert one.test_client().get("/__heartbeat__").json["checks"] == {"a": "ok"}
    assert two.test_client().get("/__heartbeat__").json["checks"] == {"b": "error"}


def test_one_extension_for_several_apps(tmp_path):
    dockerflow = Dockerflow(registry=checks.Registry())
    for name in ("one", "two"):
        app = flask.Flask(name, root_path=str(tmp_path / name / "app"))
        (tmp_path / name).mkdir()
        (tmp_path / name / "version.json").write_text(f'{{"version": "{name}"}}')
        dockerflow.init_app(app)
        assert app.test_client().get("/__version__").json == {"version": name}


def test_one_extension_summarises_each_app_once(summaries):
    dockerflow = Dockerflow(registry=checks.Registry())
    apps = [flask.Flask(name) for name in ("one", "two")]
    for app in apps:
        app.add_url_rule("/fail", view_func=lambda: int("broken"))
        dockerflow.init_app(app)
    for app in apps:
        assert app.test_client().get("/fail").status_code == 500
    assert [(record.levelname, record.code) for record in summaries] == [("ERROR", 500)] * 2


@pytest.mark.parametrize("with_driver", [True, False])
def test_a_hook_that_fails_for_the_error_page_too(summaries, with_driver):
    app, _ = make_app()

    @app.after_request
    def fail(response):
        raise LookupError("no template")

    if not with_driver:
        app.wsgi_app = flask.Flask.wsgi_app.__get__(app)
    with app.test_client().get("/") as response:
        assert response.status_code == 500
    [record] = summaries
    assert (record.levelname, record.code, error_in(record)) == ("ERROR", 500, "no template")


def test_a_single_module_has_its_version_beside_itself(tmp_path):
    root = tmp_path / "app"
    root.mkdir()
    (root / "version.json").write_text('{"version": "beside"}')
    dockerflow = Dockerflow(registry=checks.Registry())
    app = flask.Flask("beside", root_path=str(root))
    dockerflow.init_app(app)
    assert dockerflow.version_path == str(root)
    assert app.test_client().get("/__version__").json == {"version": "beside"}

    (tmp_path / "version.json").write_text('{"version": "parent"}')
    app = flask.Flask("parent", root_path=str(root))
    dockerflow.init_app(app)
    assert dockerflow.version_path == str(tmp_path)
    assert app.test_client().get("/__version__").json == {"version": "parent"}


@pytest.mark.parametrize("mounted_first", [True, False])
def test_an_app_in_another(summaries, mounted_first):
    outer, _ = make_app("outer")
    inner, of_inner = make_app("inner")
    of_inner.registry.register(lambda: None, name="inner")
    if mounted_first:
        outer = flask.Flask("outer")
        outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/in": inner})
        Dockerflow(outer, registry=checks.Registry())
    else:
        outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/in": inner})
    client = outer.test_client()
    assert client.get("/in/").text == "inner"
    assert client.get("/in/__heartbeat__").json["checks"] == {"inner": "ok"}
    assert client.get("/__heartbeat__").json["checks"] == {}
    assert [record.path for record in summaries] == ["/in/", "/in/__heartbeat__", "/__heartbeat__"]


def test_a_prefix():
    app, _ = make_app(DOCKERFLOW_PATH_PREFIX="/ops")
    assert app.test_client().get("/ops/__lbheartbeat__").status_code == 200
    assert app.test_client().get("/__lbheartbeat__").status_code == 404
    with app.test_request_context():
        assert flask.url_for("dockerflow.heartbeat") == "/ops/__heartbeat__"


def test_a_prefix_beyond_ascii_is_before_the_hooks_too():
    app, _ = make_app(DOCKERFLOW_PATH_PREFIX="/caf\u00e9")

    @app.before_request
    def refuse():
        return "no", 401

    client = app.test_client()
    for endpoint in ("lbheartbeat", "heartbeat"):
        assert client.get(f"/caf\u00e9/__{endpoint}__").status_code == 200


def test_a_wrong_setting_fails_at_the_start():
    with pytest.raises(ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT must be .*, not 'soon'"):
        make_app(DOCKERFLOW_CHECK_TIMEOUT="soon")


def test_an_app_gets_it_once():
    app = flask.Flask("app")
    extension = Dockerflow(app)
    for add in (Dockerflow, extension.init_app):
        with pytest.raises(ValueError, match="this app already has Dockerflow"):
            add(app)


def test_an_unknown_setting_is_named_once(caplog):
    for _ in range(2):
        make_app(DOCKERFLOW_CHECK_TIMEOUTS=1, OTHER_CHECK_TIMEOUTS=1)
    assert caplog.messages == [
        (
            "DOCKERFLOW_CHECK_TIMEOUTS in app.config is not a setting of Dockerflow: did you mean "
            "DOCKERFLOW_CHECK_TIMEOUT?"
        ),
    ]


def test_groups_of_checks_are_routes_too():
    """For apps whose ``wsgi_app`` was replaced; and a group that comes later is served as well."""
    registry = checks.Registry()
    registry.register(lambda: None, name="database")
    settings = {"DOCKERFLOW_HEARTBEAT_GROUPS": {"ready": ["database"]}}
    app, _ = make_app(registry=registry, **settings)

    @app.get("/__heartbeat__/<name>")
    def own(name):
        return f"own {name}"

    client = app.test_client()
    assert client.get("/__heartbeat__/ready").json["checks"] == {"database": "ok"}
    assert client.get("/__heartbeat__/other").text == "own other"
    app.config["DOCKERFLOW_HEARTBEAT_GROUPS"]["other"] = "database"
    assert client.get("/__heartbeat__/other").json["checks"] == {"database": "ok"}
    with app.test_request_context():
        assert flask.url_for("dockerflow.heartbeat") == "/__heartbeat__"
    app.wsgi_app = flask.Flask.wsgi_app.__get__(app)
    assert client.get("/__heartbeat__/ready").json["checks"] == {"database": "ok"}
    assert client.get("/__heartbeat__").json["checks"] == {"database": "ok"}
    app.config["DOCKERFLOW_HEARTBEAT_GROUPS"] = {}
    assert client.get("/__heartbeat__/ready").status_code == 404
    assert client.get("/__heartbeat__").json["checks"] == {"database": "ok"}


def test_the_secret_counts_under_another_middleware_of_ours():
    """Which has settings of its own, and has read the request's headers by them."""
    settings = {"DOCKERFLOW_HEARTBEAT_DETAILS": "authorized"}
    app, _ = make_app(DOCKERFLOW_HEARTBEAT_SECRET="s" * 16, **settings)
    outer = Client(DockerflowMiddleware(DispatcherMiddleware(flask.Flask("o"), {"/in": app})))
    headers = {"authorization": f"Bearer {'s' * 16}"}
    assert outer.get("/in/__heartbeat__").json() == {"status": "ok"}
    assert "checks" in outer.get("/in/__heartbeat__", headers).json()


def test_a_stream_is_summarised_at_its_end(summaries):
    app, _ = make_app()
    response = app.test_client().get("/stream")
    assert summaries == []
    assert response.text == "data: 1\n\ndata: 2\n\n"
    response.close()
    [record] = summaries
    assert record.code == 200


def test_a_middleware_in_between_begins_the_answer_later(summaries):
    app, dockerflow = flask.Flask("later"), Dockerflow(registry=checks.Registry())
    app.add_url_rule("/", view_func=lambda: "x")
    within = app.wsgi_app

    def later(environ, start_response):
        started = []
        body = within(environ, lambda *args: started.append(args))

        def begin():
            start_response(*started[0])
            yield from body
            body.close()

        return begin()

    app.wsgi_app = later
    dockerflow.init_app(app)
    with app.test_client().get("/") as response:
        assert response.data == b"x"
    assert [(record.code, record.errno) for record in summaries] == [(200, 0)]


def test_a_middleware_in_between_that_changes_the_body_has_the_id():
    app, dockerflow = flask.Flask("changed"), Dockerflow(registry=checks.Registry())
    app.add_url_rule("/", view_func=lambda: "x")
    within = app.wsgi_app
    ids = []

    def change(body):
        for chunk in body:
            ids.append(get_request_id())
            yield chunk.upper()
        body.close()
        raise ValueError("changing")

    app.wsgi_app = lambda environ, start_response: change(within(environ, start_response))
    dockerflow.init_app(app)
    environ = app.test_request_context("/", headers={"X-Request-ID": "abc"}).request.environ
    body = iter(app.wsgi_app(environ, lambda *_: None))
    assert (next(body), ids, get_request_id()) == (b"X", ["abc"], None)
    with pytest.raises(ValueError, match="changing") as raised:
        next(body)
    assert noted_request(raised.value)[0] == "abc"


@pytest.mark.parametrize("testing", [True, False])
def test_an_exception(summaries, testing):
    app, _ = make_app(TESTING=testing)
    client = app.test_client()
    if testing:
        with pytest.raises(ValueError, match="broken"):
            client.get("/fail")
    else:
        response = client.get("/fail", headers={"X-Request-ID": "abc"})
        assert (response.status_code, response.headers["X-Request-ID"]) == (500, "abc")
    [record] = summaries
    assert (record.levelname, error_in(record), record.code) == ("ERROR", "broken", 500)


def test_an_exception_that_the_app_handles(summaries):
    app, _ = make_app()
    app.errorhandler(ValueError)(lambda error: ("sorry", 400))
    assert app.test_client().get("/fail").text == "sorry"
    [record] = summaries
    assert (record.levelname, record.code, record.errno) == ("INFO", 400, 0)


def test_a_missing_page_is_summarised_at_once(summaries):
    app, _ = make_app()
    app.test_client().get("/missing")
    [record] = summaries
    assert (record.levelname, record.code) == ("INFO", 404)


def test_what_runs_when_the_response_is_closed_has_the_id(summaries):
    app, _ = make_app()
    ids = []

    @app.get("/later")
    def later():
        response = app.make_response("ok")
        response.call_on_close(lambda: ids.append(get_request_id()))
        return response

    # As a server does: werkzeug's client would close it within the app's context.
    environ = app.test_request_context("/later").request.environ
    body = app.wsgi_app(environ, lambda *_: None)
    assert len(summaries) == 1
    assert (b"".join(body), ids) == (b"ok", [])
    body.close()
    assert ids == [summaries[0].rid]
    assert get_request_id() is None


def test_what_fails_when_the_response_is_closed_has_the_id(summaries):
    app, _ = make_app()

    def fail():
        raise ValueError("closing")

    @app.get("/closing")
    def closing():
        response = flask.Response("x")
        response.call_on_close(fail)
        return response

    response = app.test_client().get("/closing", headers={"X-Request-ID": "abc"}, buffered=False)
    with pytest.raises(ValueError, match="closing") as raised:
        response.close()
    # So that what the server logs of it has the id.
    exc_info = type(raised.value), raised.value, raised.tb
    MozlogHandler(stream=(stream := io.StringIO())).handle(
        logging.makeLogRecord({"msg": "Error handling request", "exc_info": exc_info})
    )
    assert json.loads(stream.getvalue())["Fields"]["rid"] == "abc"
    assert [record.code for record in summaries] == [200]


def test_the_apps_hooks_do_not_run_for_probes():
    app, _ = make_app()

    @app.before_request
    def refuse():
        flask.abort(403)

    client = app.test_client()
    assert client.get("/").status_code == 403
    assert client.get("/__lbheartbeat__").status_code == 200
    assert client.get("/__heartbeat__").status_code == 200


def test_no_session_is_opened_for_probes():
    from flask.sessions import SecureCookieSessionInterface

    class Broken(SecureCookieSessionInterface):
        def open_session(self, app, request):
            raise ConnectionError("Redis is down")

    app, dockerflow = make_app()
    app.session_interface = Broken()
    dockerflow.version_callback(lambda root: {"url": flask.request.path})
    assert app.test_client().get("/__heartbeat__").status_code == 200
    assert app.test_client().get("/__version__").json == {"url": "/__version__"}


def test_a_failing_extension_breaks_no_request(summaries, caplog):
    class Broken(Dockerflow):
        def summary_extra(self):
            raise RuntimeError("no fields")

    app = flask.Flask("broken")
    app.add_url_rule("/", view_func=lambda: "fine")
    Broken(app)
    assert app.test_client().get("/").text == "fine"
    assert len(summaries) == 1
    assert "no fields" in caplog.text


@pytest.mark.parametrize("is_inside", [True, False])
def test_werkzeugs_debugger(summaries, is_inside):
    from werkzeug.debug import DebuggedApplication

    app = flask.Flask("debugged")
    app.debug = True
    app.add_url_rule("/fail", view_func=lambda: int("broken"))
    if is_inside:
        app.wsgi_app = DebuggedApplication(app.wsgi_app)
    Dockerflow(app, registry=checks.Registry())
    if not is_inside:  # as `flask run --debug` does: what it answers never passes the app
        app.wsgi_app = DebuggedApplication(app.wsgi_app)
    response = app.test_client().get("/fail", headers={"X-Request-ID": "abc"})
    assert (response.status_code, "Werkzeug" in response.text) == (500, True)
    assert response.headers.getlist("X-Request-ID") == ["abc"] * is_inside
    response.close()
    [record] = summaries
    assert (record.levelname, record.code, record.rid) == ("ERROR", 500, "abc")


@pytest.mark.parametrize("with_driver", [True, False])
def test_stream_with_context(summaries, with_driver):
    from dockerflow.logging import get_request_id

    app, _ = make_app()
    if not with_driver:
        app.wsgi_app = flask.Flask.wsgi_app.__get__(app)

    @app.get("/events")
    def events():
        def generate():
            yield flask.request.path
            yield flask.g.request_id
            if with_driver:
                yield get_request_id()

        return flask.Response(flask.stream_with_context(generate()))

    response = app.test_client().get("/events", headers={"X-Request-ID": "abc"})
    assert summaries == []
    assert response.text == "/eventsabc" + "abc" * with_driver
    response.close()
    [record] = summaries
    assert (record.path, record.code, record.rid) == ("/events", 200, "abc")
    assert get_request_id() is None


def test_static_files_and_head(tmp_path, summaries):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.txt").write_text("content")
    app = flask.Flask("static", root_path=str(tmp_path))
    Dockerflow(app)
    response = app.test_client().get("/static/a.txt")
    assert response.data == b"content"
    response.close()
    head = app.test_client().head("/static/a.txt")
    head.close()
    assert head.headers["Content-Length"] == "7"
    assert [record.method for record in summaries] == ["GET", "HEAD"]


def test_async_views(summaries):
    pytest.importorskip("asgiref")
    from dockerflow.logging import get_request_id

    app, _ = make_app()

    @app.get("/async")
    async def view():
        return get_request_id()

    assert app.test_client().get("/async", headers={"X-Request-ID": "abc"}).text == "abc"
    assert len(summaries) == 1


def test_hooks_work_without_the_driver(summaries):
    app, _ = make_app()
    app.wsgi_app = flask.Flask.wsgi_app.__get__(app)
    client = app.test_client()
    response = client.get("/", headers={"X-Request-ID": "abc"})
    assert response.headers["X-Request-ID"] == "abc"
    response = client.get("/stream")
    assert response.data
    response.close()
    assert client.get("/__heartbeat__").status_code == 200
    assert client.get("/fail").status_code == 500
    assert [record.path for record in summaries] == ["/", "/stream", "/__heartbeat__", "/fail"]
    app.config["DOCKERFLOW_SUMMARY_LOG_PROBES"] = False
    assert client.get("/__heartbeat__/").status_code == 200
    assert len(summaries) == 4


def test_sessions_of_checks_are_given_back(tmp_path):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    app = flask.Flask("db")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/db.sqlite"
    db = flask_sqlalchemy.SQLAlchemy(app)
    registry = checks.Registry()
    Dockerflow(app, db=db, registry=registry)
    together = threading.Barrier(3, timeout=10)
    sessions = set()

    def query():
        session = db.session()
        sessions.add(id(session))
        together.wait()
        session.execute(sqlalchemy.text("select 1"))
        together.wait()

    for name in "abc":
        registry.register(lambda: query(), name=name)
    for _ in range(3):
        response = app.test_client().get("/__heartbeat__")
        assert response.status_code == 200, response.json
    assert len(sessions) >= 3  # each check has one of its own
    with app.app_context():
        assert db.engine.pool.checkedout() == 0
        db.engine.dispose()
    gc.collect()


def test_sentry_has_one_event_for_an_exception():
    code = """
import flask
from apps import sentry_sink
from sentry_sdk.integrations.flask import FlaskIntegration
from dockerflow import checks
from dockerflow.flask import Dockerflow

sentry_sink.start(FlaskIntegration())
app = flask.Flask("x")
Dockerflow(app)

@app.get("/fail")
def fail():
    raise ValueError("broken")

@checks.register
def bad():
    raise KeyError("bad")

for path in ("/fail", "/__heartbeat__"):
    app.test_client().get(path)
    print(path, sentry_sink.take())
"""
    pytest.importorskip("sentry_sdk")
    assert python(code) == ["/fail ['ValueError']", "/__heartbeat__ ['KeyError']"]
