"""`dynaloss new`: a study file to start from; `dynaloss schema`: what study files hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from dynaloss.errors import InputError

_SCHEMA = "dynaloss.schema.json"


@click.command()
@click.argument("name")
@click.option(
    "--like",
    metavar="STUDY",
    default="quickstart",
    show_default=True,
    help="Study to copy: a bundled one, or a file.",
)
def new(name: str, like: str) -> None:
    """Write NAME.yaml, a copy of a study under a name of its own, to be changed.

    Its schema is written beside it, by which editors complete and check it.

    Example: dynaloss new tails --like cifar10-short
    """
    from dynaloss.config.settings import broken_name
    from dynaloss.studies.loading import load_any
    from dynaloss.studies.reading.bundled import find_study
    from dynaloss.studies.study import AblationStudy

    path = Path(f"{name}.yaml")
    if rule := broken_name(name):
        raise InputError(f"NAME {rule}, but got '{name}'")
    if path.exists():
        raise InputError(f"{path} is there already: choose another name")
    source = find_study(like)
    command = "ablate" if isinstance(load_any(source), AblationStudy) else "search"
    text = re.sub(r"^study:.*$", f"study: {name}", source.read_text("utf-8"), flags=re.MULTILINE)
    path.write_text(f"# yaml-language-server: $schema={_SCHEMA}\n{text}", "utf-8")
    Path(_SCHEMA).write_text(_schema(), "utf-8")
    click.echo(f"{path} is a copy of {like}; {_SCHEMA} says what it may hold")
    click.echo(f"dynaloss {command} {path} --plan   shows what it would run")
    click.echo(f"dynaloss {command} {path}          runs it")


@click.command()
def schema() -> None:
    """Print the JSON schema of study files, for editors and other tools.

    Example: dynaloss schema > dynaloss.schema.json
    """
    click.echo(_schema(), nl=False)


def _schema() -> str:
    from dynaloss.studies.json_schema import json_schema

    return json.dumps(json_schema()) + "\n"
