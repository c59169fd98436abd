"""The click group of the subcommands."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click

from dockerflow import __version__
from dockerflow._core import conflict
from dockerflow.cli import healthcheck
from dockerflow.cli._exit import COULD_NOT_RUN, FAILED, INSTALL, INTERRUPTED, OK, print_error


class Subcommand(click.Command):
    """A subcommand that is imported when it is used.

    So ``dockerflow --help`` works where another package has installed click, but nothing has
    installed the other requirements of the extra ``cli``.
    """

    def load(self) -> click.Command:
        """Import the subcommand."""
        try:
            module = import_module(f"dockerflow.cli.{self.name}")
        except ModuleNotFoundError as error:
            message = f"{self.name} needs {error.name}, which is not installed: {INSTALL}"
            raise click.ClickException(message) from None
        command: click.Command = getattr(module, str(self.name))
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the arguments."""
        return self.load().make_context(info_name, args, parent, **extra)


class Healthcheck(click.Command):
    """Passes its arguments to the subcommand that doesn't need click."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments for completion only."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        ctx.args = args
        return args

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        ctx.exit(healthcheck.main(ctx.args))


COMMANDS: Final = (
    Subcommand("checks", short_help="Run an app's checks without HTTP."),
    Healthcheck(
        "healthcheck",
        params=[
            click.Option([flag], help=settings["help"], metavar=settings["metavar"])
            for flag, settings in healthcheck.OPTIONS.items()
        ],
        short_help="Check whether a service is healthy.",
    ),
    Subcommand("init", short_help="Add what a project lacks for Dockerflow."),
    Subcommand("logs", short_help="Show mozlog as readable text."),
    Subcommand("verify", short_help="Check an app, its image or deployment against Dockerflow."),
    Subcommand("version", short_help="Write, check and show version.json."),
)


@click.group(
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a finding, 2 could not run; healthcheck exits with 0 or 1 only. "
    "`dockerflow COMMAND --help` shows more about a command.",
)
@click.version_option(__version__, prog_name="dockerflow", message="%(prog)s %(version)s")
def dockerflow() -> None:
    """Dockerflow for containers and CI: version.json, health checks and logs."""
    if warning := conflict.warning():
        click.echo(f"dockerflow: warning: {warning}", err=True)


class Finding(click.ClickException):
    """The command ran and found something wrong."""

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
            end = "" if message.endswith((".", "?")) else "."
            print_error(f"{where}: {message}{end} See {where} --help.")
        return COULD_NOT_RUN
    except click.ClickException as error:
        print_error(f"dockerflow: {error.format_message()}")
        return error.exit_code if isinstance(error, Finding) else COULD_NOT_RUN
    except click.Abort:
        return INTERRUPTED
    return result if isinstance(result, int) else OK
