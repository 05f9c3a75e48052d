"""In what else than their factors the arms of a design differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dynaloss.config.trial import TrialConfig
from dynaloss.studies.arms import component_arms, levels_in
from dynaloss.studies.study import AblationStudy

# What decides by itself whether metadata are drawn: an arm that says so has no hidden difference.
_DECIDING = {"loss.name", "loss.finetune"}


def confounders(study: AblationStudy, configs: Mapping[str, TrialConfig]) -> tuple[str, ...]:
    """What some arms of the study's design do beside what they switch, a sentence each.

    The arms of a design set the same keys; what may come along with one of them is that metadata
    are drawn. Baselines and arms written out stand beside the design.

    Args:
        study: The study.
        configs: Its trials under one condition, by arm.
    """
    values = study.model_dump(mode="json")
    arms = component_arms(values)
    levels = {arm: factor for arm, factor, _ in levels_in(values)}
    factors = {key for keys in arms.values() for key in keys} | {*levels.values()}
    drawing = [arm for arm in (*arms, *levels) if configs[arm].loss.draws_metadata]
    others = [arm for arm in (*arms, *levels) if arm not in drawing]
    if not drawing or not others or factors & _DECIDING:
        return ()
    kept = study.trial.sampler.keep_in_train
    leave = "" if kept else ", which leave the training split"
    return (
        "arms of the design differ in more than they switch: "
        f"{_named(drawing)} rank the training samples and draw metadata{leave}, and not "
        f"{_named(others)}, so their differences include that; with [loss.finetune] true all arms "
        "do the same",
    )


def _named(arms: Collection[str]) -> str:
    *first, last = (f"'{arm}'" for arm in arms)
    return f"{', '.join(first)} and {last}" if first else last
