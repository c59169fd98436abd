"""The example's image, built of each framework, and containers of it."""

import contextlib
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import containers
import services
from containers import DATABASE, HARDENED, SECRET, VERSION, Container, Engine, Image

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("fastapi", "flask", "django")


@pytest.fixture(scope="session")
def engine() -> Engine:
    return containers.find()


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build context as it is on a laptop: with secrets and with what tests leave behind."""
    folder = tmp_path_factory.mktemp("context")
    names = (".dockerignore", "Dockerfile.example", "LICENSE", "README.md", "pyproject.toml")
    for name in names:
        shutil.copy2(ROOT / name, folder)
    ignore = shutil.ignore_patterns("__pycache__", "*.sqlite3", "build", "version.json")
    # No registry means no digest either: by the tag alone, it is the stand-in.
    dockerfile = folder / "Dockerfile.example"
    text, count = re.subn(r"@sha256:[0-9a-f]{64}\b", "", dockerfile.read_text(encoding="utf-8"))
    assert count == 1, "the base image is pinned"
    dockerfile.write_text(text, encoding="utf-8")
    for name in ("src", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in (
        ".env", ".git/config", "id_rsa", "examples/shortener/.env.local",
        "examples/shortener/links/__pycache__/links.pyc", "examples/shortener/links.sqlite3",
        "src/dockerflow/__pycache__/dockerflow.pyc", "examples/shortener/version.json",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(SECRET, encoding="ascii")
    return folder


@pytest.fixture(scope="session", params=FRAMEWORKS)
def image(
    request: pytest.FixtureRequest,
    engine: Engine,
    context: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Image:
    """The image of one framework, built as a pipeline does."""
    tag = f"localhost/links-{request.param}"
    arguments = {f"DOCKERFLOW_{name.upper()}": value for name, value in VERSION.items()}
    engine.build(context, tag, FRAMEWORK=request.param, **arguments)
    archive = tmp_path_factory.mktemp("archive") / "image.tar"
    engine.save(tag, archive)
    return Image(request.param, tag, archive)


Start = Callable[..., contextlib.AbstractContextManager[Container]]


@pytest.fixture
def start(engine: Engine, image: Image) -> Start:
    """Returns what runs a container of the image, hardened, for a while."""

    @contextlib.contextmanager
    def run(**environ: Any) -> Iterator[Container]:
        port = services.free_port()
        container = Container(engine, f"links-{uuid.uuid4().hex[:12]}", port)
        environ = {"PORT": port, "HOST": "127.0.0.1", "DATABASE_URL": DATABASE, **environ}
        variables = [f"--env={name}={value}" for name, value in environ.items()]
        engine.podman(
            "run", "--detach", "--pull=never", f"--name={container.name}", *HARDENED, *variables,
            image.tag,
        )  # fmt: skip
        try:
            services.wait_for(container.is_up, f"start of {container.name}")
            yield container
        finally:
            engine.podman("rm", "--force", "--time=0", container.name)

    return run
