"""A Dockerfile is read as a build reads it."""

from __future__ import annotations

import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerflow.verify import dockerfile, shell, system, users
from dockerflow.verify.evidence import CouldNotRunError, Evidence, Image, VersionFile
from dockerflow.verify.shell import Variables, expand
from dockerflow.verify.verdicts import judge

EXAMPLES = int(os.environ.get("DOCKERFLOW_TEST_EXAMPLES", "2000"))
USERS = ("DF202", "DF203")


def statuses(text: str, *rules: str, **options) -> dict[str, str]:
    seen = Evidence(dockerfiles=[dockerfile.parse(text, "Dockerfile", **options)])
    return {v.rule.id: v.status for v in judge(seen, rules or None)}


def values(text: str, name: str, **options) -> list[str]:
    parsed = dockerfile.parse(text, "Dockerfile", **options)
    return [i.value for i in parsed.instructions if i.name == name]


@pytest.mark.parametrize(
    "commands",
    [
        "groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app",
        "groupadd -g 10001 app && useradd -u 10001 -g app -m -s /bin/sh app",
        "groupadd --gid=10001 app; useradd --uid=10001 --gid=app --create-home app",
        "groupadd -r -g10001 app && useradd -r -u10001 -gapp app",
        "groupadd --gid 10001 app && useradd -N --uid 10001 -G app,staff app",
        "addgroup -g 10001 app && adduser -D -u 10001 -G app -h /app app",
        "addgroup -S -g 10001 app && adduser -S -D -H -u 10001 -G app app",
        "addgroup --gid 10001 app && adduser --uid 10001 --ingroup app --disabled-password "
        '--gecos "" --home /app app',
        "addgroup --gid 10001 app && adduser --uid 10001 --gid 10001 --disabled-password app",
        "useradd --uid 10001 app",
        "useradd -U -u 10001 app",
        "adduser -D -u 10001 app",
        "set -eux; /usr/sbin/groupadd --gid 10001 app; sudo useradd -u 10001 -g app app",
        "echo 'app:x:10001:10001:app:/app:/bin/sh' >> /etc/passwd && "
        "echo 'app:x:10001:' >> /etc/group",
        "addgroup --gid 10001 --system app && adduser --uid 10001 --system --group app",
        "groupadd -g 10001 app && useradd -N -u 10001 app && usermod -aG app app",
        "useradd -m app && usermod -u 10001 app && groupmod -g 10001 app",
        "groupmod -n app -g 10001 node && usermod -l app -u 10001 -g app -d /app -m node",
        "(groupadd -g 10001 app && useradd -u 10001 -g app app)",
        "ID=10001 && groupadd -g $ID app && useradd -u $ID -g app app",
        "bash -c 'groupadd -g 10001 app && useradd -u 10001 -g app app'",
        "groupadd -g 10001 app >/dev/null 2>&1 && useradd -u 10001 -g app app > /dev/null",
        "sed -i 's/# a;b/c/' x && groupadd -g 10001 app && useradd -u 10001 -g app app",
    ],
)
def test_ways_to_make_the_user(commands):
    assert statuses(f"FROM a\nRUN {commands}\n", *USERS) == dict.fromkeys(USERS, "passed")


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nARG ID=10001\nRUN groupadd -g $ID app && useradd -u ${ID} -g app app",
        "FROM a\nENV ID=10001\nRUN groupadd -g $ID app && useradd -u ${ID:-5} -g app app",
        "ARG ID=10001\nFROM a\nARG ID\nRUN groupadd -g $ID app && useradd -u $ID -g app app",
        "FROM a AS base\nENV ID=10001\nFROM base\nRUN useradd -u $ID app",
        "FROM a AS base\nENV ID=10001\nFROM base AS next\nENV OTHER=1\nFROM next\nRUN useradd -u $ID app",
        "FROM a AS base\nRUN useradd -u 10001 app\nFROM base AS next\nFROM next",
        "FROM a AS users\nRUN useradd -u 10001 app\nFROM scratch\n"
        "COPY --from=users /etc/passwd /etc/group /etc/",
        "FROM a\nRUN <<EOF\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n",
        "FROM a\nCOPY <<E /etc/passwd\napp:x:10001:10001::/app:/bin/sh\nE\n"
        "COPY <<E /etc/group\napp:x:10001:\nE\n",
        "FROM a\nRUN groupadd -g 10001 app \\\n\n # why\n && useradd -u 10001 -g app app\n",
        "# escape=`\nFROM a\nRUN groupadd -g 10001 app `\n && useradd -u 10001 -g app app\n",
        'FROM a\nRUN ["useradd", "-u", "10001", "app"]',
        'FROM a\nRUN ["/bin/sh", "-c", "useradd -u 10001 app"]',
        "FROM a\nRUN --mount=type=cache,target=/c useradd -u 10001 app",
        "\ufeffFROM a\r\nRUN useradd -u 10001 \\\r\n app\r\n".lstrip("\ufeff"),
        "from a\nrun useradd -u 10001 app",
        "FROM a\nRUN useradd -u 10001 app\nRUN true \\",
    ],
)
def test_ways_to_write_it(text):
    assert statuses(text, *USERS) == dict.fromkeys(USERS, "passed")


