"""CIFAR-10 and CIFAR-100 in torchvision's layout, read by torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES, SourceKind
from dynaloss.data.digests import file_digest, values_digest
from dynaloss.data.sources.source import (
    DataNotFound,
    ImageArrays,
    Source,
    data_folder,
    existing,
)
from dynaloss.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What is known of a data set without torchvision, which imports torch.

    Attributes:
        dataset: Class in `torchvision.datasets`.
        archive: Where its files come from.
        folder: Folder that the archive unpacks to.
        files: Its files, in the order of the digest.
        mean: Per channel, of images scaled to [0, 1].
        std: Likewise.
    """

    dataset: str
    archive: str
    folder: str
    files: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def fetch(self) -> str:
        """What to do where files are missing."""
        return f"{self.archive} (or set [data.download] to true), unpack it"


_LAYOUTS = {
    "cifar10": _Layout(
        dataset="CIFAR10",
        archive="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        files=(*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    ),
    "cifar100": _Layout(
        dataset="CIFAR100",
        archive="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        folder="cifar-100-python",
        files=("train", "test", "meta"),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
}


def _digest(settings: SourceSettings) -> str:
    """SHA-256 over the content of the files and the classes that are kept."""
    known = [settings.source, [file_digest(p) for p in _paths(settings)], settings.num_classes]
    return values_digest(known)


def _paths(settings: SourceSettings) -> list[Path]:
    layout = _LAYOUTS[settings.source]
    folder = data_folder(settings, layout.fetch) / layout.folder
    return [existing(folder / name, settings, layout.fetch) for name in layout.files]


def _load(settings: SourceSettings) -> Source:
    """The data set below `root`; torchvision fetches it if `download` is set."""
    from torchvision import datasets

    layout = _LAYOUTS[settings.source]
    dataset = getattr(datasets, layout.dataset)
    try:
        digest = _digest(settings)
    except DataNotFound:
        if not settings.download or settings.root is None:
            raise
        _download(dataset, settings)
        digest = _digest(settings)
    _refuse_corrupt_files(dataset, settings)
    train, test = (dataset(settings.root, train=is_train) for is_train in (True, False))
    return Source(
        name=settings.source,
        class_names=tuple(train.classes)[: settings.num_classes],
        pool=_arrays(train, settings.num_classes),
        test=_arrays(test, settings.num_classes),
        mean=layout.mean,
        std=layout.std,
        crop_padding=4,
        flip=True,
        content_digest=digest,
    )


def _download(dataset: Any, settings: SourceSettings) -> None:  # noqa: ANN401 - untyped class
    try:
        dataset(settings.root, download=True)
    except (OSError, RuntimeError) as error:
        raise DataNotFound(
            f"[data.download] could not fetch {_LAYOUTS[settings.source].archive} ({error}): "
            f"fetch it by other means and unpack it in '{settings.root}'"
        ) from error


def _refuse_corrupt_files(dataset: Any, settings: SourceSettings) -> None:  # noqa: ANN401
    """Names the file that torchvision, which unpickles none of another MD5, would refuse."""
    from torchvision.datasets.utils import check_integrity

    known = dict([*dataset.train_list, *dataset.test_list])
    known[dataset.meta["filename"]] = dataset.meta["md5"]
    for path in _paths(settings):
        if not check_integrity(str(path), known[path.name]):
            raise InputError(
                f"[data.root] '{path}' is corrupt: delete it, then fetch the archive again or "
                "set [data.download] to true"
            )


def _arrays(dataset: Any, num_classes: int | None) -> ImageArrays:  # noqa: ANN401
    labels = np.array(dataset.targets, dtype=np.int64)
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
    everything = ImageArrays(images=images, labels=labels)
    return everything if num_classes is None else everything.take(labels < num_classes)


for _name, _title in (("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100")):
    SOURCES.add(
        SourceKind(
            name=_name,
            description=f"{_title} as torchvision keeps it; data.download: true fetches it",
            load=_load,
            digest=_digest,
            ignores=("train", "test", "image_size"),
        )
    )
