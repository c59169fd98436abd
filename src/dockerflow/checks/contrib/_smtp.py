"""SMTP, by the standard library."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass, field
from typing import Literal

from dockerflow import health
from dockerflow.checks.contrib._common import Check, describe, fail, named, seconds
from dockerflow.checks.messages import CheckMessage


def smtp(
    host: str,
    port: int = 25,
    *,
    encryption: Literal["starttls", "tls"] | None = None,
    user: str | None = None,
    password: str | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = 3.0,
) -> Check:
    """Make a check that the app can connect to a mail server and log in. It sends no mail.

    :param host: its name or address.
    :param port: from 1 to 65535; usually 587 with ``starttls`` and 465 with ``tls``.
    :param encryption: ``starttls`` changes to TLS after the greeting, ``tls`` begins with it.
    :param user: logs in with this name and ``password``; without it the check doesn't log in.
    :param context: for TLS, such as one with your own certificate authority. By default the
        certificate is verified with those of the system.
    :param timeout: seconds for each step.
    :returns: the check, to be registered. It gives ``dockerflow.health.E041`` when it can't
        connect, or when the server refuses the greeting, TLS or the login; ``E042`` when there is
        no response in time.
    :raises ValueError: when the port, the encryption or the timeout is invalid, or one of ``user``
        and ``password`` is missing.

    .. versionadded:: 0.1.0
    """
    if isinstance(port, bool) or port not in range(1, 65_536):
        raise ValueError(f"port must be from 1 to 65535, not {port!r}")
    if encryption not in {None, "starttls", "tls"}:
        raise ValueError(f"encryption must be 'starttls', 'tls' or None, not {encryption!r}")
    if (user is None) != (password is None):
        message = "user and password must be given together, or neither of them"
        raise ValueError(message)
    limit = seconds("timeout", timeout)
    return functools.partial(_smtp, _Server(host, port, encryption, user, password, context, limit))


@dataclass(frozen=True)
class _Server:
    host: str
    port: int
    encryption: str | None
    user: str | None
    password: str | None = field(repr=False)
    context: ssl.SSLContext | None
    timeout: float

    def log_in(self) -> None:
        import smtplib  # takes about as long to import as all the other checks

        context = self.context or (ssl.create_default_context() if self.encryption else None)
        connect = (
            functools.partial(smtplib.SMTP_SSL, context=context)
            if self.encryption == "tls"
            else smtplib.SMTP
        )
        with connect(self.host, self.port, timeout=self.timeout) as client:
            if self.encryption == "starttls":
                client.starttls(context=context)
            if self.user is not None and self.password is not None:
                client.login(self.user, self.password)
            client.ehlo_or_helo_if_needed()


@named("smtp")
def _smtp(server: _Server) -> CheckMessage | None:
    try:
        server.log_in()
    except (OSError, UnicodeError) as error:  # SMTPException is an OSError
        return failure(error, server.password, f"{server.host}:{server.port}: {describe(error)}")
    return None


def failure(error: Exception, password: str | None, detail: str = "") -> CheckMessage:
    """Report an error of ``smtplib``."""
    # It raises its own error when the server doesn't respond in time, during the timeout's.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        text, id_ = "The mail server did not respond in time.", health.ERROR_SMTP_TIMED_OUT
    else:
        text, id_ = "Could not connect to the mail server.", health.ERROR_CANNOT_CONNECT_SMTP
    return fail(text, id_, error, detail=detail, secrets=(password,))
