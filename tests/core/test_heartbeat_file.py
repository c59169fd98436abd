"""The heartbeat file: beaten by a worker, read by the container's health check."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dockerflow.checks import HeartbeatFile
from dockerflow.heartbeat_file import file_age, main


def test_age(tmp_path: Path) -> None:
    heartbeat = HeartbeatFile(str(tmp_path / "beat"))
    assert heartbeat.age() == math.inf
    assert heartbeat.beat()
    assert 0 <= heartbeat.age() < 10
    long_ago = time.time() - 1000
    os.utime(heartbeat.path, (long_ago, long_ago))
    assert 1000 <= file_age(heartbeat.path) < 1010
    assert heartbeat.beat()
    assert heartbeat.age() < 10


def test_a_clock_that_was_set_back_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    path.touch()
    os.utime(path, (time.time() + 1000,) * 2)
    assert file_age(path) == math.inf


@pytest.mark.parametrize("name", ["no/such/folder", "", "a\0b"])
def test_a_beat_never_raises(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    path = name if "\0" in name else tmp_path / "file" / (name or "x")
    assert not HeartbeatFile(path).beat()
    assert "could not be touched" in caplog.text


@pytest.mark.parametrize(
    ("age", "limit", "code"),
    [(0, "60", 0), (100, "60", 1), (None, "60", 1), (0, "x", 2), (0, "0", 2)],
)
def test_main(
    tmp_path: Path, age: int | None, limit: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "beat"
    if age is not None:
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    assert main([str(path), limit]) == code
    output = capsys.readouterr()
    assert (output.out or output.err).count("\n") == 1


def test_as_a_command(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    command = [sys.executable, "-m", "dockerflow.heartbeat_file", str(path), "60"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    path.touch()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert subprocess.run(command[:-1], check=False, capture_output=True).returncode == 2
