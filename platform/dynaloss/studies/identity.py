"""Identity of a trial: a hash of exactly what determines its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dynaloss.config.data import DataConfig
from dynaloss.config.families import NOISES, SAMPLERS
from dynaloss.config.registry import one_of_in
from dynaloss.config.settings import Scalar, Settings, is_path, mapping_at
from dynaloss.config.trial import ResourcesConfig, TrialConfig
from dynaloss.data.digests import file_digest
from dynaloss.studies.overrides import kind_keys

# Raise this when code in learning/, data/ or config/ changes what a trial computes from equal
# settings, even in the last bit: results stored under the old number then count as missing. A
# change of speed, of names or of what is logged is no reason.
RESULTS_VERSION = 3

# Raise this when keys are made in another way from equal settings: stored trials then are kept
# and compared, but cannot be found under their new keys.
KEY_VERSION = 2

_ONE_THREAD = ResourcesConfig()

_ORIGIN = "from"
"""What stands beside the name of a kind of another package; no setting can have this name."""


def trial_key(
    config: TrialConfig,
    seed: int,
    base_seed: int,
    data_digest: str,
    resources: ResourcesConfig = _ONE_THREAD,
) -> str:
    """Key of a trial, 16 hexadecimal digits; paths and names have no influence.

    A setting enters it only where it has an effect and differs from its default, so that a new
    setting changes no key. The data source enters by the digest of its content. Of the resources
    enter a number of threads above one, or else that the trial computes on a GPU; see
    `ResourcesConfig.effective`. The machine does not enter: each trial has a record of it.
    """
    return digest_of(
        {
            "config": _non_default(effective_config(config), config),
            "seed": seed,
            "base_seed": base_seed,
            "data": data_digest,
            "results_version": RESULTS_VERSION,
            "key_version": KEY_VERSION,
            **resources.effective(),
        }
    )


def effective_config(config: TrialConfig) -> dict[str, Any]:
    """The settings that can affect the result, defaults included, as nested plain values.

    Configurations that must give the same result, though written differently, give the same
    dictionary: settings of what is switched off are left out, a setting that follows another one
    by default has that one's value, and a file counts by the digest of its content. A kind of
    another package has its own name, and beside it, as `from`, its origin.
    """
    values = config.model_dump()
    values["data"] = _effective_data(config.data)
    values["loss"] = config.loss.effective(config.schedule)
    values["optimizer"] = config.optimizer.effective()
    values["schedule"] = config.schedule.effective()
    if config.loss.draws_metadata:
        size = {"batch_size": config.meta_batch_size}
        values["meta"] = values["meta"] | size if config.loss.is_learned else size
        values["sampler"] = _used(values["sampler"], SAMPLERS[config.sampler.kind].uses)
    else:
        # Warm-up is cross-entropy too: where nothing follows it never ends.
        del values["sampler"], values["meta"], values["schedule"]["warmup_epochs"]
    return _with_origins(_with_contents(values, config))


def origins(config: TrialConfig) -> dict[str, str]:
    """Origin of each kind of another package that can affect the result, by its dotted key.

    See `Registry.origin`.
    """
    values = flatten(config)
    named = {key: f"{key.rpartition('.')[0]}.{_ORIGIN}" for key in kind_keys()}
    return {key: str(values[name]) for key, name in named.items() if name in values}


def flatten(config: TrialConfig) -> dict[str, Scalar]:
    """Effective settings by dotted key, as parameters for the tracking store."""
    return dict(_leaves(effective_config(config), ""))


def digest_of(values: object) -> str:
    """First 16 hexadecimal digits of the SHA-256 of `values` as canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _effective_data(config: DataConfig) -> dict[str, Any]:
    # The digest of the data covers what these name.
    named = {"root", "train", "test", "more_tests", "download", "verify"}
    data = config.model_dump(exclude=named)
    if config.has_test_split:
        del data["test_fraction"], data["test_seed"]
    if not config.is_imbalanced:
        data["imbalance_factor"] = 1.0
    if (
        not config.is_imbalanced
        or config.imbalance == type(config).model_fields["imbalance"].default
    ):
        # Else a study over imbalance factors would show its name as one more varied setting.
        del data["imbalance"]
    if not config.validation.fraction:
        del data["validation"]["labels"]
    if not config.views.cutout and config.views.augment == "none":
        del data["views"]["fill"]
    off = config.noise.is_off
    data["noise"] = {"rate": 0.0} if off else _used(data["noise"], NOISES[config.noise.kind].uses)
    return data


def _used(values: Mapping[str, Any], uses: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name == "kind" or name in uses}


def _with_contents(values: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The values with the digest of its content in place of the path of each file."""
    found = dict(values)
    for name, value in values.items():
        if isinstance(value, Mapping):
            found[name] = _with_contents(value, getattr(settings, name))
        elif value is not None and is_path(type(settings).model_fields[name]):
            try:
                found[name] = file_digest(value)[:16]
            except OSError:
                # The trial will report it; a plan can be shown before its files are there.
                found[name] = f"missing: {value}"
    return found


def _with_origins(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the name of each kind of another package, beside its origin."""
    for key, mark in kind_keys().items():
        *groups, tag = key.split(".")
        group = mapping_at(values, *groups)
        if origin := mark.registry.origin(group.get(tag, "")):
            group |= {tag: mark.registry[group[tag]].name, _ORIGIN: origin}
    return values


def _non_default(values: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Those of the values of `settings` that differ from the defaults."""
    found = {name: value for name, value in values.items() if name == _ORIGIN}
    for name, value in values.items():
        if name == _ORIGIN:
            continue
        field = type(settings).model_fields[name]
        if isinstance(value, Mapping):
            inner, mark = _non_default(value, getattr(settings, name)), one_of_in(field)
            # Each kind has its own name as the default; in a trial the default is one of them.
            if mark is not None and value.get(mark.tag, mark.default) != mark.default:
                inner[mark.tag] = value[mark.tag]
            if inner:
                found[name] = inner
        elif value != field.default:
            found[name] = value
    return found


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