@pytest.mark.parametrize("base", ["debian", "alpine"])
@pytest.mark.parametrize(
    "commands",
    [
        "adduser -S -u 10001 app",
        "groupadd -g 10001 app && adduser --system --uid 10001 app",
        "groupadd -g 10001 app && useradd -u 10001 -g app app && usermod -u 1000 app",
        "groupadd -g 10001 app && useradd -u 10001 -g app app && userdel app",
        "true # groupadd -g 10001 app && useradd -u 10001 -g app app",
    ],
)
def test_ways_not_to_make_the_user(base, commands):
    assert statuses(f"FROM {base}\nRUN {commands}\n", "DF203") == {"DF203": "failed"}


def test_heredocs_are_no_instructions():
    text = "FROM a\nRUN <<EOF\nUSER root\nEOF\nCOPY <<-'A' <<B /app/\n\tUSER x\n\tA\nUSER y\nB\nUSER app\n"
    parsed = dockerfile.parse(text, "Dockerfile")
    assert [(i.name, i.line) for i in parsed.instructions] == [
        ("RUN", 2), ("COPY", 5), ("USER", 10),
    ]  # fmt: skip
    assert parsed.instructions[0].body == "USER root\nEOF"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$A", "one"),
        ("${A}", "one"),
        ("${A}x", "onex"),
        ("${NONE:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY-two}", ""),
        ("${A:+two}", "two"),
        ("${NONE:+two}", ""),
        ("${NONE:-$A}", "one"),
        ("$NONE", ""),
        ("$LATER", "\0LATER\0"),
        ("${LATER:-two}", "two"),
        ("${NONE:-${LATER:-${A}}}", "one"),
        ("${A:-${A}}", "one"),
        ("${NONE:?}", ""),
        ("${A%e}", "on"),
        ("${A#*n}", "e"),
        ("${A##*}", ""),
        ("${A%%[ne]*}", "o"),
        ("${A%x}", "one"),
        ("${A/n/m}", "\0\0"),
        ("${LATER%x}", "\0\0"),
        ("$", "$"),
        ("${", "\0\0"),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ('"$A"', "one"),
    ],
)
def test_variables(value, expected):
    variables = Variables({"A": "one", "EMPTY": ""}, undefined={"LATER"})
    assert expand(value, variables) == expected


def test_build_arguments_win_over_defaults_and_env_over_both():
    text = "ARG V=1\nFROM a:$V\nARG U=root\nUSER $U\nENV U=app\nUSER $U"
    assert values(text, "USER", build_args={"U": "web"}) == ["web", "app"]
    text = "ARG BASE=a\nFROM a AS b\nUSER app\nFROM $BASE"
    assert values(text, "USER", build_args={"BASE": "b"}) == ["app"]
    assert values("FROM a\nUSER $U", "USER", build_args={"U": "app"}) == [
        "$U"
    ]  # the base's, if any
    assert values("FROM python\nUSER $U", "USER", build_args={"U": "app"}) == [""]


