"""`dynaloss list`: every name that a study file can use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dynaloss.config.registry import Kind


@click.command("list")
def list_() -> None:
    """List the bundled studies, and every name that a study file can use."""
    for title, entries in _catalogue():
        click.echo(f"{title}:")
        width = max((len(name) for name in entries), default=0)
        for name, text in entries.items():
            click.echo(f"  {name:<{width}}  {text}".replace("\n", f"\n{' ' * (width + 4)}"))


def _catalogue() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each family, with the setting that names its kinds, and their descriptions."""
    from dynaloss.analysis.selection import SELECTION_RULES
    from dynaloss.config import families
    from dynaloss.config.plugins import user_sources
    from dynaloss.studies.components import COMPONENTS
    from dynaloss.studies.reading.bundled import bundled_studies

    yield "studies", {name: path.parent.name for name, path in sorted(bundled_studies().items())}
    installed = {name: f"from {entry.value}" for name, entry in user_sources().items()}
    yield "data sources (data.source)", _described(families.SOURCES) | installed
    yield "imbalances (data.imbalance)", _described(families.IMBALANCES)
    yield "label noise (data.noise.kind)", _described(families.NOISES)
    yield "augmentations (data.views.augment)", _described(families.AUGMENTATIONS)
    torchvision = {"torchvision/NAME": "any classifier of torchvision, such as resnet50"}
    yield "models (model.name)", _described(families.MODELS) | torchvision
    yield "losses (loss.name)", _described(families.LOSSES)
    yield "metadata samplers (sampler.kind)", _described(families.SAMPLERS)
    yield "components (ablation.components)", _described(COMPONENTS)
    yield "designs (ablation.design)", _described(families.DESIGNS)
    yield "Optuna samplers (search.sampler)", _described(families.OPTUNA_SAMPLERS)
    yield "pruners (scheduler.name)", _described(families.PRUNERS)
    yield "selection rules", _described(SELECTION_RULES)


def _described(kinds: Mapping[str, Kind]) -> dict[str, str]:
    """Description of each kind, with its source on a line of its own."""
    return {
        name: f"{kind.description.rstrip('.')}\n{kind.source}".rstrip()
        for name, kind in kinds.items()
    }
