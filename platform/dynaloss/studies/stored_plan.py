"""The plan as the tracking store keeps it, and its deviations from the plans before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dynaloss.studies.identity import KEY_VERSION
from dynaloss.studies.plan import Plan, Repeat, Trial

_MOST_NAMED = 8


class StoredPlan(BaseModel):
    """What a comparison has to know of the last plan of a study.

    `model_validate` reads the JSON of a store, that of older versions too: what it lacks is at
    its default, and not in `model_fields_set`.

    Attributes:
        study: Name of the study; empty where the store holds no plan.
        kind: Kind of the study.
        hash: Hash of what was planned; None where it is not known.
        metric: Metric that arms are compared by; of a search, its first objective.
        margin: Differences up to this do not matter, see `ReportConfig`.
        adjust: How p values are adjusted, likewise.
        baseline: Arm that the others are compared with.
        arms: Names of the arms, in the order of the plan.
        conditions: Labels of the conditions, likewise.
        seeds: Trial seeds, likewise.
        keys: Keys of the trials; None where the trials were not known beforehand.
        cells: Condition, arm and seed of each of the keys.
        repeats: Cells that share the trial of another cell.
        components: Components that the design switches.
        notes: What to know of the plan, one sentence each.
        first_hash: Hash of the first plan of the study.
        deviations: Changes since that plan, one sentence each.
        key_version: `KEY_VERSION` of the keys.
    """

    model_config = ConfigDict(frozen=True)

    study: str = ""
    kind: Literal["ablation", "search"] = "ablation"
    hash: str | None = None
    metric: str = "test/accuracy"
    margin: float | None = None
    adjust: Literal["maxt", "holm"] = "maxt"
    baseline: str | None = None
    arms: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    keys: tuple[str, ...] | None = None
    cells: tuple[tuple[str, str, int], ...] = ()
    repeats: tuple[Repeat, ...] = ()
    components: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    first_hash: str | None = None
    deviations: tuple[str, ...] = ()
    key_version: int = 1

    def as_json(self) -> dict[str, Any]:
        """The plan as values for JSON."""
        return self.model_dump(mode="json", exclude_none=True)

    def amending(self, earlier: StoredPlan) -> StoredPlan:
        """The plan with every deviation from the earlier ones, of which `StoredPlan()` is none."""
        is_first = earlier == StoredPlan()
        first = self.hash if is_first else earlier.first_hash or earlier.hash
        changes = (*earlier.deviations, *self.deviations_from(earlier))
        return self.model_copy(update={"first_hash": first, "deviations": changes})

    def deviations_from(self, earlier: StoredPlan) -> tuple[str, ...]:
        """Differences from the plan stored before, one sentence each; none from no plan at all."""
        if earlier == StoredPlan() or earlier.hash == self.hash:
            return ()
        found = list(_changes(earlier, self)) or [_other_change(earlier, self)]
        change = f"plan {earlier.hash or 'unknown'} became {self.hash}"
        return tuple(f"{change}: {text}." for text in found)


def stored_plan(plan: Plan) -> StoredPlan:
    """What is stored of the plan of an ablation."""
    trials = plan.trials
    cells: list[Trial | Repeat] = [*trials, *plan.repeats]
    return StoredPlan(
        study=plan.study,
        hash=plan.hash,
        metric=plan.metric,
        margin=plan.margin,
        adjust=plan.adjust,
        baseline=plan.baseline,
        arms=tuple(dict.fromkeys(cell.arm for cell in cells)),
        conditions=tuple(dict.fromkeys(cell.condition for cell in cells)),
        seeds=tuple(dict.fromkeys(cell.seed for cell in cells)),
        keys=tuple(trial.key for trial in trials),
        cells=tuple((trial.condition, trial.arm, trial.seed) for trial in trials),
        repeats=plan.repeats,
        components=plan.components,
        notes=(*plan.notes, *plan.warnings),
        key_version=KEY_VERSION,
    )


def note_on_earlier_keys(plan: StoredPlan, versions: Mapping[str, int]) -> str | None:
    """Note on the trials of a stored plan whose keys an earlier version has made; None for none.

    `versions` holds the version of the key of each stored trial, by key.
    """
    count = sum(versions.get(key, KEY_VERSION) < KEY_VERSION for key in plan.keys or ())
    if not count:
        return None
    return (
        f"{count} stored trials have keys of an earlier version, which cannot be matched with the "
        "present ones: they stay in the store, where `dynaloss compare` shows them until a launch "
        "stores its own plan, and are run again under their new keys"
    )


def _other_change(old: StoredPlan, new: StoredPlan) -> str:
    """What differs where no list does: keys without cells, as older plans were stored."""
    gone = len({*(old.keys or ())} - {*(new.keys or ())})
    if not gone:
        return "the order changed"
    return f"{gone} trials have other settings, data, code, threads or device"


def _changes(old: StoredPlan, new: StoredPlan) -> Iterator[str]:
    """Differences in what the older plan has recorded."""
    for name in ("metric", "baseline", "seeds", "arms", "conditions"):
        before, after = getattr(old, name), getattr(new, name)
        if name not in old.model_fields_set or before == after:
            continue
        if not isinstance(after, tuple):
            yield f"{name} '{before}' became '{after}'"
            continue
        if added := [value for value in after if value not in before]:
            yield f"{name} added: {_named(added)}"
        if dropped := [value for value in before if value not in after]:
            yield f"{name} dropped: {_named(dropped)}"
    if old.key_version != new.key_version:
        yield "the format of the keys changed, so that all trials run again"
    elif cells := _changed_cells(old, new):
        what = "settings, data, code of the results, threads or device changed in"
        yield f"{what} {len(cells)} cells: {_named(cells)}"


def _changed_cells(old: StoredPlan, new: StoredPlan) -> list[str]:
    """Cells whose trial has another key than before."""
    before, after = (dict(zip(p.cells, p.keys or (), strict=False)) for p in (old, new))
    return [
        f"{arm} · {condition} · seed {seed}"
        for (condition, arm, seed), key in after.items()
        if before.get((condition, arm, seed), key) != key
    ]


def _named(values: Sequence[Any]) -> str:
    shown = [str(value) for value in values[:_MOST_NAMED]]
    if len(values) > _MOST_NAMED:
        shown.append(f"and {len(values) - _MOST_NAMED} more")
    return ", ".join(shown)
