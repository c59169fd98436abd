import os
import time

import pytest

from dockerflow import health
from dockerflow.checks import contrib
from dockerflow.checks.contrib import _system


def ids(messages):
    return [message.id for message in messages]


def test_disk_space(tmp_path, monkeypatch):
    assert ids(contrib.disk_space(tmp_path, warn_percent=0, fail_percent=0)()) == []
    assert set(ids(contrib.disk_space(tmp_path, warn_percent=100, fail_percent=0)())) == {
        health.WARNING_LITTLE_DISK_SPACE
    }
    assert set(ids(contrib.disk_space(tmp_path, warn_percent=100, fail_percent=100)())) == {
        health.ERROR_NO_DISK_SPACE
    }
    assert ids(contrib.disk_space(tmp_path / "none")()) == [health.ERROR_CANT_CHECK_DISK]


@pytest.mark.parametrize(
    ("space", "files", "expected"),
    [
        (50, 50, []),
        (8, 50, ["W002"]),
        (3, 50, ["E024"]),
        (50, 3, ["E024"]),
        (8, 3, ["W002", "E024"]),
    ],
)
def test_space_and_files(monkeypatch, space, files, expected):
    disk = os.statvfs_result((4096, 4096, 100, 60, space, 100, 60, files, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    messages = contrib.disk_space("/secret/place")()
    assert ids(messages) == [f"dockerflow.health.{id_}" for id_ in expected]
    assert not any("secret" in message.msg for message in messages)


def test_a_file_system_that_counts_no_files(monkeypatch):
    disk = os.statvfs_result((4096, 4096, 100, 60, 60, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert contrib.disk_space("/")() == []


def test_file_age(tmp_path):
    file = tmp_path / "touched"
    check = contrib.file_age(file, max_age=60)
    assert ids(check()) == [health.ERROR_FILE_MISSING]
    file.touch()
    assert check() == []
    os.utime(file, (time.time() + 3600,) * 2)  # the clock was set back
    [message] = check()
    assert (message.id, "future" in message.msg) == (health.ERROR_FILE_TOO_OLD, True)
    os.utime(file, (time.time() - 61,) * 2)
    [message] = check()
    assert message.id == health.ERROR_FILE_TOO_OLD
    assert str(tmp_path) not in message.msg
    assert ids(contrib.file_age(file / "below", 1)()) == [health.ERROR_CANT_CHECK_FILE]


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Make a tree as cgroup v2 has it: the machine of the tests may be of another kind."""
    root = tmp_path / "cgroup"
    own = tmp_path / "own"
    monkeypatch.setattr(_system, "CGROUPS", root)
    monkeypatch.setattr(_system, "OWN_CGROUP", own)

    def make(path="/", v2=True, **groups):
        root.mkdir()
        if v2:
            (root / "cgroup.controllers").touch()
        own.write_text(f"1:name=systemd:/x\n0::{path}\n", encoding="utf-8")
        for name, (limit, current, inactive) in groups.items():
            folder = root / name.replace("root", "").replace("_", "/")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "memory.max").write_text(f"{limit}\n", encoding="ascii")
            (folder / "memory.current").write_text(f"{current}\n", encoding="ascii")
            (folder / "memory.stat").write_text(
                f"anon 1\ninactive_file {inactive}\n", encoding="ascii"
            )

    return make


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"root": (1000, 500, 0)}, []),
        ({"root": (1000, 950, 0)}, ["W003"]),
        ({"root": (1000, 980, 0)}, ["E036"]),
        ({"root": (1000, 1000, 600)}, []),  # the kernel gives up cached files first
        ({"root": ("max", 1000, 0)}, ["I002"]),
        ({}, ["I002"]),
        ({"path": "/a/b", "a_b": ("max", 1, 0), "a": (1000, 980, 0)}, ["E036"]),
        ({"path": "/a/b", "a_b": (100, 10, 0), "a": (1000, 980, 0)}, ["E036"]),
        ({"path": "/not/seen/from/here", "root": (1000, 950, 0)}, ["W003"]),
        ({"v2": False}, ["I003"]),
        ({"root": ("what?", 1, 0)}, ["I003"]),
    ],
)
def test_memory(cgroup, tree, expected):
    cgroup(**tree)
    assert ids(contrib.memory()()) == [f"dockerflow.health.{id_}" for id_ in expected]


def test_memory_of_a_machine_without_cgroups(tmp_path, monkeypatch):
    monkeypatch.setattr(_system, "OWN_CGROUP", tmp_path / "none")
    assert ids(contrib.memory()()) == [health.INFO_CANT_CHECK_MEMORY]


def test_memory_of_this_machine():
    assert all(
        message.level < 40 for message in contrib.memory(warn_percent=100, fail_percent=100)()
    )
