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
from dockerflow.verify.verdicts import FAIL_ON

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
    assert re.search(r"not checked: DF101, .*DF117", result.stdout)


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
        (["ftp://a"], "must be an http:// or https:// URL"),
        (["http://"], "must be an http:// or https:// URL"),
        (["http://a:99999"], "must be an http:// or https:// URL"),
        (["http://[::1"], "must be an http:// or https:// URL"),
        (["nowhere/Dockerfile"], "must be a file or a URL, not 'nowhere/Dockerfile'"),
        (["http://a", "uvicorn"], "A command to start goes after --"),
        (["--only", "shop"], "There is no target 'shop'; no named target is checked"),
        (["--per-file-ignores", "a", "http://a"], "must be NAME=VALUE, not 'a'"),
        (["--per-file-ignores", "a=DF9", "http://a"], "there is no rule 'DF9'"),
        (["--output", "xml=x", "http://a"], "the format must be one of text, json"),
        (["--update-baseline", "http://a"], "--update-baseline needs --baseline"),
        (["--baseline", "x", "http://a"], "x can't be read: No such file or directory; --update-"),
        (["--"], "There is no command after --"),
        (["--select", "DF999", "http://a"], "there is no rule 'DF999'"),
        (["--ignore", ",", "http://a"], "there is no rule"),
        (["--explain", "nonsense"], "There is no rule 'nonsense'"),
        (["--break", "X=1", "http://a"], "--break needs a command"),
        (["--run", "http://a"], "--run needs --image"),
        (["--read-only", "--image", "a"], "--read-only needs --run"),
        (["--network", "a", "--image", "a"], "--network needs --run"),
        (["--require", "DF999", "http://a"], "there is no rule 'DF999'"),
        (["--require", "DF1", "--select", "DF2", "http://a"], "it is not selected"),
        (["--env", "X=1", "http://a"], "--env needs a command"),
        (["--env", "X", "--", "a"], "must be NAME=VALUE, not 'X'"),
        (["--slow", "/", "http://a"], "--slow needs a command"),
        (["--static", "/", "--logs", "x"], "--static needs a URL, a command or --run"),
        (["--target", "x", "http://a"], "--target needs --dockerfile"),
        (["--build-arg", "A=1", "http://a"], "--build-arg needs --dockerfile"),
        (["--logs", "-", "--logs", "-"], "can be given once"),
        (["--manifest", "-", "--compose", "-"], "can be given once"),
        (["--wait", "0", "http://a"], "must be a number of seconds greater than 0"),
        (["--wait", "-1", "http://a"], "must be a number of seconds greater than 0"),
        (["--timeout", "nan", "http://a"], "must be a number of seconds greater than 0"),
        (["--grace", "abc", "http://a"], "must be a number of seconds greater than 0"),
        (["--limit", "1e99", "http://a"], "must be a number of seconds greater than 0"),
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


@pytest.mark.parametrize(
    "option", ["--dockerfile", "--archive", "--logs", "--version-json", "--manifest", "--compose"]
)
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


def codes(run, *args) -> dict[str, int]:
    return {level: run(*args, "--fail-on", level).exit_code for level in FAIL_ON}


def test_fail_on(run):
    """Each level includes those before it, but never includes nothing."""
    Path("app.log").write_text("hello\n")
    warning = ("--logs", "app.log", "--select", "DF302")
    assert codes(run, *warning) == {
        "error": 0, "warning": 1, "unknown": 1, "not-checked": 1, "never": 0,
    }  # fmt: skip
    not_checked = ("--dockerfile", DOCKERFILE, "--select", "DF109,DF2")
    assert codes(run, *not_checked) == {
        "error": 0, "warning": 0, "unknown": 0, "not-checked": 1, "never": 0,
    }  # fmt: skip
    unknown = ("--select", "DF109", "--env", "MUTANT=unwell", "--break", "DATABASE=down")
    assert {
        level: run(*unknown, "--fail-on", level, "--", *APP).exit_code
        for level in ("warning", "unknown", "not-checked", "never")
    } == {"warning": 0, "unknown": 1, "not-checked": 1, "never": 0}


