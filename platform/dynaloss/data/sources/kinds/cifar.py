"""CIFAR-10 and CIFAR-100 in torchvision's layout; torchvision fetches them.

`image_size` makes smaller images of them, for short trials on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES
from dynaloss.config.settings import show
from dynaloss.data.arrays import Bytes, Ints
from dynaloss.data.digests import file_digests, values_digest
from dynaloss.data.sources.image_files import as_planes, centre_crop, in_threads
from dynaloss.data.sources.source import DataNotFound, ImageArrays, Source, data_folder, existing
from dynaloss.errors import InputError
from dynaloss.learning.given_files import read_pickle, whole_numbers

_SIDE = 32


@dataclass(frozen=True, slots=True)
class _Layout:
    """A data set as far as planning needs it, which imports no torchvision."""

    title: str  # without its hyphen, that of its class in torchvision
    archive: str
    folder: str  # that the archive unpacks to
    files: str  # in the order of the digest: to train on, to test on, names
    labels: str  # key of the labels in those of images
    names: str  # key of the names of the classes in the last one
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_std: tuple[float, ...]
    statistics: Literal["pixels", "images"]  # as in the authors' code


_LAYOUTS = {
    "cifar10": _Layout(
        "CIFAR-10",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        "data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch batches.meta",
        "labels",
        "label_names",
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        (0.2023, 0.1994, 0.2010),
        "images",
    ),
    "cifar100": _Layout(
        "CIFAR-100",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "cifar-100-python",
        "train test meta",
        "fine_labels",
        "fine_label_names",
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        (0.2009, 0.1984, 0.2023),
        "pixels",
    ),
}


def _paths(settings: SourceSettings) -> list[Path]:
    layout = _LAYOUTS[settings.source]
    fetch = f"{layout.archive} (or set [data.download] to true), unpack it"
    folder = data_folder(settings, fetch) / layout.folder
    return [existing(folder / name, settings, fetch) for name in layout.files.split()]


def _digest(settings: SourceSettings) -> str:
    """SHA-256 over the content of the files and the classes that are kept.

    Raises:
        InputError: If a file has another checksum than the published one, and that matters.
    """
    if settings.verify and (problems := [*_differences(settings)]):
        remedy = "fetch the archive again, or set [data.verify] to false to read it as it is"
        raise InputError(f"[data.root] {problem}: {remedy}" for problem in problems)
    digests = [sha256 for _, sha256, _ in _digests(settings)]
    return values_digest([settings.source, digests, settings.image_size, settings.num_classes])


def _digests(settings: SourceSettings) -> list[tuple[Path, str, str]]:
    """Path, SHA-256 and MD5 of each file."""
    found = [(path, file_digests(path, ("sha256", "md5"))) for path in _paths(settings)]
    return [(path, sha256, md5) for path, (sha256, md5) in found]


def _differences(settings: SourceSettings) -> Iterator[str]:
    """The files whose MD5 is not the one that torchvision knows, a sentence each."""
    dataset = _dataset(settings)
    meta = dataset.meta["filename"], dataset.meta["md5"]
    known = dict((*dataset.train_list, *dataset.test_list, meta))
    for path, _, md5 in _digests(settings):
        if md5 != known[path.name]:
            yield f"'{path}' must have the MD5 {known[path.name]}, but has {md5}"


def _remarks(settings: SourceSettings) -> list[str]:
    found = [] if settings.verify else [*_differences(settings)]
    if not found:
        return []
    more = f", and {len(found) - 1} more files differ" if len(found) > 1 else ""
    return [f"[data.verify] is false, and the files are not the published ones: {found[0]}{more}"]


def _load(settings: SourceSettings) -> Source:
    """The data set below `root`; torchvision fetches it if `download` is set."""
    layout = _LAYOUTS[settings.source]
    try:
        _paths(settings)
    except DataNotFound:
        if not settings.download or settings.root is None:
            raise
        _download(_dataset(settings), layout.archive, settings.root)
    digest = _digest(settings)
    *trains, test, meta = _paths(settings)
    names = _class_names(meta, layout.names)
    return Source(
        name=settings.source,
        class_names=names[: settings.num_classes],
        pool=_arrays(trains, layout.labels, len(names), settings),
        test=_arrays([test], layout.labels, len(names), settings),
        mean=layout.mean,
        std=layout.std,
        crop_padding=(settings.image_size or _SIDE) // 8,
        flip=True,
        content_digest=digest,
        statistics=layout.statistics,
        image_std=layout.image_std,
    )


def _dataset(settings: SourceSettings) -> Any:  # noqa: ANN401 - torchvision's
    from torchvision import datasets

    return getattr(datasets, _LAYOUTS[settings.source].title.replace("-", ""))


def _download(dataset: Any, archive: str, root: str) -> None:  # noqa: ANN401 - torchvision's
    try:
        dataset(root, download=True)
    except (OSError, RuntimeError) as error:
        raise DataNotFound(
            f"[data.download] could not fetch {archive} ({error}): fetch it by other means and "
            f"unpack it in '{root}'"
        ) from error


def _arrays(
    paths: Sequence[Path], key: str, num_classes: int, settings: SourceSettings
) -> ImageArrays:
    """Images and labels of several files, in the size and of the classes that are asked for."""
    images, labels = map(
        np.concatenate, zip(*(_batch(path, key, num_classes) for path in paths), strict=True)
    )
    if settings.num_classes is not None:
        images, labels = (part[labels < settings.num_classes] for part in (images, labels))
    if settings.image_size is not None:
        images = _resized(images, settings.image_size)
    return ImageArrays(images=images, labels=labels)


def _resized(images: Bytes, size: int) -> Bytes:
    def resized(image: Bytes) -> Bytes:
        return as_planes(centre_crop(Image.fromarray(image.transpose(1, 2, 0)), size))

    return np.stack(in_threads(resized, images))


def _batch(path: Path, key: str, num_classes: int) -> tuple[Bytes, Ints]:
    """Images, shape (N, 3, 32, 32), and labels of one file."""
    found = _mapping(path, "data", key)
    images, labels, size = found["data"], whole_numbers(found[key]), 3 * _SIDE**2
    is_array = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 2
    if not is_array or images.shape[1] != size or not len(images):
        raise _problem(path, f"must hold uint8 values of shape (N, {size}) as 'data'")
    if labels is None or len(labels) != len(images):
        raise _problem(path, f"must hold a label for each of its {len(images)} images as '{key}'")
    if labels.min() < 0 or labels.max() >= num_classes:
        rule = f"must hold labels from 0 to {num_classes - 1} as '{key}'"
        raise _problem(path, f"{rule}, but holds {labels.min()} to {labels.max()}")
    return images.reshape(-1, 3, _SIDE, _SIDE), labels


def _class_names(path: Path, key: str) -> tuple[str, ...]:
    names = _mapping(path, key)[key]
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not is_list or len(names) < 2:
        raise _problem(path, f"must hold a list of the names of the classes as '{key}'")
    return tuple(names)


def _mapping(path: Path, *keys: str) -> dict[str, Any]:
    """What a file holds, at these keys and others."""
    content = read_pickle(path, "data.root")
    if not isinstance(content, dict) or not content.keys() >= {*keys}:
        wanted = " and ".join(f"'{key}'" for key in keys)
        raise _problem(path, f"must hold a mapping with {wanted}, but holds {_outline(content)}")
    return content


def _outline(content: object) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return f"one with {', '.join(map(show, content))}" if content else "an empty one"


def _problem(path: Path, rule: str) -> InputError:
    return InputError(f"[data.root] '{path}' {rule}")


for _name, _layout in _LAYOUTS.items():
    SOURCES.add(
        name=_name,
        description=f"{_layout.title} as torchvision keeps it; data.download: true fetches it",
        load=_load,
        digest=_digest,
        remarks=_remarks,
        ignores=("train", "test", "more_tests"),
    )
