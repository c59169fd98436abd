"""The pytest plugin: the fixture ``dockerflow_app``.

Every test suite with this package installed loads it, so it imports only pytest.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dockerflow.verify.inprocess import DockerflowApp

OPTION = "dockerflow_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option that names the application."""
    parser.addini(
        OPTION, "The ASGI or WSGI application of the fixture dockerflow_app, as module:attribute."
    )


def pytest_configure() -> None:
    """Refuse to run when another distribution has replaced files of this package.

    :raises pytest.UsageError: in that case; the message is one line.
    """
    try:
        from dockerflow._core import conflict  # noqa: F401 # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture
def dockerflow_target(request: pytest.FixtureRequest) -> Any:
    """Return the application to verify: override it, or set ``dockerflow_app`` in the ini file."""
    name = str(request.config.getini(OPTION))
    if not name:
        message = (
            "Which application should be verified? Set dockerflow_app = module:attribute in "
            "pytest's configuration, or override the fixture dockerflow_target to return it."
        )
        raise pytest.UsageError(message)
    if ":" not in name:
        raise pytest.UsageError(f"{OPTION} = {name}: must be module:attribute")
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise pytest.UsageError(f"{OPTION} = {name}: {error}") from error


@pytest.fixture
def dockerflow_app(dockerflow_target: Any) -> DockerflowApp:
    """Return the application with a client, and ``verify()`` to check it against Dockerflow."""
    from dockerflow.verify.inprocess import DockerflowApp  # it needs the extra cli

    return DockerflowApp(dockerflow_target)
