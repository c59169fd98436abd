"""What the reference says in tables is the code's own.

Run as a script, which `make tables` does, this file writes those that are made from the code.
"""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import json
import logging
import re
import sys
import tomllib
import typing
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import click
import pages
import prometheus_client
import pytest

from dockerflow import checks as public_checks
from dockerflow import health
from dockerflow._core.settings import unknown
from dockerflow.checks import contrib
from dockerflow.cli import _group as group
from dockerflow.config import Config
from dockerflow.logging import MozlogFormatter, logging_config
from dockerflow.logging._trace import SPAN_FIELDS
from dockerflow.prometheus import PrometheusObserver
from dockerflow.testing import Client, capture_summaries
from dockerflow.verify.rules import RULES
from dockerflow.wsgi import DockerflowMiddleware

SOURCE = pages.ROOT / "src" / "dockerflow"
PROJECT = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PAGE = {path.stem: path for path in pages.PAGES if path.parent == pages.DOCS}


def part(page: str, name: str) -> str:
    return pages.between(PAGE[page].read_text(encoding="utf-8"), name)[1]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def firsts(page: str, name: str) -> list[str]:
    """Return what stands as code in the first column of a table."""
    return [code for row in pages.rows(part(page, name)) for code in codes(row[0])]


# --- made from the code --------------------------------------------------------------------------


def _show(default: object) -> str:
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


# A setting's group follows from its name.
GROUPS = {
    "version.json": ("version_",),
    "The heartbeat": ("heartbeat_", "drain_"),
    "Checks": ("check_", "silenced_"),
    "Request IDs": ("request_id_",),
    "The request summary": ("summary_",),
    "Endpoints": ("error_", "path_"),
}


def settings() -> str:
    """Return a section for each setting, so that each has an anchor and an entry in the search."""
    lines = []
    left = Config.table()
    for title, prefixes in GROUPS.items():
        lines += [f"## {title}", ""]
        for row in [row for row in left if row.name.startswith(prefixes)]:
            left.remove(row)
            lines += [f"### `{row.name}`", "", row.description, ""]
            lines += [f"- Environment: `{row.variable}`", f"- Valid values: {row.takes}"]
            if row.default not in (None, (), "", {}):
                lines += [f"- Default: {_show(row.default)}"]
            lines += [""]
    assert not left, f"no group has {[row.name for row in left]}"
    return "\n".join(lines)


def _commands(name: str) -> list[tuple[str, click.Command]]:
    context = click.Context(group.dockerflow)
    command = group.dockerflow.commands[name]
    if isinstance(command, group.Subcommand):
        command = command.load()
    if isinstance(command, click.Group):
        return [
            (f"dockerflow {name} {sub}", command.get_command(context, sub))
            for sub in command.list_commands(context)
        ]
    return [(f"dockerflow {name}", command)]


