"""The click group: the subcommands, and where they are."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from dockerflow import __version__
from dockerflow._core import conflict
from dockerflow.cli import healthcheck
from dockerflow.cli._exit import COULD_NOT_RUN, FAILED, INSTALL, INTERRUPTED, OK, print_error


class _Subcommand(NamedTuple):
    path: str  # module:attribute
    help: str


COMMANDS: Final[Mapping[str, _Subcommand]] = {
    "checks": _Subcommand("dockerflow.cli.checks:checks", "Run an app's checks without HTTP."),
    "healthcheck": _Subcommand(
        "dockerflow.cli._group:healthcheck_command", "Check whether a service is healthy."
    ),
    "logs": _Subcommand("dockerflow.cli.logs:logs", "Show mozlog as text for people."),
    "verify": _Subcommand(
        "dockerflow.cli.verify:verify",
        "Check an app, a Dockerfile or an image against Dockerflow.",
    ),
    "version": _Subcommand("dockerflow.cli.version:version", "Write, check and show version.json."),
}


class LazyGroup(click.Group):
    """Imports a subcommand only to run it or to show its own help.

    So ``dockerflow --help`` works where another package has installed click, but nothing has
    installed the other requirements of the extra ``cli``.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].path.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            message = f"{cmd_name} needs {error.name}, which is not installed: {INSTALL}"
            raise click.ClickException(message) from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the subcommands' names."""
        names = [
            CompletionItem(name, help=command.help)
            for name, command in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


class _HealthcheckCommand(click.Command):
    """Passes its arguments to the subcommand that needs no click; has options to complete."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        ctx.args = args
        return args

    def invoke(self, ctx: click.Context) -> Any:
        ctx.exit(healthcheck.main(ctx.args))


healthcheck_command = _HealthcheckCommand(
    "healthcheck",
    params=[
        click.Option([flag], help=settings["help"], metavar=settings["metavar"])
        for flag, settings in healthcheck.OPTIONS.items()
    ],
)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a finding, 2 could not run; healthcheck exits with 0 or 1 only. "
    "`dockerflow COMMAND --help` shows more about each.",
)
@click.version_option(__version__, prog_name="dockerflow", message="%(prog)s %(version)s")
def dockerflow() -> None:
    """Dockerflow for containers and CI: version.json, health checks and logs."""
    if warning := conflict.warning():
        click.echo(f"dockerflow: warning: {warning}", err=True)


class Finding(click.ClickException):
    """The command has run, and found something wrong."""

    exit_code = FAILED


def run(args: Sequence[str]) -> int:
    """Run the group and return the exit code; an error is one line on standard error."""
    try:
        result: object = dockerflow.main(
            args=list(args), prog_name="dockerflow", standalone_mode=False
        )
    except click.UsageError as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            print_error(error.format_message())  # the help
        else:
            where = error.ctx.command_path if error.ctx else "dockerflow"
            message = " ".join(error.format_message().split())
            print_error(f"{where}: {message} See {where} --help.")
        return COULD_NOT_RUN
    except click.ClickException as error:
        print_error(f"dockerflow: {error.format_message()}")
        return error.exit_code if isinstance(error, Finding) else COULD_NOT_RUN
    except click.Abort:
        return INTERRUPTED
    return result if isinstance(result, int) else OK
