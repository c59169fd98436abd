"""A mail server as a process: python smtp.py PORT FAULT PASSWORD [starttls|tls CERTIFICATE].

The file FAULT, while it is there, has the word ``busy``, or ``password`` for another password.
"""

import asyncio
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

PORT, FAULT, PASSWORD, *TLS = int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
ENCRYPTION, CONTEXT = None, None
if TLS:
    ENCRYPTION, CONTEXT = TLS[0], ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CONTEXT.load_cert_chain(TLS[1])


def fault():
    return FAULT.read_text(encoding="ascii") if FAULT.exists() else ""


class Handler:  # its methods have the names of commands
    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        if fault() == "busy":
            return ["421 4.3.2 Too many connections"]
        session.host_name = hostname
        return responses

    async def handle_HELO(self, server, session, envelope, hostname):  # noqa: N802
        return "421 4.3.2 Too many connections"


def authenticate(server, session, envelope, mechanism, data):
    password = "another" if fault() == "password" else PASSWORD
    success = (data.login, data.password) == (b"app", password.encode())
    return AuthResult(success=success, handled=False)


def make():
    starttls = CONTEXT if ENCRYPTION == "starttls" else None
    return SMTP(
        Handler(), authenticator=authenticate, tls_context=starttls,
        require_starttls=starttls is not None, auth_require_tls=starttls is not None,
    )  # fmt: skip


async def main():
    tls = CONTEXT if ENCRYPTION == "tls" else None
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", PORT, ssl=tls)
    await server.serve_forever()


asyncio.run(main())
