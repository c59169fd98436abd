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

from dockerflow._core.app import VERSION_FILE, Core
from dockerflow._core.endpoints import ENDPOINTS, Endpoint, path_of
from dockerflow._core.exchange import EXCHANGE, Exchange, summary_logger
from dockerflow._core.extension import RegistersChecks
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import Response as CoreResponse
from dockerflow._core.settings import Reloading, present
from dockerflow.checks.registry import Registry, default_registry
from dockerflow.checks.runner import CheckResults, is_failure
from dockerflow.config import Config
from dockerflow.flask.checks import (
    check_database_connected,
    check_migrations_applied,
    check_redis_connected,
)
from dockerflow.flask.signals import heartbeat_failed, heartbeat_passed
from dockerflow.version import resolve
from dockerflow.wsgi import DockerflowMiddleware, make_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger: logging.Logger = logging.getLogger("dockerflow.flask")
_beginning: Final = Guarded(logger, "The request's id could not be set")
_ending: Final = Guarded(logger, "The summary of a request could not be completed")

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

    def __init__(  # noqa: PLR0917 - the arguments that apps pass by position
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
        fields["uid"] = fields.get("uid") or _user_id(self)
        return fields


class _Site(DockerflowMiddleware):
    """One app with its settings: the WSGI driver around it, and the hooks inside."""

    def __init__(self, extension: Dockerflow, app: Flask) -> None:
        self.extension = extension
        self.flask = app
        self.process_response: Callable[..., Any] = app.process_response
        self._tears_down = False
        self._reloading = Reloading(self._read_settings, self._make_core)
        self._set_up(app.wsgi_app, self._reloading.get())

    def core(self) -> Core:
        """Return the core for the app's settings as they are now."""
        core = self._reloading.get()
        if core is not self._core:
            self._set_up(self.app, core)
        return core

    def _read_settings(self) -> dict[str, Any]:
        extension = self.extension
        return {
            **present(self.flask.config),
            # These may change as the app's settings may.
            "version_path": extension.given_version_path,
            "silenced_checks": tuple(extension.silenced_checks),
        }

    def _make_core(self, settings: Mapping[str, Any]) -> Core:
        given = {name: settings[name] for name in ("version_path", "silenced_checks")}
        config = Config.from_settings(
            settings,
            defaults={"version_path": _default_version_path(self.flask)},
            **{name: value for name, value in given.items() if value},
        )
        return Core(config, self.extension.registry, check_context=self.flask.app_context)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        self.core()
        return super().__call__(environ, start_response)

    def _serve(
        self, endpoint: Endpoint | None, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        # It raises within the app, whose error handling then shows what it does.
        return super()._serve(None if endpoint == "error" else endpoint, environ, start_response)

    def _answer(self, endpoint: Endpoint, environ: WSGIEnvironment) -> CoreResponse:
        exchange: Exchange = environ[EXCHANGE]
        exchange.logger = self.extension.summary_logger
        if endpoint == "lbheartbeat":
            return self._core.answer(endpoint, exchange.request)
        context = self.flask.request_context(environ)
        # A session may be loaded from the very service that a check is to report.
        name = "_session" if hasattr(context, "_session") else "session"
        setattr(context, name, self.flask.session_interface.make_null_session(self.flask))
        with context:
            response = self.respond(endpoint, exchange)
        exchange.finished = time.monotonic()
        return response

    def respond(self, endpoint: Endpoint, exchange: Exchange) -> CoreResponse:
        """Return the response of an endpoint, within the app's context."""
        return self._core.answer(
            endpoint,
            exchange.request,
            debug=self.flask.debug,
            version=self._version,
            on_results=self._send_signal,
        )

    def _version(self) -> object:
        callback = self.extension.get_version
        return VERSION_FILE if callback is None else callback(str(self._core.config.version_path))

    def _send_signal(self, results: CheckResults) -> None:
        signal = heartbeat_failed if is_failure(results) else heartbeat_passed
        with Guarded(logger, "A receiver of a heartbeat's signal failed"):
            signal.send(self.extension, level=results.level)

    def make_blueprint(self) -> Blueprint:
        """Make the routes, for ``url_for`` and for apps whose ``wsgi_app`` was replaced."""
        blueprint = Blueprint("dockerflow", __name__, url_prefix=self._core.config.path_prefix)
        endpoints: tuple[Endpoint, ...] = (*ENDPOINTS, "error")
        for endpoint in endpoints:
            blueprint.add_url_rule(
                path_of(endpoint),
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
            response = self.respond(endpoint, self.exchange(_real(request)))
            return Response(response.body, response.status, list(response.headers))

        return view

    def exchange(self, served: Request) -> Exchange:
        """Return the exchange of a request: the driver's, or one of our hooks alone."""
        environ = served.environ
        exchange: Exchange | None = environ.get(EXCHANGE)
        if exchange is None:
            settings = self._core.settings
            exchange = Exchange(settings, make_request(environ, settings))
            environ[EXCHANGE] = environ[_OWN] = exchange
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
        with _beginning:
            # What stands for them is looked up at each use.
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
            space._request_id = exchange.rid  # noqa: SLF001 - the names that apps know
            space._start_timestamp = time.time()  # noqa: SLF001

    def end(self, *args: Any) -> Any:
        """Make the response as the app does, and complete the summary."""
        response = self.process_response(*args)
        # While the request's context is there.
        with _ending:
            served = _real(request)
            exchange = self.exchange(served)
            # Another hook may have failed, and this be the response to that.
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
        return response

    def got_request_exception(self, _: Flask, exception: BaseException, **__: Any) -> None:
        """Remember an exception that no error handler of the app caught."""
        with _ending:
            exchange = self.exchange(_real(request))
            exchange.handled = exception
            self._collect(exchange)
            if request.environ.get(_OWN) is exchange and self._propagates():
                exchange.end(exception)

    def _propagates(self) -> bool:
        propagates = cast("bool | None", self.flask.config["PROPAGATE_EXCEPTIONS"])
        return self.flask.testing or self.flask.debug if propagates is None else propagates

    def _collect(self, exchange: Exchange) -> None:
        """Take the user's id, and the fields as the extension changes them."""
        extension = self.extension
        if _is_own(extension.summary_extra, Dockerflow.summary_extra):
            uid = "" if "uid" in exchange.extra else _user_id(extension)
        else:
            own = Dockerflow.summary_extra(extension)
            given = extension.summary_extra()
            exchange.change(own, given)
            uid = own["uid"] if "uid" in given else ""
        if uid:
            exchange.extra.setdefault("uid", uid)


def _user_id(extension: Dockerflow) -> str:
    """Return the user's id, empty if there is none."""
    with Guarded(logger, "The id of the user could not be read"):
        return extension.user_id() or ""
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
