"""The short Dockerfile of docs/container.md, around the apps that the start pages make."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest
from containers import Engine

PAGE = pages.DOCS / "container.md"
STARTS = ("asgi", "wsgi", "flask", "django", "fastapi", "sanic", "aiohttp")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This library's wheel, in place of the index."""
    folder = tmp_path_factory.mktemp("wheels")
    command = ("build", "--wheel", "--no-isolation", "--outdir", str(folder), str(pages.ROOT))
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    return folder


def write_app(folder: Path, start: str) -> None:
    """Write what a start page has its reader write, and what container.md says of it."""
    if start == "django":
        command = ("django", "startproject", "mysite", str(folder))
        subprocess.run([sys.executable, "-m", *command], check=True)
    for block in pages.blocks(pages.DOCS / "start" / f"{start}.md"):
        if block.caption:
            with (folder / block.caption.removeprefix("at the end of ")).open("a") as file:
                file.write(block.text)
    (dockerfile,) = (
        block.text for block in pages.blocks(PAGE)
        if block.language == "dockerfile" and "FROM " in block.text
    )  # fmt: skip
    requirements = ["dockerflow-middleware", "gunicorn"]
    for row in pages.rows(PAGE.read_text(encoding="utf-8")):
        if f"(start/{start}.md)" in row[0]:
            names, entrypoint, cmd = row[1:]
            requirements = re.findall(r"`(.+?)`", names)
            if entrypoint != "as above":
                dockerfile = replace(
                    dockerfile, r"^ENTRYPOINT .*", f"ENTRYPOINT {entrypoint[1:-1]}"
                )
            dockerfile = replace(dockerfile, r"^CMD .*", f"CMD {cmd[1:-1]}")
    if start == "django":
        copies = re.findall(r"`(COPY m[^`]+)`", PAGE.read_text(encoding="utf-8"))
        dockerfile = replace(dockerfile, r"^COPY app\.py .*", "\n".join(copies))
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    lines = ["--find-links /wheels", *requirements]
    (folder / "requirements.txt").write_text("\n".join(lines), encoding="utf-8")


def replace(text: str, line: str, other: str) -> str:
    text, count = re.subn(line, lambda _: other, text, flags=re.MULTILINE)
    assert count == 1, line
    return text


@pytest.mark.parametrize("start", STARTS)
def test_the_short_dockerfile(engine: Engine, wheels: Path, tmp_path: Path, start: str) -> None:
    write_app(tmp_path, start)
    # A layer is kept for as long as what is copied stays the same: so it has to tell the wheel.
    (wheel,) = wheels.glob("*.whl")
    with (tmp_path / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n# {hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    tag = f"localhost/start-{start}"
    engine.bud(f"--volume={wheels}:/wheels:ro", f"--tag={tag}", tmp_path)
    dockerflow = str(Path(sys.executable).parent / "dockerflow")
    # Django's check is that of its database.
    breaks = ["--break=UPLOADS=/nowhere", "--require=DF109,DF111"] if start != "django" else []
    try:
        result = engine.run(
            dockerflow, "verify", "--format=json", "--fail-on=warning", "--dockerfile=Dockerfile",
            f"--image={tag}", "--run", "--read-only", "--network=bridge", "--wait=60", *breaks,
            cwd=tmp_path, check=False,
        )  # fmt: skip
    finally:
        engine.remove(tag)
    found = {rule["id"]: rule["status"] for rule in json.loads(result.stdout)["rules"]}
    # They have no static files, and no long request.
    unseen = {id_ for id_, status in found.items() if status == "not checked" and id_ < "DF4"}
    assert unseen <= {"DF109", "DF111", "DF115", "DF117"}, result.stdout
    assert set(found.values()) == {"passed", "not checked"}, result.stdout
    assert result.returncode == 0
