"""What the verifier's tests share."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

from dockerflow.verify.rules import Finding
from dockerflow.verify.verdicts import Report

SUBJECTS = Path(__file__).parent / "subjects"
APP = (sys.executable, str(SUBJECTS / "app.py"))
VERSION = SUBJECTS / "version.json"
DOCKERFILE = SUBJECTS / "Dockerfile"
MANIFEST = SUBJECTS / "deployment.yaml"
COMPOSE = SUBJECTS / "compose.yaml"
LINE = {
    "Timestamp": 1,
    "Type": "request.summary",
    "Logger": "a",
    "Hostname": "h",
    "EnvVersion": "2.0",
    "Severity": 6,
    "Pid": 1,
    "Fields": {"agent": "", "errno": 0, "lang": "", "method": "GET", "path": "/", "t": 1},
}
LINE_TEXT = json.dumps(LINE)


def with_status(report: Report, status: str) -> set[str]:
    """The ids of the rules that have this status."""
    return {verdict.rule.id for verdict in report.verdicts if verdict.status == status}


def failed(report: Report) -> set[str]:
    return with_status(report, "failed")


def findings(report: Report, rule: str) -> list[Finding]:
    (verdict,) = [verdict for verdict in report.verdicts if verdict.rule.id == rule]
    return verdict.findings


def make_tar(files: dict[str, bytes | str | None]) -> bytes:
    """A layer: a value that begins with -> is a symbolic link, a name that ends in / a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            if isinstance(content, str) and content.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
                tar.addfile(info)
                continue
            data = content.encode() if isinstance(content, str) else content or b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