def test_required_rules_must_be_checked(run):
    dockerfile = ("--dockerfile", DOCKERFILE)
    assert run(*dockerfile, "--require", "DF2").exit_code == 0
    result = run(*dockerfile, "--require", "DF2,DF109", "--require", "DF111")
    assert result.exit_code == 1
    for id_ in ("DF109", "DF111"):
        assert f"✗ {id_} error: " in result.stdout
    assert result.stdout.count("it was not checked; it looks at a command") == 2
    assert "Failed: 2 not verified, 0 errors" in result.stdout
    assert "DF117: " not in result.stdout
    # Not those that are ignored, but then all of an option's would be.
    assert run(*dockerfile, "--require", "DF1", "--ignore", "DF1").exit_code == 2
    assert run(*dockerfile, "--require", "DF10", "--select", "DF2,DF103").exit_code == 1
    assert run(*dockerfile, "--require", "DF20", "--ignore", "DF201").exit_code == 0
    assert run(*dockerfile, "--require", "DF109", "--fail-on", "never").exit_code == 0


def test_a_heartbeat_that_always_fails_tells_nothing(run):
    """Whether it is 5xx because of the broken service."""
    args = ("--env", "MUTANT=unwell", "--break", "DATABASE=down", "--require", "DF109")
    result = run(*args, "--select", "DF109", "--", *APP)
    assert result.exit_code == 1
    assert (
        "can't tell: GET /__heartbeat__ is HTTP 5xx, but also without DATABASE=down"
        in result.stdout
    )


def test_logs_from_stdin(run):
    result = run("--logs", "-", "--format", "json", input='{"Timestamp": "x"}\n')
    assert result.exit_code == 1
    (rule,) = [rule for rule in json.loads(result.stdout)["rules"] if rule["id"] == "DF303"]
    assert rule["status"] == "failed"
    assert {finding["file"] for finding in rule["findings"]} == {None}


@pytest.mark.parametrize(
    ("option", "text", "place"),
    [
        (
            "--manifest",
            "kind: Pod\nspec: {containers: [{name: a, ports: [{containerPort: 80}], tty: true}]}",
            "stdin, line 2",
        ),
        ("--compose", "services:\n  a: {build: ., ports: ['80'], tty: true}", "stdin, line 2"),
    ],
)
def test_deployment_from_stdin(run, option, text, place):
    result = run(option, "-", "--format", "json", "--select", "DF407", input=text)
    ((rule,),) = [json.loads(result.stdout)["rules"]]
    ((finding,),) = [rule["findings"]]
    assert (finding["where"], finding["file"], finding["line"]) == (place, None, 2)


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
        for part in (
            id_, rule.heading, rule.sentence, rule.source, rule.why, rule.bad, rule.good, rule.fix,
        ):  # fmt: skip
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


