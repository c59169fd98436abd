"""The endpoints as a router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPMethod

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from dockerflow._core.endpoints import ALL_ENDPOINTS, Endpoint, path_of, path_of_group
from dockerflow.asgi import Scope
from dockerflow.checks.registry import Registry
from dockerflow.config import Config
from dockerflow.fastapi import views
from dockerflow.fastapi._settings import CoreByApp

_View = Callable[[Request], Awaitable[Response]]

# For Starlette an empty list means all methods; the core refuses the others.
_ALL: list[str] = []
# Routes of FastAPI's own kind have to name them.
_METHODS = [method.value for method in HTTPMethod]


class _GroupRoute(APIRoute):
    """The heartbeat of a group of checks. Any other path may be one of the application's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE:
            cores: CoreByApp = self.endpoint.dockerflow_cores  # type: ignore[attr-defined]
            groups = cores.get(scope["app"]).config.heartbeat_groups
            if found["path_params"]["group"] not in groups:
                return Match.NONE, {}
        return match, found


def make_router(
    *,
    registry: Registry | None = None,
    config: Config | None = None,
    include_in_schema: bool = True,
) -> APIRouter:
    """Make a router with the endpoints of one application.

    :param registry: the checks of the heartbeat; by default the registry of the process.
    :param config: the settings; by default ``app.state.DOCKERFLOW_*``, then the environment.
        ``path_prefix`` doesn't count here: ``include_router`` has its own ``prefix``.
    :param include_in_schema: whether the endpoints are in the OpenAPI schema.

    .. versionadded:: 0.1.0
    """
    made = APIRouter(include_in_schema=include_in_schema)
    cores = (
        views.default_cores if config is None and registry is None else CoreByApp(config, registry)
    )
    for endpoint in ALL_ENDPOINTS:
        view = _view(cores, endpoint)
        path = path_of(endpoint)
        if endpoint != "error":
            # With HEAD in the schema, too, FastAPI would give both the same operationId.
            made.add_api_route(
                path, view, methods=["GET"], response_class=JSONResponse, name=endpoint
            )
        for each in (path, path + "/"):
            # Only routes of FastAPI's own kind have the dependencies of the app, such as a login.
            made.add_api_route(each, view, methods=["GET", "HEAD"], include_in_schema=False)
            made.add_route(each, view, methods=_ALL, include_in_schema=False)
    for slash in ("", "/"):
        # The settings of an application, and so its groups, aren't known here.
        made.add_api_route(
            path_of_group("{group}") + slash,
            _view(cores, "heartbeat"),
            methods=_METHODS,
            name="heartbeat_group",
            include_in_schema=False,
            route_class_override=_GroupRoute,
        )
    return made


def _view(cores: CoreByApp, endpoint: Endpoint) -> _View:
    async def view(request: Request) -> Response:
        return await views.respond(cores, endpoint, request)

    # FastAPI resolves the annotations, which are strings here, in the function's module.
    view.__name__ = endpoint
    view.dockerflow_cores = cores  # type: ignore[attr-defined]  # for the command line
    return view


router: APIRouter = make_router()
"""The endpoints with the default registry; for another one see :func:`make_router`."""