@pytest.mark.parametrize("image", ["python:$V", "python:${V}-slim", "docker.io/library/node:$V"])
def test_a_tag_that_is_not_known(image):
    """Whichever it is, an official image has no user app."""
    rules = ("DF202", "DF203", "DF205")
    found = statuses(f"ARG V\nFROM {image}", *rules)
    assert found == dict.fromkeys(rules, "failed")
    made = "RUN adduser --system --ingroup app --uid 10001 app"
    assert statuses(f"ARG V\nFROM {image}\nRUN addgroup --gid 10001 app\n{made}", "DF203") == {
        "DF203": "passed"  # on Debian as on Alpine
    }
    assert statuses(f"ARG V\nFROM $V{image}", "DF203") == {"DF203": "unknown"}


def test_an_argument_that_is_its_own_default():
    """It has no value, unless the build gets one."""
    text = "FROM python\nARG U=${U}\nUSER $U"
    assert statuses(text, "DF205") == {"DF205": "unknown"}
    assert statuses(text, "DF205", build_args={"U": "app"}) == {"DF205": "passed"}


@pytest.mark.parametrize("folder", ["C:\\app", "c:/app/"])
def test_folders_on_windows(folder):
    text = f"# escape=`\nFROM python:3-windowsservercore\nWORKDIR {folder}\nCOPY . ."
    assert statuses(text, "DF201") == {"DF201": "passed"}
    assert statuses(text.replace("WORKDIR", "COPY ."), "DF201") == {"DF201": "passed"}


def test_escape_is_set_at_the_top_only():
    text = "FROM a\n# escape=`\nENV A=1\nUSER \\$A"
    assert values(text, "USER") == ["$A"]
    assert values(f"# syntax=x\n# escape=`\n{text}", "USER") == ["\\1"]


def test_env_values():
    text = "FROM a\nENV A=1\nENV B=\"two words\" C='three' \\\n D=$A\nENV OLD way of it\nUSER $B$C$D$OLD"
    assert values(text, "USER") == ["two wordsthree1way of it"]


def test_target_and_stages():
    text = "FROM a AS one\nUSER app\nFROM b\nUSER root\n"
    assert statuses(text, "DF205") == {"DF205": "failed"}
    assert statuses(text, "DF205", target="ONE") == {"DF205": "passed"}
    assert statuses(text, "DF205", target="0") == {"DF205": "passed"}
    with pytest.raises(CouldNotRunError, match="no stage 'x'"):
        dockerfile.parse(text, "D", target="x")


def test_a_stage_below_decides_unless_overridden():
    base = 'FROM a AS base\nUSER app\nENTRYPOINT ["x"]\nCMD ["y"]\nWORKDIR /app\nCOPY . .\n'
    rules = ("DF201", "DF204", "DF205")
    assert set(statuses(base + "FROM base\n", *rules).values()) == {"passed"}
    # A new ENTRYPOINT drops the CMD of the stage below.
    found = statuses(base + 'FROM base\nENTRYPOINT ["z"]\n', *rules)
    assert found == {"DF201": "passed", "DF204": "failed", "DF205": "passed"}


@pytest.mark.parametrize("user", ["app", "app:app", "10001", "10001:10001", '"app"'])
def test_the_same_user(user):
    assert statuses(f"FROM a\nUSER {user}", "DF205") == {"DF205": "passed"}


@pytest.mark.parametrize(
    "comment",
    [
        "# dockerflow ignore=DF205",
        "#dockerflow ignore = df204,DF205 the platform does",
        " # dockerflow ignore=DF205, DF204 root, as the platform requires",
    ],
)
def test_ignored_inside(comment):
    text = f"FROM python\n{comment}\nUSER root\n"
    assert statuses(text, "DF205", "DF202") == {"DF205": "ignored", "DF202": "failed"}


@pytest.mark.parametrize("text", ["", "\n\n", "# only this\n", "USER app\n", "hello world\n"])
def test_no_dockerfile(text):
    with pytest.raises(CouldNotRunError, match="is not a Dockerfile"):
        dockerfile.parse(text, "Dockerfile")


