"""A trained classifier in one file: its weights, and all that its use needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dynaloss.config.trial import ModelConfig
from dynaloss.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from dynaloss.config.trial import TrialConfig
    from dynaloss.learning.models.of_images import OfImages


_MALFORMED = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A classifier as a trial left it.

    Attributes:
        model: The classifier in eval mode, on the CPU; takes normalised images, gives logits.
        settings: Settings of its trial, as plain values.
        mean: Mean per channel of images scaled to [0, 1], shape (1, channels, 1, 1).
        std: What they are divided by, likewise.
        class_names: Names of the classes, in order of the logits.
        input_shape: Channels, height and width of the images.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import TrainedModel
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> mean, std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        >>> trained = TrainedModel(
        ...     model=model, settings={}, mean=mean, std=std, class_names=["a", "b"],
        ...     input_shape=(1, 2, 2),
        ... )
        >>> trained.predict(torch.zeros(3, 1, 2, 2, dtype=torch.uint8)).shape
        torch.Size([3, 2])
    """

    model: nn.Module
    settings: dict[str, Any]
    mean: Tensor
    std: Tensor
    class_names: list[str]
    input_shape: tuple[int, ...]

    def predict(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, height, width), uint8 from 0 to 255."""
        import torch

        with torch.no_grad():
            logits: Tensor = self.of_images()(images)
        return logits

    def of_images(self) -> OfImages:
        """The classifier as a module that normalises the images itself, as `predict` does."""
        from dynaloss.learning.models.of_images import OfImages

        return OfImages(self.model, self.mean, self.std)


def save_model(
    path: Path,
    model: nn.Module,
    config: TrialConfig,
    *,
    input_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    class_names: Sequence[str],
) -> None:
    """Writes the file of `load_model`, whole or not at all.

    `input_shape` is (channels, height, width).
    """
    from safetensors.torch import save_file

    facts = {
        "config": config.model_dump(mode="json"),
        "cosine_head": config.loss.has_cosine_head,
        "input_shape": list(input_shape),
        "mean": list(mean),
        "std": list(std),
        "class_names": list(class_names),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # Copies, as the file may not hold one memory under two names, such as that of tied weights.
    weights = {
        name: value.cpu().contiguous().clone() for name, value in model.state_dict().items()
    }
    part = path.with_suffix(".part")
    save_file(weights, part, metadata={name: json.dumps(fact) for name, fact in facts.items()})
    part.replace(path)


def load_model(path: str | Path) -> TrainedModel:
    """The classifier of a file that `dynaloss export` has written.

    The file holds values alone. Where its model is one of another package, that is imported.

    Raises:
        InputError: If the file is not such a file, or its model cannot be imported.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> import torch
        >>> from dynaloss.config import ModelConfig, TrialConfig
        >>> from dynaloss.config.families import MODELS
        >>> from dynaloss.learning import load_model
        >>> from dynaloss.learning.models.saved import save_model
        >>> config = TrialConfig(model=ModelConfig(name="mlp"))
        >>> model = MODELS["mlp"].build(config.model, input_shape=(1, 4, 4), num_classes=2)
        >>> path = Path(mkdtemp()) / "mine.safetensors"
        >>> save_model(
        ...     path, model, config, input_shape=(1, 4, 4), mean=[0.5], std=[0.2],
        ...     class_names=["cat", "dog"],
        ... )
        >>> trained = load_model(path)
        >>> trained.settings["model"]["name"], trained.class_names
        ('mlp', ['cat', 'dog'])
    """
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from dynaloss.learning.models.building import build_model
    from dynaloss.learning.models.heads import make_head_cosine

    try:
        with safe_open(path, "pt") as file:
            facts = {name: json.loads(text) for name, text in file.metadata().items()}
        # The rest of the settings may name parts that only the training needs.
        config = ModelConfig.model_validate(facts["config"]["model"])
        names, input_shape = facts["class_names"], tuple(facts["input_shape"])
        mean, std = (torch.tensor(facts[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
        model = build_model(config, input_shape=input_shape, num_classes=len(names), seed=0)
        if facts["cosine_head"]:
            make_head_cosine(model)
        model.load_state_dict(load_file(path))
    except ValidationError as error:  # of a package that is not there, say
        raise InputError(f"{path}: {error.errors()[0]['msg']}") from error
    except (SafetensorError, *_MALFORMED) as error:
        raise InputError(f"{path}: is no model of `dynaloss export`: {error}") from error
    return TrainedModel(
        model=model.eval(),
        settings=facts["config"],
        mean=mean,
        std=std,
        class_names=names,
        input_shape=input_shape,
    )
