"""Read an image from a saved archive: what ``docker save`` writes, or an OCI layout in a tar."""

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
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast

from dockerflow.verify.evidence import MAX_BODY, CouldNotRunError, Image, VersionFile, printable

ENGINES: Final = ("docker", "podman")
MAX_JSON: Final = 16 << 20
_KEPT: Final = ("etc/passwd", "etc/group")
_DOCUMENT_ERRORS: Final = (KeyError, TypeError, ValueError, IndexError, AttributeError)
_READ_ERRORS: Final = (tarfile.TarError, OSError, EOFError, zlib.error)


def read_engine(name: str, seconds: float) -> Image:
    """Save an image by docker or podman, and read it.

    :param name: as the engine knows it.
    :param seconds: how long all of it may take.
    :raises CouldNotRunError: when no engine has it.
    """
    if name.startswith("-"):
        raise CouldNotRunError(f"{name!r} is no name of an image")
    end = time.monotonic() + seconds
    reasons: list[str] = []
    for engine in ENGINES:
        if shutil.which(engine) is None:
            reasons.append(f"{engine} is not installed")
            continue
        with tempfile.TemporaryDirectory(prefix="dockerflow-verify-") as folder:
            archive = Path(folder) / "image.tar"
            try:
                result = subprocess.run(  # noqa: S603 - no shell, and no option by the check above
                    [engine, "image", "save", "-o", str(archive), name],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=max(end - time.monotonic(), 0.1),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                reasons.append(f"{engine} did not save it within {seconds:g} s")
                continue
            if result.returncode:
                last = result.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
                reasons.append(f"{engine}: {printable(last) or f'exit {result.returncode}'}")
                continue
            image = read_archive(archive, max(end - time.monotonic(), 1), where=name)
            image.reproduce = f"{engine} run --rm --entrypoint sh {name} -c"
            return image
    raise CouldNotRunError(f"the image {name} can't be had: {'; '.join(reasons)}")


def read_archive(path: Path, seconds: float, where: str = "") -> Image:
    """Read a saved image without any engine.

    :raises CouldNotRunError: when there is no such file, or it is no image.
    """
    where = where or str(path)
    try:
        with tarfile.open(path) as archive:
            return _Archive(archive, where, time.monotonic() + seconds).read()
    except CouldNotRunError:
        raise
    except FileNotFoundError:
        raise CouldNotRunError(f"{where} can't be read: there is no such file") from None
    except _READ_ERRORS as error:
        raise CouldNotRunError(f"{where} is no saved image: {printable(str(error))}") from None
    except _DOCUMENT_ERRORS as error:
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise CouldNotRunError(f"{where} is no saved image: {reason}") from None


class _Archive:
    def __init__(self, archive: tarfile.TarFile, where: str, end: float) -> None:
        self._archive = archive
        self._where = where
        self._end = end
        self._members = {_clean(member.name): member for member in self._each(archive)}

    def read(self) -> Image:
        config_name, layers = self._manifest()
        config = self._json(config_name)
        files = _Files()
        for name in layers:
            with self._layer(name) as layer:
                files.apply(self._each(layer), layer)
        version = VersionFile(
            f"/app/version.json in {self._where}",
            files.content("app/version.json"),
            reproduce="cat /app/version.json",
            in_image=True,
        )
        return Image(
            self._where,
            cast("dict[str, Any]", config.get("config") or config.get("Config") or {}),
            passwd=(files.content("etc/passwd") or b"").decode("utf-8", "replace"),
            group=(files.content("etc/group") or b"").decode("utf-8", "replace"),
            sources=files.has_sources(),
            version=version,
        )

    def _each(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
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
                f"{self._where} is no saved image: it has neither manifest.json nor index.json"
            )
        document = self._json("index.json")
        for _ in range(4):  # an index may name another one
            if "manifests" not in document:
                break
            found = document["manifests"]
            linux = [
                m for m in found if cast("Any", m.get("platform") or {}).get("os") != "unknown"
            ]
            document = self._json(_blob((linux or found)[0]["digest"]))
        return (
            _blob(document["config"]["digest"]),
            [_blob(layer["digest"]) for layer in document["layers"]],
        )

    def _open(self, name: str) -> IO[bytes]:
        member = self._members.get(_clean(name))
        for _ in range(10):  # older engines write the same layer once and link to it
            if member is None or not (member.issym() or member.islnk()):
                break
            folder = posixpath.dirname(member.name) if member.issym() else ""
            member = self._members.get(_clean(posixpath.join(folder, member.linkname)))
        file = self._archive.extractfile(member) if member and member.isfile() else None
        if file is None:
            raise CouldNotRunError(f"{self._where} is no complete image: it lacks {name}")
        return file

    def _json(self, name: str) -> Any:
        with self._open(name) as file:
            return json.loads(file.read(MAX_JSON))

    @contextmanager
    def _layer(self, name: str) -> Generator[tarfile.TarFile]:
        with self._open(name) as file:
            if file.read(4) == b"\x28\xb5\x2f\xfd":
                raise CouldNotRunError(
                    f"{self._where} has layers packed with zstd; save it with gzip or unpacked"
                )
            file.seek(0)
            with tarfile.open(fileobj=file) as layer:
                yield layer


class _Files:
    """The files of an image, one layer on top of the other: only those that matter."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}
        self._names: set[str] = set()
        self._links: dict[str, str] = {}

    def apply(self, members: Iterator[tarfile.TarInfo], layer: tarfile.TarFile) -> None:
        added: set[str] = set()
        for member in members:
            name = _clean(member.name)
            folder, base = posixpath.split(name)
            if base == ".wh..wh..opq":
                self._remove(folder, keep=added)
            elif base.startswith(".wh."):
                self._remove(posixpath.join(folder, base[4:]), itself=True)
            elif member.issym():
                self._remove(name, itself=True)
                self._links[name] = _clean(posixpath.join("/", folder, member.linkname))
            elif member.isfile() or member.islnk():
                self._names.add(name)
                added.add(name)
                self._links.pop(name, None)
                if name in _KEPT or posixpath.basename(name) == "version.json":
                    file = layer.extractfile(member)
                    self._contents[name] = file.read(MAX_BODY + 1) if file else b""

    def _remove(self, name: str, *, itself: bool = False, keep: set[str] | None = None) -> None:
        def stays(path: str) -> bool:
            below = path.startswith(name + "/") or (itself and path == name)
            return not below or path in (keep or ())

        self._names = {path for path in self._names if stays(path)}
        self._contents = {p: content for p, content in self._contents.items() if stays(p)}
        self._links = {path: to for path, to in self._links.items() if stays(path)}

    def _resolve(self, path: str) -> str:
        for _ in range(40):
            parts = path.split("/")
            for count in range(1, len(parts) + 1):
                to = self._links.get("/".join(parts[:count]))
                if to is not None:
                    path = _clean(posixpath.join(to, *parts[count:]))
                    break
            else:
                break
        return path

    def content(self, path: str) -> bytes | None:
        return self._contents.get(self._resolve(path))

    def has_sources(self) -> bool:
        """Return whether there is anything below /app but version.json."""
        app = self._resolve("app")
        return any(
            name.startswith(app + "/") and name != f"{app}/version.json" for name in self._names
        )


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")


def _blob(digest: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+:[0-9a-f]+", digest):
        raise ValueError(f"{digest!r} is no digest")
    return "blobs/" + digest.replace(":", "/")
