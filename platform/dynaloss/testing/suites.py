"""The conformance suites, a function per family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dynaloss.data.arrays import Ints
from dynaloss.data.sources import Source
from dynaloss.studies.overrides import kind_keys
from dynaloss.testing.component_rules import COMPONENT_STAGES, ComponentCase
from dynaloss.testing.learned_rules import LEARNED_STAGES
from dynaloss.testing.loss_rules import LOSS_STAGES, LossPart
from dynaloss.testing.model_rules import MODEL_STAGES, ModelPart
from dynaloss.testing.noise_rules import NOISE_STAGES, NoisePart
from dynaloss.testing.parts import made_up_source, resumes
from dynaloss.testing.rules import Rule, enforce
from dynaloss.testing.sampler_rules import CLEAN_SET, SAMPLER_STAGES, SamplerPart
from dynaloss.testing.source_rules import SOURCE_STAGES, SourcePart

_RATE = 0.3
_LAST = (resumes,)


def check_loss(name: str, /, **settings: Any) -> None:  # noqa: ANN401 - validated
    """Passes if a loss, plain or learned, keeps its contract.

    `TrainingLoss` and `LearnedLoss` describe what each method is given and returns.

    Args:
        name: Name or address, as `loss.name` in a study.
        **settings: Settings beside the name.

    Raises:
        ContractError: With a sentence per broken rule.

    Examples:
        >>> from dynaloss.testing import check_loss
        >>> check_loss("gce", q=0.5)
    """
    __tracebackhide__ = True
    part = LossPart.find("loss.name", name, settings)
    learned = LEARNED_STAGES if part.settings.is_learned else ()
    enforce(part.label, part, [*LOSS_STAGES, *learned, _LAST])


def check_sampler(name: str, /, **settings: Any) -> None:  # noqa: ANN401 - validated
    """Passes if a metadata sampler keeps its contract.

    A sampler that reads a file of metadata is given one. `SamplerKind` and `Candidates` describe
    what it is given and returns.

    Args:
        name: Name or address, as `sampler.kind` in a study.
        **settings: Settings beside the name.

    Raises:
        ContractError: With a sentence per broken rule.

    Examples:
        >>> from dynaloss.testing import check_sampler
        >>> check_sampler("hierarchical", low_loss_ratio=0.3)
    """
    __tracebackhide__ = True
    with _with_a_file("sampler.kind", name, settings, np.array(CLEAN_SET)) as given:
        part = SamplerPart.find("sampler.kind", name, given)
        enforce(part.label, part, SAMPLER_STAGES)


def check_noise(
    name: str,
    /,
    *,
    source: Source | None = None,
    **settings: Any,  # noqa: ANN401 - validated
) -> None:
    """Passes if a kind of label noise keeps its contract.

    `NoiseKind` describes what it is given and returns.

    Args:
        name: Name or address, as `data.noise.kind` in a study.
        source: Data to put it on; by default a few made-up images of three classes and, for a
            kind that reads a file of labels, labels of theirs.
        **settings: Settings beside the name; by default at a rate of 0.3.

    Raises:
        ContractError: With a sentence per broken rule.

    Examples:
        >>> from dynaloss.testing import check_noise
        >>> check_noise("asymmetric", rate=0.4, map="0<>1")
    """
    __tracebackhide__ = True
    source = source or made_up_source()
    labels = source.pool.labels.copy()
    labels[::10] = (labels[::10] + 1) % source.num_classes
    with _with_a_file("data.noise.kind", name, settings, labels) as given:
        part = NoisePart.find("data.noise.kind", name, {"rate": _RATE, **given}, source)
        enforce(part.label, part, NOISE_STAGES)


def check_model(
    name: str,
    /,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    **settings: Any,  # noqa: ANN401 - validated
) -> None:
    """Passes if a model keeps its contract.

    `ModelKind` describes what builds it, and with what.

    Args:
        name: Name or address, as `model.name` in a study.
        input_shape: Shape (channels, height, width) of the images to try it on.
        **settings: Settings beside the name.

    Raises:
        ContractError: With a sentence per broken rule.

    Examples:
        >>> from dynaloss.testing import check_model
        >>> check_model("small_cnn", input_shape=(1, 8, 8))
    """
    __tracebackhide__ = True
    source = made_up_source(input_shape, class_sizes=(8, 6, 4))
    part = ModelPart.find("model.name", name, settings, source)
    enforce(part.label, part, MODEL_STAGES)


def check_source(name: str, /, **settings: Any) -> None:  # noqa: ANN401 - validated
    """Passes if a data source keeps its contract; its data have to be there.

    `SourceKind` and `Source` describe what loads it, and what it holds.

    Args:
        name: Name or address, as `data.source` in a study.
        **settings: Settings beside the name, such as `root`.

    Raises:
        ContractError: With a sentence per broken rule.

    Examples:
        >>> from dynaloss.testing import check_source
        >>> check_source("digits")
    """
    __tracebackhide__ = True
    part = SourcePart.find("data.source", name, settings)
    enforce(part.label, part, SOURCE_STAGES)


def check_component(name: str, /, **trial: Any) -> None:  # noqa: ANN401 - validated
    """Passes if a component keeps its contract: a study accepts it, and it has an effect.

    Args:
        name: Name or address, as in `ablation.components` of a study.
        **trial: Settings of the trial that it is switched in, as `trial` in a study.

    Raises:
        ContractError: With a sentence per broken rule.

    Examples:
        >>> from dynaloss.testing import check_component
        >>> check_component("margin", loss={"name": "dynamic", "finetune": False})
    """
    __tracebackhide__ = True
    case = ComponentCase.find(name, trial)
    enforce(case.label, case, COMPONENT_STAGES)


CONTRACTS: Mapping[str, tuple[tuple[Rule[Any], ...], ...]] = {
    "loss": (*LOSS_STAGES, _LAST),
    "learned loss": LEARNED_STAGES,
    "metadata sampler": SAMPLER_STAGES,
    "noise kind": NOISE_STAGES,
    "model": MODEL_STAGES,
    "data source": SOURCE_STAGES,
    "component": COMPONENT_STAGES,
}
"""The rules by family, in the stages in which they are tried."""


@contextmanager
def _with_a_file(
    key: str, name: str, settings: Mapping[str, Any], content: Ints
) -> Iterator[Mapping[str, Any]]:
    """The settings, with a file of that content as `path` of a kind that needs one."""
    kind = kind_keys()[key].registry.get(name)
    if kind is None or "path" not in kind.uses or "path" in settings:
        yield settings
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, "given.npy")
        np.save(path, content)
        yield {**settings, "path": str(path)}
