"""`dockerflow verify --image NAME --run` with a real engine: images that are sound, and others.

The subject is the one that commands are tested with. Its image declares a volume, so that each
container has one, which must be gone at the end.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import BASE, Engine

SUBJECTS = Path(__file__).parents[1] / "verify" / "subjects"
DOCKERFLOW = str(shutil.which("dockerflow", path=Path(sys.executable).parent))
TAG = "localhost/dockerflow-subject"
DOCKERFILE = f"""\
FROM {BASE} AS sound
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /app app
WORKDIR /app
COPY . /app
ENV PORT=8000
VOLUME /data
EXPOSE 8000
USER app
ENTRYPOINT ["python"]
CMD ["app.py"]

FROM sound AS root
USER root

FROM root AS capabilities
ENTRYPOINT ["sh", "-c", "chown app /tmp && exec python app.py"]

FROM root AS bare
RUN rm /bin/ls /bin/cat
USER app
"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subject")
    for name in ("app.py", "version.json"):
        shutil.copy2(SUBJECTS / name, folder)
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def build(engine: Engine, folder: Path) -> Callable[[str], str]:
    """Returns what builds one of the stages, and returns its name."""

    def build(stage: str) -> str:
        tag = f"{TAG}-{stage}"
        engine.bud(f"--target={stage}", f"--tag={tag}", folder)
        return tag

    return build


