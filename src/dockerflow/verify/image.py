"""Read an image from a saved archive: as ``docker save`` writes it, or an OCI layout in a tar."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from dockerflow.verify.evidence import MAX_BODY, CouldNotRunError, Image, VersionFile, printable

ENGINES: Final = ("docker", "podman")
MAX_JSON: Final = 16 << 20
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_KEPT: Final = ("etc/passwd", "etc/group")
# What is raised by broken archives, and by documents that don't have the expected form.
_NOT_AN_IMAGE: Final = (
    tarfile.TarError, OSError, EOFError, zlib.error,
    KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError,
)  # fmt: skip


def read_engine(name: str, seconds: float) -> Image:
    """Save an image with docker or podman, and read it.

    :param name: the name that the engine knows it by.
    :param seconds: the time limit for both.
    :raises CouldNotRunError: when no engine has it.
    """
    if name.startswith("-"):
        raise CouldNotRunError(f"{name!r} is not the name of an image")
    end = time.monotonic() + seconds
    reasons: list[str] = []
    for engine in ENGINES:
        with tempfile.TemporaryDirectory(prefix="dockerflow-verify-") as folder:
            archive = Path(folder) / "image.tar"
            save = ("image", "save", "-o", str(archive), name)
            try:
                call_engine(engine, *save, seconds=max(end - time.monotonic(), 0.1))
            except CouldNotRunError as error:
                reasons.append(str(error))
                continue
            image = read_archive(archive, max(end - time.monotonic(), 1), where=name)
            image.engine = engine
            image.reproduce = f"{engine} run --rm --entrypoint sh {name} -c"
            return image
    raise CouldNotRunError(f"the image {name} can't be saved: {'; '.join(reasons)}")


def call_engine(engine: str, *args: str, seconds: float) -> str:
    """Run a command of docker or podman, and return its output.

    :raises CouldNotRunError: when it fails; the message has the engine's reason.
    """
    if shutil.which(engine) is None:
        raise CouldNotRunError(f"{engine} is not installed")
    try:
        result = subprocess.run(  # noqa: S603 - no shell, and names are not options
            [engine, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            start_new_session=True,  # Ctrl-C is for us, and must not stop it halfway
        )
    except subprocess.TimeoutExpired:
        raise CouldNotRunError(f"{engine} did not finish within {seconds:.1f} s") from None
    if result.returncode == 0:
        return result.stdout.decode("utf-8", "replace")
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines() or [""]
    reason = next((line for line in lines if line.startswith("Error")), lines[-1])
    raise CouldNotRunError(f"{engine}: {printable(reason) or f'exit code {result.returncode}'}")


def read_archive(path: Path, seconds: float, where: str = "") -> Image:
    """Read a saved image; no engine is needed.

    :param seconds: the time limit.
    :param where: the image's name for messages, instead of the path.
    :raises CouldNotRunError: when there is no such file, or it is not an image.
    """
    where = where or str(path)
    try:
        with tarfile.open(path) as archive:
            return _Archive(archive, where, time.monotonic() + seconds).read()
    except FileNotFoundError:
        raise CouldNotRunError(f"{where} can't be read: there is no such file") from None
    except _NOT_AN_IMAGE as error:
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise CouldNotRunError(f"{where} is not a saved image: {reason}") from None


class _Archive:
    """A saved image: JSON documents, and a tar in the tar for each layer."""

    def __init__(self, archive: tarfile.TarFile, where: str, end: float) -> None:
        self._archive = archive
        self._where = where
        self._end = end
        self._members = {_clean(member.name): member for member in self._members_of(archive)}

    def read(self) -> Image:
        config_name, layers = self._manifest()
        config = self._json(config_name)
        files = _Files()
        for name in layers:
            with self._layer(name) as layer:
                files.apply(layer, self._members_of(layer))
        version = VersionFile(
            f"/app/version.json in {self._where}",
            files.content("app/version.json"),
            "cat /app/version.json",
        )
        return Image(
            self._where,
            config.get("config") or config.get("Config") or {},
            passwd=(files.content("etc/passwd") or b"").decode("utf-8", "replace"),
            group=(files.content("etc/group") or b"").decode("utf-8", "replace"),
            has_sources=files.has_sources(),
            version=version,
        )

    def _members_of(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for member in archive:
            if time.monotonic() > self._end:
                raise CouldNotRunError(f"{self._where} could not be read in time")
            yield member

    def _manifest(self) -> tuple[str, list[str]]:
        """Return the names of the configuration and of the layers in the archive."""
        if "manifest.json" in self._members:
            first = self._json("manifest.json")[0]
            return first["Config"], first["Layers"]
        if "index.json" not in self._members:
            raise CouldNotRunError(
                f"{self._where} is not a saved image: it has neither manifest.json nor index.json"
            )
        document = self._json("index.json")
        for _ in range(4):  # an index may name another one
            if "manifests" not in document:
                break
            found: list[dict[str, Any]] = document["manifests"]
            images = [entry for entry in found if _is_image(entry)]
            document = self._json(_blob((images or found)[0]["digest"]))
        layers = [_blob(layer["digest"]) for layer in document["layers"]]
        return _blob(document["config"]["digest"]), layers

    def _open(self, name: str) -> IO[bytes]:
        member = self._members.get(_clean(name))
        # It may be a link: older engines write a layer once, and then link to it.
        file = self._archive.extractfile(member) if member else None
        if file is None:
            raise CouldNotRunError(f"{self._where} is not a complete image: it lacks {name}")
        return file

    def _json(self, name: str) -> Any:
        with self._open(name) as file:
            return json.loads(file.read(MAX_JSON))

    @contextmanager
    def _layer(self, name: str) -> Generator[tarfile.TarFile]:
        with self._open(name) as file:
            if file.read(4) == _ZSTD:
                raise CouldNotRunError(
                    f"{self._where} has layers compressed with zstd; save it with gzip"
                )
            file.seek(0)
            with tarfile.open(fileobj=file) as layer:
                yield layer


class _Files:
    """The names of an image's files, and the contents of those that matter."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes | None] = {}
        """By name; None if it does not matter."""
        self._links: dict[str, str] = {}

    def apply(self, layer: tarfile.TarFile, members: Iterator[tarfile.TarInfo]) -> None:
        """Put a layer on top; see the OCI image specification on whiteouts."""
        added: set[str] = set()
        for member in members:
            name = _clean(member.name)
            folder, base = posixpath.split(name)
            if base == ".wh..wh..opq":
                self._remove(folder + "/", keep=added)
            elif base.startswith(".wh."):
                self._remove(posixpath.join(folder, base[4:]))
            elif member.issym():
                self._remove(name)
                self._links[name] = _clean(posixpath.join("/", folder, member.linkname))
                added.add(name)
            elif member.isfile() or member.islnk():
                self._links.pop(name, None)
                self._contents[name] = None
                added.add(name)
                if name in _KEPT or base == "version.json":
                    file = layer.extractfile(member)
                    self._contents[name] = file.read(MAX_BODY + 1) if file else b""
            elif member.isdir():
                self._links.pop(name, None)

    def _remove(self, name: str, keep: Collection[str] = ()) -> None:
        """Remove a file or a folder; of a name that ends in /, only the folder's content."""
        below = name.rstrip("/") + "/"
        entries: tuple[dict[str, Any], ...] = (self._contents, self._links)
        for found in entries:
            for path in [path for path in found if path == name or path.startswith(below)]:
                if path not in keep:
                    del found[path]

    def _resolve(self, path: str) -> str:
        """Follow symbolic links, also of the folders above; a circle ends somewhere."""
        for _ in range(40):
            parts = path.split("/")
            prefixes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
            link = next((prefix for prefix in prefixes if prefix in self._links), None)
            if link is None:
                break
            path = _clean(posixpath.join(self._links[link], path[len(link) + 1 :]))
        return path

    def content(self, path: str) -> bytes | None:
        return self._contents.get(self._resolve(path))

    def has_sources(self) -> bool:
        """Whether there is any file below /app other than version.json."""
        app = self._resolve("app")
        return any(
            name.startswith(app + "/") and name != f"{app}/version.json" for name in self._contents
        )


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")


def _is_image(entry: dict[str, Any]) -> bool:
    platform: dict[str, Any] = entry.get("platform") or {}
    return platform.get("os") != "unknown"  # as an attestation's is


def _blob(digest: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+:[0-9a-f]+", digest):
        raise ValueError(f"{digest!r} is not a digest")
    return "blobs/" + digest.replace(":", "/")
