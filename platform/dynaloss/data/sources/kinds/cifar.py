"""CIFAR-10 and CIFAR-100 in torchvision's layout, read by torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES
from dynaloss.data.digests import file_digest, values_digest
from dynaloss.data.sources.source import DataNotFound, ImageArrays, Source, data_folder, existing
from dynaloss.errors import InputError


@dataclass(frozen=True, slots=True)
class _Layout:
    """A data set as far as planning needs it, which imports no torchvision."""

    title: str  # without its hyphen, that of its class in torchvision
    archive: str
    folder: str  # that the archive unpacks to
    files: str  # in the order of the digest
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_std: tuple[float, ...]


_LAYOUTS = {
    "cifar10": _Layout(
        "CIFAR-10",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        "data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch batches.meta",
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        (0.2023, 0.1994, 0.2010),
    ),
    "cifar100": _Layout(
        "CIFAR-100",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "cifar-100-python",
        "train test meta",
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        (0.2009, 0.1984, 0.2023),
    ),
}


def _paths(settings: SourceSettings) -> list[Path]:
    layout = _LAYOUTS[settings.source]
    fetch = f"{layout.archive} (or set [data.download] to true), unpack it"
    folder = data_folder(settings, fetch) / layout.folder
    return [existing(folder / name, settings, fetch) for name in layout.files.split()]


def _digest(settings: SourceSettings) -> str:
    """SHA-256 over the content of the files and the classes that are kept."""
    known = [settings.source, [file_digest(p) for p in _paths(settings)], settings.num_classes]
    return values_digest(known)


def _load(settings: SourceSettings) -> Source:
    """The data set below `root`; torchvision fetches it if `download` is set."""
    from torchvision import datasets

    layout = _LAYOUTS[settings.source]
    dataset = getattr(datasets, layout.title.replace("-", ""))
    try:
        _paths(settings)
    except DataNotFound:
        if not settings.download or settings.root is None:
            raise
        _download(dataset, layout.archive, settings.root)
    _refuse_corrupt_files(dataset, _paths(settings))
    train, test = (dataset(settings.root, train=is_train) for is_train in (True, False))
    return Source(
        name=settings.source,
        class_names=tuple(train.classes)[: settings.num_classes],
        pool=_arrays(train, settings.num_classes),
        test=_arrays(test, settings.num_classes),
        mean=layout.mean,
        std=layout.std,
        image_std=layout.image_std,
        crop_padding=4,
        flip=True,
        content_digest=_digest(settings),
    )


def _download(dataset: Any, archive: str, root: str) -> None:  # noqa: ANN401 - torchvision's
    try:
        dataset(root, download=True)
    except (OSError, RuntimeError) as error:
        raise DataNotFound(
            f"[data.download] could not fetch {archive} ({error}): fetch it by other means and "
            f"unpack it in '{root}'"
        ) from error


def _refuse_corrupt_files(dataset: Any, paths: list[Path]) -> None:  # noqa: ANN401
    """Names the file that torchvision would refuse: it unpickles none of another MD5."""
    from torchvision.datasets.utils import check_integrity

    meta = dataset.meta["filename"], dataset.meta["md5"]
    md5s = dict((*dataset.train_list, *dataset.test_list, meta))
    for path in paths:
        if not check_integrity(str(path), md5s[path.name]):
            raise InputError(
                f"[data.root] '{path}' is corrupt: delete it, then fetch the archive again or "
                "set [data.download] to true"
            )


def _arrays(dataset: Any, num_classes: int | None) -> ImageArrays:  # noqa: ANN401
    labels = np.array(dataset.targets, dtype=np.int64)
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
    everything = ImageArrays(images=images, labels=labels)
    return everything if num_classes is None else everything.take(labels < num_classes)


for _name, _layout in _LAYOUTS.items():
    SOURCES.add(
        name=_name,
        description=f"{_layout.title} as torchvision keeps it; data.download: true fetches it",
        load=_load,
        digest=_digest,
        ignores=("train", "test", "image_size"),
    )