def options(name: str) -> str:
    lines = []
    for title, command in _commands(name):
        if title.count(" ") > 1:
            lines += [f"`{title}`", ""]
        rows = [_option(parameter, command) for parameter in command.params]
        rows = [f"| `{flag}` | {what} |" for flag, what in filter(None, rows)]
        if rows:
            lines += ["| option | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _option(parameter: click.Parameter, command: click.Command) -> tuple[str, str] | None:
    if not isinstance(parameter, click.Option):
        return None
    takes = "" if parameter.is_flag else parameter.make_metavar(click.Context(command))
    if isinstance(parameter.type, click.Choice):
        takes = r"\|".join(map(str, parameter.type.choices))
    text = parameter.help or ""
    if parameter.show_default is True:
        text = f"{text} By default {parameter.default}.".strip()
    return f"{parameter.opts[0]} {takes}".strip(), text


MADE = {
    ("configuration", "settings"): settings,
    **{
        ("command", name): (lambda name=name: options(name))
        for name in ("init", "verify", "version", "healthcheck", "checks", "logs")
    },
}


@pytest.mark.parametrize(("page", "name"), MADE)
def test_made_table(page, name):
    assert part(page, name) == MADE[page, name](), "run: make tables"


def test_every_command_has_its_table():
    assert {name for page, name in MADE if page == "command"} == set(group.dockerflow.commands)


# --- checked against the code --------------------------------------------------------------------


def test_settings_of_logging():
    parameters = inspect.signature(logging_config).parameters
    rows = pages.rows(part("configuration", "logging"))
    assert [codes(row[0])[0] for row in rows] == list(parameters)
    assert [codes(row[1])[0] for row in rows] == [f"DOCKERFLOW_LOG_{n.upper()}" for n in parameters]


def test_every_name_of_a_setting_is_there():
    named = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r"\bDOCKERFLOW_[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    known = {
        *(row.variable for row in Config.table()),
        *(codes(row[1])[0] for row in pages.rows(part("configuration", "logging"))),
        *firsts("configuration", "others"),
    }
    assert len(named) > 10
    assert named <= known, named - known
    django = (SOURCE / "django").rglob("*.py")
    own = "".join(path.read_text(encoding="utf-8") for path in django)
    for row in pages.rows(part("configuration", "others")):
        if "Django" in row[1]:
            assert f'"{codes(row[0])[0]}"' in own


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_no_page_names_a_setting_that_is_none(page):
    known = set(
        re.findall(r"\bDOCKERFLOW_[A-Z_]+[A-Z]\b", PAGE["configuration"].read_text("utf-8"))
    )
    # DOCKERFLOW_TEST_* are this repository's own.
    named = set(re.findall(r"\bDOCKERFLOW_(?!TEST_)[A-Z_]+[A-Z]\b", page.read_text("utf-8")))
    assert named <= known, named - known


def test_the_names_on_the_pages_cause_no_warning():
    texts = [page.read_text("utf-8") for page in pages.PAGES]
    named = set(re.findall(r"\bDOCKERFLOW_[A-Z_]+[A-Z]\b", " ".join(texts)))
    assert {"DOCKERFLOW_CHECKS", "DOCKERFLOW_LOG_FORMAT", "DOCKERFLOW_COMMIT"} <= named
    assert unknown(named).keys() <= {"DOCKERFLOW_CHEK_TIMEOUT"}  # the example of one


def test_settings_of_django():
    names = firsts("django", "own")
    others = pages.rows(part("configuration", "others"))
    own = {codes(row[0])[0] for row in others if "Django" in row[1]}
    assert set(names) == own | {"SILENCED_SYSTEM_CHECKS"}


def test_factories():
    rows = pages.rows(part("ready-made-checks", "factories"))
    named = [code for row in rows for code in codes(row[0])]
    assert sorted(name.partition("(")[0] for name in named) == sorted(contrib.__all__)
    for name in named:
        factory, _, arguments = name.rstrip(")").partition("(")
        parameters = list(inspect.signature(getattr(contrib, factory)).parameters)
        given = arguments.split(", ") if arguments else []
        assert parameters[: len(given)] == given, name
    assert {code for row in rows for code in codes(row[2])} <= set(EXTRAS)


def test_extras():
    rows = {codes(row[0])[0]: codes(row[2]) for row in pages.rows(part("installation", "extras"))}
    assert rows == EXTRAS | {"all": []}


def test_ids():
    constants = {name: value for name, value in vars(health).items() if name.isupper()}
    tables = ("engine", "ready-made", "system")
    rows = [row for table in tables for row in pages.rows(part("check-ids", table))]
    listed = [(codes(row[1])[0], codes(row[0])[0]) for row in rows]
    assert len(listed) == len(set(listed))
    assert dict(listed) == constants


