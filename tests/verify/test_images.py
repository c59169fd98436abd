"""Images from archives made by hand, by a real podman, and what no image is."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from verify_helpers import make_tar, with_status

from dockerflow.verify import image
from dockerflow.verify.evidence import CouldNotRunError
from dockerflow.verify.probes import Targets
from dockerflow.verify.run import verify

PASSED = {"DF103", "DF201", "DF202", "DF203", "DF204", "DF205"}


def test_layers_lie_on_top_of_each_other(images):
    lower = images.sound_files()
    upper = {"app/.wh.app.py": "", "etc/group": "app:x:5:\n", "app/.wh.version.json": ""}
    for path in (images.docker([lower, upper]), images.oci([lower, upper])):
        found = image.read_archive(path, 60)
        assert not found.has_sources
        assert found.version.content is None
        assert found.group == "app:x:5:\n"
        assert "app" in found.passwd


def test_a_folder_made_anew_hides_what_was_below(images):
    upper = {"app/new.py": "", "app/.wh..wh..opq": ""}
    found = image.read_archive(images.docker([images.sound_files(), upper]), 60)
    assert found.has_sources
    assert found.version.content is None


@pytest.mark.parametrize("link", ["->/srv/app", "->srv/app"])
def test_app_may_be_a_link(images, link):
    files = {"srv/app/main.py": "", "srv/app/version.json": "{}", "app": link}
    found = image.read_archive(images.docker([files]), 60)
    assert found.has_sources
    assert found.version.content == b"{}"


def test_a_folder_takes_the_place_of_a_link(images):
    lower = {"srv/main.py": "", "app": "->/srv"}
    upper = {"app/": None, "app/version.json": "{}"}
    found = image.read_archive(images.docker([lower, upper]), 60)
    assert not found.has_sources
    assert found.version.content == b"{}"


def test_links_in_a_circle(images):
    found = image.read_archive(images.docker([{"app": "->/a", "a": "->/app"}]), 60)
    assert not found.has_sources


def test_layers_may_be_links(images):
    files = {
        "config.json": "{}",
        "0/layer.tar": make_tar({"app/x": ""}),
        "1/layer.tar": "->../0/layer.tar",
    }
    files["manifest.json"] = '[{"Config": "config.json", "Layers": ["1/layer.tar"]}]'
    path = images.folder / "image.tar"
    path.write_bytes(make_tar(files))
    assert image.read_archive(path, 60).has_sources


def test_packed_as_a_whole(images, tmp_path):
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(images.docker().read_bytes()))
    assert image.read_archive(path, 60).has_sources


def test_takes_no_longer_than_it_may(images):
    with pytest.raises(CouldNotRunError, match="in time"):
        image.read_archive(images.docker(), -1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        gzip.compress(b"hello", mtime=0),
        make_tar({"hello": b""}),
        make_tar({"manifest.json": b""}),
        make_tar({"manifest.json": b"[]"}),
        make_tar({"manifest.json": b"{}"}),
        make_tar({"manifest.json": b'[{"Config": "x", "Layers": []}]'}),
        make_tar({"manifest.json": b'[{"Config": 5, "Layers": 5}]'}),
        make_tar({"manifest.json": b"[" * 200_000}),
        make_tar({"manifest.json": "->manifest.json"}),
        make_tar({"index.json": b'{"manifests": []}'}),
        make_tar({"index.json": b'{"manifests": [{"digest": "../../etc/passwd"}]}'}),
        make_tar({"manifest.json": b"[]"})[:700],
    ],
)
def test_no_image(content, tmp_path):
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(CouldNotRunError, match="image"):
        image.read_archive(path, 60)


def fake_engine(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_engines_are_tried_in_turn(images, tmp_path, monkeypatch):
    archive = images.docker()
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    fake_engine(bin_, "docker", "echo 'Cannot connect to the daemon' >&2; exit 1")
    fake_engine(bin_, "podman", f'echo "$@" > {tmp_path}/args; cp {archive} "$4"')
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = verify(Targets(images=("app:1",)))
    assert report.exit_code == 0
    assert with_status(report, "passed") >= PASSED
    args = (tmp_path / "args").read_text().split()
    assert args[:3] == ["image", "save", "-o"]
    assert args[-1] == "app:1"
    assert not list(tmp_path.glob("dockerflow-verify-*"))


def test_no_engine_has_it(tmp_path, monkeypatch):
    fake_engine(tmp_path, "docker", "echo 'Cannot connect to the daemon' >&2; exit 1")
    fake_engine(tmp_path, "podman", "sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    report = verify(Targets(images=("app:1",), limit=0.5))
    assert report.exit_code == 2
    assert "docker: Cannot connect to the daemon" in report.could_not_run[0]
    assert "podman did not finish within 0.5 s" in report.could_not_run[0]
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert (
        "docker is not installed; podman is not installed"
        in verify(Targets(images=("app:1",))).could_not_run[0]
    )
    assert "not the name of an image" in verify(Targets(images=("--help",))).could_not_run[0]


@pytest.mark.parametrize(
    ("command", "script", "said"),
    [
        ("create", "echo 'WARN x' >&2; echo 'Error: no' >&2; echo more >&2; exit 125", "Error: no"),
        ("create", "exit 125", "exit code 125"),
        ("start", "echo 'Error: port is taken' >&2; exit 1", "can't be started: Error: port is"),
        ("start", "exit 126", "can't be started: it wrote nothing"),
    ],
)
def test_an_engine_that_fails_to_start_it(  # noqa: PLR0917
    images, tmp_path, monkeypatch, command, script, said
):
    """One line, exit code 2, and the container is removed."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    fake_engine(
        bin_,
        "podman",
        f"""echo "$@" >> {tmp_path}/calls
        case "$1 $3" in
            "{command} "*) {script} ;;
            "image "*) cp {images.docker()} "$4" ;;
        esac
        case "$*" in
            *StartedAt*) echo "0001-01-01 00:00:00 +0000 UTC" ;;
            *NetworkMode*) echo "bridge 0" ;;
        esac""",
    )
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    fake_engine(bin_, "docker", "exit 1")
    report = verify(Targets(images=("app:1",), run=True, wait=2))
    assert report.exit_code == 2
    (reason,) = report.could_not_run
    assert said in reason
    assert "\n" not in reason
    create, *_, last = [
        line for line in (tmp_path / "calls").read_text().splitlines() if "image save" not in line
    ]
    name = create.split()[1].removeprefix("--name=")
    assert last == f"rm --force --volumes {name}"


