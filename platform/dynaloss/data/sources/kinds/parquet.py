"""Images in the rows of parquet files, in the layout of Hugging Face data sets."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES
from dynaloss.data.arrays import Bytes, Ints
from dynaloss.data.digests import file_digest, values_digest
from dynaloss.data.sources.cache import Decoded, cached_decoding
from dynaloss.data.sources.image_files import as_planes, centre_crop, in_threads
from dynaloss.data.sources.source import (
    MOST_CLASSES,
    ImageArrays,
    Source,
    data_folder,
    existing,
)
from dynaloss.errors import InputError

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "fine_label", "labels")
_FETCH = "the data set's parquet files"


def _digest(settings: SourceSettings) -> str:
    """SHA-256 over the content of the files and the settings that change the images."""
    digests = [None if path is None else file_digest(path) for path in _paths(settings)]
    return values_digest(["parquet", digests, settings.image_size, settings.num_classes])


def _load(settings: SourceSettings) -> Source:
    """The images of `train.parquet` and `test.parquet`, decoded once per node."""
    digest = _digest(settings)
    decoded = cached_decoding(digest, lambda: _decode(settings))
    arrays, facts = decoded.arrays, decoded.facts
    parts = {
        role: ImageArrays(images=arrays[f"{role}_images"], labels=arrays[f"{role}_labels"])
        for role in ("train", "test")
        if f"{role}_labels" in arrays
    }
    return Source(
        name=settings.source,
        class_names=tuple(facts["class_names"]),
        pool=parts["train"],
        test=parts.get("test"),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        crop_padding=parts["train"].images.shape[2] // 8,
        flip=len(facts["mean"]) == 3,
        content_digest=digest,
    )


def _paths(settings: SourceSettings) -> tuple[Path, Path | None]:
    folder = data_folder(settings, _FETCH)
    train = existing(folder / (settings.train or "train.parquet"), settings, _FETCH)
    if settings.test == "":
        return train, None
    test = existing(folder / (settings.test or "test.parquet"), settings, _FETCH)
    if test.samefile(train):
        raise InputError(f"[data.test] must be another file than data.train, but got '{test}'")
    return train, test


def _decode(settings: SourceSettings) -> Decoded:
    train, test = _paths(settings)
    images, labels, names = _read(train, settings)
    arrays: dict[str, Any] = {"train_images": images, "train_labels": labels}
    highest = int(labels.max())
    if test is not None:
        arrays["test_images"], arrays["test_labels"], _ = _read(test, settings)
        highest = max(highest, int(arrays["test_labels"].max()))
        if arrays["test_images"].shape[1:] != images.shape[1:]:
            raise InputError(f"'{test}' must hold images of the shape of '{train}'")
    names = (names or [str(label) for label in range(highest + 1)])[: settings.num_classes]
    if highest >= len(names):
        raise InputError(f"'{train}' names {len(names)} classes, but has label {highest}")
    mean, std = _channel_statistics(images)
    return Decoded(arrays=arrays, facts={"class_names": names, "mean": mean, "std": std})


def _channel_statistics(images: Bytes) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of images scaled to [0, 1], to 4 digits."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, dtype=np.int64)
        for part in np.array_split(images, max(1, len(images) // 4096)):
            counts += np.bincount(part[:, channel].ravel(), minlength=256)
        mean = (counts * values).sum() / counts.sum()
        means.append(round(float(mean), 4))
        spread = np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum())
        stds.append(round(max(float(spread), 1e-3), 4))
    return means, stds


def _read(path: Path, settings: SourceSettings) -> tuple[Bytes, Ints, list[str]]:
    """Images, labels and names of the classes that are kept; no names where it holds none."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        table = pq.read_table(path)
        image, label = (_column(path, table, names) for names in (_IMAGE_COLUMNS, _LABEL_COLUMNS))
        kind = table.schema.field(image).type
        fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read as parquet: fetch it again") from error
    if fields.get("bytes") not in (pa.binary(), pa.large_binary()):
        raise InputError(f"'{path}' must have a column '{image}' of structs with `bytes`")
    labels = _labels(path, table[label])
    rows = np.arange(len(labels))
    if settings.num_classes:
        rows = np.flatnonzero(labels < settings.num_classes)
    if not len(rows):
        raise InputError(f"'{path}' must hold at least one image of the requested classes")
    images = _images(path, table[image].take(pa.array(rows)), settings.image_size)
    return images, labels[rows], _class_names(table.schema.metadata, label)


def _column(path: Path, table: Any, names: Sequence[str]) -> str:  # noqa: ANN401 - pyarrow
    for name in names:
        if name in table.column_names:
            return name
    known = ", ".join(f"'{name}'" for name in table.column_names)
    wanted = " or ".join(f"'{name}'" for name in names)
    raise InputError(f"'{path}' must have a column {wanted}, but has {known}")


def _labels(path: Path, column: Any) -> Ints:  # noqa: ANN401 - pyarrow
    labels = column.to_numpy() if not column.null_count else np.array([-1])
    is_whole = labels.dtype.kind in "iu"
    if not is_whole or (len(labels) and not 0 <= labels.min() <= labels.max() < MOST_CLASSES):
        raise InputError(
            f"'{path}' must have a label, a whole number from 0 to below {MOST_CLASSES:,}, in "
            "every row"
        )
    found: Ints = labels.astype(np.int64)
    return found


def _images(path: Path, column: Any, size: int | None) -> Bytes:  # noqa: ANN401
    encoded = column.combine_chunks().field("bytes")
    first = _decoded(path, 0, encoded[0].as_py(), size, None)
    mode = "L" if first.shape[0] == 1 else "RGB"
    images = np.empty((len(encoded), *first.shape), dtype=np.uint8)

    def decode(rows: Ints) -> None:
        for row in rows.tolist():
            image = _decoded(path, row, encoded[row].as_py(), size, mode)
            if image.shape != first.shape:
                raise InputError(
                    f"'{path}' must hold images of one size where [data.image_size] is not given, "
                    f"but row {row} has {image.shape[1:]} pixels and row 0 {first.shape[1:]}"
                )
            images[row] = image

    in_threads(decode, np.array_split(np.arange(len(encoded)), max(1, len(encoded) // 1000)))
    return images


def _decoded(
    path: Path, row: int, content: bytes | None, size: int | None, mode: str | None
) -> Bytes:
    try:
        with Image.open(io.BytesIO(content or b"")) as opened:
            image = opened.convert(mode or ("L" if opened.mode in ("1", "L") else "RGB"))
    except Exception as error:  # a damaged image can raise anything
        raise InputError(
            f"row {row} of '{path}' does not hold an image: fetch it again"
        ) from error
    return as_planes(centre_crop(image, size) if size else image)


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> list[str]:
    text = (metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(text).get("info", {}).get("features", {})
        return [str(name) for name in features.get(label, {}).get("names") or []]
    except (ValueError, AttributeError, TypeError):  # written by something else
        return []


SOURCES.add(
    name="parquet",
    description="parquet files with images in their rows, as Hugging Face ships data sets",
    load=_load,
    digest=_digest,
    ignores=("more_tests",),
)
