"""The Flask extension: endpoints, request ids and summaries around an app."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from flask import (
    Blueprint,
    Flask,
    Request,
    Response,
    abort,
    current_app,
    g,
    got_request_exception,
    has_request_context,
    request,
)
from werkzeug.wsgi import ClosingIterator

from dockerflow._core.app import EXCHANGE, VERSION_FILE, Core, Exchange, LiveCore, summary_logger
from dockerflow._core.endpoints import ENDPOINTS, Endpoint
from dockerflow._core.extension import RegistersChecks
from dockerflow._core.messages import Response as CoreResponse
from dockerflow.checks._check import surroundings
from dockerflow.checks.registry import Registry, default_registry
from dockerflow.checks.runner import is_failure
from dockerflow.config import Config, Picker
from dockerflow.flask.checks import (
    check_database_connected,
    check_migrations_applied,
    check_redis_connected,
)
from dockerflow.flask.signals import heartbeat_failed, heartbeat_passed
from dockerflow.version import resolve
from dockerflow.wsgi import (
    DockerflowMiddleware,
    _decode,  # pyright: ignore[reportPrivateUsage] - the package's own
    send_response,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger: logging.Logger = logging.getLogger("dockerflow.flask")

VersionCallback = Callable[[str], Any]
_V = TypeVar("_V", bound=VersionCallback)

_SITE: Final = "dockerflow.site"
_OWN: Final = "dockerflow.flask.own"


class Dockerflow(RegistersChecks):
    """Dockerflow's endpoints, request ids and summaries for one Flask app, or for several.

    :param app: the app; without one, call :meth:`init_app` later.
    :param db: Flask-SQLAlchemy's extension: registers ``check_database_connected``.
    :param redis: a client of redis-py: registers ``check_redis_connected``.
    :param migrate: Flask-Migrate's extension: registers ``check_migrations_applied``.
    :param silenced_checks: ids of check messages to leave out.
    :param version_path: the folder of version.json, or the file; by default the parent of the
        app's root path, or that path itself where only it has the file when the app is set up.
    :param registry: the checks of the heartbeat; by default the process's own.
    :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.

    Subclasses may override :meth:`summary_extra` and :meth:`user_id`.

    .. versionadded:: 0.1.0
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the arguments that apps pass by position
        self,
        app: Flask | None = None,
        db: Any = None,
        redis: Any = None,
        migrate: Any = None,
        silenced_checks: Iterable[str] | None = None,
        version_path: str | Path | None = None,
        *,
        registry: Registry | None = None,
    ) -> None:
        self.registry: Registry = default_registry if registry is None else registry
        self.silenced_checks: list[str] = list(silenced_checks or ())
        self.summary_logger: logging.Logger = summary_logger
        self.given_version_path = version_path
        self._default_version_path: str | None = None
        self.get_version: VersionCallback | None = None
        for check, obj in (
            (check_database_connected, db),
            (check_redis_connected, redis),
            (check_migrations_applied, migrate),
        ):
            if obj is not None:
                self._register_for(check, obj)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put Dockerflow around an app, which must not have served a request yet.

        :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.
        """
        self._default_version_path = _default_version_path(app)
        site = _Site(self, app)
        app.extensions["dockerflow"] = self
        app.extensions[_SITE] = site
        app.register_blueprint(site.make_blueprint())
        # First to begin and last to end: so the id is there for every other hook, and the
        # response is the one that goes out. Of these hooks Flask doesn't ask at each request
        # whether they are coroutines, which takes longer than what they do.
        app.url_value_preprocessors.setdefault(None, []).insert(0, site.begin)
        app.process_response = site.end  # type: ignore[assignment, method-assign]
        got_request_exception.connect(site.got_request_exception, app)
        app.wsgi_app = site  # type: ignore[method-assign]

    @property
    def version_path(self) -> str | None:
        """Where version.json is looked for: what was given, else by the app's root path."""
        given = self.given_version_path
        return self._default_version_path if given is None else str(given)

    @version_path.setter
    def version_path(self, path: str | Path | None) -> None:
        self.given_version_path = path

    def version_callback(self, func: _V) -> _V:
        """Take ``func`` to give the content of ``/__version__``, as a decorator.

        It is called with the version path, within the app's context, and returns an object for
        JSON, or ``None`` when there is no version.
        """
        self.get_version = func
        return func

    def user_id(self) -> str | None:
        """Return the id of Flask-Login's user, and ``None`` when nobody is logged in."""
        if not has_request_context() or not hasattr(current_app, "login_manager"):
            return None
        # Only where the app uses it; and it has no types.
        user: Any = import_module("flask_login").current_user
        is_authenticated = getattr(user, "is_authenticated", False)
        if callable(is_authenticated):
            is_authenticated = is_authenticated()
        return user.get_id() if is_authenticated else None

    def summary_extra(self) -> dict[str, Any]:
        """Return the fields of the request's summary, as they are known by now.

        What a subclass adds, changes or leaves out is so in the summary. Only ``code`` is
        always the real one.
        """
        exchange = _current_exchange(self)
        fields = exchange.fields()
        if not fields.get("uid"):
            try:
                fields["uid"] = self.user_id() or ""
            except Exception:
                logger.exception("The id of the user could not be read")
        return fields


