"""Sources whose images are files: folders by class, lists of paths, and Animal-10N."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaloss.data.sources.cache import Decoded, cached_decoding, cached_facts
from dynaloss.data.sources.digests import values_digest
from dynaloss.data.sources.image_files import ImageFiles, in_threads
from dynaloss.data.sources.source import ImageArrays, Images, Source, SourceSettings, equal_entries
from dynaloss.errors import InputError

__all__ = ["RESIDENT_BYTES", "image_digest", "load_images"]

RESIDENT_BYTES = 4 << 30
"""Decoded images up to this size are kept on the device where `memory` is `auto`."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
ANIMAL10N_CLASSES = (
    "cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster",
    "guinea pig",
)  # fmt: skip
_DEFAULT_SIZES = {"animal10n": 64}
# Of ImageNet, as torchvision states them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class _Part:
    """Files of one role: path of each below the root, and its label."""

    names: list[str]
    labels: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """Every file of a source."""

    class_names: list[str]
    train: _Part
    test: _Part | None

    @property
    def parts(self) -> dict[str, _Part]:
        return {"train": self.train} | ({} if self.test is None else {"test": self.test})


def image_digest(settings: SourceSettings) -> str:
    """SHA-256 over names, labels and content of the files, and the size of the images."""
    return str(_facts(settings, _listing(settings))["digest"])


def load_images(settings: SourceSettings) -> Source:
    """The images of a source of files: decoded once per node where they are small together."""
    listing = _listing(settings)
    facts = _facts(settings, listing)
    size = _size(settings)
    files = {
        role: ImageFiles(str(settings.root), np.array(part.names), size)
        for role, part in listing.parts.items()
    }
    images: Mapping[str, Images] = files
    total = sum(part.nbytes for part in files.values())
    if settings.memory == "resident" or (settings.memory == "auto" and total <= RESIDENT_BYTES):
        images = cached_decoding(facts["digest"], lambda: _decode(files)).arrays
    parts = {
        role: ImageArrays(images=images[role], labels=np.array(part.labels, dtype=np.int64))
        for role, part in listing.parts.items()
    }
    return Source(
        name=settings.name,
        class_names=tuple(listing.class_names),
        pool=parts["train"],
        test=parts.get("test"),
        mean=_MEAN,
        std=_STD,
        crop_padding=size // 8,
        flip=True,
        content_digest=facts["digest"],
        equal=tuple(map(tuple, facts["equal"])),
    )


def _size(settings: SourceSettings) -> int:
    return settings.image_size or _DEFAULT_SIZES.get(settings.name, 224)


def _decode(files: Mapping[str, ImageFiles]) -> Decoded:
    return Decoded(arrays={role: _decoded(part) for role, part in files.items()}, facts={})


def _decoded(part: ImageFiles) -> NDArray[np.uint8]:
    images = np.empty(part.shape, dtype=np.uint8)

    def put(position: int) -> None:
        images[position] = part.decoded(position)

    in_threads(put, range(len(part)))
    return images


# -- digests --------------------------------------------------------------------------------


def _facts(settings: SourceSettings, listing: _Listing) -> Mapping[str, Any]:
    """Digest of the content, and groups of equal files, by position in the pool, then the test.

    Files are read anew only where a name, a size or a time of change differs.
    """
    root = Path(str(settings.root))
    known = ["digest, equal", str(root), _size(settings), listing.class_names]
    for part in listing.parts.values():
        states = [(root / name).stat() for name in part.names]
        known += [part.names, part.labels, [[s.st_size, s.st_mtime_ns] for s in states]]
    return cached_facts(values_digest(known), lambda: _read_facts(root, _size(settings), listing))


def _read_facts(root: Path, size: int, listing: _Listing) -> dict[str, Any]:
    digests = {
        role: [d.hex() for d in ImageFiles(str(root), np.array(part.names), size).digests()]
        for role, part in listing.parts.items()
    }
    known = [size, listing.class_names, digests]
    known += [[part.names, part.labels] for part in listing.parts.values()]
    return {
        "digest": values_digest(known),
        "equal": equal_entries([d for part in digests.values() for d in part]),
    }


# -- listings -------------------------------------------------------------------------------


def _listing(settings: SourceSettings) -> _Listing:
    listing = _LISTINGS[settings.name](settings)
    listing = _with_classes_below(listing, settings.num_classes)
    C = len(listing.class_names)
    for role, part in listing.parts.items():
        if not part.names:
            raise InputError(f"[data.root] '{settings.root}' must hold images to {role} on")
        wrong = next((i for i, label in enumerate(part.labels) if not 0 <= label < C), None)
        if wrong is not None:
            raise InputError(
                f"[data.root] '{part.names[wrong]}' must have a label from 0 to {C - 1}, "
                f"but got {part.labels[wrong]}"
            )
    _refuse_common_files(listing)
    return listing


