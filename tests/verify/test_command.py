"""The command line, as people and CI use it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import verify_helpers
from click.testing import CliRunner, Result
from verify_helpers import APP

from dockerflow.cli.verify import verify
from dockerflow.verify.rules import RULES

DOCKERFILE = str(verify_helpers.DOCKERFILE)


def runner() -> CliRunner:
    try:
        return CliRunner(mix_stderr=False)  # until click 8.1
    except TypeError:
        return CliRunner()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*args: str, **options) -> Result:
        result = runner().invoke(verify, list(args), prog_name="dockerflow verify", **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result

    return run


def rules(result: Result) -> dict[str, str]:
    return {rule["id"]: rule["status"] for rule in json.loads(result.stdout)["rules"]}


def test_passes(run):
    result = run("--dockerfile", DOCKERFILE)
    assert result.exit_code == 0
    assert "Passed: 0 errors, 0 warnings, " in result.stdout
    assert re.search(r"passed +DF205 ", result.stdout)
    assert re.search(r"not checked +DF101 ", result.stdout)


def test_finds(run):
    Path("Dockerfile").write_text("FROM python\nUSER root\n")
    result = run("--dockerfile", "Dockerfile")
    assert result.exit_code == 1
    assert "Dockerfile:2: it runs as root, not as app" in result.stdout
    assert "reproduce with: dockerflow verify --dockerfile Dockerfile" in result.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "There is nothing to check"),
        (["uvicorn"], "A command to start goes after --"),
        (["ftp://a"], "not an http:// or https:// URL"),
        (["http://"], "not an http:// or https:// URL"),
        (["http://a:99999"], "not an http:// or https:// URL"),
        (["http://[::1"], "not an http:// or https:// URL"),
        (["http://a", "http://b"], "unexpected extra argument"),
        (["--"], "There is no command after --"),
        (["--select", "DF999", "http://a"], "there is no rule 'DF999'"),
        (["--ignore", ",", "http://a"], "there is no rule"),
        (["--explain", "nonsense"], "There is no rule 'nonsense'"),
        (["--break", "X=1", "http://a"], "--break needs a command"),
        (["--env", "X=1", "http://a"], "--env needs a command"),
        (["--env", "X", "--", "a"], "'X' is not NAME=VALUE"),
        (["--slow", "/", "http://a"], "--slow needs a command"),
        (["--static", "/", "--logs", "x"], "--static needs a URL or a command"),
        (["--target", "x", "http://a"], "--target needs --dockerfile"),
        (["--build-arg", "A=1", "http://a"], "--build-arg needs --dockerfile"),
        (["--logs", "-", "--logs", "-"], "can be given once"),
        (["--wait", "0", "http://a"], "not a number of seconds over 0"),
        (["--wait", "-1", "http://a"], "not a number of seconds over 0"),
        (["--timeout", "nan", "http://a"], "not a number of seconds over 0"),
        (["--grace", "abc", "http://a"], "not a number of seconds over 0"),
        (["--limit", "1e99", "http://a"], "not a number of seconds over 0"),
        (["--format", "xml", "http://a"], "'xml' is not one of"),
        (["--fail-on", "info", "http://a"], "'info' is not one of"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_arguments(run, args, said):
    result = run(*args)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--dockerfile", "--archive", "--logs", "--version-json"])
def test_missing_files_could_not_run(run, option):
    result = run(option, "nowhere")
    assert result.exit_code == 2
    assert "could not run: nowhere can't be read" in result.stdout


def test_an_empty_dockerfile_could_not_run(run):
    Path("Dockerfile").touch()
    result = run("--dockerfile", "Dockerfile")
    assert result.exit_code == 2
    assert "Dockerfile is not a Dockerfile: it is empty" in result.stdout


def test_what_could_run_is_reported_beside_what_could_not(run):
    Path("Dockerfile").write_text("FROM python\n")
    result = run("--dockerfile", "Dockerfile", "--logs", "nowhere", "--format", "json")
    assert result.exit_code == 2
    assert rules(result)["DF205"] == "failed"


def test_select_and_ignore(run):
    both = ("--dockerfile", DOCKERFILE, "--format", "json")
    assert set(rules(run(*both, "--select", "df205,DF1"))) == {
        "DF205", *(id_ for id_ in RULES if id_.startswith("DF1")),
    }  # fmt: skip
    assert set(rules(run(*both, "--select", "DF2", "--ignore", "DF205, DF204"))) == {
        "DF201", "DF202", "DF203",
    }  # fmt: skip
    assert set(rules(run(*both))) == set(RULES)


def test_fail_on(run):
    Path("app.log").write_text("hello\n")
    codes = {
        level: run("--logs", "app.log", "--fail-on", level).exit_code
        for level in ("error", "warning", "never")
    }
    assert codes == {"error": 0, "warning": 1, "never": 0}


def test_logs_from_stdin(run):
    result = run("--logs", "-", "--format", "json", input='{"Timestamp": "x"}\n')
    assert result.exit_code == 1
    (rule,) = [rule for rule in json.loads(result.stdout)["rules"] if rule["id"] == "DF303"]
    assert rule["status"] == "failed"
    assert {finding["file"] for finding in rule["findings"]} == {None}


def test_ignored_in_the_dockerfile(run):
    Path("Dockerfile").write_text("# dockerflow ignore=DF205 root, as it has to be\nFROM a\n")
    result = run("--dockerfile", "Dockerfile", "--select", "DF205")
    assert result.exit_code == 0
    assert "ignored" in result.stdout
    Path("Dockerfile").write_text("# dockerflow ignore=DF999\nFROM a\n")
    result = run("--dockerfile", "Dockerfile")
    assert result.exit_code == 2
    assert "ignores DF999: there is no such rule" in result.stdout


def test_explain(run):
    for id_, rule in RULES.items():
        result = run("--explain", id_.lower())
        assert result.exit_code == 0
        for part in (id_, rule.heading, rule.sentence, rule.source, rule.fix):
            assert part in result.stdout


def test_settings(run):
    Path("pyproject.toml").write_text(
        "[tool.dockerflow.verify]\n"
        f"command = [{APP[0]!r}, {APP[1]!r}]\n"
        "env = { MUTANT = 'no-heartbeat' }\n"
        "wait = 30\nformat = 'json'\nselect = ['DF108', 'DF110']\n"
    )
    Path("below").mkdir()
    result = run()
    assert rules(result) == {"DF108": "failed", "DF110": "passed"}
    assert result.exit_code == 1
    # The command line wins.
    assert rules(run("--select", "DF110", "--env", "A=b")) == {"DF110": "passed"}
    assert "DF110" in run("--format", "sarif").stdout
    assert run("--", "false").exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense = 1", "has no setting 'nonsense'; there are"),
        ("format = 'xml'", "'xml' is not one of"),
        ("timeout = true", "not a number of seconds"),
        ("timeout = -1", "not a number of seconds"),
        ("select = ['DF9']", "there is no rule 'DF9'"),
        ("command = 'app'", "command must be a list of strings"),
        ("command = [1]", "command must be a list of strings"),
        ("url = 'nowhere'", "not an http:// or https:// URL"),
        ("oops", "can't be read"),
    ],
)
def test_wrong_settings(run, text, said):
    Path("pyproject.toml").write_text(f"[tool.dockerflow.verify]\n{text}\n")
    result = run("--dockerfile", DOCKERFILE)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_other_tables_are_no_business_of_ours(run):
    Path("pyproject.toml").write_text("[tool]\ndockerflow = 5\n")
    assert run("--dockerfile", DOCKERFILE).exit_code == 0


def test_waits_for_a_url(run):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}" if self.path == "/__version__" else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.server_bind()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    assert run(url, "--select", "DF110").exit_code == 2

    def listen() -> None:
        time.sleep(0.7)
        server.server_activate()
        server.serve_forever(0.02)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        result = run(url + "/", "--wait", "30", "--select", "DF108,DF110", "--format", "json")
        assert rules(result) == {"DF108": "passed", "DF110": "passed"}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_reproduce_line_reproduces(run, tmp_path):
    result = run("--env", "MUTANT=no-heartbeat", "--select", "DF108", "--", *APP)
    (line,) = re.findall(r"reproduce with: (.+)", result.stdout)
    line = line.replace("sleep 3", "sleep 1")
    out = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, cwd=tmp_path
    ).stdout
    assert "404" in out


def test_as_the_installed_command():
    result = subprocess.run(
        [sys.executable, "-m", "dockerflow", "verify", "--dockerfile", DOCKERFILE, "--", *APP],
        capture_output=True, text=True, timeout=60, cwd=verify_helpers.SUBJECTS,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "DF107" in result.stdout
    assert "Passed" in result.stdout
    assert result.stderr == ""


def test_help(run):
    result = run("--help")
    assert result.exit_code == 0
    for option in (
        "--dockerfile",
        "--image",
        "--archive",
        "--logs",
        "--version-json",
        "-- COMMAND",
    ):
        assert option in result.stdout


def test_nothing_to_look_at_is_no_success(tmp_path):
    log = tmp_path / "app.log"
    log.write_text("")
    result = CliRunner().invoke(verify, ["--logs", str(log)])
    assert result.exit_code == 2
    assert "nothing that any of the rules could be applied to" in result.output
