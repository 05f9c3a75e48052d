"""CIFAR-10 and CIFAR-100 from their Python batches, in torchvision's layout."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaloss.data.sources.digests import file_digest, values_digest
from dynaloss.data.sources.source import DataNotFound, ImageArrays, Source, SourceSettings
from dynaloss.errors import InputError

__all__ = ["cifar_digest", "load_cifar"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


_LAYOUTS = {
    "cifar10": _Layout(
        folder="cifar-10-batches-py",
        archive="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        meta="batches.meta",
        labels="labels",
        names="label_names",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    ),
    "cifar100": _Layout(
        folder="cifar-100-python",
        archive="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        train=("train",),
        test="test",
        meta="meta",
        labels="fine_labels",
        names="fine_label_names",
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
}


def cifar_digest(settings: SourceSettings) -> str:
    """SHA-256 over the content of the batches and the classes that are kept."""
    known = [settings.name, [file_digest(p) for p in _paths(settings)], settings.num_classes]
    return values_digest(known)


def load_cifar(settings: SourceSettings) -> Source:
    """CIFAR-10 or CIFAR-100 below `root`; fetched by torchvision if `download` is set."""
    try:
        *train, test, meta = _paths(settings)
    except DataNotFound:
        if not settings.download or settings.root is None:
            raise
        _download(settings)
        *train, test, meta = _paths(settings)
    layout = _LAYOUTS[settings.name]
    class_names = tuple(str(name) for name in _unpickled(meta)[layout.names])
    pool = _arrays(train, layout.labels, settings.num_classes)
    own_test = _arrays([test], layout.labels, settings.num_classes)
    return Source(
        name=settings.name,
        class_names=class_names[: settings.num_classes],
        pool=pool,
        test=own_test,
        mean=layout.mean,
        std=layout.std,
        crop_padding=4,
        flip=True,
        content_digest=cifar_digest(settings),
    )


def _paths(settings: SourceSettings) -> list[Path]:
    layout = _LAYOUTS[settings.name]
    fetch = f"{layout.archive} (or set [data.download] to true), unpack it"
    folder = settings.folder(fetch) / layout.folder
    names = (*layout.train, layout.test, layout.meta)
    return [settings.found(folder / name, fetch) for name in names]


def _download(settings: SourceSettings) -> None:
    from torchvision import datasets

    dataset = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[settings.name]
    try:
        dataset(str(settings.root), download=True)
    except (OSError, RuntimeError) as error:
        archive = _LAYOUTS[settings.name].archive
        raise DataNotFound(
            f"[data.download] could not fetch {archive} ({error}): fetch it by other means and "
            f"unpack it in '{settings.root}'"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain values and NumPy arrays; runs nothing else that a file may name."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as the base class
        if (module.split(".")[0], name) in (
            ("numpy", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        ):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found: dict[str, Any] = _PlainUnpickler(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, OSError, IndexError, KeyError,
            AttributeError, ImportError, TypeError) as error:  # fmt: skip
        raise _corrupt(path) from error
    if not isinstance(found, dict):
        raise _corrupt(path)
    return found


def _arrays(paths: list[Path], labels: str, num_classes: int | None) -> ImageArrays:
    batches = [_batch(path, labels) for path in paths]
    images = np.concatenate([batch.images for batch in batches])
    numbers = np.concatenate([batch.labels for batch in batches])
    everything = ImageArrays(images=images, labels=numbers)
    return everything if num_classes is None else everything.take(numbers < num_classes)


def _batch(path: Path, labels: str) -> ImageArrays:
    batch = _unpickled(path)
    try:
        images: NDArray[np.uint8] = np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32)
        numbers = np.asarray(batch[labels], np.int64)
    except (KeyError, ValueError, TypeError) as error:
        raise _corrupt(path) from error
    if len(numbers) != len(images):
        raise _corrupt(path)
    return ImageArrays(images=images, labels=numbers)


def _corrupt(path: Path) -> InputError:
    return InputError(
        f"[data.root] '{path}' is corrupt: delete it, then fetch the archive anew or set "
        "[data.download] to true"
    )
