"""version.json: found, validated, cached."""

from __future__ import annotations

import json
import logging
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from dockerflow import version
from dockerflow.config import ConfigError
from dockerflow.version import VersionError, VersionFile, get_version, release

GOOD = b' {"source": "https://example.com/\xc3\xa9",\n"version": "1.0"}\n\n'
CONTENT = {"source": "https://example.com/é", "version": "1.0"}

BROKEN = {
    "empty": (b"", "is empty"),
    "blank": (b" \n", "is empty"),
    "text": (b"version 1", "is not valid JSON"),
    "truncated": (b'{"a": ', "is not valid JSON"),
    "NaN": (b'{"a": NaN}', "is not valid JSON: NaN is not JSON"),
    "out of range": (b'{"a": -1e999}', "is not valid JSON: -1e999 is out of range"),
    "infinity": (b'{"a": -Infinity}', "is not valid JSON: -Infinity is not JSON"),
    "list": (b"[1]", "must be a JSON object, not a list"),
    "string": (b'"a"', "must be a JSON object, not a str"),
    "null": (b"null", "must be a JSON object"),
    "latin-1": (b'{"a": "\xe9"}', "is not valid JSON: not UTF-8 at byte"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "is not valid JSON: not UTF-8 at byte"),
    "deep": (b'{"a":' + b"[" * 200_000, "is not valid JSON: nested too deeply"),
    "10 MB": (b'{"a": "' + b"x" * 10_000_000 + b'"}', "is larger than 1048576 bytes"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "version.json"


@pytest.mark.parametrize("kind", ["folder", "file", "text"])
def test_good(file: Path, kind: str) -> None:
    file.write_bytes(GOOD)
    path: Any = {"folder": file.parent, "file": file, "text": str(file)}[kind]
    assert get_version(path) == CONTENT
    assert VersionFile(path).read() == (GOOD, None), "the exact bytes"


def test_other_file_name(tmp_path: Path) -> None:
    path = tmp_path / "build.json"
    path.write_bytes(GOOD)
    assert get_version(path) == CONTENT
    assert VersionFile(path).read() == (GOOD, None)


ADVICE = (
    "write it with `dockerflow version write`, or set DOCKERFLOW_VERSION_PATH if it is elsewhere"
)


def test_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "f").write_text("")
    for path in (tmp_path, tmp_path / "version.json", tmp_path / "no" / "no", tmp_path / "f" / "x"):
        assert get_version(path) is None
        assert not caplog.records
        served = VersionFile(path)
        for _ in range(3):
            assert served.read() == (None, None)
        place = path / "version.json" if path == tmp_path else path
        assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
            ("dockerflow", "WARNING", f"Found no {place}: {ADVICE}")
        ]
        caplog.clear()


