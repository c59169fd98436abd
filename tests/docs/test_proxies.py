"""What docs/proxies.md configures, with nginx and HAProxy in front of an application."""

from __future__ import annotations

import contextlib

import httpx2
import pages
import pytest
import services
from services import proxies

from dockerflow.checks import Error, Registry
from dockerflow.config import Config
from dockerflow.logging import get_request_id
from dockerflow.wsgi import DockerflowMiddleware

BLOCKS = [
    block
    for block in pages.blocks(pages.DOCS / "proxies.md")
    if block.language == "nginx" or "backend app" in block.text
]
CLIENTS_ID, OWN_ID, ERROR_PAGES, SUB_PATH, UNIX_SOCKET, HAPROXY = [block.text for block in BLOCKS]


class App:
    """An application whose heartbeat fails on demand, and that responds with its request ID."""

    def __init__(self, name: str = "", **settings: object) -> None:
        registry = Registry()
        registry.register(self.check, name="it")
        self.name = name
        self.fails = False
        self.served = DockerflowMiddleware(self.page, config=Config(**settings), registry=registry)

    def check(self):
        return Error("Broken.", id="app.E001") if self.fails else None

    def page(self, environ, start_response):
        status = "500 Oh" if environ["PATH_INFO"] == "/broken" else "200 OK"
        start_response(status, [("Content-Type", "text/plain")])
        return [f"{self.name} {get_request_id()}".encode()]


@pytest.fixture
def app():
    return App()


@pytest.fixture
def behind_nginx(app, tmp_path):
    """Return a function that gives a client of nginx with a configuration, in front of the app."""
    with contextlib.ExitStack() as stack:

        def start(text, **replacements):
            port = stack.enter_context(proxies.serve(app.served))
            server = {"127.0.0.1:8000": f"127.0.0.1:{port}"}
            url = stack.enter_context(proxies.nginx(text, tmp_path, **server, **replacements))
            return stack.enter_context(httpx2.Client(base_url=url, trust_env=False))

        yield start


def test_the_clients_id_is_in_both_logs(behind_nginx, tmp_path):
    client = behind_nginx(CLIENTS_ID)
    response = client.get("/page", headers={"X-Request-ID": "abc"})
    assert response.text == " abc"
    assert response.headers.get_list("x-request-id") == ["abc"]
    made = client.get("/page").headers["x-request-id"]
    log = tmp_path / "access.log"
    services.wait_for(lambda: log.read_text().count("\n") == 2, "two lines")
    ids = [line.split()[-1] for line in log.read_text().splitlines()]
    assert ids == ["abc", made]


def test_nginx_sets_the_id(behind_nginx):
    client = behind_nginx(OWN_ID)
    response = client.get("/page", headers={"X-Request-ID": "abc"})
    [sent] = response.headers.get_list("x-request-id")
    assert len(sent) == 32
    assert response.text == f" {sent}"


def test_the_heartbeats_json_is_not_replaced(behind_nginx, app, tmp_path):
    (tmp_path / "error.html").write_text("nginx's own")
    tmp_path.chmod(0o755)
    client = behind_nginx(ERROR_PAGES, **{"/srv/www": str(tmp_path)})
    app.fails = True
    response = client.get("/__heartbeat__")
    assert (response.status_code, response.json()["checks"]) == (500, {"it": "error"})
    assert client.get("/broken").text == "nginx's own"


def test_a_prefix_that_the_proxy_removes(behind_nginx):
    client = behind_nginx(SUB_PATH)
    assert client.get("/shop/__heartbeat__").json()["status"] == "ok"
    assert client.get("/__heartbeat__").status_code == 404


def test_a_prefix_that_the_app_knows(tmp_path):
    app = App(path_prefix="/shop")
    text = SUB_PATH.replace("http://app/;", "http://app;")
    assert text != SUB_PATH
    with proxies.serve(app.served) as port:
        server = {"127.0.0.1:8000": f"127.0.0.1:{port}"}
        with proxies.nginx(text, tmp_path, **server) as url:
            response = httpx2.get(f"{url}/shop/__heartbeat__", trust_env=False)
    assert response.json()["status"] == "ok"


def test_a_unix_socket(app, tmp_path):
    path = tmp_path / "app.sock"
    with (
        proxies.serve(app.served, path),
        proxies.nginx(UNIX_SOCKET, tmp_path, **{"/run/app.sock": str(path)}) as url,
    ):
        assert httpx2.get(f"{url}/__heartbeat__", trust_env=False).json()["status"] == "ok"


def test_haproxy_takes_an_instance_out_of_rotation(tmp_path):
    one, two = App("one"), App("two")
    with proxies.serve(one.served) as first, proxies.serve(two.served) as second:
        replacements = {
            "127.0.0.1:8000": f"127.0.0.1:{first}",
            "127.0.0.1:8001": f"127.0.0.1:{second}",
            "inter 2s": "inter 200ms",
        }
        with (
            proxies.haproxy(HAPROXY, tmp_path, **replacements) as url,
            httpx2.Client(base_url=url, trust_env=False) as client,
        ):

            def serving():
                return {client.get("/").text.split()[0] for _ in range(8)}

            assert serving() == {"one", "two"}
            one.fails = True
            services.wait_for(lambda: serving() == {"two"}, "one is taken out")
            one.fails = False
            services.wait_for(lambda: serving() == {"one", "two"}, "one is back")
