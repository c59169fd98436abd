"""Dockerflow around one Flask app: the driver, the hooks and the routes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from flask import Blueprint, Flask, Request, Response, abort, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import ClosingIterator

from dockerflow import sentry
from dockerflow._core.app import Core
from dockerflow._core.endpoints import ALL_ENDPOINTS, Endpoint, group_of, paths
from dockerflow._core.exchange import EXCHANGE, Exchange
from dockerflow._core.extension import make_config, read_settings, version_of
from dockerflow._core.guard import Guarded
from dockerflow._core.messages import EXPOSE
from dockerflow._core.messages import Response as CoreResponse
from dockerflow._core.request_id import get_request_id
from dockerflow._core.settings import Reloading, warn_of_unknown
from dockerflow.checks.runner import CheckResults, is_failure
from dockerflow.flask.signals import heartbeat_failed, heartbeat_passed
from dockerflow.version import resolve
from dockerflow.wsgi import DockerflowMiddleware, make_request, peer_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from dockerflow.flask.app import Dockerflow

_OWN: Final = "dockerflow.flask.own"
"""The environ key of an exchange that the hooks created, without the driver."""


class Site(DockerflowMiddleware):
    """One app with its settings: the WSGI driver around it, and the hooks inside.

    :param collect: completes a summary's fields; called within the request's context.
    :param views: the endpoints whose views a subclass overrides; these are served by their routes.
    """

    def __init__(
        self,
        extension: Dockerflow,
        app: Flask,
        collect: Callable[[Exchange], None],
        views: Collection[Endpoint],
    ) -> None:
        self.extension = extension
        self.flask = app
        self._collect = collect
        # /__error__ raises in its route, within the app's error handling.
        self._in_routes: frozenset[Endpoint] = frozenset({*views, "error"})
        self._routes: dict[Endpoint, Callable[[], Any]] = {}
        self._groups: frozenset[str] = frozenset()
        """Those that have routes."""
        self._tears_down = False
        warn_of_unknown(app.config, "app.config")
        self._reloading = Reloading(self._read_settings, self._make_core)
        core = self._reloading.get()
        self._set_up(app.wsgi_app, core)
        # The app may have routes of its own at these paths, which come first.
        taken = core.paths.keys() & {rule.rule for rule in app.url_map.iter_rules()}
        self._in_routes = self._in_routes.union(core.paths[path] for path in taken)

    def core(self) -> Core:
        """Return the core for the app's current settings."""
        core = self._reloading.get()
        if core is not self._core:
            self._set_up(self.app, core)
        return core

    def _read_settings(self) -> dict[str, Any]:
        extension = self.extension
        return read_settings(extension, self.flask.config, extension.given_version_path)

    def _make_core(self, settings: Mapping[str, Any]) -> Core:
        config = make_config(settings, default_version_path(self.flask))
        return Core(config, self.extension.registry, check_context=self._check_context)

    @contextmanager
    def _check_context(self) -> Generator[None]:
        """Run a check in an app context, with the request ID where apps look for it."""
        with self.flask.app_context():
            g.request_id = g._request_id = get_request_id()  # noqa: SLF001
            yield

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        self.core()
        return super().__call__(environ, start_response)

    def _serve(
        self, endpoint: Endpoint | None, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if endpoint is not None and not self._is_own(endpoint):
            endpoint = None
        return super()._serve(endpoint, environ, start_response)

    def _is_own(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is served here: the app may have replaced its view in Flask."""
        view = self.flask.view_functions.get(f"dockerflow.{endpoint}")
        return endpoint not in self._in_routes and view is self._routes.get(endpoint)

    def _answer(self, endpoint: Endpoint, environ: WSGIEnvironment) -> CoreResponse:
        exchange: Exchange = environ[EXCHANGE]
        exchange.logger = self.extension.summary_logger
        if endpoint == "lbheartbeat":
            response = self._core.answer(endpoint, exchange.request)
        else:
            context = self.flask.request_context(environ)
            # Loading the session may need the very service whose failure a check should report.
            name = "_session" if hasattr(context, "_session") else "session"
            setattr(context, name, self.flask.session_interface.make_null_session(self.flask))
            with context:
                response = self.respond(endpoint, environ)
                # The summary is logged in this context, which the app's log filters may use.
                exchange.begin_response(response.status)
        # The whole body is known, so the summary needn't wait for the client.
        exchange.finished = time.monotonic()
        return response

    def respond(self, endpoint: Endpoint, environ: WSGIEnvironment) -> CoreResponse:
        """Return the response of an endpoint, within the app's context."""
        return self._core.answer(
            endpoint,
            make_request(environ, self._core.settings),
            debug=self.flask.debug,
            version=version_of(self.extension, self._core),
            on_results=self._send_signal,
            error_logger=self.extension.logger,
        )

    def _send_signal(self, results: CheckResults) -> None:
        signal = heartbeat_failed if is_failure(results) else heartbeat_passed
        with Guarded(self.extension.logger, "A receiver of a heartbeat's signal failed"):
            signal.send(self.extension, level=results.level)

    def make_blueprint(self, view: Callable[[Endpoint], Any]) -> Blueprint:
        """Create the routes, for ``url_for`` and for apps whose ``wsgi_app`` was replaced.

        :param view: returns the response of an endpoint.
        """
        blueprint = Blueprint("dockerflow", __name__, url_prefix=self._core.config.path_prefix)
        for endpoint in ALL_ENDPOINTS:
            self._routes[endpoint] = partial(self._route, endpoint, view)
        self._groups = frozenset(self._core.config.heartbeat_groups)
        # url_for() returns an endpoint's first path, which isn't that of a group.
        for path, endpoint in paths(error_endpoint=True, groups=self._groups).items():
            if not path.endswith("/"):
                blueprint.add_url_rule(
                    path,
                    endpoint,
                    self._routes[endpoint],
                    strict_slashes=False,
                    merge_slashes=False,
                )
        return blueprint

    def _route(self, endpoint: Endpoint, view: Callable[[Endpoint], Any]) -> Any:
        core, group = self.core(), group_of(request.path)
        # The settings may have changed since the route was made.
        is_gone = group in self._groups and group not in core.config.heartbeat_groups
        return abort(404) if is_gone or endpoint not in core.paths.values() else view(endpoint)

    def view(self, endpoint: Endpoint) -> Response:
        """Return the response of an endpoint as a Flask response."""
        self.core()
        served = real(request)
        self.exchange(served)
        response = self.respond(endpoint, served.environ)
        return Response(response.body, response.status, list(response.headers))

    def exchange(self, served: Request) -> Exchange:
        """Return a request's exchange: the driver's, or the hooks' own if there is none."""
        environ = served.environ
        exchange: Exchange | None = environ.get(EXCHANGE)
        if exchange is None:
            settings = self._core.settings
            exchange = Exchange(
                settings,
                make_request(environ, settings),
                self._core.paths.get(served.path),
                source=environ,
                peer=peer_of(environ),
            )
            environ[EXCHANGE] = environ[_OWN] = exchange
            if not self._tears_down:
                self._tears_down = True
                self.flask.teardown_request_funcs.setdefault(None, []).insert(0, _teardown)
        if served.url_rule is not None:
            exchange.route = served.url_rule.rule
        exchange.logger = self.extension.summary_logger
        return exchange

    def begin(self, served: Request) -> None:
        """Set the request ID where apps look for it."""
        with Guarded(self.extension.logger, "The request ID could not be set"):
            space = real(g)  # the proxy would be resolved at each use
            if EXCHANGE in served.environ:
                exchange = self.exchange(served)
            else:
                self.core()
                exchange = self.exchange(served)
                exchange.enter()
            # If an app context spans several requests, g may have the ID of an earlier one.
            given = space.get("request_id")
            if given is None or given == space.get("_request_id"):
                space.request_id = exchange.rid
            space._request_id = exchange.rid  # noqa: SLF001 - the names that apps know
            space._start_timestamp = exchange.created  # noqa: SLF001

    def end(self, response: Response) -> Response:
        """Complete the summary with the app's response."""
        # Needs the request's context.
        with self._ending():
            served = real(request)
            exchange = self.exchange(served)
            # This may be a second response, made because another hook failed.
            exchange.finished = time.monotonic() if _is_whole(response) else 0.0
            self._collect(exchange)
            if served.environ.get(_OWN) is exchange:
                exchange.begin_response(response.status_code)
                name, value = exchange.id_header
                response.headers.setdefault(name, value)
                if exchange.must_expose_id(response.headers.getlist(EXPOSE)):
                    response.headers.add(EXPOSE, name)
                if exchange.finished:
                    exchange.end()
                else:
                    response.call_on_close(exchange.end)
        return response

    def fail(self, exception: BaseException) -> None:
        """Record an exception that none of the app's error handlers caught."""
        with self._ending():
            exchange = self.exchange(real(request))
            exchange.handled = exception
            sentry.hide_summary(exchange)
            self._collect(exchange)
            if not self._propagates():
                return
            status = self._status_outside(exception)
            if status is not None:
                exchange.status = status
                exchange.end()
            elif request.environ.get(_OWN) is exchange:
                exchange.end(exception)

    def _ending(self) -> Guarded:
        return Guarded(self.extension.logger, "A request summary could not be completed")

    def _propagates(self) -> bool:
        propagates = cast("bool | None", self.flask.config["PROPAGATE_EXCEPTIONS"])
        return self.flask.testing or self.flask.debug if propagates is None else propagates

    def _status_outside(self, exception: BaseException) -> int | None:
        """Return the status of an HTTP exception whose response is created outside Flask."""
        config: dict[str, Any] = self.flask.config
        if not (config["PROPAGATE_EXCEPTIONS"] and config["TRAP_HTTP_EXCEPTIONS"]):
            return None  # these are connexion's settings; in debug mode the response is a 500
        if isinstance(exception, HTTPException):
            return exception.code
        starlette: Any = sys.modules.get("starlette.exceptions")
        if starlette is not None and isinstance(exception, starlette.HTTPException):
            status: int = cast("Any", exception).status_code  # connexion's are subclasses
            return status
        return None


def _teardown(_: BaseException | None) -> None:
    """Undo what :meth:`Site.begin` did when there is no driver."""
    exchange = request.environ.get(_OWN)
    if exchange is not None:
        if exchange.handled is not None and exchange.status is None:
            # The app's hooks failed for the error page, too.
            exchange.end(exchange.handled)
        exchange.leave()


def real(proxy: Any) -> Any:
    """Return the object that one of Flask's proxies stands for."""
    return proxy._get_current_object()  # noqa: SLF001 - a public method of Werkzeug's


def _is_whole(response: Response) -> bool:
    """Whether the whole body is known; an error page's is, although it looks streamed."""
    return not response.is_streamed or (
        isinstance(response.response, ClosingIterator)
        and not response.direct_passthrough
        and "Content-Length" in response.headers
    )


def default_version_path(app: Flask) -> str:
    """Return the parent of the app's root path, or the root path if only it has version.json."""
    root = Path(app.root_path)
    # The root of an app that is a single module is itself the folder that has version.json.
    if not resolve(root.parent).exists() and resolve(root).exists():
        return str(root)
    return str(root.parent)
