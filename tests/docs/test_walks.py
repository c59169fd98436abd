"""Pages that begin in an empty folder are followed to their end, and print what they say."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pages
import pytest
from log_lines import record
from services import free_port, wait_for
from services.web import environment
from terminal import terminal

from dockerflow.logging import TextFormatter

SERVERS = ("gunicorn", "sanic", "uvicorn")
WALKS = [page for page in pages.PAGES if pages.is_walk(page)]

# What is another one each time.
VARIES = [
    (r'"Timestamp":\d+', '"Timestamp":1795488735519628288'),
    (r'"Hostname":"[^"]*"', '"Hostname":"web-1"'),
    (r'"Pid":\d+', '"Pid":7'),
    (r'"t":\d+', '"t":2'),
    (r"\bdur=[\d.]+", "dur=0.1"),
    (r"\b[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\b", "5b0c6f0e-3b0e-4b0e-8b0e-3b0e4b0e8b0e"),
    (r'"time":"[^"]*Z"', '"time":"2026-11-24T14:02:11.250000000Z"'),
    (r'"latency":"[^"]*"', '"latency":"0.002s"'),
    (r'"(file|filePath)":"[^"]*/(\w+\.py)"', r'"\1":"/app/\2"'),
    (r"\bcurl/[\d.]+", "curl/8.14.1"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "2026-11-24 14:02:11.250"),
    (r"\b\d+ ms\b", "2 ms"),
    (r"\bin \d+\.\d s\b", "in 1.2 s"),
]


def same(text: str) -> str:
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text)
    return text


def shows(page: list[str], output: str) -> bool:
    """Whether a page shows this output, but for lines and parts of lines that are ... there."""
    wanted = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(same(line)).replace(r"\.\.\.", ".*") + r"\n"
        for line in page
    )
    text = same(output)
    return (
        re.fullmatch(wanted, text if text.endswith("\n") or not text else text + "\n") is not None
    )


class Walk:
    """A reader with a shell, in a folder.

    :param on_terminal: whether the server's output is a terminal, else it is a file.
    """

    def __init__(self, folder: Path, *, on_terminal: bool = False) -> None:
        self.folder = folder
        self.on_terminal = on_terminal
        self.stack = contextlib.ExitStack()
        self.log = folder.parent / "server.log"
        self.server: subprocess.Popen[bytes] | None = None
        self.port = str(free_port())
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = environment(PATH=path, PYTHONUNBUFFERED="1", NO_COLOR="1")

    def take(self, block: pages.Block) -> None:
        """Do what a block says."""
        if block.caption:
            is_end = block.caption.startswith("at the end of ")
            path = self.folder / block.caption.removeprefix("at the end of ")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if is_end else "w", encoding="utf-8") as file:
                file.write(block.text)
        elif block.language == "console":
            for command, expected in pages.commands(block.text):
                output = self.run(command)
                assert shows(expected, output), f"{block}: {command}\n{output}"
        elif block.language == ("text" if self.on_terminal else "json") and self.server is not None:
            self.find(same(block.text).strip(), block)
        elif block.language == "python":
            self.run(f"python -W error -c {shlex.quote(block.text)}")

    def find(self, line: str, block: pages.Block) -> None:
        """Wait for a line in the log: it is written after its response went out."""
        wait_for(
            lambda: line in same(self.log.read_text()).splitlines(),
            f"{block}: {line} in {self.log.read_text()}",
            patience=10,
        )

    def run(self, command: str) -> str:
        command = command.replace("8000", self.port)
        words = shlex.split(command)
        environment = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        if words[:2] == ["pip", "install"]:
            return ""  # test_blocks.py looks at these
        if words[0] in SERVERS:
            self.start(words, environment)
            return ""
        if words[0] == "curl":
            return self.curl(words[1:]).replace(self.port, "8000")
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout.replace(self.port, "8000")

    def start(self, words: list[str], environment: dict[str, str]) -> None:
        assert self.server is None, "there is a server already"
        log = self.stack.enter_context(
            terminal(self.log) if self.on_terminal else self.log.open("wb")
        )
        self.server = subprocess.Popen(
            words,
            cwd=self.folder,
            env=self.environment | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = self.server

        def listens() -> bool:
            assert server.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", int(self.port)), timeout=1).close()
                return True
            return False

        wait_for(listens, f"start of {words}")

    def curl(self, words: list[str]) -> str:
        """Ask as curl does, which not every machine has."""
        *options, url = words
        headers = {"User-Agent": "curl/8.14.1", "Accept": "*/*"}
        if "-H" in options:
            at = options.index("-H")
            name, _, value = options[at + 1].partition(": ")
            headers[name] = value
            del options[at : at + 2]
        assert options in ([], ["-i"]), options
        host, _, path = url.partition("/")
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            connection.request("GET", f"/{path}", headers=headers)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if not options:
            return body
        head = [f"HTTP/1.1 {response.status} {response.reason}"]
        head += [f"{name}: {value}" for name, value in response.getheaders()]
        return "\n".join([*head, "", body])

    def close(self) -> None:
        if self.server is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(self.server.pid, number)
                except ProcessLookupError:
                    break
                try:
                    self.server.wait(15)
                except subprocess.TimeoutExpired:
                    continue
        self.stack.close()


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_walk(page, tmp_path):
    folder = tmp_path / "hello"
    folder.mkdir()
    walk = Walk(folder)
    try:
        for block in pages.blocks(page):
            walk.take(block)
    finally:
        walk.close()


@pytest.mark.parametrize("page", sorted(pages.DOCS.glob("start/*.md")), ids=lambda page: page.stem)
def test_a_request_is_a_line_of_text_on_a_terminal(page, tmp_path):
    folder = tmp_path / "hello"
    folder.mkdir()
    walk = Walk(folder, on_terminal=True)
    text = [block for block in pages.blocks(page) if block.language == "text"]
    assert text
    try:
        for block in pages.blocks(page):
            if "dockerflow verify" not in block.text:
                walk.take(block)
        shown = walk.log.read_text()
        assert "__lbheartbeat__" not in shown
        assert '"Timestamp"' not in shown
    finally:
        walk.close()


DEVELOPMENT = {
    "python manage.py runserver 127.0.0.1:8000": "django",
    "flask run --debug --port 8000": "flask",
    "uvicorn --reload --port 8000 app:app": "fastapi",
    "fastapi dev --port 8000 app.py": "fastapi",
    "sanic --dev --port 8000 app:app": "sanic",
}


@pytest.mark.parametrize("command", DEVELOPMENT)
def test_a_server_for_development_shows_text_on_a_terminal(command, tmp_path):
    walk = Walk(tmp_path, on_terminal=True)
    try:
        for block in pages.blocks(pages.DOCS / f"start/{DEVELOPMENT[command]}.md"):
            if block.caption or "django-admin" in block.text:
                walk.take(block)
        walk.start(command.replace("8000", walk.port).split(), {})
        walk.curl([f"localhost:{walk.port}/"])
        wait_for(
            lambda: re.search(
                "request.summary +GET / 200 [0-9]+ ms$", walk.log.read_text(), re.MULTILINE
            ),
            walk.log.read_text(),
            patience=10,
        )
        assert '"Timestamp"' not in walk.log.read_text()
    finally:
        walk.close()


def test_the_lines_of_text_that_the_page_shows():
    rid = "5b0c6f0e-3b0e-4b0e-8b0e-3b0e4b0e8b0e"
    summary = {"method": "POST", "path": "/orders/7/pay", "code": 303, "t": 9, "uid": "u-1"}
    records = [
        record("Order %s is paid", 7, name="myapp.orders", amount=12.5, rid=rid),
        record("", name="request.summary", agent="x", lang="de", errno=0, rid=rid, **summary),
    ]
    made = [same(TextFormatter(use_colors=False).format(one)) for one in records]
    [block] = [b for b in pages.blocks(pages.DOCS / "logs.md") if b.language == "text"]
    assert block.text.splitlines() == made


def shows_output(block: pages.Block) -> bool:
    return block.language == "console" and any(o for _, o in pages.commands(block.text))


OUTPUTS = [
    page for page in pages.PAGES if page not in WALKS and any(map(shows_output, pages.blocks(page)))
]


@pytest.mark.parametrize("page", OUTPUTS, ids=lambda page: page.stem)
def test_output(page, tmp_path):
    """On other pages those commands run of which the page shows the output."""
    walk = Walk(tmp_path)
    for block in filter(shows_output, pages.blocks(page)):
        walk.take(block)


def test_there_is_a_start_for_each_framework():
    names = {page.stem for page in WALKS if page.parent.name == "start"}
    assert names == {"aiohttp", "asgi", "django", "fastapi", "flask", "sanic", "wsgi"}


def test_the_readme_shows_what_a_start_prints():
    """So that the line of a log and the heartbeat there are real ones, too."""
    walked = "".join(page.read_text(encoding="utf-8") for page in WALKS)
    shown = [b for b in pages.blocks(pages.ROOT / "README.md") if b.language == "json"]
    assert shown
    for block in shown:
        assert block.text in walked, block


def test_what_is_shown_must_be_all_that_is_printed():
    assert shows(["a", "...", "d"], "a\nb\nc\nd")
    assert shows(["x: ...", "1 ms"], "x: 5\n23 ms\n")
    assert not shows(["a", "d"], "a\nb\nd")
    assert not shows(["a"], "a\nb")
    assert not shows(["a.c"], "abc")