def test_ids_are_those_of_their_checks():
    """A row names a factory whose module, or the module that it shares, uses that id."""
    for row in pages.rows(part("check-ids", "ready-made")):
        constant, factory = codes(row[1])[0], codes(row[2])[0]
        module = sys.modules[getattr(contrib, factory).__module__]
        text = inspect.getsource(module)
        if constant not in text:
            text += (SOURCE / "flask" / "checks" / "__init__.py").read_text(encoding="utf-8")
            text += (SOURCE / "django" / "checks.py").read_text(encoding="utf-8")
        assert constant in text, f"{factory} doesn't use {constant}"


def test_metrics():
    collector = prometheus_client.CollectorRegistry()
    registry = public_checks.Registry()
    registry.observe(PrometheusObserver(collector))
    registry.register(lambda: None, name="it")
    registry.run()
    registry.close()
    exposed = {}
    for metric in collector.collect():
        name = metric.name + "_total" * (metric.type == "counter")
        labels = [set(sample.labels) - {"le"} for sample in metric.samples]
        exposed[name] = (metric.type, labels[0])
    rows = pages.rows(part("metrics", "metrics"))
    assert {codes(row[0])[0]: (row[1], set(codes(row[2]))) for row in rows} == exposed


def test_options_of_checks():
    listed = firsts("checks", "options")
    hints = typing.get_type_hints(public_checks.Registry.register)
    (options,) = typing.get_args(hints["options"])  # Unpack[CheckOptions]
    assert sorted(listed) == sorted(options.__annotations__)
    names = {row.name for row in Config.table()}
    for row in pages.rows(part("checks", "options")):
        assert set(codes(row[1])) <= names


def test_envelope():
    schema = json.loads((SOURCE / "logging" / "mozlog.schema.json").read_text(encoding="utf-8"))
    listed = firsts("log-fields", "envelope")
    record = logging.LogRecord("x", logging.INFO, "", 1, "x", None, None)
    assert listed == list(json.loads(MozlogFormatter().format(record)))
    assert set(listed) == set(schema["$defs"]["envelope"]["properties"]) - {"Time"}
    assert set(schema["required"]) == set(listed) - {"Fields"}


def test_fields_of_any_line():
    try:
        raise ValueError("x")
    except ValueError:
        record = logging.makeLogRecord(
            {"msg": "%d", "args": ("x",), "exc_info": sys.exc_info(), "stack_info": "here"}
        )
    fields = json.loads(MozlogFormatter().format(record))["Fields"]
    long = logging.makeLogRecord({"msg": "x" * 5000})
    fields |= json.loads(MozlogFormatter(max_bytes=2000).format(long))["Fields"]
    by_handlers = {"rid", "uid", "dropped"}
    source = (SOURCE / "logging" / "_handlers.py").read_text(encoding="utf-8")
    assert by_handlers <= set(re.findall(r"\b[a-z]+\b", source))
    assert set(firsts("log-fields", "any")) == {*fields, *by_handlers, *SPAN_FIELDS}


def application(environ, start_response):
    start_response("418 I'm a teapot", [])
    return [b""]


def fields_of_a_summary(**settings) -> dict[str, object]:
    """Return the fields that the record has by these settings, and no other record."""
    registry = public_checks.Registry()
    app = DockerflowMiddleware(application, config=Config(**settings), registry=registry)
    with capture_summaries() as summaries:
        Client(app).get("/?a=1", {"user-agent": "x"})
    (record,) = summaries
    others = {*vars(logging.makeLogRecord({})), "message", "taskName"}
    return {name: value for name, value in vars(record).items() if name not in others}


def test_fields_of_a_summary():
    optional = {"route": "by frameworks alone"}
    by_setting = ("summary_log_querystring", "summary_log_addresses")
    plain = fields_of_a_summary()
    full = fields_of_a_summary(**dict.fromkeys(by_setting, True)) | optional
    listed = firsts("log-fields", "summary")
    names = [code for code in listed if code in full]
    assert set(listed) == set(full)
    assert names[: len(plain)] == list(plain)
    settings = {row.name for row in Config.table()}
    for row in pages.rows(part("log-fields", "summary")):
        assert ("by `summary_" in row[2]) == (codes(row[0])[0] not in plain)
        assert {c for c in codes(row[2]) if c.startswith("summary_")} <= settings
    schema = json.loads((SOURCE / "logging" / "mozlog.schema.json").read_text(encoding="utf-8"))
    assert set(full) <= set(schema["$defs"]["summaryFields"]["properties"])


