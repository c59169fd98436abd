"""What the probes of running apps and commands see, and how it is shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from verify_helpers import SUBJECTS, VERSION, failed, findings, with_status

from dockerflow.cli import main
from dockerflow.verify import probes
from dockerflow.verify.evidence import hide_passwords
from dockerflow.verify.probes import Targets
from dockerflow.verify.process import Process, started
from dockerflow.verify.run import verify

ODD = str(SUBJECTS / "odd.py")


def odd(mode: str, **options) -> Targets:
    return Targets(command=(sys.executable, ODD, mode), **options)


def messages(report, rule: str) -> list[str]:
    return [finding.message for finding in findings(report, rule)]


class TestPorts:
    """Which port is the app's, and how long the verifier waits for it."""

    @pytest.fixture(autouse=True)
    def _settles_soon(self, monkeypatch):
        monkeypatch.setattr(probes, "SETTLE", 0.1)

    def test_a_port_for_metrics_that_opens_first(self):
        report = verify(odd("metrics-first"))
        assert report.could_not_run == []
        assert "DF102" in with_status(report, "passed")

    def test_another_port_that_has_the_endpoints_ends_the_wait(self):
        report = verify(odd("other-port", wait=600))
        (message,) = messages(report, "DF102")
        assert re.fullmatch(r"it got PORT=\d+, but it listens on \d+ instead", message)
        assert "DF110" in with_status(report, "passed")

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have only 127.0.0.1")
    def test_an_address_of_its_own(self):
        report = verify(odd("one-address"))
        assert with_status(report, "passed") >= {"DF102", "DF110"}
        assert messages(report, "DF118") == ["it listens on 127.0.0.2 only"]

    def test_a_port_that_is_open_before_the_app(self):
        """As an engine's, which listens before its container does."""
        report = verify(odd("closes-first"))
        assert report.could_not_run == []
        assert with_status(report, "passed") >= {"DF102", "DF106", "DF108", "DF110"}

    def test_a_slow_start_names_the_option(self):
        report = verify(Targets(command=("sleep", "600"), wait=0.3))
        (message,) = messages(report, "DF102")
        assert "but within 0.3 s (--wait) it listens on no port at all" in message

    def test_addresses_that_cannot_be_seen(self, monkeypatch):
        """As those of a container that has a network of its own."""
        monkeypatch.setattr(Process, "listening", lambda self: {})
        report = verify(odd(""))
        assert with_status(report, "unknown") == {"DF118", "DF301"}


class TestBrokenServices:
    def test_waiting_for_the_database_instead_of_listening(self):
        report = verify(odd("waits-for-database", breaks=(("DATABASE", "down"),), wait=5))
        assert {"DF109", "DF111"} <= failed(report)
        (message,) = messages(report, "DF109")
        assert message == (
            "with DATABASE=down the app doesn't listen within 5 s (--wait), instead of reporting it"
        )

    def test_an_exit_at_the_first_request(self):
        report = verify(odd("dies-without-database", breaks=(("DATABASE", "down"),)))
        (message,) = messages(report, "DF109")
        assert message == "with DATABASE=down the app exits with 3, instead of reporting it"


class TestStop:
    """A command gets SIGTERM and time to end, so that an engine can stop its container."""

    @pytest.fixture
    def stopped(self, tmp_path, monkeypatch):
        path = tmp_path / "stopped"
        monkeypatch.setenv("STOPPED", str(path))
        return path

    def test_after_break(self, stopped):
        report = verify(odd("", breaks=(("DATABASE", "down"), ("DATABASE", "down"))))
        assert report.could_not_run == []
        assert stopped.read_text() == 3 * "stopped\n"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
    def test_after_an_error(self, stopped, error):
        with (
            pytest.raises(error),
            started(partial(Process, (sys.executable, ODD, ""), {})) as process,
        ):
            self.fail_when_it_listens(process, error)
        assert stopped.read_text() == "stopped\n"

    def test_the_children_of_a_shell(self, stopped):
        command = ("sh", "-c", f"{shlex.join((sys.executable, ODD, ''))}; true")
        with started(partial(Process, command, {})) as process:
            self.wait_for(process)
        assert process.exit_code is not None
        assert stopped.read_text() == "stopped\n"

    def test_a_second_interruption_ends_the_grace_period(self):
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            self.interrupt_the_end()
        assert time.monotonic() - began < 60

    def interrupt_the_end(self) -> None:
        with started(
            partial(Process, (sys.executable, ODD, "ignores-sigterm"), {}), grace=500
        ) as process:
            self.wait_for(process)
            threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,)).start()

    def fail_when_it_listens(self, process, error) -> None:
        self.wait_for(process)
        raise error

    def wait_for(self, process) -> None:
        end = time.monotonic() + 30
        while process.port not in process.listening():
            assert time.monotonic() < end
            time.sleep(0.05)


