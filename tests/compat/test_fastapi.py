"""What existing FastAPI apps import."""

import inspect

import pytest

pytest.importorskip("fastapi")


def test_names():
    from dockerflow.fastapi import router, views
    from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware

    assert router.routes
    assert callable(views.get_version)
    assert callable(views.heartbeat)
    parameters = inspect.signature(MozlogRequestSummaryLogger).parameters
    assert list(parameters) == ["app", "logger"]
    assert list(inspect.signature(RequestIdMiddleware).parameters) == ["app"]