class _Site(DockerflowMiddleware):
    """One app with its settings: the WSGI driver around it, and the hooks inside."""

    def __init__(self, extension: Dockerflow, app: Flask) -> None:
        self.extension = extension
        self.flask = app
        self.process_response: Callable[..., Any] = app.process_response
        self._tears_down = False
        self._picker = Picker()
        self._live = LiveCore(self._read_settings, self._make_core)
        self._set_up(app.wsgi_app, self._live.get())

    def core(self) -> Core:
        """Return the core for the app's settings as they are now."""
        core = self._live.get()
        if core is not self._core:
            self._set_up(self.app, core)
        return core

    def _read_settings(self) -> dict[str, Any]:
        extension = self.extension
        settings = self._picker.pick(self.flask.config)
        # Not settings of the app, but what may change as they may.
        settings["version_path"] = extension.given_version_path
        settings["silenced_checks"] = tuple(extension.silenced_checks)
        return settings

    def _make_core(self, settings: Mapping[str, Any]) -> Core:
        given = {name: settings[name] for name in ("version_path", "silenced_checks")}
        config = Config.from_settings(
            settings,
            defaults={"version_path": _default_version_path(self.flask)},
            **{name: value for name, value in given.items() if value},
        )
        return Core(config, self.extension.registry)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        self.core()
        return super().__call__(environ, start_response)

    def _endpoint(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        core = self._core
        endpoint = core.paths.get(_decode(environ.get("PATH_INFO", "")))
        if endpoint is None or endpoint == "error":
            # It raises within the app, so that its error handling shows what it does.
            return self.app(environ, start_response)
        exchange: Exchange = environ[EXCHANGE]
        exchange.logger = self.extension.summary_logger
        if endpoint == "lbheartbeat":
            response = core.respond(endpoint, environ["REQUEST_METHOD"], None)
        else:
            context = self.flask.request_context(environ)
            # A session may be loaded from the very service that a check is to report.
            name = "_session" if hasattr(context, "_session") else "session"
            setattr(context, name, self.flask.session_interface.make_null_session(self.flask))
            with context:
                response = self.respond(endpoint, environ["REQUEST_METHOD"])
        exchange.finished = time.monotonic()
        return send_response(response, start_response)

    def respond(self, endpoint: Endpoint, method: str) -> CoreResponse:
        """Return the answer of an endpoint, within the app's context."""
        core = self._core
        results = None
        version: object = VERSION_FILE
        if core.needs_checks(endpoint, method):
            token = surroundings.set(self.flask.app_context)
            try:
                results = core.registry.run(core.config)
            finally:
                surroundings.reset(token)
            signal = heartbeat_failed if is_failure(results) else heartbeat_passed
            try:
                signal.send(self.extension, level=results.level)
            except Exception:
                logger.exception("A receiver of a heartbeat's signal failed")
        elif endpoint == "version" and (callback := self.extension.get_version):
            try:
                version = callback(str(core.config.version_path))
            except Exception as error:  # noqa: BLE001 - the core logs and answers it
                version = error
        return core.respond(
            endpoint,
            method,
            results,
            accept=request.headers.get("Accept", ""),
            debug=self.flask.debug,
            version=version,
        )

    def make_blueprint(self) -> Blueprint:
        """Make the routes, for ``url_for`` and for apps whose ``wsgi_app`` was replaced."""
        blueprint = Blueprint("dockerflow", __name__, url_prefix=self._core.config.path_prefix)
        endpoints: tuple[Endpoint, ...] = (*ENDPOINTS, "error")
        for endpoint in endpoints:
            blueprint.add_url_rule(
                f"/__{endpoint}__",
                endpoint,
                self._make_view(endpoint),
                strict_slashes=False,
                merge_slashes=False,
            )
        return blueprint

    def _make_view(self, endpoint: Endpoint) -> Callable[[], Response]:
        def view() -> Response:
            core = self.core()
            if endpoint not in core.paths.values():
                abort(404)
            response = self.respond(endpoint, request.method)
            return Response(response.body, response.status, list(response.headers))

        return view

    def exchange(self, served: Request) -> Exchange:
        """Return what is known of a request; that of the driver, or of our hooks alone."""
        environ = served.environ
        exchange: Exchange | None = environ.get(EXCHANGE)
        if exchange is None:
            exchange = environ[EXCHANGE] = Exchange(self._core, self._request(environ))
            environ[_OWN] = exchange
            exchange.source = environ
            exchange.peer = environ.get("REMOTE_ADDR", "")
            if not self._tears_down:
                self._tears_down = True
                self.flask.teardown_request_funcs.setdefault(None, []).insert(0, _teardown)
        if served.url_rule is not None:
            exchange.route = served.url_rule.rule
        exchange.logger = self.extension.summary_logger
        return exchange

    def begin(self, *_: Any) -> None:
        """Set the request's id, where the app looks for it."""
        try:
            # What stands for them is looked up anew at each use.
            served, space = _real(request), _real(g)
            if EXCHANGE in served.environ:
                exchange = self.exchange(served)
            else:
                self.core()
                exchange = self.exchange(served)
                exchange.enter()
            # A g that came from outside of the request may have the id of the one before.
            given = space.get("request_id")
            if given is None or given == space.get("_request_id"):
                space.request_id = exchange.rid
            space._request_id = exchange.rid  # noqa: SLF001 - the name that apps know
            space._start_timestamp = time.time()  # noqa: SLF001
        except Exception:
            logger.exception("The request's id could not be set")

    def end(self, *args: Any) -> Any:
        """Make the response as the app does, and take what the summary is to say."""
        response = self.process_response(*args)
        # While the request's context is there.
        try:
            served = _real(request)
            exchange = self.exchange(served)
            # Another hook may have failed, and this be the answer to that.
            exchange.finished = time.monotonic() if _is_whole(response) else 0.0
            self._collect(exchange)
            if served.environ.get(_OWN) is exchange:
                exchange.status = response.status_code
                name, value = exchange.id_header
                response.headers.setdefault(name, value)
                if exchange.finished:
                    exchange.end()
                else:
                    response.call_on_close(exchange.end)
        except Exception:
            logger.exception("The summary of a request could not be completed")
        return response

    def got_request_exception(self, _: Flask, exception: BaseException, **__: Any) -> None:
        """Take what no error handler of the app's own caught."""
        try:
            exchange = self.exchange(_real(request))
            exchange.handled = exception
            self._collect(exchange)
            if request.environ.get(_OWN) is exchange and self._propagates():
                exchange.end(exception)
        except Exception:
            logger.exception("The summary of a request could not be completed")

    def _propagates(self) -> bool:
        propagates = cast("bool | None", self.flask.config["PROPAGATE_EXCEPTIONS"])
        return self.flask.testing or self.flask.debug if propagates is None else propagates

    def _collect(self, exchange: Exchange) -> None:
        """Take the user's id, and what the extension makes of the summary's fields."""
        extension = self.extension
        if _is_own(extension.summary_extra, Dockerflow.summary_extra):
            uid = "" if "uid" in exchange.extra else self._user_id()
        else:
            own = Dockerflow.summary_extra(extension)
            given = extension.summary_extra()
            exchange.change(own, given)
            uid = own["uid"] if "uid" in given else ""
        if uid:
            exchange.extra.setdefault("uid", uid)

    def _user_id(self) -> str:
        extension = self.extension
        # Most apps have no users, or not by Flask-Login.
        if not hasattr(self.flask, "login_manager") and _is_own(
            extension.user_id, Dockerflow.user_id
        ):
            return ""
        try:
            return extension.user_id() or ""
        except Exception:
            logger.exception("The id of the user could not be read")
            return ""


def _teardown(_: BaseException | None) -> None:
    """Undo what :meth:`_Site.begin` did where the driver isn't."""
    exchange = request.environ.get(_OWN)
    if exchange is not None:
        exchange.leave()


def _is_own(method: Callable[..., Any], function: Callable[..., Any]) -> bool:
    """Whether a method is the one of the class, and not one that the app has put there."""
    return getattr(method, "__func__", None) is function


def _real(proxy: Any) -> Any:
    """Return what one of Flask's proxies stands for now."""
    return proxy._get_current_object()  # noqa: SLF001 - a public method of Werkzeug's


def _current_exchange(extension: Dockerflow) -> Exchange:
    site: _Site | None = current_app.extensions.get(_SITE)
    if site is None or site.extension is not extension:
        message = "This app has no Dockerflow of this extension: call init_app(app)"
        raise RuntimeError(message)
    return site.exchange(_real(request))


def _is_whole(response: Response) -> bool:
    """Whether the whole body is known; so is that of an error page, which looks streamed."""
    return not response.is_streamed or (
        isinstance(response.response, ClosingIterator)
        and not response.direct_passthrough
        and "Content-Length" in response.headers
    )


def _default_version_path(app: Flask) -> str:
    root = Path(app.root_path)
    # The root of an app that is a single module is itself the folder that has version.json.
    if not resolve(root.parent).exists() and resolve(root).exists():
        return str(root)
    return str(root.parent)
