import http.server
import threading

import pytest

pytest.importorskip("boto3")

import boto3
import botocore.session
import services
from botocore import UNSIGNED
from botocore.config import Config

from dockerflow import health
from dockerflow.checks import contrib

BUCKETS = {"/good": 200, "/forbidden": 403, "/broken": 500}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(BUCKETS.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def client(endpoint, key="key", **options):
    config = Config(
        connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"}, **options,
    )  # fmt: skip
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id=key,
        aws_secret_access_key=key and "secret", config=config,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bucket", "id_"), [("good", None), ("none", "E032"), ("forbidden", "E033"), ("broken", "E035")]
)
def test_buckets(endpoint, bucket, id_):
    message = contrib.s3(client(endpoint), bucket)()
    assert (message and message.id) == (id_ and f"dockerflow.health.{id_}")


def test_cannot_connect():
    message = contrib.s3(client(f"http://127.0.0.1:{services.free_port()}"), "good")()
    assert message.id == health.ERROR_CANNOT_CONNECT_S3
    assert "127.0.0.1" not in message.msg


def test_no_credentials(endpoint, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    made = boto3.Session(botocore_session=botocore.session.Session()).client(
        "s3", endpoint_url=endpoint, region_name="eu-west-1"
    )
    assert contrib.s3(made, "good")().id == health.ERROR_S3_NO_CREDENTIALS


def test_an_anonymous_client_needs_none(endpoint):
    assert contrib.s3(client(endpoint, key=None, signature_version=UNSIGNED), "good")() is None


def test_a_name_that_can_be_no_bucket(endpoint):
    assert contrib.s3(client(endpoint), "not a bucket!")().id == health.ERROR_S3_EXCEPTION
