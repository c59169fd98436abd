"""The container's own resources: disk, files, memory."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Final

from dockerflow import health, heartbeat_file
from dockerflow.checks import messages
from dockerflow.checks.contrib._common import fail, named, report, seconds
from dockerflow.checks.messages import CheckMessage, Error, Info

Check = Callable[[], list[CheckMessage]]

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUP: Final = Path("/proc/self/cgroup")
MAX_PERCENT: Final = 100


def disk_space(
    path: str | PathLike[str], *, warn_percent: float = 10.0, fail_percent: float = 5.0
) -> Check:
    """Make a check that a file system has free space, for data and for files.

    :param path: any path on the file system.
    :param warn_percent: the check warns when less than this is free, in percent.
    :param fail_percent: the check fails when less than this is free, in percent.
    :returns: the check, to be registered. It gives ``dockerflow.health.W002`` and ``E024`` when
        there is little free space, and ``E025`` when that can't be read.
    :raises ValueError: when a percentage isn't from 0 to 100, or the check would fail before it
        warns.

    .. versionadded:: 0.1.0
    """
    _must_rise(fail_percent=fail_percent, warn_percent=warn_percent)
    return functools.partial(_disk_space, os.fspath(path), warn_percent, fail_percent)


def file_age(path: str | PathLike[str], max_age: float) -> Check:
    """Make a check that a file was written recently, such as one that a periodic job touches.

    :param path: the file.
    :param max_age: how many seconds ago it may have been written, as
        :func:`dockerflow.heartbeat_file.file_age` counts them.
    :returns: the check, to be registered. It gives ``dockerflow.health.E026`` when the file is
        missing, ``E027`` when it is older, or more than a second in the future, and ``E028`` when
        its time can't be read.
    :raises ValueError: when ``max_age`` isn't greater than 0.

    .. versionadded:: 0.1.0
    """
    return functools.partial(_file_age, os.fspath(path), seconds("max_age", max_age))


def memory(*, warn_percent: float = 90.0, fail_percent: float = 97.0) -> Check:
    """Make a check that the container isn't about to be killed for using too much memory.

    It reads the limits of cgroup v2: those of the process's group and of the groups around it
    that the container can see. Cached files, which the kernel drops first, don't count as used.

    :param warn_percent: the check warns when more of a limit than this is used, in percent.
    :param fail_percent: the check fails when more than this is used, in percent.
    :returns: the check, to be registered. It gives ``dockerflow.health.W003`` and ``E036`` when
        there is little left, ``I002`` when there is no limit, and ``I003`` where there is no
        cgroup v2 or it can't be read.
    :raises ValueError: when a percentage isn't from 0 to 100, or the check would fail before it
        warns.

    .. versionadded:: 0.1.0
    """
    _must_rise(warn_percent=warn_percent, fail_percent=fail_percent)
    return functools.partial(_memory, warn_percent, fail_percent)


def _must_rise(**percentages: float) -> None:
    for name, value in percentages.items():
        if not 0 <= value <= MAX_PERCENT:
            raise ValueError(f"{name} must be a number from 0 to 100, not {value!r}")
    (low_name, low), (high_name, high) = percentages.items()
    if low > high:
        raise ValueError(f"{low_name} must be at most {high_name}, which is {high!r}, not {low!r}")


@named("disk_space")
def _disk_space(path: str, warn_percent: float, fail_percent: float) -> list[CheckMessage]:
    try:
        disk = os.statvfs(path)
    except OSError as error:
        return [fail("The disk can't be read.", health.ERROR_CANT_CHECK_DISK, error)]
    found: list[CheckMessage] = []
    for what, free, total in (
        ("space", disk.f_bavail, disk.f_blocks),
        ("room for files", disk.f_favail, disk.f_files),
    ):
        if not total:  # some file systems don't count files
            continue
        percent = 100 * free / total
        text = f"{percent:.1f} % of the disk's {what} is free."
        if percent < fail_percent:
            found.append(Error(text, id=health.ERROR_NO_DISK_SPACE))
        elif percent < warn_percent:
            found.append(messages.Warning(text, id=health.WARNING_LITTLE_DISK_SPACE))
    return [report(message, detail=path) for message in found]


@named("file_age")
def _file_age(path: str, max_age: float) -> list[CheckMessage]:
    try:
        age = heartbeat_file.file_age(path)
    except OSError as error:
        return [fail("The file can't be read.", health.ERROR_CANT_CHECK_FILE, error)]
    if age <= max_age:
        return []
    id_ = health.ERROR_FILE_TOO_OLD
    if age < math.inf:
        text = f"The file is {age:.0f} s old, more than {max_age:g} s."
    elif Path(path).exists():
        text = "The file's time is in the future."
    else:
        text, id_ = "The file is missing.", health.ERROR_FILE_MISSING
    return [fail(text, id_, detail=path)]


@named("memory")
def _memory(warn_percent: float, fail_percent: float) -> list[CheckMessage]:
    try:
        # The process is killed by the tightest of the limits around it.
        used = max((_used(group) for group in _limited_groups()), default=None)
    except (OSError, ValueError) as error:
        message = Info("There is no cgroup v2 to read.", id=health.INFO_CANT_CHECK_MEMORY)
        return [report(message, error)]
    if used is None:
        return [Info("The container's memory has no limit.", id=health.INFO_NO_MEMORY_LIMIT)]
    text = f"{used:.1f} % of the container's memory is used."
    if used > fail_percent:
        return [Error(text, id=health.ERROR_NO_MEMORY)]
    if used > warn_percent:
        return [messages.Warning(text, id=health.WARNING_LITTLE_MEMORY)]
    return []


def _limited_groups() -> Iterator[Path]:
    """Yield the folders of the cgroups (v2) with a limit that this process is in."""
    [path] = [
        line.removeprefix("0::")
        for line in OWN_CGROUP.read_text(encoding="utf-8").splitlines()
        if line.startswith("0::")
    ]
    if not (CGROUPS / "cgroup.controllers").exists():
        raise FileNotFoundError(CGROUPS / "cgroup.controllers")
    group = CGROUPS / path.lstrip("/")
    if not group.is_dir():  # the container sees its group as the root
        group = CGROUPS
    for folder in (group, *group.parents):
        limit = folder / "memory.max"  # the topmost group has none
        if limit.exists() and limit.read_text(encoding="ascii").strip() != "max":
            yield folder
        if folder == CGROUPS:
            return


def _used(group: Path) -> float:
    """Return how much of its limit a group uses, in percent."""
    limit, current = (
        int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current")
    )
    statistics = (group / "memory.stat").read_text(encoding="ascii")
    values = dict(line.split() for line in statistics.splitlines())
    used = max(0, current - int(values.get("inactive_file", 0)))
    return 100 * used / limit if limit else 100.0
