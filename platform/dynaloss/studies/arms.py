"""The arms of a study, each setting with the place in the file that it came from.

Studies are read as plain values, and malformed parts are passed over: the typed settings report
those, and everything else is still built and checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

from pydantic_core import PydanticCustomError

from dynaloss.config.ablation import AblationConfig, Resolution, baseline_settings
from dynaloss.config.families import DESIGNS, LOSSES
from dynaloss.config.settings import Scalar, is_single, list_at, mapping_at
from dynaloss.studies.components import COMPONENTS, ComponentKind
from dynaloss.studies.overrides import Overrides, key_problem, shown
from dynaloss.studies.reading.document import KeyPath


@dataclass(frozen=True, slots=True)
class Choice:
    """A value for one setting, and the place in the file that chose it."""

    value: Scalar
    path: KeyPath


Choices = Mapping[str, Choice]
"""A choice per dotted key of a trial's settings."""


def values_of(choices: Choices) -> dict[str, Scalar]:
    """The values alone."""
    return {key: choice.value for key, choice in choices.items()}


def arms_in(values: Mapping[str, Any]) -> dict[str, Choices]:
    """The arms of a study by name, `full` without any: of its design, then those written out."""
    return {**designed_arms(values), **_written_arms(values)} or {"full": {}}


def designed_arms(values: Mapping[str, Any]) -> dict[str, Choices]:
    """Arms of the components, of the levels, then of the baseline losses."""
    arms = component_arms(values)
    arms |= {arm: {factor: choice} for arm, factor, choice in levels_in(values)}
    baselines = _baseline_arms(values)
    # Losses without a design are compared with the trial as it is.
    if baselines and not (arms or values.get("arms")):
        arms["full"] = {}
    return {**arms, **baselines}


def component_arms(values: Mapping[str, Any]) -> dict[str, Choices]:
    """Arms that the components make; none where the design is malformed."""
    ablation = {**AblationConfig().model_dump(), **mapping_at(values, "ablation")}
    components, designs = list_at(ablation, "components"), ablation["design"]
    designs = [designs] if isinstance(designs, str) else designs
    resolution, known = ablation["resolution"], known_components(values)
    if not isinstance(designs, list | tuple) or resolution not in get_args(Resolution):
        return {}
    if not (components and _all_in(components, known) and _all_in(designs, DESIGNS)):
        return {}
    named = {known[name].name: known[name] for name in components}
    return {
        arm: {key: Choice(value, ("ablation", "components")) for key, value in chosen.items()}
        for design in designs
        for arm, chosen in design_arms(design, [*named], named, resolution=resolution).items()
    }


def design_arms(
    design: str,
    components: Sequence[str],
    known: Mapping[str, ComponentKind] = COMPONENTS,
    *,
    resolution: int,
) -> dict[str, Overrides]:
    """Arms of a design of distinct components by name, in the design's order."""
    subsets = DESIGNS[design].subsets(components, resolution)
    return {
        arm_name(on, components): {
            key: value
            for name in components
            for key, value in (known[name].on if name in on else known[name].off).items()
        }
        for on in subsets
    }


def arm_name(on: Sequence[str], components: Sequence[str]) -> str:
    """Name of the arm that has `on` of the `components` switched on, in their order."""
    off = [name for name in components if name not in on]
    if not off:
        return "full"
    if len(on) <= 1:
        return f"{on[0]}-only" if on else "none"
    return f"no-{off[0]}" if len(off) == 1 else "+".join(on)


def known_components(values: Mapping[str, Any]) -> dict[str, ComponentKind]:
    """The built-in components, those of other packages in use, then the study's own, by name."""
    switched = filter(is_single, list_at(values, "ablation", "components"))
    found: dict[str, ComponentKind] = dict(COMPONENTS)
    found |= {name: COMPONENTS[name] for name in map(str, switched) if name in COMPONENTS}
    for name in mapping_at(values, "components"):
        on, off = (settings_at(values, "components", name, side) for side in ("on", "off"))
        found[name] = ComponentKind(name=name, description="the study's own", on=on, off=off)
    return found


def levels_in(values: Mapping[str, Any]) -> Iterator[tuple[str, str, Choice]]:
    """Every level of one setting: name of its arm such as `ranks-10`, dotted key, and level."""
    for factor in mapping_at(values, "ablation", "one_factor"):
        path = ("ablation", "one_factor", factor)
        for i, level in enumerate(list_at(values, *path)):
            if is_single(level) and key_problem(factor) is None:
                text = shown(factor, level)
                text = re.sub(r"[^A-Za-z0-9_.+-]", "_", text)
                yield f"{factor.rpartition('.')[2]}-{text}", factor, Choice(level, (*path, i))


def _baseline_arms(values: Mapping[str, Any]) -> dict[str, Choices]:
    """One arm per loss, with its name and with every setting of that loss at its default."""
    arms: dict[str, Choices] = {}
    for i, loss in enumerate(list_at(values, "ablation", "baselines")):
        with suppress(PydanticCustomError):
            settings = baseline_settings(str(loss)).model_validate({})
            arms[LOSSES[loss].name] = {
                f"loss.{name}": Choice(value, ("ablation", "baselines", i))
                for name, value in settings.model_dump().items()
            }
    return arms


def _written_arms(values: Mapping[str, Any]) -> dict[str, Choices]:
    return {
        arm: {
            key: Choice(value, ("arms", arm, key))
            for key, value in settings_at(values, "arms", arm).items()
        }
        for arm in mapping_at(values, "arms")
    }


def settings_at(values: Mapping[str, Any], *path: str) -> Overrides:
    """The well-formed ones of the settings that plain values hold at a path."""
    given = mapping_at(values, *path)
    return {k: v for k, v in given.items() if key_problem(k) is None and is_single(v)}


def _all_in(names: Sequence[object], known: Mapping[str, object]) -> bool:
    return all(isinstance(name, str) and name in known for name in names)
