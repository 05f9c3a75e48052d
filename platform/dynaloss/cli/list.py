"""`dynaloss list`: every name that a study file can use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dynaloss.config.data import DataConfig
    from dynaloss.config.registry import Registry


@click.command("list")
def list_() -> None:
    """List the bundled studies, and every name that a study file can use.

    Example: dynaloss list
    """
    for title, entries in _catalogue():
        click.echo(f"{title}:")
        width = max((len(name) for name in entries), default=0)
        for name, text in entries.items():
            click.echo(f"  {name:<{width}}  {text}".replace("\n", f"\n{' ' * (width + 4)}"))


def _catalogue() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each family, with the setting that names its kinds, and their descriptions."""
    from dynaloss.analysis.selection import SELECTION_RULES
    from dynaloss.config import families
    from dynaloss.studies.components import COMPONENTS
    from dynaloss.studies.reading.bundled import bundled_studies

    yield "studies", {name: _study(path) for name, path in bundled_studies().items()}
    yield "data sources (data.source)", _described(families.SOURCES)
    yield "imbalances (data.imbalance)", _described(families.IMBALANCES)
    yield "label noise (data.noise.kind)", _described(families.NOISES)
    yield "augmentations (data.views.augment)", _described(families.AUGMENTATIONS)
    yield "models (model.name)", _described(families.MODELS)
    yield "losses (loss.name)", _described(families.LOSSES)
    yield "metadata samplers (sampler.kind)", _described(families.SAMPLERS)
    yield "components (ablation.components)", _described(COMPONENTS)
    yield "designs (ablation.design)", _described(families.DESIGNS)
    yield "Optuna samplers (search.sampler)", _described(families.OPTUNA_SAMPLERS)
    yield "pruners (scheduler.name)", _described(families.PRUNERS)
    yield "selection rules", _described(SELECTION_RULES)


def _study(path: Path) -> str:
    """What the comment at the head of a study says, its size, and the command that runs it."""
    from dynaloss.studies.loading import load_any
    from dynaloss.studies.plan import make_plan
    from dynaloss.studies.search.groups import make_search_plan
    from dynaloss.studies.study import AblationStudy

    lines = path.read_text("utf-8").splitlines()
    head = " ".join(line.strip("# ") for line in takewhile(lambda it: it.startswith("#"), lines))
    study = load_any(path)
    if isinstance(study, AblationStudy):
        command, trials = "ablate", len(make_plan(study, _without_data).trials)
    else:
        command, trials = "search", make_search_plan(study, _without_data).num_trials
    return _lines(*wrap(head, 80), f"{trials} trials: dynaloss {command} {path.stem}")


def _without_data(data: DataConfig) -> str:
    """Stands for the digest of the data, which do not change the number of trials."""
    return data.source


def _described(registry: Registry[..., Any]) -> dict[str, str]:
    """Description of each kind, with its source, or its address, on a line of its own."""
    from pydantic_core import PydanticCustomError

    texts = {name: _lines(kind.description, kind.source) for name, kind in registry.items()}
    texts |= {f"{prefix}NAME": text for prefix, text in registry.catalogues().items()}
    for name, address in registry.installed().items():
        try:
            kind = registry.find(name)
            texts[name] = _lines(kind.description, kind.source, f"from {address}")
        except PydanticCustomError as error:  # one broken package hides no other
            texts[name] = _lines(texts.get(name, f"from {address}"), f"unusable: {error}")
    return texts


def _lines(*parts: str) -> str:
    return "\n".join(part.rstrip(".") for part in parts if part)
