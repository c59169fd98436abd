"""DNS, by dnspython."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from dockerflow import health
from dockerflow.checks.contrib._common import Check, fail, load, named, seconds
from dockerflow.checks.messages import CheckMessage

if TYPE_CHECKING:
    from dns.resolver import Resolver


def dns(
    name: str,
    record_type: str = "A",
    *,
    resolver: Resolver | None = None,
    timeout: float = 2.0,
) -> Check:
    """Make a check that a name has a record in DNS.

    It queries only the nameservers, never a file such as ``/etc/hosts``.

    :param name: the domain name. One without a dot at its end is also looked for in the search
        domains, if the resolver is configured to.
    :param record_type: such as ``AAAA``, ``MX`` or ``TXT``.
    :param resolver: with the nameservers to query; by default one with those in
        ``/etc/resolv.conf``, which is read each time.
    :param timeout: seconds for all nameservers together.
    :returns: the check, to be registered. It gives ``dockerflow.health.E047`` when there is no
        such name or record, ``E048`` when there is no response in time, and ``E049`` on any other
        error, such as one that the nameserver reports.
    :raises ValueError: when the name, the type of record or the timeout is invalid.
    :raises TypeError: when ``resolver`` isn't a ``dns.resolver.Resolver``.
    :raises ImportError: without dnspython.

    .. versionadded:: 0.1.0
    """
    library = load("dns.resolver", "dns")
    if resolver is not None and not isinstance(resolver, library.Resolver):
        message = f"resolver must be a dns.resolver.Resolver, not {type(resolver).__name__}"
        raise TypeError(message)
    try:
        asked = (
            load("dns.name", "dns").from_text(name, None),
            load("dns.rdatatype", "dns").from_text(record_type),
        )
    except load("dns.exception", "dns").DNSException as error:
        raise ValueError(f"name {name!r} with record_type {record_type!r}: {error}") from None
    return functools.partial(_dns, asked, resolver, seconds("timeout", timeout))


@named("dns")
def _dns(asked: tuple[Any, Any], resolver: Any, timeout: float) -> CheckMessage | None:
    library = load("dns.resolver", "dns")
    try:
        (resolver or library.Resolver()).resolve(*asked, lifetime=timeout)
    except (library.NXDOMAIN, library.NoAnswer) as error:
        return fail("There is no such record.", health.ERROR_DNS_NO_RECORD, error)
    except library.LifetimeTimeout as error:
        return fail("There was no response in time.", health.ERROR_DNS_TIMED_OUT, error)
    except (load("dns.exception", "dns").DNSException, OSError) as error:
        return fail("The name can't be resolved.", health.ERROR_DNS_EXCEPTION, error)
    return None
