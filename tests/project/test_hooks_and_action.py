"""What other repositories use of this one: the hooks for pre-commit, the action, the workflow."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pages
import pytest

probes = pytest.importorskip("dockerflow.verify.probes")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "verify" / "action.yml"
WORKFLOW = ROOT / ".github" / "workflows" / "verify.yml"
BIN = Path(sys.executable).parent
# Installs this repository without asking an index: its requirements are those of these tests.
OFFLINE = {
    "PYTHONPATH": sysconfig.get_path("purelib"),
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # which means: no isolation
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}

SOUND = (ROOT / "tests/verify/subjects/Dockerfile").read_text(encoding="utf-8")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- pre-commit ----------------------------------------------------------------------------------

HOOKS = {hook["id"]: hook for hook in load(ROOT / ".pre-commit-hooks.yaml")}

# Names of files, and whether the hook is to check them.
FILES = {
    "compose.yaml": True,
    "docker-compose.prod.yml": True,
    "shop/compose.yml": True,
    "k8s/deployment.yaml": True,
    "shop/kubernetes/web.yml": True,
    "composer.yaml": False,
    ".github/workflows/ci.yml": False,
    "notk8s/a.yaml": False,
    "k8s/kustomization.yaml": False,  # the input of a tool
}


def test_the_hook_for_deployments_checks_its_files_only():
    hook = HOOKS["dockerflow-deployment"]

    def is_checked(name: str) -> bool:
        return bool(re.search(hook["files"], name)) and not re.search(hook["exclude"], name)

    assert {name: is_checked(name) for name in FILES} == FILES


@pytest.fixture(scope="module")
def pre_commit() -> Path:
    program = BIN / "pre-commit"
    if not program.exists() or not (ROOT / ".git").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no pre-commit, or no git")
    return program


def test_the_hooks_are_a_manifest(pre_commit, tmp_path):
    command = [pre_commit, "validate-manifest", ROOT / ".pre-commit-hooks.yaml"]
    subprocess.run(command, check=True, env={**os.environ, "PRE_COMMIT_HOME": str(tmp_path)})


CASES = [
    (
        "dockerflow-dockerfile",
        {"web.Dockerfile": SOUND, "shop/Dockerfile": SOUND.replace("USER app", "USER root")},
        "Failed: 1 error, 0 warnings",
    )
]
if "composes" in {field.name for field in dataclasses.fields(probes.Targets)}:
    bad = """\
services:
  web:
    image: example/web
    healthcheck: {test: [CMD, curl, -f, "http://localhost:8000/__heartbeat__"]}
