"""Identity of a trial: a hash of exactly what determines its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from dynaloss.design.config import DynamicLossConfig, TrialConfig
from dynaloss.design.settings import Scalar

__all__ = ["RESULTS_VERSION", "digest_of", "effective_config", "flatten", "trial_key"]

# Raise this when code in learning/ or data/ changes what a trial computes from equal settings,
# even in the last bit: results stored under the old number then count as missing. A change of
# speed, of names or of what is logged is no reason.
RESULTS_VERSION = 1


def effective_config(config: TrialConfig) -> dict[str, Any]:
    """The settings that can affect the result, as nested plain values.

    Configurations that must give the same result, though written differently, give the same
    dictionary: settings of what is switched off are left out, and a setting that defaults to
    another takes that one's value.
    """
    values = config.model_dump()
    _keep_effective_data(values["data"])
    if _is_learned(config):
        values["meta"]["batch_size"] = config.meta.batch_size or config.schedule.batch_size
    else:
        # Warm-up is cross-entropy too: without a loss to learn it never ends.
        del values["sampler"], values["meta"], values["schedule"]["warmup_epochs"]
    if isinstance(config.loss, DynamicLossConfig):
        _keep_effective_loss(values["loss"], config.loss)
    return values


def flatten(config: TrialConfig) -> dict[str, Scalar]:
    """Effective settings by dotted key, as parameters for the tracking store."""
    return dict(_leaves(effective_config(config), ""))


def trial_key(config: TrialConfig, seed: int, base_seed: int, data_digest: str) -> str:
    """Key of a trial, 16 hexadecimal digits; resources, paths and names play no part.

    Args:
        config: Settings of the trial, its arm and condition applied.
        seed: Trial seed.
        base_seed: Study seed, the second part of every random stream.
        data_digest: Digest of the content of the data source.
    """
    return digest_of(
        {
            "config": effective_config(config),
            "seed": seed,
            "base_seed": base_seed,
            "data": data_digest,
            "results_version": RESULTS_VERSION,
        }
    )


def digest_of(values: object) -> str:
    """First 16 hexadecimal digits of the SHA-256 of `values` as canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_learned(config: TrialConfig) -> bool:
    loss = config.loss
    return isinstance(loss, DynamicLossConfig) and (loss.corrector.enabled or loss.margin.enabled)


def _keep_effective_data(data: dict[str, Any]) -> None:
    if data["noise"]["kind"] == "none" or data["noise"]["rate"] == 0:
        data["noise"] = {"rate": 0.0}
    if data["validation"]["fraction"] == 0:
        del data["validation"]["labels"]


def _keep_effective_loss(values: dict[str, Any], loss: DynamicLossConfig) -> None:
    for name, part in (("corrector", loss.corrector), ("margin", loss.margin)):
        if not part.enabled:
            values[name] = {"enabled": False}
    if not (loss.corrector.enabled or loss.margin.enabled):
        del values["finetune"]


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
