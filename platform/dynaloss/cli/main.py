"""The command line: its group of commands, and how an error ends one."""

from __future__ import annotations

import errno

import click

from dynaloss import __version__
from dynaloss.cli.ablate import ablate
from dynaloss.cli.compare import compare
from dynaloss.cli.diff import diff
from dynaloss.cli.doctor import doctor
from dynaloss.cli.export import export
from dynaloss.cli.list import list_
from dynaloss.cli.new import new, schema
from dynaloss.cli.search import search
from dynaloss.cli.show import show
from dynaloss.cli.status import status, stop
from dynaloss.cli.sync import sync
from dynaloss.cli.train import train
from dynaloss.cli.ui import ui
from dynaloss.errors import DynalossError, InputError

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class _Commands(click.Group):
    """Prints an expected error, one line per problem, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            for problem in error.shown:
                click.echo(f"error: {problem}", err=True)
            ctx.exit(2)
        except DynalossError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:  # the second Ctrl-C, or one where nothing can be kept
            click.echo("error: stopped at once; run the same command again to continue", err=True)
            ctx.exit(130)
        except OSError as error:
            if error.errno in _OF_THE_DISK:
                place = f"{error.filename}: " if error.filename else ""
                remedy = "once that is mended, run the same command again to continue"
                click.echo(f"error: {place}{error.strerror}; {remedy}", err=True)
                ctx.exit(1)
            if error.errno == errno.EPIPE or error.filename is None:
                raise
            click.echo(f"error: {error.filename}: {error.strerror}", err=True)
            ctx.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dynaloss")
def main() -> None:
    """Run ablations and searches of a meta-learned loss, and compare the runs.

    A study is one YAML file: conditions (data bias) x arms (settings of the components) x seeds.
    Try `dynaloss ablate quickstart`, then `dynaloss compare quickstart`.
    """


for _command in (
    new, ablate, train, search, status, stop, compare, diff, show, export, list_, schema, sync,
    doctor, ui,
):  # fmt: skip
    main.add_command(_command)