def test_not_text(tmp_path):
    path = tmp_path / "Dockerfile"
    for content in (b"\xff\xfe", b"FROM a\n" * 200_000):
        path.write_bytes(content)
        with pytest.raises(CouldNotRunError, match="is not a Dockerfile"):
            dockerfile.read(path, {}, None)
    with pytest.raises(CouldNotRunError, match="can't be read"):
        dockerfile.read(tmp_path, {}, None)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ('CMD ["app", "--addr", "127.0.0.1:8000"]', "8000"),
        ('CMD ["app", "--addr=127.0.0.1:8000"]', "8000"),
        ('ENTRYPOINT ["gunicorn"]\nCMD ["-b", "0.0.0.0:8000", "app"]', "8000"),
        ('ENTRYPOINT ["gunicorn"]\nCMD ["--bind=:8000", "app"]', "8000"),
        ('ENTRYPOINT ["gunicorn"]\nCMD ["--bind", "[::]:8000", "app"]', "8000"),
        ("CMD gunicorn -b tcp://0.0.0.0:8000 app", "8000"),
        ("CMD uvicorn app:app --host 0.0.0.0 --port=8000", "8000"),
        ("CMD uvicorn app:app --port '8000'", "8000"),
        ("CMD exec app -p 8000", "8000"),
        ("CMD app -p8000", "8000"),
        ("CMD cd /app && app --listen :8000", "8000"),
        ("CMD bash -c 'app --http-socket :8000'", "8000"),
        ('CMD ["sh", "-c", "app --port 8000"]', "8000"),
        ("CMD PORT=8000 app", "8000"),
        ("CMD env PORT=8000 app", "8000"),
        ('ENTRYPOINT ["env", "PORT=8000", "app"]', "8000"),
        ("CMD export PORT=8000; exec app", "8000"),
        ("CMD PORT=8000; app --port $PORT", "8000"),
        ("CMD python manage.py runserver 0.0.0.0:8000", "8000"),
        ("CMD python -m http.server 8000", "8000"),
        ("CMD java -Dserver.port=8000 -jar app.jar", "8000"),
        ("CMD app --port $PORT", "passed"),
        ("CMD app --port ${PORT:-8000}", "passed"),
        ("CMD app --bind 0.0.0.0:$PORT", "passed"),
        ('CMD app --bind "0.0.0.0:${PORT}"', "passed"),
        ("CMD PORT=$PORT app", "not checked"),
        ("CMD P=${PORT:-8000}; app --port $P", "passed"),
        ('CMD ["sh", "-c", "app --port $PORT"]', "passed"),
        ('ENTRYPOINT ["sh", "-c"]\nCMD ["app --port $PORT"]', "passed"),
        ("""CMD ["python", "-c", "import os; run(os.environ['PORT'])"]""", "passed"),
        ('CMD ["app", "--port", "$PORT"]', "not checked"),  # no shell fills it in
        ("CMD app --port '$PORT'", "not checked"),
        ("CMD app --workers 8000 --timeout 120", "not checked"),
        ("CMD mkdir -p 80x && app", "not checked"),
        ("CMD echo --port 8000; app", "not checked"),
        ("CMD app # --port 8000", "not checked"),
        ('ENTRYPOINT app\nCMD ["--port", "8000"]', "not checked"),  # a shell ignores it
        ("CMD app\nHEALTHCHECK CMD curl --port 8000", "not checked"),
        ("CMD []", "not checked"),
        ("CMD app --port", "not checked"),
        ("CMD app --httpPort=8000 --db-host db:5432", "8000"),
        ("CMD app --web.listen-address=:8000", "8000"),
        ("CMD app --db-host db:5432 --redis-addr redis:6379 --host backend:80", "not checked"),
        ("CMD app --metrics-port 9090 --db-port=5432", "not checked"),
        ("CMD java -Dmanagement.server.port=9090 -jar app.jar", "not checked"),
        ("CMD wait-for-it.sh -p 5432 && app", "not checked"),
    ],
)
def test_ports_in_the_command(start, expected):
    seen = Evidence(dockerfiles=[dockerfile.parse(f"FROM python\n{start}", "Dockerfile")])
    (verdict,) = judge(seen, ("DF102",))
    if expected == "8000":
        (finding,) = verdict.findings
        assert "8000" in finding.message
        assert finding.line == len(start.splitlines()) + 1
    else:
        assert verdict.status == expected


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("pip install -r requirements.txt", "failed"),
        ("pip install -r /app/requirements.txt", "failed"),
        ("pip install --target /app x", "failed"),
        ("pip install /app", "passed"),
        ("pip install -e /app[dev]", "passed"),
        ("pip install .", "passed"),
        ("pip install './[dev]'", "passed"),
        ("pip install --no-deps x", "passed"),
        ("echo pip install x", "passed"),
        ("true # pip install x", "passed"),
        ("if x; then pip install x; fi", "failed"),
        ("pip install lib/ ./api", "passed"),
        ("pip install --cache-dir /tmp/x x", "failed"),
        ("go install example.org/app/cmd/server", "passed"),
        ("go install ./...", "passed"),
        ("go install example.org/tool@v1.2.3", "failed"),
        ("apt-get update && apt-get install -y x", "failed"),
        ("echo 'apt-get install x'", "passed"),
    ],
)
def test_what_is_installed_after_the_sources_were_copied(commands, expected):
    assert statuses(f"FROM python\nCOPY . /app\nRUN {commands}", "DF305") == {"DF305": expected}


