"""The pytest plugin: the fixture ``dockerflow_app``.

Every test suite with this package installed loads it, so it imports nothing but pytest.
"""

from __future__ import annotations

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
    """Run no test where another distribution's files are in the place of this package's.

    :raises pytest.UsageError: then.
    """
    try:
        # To be told in one line.
        from dockerflow._core import conflict as _beside  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture
def dockerflow_target(request: pytest.FixtureRequest) -> Any:
    """Return the application to check: override it, or set ``dockerflow_app`` in the ini file."""
    from dockerflow.verify.inprocess import load  # noqa: PLC0415 - needs the cli extra

    name = str(request.config.getini(OPTION))
    if not name:
        message = (
            "Which application is it? Set dockerflow_app = module:app in pytest's configuration, "
            "or override the fixture dockerflow_target to return it."
        )
        raise pytest.UsageError(message)
    try:
        return load(name)
    except (ImportError, ValueError) as error:
        raise pytest.UsageError(f"{OPTION} = {name}: {error}") from error


@pytest.fixture
def dockerflow_app(dockerflow_target: Any) -> DockerflowApp:
    """Return a client for the application, which ``verify()`` checks against Dockerflow."""
    from dockerflow.verify.inprocess import DockerflowApp  # noqa: PLC0415 - needs the cli extra

    return DockerflowApp(dockerflow_target)
