"""The click group: which subcommands there are, and where each is."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from dockerflow import __version__
from dockerflow._core import conflict as _beside
from dockerflow.cli import healthcheck
from dockerflow.cli._exit import COULD_NOT_RUN, FAILED, INSTALL, INTERRUPTED, OK


class _Where(NamedTuple):
    """Where a subcommand is, as ``module:attribute``, and what the list of them says of it."""

    path: str
    help: str


COMMANDS: Final[Mapping[str, _Where]] = {
    "checks": _Where("dockerflow.cli.checks:checks", "Run an app's checks without HTTP."),
    "healthcheck": _Where(
        "dockerflow.cli._group:healthcheck_command", "Ask a service whether it is healthy."
    ),
    "logs": _Where("dockerflow.cli.logs:logs", "Show mozlog as text for people."),
    "verify": _Where(
        "dockerflow.cli.verify:verify",
        "Check an app, a Dockerfile or an image against Dockerflow.",
    ),
    "version": _Where("dockerflow.cli.version:version", "Write, check and show version.json."),
}


class LazyGroup(click.Group):
    """Imports a subcommand when it runs or shows its own help, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the subcommand of that name."""
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.path.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            message = f"{cmd_name} needs {error.name}, which is not installed: {INSTALL}"
            raise click.ClickException(message) from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, where.help) for name, where in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the subcommands' names."""
        return [
            *(
                CompletionItem(name, help=where.help)
                for name, where in COMMANDS.items()
                if name.startswith(incomplete)
            ),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]


class _PassOn(click.Command):
    """Leaves its arguments to the function that runs without click; has options to complete."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            ctx.args = args
            return args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        ctx.exit(healthcheck.main(ctx.args))


healthcheck_command = _PassOn(
    "healthcheck",
    params=[
        click.Option([flag], help=settings["help"])
        for flag, settings in healthcheck.OPTIONS.items()
    ],
)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a finding, 2 could not run; healthcheck gives 0 or 1 only. "
    "`dockerflow COMMAND --help` says more about each.",
)
@click.version_option(__version__, prog_name="dockerflow", message="%(prog)s %(version)s")
def dockerflow() -> None:
    """Dockerflow for containers and CI: version.json, health checks and logs."""
    if warning := _beside.warning():
        click.echo(f"dockerflow: warning: {warning}", err=True)


def run(args: Sequence[str]) -> int:
    """Run the group; an error is one line on standard error. Return the exit code."""
    try:
        result: object = dockerflow.main(
            args=list(args), prog_name="dockerflow", standalone_mode=False
        )
    except click.UsageError as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            print(error.format_message(), file=sys.stderr)  # noqa: T201 - the help
            return COULD_NOT_RUN
        where = error.ctx.command_path if error.ctx else "dockerflow"
        message = " ".join(error.format_message().split())
        print(f"{where}: {message} See {where} --help.", file=sys.stderr)  # noqa: T201
        return COULD_NOT_RUN
    except click.ClickException as error:
        print(f"dockerflow: {error.format_message()}", file=sys.stderr)  # noqa: T201
        return error.exit_code if isinstance(error, Finding) else COULD_NOT_RUN
    except click.Abort:
        return INTERRUPTED
    return result if isinstance(result, int) else OK


class Finding(click.ClickException):
    """The command did its work, and what it found is not fine."""

    exit_code = FAILED