@pytest.mark.parametrize(
    ("commands", "lines"),
    [
        (["apt-get update && apt-get install -y x"], [2]),
        (["apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*"], []),
        (["apt-get update && apt install -y x && apt distclean"], []),
        (["apt-get update && apt-get upgrade -y"], [2]),
        (["apt-get update", "apt-get install -y x && rm -rf /var/lib/apt/lists/*"], [2]),
        (["apt-get update", "apt-get install -y x"], [2]),
        (["curl https://deb.nodesource.com/setup_20.x | bash -", "apt-get install -y nodejs"], [3]),
        (
            ["apt-get update && apt-get install -y x", "apt-get update && apt-get install -y y"],
            [2, 3],
        ),
    ],
)
def test_package_lists_that_are_left(commands, lines):
    """An update writes them; a later instruction can't remove them from its layer."""
    text = "\n".join(["FROM debian", *(f"RUN {command}" for command in commands)])
    seen = Evidence(dockerfiles=[dockerfile.parse(text, "Dockerfile")])
    (verdict,) = judge(seen, ("DF305",))
    assert [finding.line for finding in verdict.findings] == lines


def messages(text: str, rule: str, **options) -> list[str]:
    seen = Evidence(dockerfiles=[dockerfile.parse(text, "Dockerfile", **options)])
    (verdict,) = judge(seen, (rule,))
    return [one.message for one in (*verdict.findings, *verdict.unknowns)]


@pytest.mark.parametrize(
    ("text", "rule", "message"),
    [
        ("FROM python\nRUN groupadd -g 9500 app", "DF202", "group app has GID 9500, not 10001"),
        ("FROM python\nRUN groupadd app", "DF202", "group app has a free GID, not 10001"),
        ("FROM python\nRUN useradd -u 9500 app", "DF203", "user app has UID 9500, not 10001"),
        ("FROM python\nARG G\nRUN groupadd -g $G app", "DF202", "group app has GID $G, which is not known"),
        ("FROM python\nRUN groupadd -g 10001 app; groupadd -g 7 x; useradd -u 10001 -g x app", "DF203",
         "user app is not in group app, but in group x"),
        ("FROM a\nRUN groupmod -n app web", "DF202", "group app has a GID that is not known"),
        ("FROM a\nRUN x", "DF202", "whether there is a group app depends on a"),
        ("FROM python\nRUN ./x.sh", "DF203", "whether there is a user app depends on x.sh, which the build runs"),
        ("FROM a", "DF201", "whether anything is in /app depends on a"),
        ("FROM a", "DF204", "whether it has ENTRYPOINT and CMD depends on a"),
        ("FROM a", "DF205", "it has no USER, so its user depends on a"),
        ("FROM a:${V}", "DF205", "it has no USER, so its user depends on a:$V"),
        ("ARG V\nFROM a:${V}", "DF205", "it has no USER, so its user depends on a:$V"),
        ("FROM python", "DF205", "it has no USER, so it runs as root"),
        ("FROM gcr.io/distroless/static:nonroot", "DF205",
         "it has no USER, so it runs as gcr.io/distroless/static:nonroot's default user"),
        ("FROM python\nARG U\nUSER $U", "DF205", "it runs as $U, which is not known"),
        ("FROM python\nUSER root", "DF205", "it runs as root, not as app"),
        ("FROM python\nEXPOSE 8888 8888/udp", "DF306", "it is for port 8888, not 8000"),
    ],
)  # fmt: skip
def test_messages(text, rule, message):
    assert messages(text, rule) == [message]