def test_where_one_is_missing_by_default(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dockerflow.version._IN_APP", Path("/nowhere/version.json"))
    served = VersionFile()
    assert served.read() == (None, None)
    (tmp_path / "version.json").write_text("{}")
    assert served.read() == (b"{}", None)
    (tmp_path / "version.json").unlink()
    assert served.read() == (None, None)
    here = f"Found no /nowhere/version.json and no {tmp_path / 'version.json'}: {ADVICE}"
    assert caplog.messages == [here, here]


def test_where_one_is_missing_is_said_in_text_that_any_log_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert VersionFile(tmp_path / "\udcff").read() == (None, None)
    (message,) = caplog.messages
    assert "\\udcff" in message


def test_the_working_directory_was_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert VersionFile("a.json").read() == (None, None)
    assert caplog.messages == [f"Found no a.json: {ADVICE}"]


@pytest.mark.parametrize("name", BROKEN)
def test_broken(file: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    content, reason = BROKEN[name]
    file.write_bytes(content)
    with pytest.raises(VersionError) as caught:
        get_version(file.parent)
    text = str(caught.value)
    assert text.startswith(f"version.json {reason}")
    assert len(text.splitlines()) == 1
    served = VersionFile(file.parent)
    for _ in range(3):
        assert served.read() == (None, text)
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("dockerflow", "ERROR", text)
    ]


def test_json_of_bytes_or_text() -> None:
    assert version.parse_json('["é"]') == version.parse_json('["é"]'.encode()) == ["é"]


@pytest.mark.parametrize("text", ["0123456", "a" * 40, "ABCDEF0" * 9])
def test_a_commit(text: str) -> None:
    assert version.is_commit(text)


@pytest.mark.parametrize("text", ["", "012345", "a" * 65, "main", "0123456\n", "g123456"])
def test_not_a_commit(text: str) -> None:
    assert not version.is_commit(text)


def test_as_large_as_it_may_be(file: Path) -> None:
    body = b'{"a": "%s"}' % (b"x" * (1024 * 1024 - 9))
    assert len(body) == 1024 * 1024
    file.write_bytes(body)
    assert VersionFile(file).read() == (body, None)
    file.write_bytes(body + b"\n")
    assert VersionFile(file).read()[0] is None


def test_directory_named_like_it(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.mkdir()
    served = VersionFile(file.parent)
    for _ in range(3):
        body, error = served.read()
        assert body is None
        assert error is not None
        assert error == "version.json can't be read: not a regular file"
    assert len(caplog.records) == 1
    with pytest.raises(VersionError):
        get_version(file.parent)


def test_a_fifo_is_not_opened(file: Path) -> None:
    """Opening one waits until another process writes to it."""
    os.mkfifo(file)
    problem = "version.json can't be read: not a regular file"
    assert VersionFile(file).read() == (None, problem)
    with pytest.raises(VersionError, match=problem):
        get_version(file)


@pytest.mark.parametrize("path", ["v" * 300, "\0", "\ud800"], ids=["long", "zero", "surrogate"])
def test_a_path_that_cant_be_asked_for(path: str, caplog: pytest.LogCaptureFixture) -> None:
    body, error = VersionFile(path).read()
    assert body is None
    assert error is not None
    assert "can't be read" in error
    assert error.encode()  # whatever the name of the file
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError("odd")])
@pytest.mark.parametrize("method", ["open", "stat"])
def test_unreadable(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: OSError,
    method: str,
) -> None:
    file.write_bytes(GOOD)
    real_open, real_stat = Path.open, Path.stat

    def fail(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == file.name:
            raise error
        return real_stat(self, *args, **kwargs)

    def fail_open(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == file.name:
            raise error
        return real_open(self, *args, **kwargs)

    served = VersionFile(file)
    monkeypatch.setattr(Path, "open", fail_open)
    if method == "stat":
        monkeypatch.setattr(Path, "stat", fail)
    expected = f"version.json can't be read: {error.strerror or 'odd'}"
    for _ in range(3):
        assert served.read() == (None, expected)
    assert [record.getMessage() for record in caplog.records] == [expected]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files were read."""
    paths: list[Path] = []
    real = Path.open

    def opened(self: Path, *args: Any, **kwargs: Any) -> Any:
        if args == ("rb",):
            paths.append(self)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    return paths


def test_where_it_is_by_default_it_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: list[Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(version, "_IN_APP", tmp_path / "app" / "version.json")
    (tmp_path / "version.json").write_bytes(GOOD)
    served = VersionFile()
    for _ in range(3):
        assert served.read() == (GOOD, None)
    assert loads == [Path("version.json")]
    # One in /app hides it, once it is there.
    version._IN_APP.parent.mkdir()
    version._IN_APP.write_bytes(b"{}")
    for _ in range(3):
        assert served.read() == (b"{}", None)
    assert loads == [Path("version.json"), version._IN_APP]


def test_read_again_only_when_changed(
    file: Path, loads: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    served = VersionFile(file)
    steps: list[tuple[bytes | None, int]] = [
        (None, 0),
        (GOOD, 1),
        (b"{", 2),
        (b'{"a": 1}', 3),
        (None, 3),
        (GOOD, 4),
        (b"[", 5),
    ]
    for content, count in steps:
        if content is None:
            file.unlink(missing_ok=True)
        else:
            # A new file in place of the old one, as deployments do; the time may be the same.
            new = file.with_suffix(".new")
            new.write_bytes(content)
            new.replace(file)
        for _ in range(3):
            body, error = served.read()
            if content in (b"{", b"["):
                assert body is None
                assert error
            else:
                assert (body, error) == (content, None)
        assert len(loads) == count
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 2


def test_default_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(version, "_IN_APP", tmp_path / "app" / "version.json")
    served = VersionFile()
    assert served.read() == (None, None)
    (tmp_path / "version.json").write_bytes(GOOD)
    assert served.read() == (GOOD, None)
    (tmp_path / "app").mkdir()
    assert served.read() == (GOOD, None)
    (tmp_path / "app" / "version.json").write_bytes(b'{"in": "app"}')
    assert served.read() == (b'{"in": "app"}', None)


RELEASES = {
    "version": ({"version": "1.2.3", "commit": "abc1234"}, "1.2.3"),
    "no version": ({"version": "", "commit": "abc1234"}, "abc1234"),
    "version missing": ({"commit": "abc1234"}, "abc1234"),
    "version null": ({"version": None, "commit": "abc1234"}, "abc1234"),
    "branch": ({"version": "main", "commit": "abc1234"}, "abc1234"),
    "branch alone": ({"version": "main", "commit": ""}, "main"),
    "slashes": ({"version": "release/2\\x"}, "release-2-x"),
    "line ends": ({"version": " v1\n\t2 "}, "v1-2"),
    "surrogate": ({"version": "v1\ud800"}, "v1-"),
    "long": ({"version": "1" * 300}, "1" * 200),
    "dots": ({"version": "..", "commit": "."}, None),
    "nothing": ({}, None),
    "numbers": ({"version": 1, "commit": []}, None),
}


@pytest.mark.parametrize("kind", RELEASES)
def test_release(file: Path, kind: str) -> None:
    content, name = RELEASES[kind]
    file.write_text(json.dumps(content))
    assert release(file) == release(file.parent) == release(str(file)) == name


def test_release_finds_the_file_that_is_served(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DOCKERFLOW_VERSION_PATH", str(file.parent))
    assert release() is None
    assert not caplog.records
    file.write_text('{"version": "1"}')
    assert release() == "1"
    file.write_text("{")
    assert release() is None
    problem = VersionFile(file).read()[1]
    messages = [(record.levelname, record.msg, record.getMessage()) for record in caplog.records]
    assert messages == [("ERROR", "%s", problem)] * 2  # no text of the file's is a format
    monkeypatch.setenv("DOCKERFLOW_CHECK_TIMEOUT", "abc")
    with pytest.raises(ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT"):
        release()


def test_each_reason_for_which_it_cannot_be_asked_for_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = VersionFile(file)
    for reason in ("first", "second"):

        def fails(*_: object, reason: str = reason, **__: object) -> None:
            raise OSError(5, reason)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "stat", fails)
            patched.setattr(Path, "open", fails)
            patched.setattr(version, "resolve", lambda _: file)
            assert served.read() == (None, f"version.json can't be read: {reason}")


def test_of_a_huge_file_little_is_read(file: Path) -> None:
    with file.open("wb") as huge:
        huge.truncate(256 * 1024 * 1024)
    tracemalloc.start()
    try:
        assert VersionFile(file).read()[0] is None
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
