"""The page's style, script and icon: hashed names, compressed, and cached for good.

``python -m links assets`` makes them when the image is built. ``python -m links serve`` does it
where that wasn't done, as on a laptop.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path
from wsgiref.headers import Headers

from servestatic.cli import main as servestatic

_HERE = Path(__file__).parent
_SOURCES = _HERE / "static"
FOLDER = _HERE.parent / "build" / "assets"
_MANIFEST = FOLDER / "staticfiles.json"
PREFIX = "/static/"


def build() -> None:
    """Make the folder that is served, all at once: a server that runs never sees a part of it."""
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as scratch:
        made = Path(scratch) / "assets"
        servestatic(["--all", "--no-brotli", "--quiet", str(_SOURCES), str(made)])
        shutil.rmtree(FOLDER, ignore_errors=True)
        made.rename(FOLDER)


def is_built() -> bool:
    """Whether the folder is there and newer than all that it is made from."""
    newest = max(path.stat().st_mtime for path in _SOURCES.iterdir())
    return _MANIFEST.exists() and _MANIFEST.stat().st_mtime >= newest


@functools.cache
def url(name: str) -> str:
    """Return where a file of ``static/`` is served, by its hashed name."""
    paths = json.loads(_MANIFEST.read_text(encoding="utf-8"))["paths"]
    return f"{PREFIX}{paths[name]}"


def _add_headers(headers: Headers, _path: str, _url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"


def options() -> dict[str, object]:
    """Return what ServeStatic takes, around an ASGI application or a WSGI one."""
    return {
        "root": FOLDER,
        "prefix": PREFIX,
        "allow_all_origins": False,
        "add_headers_function": _add_headers,
    }