def test_a_container_that_can_not_be_removed_is_told(images, tmp_path, monkeypatch):
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    fake_engine(
        bin_,
        "docker",
        f"""case "$*" in
            image*) cp {images.docker()} "$4" ;;
            rm*) echo "Error: it is stuck" >&2; exit 1 ;;
            *StartedAt*) echo 2026 ;;
            *NetworkMode*) echo "bridge 0" ;;
        esac""",
    )
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    report = verify(Targets(images=("app:1",), run=True, wait=2))
    assert report.exit_code == 2
    assert report.could_not_run == ["docker: Error: it is stuck"]


def podman_works() -> bool:
    if shutil.which("podman") is None:
        return False
    return subprocess.run(["podman", "info"], capture_output=True, timeout=60).returncode == 0


def test_real_podman(images, tmp_path, monkeypatch):
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{tmp_path}/run"\ngraphroot = "{tmp_path}/graph"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    if not podman_works():
        pytest.skip("podman is not installed, or does not work here")
    rootfs = tmp_path / "rootfs.tar"
    rootfs.write_bytes(make_tar(images.sound_files()))
    changes = ["USER app", 'ENTRYPOINT ["python"]', 'CMD ["app.py"]', "ENV PORT=8000"]
    options = [part for change in changes for part in ("--change", change)]
    subprocess.run(
        ["podman", "import", *options, str(rootfs), "localhost/dockerflow-verify-test:1"],
        check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    fake_engine(tmp_path, "docker", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    report = verify(Targets(images=("localhost/dockerflow-verify-test:1",)))
    assert report.could_not_run == []
    assert report.exit_code == 0
    assert with_status(report, "passed") >= PASSED
    for kind in ("docker-archive", "oci-archive"):
        path = tmp_path / f"{kind}.tar"
        subprocess.run(
            ["podman", "save", "--format", kind, "-o", str(path), "localhost/dockerflow-verify-test:1"],
            check=True, capture_output=True, timeout=100,
        )  # fmt: skip
        assert with_status(verify(Targets(archives=(path,))), "passed") >= PASSED
