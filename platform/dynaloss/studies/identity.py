"""Identity of a trial: a hash of exactly what determines its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dynaloss.config.data import DataConfig, NoiseConfig
from dynaloss.config.families import SAMPLERS
from dynaloss.config.settings import Scalar, Settings
from dynaloss.config.trial import SamplerConfig, ScheduleConfig, TrialConfig
from dynaloss.data.digests import file_digest

__all__ = ["RESULTS_VERSION", "digest_of", "effective_config", "flatten", "trial_key"]

# Raise this when code in learning/ or data/ changes what a trial computes from equal settings,
# even in the last bit: results stored under the old number then count as missing. A change of
# speed, of names or of what is logged is no reason.
RESULTS_VERSION = 2


def effective_config(config: TrialConfig) -> dict[str, Any]:
    """The settings that can affect the result, as nested plain values.

    Configurations that must give the same result, though written differently, give the same
    dictionary: settings of what is switched off are left out, and a setting that defaults to
    another takes that one's value.
    """
    values = config.model_dump()
    _keep_effective_data(values["data"], config.data)
    _drop_defaults(values["schedule"], ScheduleConfig(), ("precision", "deterministic", "compile"))
    del values["model"]["pretrained_path"]
    if config.model.pretrained_path is not None:
        values["model"]["pretrained"] = _content(config.model.pretrained_path)
    if config.loss.is_learned:
        values["meta"]["batch_size"] = config.meta.batch_size or config.schedule.batch_size
        _keep_effective_sampler(values["sampler"], config.sampler)
    else:
        # Warm-up is cross-entropy too: without a loss to learn it never ends.
        del values["sampler"], values["meta"], values["schedule"]["warmup_epochs"]
    values["loss"] = config.loss.effective(config.schedule)
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


def _drop_defaults(values: dict[str, Any], defaults: Settings, names: Iterable[str]) -> None:
    """Leaves out what is as by default, so that a setting added later changes no key."""
    for name in names:
        if values[name] == getattr(defaults, name):
            del values[name]


def _keep_effective_data(data: dict[str, Any], config: DataConfig) -> None:
    # The digest of the data stands for what these point to; the views come back below.
    for name in ("root", "train", "test", "download", "views"):
        del data[name]
    _drop_defaults(data, DataConfig(), ("image_size", "num_classes", "memory", "equal_images"))
    if config.has_test_split:
        del data["test_fraction"]
    if not config.is_imbalanced:
        data["imbalance_factor"] = 1.0
    if not config.is_imbalanced or config.imbalance == "exponential":
        del data["imbalance"]
    if data["validation"]["fraction"] == 0:
        del data["validation"]["labels"]
    data["noise"] = _effective_noise(config.noise)
    views = config.views.model_dump(exclude_defaults=True)
    data.update({"views": views} if views else {})


def _effective_noise(noise: NoiseConfig) -> dict[str, Any]:
    if noise.is_off:
        return {"rate": 0.0}
    if noise.kind == "file":
        return {"kind": "file", "labels": _content(noise.path), "key": noise.key}
    mapping = {"map": noise.map} if noise.kind == "asymmetric" else {}
    return {"kind": noise.kind, "rate": noise.rate, **mapping}


def _content(path: str | None) -> str:
    try:
        return file_digest(str(path))[:16]
    except OSError:
        # The trial will say so; a study can be looked at before its files are there.
        return f"missing: {path}"


def _keep_effective_sampler(values: dict[str, Any], sampler: SamplerConfig) -> None:
    uses = SAMPLERS[sampler.kind].uses
    for name in [name for name in values if name not in ("kind", *uses)]:
        del values[name]
    if "path" in values:
        values["indices"] = _content(values.pop("path"))


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
