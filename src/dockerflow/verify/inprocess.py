"""Verify an ASGI or WSGI application in this process, for test suites."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dockerflow.testing import Client
from dockerflow.verify.evidence import Evidence, Response, Service, VersionFile, printable
from dockerflow.verify.formats import text
from dockerflow.verify.http import request_all
from dockerflow.verify.rules import RULES, matching
from dockerflow.verify.verdicts import FAIL_ON, Report, judge

BASE = "http://testserver"


class DockerflowApp:
    """An application in this process, to send requests to and to verify.

    ``client`` is a :class:`dockerflow.testing.Client` of it.

    :param app: the ASGI or WSGI application.

    .. versionadded:: 0.1.0
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.client: Client = Client(app)

    def verify(
        self,
        *,
        version_json: str | os.PathLike[str] | None = None,
        static: Iterable[str] = (),
        broken: bool = False,
        select: Iterable[str] = (),
        ignore: Iterable[str] = (),
        fail_on: str = "error",
    ) -> Report:
        """Send requests to the application, and judge its responses.

        :param version_json: the file that ``/__version__`` must be equal to.
        :param static: paths of static files that it must serve.
        :param broken: whether the test has broken a backing service, so that the heartbeat must
            be 5xx and the load balancer's heartbeat still 200.
        :param select: IDs of rules, or their beginnings: judge by these only.
        :param ignore: IDs of rules, or their beginnings: judge by all but these.
        :param fail_on: the lowest level that fails: error, warning, unknown, not-checked or never.
        :returns: the report.
        :raises AssertionError: when a rule fails; the message has the IDs and the findings.
        :raises ValueError: when there is no such rule or level.

        .. versionadded:: 0.1.0
        """
        __tracebackhide__ = True
        selected = (_ids(select) or set(RULES)) - _ids(ignore)
        if fail_on not in FAIL_ON:
            message = f"fail_on must be one of {', '.join(FAIL_ON)}, not {fail_on!r}"
            raise ValueError(message)
        began = time.monotonic()
        service = Service(f"{type(self.app).__module__}.{type(self.app).__qualname__}")
        service.broken_by = "a broken backing service" if broken else ""
        evidence = Evidence()
        (evidence.broken if broken else evidence.services).append(service)
        if version_json is not None:
            file = Path(version_json)
            evidence.versions.append(VersionFile.at(file, file.read_bytes()))
        with self.client:
            request_all(self._request, service, static)
        report = Report([service.where], judge(evidence, selected), fail_on=fail_on)
        report.seconds = time.monotonic() - began
        failed = [verdict.rule.id for verdict in report.verdicts if report.fails(verdict)]
        if failed:
            # Omit unchecked rules from test output.
            report.verdicts = [v for v in report.verdicts if v.status != "not checked"]
            raise AssertionError(f"Dockerflow: {', '.join(failed)}\n\n{text([report])}")
        return report

    def _request(self, method: str, path: str) -> Response:
        target = "/" + path.removeprefix(BASE).lstrip("/")
        received = self.client.request(method, target)
        headers: dict[str, str] = {}
        for name, value in received.headers:
            before = headers.get(name.lower())
            headers[name.lower()] = value if before is None else f"{before}, {value}"
        error = received.error
        return Response(
            method,
            BASE + target,
            received.status,
            headers,
            received.body,
            "" if error is None else f"{type(error).__name__}: {printable(str(error))}",
        )


def _ids(prefixes: Iterable[str]) -> set[str]:
    each = [prefixes] if isinstance(prefixes, str) else prefixes
    return {id_ for prefix in each for id_ in matching(prefix)}
