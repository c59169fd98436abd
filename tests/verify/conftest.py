"""What the verifier's tests share: the subjects, and images made by hand."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("click") is None:
    collect_ignore_glob = ["*"]

sys.path.insert(0, str(Path(__file__).parent))
from verify_helpers import make_tar

VERSION = Path(__file__).parent / "subjects" / "version.json"
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:10001:10001::/app:/bin/sh\n"
GROUP = "root:x:0:\napp:x:10001:\n"
CONFIG = {
    "User": "app",
    "Entrypoint": ["python"],
    "Cmd": ["app.py"],
    "Env": ["PORT=8000"],
    "ExposedPorts": {"8000/tcp": {}},
}


def sound_files() -> dict[str, Any]:
    return {
        "etc/passwd": PASSWD,
        "etc/group": GROUP,
        "app/app.py": "print()",
        "app/version.json": VERSION.read_bytes(),
    }


class Images:
    """Makes saved images as docker save and as an OCI layout has them."""

    sound_files = staticmethod(sound_files)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def docker(self, layers: list[dict[str, Any]] | None = None, **config: Any) -> Path:
        layers = [sound_files()] if layers is None else layers
        document = {"config": {**CONFIG, **config}, "rootfs": {"type": "layers"}}
        files: dict[str, Any] = {"config.json": json.dumps(document)}
        names = [f"{number}/layer.tar" for number in range(len(layers))]
        files.update(zip(names, map(make_tar, layers), strict=True))
        files["manifest.json"] = json.dumps([{"Config": "config.json", "Layers": names}])
        path = self.folder / "image.tar"
        path.write_bytes(make_tar(files))
        return path

    def oci(self, layers: list[dict[str, Any]] | None = None, **config: Any) -> Path:
        files: dict[str, Any] = {"oci-layout": '{"imageLayoutVersion": "1.0.0"}'}

        def blob(data: bytes) -> dict[str, Any]:
            digest = hashlib.sha256(data).hexdigest()
            files[f"blobs/sha256/{digest}"] = data
            return {"digest": f"sha256:{digest}", "size": len(data)}

        layers = [sound_files()] if layers is None else layers
        manifest = {
            "config": blob(json.dumps({"config": {**CONFIG, **config}}).encode()),
            "layers": [blob(gzip.compress(make_tar(layer))) for layer in layers],
        }
        attestation = {**blob(b"{}"), "platform": {"os": "unknown", "architecture": "unknown"}}
        real = {**blob(json.dumps(manifest).encode()), "platform": {"os": "linux"}}
        inner = blob(json.dumps({"manifests": [attestation, real]}).encode())
        files["index.json"] = json.dumps({"manifests": [inner]})
        path = self.folder / "oci.tar"
        path.write_bytes(make_tar(files))
        return path


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path)


@pytest.fixture(scope="session")
def sound_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Images(tmp_path_factory.mktemp("image")).docker()
