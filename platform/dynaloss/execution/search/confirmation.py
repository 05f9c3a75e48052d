"""From the winners of a search to a study that retrains them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dynaloss.config.search import untuned_arm, winner_arm
from dynaloss.errors import InputError
from dynaloss.execution.search.outcome import GroupOutcome
from dynaloss.studies.loading import load_study
from dynaloss.studies.overrides import apply_overrides
from dynaloss.studies.plan import conditions_of
from dynaloss.studies.reading.document import read_document
from dynaloss.studies.search.arm_tuning import tuning_search, with_tuned
from dynaloss.studies.study import AblationStudy, SearchStudy, confirmed_name

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

_BEST = "best.yaml"
"""Name of the file of that study, in the folder of its search."""


def best_study(study: SearchStudy, groups: Iterable[GroupOutcome]) -> dict[str, Any] | None:
    """An ablation of the winners as plain values; None if no trial has completed."""
    confirm = study.confirmation
    arms, tuned = _winning(study, groups)
    if not tuned:
        return None
    untuned = {
        untuned_arm(arm): dict(settings)
        for arm, settings in study.arm_overrides().items()
        if confirm.untuned
    }
    trial = apply_overrides(study.trial.model_dump(exclude_unset=True), study.retraining)
    return {
        "study": confirmed_name(study.study),
        "trial": trial,
        "conditions": {key: list(values) for key, values in study.conditions.items()},
        "arms": arms | untuned,
        "tuned": tuned,
        "ablation": {
            "baseline": next(iter((*untuned, *arms))),
            "baselines": list(confirm.baselines),
        },
        "seeds": list(confirm.seeds),
        "base_seed": study.base_seed,
        "resources": study.resources.model_dump(),
        "report": {"metric": confirm.metric},
        **({} if study.limits.models == "none" else {"limits": {"models": study.limits.models}}),
    }


def _winning(
    study: SearchStudy, groups: Iterable[GroupOutcome]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The arms of the winners, and the settings found for each of them under each condition."""
    arms: dict[str, dict[str, Any]] = {}
    tuned: list[dict[str, Any]] = []
    for one in groups:
        # Conditions that are equal in effect have been searched as one.
        equal = [c.values for c in conditions_of(study) if c.label == one.group.condition]
        for place, winner in enumerate(one.winners, start=1):
            arm = winner_arm(one.group.arm, place)
            arms.setdefault(arm, dict(study.arm_overrides()[one.group.arm]))
            tuned += [
                {"arm": arm, "condition": dict(values), "settings": dict(winner.chosen)}
                for values in equal
            ]
    return arms, tuned


def write_best(study: SearchStudy, groups: Iterable[GroupOutcome], folder: Path) -> Path | None:
    """Writes `best_study` as a study file; None if no trial has completed."""
    values = best_study(study, groups)
    if values is None:
        return None
    path = folder / _BEST
    text = yaml.dump(values, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=99)
    comment = f"# Winners of the search '{study.study}': run with `dynaloss ablate`."
    path.write_text(f"{comment}\n{text}", encoding="utf-8")
    try:
        load_study(path)
    except InputError as error:  # a bug, not bad input: searches must write readable studies
        raise RuntimeError(f"the winners make no valid study: {error}") from error
    return path


def with_stored_tuning(study: AblationStudy, workspace: Workspace) -> AblationStudy:
    """The study with the settings that the search of its arms has found so far, if any."""
    path = workspace.folder(tuning_search(study).study) / _BEST
    if not path.is_file():
        return study
    arms = study.arm_overrides()
    entries = read_document(path).values["tuned"]
    return with_tuned(study, [entry for entry in entries if entry["arm"] in arms])


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values out again: study files have no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True