def test_loggers():
    named = set()
    for path in SOURCE.rglob("*.py"):
        if "cli" in path.parts or "verify" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            makers = ("logging.getLogger", "logging.LogRecord")
            if isinstance(node, ast.Call) and ast.unparse(node.func) in makers:
                argument, *_ = node.args or [ast.Constant(None)]
                if isinstance(argument, ast.Constant) and argument.value:
                    named.add(argument.value)
    assert set(firsts("log-fields", "loggers")) == named | {public_checks.registry.__name__}


def test_endpoints():
    listed = firsts("endpoints", "endpoints")
    paths = set(pages.ENDPOINTS)
    assert set(listed) == paths
    for path in paths:
        config = Config(error_endpoint=True)
        response = Client(DockerflowMiddleware(application, config=config)).get(path)
        assert response.status != 418, f"{path} is the app's"
    assert set(firsts("exposed", "exposed")) >= paths


def test_our_defaults_are_compared():
    text = PAGE["defaults"].read_text(encoding="utf-8")
    ours = {row[0]: row[1] for row in pages.rows(pages.between(text, "defaults")[1])}
    config = Config()
    assert config.heartbeat_details == "always"
    assert ours["a result is reused for"] == f"{config.check_ttl or 0} s (`check_ttl`)"
    for name, field in {
        "time limit of a check": "check_timeout",
        "time limit of all checks": "heartbeat_timeout",
    }.items():
        assert ours[name] == f"{getattr(config, field):g} s (`{field}`)"
    field = "heartbeat_failed_status_code"
    assert ours["status code of a failure"] == f"{getattr(config, field)} (`{field}`)"


def test_the_screenshot_is_of_these_rules():
    picture = (pages.DOCS / "images" / "verify.svg").read_text(encoding="utf-8")
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", picture)).split())
    [not_checked] = re.findall(r"not checked: ([DF\d, ]+)", text)  # a line of ids
    shown = set(re.findall(r"DF\d+", text)) - set(re.findall(r"DF\d+", not_checked))
    assert shown
    for id_ in shown:
        title = rf"{id_} ((error|warning): )?{re.escape(RULES[id_].title)}"
        assert re.search(title, text), "run: make screenshot"


PUBLIC = ("aiohttp", "asgi", "checks", "checks.contrib", "fastapi", "flask", "logging", "sanic", "structlog", "testing", "wsgi")  # fmt: skip


def test_every_public_name_is_in_the_api():
    text = PAGE["api"].read_text(encoding="utf-8")
    documented = set(re.findall(r"auto(?:class|data|function|exception):: ([\w.]+)", text))
    for module, members in re.findall(r"automodule:: ([\w.]+)\n +:members:(.*)", text):
        names = members.split(",") if members.strip() else importlib.import_module(module).__all__
        documented |= {f"{module}.{name.strip()}" for name in names}
    # What the text around them names.
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    mentioned = {code.rpartition(".")[2] for code in codes(prose)}
    for name in documented:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
    for name in PUBLIC:
        module = importlib.import_module(f"dockerflow.{name}")
        missing = {n for n in module.__all__ if f"{module.__name__}.{n}" not in documented}
        assert missing <= mentioned | {"ERROR", "INFO", "WARNING"}, (name, missing - mentioned)


if __name__ == "__main__":
    for (page, name), make in MADE.items():
        before, _, after = pages.between(PAGE[page].read_text(encoding="utf-8"), name)
        PAGE[page].write_text(before + make() + after, encoding="utf-8")
