"""A mail server as a process: python smtp.py PORT FAULT PASSWORD.

The file FAULT, while it is there, has the word ``busy``, or ``password`` for another password.
"""

import asyncio
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

PORT, FAULT, PASSWORD = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]


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
    return AuthResult(success=(data.login, data.password) == (b"app", password.encode()))


def make():
    return SMTP(Handler(), authenticator=authenticate, auth_require_tls=False)


async def main():
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", PORT)
    await server.serve_forever()


asyncio.run(main())