def test_the_user_of_an_image_without_a_shell():
    text = (
        "FROM golang AS build\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid app app\n"
        "FROM gcr.io/distroless/static\nCOPY --from=build /etc/passwd /etc/group /etc/\nUSER app\n"
    )
    assert [messages(text, rule) for rule in ("DF202", "DF203", "DF205")] == [[], [], []]


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("FROM python\nARG A=1 UID\nRUN useradd -u $UID app", "UID"),
        ("ARG BASE\nFROM ${BASE}", "BASE"),
        ("FROM a\nRUN useradd -u $UID app", None),
    ],
)
def test_a_build_argument_may_tell(text, argument):
    seen = Evidence(dockerfiles=[dockerfile.parse(text, "Dockerfile")])
    (verdict,) = judge(seen, ("DF203",))
    (one,) = verdict.unknowns
    start = f"give --build-arg {argument}=VALUE, or check the image" if argument else "check"
    assert one.would_tell.startswith(start)


def test_reproduce_with_the_same_options():
    text = "FROM python AS a\nFROM a"
    options = {"build_args": {"A": "1", "B": "two words"}, "target": "a"}
    seen = Evidence(dockerfiles=[dockerfile.parse(text, "my file", **options)])
    (verdict,) = judge(seen, ("DF205",))
    assert [finding.reproduce for finding in verdict.findings] == [
        "dockerflow verify --dockerfile 'my file' --target a --build-arg A=1 "
        "--build-arg 'B=two words'"
    ]


def test_an_image_tells_what_a_dockerfile_does_not():
    unknown = dockerfile.parse("FROM a", "Dockerfile")
    config = {"User": "app", "Entrypoint": ["a"], "Cmd": ["b"]}
    version = VersionFile("", b"{}", "")
    image = Image("a", config, "app:x:10001:10001::", "app:x:10001:", True, version)
    for seen, expected in [
        (Evidence(dockerfiles=[unknown]), "unknown"),
        (Evidence(dockerfiles=[unknown], images=[image]), "passed"),
    ]:
        assert {v.status for v in judge(seen, RULES_ON_IMAGES)} == {expected}
    (verdict,) = judge(Evidence(dockerfiles=[unknown]), ("DF202",))
    (one,) = verdict.unknowns
    assert one.would_tell == "check the image that it builds: dockerflow verify --image NAME"
    assert (one.file, one.line) == ("Dockerfile", 1)


RULES_ON_IMAGES = ("DF201", "DF202", "DF203", "DF204", "DF205")

PIECES = st.sampled_from(
    ["FROM a", "FROM python AS b", "FROM b", "FROM 0", "RUN", "<<EOF", "EOF", "\\", "\n", " ", "${", "}", "$", "$(", "`",
     "ENV A=", "ARG A", "USER $A", '"', "'", "[", "]", "[[", "]]", "COPY --from=b", "ADD", "/etc/passwd", "/app", "#",
     "# escape=`", "ONBUILD", "SHELL", "useradd", "-u", "10001", "app", "groupmod -n", "adduser -D", "gpasswd -a",
     "systemd-sysusers", "getent", "group", "sed -i", "tee", "cat", "|", "||", "&&", ";", "&", ">>", "<", "<<<", "if", "then",
     "else", "fi", "for u in", "do", "done", "while", "case", "in", "esac", "f() {", "(", ")", "sh -c", "eval", "xargs",
     "exit", "return", "break", "shift", "set --", "export", "test", "!", "printf %s", "tar -C", "cp -t", "curl -o", "\0"]
)  # fmt: skip