WRONG_SETTINGS = [
    ("nonsense = 1", "unknown setting 'nonsense'; the settings are"),
    ("format = 'xml'", "'xml' is not one of"),
    ("timeout = true", "must be a number of seconds"),
    ("timeout = -1", "must be a number of seconds"),
    ("select = ['DF9']", "there is no rule 'DF9'"),
    ("command = 'app'", "command must be a list of strings"),
    ("command = []", "command must be a list of strings"),
    ("command = [1]", "command must be a list of strings"),
    ("url = 'nowhere'", "must be an http:// or https:// URL"),
    ("per-file-ignores = {'a/*' = ['DF9']}", "there is no rule 'DF9'"),
    ("per-file-ignores = {'a/*' = [1]}", "per-file-ignores can't be [1]"),
    ("dockerfile = [[1]]", "dockerfile can't be [1]"),
    ("dockerfile = {a = {}}", "dockerfile can't be {}"),
    ("url = ['http://a']", "url can't be ['http://a']"),
    ("url = 1979-05-27", "url can't be datetime.date(1979, 5, 27)"),
    ("url = 5", "must be an http:// or https:// URL or unix:PATH, not '5'"),
    ("targets = 1", "is not a table"),
    ("target = {shop = {}}", "target can't be {'shop': {}}; did you mean targets?"),
    ("update-baseline = true", "unknown setting 'update-baseline'"),
    ("oops", "can't be read"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_SETTINGS)
@pytest.mark.parametrize("file", ["pyproject.toml", "dockerflow.toml"])
def test_wrong_settings(run, file, text, said):
    header = "[tool.dockerflow.verify]\n" if file == "pyproject.toml" else ""
    Path(file).write_text(f"{header}{text}\n")
    result = run("--dockerfile", DOCKERFILE)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_other_tables_are_no_business_of_ours(run):
    Path("pyproject.toml").write_text("[tool]\ndockerflow = 5\n")
    assert run("--dockerfile", DOCKERFILE).exit_code == 0


def test_the_nearest_settings_are_used(run, monkeypatch):
    """A service's pyproject.toml without our table doesn't hide the repository's settings."""
    Path("dockerflow.toml").write_text("format = 'json'\nselect = ['DF205']\n")
    Path("service").mkdir()
    Path("service/pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir("service")
    assert rules(run(DOCKERFILE)) == {"DF205": "passed"}
    Path("pyproject.toml").write_text("[tool.dockerflow.verify]\nformat = 'sarif'\n")
    assert "sarif" in run(DOCKERFILE).stdout


def test_settings_outside_of_the_repository_are_not_used(run, monkeypatch):
    Path("dockerflow.toml").write_text("oops")
    Path("repository/.git").mkdir(parents=True)
    Path("repository/service").mkdir()
    monkeypatch.chdir("repository/service")
    assert run(DOCKERFILE).exit_code == 0
    Path("../dockerflow.toml").write_text("format = 'json'\nselect = ['DF205']\n")
    assert rules(run(DOCKERFILE)) == {"DF205": "passed"}


def test_settings_in_two_files_are_refused(run):
    Path("dockerflow.toml").touch()
    Path("pyproject.toml").write_text("[tool.dockerflow.verify]\n")
    result = run(DOCKERFILE)
    assert result.exit_code == 2
    assert "are both there; remove one of them" in " ".join(result.stderr.split())


# --- several targets -----------------------------------------------------------------------------

FLEET = """
format = "json"
select = ["DF205", "DF306"]

[targets.shop]
dockerfile = "shop/Dockerfile"

[targets.blog]
dockerfile = "blog/Dockerfile"
fail-on = "warning"
ignore = ["DF205"]

[targets.legacy]
dockerfile = "legacy/Dockerfile"
fail-on = "never"
"""


@pytest.fixture
def fleet():
    Path("dockerflow.toml").write_text(FLEET)
    for name, text in {
        "shop": "FROM a\nENV PORT=8000\nUSER app\n",
        "blog": "FROM a\nUSER root\n",
        "legacy": "FROM a\nUSER root\n",
    }.items():
        Path(name).mkdir()
        Path(name, "Dockerfile").write_text(text)


def results(result: Result) -> dict[str, dict[str, str]]:
    return {
        one["name"]: {rule["id"]: rule["status"] for rule in one["rules"]}
        for one in json.loads(result.stdout)["results"]
    }


def test_named_targets_are_checked_each_with_its_settings(run, fleet):
    result = run()
    assert results(result) == {
        "shop": {"DF205": "passed", "DF306": "passed"},
        "blog": {"DF306": "failed"},
        "legacy": {"DF205": "failed", "DF306": "failed"},
    }
    codes = {one["name"]: one["exit_code"] for one in json.loads(result.stdout)["results"]}
    assert codes == {"shop": 0, "blog": 1, "legacy": 0}
    assert result.exit_code == 1


def test_one_of_the_named_targets(run, fleet):
    result = run("--only", "shop", "--only", "legacy")
    assert list(results(result)) == ["shop", "legacy"]
    assert result.exit_code == 0
    # The command line wins over the target's settings.
    assert run("--only", "legacy", "--fail-on", "error").exit_code == 1


def test_a_target_that_is_given_is_checked_instead(run, fleet):
    """A pre-commit hook names files; the other services aren't its business."""
    assert rules(run("blog/Dockerfile")) == {"DF205": "failed", "DF306": "failed"}
    assert rules(run("--dockerfile", "shop/Dockerfile")) == {"DF205": "passed", "DF306": "passed"}
    assert run("--only", "shop", "blog/Dockerfile").exit_code == 2


def test_compose_files_of_several_folders_are_several_projects(run):
    """A pre-commit hook gives them all; one must not be laid over the other."""
    text = "services: {{web: {{build: ., ports: ['8000'], user: '{}'}}}}\n"
    for name, user in {
        "a/compose.yaml": "1",
        "b/compose.override.yaml": "10001",
        "b/compose.yaml": "2",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text.format(user))
    options = ("--select", "DF404", "--format", "json")
    files = ("a/compose.yaml", "b/compose.override.yaml", "b/compose.yaml")
    (rule,) = json.loads(run(*options, *files).stdout)["rules"]
    assert [one["file"] for one in rule["findings"]] == ["a/compose.yaml"]
    assert rules(run(*options, *files[1:])) == {"DF404": "passed"}


def test_arguments_and_options_are_checked_together(run, fleet):
    Path("dockerflow.toml").write_text("dockerfile = 'legacy/Dockerfile'\nselect = ['DF205']\n")
    result = run("shop/Dockerfile", "--dockerfile", "blog/Dockerfile", "--format", "json")
    assert json.loads(result.stdout)["targets"] == ["blog/Dockerfile", "shop/Dockerfile"]
    result = run("shop/Dockerfile", "--format", "json")
    assert json.loads(result.stdout)["targets"] == ["shop/Dockerfile"]
    result = run("--url", "http://127.0.0.1:1", "http://127.0.0.1:2")
    assert (result.exit_code, "as arguments" in result.stderr) == (2, True)


def test_a_line_of_stdin_may_move(run):
    """Otherwise `helm template` has new findings with each line that is added before them."""
    text = "services: {a: {build: ., ports: ['80'], tty: true}}"
    options = (
        "--select",
        "DF407",
        "--fail-on",
        "warning",
        "--compose",
        "-",
        "--baseline",
        "b.json",
    )
    assert run(*options, "--update-baseline", input=text).exit_code == 0
    assert run(*options, input=f"# new\n{text}").exit_code == 0
    assert run(*options, input=text.replace("tty", "stdin_open")).exit_code == 1
    gone = run(*options, input=text.replace("true", "false"))
    assert "in the baseline, but no longer found: DF407 at stdin: " in gone.stdout
    shown = run(*options[:-2], "--format", "github", input=text).stdout
    assert shown.startswith("::warning title=DF407 Runs without a terminal::stdin, line 1: ")


def test_only_what_an_argument_names_is_checked(run, fleet):
    """A pre-commit hook starts no app; options of the settings for it have no effect."""
    Path("dockerflow.toml").write_text(
        "select = ['DF205']\nformat = 'json'\ncommand = ['false']\nimage = 'none'\nrun = true\n"
        "url = 'http://127.0.0.1:1'\nenv = {A = 'b'}\nbuild-arg = {A = 'b'}\n"
    )
    result = run("shop/Dockerfile")
    assert json.loads(result.stdout)["targets"] == ["shop/Dockerfile"]
    assert result.exit_code == 0
    result = run("shop/Dockerfile", "--break", "A=b")
    assert (result.exit_code, "--break needs a command" in result.stderr) == (2, True)


def test_files_that_are_nested_too_deeply(run):
    Path("deep.json").write_text("[" * 200_000)
    result = run(DOCKERFILE, "--baseline", "deep.json")
    assert (result.exit_code, "it is not a baseline" in result.stderr) == (2, True)
    Path("dockerflow.toml").write_text("a = " + "[" * 20_000)
    result = run(DOCKERFILE)
    assert (result.exit_code, "can't be read" in result.stderr) == (2, True)


def test_a_name_that_is_too_long(run):
    result = run("a" * 5000)
    assert (result.exit_code, "must be a file or a URL" in result.stderr) == (2, True)


def test_named_targets_in_pyproject(run, fleet):
    text = FLEET.replace("[targets.", "[tool.dockerflow.verify.targets.")
    Path("dockerflow.toml").unlink()
    Path("pyproject.toml").write_text(f"[tool.dockerflow.verify]{text}")
    assert list(results(run())) == ["shop", "blog", "legacy"]


def test_a_named_target_that_cannot_run_leaves_the_others(run, fleet):
    Path("shop/Dockerfile").unlink()
    result = run()
    assert result.exit_code == 2
    assert [list(found.values()) for found in results(result).values()][1:] == [
        ["failed"], ["failed", "failed"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("oops = 1", "dockerflow.toml: [targets.shop] unknown setting 'oops'; the settings are"),
        ("format = 'json'", "[targets.shop] unknown setting 'format'; the settings are"),
        ("wait = 0", "[targets.shop] Invalid value for '--wait': must be a number of seconds"),
        ("env = {A = 'b'}", "[targets.shop] There is nothing to check"),
        ("dockerfile = 'D'\nenv = {A = 'b'}", "[targets.shop] --env needs a command"),
    ],
)
def test_wrong_settings_of_a_target_are_named(run, text, said):
    Path("dockerflow.toml").write_text(f"[targets.shop]\n{text}\n")
    result = run()
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_command_of_a_named_target(run):
    Path("dockerflow.toml").write_text(
        f"select = ['DF110']\n[targets.a]\ncommand = {list(APP)}\n"
        f"[targets.b]\ncommand = {list(APP)}\nenv = {{ MUTANT = 'no-lbheartbeat' }}\n"
    )
    found = results(run("--format", "json"))
    assert found["a"] == {"DF110": "passed"}
    assert set(found) == {"a", "b"}


def test_settings_for_all_hold_for_each_target(run):
    Path("dockerflow.toml").write_text(
        f"command = {list(APP)}\nselect = ['DF108']\nformat = 'json'\n"
        "[targets.a]\n[targets.b]\nenv = { MUTANT = 'no-heartbeat' }\n"
    )
    assert results(run()) == {"a": {"DF108": "passed"}, "b": {"DF108": "failed"}}


def test_a_setting_for_all_may_have_no_effect_on_some(run, fleet):
    Path("dockerflow.toml").write_text(f"run = true\nheader = {{A = 'b'}}\n{FLEET.lstrip()}")
    assert list(results(run("--only", "shop", "--only", "shop"))) == ["shop"]
    assert run("--only", "shop", "--slow", "/").exit_code == 2


def test_several_urls_are_targets_of_their_names(run):
    result = run("http://127.0.0.1:1", "http://127.0.0.1:2", DOCKERFILE, "--format", "json")
    assert list(results(result)) == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    assert result.exit_code == 2


# --- what is accepted and ignored ----------------------------------------------------------------


def test_a_baseline_accepts_what_there_is_and_fails_on_what_is_new(run, fleet):
    options = ("--baseline", "baseline.json", "--fail-on", "warning")
    assert run(*options, "--update-baseline").exit_code == 0
    written = Path("baseline.json").read_text()
    assert json.loads(written)["accepted"][0] == {
        "target": "blog",
        "place": "blog/Dockerfile",
        "rule": "DF306",
        "message": "it names no port: it has neither EXPOSE nor ENV PORT",
    }
    assert run(*options, "--update-baseline").exit_code == 0
    assert Path("baseline.json").read_text() == written
    result = run(*options)
    assert result.exit_code == 0
    assert results(result)["legacy"] == {"DF205": "accepted", "DF306": "accepted"}
    # Other lines make no difference, another finding does.
    Path("legacy/Dockerfile").write_text("FROM a\n\n\nUSER root\n")
    assert run(*options).exit_code == 0
    Path("shop/Dockerfile").write_text("FROM a\nENV PORT=8000\nUSER root\n")
    result = run(*options)
    assert result.exit_code == 1
    assert results(result)["shop"] == {"DF205": "failed", "DF306": "passed"}


def test_entries_that_no_longer_occur_are_reported(run, fleet):
    options = ("--baseline", "baseline.json")
    run(*options, "--update-baseline")
    Path("legacy/Dockerfile").write_text("FROM a\nENV PORT=8000\nUSER root\n")
    result = run(*options, "--only", "legacy", "--format", "text")
    assert result.exit_code == 0
    assert "in the baseline, but no longer found: DF306 at legacy/Dockerfile: " in result.stdout
    # What isn't examined isn't stale, and an update keeps it.
    assert "no longer found" not in run(*options, "shop/Dockerfile", "--format", "text").stdout
    run(*options, "--update-baseline", "--only", "legacy")
    kept = json.loads(Path("baseline.json").read_text())["accepted"]
    assert [(one["target"], one["rule"]) for one in kept] == [
        ("blog", "DF306"),
        ("legacy", "DF205"),
    ]


def test_ports_make_no_new_finding(run):
    """The app is given another port each time, and takes another."""
    options = ("--baseline", "baseline.json", "--select", "DF102", "--env", "MUTANT=any-port")
    assert run(*options, "--update-baseline", "--", *APP).exit_code == 0
    (entry,) = json.loads(Path("baseline.json").read_text())["accepted"]
    assert "PORT=#" in entry["message"]
    assert run(*options, "--", *APP).exit_code == 0


def test_a_baseline_of_named_targets_holds_for_their_files(run, fleet):
    """As a pre-commit hook gives them."""
    options = ("--baseline", "baseline.json", "--fail-on", "warning")
    run(*options, "--update-baseline")
    before = Path("baseline.json").read_text()
    assert set(rules(run(*options, "legacy/Dockerfile")).values()) == {"accepted"}
    Path("legacy/Dockerfile").write_text("FROM a\nENV PORT=8000\nUSER root\n")
    assert run(*options, "--update-baseline", "legacy/Dockerfile").exit_code == 0
    after = json.loads(Path("baseline.json").read_text())["accepted"]
    gone = [one for one in json.loads(before)["accepted"] if one not in after]
    assert [(one["target"], one["rule"]) for one in gone] == [("legacy", "DF306")]
    assert len(after) == 2


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"accepted": [{}]}', '{"accepted": [1]}', "\x00"]
)
def test_a_baseline_that_is_none(run, text):
    Path("baseline.json").write_text(text)
    result = run("--baseline", "baseline.json", DOCKERFILE)
    assert result.exit_code == 2
    assert "baseline.json can't be read: " in " ".join(result.stderr.split())


