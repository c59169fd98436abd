"""The heartbeat file: beaten by a worker, read by the container's health check."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest

from dockerflow.checks import HeartbeatFile
from dockerflow.heartbeat_file import TOLERANCE, file_age


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


def test_a_time_in_the_future_is_infinitely_old(tmp_path: Path) -> None:
    """The clock was set back, so the age is unknown; the clocks of file systems are coarse."""
    path = tmp_path / "beat"
    path.touch()
    os.utime(path, (time.time() + 1000,) * 2)
    assert file_age(path) == math.inf
    os.utime(path, (time.time() + TOLERANCE / 2,) * 2)
    assert file_age(path) == 0.0


def test_an_age_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        file_age(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["no/such/folder", "", "a\0b"])
def test_a_beat_never_raises(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    path = name if "\0" in name else tmp_path / "file" / (name or "x")
    assert not HeartbeatFile(path).beat()
    assert "could not be touched" in caplog.text