@settings(max_examples=EXAMPLES)
@given(st.lists(PIECES | st.text(max_size=5), max_size=30).map(" ".join))
def test_anything_gets_a_verdict(text):
    try:
        parsed = dockerfile.parse(f"FROM python\n{text}", "Dockerfile", {"A": "x"})
    except CouldNotRunError:
        return
    judge(Evidence(dockerfiles=[parsed]))


COMMANDS = sorted({*system._commands, *shell._builtins, *shell.SHELLS, *users.COMMANDS, "x"})
ARGUMENTS = ["", "-", "--", "-x", "app", "-c", "-C", "-o", "-t", "-d", "-e", "-I", "-n", "-R", "-i", "-i app",
             "--inline", "clone", "install", "build", "-m", "-m pip", "-m venv", "$X", "-u", "-g", "=", "of="]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_any_command_may_lack_its_arguments(command):
    for argument in ARGUMENTS:
        run = f"{command} {argument}\nRUN echo a | {command} {argument}"
        statuses(f"FROM python\nARG X\nRUN {run}\nRUN {json.dumps([command, argument])}")


HOSTILE = {
    "a list": "RUN " + "a && " * 200_000 + "b",
    "lists": "RUN " + "[ -f x ] && a || " * 60_000 + "b",
    "statements": "RUN " + "a; " * 300_000,
    "groups": "RUN " + "".join(f"groupadd -g {n} g{n}; " for n in range(30_000)),
    "conditions": "RUN " + "".join(f"if x; then groupadd g{n}; fi; " for n in range(20_000)),
    "nested commands": "RUN " + "(" * 20_000 + "a" + ")" * 20_000,
    "nested substitutions": "RUN echo " + "$(" * 20_000 + "a" + ")" * 20_000,
    "open substitutions": "RUN echo " + "$(" * 300_000,
    "nested expansions": "USER " + "${A:-" * 20_000 + "}" * 20_000,
    "nested conditions": "RUN " + "if a; then " * 5000 + "b;" + " fi;" * 5000,
    "a variable that doubles": "RUN A=aaaaaaaaaa; " + "A=$A$A; " * 200 + "echo $A",
    "loops in loops": "RUN " + "for i in 1 2 3 4 5 6 7 8 9 10; do " * 8 + "a; " + "done; " * 8,
    "recursion": "RUN f() { f; f; }; f",
    "a script that runs itself": "RUN echo 'sh /a; sh /a' > /a; sh /a",
    "words": "RUN echo " + "a " * 500_000,
    "sources": "COPY " + "a " * 400_000 + "/",
    "variables": "".join(f"ENV A{n}=1\n" for n in range(60_000)),
    "stages": "RUN useradd x\n" + "FROM 0\n" * 100_000,
    "triggers": "ONBUILD RUN a\n" * 30_000 + "FROM 0\n" * 30_000,
    "stages with groups": "".join(f"RUN groupadd g{n}\n" for n in range(20_000)) + "FROM 0\n" * 20_000,
    "copies": "".join(f"RUN touch /x{n}\n" for n in range(20_000)) + "FROM a\n" + "COPY --from=0 / /\n" * 9000,
    "a command": "ENTRYPOINT " + "a && " * 150_000 + "b",
    "JSON": "CMD " + "[" * 100_000,
    "files": "RUN " + "".join(f"echo a > /f{n}; " for n in range(40_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name):
    started = time.monotonic()
    try:
        parsed = dockerfile.parse(f"FROM python\n{HOSTILE[name]}", "Dockerfile")
    except CouldNotRunError:
        return
    judge(Evidence(dockerfiles=[parsed]))
    assert time.monotonic() - started < 60


def test_too_long_to_follow_is_not_known():
    found = statuses("FROM python\nRUN " + "a; " * 300_000 + "useradd -u 10001 app", *USERS)
    assert found == dict.fromkeys(USERS, "unknown")