class TestLogFiles:
    @pytest.mark.parametrize(
        ("name", "is_log"),
        [
            ("app.log", True),
            ("log/app.txt", True),
            ("_logs/access.log", True),
            ("_logs/2026-11-29T20_00_00_000Z-debug-0.log", False),
            ("npm-debug.log", False),
            ("yarn-error.log", False),
            (".pnpm-debug.log", False),
        ],
    )
    def test_names(self, name, is_log, tmp_path):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        code = f"import runpy, sys; file = open({str(path)!r}, 'w'); sys.argv = ['odd', '']; runpy.run_path({ODD!r})"
        report = verify(Targets(command=(sys.executable, "-c", code)))
        expected = [f"it logs to the file {path}"] if is_log else []
        assert messages(report, "DF114") == expected


class TestPages:
    """One page for every path doesn't pass as the endpoints."""

    @pytest.mark.parametrize("mode", ["one-page", "one-empty-page"])
    def test_for_every_path(self, mode):
        report = verify(odd(mode))
        assert failed(report) == {"DF106", "DF108", "DF110"}
        for rule in failed(report):
            (message,) = messages(report, rule)
            assert message.endswith("the response is that of any path, such as a random one")


class TestMessages:
    @pytest.mark.parametrize(
        ("mode", "rule", "says"),
        [
            ("gzip", "DF106", "GET /__version__: the response is compressed (gzip), which"),
            ("refuses-host", "DF110", 'HTTP 400 ("Bad Request: unknown host"), not HTTP 200'),
            ("refuses-host-page", "DF110", 'HTTP 400 ("DisallowedHost at /"), not HTTP 200'),
        ],
    )
    def test_what_is_wrong(self, mode, rule, says):
        (message,) = messages(verify(odd(mode)), rule)
        assert says in message

    def test_which_request_it_died_of(self):
        report = verify(odd("dies"))
        assert report.exit_code == 2
        assert "odd.py dies exited with 7 during HEAD /__version__: " in report.could_not_run[0]
        assert failed(report) == {"DF112"}, "what came after it isn't judged"

    def test_a_slow_path_that_is_fast(self):
        report = verify(odd("", slow="/nope"))
        (verdict,) = [verdict for verdict in report.verdicts if verdict.rule.id == "DF117"]
        assert verdict.status == "unknown"
        (unknown,) = verdict.unknowns
        assert re.search(r"/nope \(HTTP 404\) had ended when SIGTERM was sent", unknown.message)
        assert "--slow" in unknown.would_tell


class TestSecrets:
    """Passwords in URLs, and values that look like credentials, are never printed."""

    @pytest.mark.parametrize("format_", ["text", "json", "junit", "sarif", "github"])
    def test_are_not_printed(self, format_, capfd, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        code = main(
            [
                "verify", "--format", format_, "--wait", "0.3", "--env", "API_TOKEN=s3cret",
                "--env", "DATABASE_URL=postgres://app:s3cret@db/x", "--break", "SECRET=s3cret",
                "--header", "Authorization=Bearer s3cret", "--header", "Cookie=a=s3cret",
                "http://user:s3cret@127.0.0.1:1", "--", "sh", "-c",
                "echo 'no connection to redis://:s3cret@cache'; exec sleep 60",
            ]
        )  # fmt: skip
        out, err = capfd.readouterr()
        assert code == 2
        assert "http://user:***@127.0.0.1:1" in out
        assert "postgres://app:***@db/x" in out or "postgres" not in out
        assert "s3cret" not in out + err

    @given(st.text(st.characters(exclude_characters="@")), st.sampled_from(["", "user"]))
    @example("pass/w:rd", "user")
    @example("p@ss", "")
    def test_any_password(self, password, user):
        """But for white space, and for what could be a port and a path."""
        if password.split() == [password] and not re.match(r"\d+/", password):
            text = f"at amqp://{user}:{password}@host/path?a=b, twice"
            assert hide_passwords(text) == f"at amqp://{user}:***@host/path?a=b, twice"

    @pytest.mark.parametrize(
        "text",
        [
            "http://host:8000/@vite/client",
            "http://[::1]:8000/@vite",
            "http://user@host:80/",
            "mail to me@example.org: http://host/",
            "a:b@c",
        ],
    )
    def test_no_password(self, text):
        assert hide_passwords(text) == text


class TestHeaders:
    def test_are_sent_to_a_command(self):
        headers = (("Authorization", "Bearer s3cret"), ("X-Team", "web=1"))
        assert "DF110" in failed(verify(odd("needs-headers")))
        report = verify(odd("needs-headers", headers=headers, static=("/nope",)))
        assert with_status(report, "passed") >= {"DF106", "DF108", "DF110"}
        (finding,) = findings(report, "DF115")
        assert "-H 'Authorization: ***' -H 'X-Team: web=1'" in finding.reproduce

    def test_from_the_command_line(self, capfd, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        with started(partial(Process, (sys.executable, ODD, "needs-headers"), {})) as process:
            args = [
                "verify", f"http://127.0.0.1:{process.port}", "--wait", "30", "--format", "json",
                "--header", "Authorization=Bearer s3cret", "--header", "X-Team=web=1",
            ]  # fmt: skip
            assert main(args) == 0
        report = json.loads(capfd.readouterr().out)
        statuses = {rule["id"]: rule["status"] for rule in report["rules"]}
        assert statuses["DF110"] == "passed"

    @pytest.mark.parametrize("header", ["s3cret", "=s3cret", "a b=s3cret", "a=s3cret\r\nb: c", ""])
    def test_wrong_ones(self, header, capfd):
        assert main(["verify", "http://localhost", "--header", header]) == 2
        err = capfd.readouterr().err
        assert "must be NAME=VALUE" in err
        assert "s3cret" not in err


class TestUnixSockets:
    def test_an_app_on_one(self, tmp_path):
        path = tmp_path / "app.sock"
        with started(partial(Process, (sys.executable, ODD, "unix"), {"SOCKET": str(path)})):
            report = verify(Targets(url=f"unix:{path}", wait=30, static=("/nope",)))
            assert report.could_not_run == []
            assert report.targets == [f"unix:{path}"]
            assert with_status(report, "passed") >= {"DF104", "DF106", "DF108", "DF110", "DF112"}
            (finding,) = findings(report, "DF115")
            assert finding.where == f"unix:{path}"
            out = subprocess.run(
                shlex.split(finding.reproduce), capture_output=True, text=True, timeout=60
            ).stdout
            assert "404" in out
            prefixed = verify(Targets(url=f"unix:{path}:/nope"))
            assert "DF110" in failed(prefixed)
        report = verify(Targets(url=f"unix:{path}"))
        assert report.exit_code == 2
        assert report.could_not_run[0].startswith(f"unix:{path}: could not connect")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://a/x/__heartbeat__/ready", "must be the URL before /__version__"),
        (
            "http://a/__heartbeat__",
            "must be the URL before /__version__, not 'http://a/__heartbeat__'",
        ),
        ("http://u:s3cret@a/x/__version__/", "must be the URL before /__version__"),
        ("http://a/?b=c", "must be the URL before /__version__"),
        ("unix:/a.sock:/__lbheartbeat__", "must be the URL before /__version__"),
        ("ftp://u:s3cret@a", "must be an http:// or https:// URL or unix:PATH"),
        ("unix:", "must be an http:// or https:// URL or unix:PATH"),
    ],
)
def test_wrong_urls(url, says, capfd):
    assert main(["verify", url]) == 2
    err = capfd.readouterr().err
    assert says in err
    assert "s3cret" not in err


