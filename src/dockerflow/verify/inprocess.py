"""Check an ASGI or WSGI application in this process, for test suites."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dockerflow.testing import Client
from dockerflow.verify.evidence import (
    HEARTBEAT,
    LBHEARTBEAT,
    Answer,
    Evidence,
    Service,
    VersionFile,
    printable,
)
from dockerflow.verify.formats import text
from dockerflow.verify.http import questions
from dockerflow.verify.rules import RULES
from dockerflow.verify.verdicts import Report, judge

BASE = "http://testserver"


class DockerflowApp:
    """An application in this process: a client for it, and the rules of Dockerflow.

    :param app: the ASGI or WSGI application.

    .. versionadded:: 0.1.0
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.client: Client = Client(app)

    def verify(  # noqa: PLR0913 - what a test may want to say
        self,
        *,
        version_json: str | os.PathLike[str] | None = None,
        static: Iterable[str] = (),
        broken: bool = False,
        select: Iterable[str] = (),
        ignore: Iterable[str] = (),
        fail_on: str = "error",
    ) -> Report:
        """Ask the application for its endpoints, and judge what it answers.

        :param version_json: the file that ``/__version__`` must be equal to.
        :param static: paths of static files that it must serve.
        :param broken: says that the test has broken a backing service, so that the heartbeat must
            be 5xx and the load balancer's heartbeat still 200.
        :param select: ids of rules, or what they begin with: only these.
        :param ignore: ids of rules, or what they begin with: all but these.
        :param fail_on: the least level that fails: error, warning or never.
        :returns: the report.
        :raises AssertionError: when a rule fails; the text has the rules' ids and what is wrong.
        :raises ValueError: when there is no such rule or level.

        .. versionadded:: 0.1.0
        """
        __tracebackhide__ = True
        selected = (_ids(select) or set(RULES)) - _ids(ignore)
        if fail_on not in {"error", "warning", "never"}:
            message = f"fail_on={fail_on!r}: it takes error, warning or never"
            raise ValueError(message)
        seen = Evidence()
        if version_json is not None:
            path = Path(version_json)
            seen.versions.append(
                VersionFile(str(path), path.read_bytes(), f"cat {path}", str(path))
            )
        started = time.monotonic()
        name = f"{type(self.app).__module__}.{type(self.app).__qualname__}"
        service = Service(name)
        with self.client:
            if broken:
                service.broken_by = "a broken backing service"
                for path_ in (HEARTBEAT, LBHEARTBEAT):
                    service.answers["GET", path_] = self._ask("GET", path_)
                seen.broken.append(service)
            else:
                self._look_at(service, tuple(static))
                seen.services.append(service)
        report = Report([name], judge(seen, selected), fail_on=fail_on)
        report.seconds = time.monotonic() - started
        failed = [verdict.rule.id for verdict in report.verdicts if report.fails(verdict)]
        if failed:
            # What could not be checked is no news in a test.
            report.verdicts = [v for v in report.verdicts if v.status != "not checked"]
            raise AssertionError(f"Dockerflow: {', '.join(failed)}\n\n{text(report)}")
        return report

    def _look_at(self, service: Service, static: tuple[str, ...]) -> None:
        asking = questions(service, BASE, static)
        try:
            question = next(asking)
            while True:
                question = asking.send(self._ask(*question))
        except StopIteration:
            return

    def _ask(self, method: str, path: str) -> Answer:
        parts = urlsplit(path)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        started = time.monotonic()
        response = self.client.request(method, target or "/")
        error = response.error
        return Answer(
            method,
            BASE + target,
            response.status,
            {key.lower(): value for key, value in response.headers},
            response.body,
            time.monotonic() - started,
            "" if error is None else f"{type(error).__name__}: {printable(str(error))}",
        )


def _ids(given: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for part in [given] if isinstance(given, str) else given:
        matches = {id_ for id_ in RULES if part and id_.startswith(part.upper())}
        if not matches:
            message = f"there is no rule {part!r}; there are {', '.join(RULES)}"
            raise ValueError(message)
        found |= matches
    return found


def load(name: str) -> Any:
    """Return the application that ``module:attribute`` names.

    :raises ValueError: when it names none.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ValueError(f"{name!r} is not module:attribute")
    app: Any = importlib.import_module(module)
    for part in attribute.split("."):
        app = getattr(app, part, None)
    if app is None:
        raise ValueError(f"{name!r}: {module} has no {attribute}")
    return app