def _refuse_common_files(listing: _Listing) -> None:
    common = sorted(set(listing.train.names) & set(listing.test.names if listing.test else ()))
    if common:
        raise InputError(
            f"[data.test] must share no file with data.train, but shares {len(common)}, such as "
            f"'{common[0]}'"
        )


def _with_classes_below(listing: _Listing, num_classes: int | None) -> _Listing:
    if num_classes is None:
        return listing

    def cut(part: _Part) -> _Part:
        kept = [(n, c) for n, c in zip(part.names, part.labels, strict=True) if c < num_classes]
        return _Part([name for name, _ in kept], [label for _, label in kept])

    return _Listing(
        class_names=listing.class_names[:num_classes],
        train=cut(listing.train),
        test=None if listing.test is None else cut(listing.test),
    )


def _role_names(settings: SourceSettings, train: str, test: str) -> tuple[str, str | None]:
    """Names of the training and the test part below the root; None for no test part."""
    chosen = train if settings.train is None else settings.train
    return chosen, (settings.test if settings.test is not None else test) or None


def _list_folders(settings: SourceSettings) -> _Listing:
    """A folder per class, as torchvision's ImageFolder: classes in the order of their names."""
    fetch = "the images, a folder per class,"
    root = settings.folder(fetch)
    train, test = _role_names(settings, "train", "val" if (root / "val").is_dir() else "test")
    folder = settings.found(root / train, fetch)
    class_names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not class_names:
        raise InputError(f"[data.root] '{folder}' must hold a folder per class, but has none")

    def part(name: str) -> _Part:
        below = settings.found(root / name, fetch)
        strange = sorted(
            p.name for p in below.iterdir() if p.is_dir() and p.name not in class_names
        )
        if strange:
            raise InputError(f"[data.root] '{below / strange[0]}' is not a class of '{folder}'")
        found = [
            (n, c) for c, cls in enumerate(class_names) for n in _images_in(root, below / cls)
        ]
        return _Part([n for n, _ in found], [c for _, c in found])

    return _Listing(class_names=class_names, train=part(train), test=part(test) if test else None)


def _images_in(root: Path, folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        path.relative_to(root).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    )


def _list_animal10n(settings: SourceSettings) -> _Listing:
    """Animal-10N as it is unpacked: `training/3_01234.jpg` is of class 3."""
    fetch = "Animal-10N (https://dm.kaist.ac.kr/datasets/animal-10n, its raw images)"
    root = settings.folder(fetch)
    train, test = _role_names(settings, "training", "testing")

    def part(name: str) -> _Part:
        names = _images_in(root, settings.found(root / name, fetch))
        return _Part(names, [_leading_number(root / name) for name in names])

    return _Listing(
        class_names=list(ANIMAL10N_CLASSES), train=part(train), test=part(test) if test else None
    )


def _leading_number(path: Path) -> int:
    number = path.name.partition("_")[0]
    if not number.isdecimal():
        raise InputError(f"[data.root] '{path}' must be named <label>_<anything>, such as 3_1.jpg")
    return int(number)


def _list_lines(settings: SourceSettings) -> _Listing:
    """Text files of `path label` lines, with paths below the root or one of its folders."""
    fetch = "the data set's images and its lists of `path label` lines"
    root = settings.folder(fetch)
    train, test = _role_names(settings, "train.txt", "test.txt")
    parts = {
        role: _lines(settings, root, settings.found(root / name, fetch))
        for role, name in (("train", train), ("test", test))
        if name
    }
    names = root / "classes.txt"
    if names.is_file():
        class_names = names.read_text(encoding="utf-8").splitlines()
    else:
        highest = max(max(part.labels, default=0) for part in parts.values())
        class_names = [str(label) for label in range(highest + 1)]
    return _Listing(class_names=class_names, train=parts["train"], test=parts.get("test"))


def _lines(settings: SourceSettings, root: Path, path: Path) -> _Part:
    names, labels = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise InputError(f"{path}:{number}: must be `path label`, but got '{line[:60]}'")
        if settings.num_classes is None or int(label) < settings.num_classes:
            names.append(name.strip())
            labels.append(int(label))
    prefix = _prefix(root, names)
    names = [prefix + name for name in names]
    for name in names:
        settings.found(root / name, f"the images that '{path.name}' lists")
    return _Part(names, labels)


def _prefix(root: Path, names: Sequence[str]) -> str:
    """Folder below the root that the paths are relative to, empty for the root itself."""
    if not names or (root / names[0]).is_file():
        return ""
    folders = (folder for folder in sorted(root.iterdir()) if folder.is_dir())
    found = next((folder for folder in folders if (folder / names[0]).is_file()), None)
    return "" if found is None else f"{found.name}/"


_LISTINGS: Mapping[str, Callable[[SourceSettings], _Listing]] = {
    "image_folder": _list_folders,
    "image_list": _list_lines,
    "animal10n": _list_animal10n,
}
