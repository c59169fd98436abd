"""The matrix of versions that the library is tested with: .venv/bin/nox -s newest-3.13.

Each session makes an environment of its own with uv. The table in docs/installation.md is checked
against this.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["core", "extras", "beside", "newest", "oldest"]
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
OLDEST = PYTHONS[0]

# As make test has it.
PARALLEL = ["-n", "4", "--dist", "worksteal"]

# It makes environments with the locked versions itself; make compat runs it.
SIDE_BY_SIDE = "tests/compat/test_side_by_side.py"

# What has to be absent where the core is shown to need nothing.
NOT_IN_CORE = ["aiohttp", "django", "falcon", "fastapi", "flask", "orjson", "sanic", "starlette"]


def distribution(session: nox.Session, extra: str = "") -> str:
    """Return what to install: the wheel that was given, or else one made of the working tree."""
    brackets = f"[{extra}]" if extra else ""
    if not session.posargs:
        return f".{brackets}"
    return f"dockerflow-middleware{brackets} @ {Path(session.posargs[0]).resolve().as_uri()}"


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run every test with the newest release of everything; warnings are errors."""
    session.install("--upgrade", "--group", "newest", ".")
    # The package has a session of its own, with what builds it; images have versions of
    # their own, and the linters of the templates are locked.
    elsewhere = (
        "tests/project/test_packaging.py", "tests/docs/test_readme.py", "tests/container",
        "tests/examples/test_templates.py", "tests/examples/test_monitoring.py",
        "tests/project/test_hooks_and_action.py", "tests/docs/test_browser.py", SIDE_BY_SIDE,
    )  # fmt: skip
    ignored = [f"--ignore={path}" for path in elsewhere]
    for test in (
        "cli/test_init.py::test_hadolint_finds_nothing",
        "cli/test_init.py::test_tools_find_nothing_in_the_other_files",
        "docs/test_blocks.py::test_dependabot_files_follow_the_schema",
    ):
        ignored += ["--deselect", f"tests/{test}"]
    session.run("pytest", "-q", "-rs", *PARALLEL, *ignored, *session.posargs)


@nox.session(python=OLDEST)
def oldest(session: nox.Session) -> None:
    """Run the tests of frameworks with the oldest releases that pyproject.toml admits."""
    # Flask 2.3's test client needs a Werkzeug of its own time, as Celery 5.4 needs a kombu.
    session.install(
        "--resolution", "lowest-direct", "--group", "test", ".", "werkzeug>=2.3,<3", "kombu<5.5"
    )  # fmt: skip
    session.run("uv", "pip", "list", external=True)
    # What old frameworks warn of is their own business.
    session.run(
        "pytest", "-q", *PARALLEL, "-W", "default",
        "tests/compat", "tests/contract", "tests/contrib", "tests/core", "tests/integrations",
        "--ignore", SIDE_BY_SIDE,
        # Real servers are started with options of today's, here and in tests/servers/.
        "--ignore", "tests/integrations/test_log_servers.py",
        *session.posargs,
    )  # fmt: skip


@nox.session(python=OLDEST)
def core(session: nox.Session) -> None:
    """Run the core's tests where no framework is, in the wheel as it would be published."""
    session.install("--require-hashes", "-r", "requirements/core-test.txt")
    session.install("--no-deps", distribution(session))
    session.run(
        "python", "-c",
        "import importlib.util as util, sys; "
        "found = [name for name in sys.argv[1:] if util.find_spec(name)]; "
        "sys.exit(f'in the way: {found}' if found else 0)",
        *NOT_IN_CORE,
    )  # fmt: skip
    session.run("pytest", "-q", *PARALLEL, "tests/core")


@nox.session(python=OLDEST)
@nox.parametrize("extra", ["core", *PROJECT["project"]["optional-dependencies"]])
def extras(session: nox.Session, extra: str) -> None:
    """Install the wheel with one extra alone, in the locked versions, and use what it is for."""
    wanted = distribution(session, "" if extra == "core" else extra)
    session.install("--constraint", "requirements/dev.txt", wanted)
    session.run("python", "-P", "-W", "error", "tests/smoke.py", extra)


@nox.session(python=OLDEST)
def beside(session: nox.Session) -> None:
    """See that one is told when python-dockerflow is installed beside the wheel, or removed."""
    wheel = distribution(session, "cli")
    incumbent = "dockerflow==2026.3.4"

    def version(success_codes: list[int]) -> str:
        # As pip would have it: python -m dockerflow, as the script may be either's.
        return session.run(
            "python", "-m", "dockerflow", "logs", "/dev/null",
            silent=True, success_codes=success_codes,
        )  # fmt: skip

    session.install("--constraint", "requirements/dev.txt", wheel)
    assert version([0]) == ""
    session.install("--no-deps", incumbent)
    assert "were overwritten or removed" in version([1, 2])
    session.run("uv", "pip", "uninstall", "dockerflow", "dockerflow-middleware", external=True)
    session.install("--no-deps", incumbent)
    session.install("--constraint", "requirements/dev.txt", wheel)
    assert "(python-dockerflow) is installed beside" in version([0])
    session.run("uv", "pip", "uninstall", "dockerflow", external=True)
    assert "were overwritten or removed" in version([1, 2])
    session.run("uv", "pip", "uninstall", "dockerflow-middleware", external=True)
    session.install("--constraint", "requirements/dev.txt", wheel)
    assert version([0]) == ""


@nox.session(python=OLDEST)
def mutation(session: nox.Session) -> None:
    """Change the core's pure modules, and see which changes no test notices. Takes minutes."""
    session.install("--require-hashes", "-r", "requirements/core-test.txt")
    session.install("mutmut>=3.8,<4")
    session.run("mutmut", "run", *session.posargs)
    session.run("mutmut", "results")
