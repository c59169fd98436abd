"""What the app does, whichever framework does it: FRAMEWORK says which."""

import json
import os
from importlib import import_module

import pytest

from dockerflow import testing


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    """Return a client of the app, which has an empty database."""
    os.environ["DATABASE_URL"] = f"sqlite:///{tmp_path_factory.mktemp('links')}/links.sqlite3"
    os.environ.pop("REDIS_URL", None)
    from links import assets, settings
    from links.__main__ import APPS, migrate

    if not assets.is_built():
        assets.build()
    migrate(settings.get_settings())
    module, _, name = APPS[settings.get_settings().framework].partition(":")
    with testing.Client(getattr(import_module(module), name)) as client:
        yield client


def shorten(client, url):
    body = json.dumps({"url": url}).encode()
    headers = {"content-type": "application/json"}
    return client.request("POST", "/api/links", headers, body=body)


def test_a_link_leads_where_it_should(client):
    made = shorten(client, "https://example.org/a?b=c")
    assert made.status == 201
    followed = client.get(f"/{made.json()['code']}")
    assert followed.status == 302
    assert followed.all("location") == ["https://example.org/a?b=c"]
    assert made.json()["url"] in [link["url"] for link in client.get("/api/links").json()]


def test_what_is_no_url_is_refused(client):
    refused = shorten(client, "javascript:alert(1)")
    assert refused.status == 422
    assert refused.json()["error"].startswith("url: must be complete")


def test_unknown_links_are_not_found(client):
    assert client.get("/0000000").status == 404


def test_it_is_well(client):
    assert client.get("/__lbheartbeat__").status == 200
    heartbeat = client.get("/__heartbeat__")
    assert heartbeat.status == 200
    assert heartbeat.json()["checks"] == {"database": "ok", "migrations": "ok"}