def test_rules_are_ignored_by_place(run, fleet):
    with Path("dockerflow.toml").open("a") as file:
        file.write('[per-file-ignores]\n"legacy/*" = ["DF205", "DF3"]\n')
    assert results(run())["legacy"] == {"DF205": "ignored", "DF306": "ignored"}
    assert results(run())["blog"] == {"DF306": "failed"}
    # As for other options, the command line wins.
    result = run("--per-file-ignores", "*blog*=DF306")
    assert results(result)["blog"] == {"DF306": "ignored"}
    assert results(result)["legacy"]["DF205"] == "failed"


def test_rules_are_ignored_by_the_place_of_what_runs(run):
    found = run("--logs", "-", "--format", "json", "--select", "DF302", input="hello\n")
    assert rules(found) == {"DF302": "failed"}
    options = ("--per-file-ignores", "std*=DF302", "--format", "json", "--select", "DF302")
    assert rules(run("--logs", "-", *options, input="hello\n")) == {"DF302": "ignored"}


def test_results_are_written_to_files_too(run, fleet):
    result = run("--output", "sarif=a.sarif", "--output", "markdown=a.md", "--output", "text=a.txt")
    assert list(results(result)) == ["shop", "blog", "legacy"]
    sarif = json.loads(Path("a.sarif").read_text())["runs"][0]
    assert {one["properties"]["target"] for one in sarif["results"]} == {"blog", "legacy"}
    assert "| `` shop `` | passed |" in Path("a.md").read_text()
    assert Path("a.txt").read_text().startswith("Dockerflow: blog: blog/Dockerfile\n")
    result = run("--output", "text=nowhere/a.txt")
    assert result.exit_code == 2
    assert "nowhere/a.txt can't be written: No such file" in " ".join(result.stderr.split())
    assert list(results(result)) == ["shop", "blog", "legacy"]


def test_what_has_no_file_is_shown_at_the_dockerfile_or_the_settings(run, fleet):
    Path("dockerflow.toml").write_text(
        f"[targets.a]\ncommand = {list(APP)}\nenv = {{ MUTANT = 'no-heartbeat' }}\n"
    )

    def places(*args: str) -> list[dict]:
        run("--select", "DF108", "--output", "sarif=a.sarif", *args)
        found = json.loads(Path("a.sarif").read_text())["runs"][0]["results"]
        return [one["locations"][0]["physicalLocation"] for one in found]

    line = {"startLine": 1}
    assert places() == [{"artifactLocation": {"uri": "dockerflow.toml"}, "region": line}]
    with Path("dockerflow.toml").open("a") as file:
        file.write("dockerfile = 'shop/Dockerfile'\n")
    assert places() == [{"artifactLocation": {"uri": "shop/Dockerfile"}, "region": line}]
    Path("dockerflow.toml").unlink()
    assert places("--env", "MUTANT=no-heartbeat", "--", *APP) == []


def test_waits_for_a_url(run):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/__") else 404)
            self.end_headers()

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
    assert "none of the rules had anything to check" in result.output
