"""What holds for every subcommand: help, errors, completion, and what is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dockerflow import __version__
from dockerflow.cli import _group as group
from dockerflow.cli.healthcheck import OPTIONS

HELPS = [
    [],
    *([name] for name in ("checks", "healthcheck", "init", "logs", "version")),
    *(["version", name] for name in ("write", "check", "show")),
]


def test_version(dockerflow):
    result = dockerflow.process("--version")
    assert (result.code, result.out) == (0, f"dockerflow {__version__}\n")


@pytest.mark.parametrize("path", HELPS, ids=" ".join)
def test_help(dockerflow, path):
    result = dockerflow(*path, "--help")
    assert result.code == 0
    assert result.err == ""
    assert re.match(rf"usage: dockerflow {' '.join(path)}", result.out, re.IGNORECASE)
    assert "\b" not in result.out
    assert dockerflow(*path, "-h").out == result.out


def test_help_lists_every_subcommand(dockerflow):
    out = dockerflow("--help").out
    for name in ("checks", "healthcheck", "init", "logs", "verify", "version"):
        assert re.search(rf"^  {name} +\w.*\.$", out, re.MULTILINE), name


@pytest.mark.parametrize("args", [[], ["version"]])
def test_no_arguments_give_the_help(dockerflow, args):
    result = dockerflow(*args)
    assert "Commands:" in result.out + result.err


def test_module(dockerflow):
    code = "import runpy, sys; sys.argv = ['x', '--version']; runpy.run_module('dockerflow', run_name='__main__')"
    assert dockerflow.python(code).out == f"dockerflow {__version__}\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nope"], "'nope'"),
        (["verfy"], "'verfy'"),
        (["--nope"], "--nope"),
        (["version", "nope"], "'nope'"),
        (["version", "write", "--nope"], "--nope"),
        (["version", "write", "--from", "jenkins"], "'jenkins' is not one of 'github'"),
        (["logs", "--level", "loud"], "'loud' is not one of"),
        (["checks", "--fail-level", "ok"], "'ok' is not one of 'warning', 'error', 'critical'"),
    ],
)
def test_wrong_usage_is_one_line_and_2(dockerflow, args, says):
    result = dockerflow(*args)
    assert result.code == 2
    assert says in result.error
    assert not re.search(r"[.?]\.", result.error)
    assert "--help" in result.error


def test_without_the_extra(dockerflow):
    """An image may have the core install only."""
    code = "import sys; sys.modules['click'] = None; from dockerflow.cli import main; sys.exit(main({}))"
    result = dockerflow.python(code.format(["version", "show"]))
    assert result.code == 2
    assert "pip install 'dockerflow-middleware[cli]'" in result.error
    result = dockerflow.python(code.format(["healthcheck", "--port", "1"]))
    assert result.code == 1
    assert result.error.startswith("unhealthy: http://127.0.0.1:1/__lbheartbeat__ ")
    assert dockerflow.python(code.format(["healthcheck", "--help"])).code == 0


def test_subcommand_whose_requirements_are_missing(dockerflow):
    code = (
        "import sys; sys.modules['dockerflow.verify'] = None\n"
        "from dockerflow.cli import main; sys.exit(main(['verify', 'http://localhost']))"
    )
    result = dockerflow.python(code)
    assert result.code == 2
    assert result.error.startswith("dockerflow: verify needs dockerflow.verify")
    assert result.error.endswith("pip install 'dockerflow-middleware[cli]'")


@pytest.mark.parametrize(
    ("args", "absent"),
    [
        (["healthcheck", "--port", "1"], {"click", "logging.config"}),
        (["--help"], {"httpx2", "jsonschema", "rich", "dockerflow.verify"}),
    ],
    ids=["healthcheck", "help"],
)
def test_imports_only_what_it_needs(args, absent, dockerflow):
    # Measuring coverage loads more.
    dockerflow.environment.pop("COVERAGE_PROCESS_CONFIG", None)
    code = f"import sys; from dockerflow.cli import main; main({args}); print(*sys.modules)"
    loaded = {*dockerflow.python(code).out.splitlines()[-1].split()}
    assert "dockerflow.cli" in loaded
    assert loaded.isdisjoint(absent), loaded & absent


def _complete(dockerflow, words, index):
    result = dockerflow(
        _DOCKERFLOW_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(index)
    )
    assert result.code == 0
    assert result.err == ""
    return [line.partition(",")[2] for line in result.out.splitlines()]


def test_completion(dockerflow):
    assert _complete(dockerflow, "dockerflow ", 1) == [*group.dockerflow.commands]
    assert _complete(dockerflow, "dockerflow ver", 1) == ["verify", "version"]
    assert _complete(dockerflow, "dockerflow --v", 1) == ["--version"]
    assert _complete(dockerflow, "dockerflow version ", 2) == ["check", "show", "write"]
    assert _complete(dockerflow, "dockerflow version write --from git", 4) == [
        "github",
        "gitlab",
        "git",
    ]
    assert {*_complete(dockerflow, "dockerflow healthcheck --", 2)} == {*OPTIONS, "--help"}


def test_health_check_by_way_of_click():
    with pytest.raises(SystemExit, match="^1$"):
        group.dockerflow.main(["healthcheck", "x"], standalone_mode=False, prog_name="x")


def test_closed_output(dockerflow):
    """That the reader has gone is not an error to report."""
    for args in (["--help"], ["healthcheck", "--help"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "dockerflow", *args],
            env=dockerflow.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(60) in (0, 1)  # click's help gives 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 2),
        (["logs", "-"], 2),
        (["version", "write", "--commit", "abc", "-"], 2),
        (["verify", "--explain", "DF101"], 2),
        (["healthcheck", "--file", __file__, "--max-age", "9e9"], 0),
        (["healthcheck", "--file", "nope", "--max-age", "1"], 1),
    ],
)
def test_full_disk(dockerflow, args, code):
    """The exit code of healthcheck is that of the service."""
    with open("/dev/full", "wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "dockerflow", *args],
            env=dockerflow.environment, input=b"a line\n", stdout=full, stderr=subprocess.PIPE,
        )  # fmt: skip
    assert process.returncode == code
    *_, last = process.stderr.decode().splitlines()
    says = "unhealthy: nope" if code == 1 else "dockerflow: the output can't be written: No space"
    assert last.startswith(says)
    assert b"Traceback" not in process.stderr


@pytest.mark.parametrize(
    "args",
    ["logs -", "verify --version-json version.json", "version show", "checks json", "--help"],
)
def test_no_standard_output(dockerflow, args):
    (dockerflow.folder / "version.json").write_text("[]")
    result = subprocess.run(
        ["sh", "-c", f"exec {dockerflow.script} {args} >&-"],
        cwd=dockerflow.folder, env=dockerflow.environment, input=b"", stderr=subprocess.PIPE,
    )  # fmt: skip
    assert result.returncode in (0, 1), "1 if something was found"
    assert b"Traceback" not in result.stderr


def test_control_characters_in_an_error(dockerflow):
    assert dockerflow("logs", "a\x1bb").error.startswith("dockerflow: a?b can't be read: ")
