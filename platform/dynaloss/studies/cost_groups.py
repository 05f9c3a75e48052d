"""Groups of trials whose epochs cost the same time and memory."""

from __future__ import annotations

from dynaloss.config.trial import TrialConfig
from dynaloss.studies.identity import digest_of, flatten

# Any other setting makes a group of its own: a needless probe does no harm.
_COSTS_NOTHING = (
    "data.noise.",
    "data.views.fill",
    "data.views.statistics",
    "meta.lr",
    "optimizer.lr",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.eps",
    "schedule.epochs",
    "schedule.warmup_epochs",
    "schedule.ramp_epochs",
    "schedule.cosine",
    "schedule.decay",
    "schedule.first_step",
    "schedule.second_step",
    "schedule.step_factor",
    "loss.corrector.ranks",
    "loss.corrector.per_class",
    "loss.corrector.ranking",
    "loss.corrector.warm_start_statistics",
    "loss.corrector.pseudo_labels",
    "loss.corrector.warm_start_epochs",
    "loss.margin.in_finetune",
)


def cost_group(config: TrialConfig) -> str:
    """Text that two trials share if their epochs cost about the same time and memory.

    All losses that are not learned cost the same.
    """
    ignored = _COSTS_NOTHING if config.loss.is_learned else (*_COSTS_NOTHING, "loss.")
    values = flatten(config).items()
    return digest_of({key: value for key, value in values if not key.startswith(ignored)})


def warmup_length(config: TrialConfig) -> int:
    """Epochs of warm-up, which cost less than the others; 0 where no metadata are drawn."""
    return config.schedule.warmup_epochs if config.loss.draws_metadata else 0
