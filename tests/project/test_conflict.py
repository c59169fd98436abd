"""What a user is told where python-dockerflow, with the same import package, is installed beside.

Its files are stood in for here; `nox -s beside` tries the real one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dockerflow

PACKAGE = Path(dockerflow.__file__).parent
FIX = "pip uninstall dockerflow dockerflow-middleware, then pip install dockerflow-middleware"

# The modules of python-dockerflow 2026.3.4.
ITS_FILES = [
    "__init__.py", "health.py", "logging.py", "version.py",
    "checks/__init__.py", "checks/messages.py", "checks/registry.py",
    "django/__init__.py", "django/apps.py", "django/checks.py", "django/middleware.py",
    "django/signals.py", "django/views.py",
    "fastapi/__init__.py", "fastapi/middleware.py", "fastapi/views.py",
    "flask/__init__.py", "flask/app.py", "flask/signals.py",
    "flask/checks/__init__.py", "flask/checks/messages.py",
    "sanic/__init__.py", "sanic/app.py", "sanic/checks.py",
]  # fmt: skip


@pytest.fixture(params=["overwritten", "removed"])
def broken(request, tmp_path):
    """A folder of packages as pip leaves it when it installs the other one, or removes it."""
    copy = tmp_path / "dockerflow"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ITS_FILES:
        # A package has precedence over a module of the same name.
        is_ours = (copy / name).exists() or (copy / name).with_suffix("").is_dir()
        assert is_ours, "it is no longer true that the other overwrites all"
        if request.param == "overwritten":
            (copy / name).write_text("# another's\n", encoding="utf-8")
        else:
            (copy / name).unlink(missing_ok=True)
    return tmp_path


def run(folder, *arguments):  # -S: without the package as it is installed here
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": str(folder)}, cwd=folder,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["asgi", "wsgi"])
def test_drivers_say_what_is_wrong(broken, module):
    done = run(broken, "-S", "-c", f"import dockerflow.{module}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: files of dockerflow-middleware were overwritten or removed"
    )
    assert last.endswith(FIX)


@pytest.mark.parametrize(("command", "code"), [("version", 2), ("healthcheck", 1)])
def test_the_command_says_it_in_one_line(broken, command, code):
    done = run(broken, "-S", "-m", "dockerflow", command)
    assert done.returncode == code
    assert done.stderr.startswith("dockerflow: files of dockerflow-middleware were overwritten")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("broken", ["overwritten"], indirect=True)
def test_no_test_suite_runs(broken):
    (broken / "test_of_an_app.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    done = run(broken, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: files of dockerflow-middleware were overwritten or removed" in done.stderr
    assert FIX in done.stderr


def test_the_command_warns_while_all_still_works(tmp_path):
    pytest.importorskip("click")
    info = tmp_path / "dockerflow-2026.3.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: dockerflow\nVersion: 2026.3.4\n", encoding="utf-8"
    )
    (tmp_path / "version.json").write_text("{}", encoding="utf-8")
    arguments = ("-m", "dockerflow", "logs", os.devnull)
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "the distribution 'dockerflow' 2026.3.4 (python-dockerflow) is installed" in done.stderr
    assert FIX in done.stderr
    shutil.rmtree(info)
    assert run(tmp_path, *arguments).stderr == ""
