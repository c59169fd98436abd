"""``dockerflow logs``: mozlog from a pipe or files, as text."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockerflow.cli._exit import INTERRUPTED
from dockerflow.logging import _text as _log_text

STAMP = 1795488735516400896
TIME = "2026-11-24 02:52:15.516"


def line(severity=6, kind="myapp", **fields) -> bytes:
    content = {"Timestamp": STAMP, "Type": kind, "Severity": severity, "Fields": fields}
    return json.dumps(content).encode() + b"\n"


def render(content: bytes, **options) -> str:
    return _log_text.render(json.loads(content), **options)


# The text


def test_message_and_fields():
    text = render(line(msg="Order 7 is paid", amount=12.5, who="Ann B", rid="abc", empty=""))
    assert text == f'{TIME} INFO     myapp Order 7 is paid amount=12.5 who="Ann B" rid=abc'


def test_summary():
    fields = {"method": "GET", "path": "/a", "code": 200, "t": 12, "errno": 0, "lang": ""}
    text = render(line(kind="request.summary", **fields))
    assert text == f"{TIME} INFO     request.summary GET /a 200 12 ms errno=0"
    text = render(line(3, kind="request.summary", msg="boom", **fields))
    assert text == f"{TIME} ERROR    request.summary GET /a 200 12 ms: boom errno=0"


def test_traceback():
    text = render(
        line(3, msg="bad", error="ValueError(1)", traceback="Traceback:\n  x\nValueError: 1\n")
    )
    assert text.splitlines() == [
        f"{TIME} ERROR    myapp bad",
        "    Traceback:",
        "      x",
        "    ValueError: 1",
    ]
    assert "error=" in render(line(error="ValueError(1)"))


def test_message_of_several_lines():
    text = render(line(msg="one\r\ntwo\n\nthree", n=1))
    assert text.splitlines() == [f"{TIME} INFO     myapp one n=1", "    two", "    ", "    three"]


def test_color():
    assert (
        render(line(3, msg="x"), color=True)
        == f"\x1b[2m{TIME}\x1b[0m \x1b[31mERROR   \x1b[0m myapp x"
    )


def test_nothing_moves_the_cursor():
    evil = "\x1b[2J\x00\x07\x9b\u2028\ud800\r\x7f\u061c\u200f\u202e\u2066"
    text = render(line(kind=evil, msg=evil, **{evil: evil, "long": f"a\n{evil}"}))
    rows = text.split("\n")
    assert len(rows) == 3
    assert all(row.isprintable() for row in rows)
    text.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = ["Timestamp", "Type", "Severity", "Fields"]
FIELDS = st.dictionaries(
    st.sampled_from(["msg", "traceback", "error", "method", "path", "t", "code", "x"]), JSON
)


# On a busy machine the first example alone takes a second: tables of characters are made.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON) | {"Fields": FIELDS}))
def test_any_line(content):
    text = _log_text.render(content | {"Type": "request.summary"})
    assert text.encode()
    assert not any(ord(char) < 0x20 and char not in "\n\t" for char in text)
    _log_text.is_mozlog(content)


# The command


def test_stdin_and_files(dockerflow):
    file = dockerflow.folder / "a.log"
    file.write_bytes(line(msg="in a file"))
    result = dockerflow("logs", stdin=line(msg="piped"))
    assert (result.code, result.out, result.err) == (0, f"{TIME} INFO     myapp piped\n", "")
    result = dockerflow("logs", "a.log", "-", "a.log", stdin=line(msg="piped"))
    assert [row.split()[-1] for row in result.out.splitlines()] == ["file", "piped", "file"]
    assert dockerflow("logs", stdin=b"").out == ""


def test_missing_file(dockerflow):
    result = dockerflow("logs", "nope.log")
    assert (result.code, result.error) == (
        2,
        "dockerflow: nope.log can't be read: No such file or directory",
    )
    assert dockerflow("logs", ".").error.endswith("can't be read: Is a directory")


OTHER = [
    b"Starting\n",
    b"\n",
    b'{"level": "info", "msg": "another program\'s"}\n',
    b'{"Timestamp": 1}\n',
    b'{"Timestamp": "now", "Type": "x"}\n',
    b"{not JSON}\n",
    b"[1, 2]\n",
    b"{" * 5000 + b"}\n",
    b'{"a":' * 5000 + b"}\n",
    b"x" * (3 << 20) + b"\n",
    b"no end of line",
]


def test_what_is_no_mozlog_passes_through_whatever_the_filters(dockerflow):
    data = b"".join(OTHER)
    shown = dockerflow("logs", "--level", "error", "--type", "x", "--rid", "y", stdin=data)
    assert shown.out.encode("utf-8", "surrogateescape") == data
    assert (shown.code, shown.err) == (0, "")


def test_what_a_terminal_would_obey_is_escaped(dockerflow):
    for evil, shown in {
        b"\xff\x9b \x00 \x1b[31m \x7f\n": r"\xff\x9b \x00 \x1b[31m \x7f",
        "\x9b31m \u202e\u2066 é\n".encode(): r"\x9b31m \u202e\u2066 é",
        b"over\rwritten\tx\r\n": "over\\rwritten\tx",
        b"\x1b[31mweb-1\x1b[0m | "
        + line(msg="x"): rf"\x1b[31mweb-1\x1b[0m | {TIME} INFO     myapp x",
        b'{"level": "\x1b[31m"}': r'{"level": "\x1b[31m"}',
    }.items():
        assert dockerflow("logs", stdin=evil).out.rstrip("\r\n") == shown


def test_prefix_stays(dockerflow):
    """As docker compose, kubectl and journalctl write it."""
    result = dockerflow("logs", stdin=b"web-1  | " + line(msg="x") + b"web-1  | plain\n")
    assert result.out == f"web-1  | {TIME} INFO     myapp x\nweb-1  | plain\n"


def test_filters(dockerflow):
    lines = b"".join(
        (
            line(7, "a.b", msg="1", rid="r1"),
            line(6, "a.c", msg="2", rid="r1"),
            line(4, "request.summary", msg="3", rid="r2"),
            line(2, "a", msg="4"),
            b'{"Timestamp": 1, "Type": "a", "Fields": {"msg": "5"}}\n',
        )
    )

    def shown(*args):
        result = dockerflow("logs", *args, stdin=lines)
        assert result.code == 0
        return "".join(row.split()[4] for row in result.out.splitlines())

    assert shown() == "12345"
    assert shown("--level", "debug") == "12345"
    assert shown("--level", "INFO") == "2345", "a line without a level counts as info"
    assert shown("--level", "warning") == "34"
    assert shown("--level", "critical") == "4"
    assert shown("--type", "a") == "45"
    assert shown("--type", "a.*") == "12"
    assert shown("--type", "a", "--type", "request.summary") == "345"
    assert shown("--rid", "r1") == "12"
    assert shown("--rid", "r1", "--level", "info", "--type", "a.*") == "2"


def test_color_in_a_pipe(dockerflow):
    def has_color(*args, **env):
        return "\x1b[" in dockerflow("logs", *args, stdin=line(3), **env).out

    assert not has_color()
    assert has_color("--color", "always", NO_COLOR="1"), "who says it by hand means it"


@pytest.mark.parametrize(
    ("args", "env", "colored"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": ""}, True),
        ([], {"NO_COLOR": "1"}, False),
        (["--color", "never"], {}, False),
    ],
    ids=str,
)
def test_color_on_a_terminal(dockerflow, args, env, colored):
    dockerflow.is_terminal = True
    out = dockerflow("logs", *args, stdin=line(3, msg="x"), **env).out
    assert ("\x1b[31mERROR" in out) is colored


def _start(dockerflow, *args, **options):
    return subprocess.Popen(
        [dockerflow.script, "logs", *args],
        env=dockerflow.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        # Whatever runs the tests in the background ignores Ctrl-C, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def test_follows_a_stream(dockerflow):
    """Each line comes out before the next one goes in."""
    with _start(dockerflow) as process:
        for number in range(3):
            process.stdin.write(line(msg=f"n{number}"))
            assert process.stdout.readline().endswith(f" n{number}\n".encode())
        process.stdin.write(b"plain\n")
        assert process.stdout.readline() == b"plain\n"
        process.stdin.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_reader_gone(dockerflow):
    with _start(dockerflow) as process:
        process.stdin.write(line(msg="x"))
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(line(msg="y"))
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_interrupted(dockerflow):
    with _start(dockerflow) as process:
        process.stdin.write(line(msg="x"))
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == INTERRUPTED
        assert process.stderr.read().strip() == b""


def test_a_line_without_end_is_not_kept(dockerflow):
    """100 MB in one line, with less memory than that."""
    code = (
        "import resource, subprocess, sys\n"
        "limit = 400 << 20\n"
        "process = subprocess.Popen([sys.executable, '-m', 'dockerflow', 'logs'],"
        " stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,"
        " preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit // 8, limit // 8)))\n"
        "for _ in range(100): process.stdin.write(b'x' * (1 << 20))\n"
        "process.stdin.close()\n"
        "sys.exit(process.wait())"
    )
    assert dockerflow.python(code).code == 0


def test_speed():
    """A thousand lines are no matter of seconds."""
    started = time.monotonic()
    for _ in range(1000):
        render(line(msg="x", a=1, b="two words"))
    assert time.monotonic() - started < 5


def test_nothing_of_a_line_is_lost(dockerflow):
    """What isn't as the schema has it is shown as it is, and other keys as fields."""
    wrong = b'{"Timestamp": 1, "Severity": "high", "Fields": 3}\n'
    other = b'{"Timestamp": 1, "Severity": 6, "Fields": 3}\n'
    result = dockerflow("logs", "--level", "error", stdin=wrong + other)
    assert (result.code, result.out) == (0, (wrong + other).decode())
    more = b'{"Timestamp": 0, "Type": "a", "Severity": 6, "Fields": {"msg": "b"}, "team": "web"}'
    assert dockerflow("logs", stdin=more).out == "1970-01-01 00:00:00.000 INFO     a b team=web\n"
