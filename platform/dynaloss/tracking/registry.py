"""MLflow's registry of models: trained classifiers that its own tools load and serve."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynaloss.tracking.client import Client, StoreError, prepare_environment

if TYPE_CHECKING:
    from torch import nn

_FOLDER: Final = "model"
_EXISTS: Final = "RESOURCE_ALREADY_EXISTS"


def register_model(
    client: Client,
    run_id: str,
    module: nn.Module,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    name: str,
    tags: Mapping[str, Any],
) -> int:
    """Writes a classifier to its run as an MLflow model, and registers it; once for a run.

    The model is a graph that `torch.export` has traced: its file holds no pickled code.

    Args:
        client: Connection to the store.
        run_id: The run that has trained it.
        module: Takes uint8 images (N, *input_shape) and gives logits (N, num_classes).
        input_shape: Channels, height and width.
        num_classes: Number of classes.
        name: Name in the registry.
        tags: Tags of the version.

    Returns:
        The version that this run has under the name.

    Raises:
        StoreError: If the store fails, or has no registry.
    """
    try:
        client.create_registered_model(name)
    except StoreError as error:
        if error.code != _EXISTS:
            raise
    known = client.pages("search_model_versions", filter_string=f"run_id = '{run_id}'")
    found = [int(one.version) for one in known if one.name == name]
    if found:
        return min(found)
    with tempfile.TemporaryDirectory(prefix="dynaloss-model-") as folder:
        path = Path(folder) / _FOLDER
        _save(path, module, input_shape, num_classes)
        client.log_artifacts(run_id, str(path), _FOLDER)
    made = client.create_model_version(
        name,
        # Not `runs:/`, which MLflow looks up in the store of its environment.
        f"{client.get_run(run_id).info.artifact_uri}/{_FOLDER}",
        run_id,
        tags={key: str(value) for key, value in tags.items()},
    )
    return int(made.version)


def _save(path: Path, module: nn.Module, input_shape: Sequence[int], num_classes: int) -> None:
    prepare_environment()
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, *input_shape))
    logits = TensorSpec(np.dtype(np.float32), (-1, num_classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it looks for
        mlflow.pytorch.save_model(
            module,
            path,
            signature=ModelSignature(Schema([images]), Schema([logits])),
            input_example=np.zeros((2, *input_shape), np.uint8),
            pip_requirements=[f"torch=={version('torch')}"],
            serialization_format="pt2",
        )