"""
    files = {"compose.yaml": bad, "other.yaml": "not: ours"}
    CASES.append(("dockerflow-deployment", files, "compose.yaml:4: "))


@pytest.mark.timeout(300)
def test_the_hooks_run(pre_commit, tmp_path):
    """As pre-commit runs them: cloned, installed into an environment, with files as arguments."""
    environ = {**os.environ, **OFFLINE, "PRE_COMMIT_HOME": str(tmp_path / "home")}
    for number, (hook, files, shown) in enumerate(CASES):
        repository = tmp_path / str(number)
        for name, text in files.items():
            path = repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        subprocess.run(["git", "init", "-q", repository], check=True)
        subprocess.run(["git", "add", "."], cwd=repository, check=True)
        result = subprocess.run(
            [pre_commit, "try-repo", ROOT, hook, "--all-files", "--verbose"],
            cwd=repository, env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 1, result.stdout + result.stderr
        assert shown in result.stdout


# --- GitHub Actions ------------------------------------------------------------------------------


def linter(*command: Any) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0], path=BIN)
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no {command[0]}")
    return subprocess.run(
        [program, *map(str, command[1:])], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("command", "path", "good", "bad"),
    [
        (["zizmor", "--offline", "--persona=pedantic"], ACTION, "@5fda3b95a4ea91299a34e894583c3862153e4b97", "@v7"),
        (["check-jsonschema", "--builtin-schema", "vendor.github-actions"], ACTION, "shell: bash", "shel: bash"),
        (["check-jsonschema", "--builtin-schema", "vendor.github-workflows"], WORKFLOW, "runs-on", "runs"),
        (["jactionlint"], WORKFLOW, "inputs.arguments", "inputs.argument"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_linters_find_nothing(command, path, good, bad, tmp_path):
    result = linter(*command, path)
    assert result.returncode == 0, result.stdout + result.stderr
    text = path.read_text(encoding="utf-8")
    assert good in text
    broken = tmp_path / ".github" / "workflows" / path.name
    if path == ACTION:
        broken = tmp_path / path.name
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_text(text.replace(good, bad), encoding="utf-8")
    assert linter(*command, broken).returncode != 0, "it finds what is wrong"


def test_what_the_page_shows_is_what_its_tools_take(pre_commit, tmp_path):
    blocks = pages.blocks(pages.DOCS / "rollout.md")
    files = {block.caption: block.text for block in blocks if block.caption}
    for name in (".github/workflows/dockerflow.yml", ".pre-commit-config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(files[name], encoding="utf-8")
    subprocess.run([pre_commit, "validate-config", tmp_path / name], check=True)
    assert {hook["id"] for hook in load(tmp_path / name)["repos"][0]["hooks"]} == set(HOOKS)
    workflow = tmp_path / ".github/workflows/dockerflow.yml"
    schema = ("check-jsonschema", "--builtin-schema", "vendor.github-workflows")
    for command in (schema, ("jactionlint",)):
        result = linter(*command, workflow)
        assert result.returncode == 0, result.stdout + result.stderr
    (job,) = load(workflow)["jobs"].values()
    (called,) = load(WORKFLOW)["jobs"].values()
    assert job["permissions"] == called["permissions"]
    assert set(job["with"]) <= set(load(WORKFLOW)[True]["workflow_call"]["inputs"])  # True is "on"
    assert f"/{WORKFLOW.relative_to(ROOT)}@" in job["uses"]
    (text,) = [b.text for b in blocks if b.language == "yaml" and not b.caption]
    (step,) = yaml.safe_load(text)["steps"]
    assert f"/{ACTION.parent.relative_to(ROOT)}@" in step["uses"]
    assert set(step["with"]) <= set(load(ACTION)["inputs"])


def test_the_workflow_gives_the_action_inputs_that_it_has():
    (step,) = [
        s for s in load(WORKFLOW)["jobs"]["verify"]["steps"] if "actions/verify" in s["uses"]
    ]
    assert step["uses"] == f"$/{ACTION.parent.relative_to(ROOT)}"
    assert set(step["with"]) <= set(load(ACTION)["inputs"])


class Job:
    """Runs the action's own steps, as a runner does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output, self.summary = folder / "output", folder / "summary.md"
        self.steps = [step for step in load(ACTION)["runs"]["steps"] if "run" in step]

    def run(
        self, step: dict[str, Any], cwd: Path, **inputs: str
    ) -> subprocess.CompletedProcess[str]:
        values = {
            "steps.python.outputs.python-path": sys.executable,
            **{
                f"inputs.{name}": value["default"] for name, value in load(ACTION)["inputs"].items()
            },
            **{f"inputs.{name}": value for name, value in inputs.items()},
        }
        environ = {
            name: re.sub(r"\$\{\{ (.+?) \}\}", lambda match: values[match[1]], text)
            for name, text in step.get("env", {}).items()
        }
        self.output.write_text("")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=cwd,
            env={
                **os.environ,
                **OFFLINE,
                **environ,
                "RUNNER_TEMP": str(self.folder),
                "GITHUB_ACTION_PATH": str(ACTION.parent),
                "GITHUB_OUTPUT": str(self.output),
                "GITHUB_STEP_SUMMARY": str(self.summary),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.output.read_text().splitlines())


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    folder = tmp_path_factory.mktemp("runner")
    job = Job(folder)
    result = job.run(job.steps[0], folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return job


@pytest.fixture
def verify(job, tmp_path):
    for format_ in ("json", "sarif"):
        (job.folder / f"dockerflow.{format_}").unlink(missing_ok=True)
    return lambda *arguments: job.run(job.steps[1], tmp_path, arguments="\n".join(arguments))


@pytest.mark.timeout(300)
def test_the_action_reports_findings(job, verify, tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "Dockerfile").write_text("FROM a\nUSER root\n")
    result = verify("a b/Dockerfile", "", "--select", "DF205")
    assert result.returncode == 1, result.stderr
    assert "::error file=a b/Dockerfile,line=2,title=DF205 " in result.stdout
    assert job.summary.read_text().startswith("## Dockerflow: failed\n")
    outputs = job.outputs()
    assert json.loads(Path(outputs["json"]).read_text())["rules"][0]["status"] == "failed"
    (found,) = json.loads(Path(outputs["sarif"]).read_text())["runs"][0]["results"]
    location = found["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": "a%20b/Dockerfile"}


def test_the_action_takes_the_settings_of_the_repository(job, verify, tmp_path):
    (tmp_path / "Dockerfile").write_text(SOUND)
    (tmp_path / "dockerflow.toml").write_text("[targets.shop]\ndockerfile = 'Dockerfile'\n")
    result = verify()
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(Path(job.outputs()["json"]).read_text())["results"][0]["name"] == "shop"


def test_the_action_tells_of_wrong_arguments(job, verify):
    result = verify("--nonsense")
    assert result.returncode == 2
    assert "No such option" in result.stderr
    assert job.outputs() == {}
