"""docs/container.md makes an image of the app of the first five minutes: as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import containers
import pages
import pytest
from containers import Engine

PAGE = pages.DOCS / "container.md"
STARTS = {"FastAPI": "fastapi", "any ASGI app": "asgi", "Flask": "flask", "any WSGI app": "wsgi"}

pytestmark = pytest.mark.timeout(600)


def rows() -> dict[str, tuple[list[str], str]]:
    """What the table says of each: its requirements and its CMD."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- small: begin -->")
    table, _, _ = rest.partition("<!-- small: end -->")
    lines = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    return {
        name: (re.findall("`([^`]+)`", requirements), command.strip("`"))
        for name, requirements, command in lines
    }


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, as the index will have it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable, "-m", "build", "--wheel", "--no-isolation", f"--outdir={folder}",
            pages.ROOT,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


def test_every_start_is_in_the_table() -> None:
    assert set(rows()) == set(STARTS)


@pytest.mark.parametrize("name", STARTS)
def test_it_is_built_and_nothing_is_found(
    engine: Engine, wheel: Path, tmp_path: Path, name: str
) -> None:
    blocks = pages.blocks(PAGE)
    requirements, ignore = (block.text for block in blocks if block.language == "text")
    dockerfile = next(block.text for block in blocks if block.language == "dockerfile")
    build, verify, _ = pages.commands(next(b.text for b in blocks if b.language == "console"))
    # As the page has them, those of FastAPI.
    needed, command = rows()["FastAPI"]
    assert requirements.split() == needed
    assert f'CMD ["{command}"]' in dockerfile

    needed, other = rows()[name]
    folder = tmp_path / "hello"
    folder.mkdir()
    for block in pages.blocks(pages.DOCS / "start" / f"{STARTS[name]}.md"):
        if block.caption:
            (folder / block.caption).write_text(block.text, encoding="utf-8")
    # The library comes from beside the requirements for as long as no index has it.
    (folder / wheel.name).write_bytes(wheel.read_bytes())
    dockerfile = dockerfile.replace("requirements.txt /build/", "requirements.txt *.whl /build/", 1)
    for file, text in (
        ("requirements.txt", "\n".join(["--find-links /build", *needed])),
        (".dockerignore", f"{ignore}!*.whl\n"),
        ("Dockerfile", dockerfile.replace(command, other)),
    ):
        (folder / file).write_text(text, encoding="utf-8")
    (folder / ".env").write_text(containers.SECRET, encoding="ascii")

    containers.docker(tmp_path)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{engine.environ['PATH']}"
    image = f"localhost/hello-{STARTS[name]}"
    try:
        for line in (build[0], verify[0].replace("--dockerfile", "--fail-on warning --dockerfile")):
            result = subprocess.run(
                ["bash", "-c", re.sub(r"\bhello\b", image, line)], cwd=folder,
                env={**engine.environ, "PATH": path}, stdin=subprocess.DEVNULL, text=True,
                capture_output=True, timeout=500,
            )  # fmt: skip
            assert result.returncode == 0, result.stdout + result.stderr
        assert re.sub(r"\d+\.\d s", "", result.stdout.splitlines()[-1]) == re.sub(
            r"\d+\.\d s", "", verify[1][-1]
        )
    finally:
        engine.podman("image", "rm", "--force", image, check=False)
