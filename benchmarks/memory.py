"""How much memory a library adds to each process that serves an app; run by itself, the process.

An app that serves nothing but the benchmark's one page is started anew for each figure, without and
with a library, and answers some requests. The figures are of what the kernel counts for it
(``smaps_rollup``, so only on Linux): all that it has in memory, and what of it is the process's
own, so that every further worker takes it again.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROLLUP = Path("/proc/self/smaps_rollup")
APPS = {
    "asgi": "ASGI application",
    "fastapi": "FastAPI application",
    "flask": "Flask application",
    "django": "Django application (WSGI)",
}
VARIANTS = {"bare": "without a library", "incumbent": "incumbent adds", "ours": "ours adds"}
KINDS = {"own": "the worker's own", "all": "resident"}
REQUESTS = 500


def measure(rounds: int = 7) -> dict[str, float]:
    """Return KiB by what they are of: each app without a library, and what a library adds to it.

    Empty where the system doesn't tell. Prints them in MiB.
    """
    if not ROLLUP.exists():
        print(f"memory: not measured, as there is no {ROLLUP}", flush=True)
        return {}
    results: dict[str, float] = {}
    for app, title in APPS.items():
        for variant in VARIANTS:
            _look(app, variant)  # leaves the modules' bytecode: compiling them takes memory, too
        looks = [{variant: _look(app, variant) for variant in VARIANTS} for _ in range(rounds)]
        for kind, meaning in KINDS.items():
            for variant, said in VARIANTS.items():
                middle = statistics.median(
                    look[variant][kind] - (look["bare"][kind] if variant != "bare" else 0)
                    for look in looks
                )
                results[f"{title}, {meaning}: {said}"] = middle
                print(f"{middle / 1024:6.2f} MiB  {title}, {meaning}: {said}", flush=True)
    return results


def _look(app: str, variant: str) -> dict[str, int]:
    from measure import python_of

    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    output = subprocess.run(  # noqa: S603
        [python_of(variant), __file__, app, variant],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    look: dict[str, int] = json.loads(output)
    return look


def _main(app: str, variant: str) -> None:
    """Serve, and print how many KiB this process has."""
    import cases

    run = getattr(cases, app)(variant)
    run(REQUESTS)
    gc.collect()
    sizes: dict[str, int] = {}
    for line in ROLLUP.read_text(encoding="utf-8").splitlines()[1:]:
        name, size, _ = line.split()
        sizes[name.rstrip(":")] = int(size)
    print(json.dumps({"own": sizes["Private_Dirty"], "all": sizes["Rss"]}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