def needs(program: str) -> None:
    if shutil.which(program) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI has no {program}")
        pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def java(tmp_path_factory) -> tuple[str, ...]:
    needs("javac")
    folder = tmp_path_factory.mktemp("java")
    subprocess.run(["javac", "-d", folder, SUBJECTS / "App.java"], check=True, timeout=110)
    return ("java", "-cp", str(folder), "App")


class TestOtherLanguages:
    """Sound apps have no findings, and faults that are common in a language are found."""

    ALL = frozenset(
        {"DF101", "DF102", "DF104", "DF105", "DF106", "DF107", "DF108", "DF109", "DF110", "DF111",
         "DF112", "DF113", "DF114", "DF116", "DF118", "DF301", "DF302"}
    )  # fmt: skip

    @pytest.fixture(autouse=True)
    def _subjects(self, monkeypatch):
        monkeypatch.chdir(SUBJECTS)
        monkeypatch.setenv("VERSION_FILE", str(VERSION))

    @pytest.fixture(params=["node", "perl", "java"])
    def command(self, request):
        if request.param == "java":
            return request.getfixturevalue("java")
        needs(request.param)
        return {"node": ("node", "app.js"), "perl": ("sh", "server.sh")}[request.param]

    def test_sound(self, command):
        report = verify(
            Targets(command=command, version_jsons=(VERSION,), breaks=(("DATABASE", "down"),))
        )
        warnings = {"DF302"} if command[0] == "sh" else set()
        assert failed(report) == warnings
        assert with_status(report, "passed") >= self.ALL - warnings

    @pytest.mark.parametrize(
        ("command", "mutant", "rules"),
        [
            ("node", "localhost", {"DF118"}),
            ("node", "page-for-every-path", {"DF106", "DF108", "DF110"}),
            ("node", "text-logs", {"DF302"}),
            ("java", "loopback", {"DF118"}),
            ("java", "page-for-every-path", {"DF106", "DF108", "DF110"}),
            ("java", "any-method", {"DF113"}),
            ("java", "drops-requests", {"DF117"}),
        ],
        indirect=["command"],
    )
    def test_faults(self, command, mutant, rules):
        report = verify(Targets(command=command, environ=(("MUTANT", mutant),), slow="/slow"))
        assert report.could_not_run == []
        assert failed(report) == rules

    def test_the_specifications_own_demonstration(self):
        """It is started by npm, whose own log is no finding."""
        needs("npm")
        report = verify(Targets(command=("npm", "start"), version_jsons=(VERSION,), wait=60))
        assert report.exit_code == 0
        assert failed(report) == {"DF301", "DF302"}  # npm itself, and what it prints
        (finding,) = findings(report, "DF301")
        assert "it runs 3 processes: npm start; sh -c " in finding.message