def left(engine: Engine) -> list[str]:
    """The subject's containers that there are, and all volumes: no other image has any."""
    found = engine.podman("ps", "--all", "--format={{.Image}} {{.Names}}").stdout.splitlines()
    containers = [line for line in found if line.startswith(TAG)]
    return containers + engine.podman("volume", "ls", "--quiet").stdout.split()


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(engine: Engine, build: Callable[[str], str], tmp_path: Path) -> Iterator[Run]:
    """Returns what verifies a container of a stage, and returns the exit code and the report.

    One test at a time may run them: at its end nothing may be left.
    """

    def run(stage: str, *options: str) -> tuple[int, dict[str, Any]]:
        result = engine.run(
            DOCKERFLOW, "verify", f"--image={build(stage)}", "--run", "--network=bridge",
            "--format=json", *options, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert result.stdout, result.stderr
        return result.returncode, json.loads(result.stdout)

    with engine.verifying():
        before = left(engine)
        yield run
        assert left(engine) == before


def messages(report: dict[str, Any]) -> dict[str, str]:
    """The findings by the ids of their rules."""
    return {
        rule["id"]: "; ".join(finding["message"] for finding in rule["findings"])
        for rule in report["rules"]
        if rule["findings"]
    }


def test_a_sound_image(run: Run, folder: Path) -> None:
    code, report = run(
        "sound", "--read-only", "--break=DATABASE=down", "--slow=/slow", "--fail-on=not-checked", "--ignore=DF4",
        f"--dockerfile={folder / 'Dockerfile'}", "--target=sound",
        f"--version-json={folder / 'version.json'}",
    )  # fmt: skip
    assert {rule["status"] for rule in report["rules"]} == {"passed"}
    assert code == 0


@pytest.mark.parametrize(
    ("options", "rule", "said"),
    [
        (["--env=MUTANT=ignores-sigterm", "--grace=2"], "DF116", "still ran 2 s after SIGTERM"),
        (["--env=MUTANT=deaf", "--wait=2"], "DF102", "within 2 s .* no port at all"),
        (["--env=MUTANT=loopback", "--wait=2"], "DF118", "it listens on 127.0.0.1 only"),
        (["--env=MUTANT=any-port", "--wait=2"], "DF102", "it listens on [0-9]+ instead"),
        (["--env=MUTANT=two-processes"], "DF301", "2 processes: python app.py; "),
        (["--env=MUTANT=silent"], "DF114", "wrote nothing to stdout or stderr"),
        (["--env=MUTANT=stderr"], "DF302", "mozlog to stderr"),
        (["--env=MUTANT=drops-requests", "--slow=/slow"], "DF117", "a request was lost"),
        (
            ["--env=MUTANT=ignores-database", "--break=DATABASE=down"],
            "DF109",
            "DATABASE=down: HTTP 200",
        ),
        (
            ["--env=MUTANT=dies-without-database", "--break=DATABASE=down"],
            "DF109",
            "with DATABASE=down the app exits",
        ),
        # In the image's files, and in a mount, which the engine doesn't see.
        (["--env=MUTANT=log-file", "--env=LOG_FILE=/var/tmp/a.log"], "DF114", "/var/tmp/a.log"),
        (
            ["--env=MUTANT=log-file", "--env=LOG_FILE=/tmp/a.log", "--read-only"],
            "DF114",
            "/tmp/a.log",
        ),
    ],
)
def test_an_app_that_breaks_a_rule(run: Run, options: list[str], rule: str, said: str) -> None:
    _, report = run("sound", *options)
    found = messages(report)
    found.pop("DF111", None)  # an app that exits breaks both
    assert list(found) == [rule]
    assert re.search(said, found[rule])
    assert report["could_not_run"] == []


def test_an_image_that_runs_as_root(run: Run) -> None:
    code, report = run("root")
    assert code == 1
    assert messages(report) == {"DF205": "it runs as root, not as app"}


@pytest.mark.parametrize(
    ("stage", "options", "said"),
    [
        (
            "sound",
            ["--env=MUTANT=dies-without-database", "--env=DATABASE=down"],
            "exited with 1 before it ",
        ),
        ("capabilities", [], "Operation not permitted"),
        (
            "sound",
            ["--env=MUTANT=log-file", "--env=LOG_FILE=/var/tmp/a.log", "--read-only"],
            "Read-only file system",
        ),
        ("sound", ["--env=PATH=/nowhere"], "can't be started: "),
        ("sound", ["--network=nowhere"], "network"),
    ],
)
def test_an_app_that_does_not_start(run: Run, stage: str, options: list[str], said: str) -> None:
    code, report = run(stage, *options)
    assert code == 2
    [reason] = report["could_not_run"]
    assert said in reason
    assert "\n" not in reason
    # What is known of the image is reported all the same.
    assert {rule["id"]: rule["status"] for rule in report["rules"]}["DF103"] == "passed"


def test_an_app_that_ends_during_the_requests(run: Run) -> None:
    """What it has answered until then is judged."""
    code, report = run("sound", "--env=MUTANT=crashes")
    assert code == 2
    [reason] = report["could_not_run"]
    assert "exited with 3 " in reason
    assert {rule["id"]: rule["status"] for rule in report["rules"]}["DF110"] == "passed"


def test_what_can_not_be_seen_is_unknown(run: Run) -> None:
    """Without sh and ls nobody can tell what is written to /tmp."""
    _, report = run("bare", "--read-only")
    statuses = {rule["id"]: rule["status"] for rule in report["rules"]}
    assert statuses["DF114"] == "unknown"
    assert statuses["DF301"] == statuses["DF118"] == "passed"
    assert messages(report) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_behind(
    engine: Engine, run: Run, build: Callable[[str], str], number: int, tmp_path: Path
) -> None:
    """While it starts, is asked, and is waited for after SIGTERM; also a second one."""
    command = [DOCKERFLOW, "verify", f"--image={build('sound')}", "--run", "--network=bridge",
               "--env=MUTANT=ignores-sigterm", "--grace=5"]  # fmt: skip

    def is_running() -> bool:
        return any(name.startswith(TAG) for name in left(engine))

    for seconds in (0.0, 0.1, 0.3, 3.0):
        verifier = subprocess.Popen(
            command, cwd=tmp_path, env=engine.environ, stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while not is_running() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(seconds)
        verifier.send_signal(number)
        assert verifier.wait(60) in {130, 128 + number}
        assert not is_running()
