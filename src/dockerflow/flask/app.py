"""The Flask extension."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from flask import (
    Flask,
    Request,
    Response,
    current_app,
    got_request_exception,
    has_request_context,
    request,
)
from werkzeug.exceptions import InternalServerError

from dockerflow._core.endpoints import ENDPOINTS, Endpoint
from dockerflow._core.exchange import Exchange
from dockerflow._core.extension import ALREADY_ADDED, Extension, is_overridden
from dockerflow._core.guard import Guarded
from dockerflow.checks.registry import Registry
from dockerflow.flask._site import Site, default_version_path, real
from dockerflow.flask.checks import (
    check_database_connected,
    check_migrations_applied,
    check_redis_connected,
)

logger: logging.Logger = logging.getLogger("dockerflow.flask")

_SITE: Final = "dockerflow.site"


class HeartbeatFailure(InternalServerError):  # noqa: N818 - the name that apps know
    """Never raised; for apps that handle python-dockerflow's exception."""


def extract_request_id(request: Request) -> None:
    """Set the request's ID where apps look for it; the hook of each request."""
    _site().begin(request)


def _site() -> Site:
    site: Site = real(current_app).extensions[_SITE]
    return site


class Dockerflow(Extension):
    """Dockerflow's endpoints, request IDs and summaries for one Flask app, or for several.

    :param app: the app; without one, call :meth:`init_app` later.
    :param db: Flask-SQLAlchemy's extension: registers ``check_database_connected``.
    :param redis: a client of redis-py: registers ``check_redis_connected``.
    :param migrate: Flask-Migrate's extension: registers ``check_migrations_applied``.
    :param silenced_checks: IDs of check messages to leave out.
    :param version_path: the folder of version.json, or the file; by default the parent of the
        app's root path, or that path itself where only it has the file when the app is set up.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.

    Subclasses may override :meth:`summary_extra` and :meth:`user_id`, and, as python-dockerflow's,
    the hooks and views whose names begin with an underscore.

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
        super().__init__(silenced_checks, registry, logger)
        self.given_version_path = version_path
        self._default_version_path: str | None = None
        for check, obj in (
            (check_database_connected, db),
            (check_redis_connected, redis),
            (check_migrations_applied, migrate),
        ):
            if obj is not None:
                self.registry.register_partial(check, obj)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add Dockerflow to an app, which must not have served a request yet.

        :raises ConfigError: when a ``DOCKERFLOW_*`` setting of the app is wrong.
        :raises ValueError: when the app already has Dockerflow.
        """
        if _SITE in app.extensions:
            raise ValueError(ALREADY_ADDED)
        self._default_version_path = default_version_path(app)
        views: list[Endpoint] = [
            name for name in ENDPOINTS if is_overridden(self, f"_{name}_view", Dockerflow)
        ]
        site = Site(self, app, self._collect, views)
        app.extensions["dockerflow"] = self
        app.extensions[_SITE] = site
        self._blueprint = site.make_blueprint(self._view)
        app.register_blueprint(self._blueprint)
        process_response: Any = app.process_response
        is_own = is_overridden(self, "_after_request", Dockerflow)
        after_request = self._after_request if is_own else site.end  # without a search for the site

        def begin(*_: Any) -> None:
            self._before_request()

        def end(*args: Any) -> Any:
            return after_request(process_response(*args))

        # First to begin and last to end: every other hook has the ID, and the response is the one
        # that goes out. Flask doesn't test these hooks for being coroutine functions at each
        # request, which takes longer than the hooks themselves.
        app.url_value_preprocessors.setdefault(None, []).insert(0, begin)
        app.process_response = end  # type: ignore[assignment, method-assign]
        got_request_exception.connect(self._got_request_exception, app)
        app.wsgi_app = site  # type: ignore[method-assign]

    def _before_request(self) -> None:
        extract_request_id(real(request))

    def _after_request(self, response: Response) -> Response:
        return _site().end(response)

    def _got_request_exception(
        self,
        sender: Flask,  # noqa: ARG002 - what the signal passes
        exception: BaseException,
        **extra: Any,  # noqa: ARG002
    ) -> None:
        _site().fail(exception)

    def _view(self, endpoint: Endpoint) -> Any:
        return getattr(self, f"_{endpoint}_view")()

    def _version_view(self) -> Response:
        return _site().view("version")

    def _heartbeat_view(self) -> Response:
        return _site().view("heartbeat")

    def _lbheartbeat_view(self) -> Response:
        return _site().view("lbheartbeat")

    def _error_view(self) -> Response:
        return _site().view("error")

    @property
    def version_path(self) -> str | None:
        """Where version.json is looked for: what was given, else by the app's root path."""
        given = self.given_version_path
        return self._default_version_path if given is None else str(given)

    @version_path.setter
    def version_path(self, path: str | Path | None) -> None:
        self.given_version_path = path

    def user_id(self) -> str | int | None:
        """Return the ID of Flask-Login's user, and ``None`` when nobody is logged in."""
        if not has_request_context() or not hasattr(real(current_app), "login_manager"):
            return None
        # Only where the app uses it; and it has no types.
        user: Any = import_module("flask_login").current_user
        is_authenticated = getattr(user, "is_authenticated", False)
        if callable(is_authenticated):
            is_authenticated = is_authenticated()
        user_id = user.get_id() if is_authenticated else None
        return None if user_id == "None" else user_id  # the ID of a user that isn't stored yet

    def summary_extra(self) -> dict[str, Any]:
        """Return the fields of the request's summary, as far as they are known.

        The summary has them as a subclass returns them; only ``code`` and ``t`` are always the real
        ones.
        """
        site: Site | None = current_app.extensions.get(_SITE)
        if site is None or site.extension is not self:
            message = "This extension isn't initialized for this app: call init_app(app)"
            raise RuntimeError(message)
        exchange = site.exchange(real(request))
        fields = exchange.fields()
        if "uid" not in exchange.extra:
            fields["uid"] = self._safe_user_id()
        return fields

    def _collect(self, exchange: Exchange) -> None:
        """Take the user's ID, and the fields as a subclass changes them."""
        if "uid" not in exchange.extra and (uid := self._safe_user_id()) != "":
            exchange.extra["uid"] = uid
        if is_overridden(self, "summary_extra", Dockerflow):
            own = Dockerflow.summary_extra(self)
            exchange.change(own, self.summary_extra())

    def _safe_user_id(self) -> object:
        with Guarded(self.logger, "The user's ID could not be read"):
            uid = self.user_id()
            return "" if uid is None else uid
        return ""
