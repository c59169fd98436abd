import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("aiosmtpd")
pytest.importorskip("trustme")

import services
import trustme

from dockerflow import health
from dockerflow.checks import contrib

AUTHORITY = trustme.CA()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.fixture(scope="module", params=["starttls", "tls"])
def encrypted(request, certificate):
    server = services.SmtpServer(request.param, str(certificate))
    yield server
    server.close()


def context():
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    return trusting


def check(server, **options):
    return contrib.smtp("127.0.0.1", server.port, **options)()


def login(server):
    return {"user": "app", "password": server.password}


def test_encrypted(encrypted):
    options = {"encryption": encrypted.arguments[0], "context": context(), **login(encrypted)}
    assert check(encrypted, **options) is None
    options["password"] = "another-word"
    message = check(encrypted, **options)
    assert message.id == health.ERROR_CANNOT_CONNECT_SMTP
    assert "another-word" not in f"{message.log_detail} {message.log_error}"


def test_a_certificate_of_an_unknown_authority(encrypted):
    message = check(encrypted, encryption=encrypted.arguments[0])
    assert message.id == health.ERROR_CANNOT_CONNECT_SMTP
    assert "CERTIFICATE_VERIFY_FAILED" in message.log_detail


def test_the_wrong_encryption(smtp_server):
    assert check(smtp_server, encryption="starttls").id == health.ERROR_CANNOT_CONNECT_SMTP
    assert check(smtp_server, encryption="tls", timeout=1).id == health.ERROR_CANNOT_CONNECT_SMTP


def test_without_a_login(smtp_server):
    assert check(smtp_server) is None


def test_nobody_listens():
    message = contrib.smtp("127.0.0.1", services.free_port())()
    assert message.id == health.ERROR_CANNOT_CONNECT_SMTP
    assert "127.0.0.1" not in message.msg


@pytest.mark.parametrize("host", ["nobody.invalid", "a" * 70])
def test_an_unknown_host(host):
    assert contrib.smtp(host)().id == health.ERROR_CANNOT_CONNECT_SMTP


def test_the_server_does_not_respond(smtp_server):
    smtp_server.pause()
    assert check(smtp_server, timeout=0.1).id == health.ERROR_SMTP_TIMED_OUT


def test_another_greeting():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        result = threads.submit(contrib.smtp("127.0.0.1", server.getsockname()[1]))
        client, _ = server.accept()
        with client:
            client.sendall(b"554 No SMTP service here\r\n")
        message = result.result()
    assert message.id == health.ERROR_CANNOT_CONNECT_SMTP
    assert "No SMTP service here" in message.log_detail
