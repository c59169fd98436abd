"""What the release workflow asks of a version before it publishes it."""

import importlib.util
from pathlib import Path

import pytest

import dockerflow

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://git.example/them/it"


@pytest.fixture(scope="module")
def read():
    spec = importlib.util.spec_from_file_location("release_notes", ROOT / ".ci/release_notes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read


@pytest.fixture
def ready(tmp_path):
    """A repository with a version that is ready."""
    (tmp_path / "src/dockerflow").mkdir(parents=True)
    (tmp_path / "src/dockerflow/__init__.py").write_text('"""Doc."""\n\n__version__ = "1.2.0"\n')
    (tmp_path / "pyproject.toml").write_text(f'[project]\nurls.Source = "{REPOSITORY}"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-24\n\n### Added\n\n- This.\n\n"
        "## [1.1.0] - 2026-10-01\n\n- That.\n"
    )
    return tmp_path


def change(root, name, old, new):
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_notes_are_the_section(read, ready):
    assert read(ready, "v1.2.0", REPOSITORY) == "### Added\n\n- This."


def test_the_last_section(read, ready):
    change(ready, "src/dockerflow/__init__.py", "1.2.0", "1.1.0")
    assert read(ready, "v1.1.0", REPOSITORY) == "- That."


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("src/dockerflow/__init__.py", "1.2.0", "1.2.1"), "__version__ is 1.2.1"),
        (("pyproject.toml", REPOSITORY, "https://git.example/fork"), "Source in pyproject.toml"),
        (("pyproject.toml", "Source", "Other"), "project.urls is None"),
        (("CHANGELOG.md", "## [1.2.0]", "- More.\n\n## [1.2.0]"), "entries under Unreleased"),
        (("CHANGELOG.md", " - 2026-11-24", ""), "no heading '## [1.2.0] - YYYY-MM-DD'"),
        (("CHANGELOG.md", "[1.2.0]", "[1.20]"), "no heading '## [1.2.0] - YYYY-MM-DD'"),
        (("CHANGELOG.md", "### Added\n\n- This.\n", ""), "says nothing of 1.2.0"),
    ],
)
def test_not_ready(read, ready, edit, message):
    change(ready, *edit)
    with pytest.raises(SystemExit, match=message.replace("[", r"\[")) as caught:
        read(ready, "v1.2.0", REPOSITORY)
    assert isinstance(caught.value.code, str)  # so that the exit code is 1


def test_this_repository_can_be_read(read):
    with pytest.raises(SystemExit, match="the tag is v0, but"):
        read(ROOT, "v0", REPOSITORY)
    with pytest.raises(SystemExit, match="Source in pyproject"):
        read(ROOT, f"v{dockerflow.__version__}", REPOSITORY)
