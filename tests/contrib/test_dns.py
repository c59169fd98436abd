import pytest

pytest.importorskip("dns")

from dockerflow import health
from dockerflow.checks import contrib


@pytest.mark.parametrize(
    ("name", "record_type", "id_"),
    [
        ("app.test", "A", None),
        ("app.test.", "a", None),
        ("app.test", "MX", health.ERROR_DNS_NO_RECORD),
        ("other.test", "A", health.ERROR_DNS_NO_RECORD),
        ("example.org", "A", health.ERROR_DNS_EXCEPTION),  # the server refuses it
    ],
)
def test_records(dns_server, name, record_type, id_):
    message = contrib.dns(name, record_type, resolver=dns_server.resolver())()
    assert (message and message.id) == id_
    assert not message or name not in message.msg


def test_no_nameserver(dns_server):
    resolver = dns_server.resolver()
    resolver.nameservers = []
    message = contrib.dns("app.test", resolver=resolver)()
    assert message.id == health.ERROR_DNS_EXCEPTION


def test_the_systems_nameservers(dns_server, monkeypatch):
    import dns.resolver

    resolver = dns_server.resolver()
    monkeypatch.setattr(dns.resolver, "Resolver", lambda: resolver)
    assert contrib.dns("app.test")() is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "a..b"}, "name 'a..b'"),
        ({"name": "a.test", "record_type": "NO-TYPE"}, "record_type 'NO-TYPE'"),
        ({"name": "a.test", "timeout": 0}, "timeout must be a number of seconds"),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(ValueError, match=says):
        contrib.dns(**arguments)


def test_what_is_no_resolver():
    with pytest.raises(TypeError, match="resolver must be"):
        contrib.dns("a.test", resolver="192.0.2.1")
