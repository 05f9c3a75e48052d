"""Sources whose images are files: folders by class, lists of paths, and Animal-10N."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES, SourceKind
from dynaloss.data.digests import values_digest
from dynaloss.data.sources.cache import Decoded, cached_decoding
from dynaloss.data.sources.image_files import RESIDENT_BYTES, ImageFiles
from dynaloss.data.sources.source import (
    ImageArrays,
    Images,
    Source,
    data_folder,
    equal_entries,
    existing,
)
from dynaloss.errors import InputError

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
_ANIMAL10N_CLASSES = (
    "cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster",
    "guinea pig",
)  # fmt: skip
# Of ImageNet, as torchvision states them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class _Part:
    """Files of one role: path of each below the root, and its label."""

    names: list[str]
    labels: list[int]

    def below(self, num_classes: int) -> _Part:
        """The files of the classes below this number."""
        pairs = zip(self.names, self.labels, strict=True)
        kept = [(name, label) for name, label in pairs if label < num_classes]
        return _Part([name for name, _ in kept], [label for _, label in kept])


@dataclass(frozen=True, slots=True)
class _Listing:
    """Every file of a source: names of the classes, and the files of each role."""

    class_names: list[str]
    parts: dict[str, _Part]


def _digest(settings: SourceSettings) -> str:
    """SHA-256 over names, labels and content of the files, and the size of the images."""
    return str(_facts(settings, _listing(settings))["digest"])


def _load(settings: SourceSettings) -> Source:
    """The images of a source of files: decoded once per node where they are small together."""
    listing = _listing(settings)
    facts, files = _facts(settings, listing), _files(settings, listing)
    images: Mapping[str, Images] = files
    total = sum(part.nbytes for part in files.values())
    if settings.memory == "resident" or (settings.memory == "auto" and total <= RESIDENT_BYTES):
        images = cached_decoding(facts["digest"], lambda: _decoded(files)).arrays
    parts = {
        role: ImageArrays(images=images[role], labels=np.array(part.labels, dtype=np.int64))
        for role, part in listing.parts.items()
    }
    return Source(
        name=settings.source,
        class_names=tuple(listing.class_names),
        pool=parts["train"],
        test=parts.get("test"),
        mean=_MEAN,
        std=_STD,
        crop_padding=_size(settings) // 8,
        flip=True,
        content_digest=facts["digest"],
        equal=tuple(map(tuple, facts["equal"])),
    )


def _size(settings: SourceSettings) -> int:
    return settings.image_size or _LAYOUTS[settings.source].size


def _files(settings: SourceSettings, listing: _Listing) -> dict[str, ImageFiles]:
    root, size = str(settings.root), _size(settings)
    return {
        role: ImageFiles(root, np.array(part.names), size) for role, part in listing.parts.items()
    }


def _decoded(files: Mapping[str, ImageFiles]) -> Decoded:
    return Decoded(arrays={role: part.decoded_whole() for role, part in files.items()})


def _facts(settings: SourceSettings, listing: _Listing) -> Mapping[str, Any]:
    """Digest of the content, and groups of equal files, by position in the pool, then the test.

    Files are read again only where a name, a size or a time of change differs.
    """
    root = Path(str(settings.root))
    known = ["digest, equal", str(root), _size(settings), listing.class_names]
    for part in listing.parts.values():
        states = [(root / name).stat() for name in part.names]
        known += [part.names, part.labels, [[s.st_size, s.st_mtime_ns] for s in states]]
    return cached_decoding(values_digest(known), lambda: _read_facts(settings, listing)).facts


def _read_facts(settings: SourceSettings, listing: _Listing) -> Decoded:
    digests = {role: part.digests() for role, part in _files(settings, listing).items()}
    known = [_size(settings), listing.class_names, digests]
    known += [[part.names, part.labels] for part in listing.parts.values()]
    equal = equal_entries([d for part in digests.values() for d in part])
    return Decoded(facts={"digest": values_digest(known), "equal": equal})


# -- listings -------------------------------------------------------------------------------


def _listing(settings: SourceSettings) -> _Listing:
    layout = _LAYOUTS[settings.source]
    listing = layout.find(settings, data_folder(settings, layout.fetch))
    if settings.num_classes is not None:
        parts = {r: part.below(settings.num_classes) for r, part in listing.parts.items()}
        listing = _Listing(listing.class_names[: settings.num_classes], parts)
    for role, part in listing.parts.items():
        if not part.names:
            raise InputError(f"[data.root] '{settings.root}' must hold images to {role} on")
        _refuse_unknown_labels(part, len(listing.class_names))
    _refuse_common_files(listing)
    return listing


def _refuse_unknown_labels(part: _Part, num_classes: int) -> None:
    for name, label in zip(part.names, part.labels, strict=True):
        if not 0 <= label < num_classes:
            raise InputError(
                f"[data.root] '{name}' must have a label from 0 to {num_classes - 1}, "
                f"but got {label}"
            )


def _refuse_common_files(listing: _Listing) -> None:
    common = sorted(set.intersection(*(set(part.names) for part in listing.parts.values())))
    if len(listing.parts) > 1 and common:
        raise InputError(
            f"[data.test] must share no file with data.train, but shares {len(common)}, such as "
            f"'{common[0]}'"
        )


def _role_folders(settings: SourceSettings, root: Path, train: str, test: str) -> dict[str, Path]:
    """Folder or file of each role, with these usual names; no test part where `test` is ''."""
    names = {
        "train": train if settings.train is None else settings.train,
        "test": test if settings.test is None else settings.test,
    }
    fetch = _LAYOUTS[settings.source].fetch
    return {
        role: existing(root / name, settings, fetch)
        for role, name in names.items()
        if name or role == "train"
    }


def _list_folders(settings: SourceSettings, root: Path) -> _Listing:
    """A folder per class, as torchvision's ImageFolder: classes in the order of their names."""
    usual = "val" if (root / "val").is_dir() else "test"
    folders = _role_folders(settings, root, "train", usual)
    class_names = sorted(path.name for path in folders["train"].iterdir() if path.is_dir())
    if not class_names:
        raise InputError(
            f"[data.root] '{folders['train']}' must hold a folder per class, but has none"
        )
    for folder in folders.values():
        unknown = {p.name for p in folder.iterdir() if p.is_dir()} - set(class_names)
        if unknown:
            raise InputError(
                f"[data.root] '{folder / min(unknown)}' is not a class of '{folders['train']}'"
            )
    return _Listing(
        class_names, {role: _by_class(root, path, class_names) for role, path in folders.items()}
    )


def _by_class(root: Path, folder: Path, class_names: Sequence[str]) -> _Part:
    names = [_images_in(root, folder / name) for name in class_names]
    labels = [label for label, own in enumerate(names) for _ in own]
    return _Part([name for own in names for name in own], labels)


def _images_in(root: Path, folder: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in _IMAGE_SUFFIXES
    )


def _list_animal10n(settings: SourceSettings, root: Path) -> _Listing:
    """Animal-10N as it is unpacked: `training/3_01234.jpg` is of class 3."""
    parts = {}
    for role, folder in _role_folders(settings, root, "training", "testing").items():
        names = _images_in(root, folder)
        parts[role] = _Part(names, [_leading_number(folder / name) for name in names])
    return _Listing(list(_ANIMAL10N_CLASSES), parts)


def _leading_number(path: Path) -> int:
    number = path.name.partition("_")[0]
    if not number.isdecimal():
        raise InputError(f"[data.root] '{path}' must be named <label>_<anything>, such as 3_1.jpg")
    return int(number)


def _list_lines(settings: SourceSettings, root: Path) -> _Listing:
    """Text files of `path label` lines, with paths below the root or one of its folders."""
    lists = _role_folders(settings, root, "train.txt", "test.txt")
    parts = {role: _lines(settings, root, path) for role, path in lists.items()}
    names = root / "classes.txt"
    if names.is_file():
        return _Listing(names.read_text(encoding="utf-8").splitlines(), parts)
    highest = max(max(part.labels, default=0) for part in parts.values())
    return _Listing([str(label) for label in range(highest + 1)], parts)


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
        existing(root / name, settings, f"the images that '{path.name}' lists")
    return _Part(names, labels)


def _prefix(root: Path, names: Sequence[str]) -> str:
    """Folder below the root that the paths are relative to, empty for the root itself."""
    if not names or (root / names[0]).is_file():
        return ""
    folders = (folder for folder in sorted(root.iterdir()) if folder.is_dir())
    found = next((folder for folder in folders if (folder / names[0]).is_file()), None)
    return "" if found is None else f"{found.name}/"


@dataclass(frozen=True, slots=True)
class _Layout:
    """How files lie below the root: what finds them, what to fetch, and the usual image size."""

    find: Callable[[SourceSettings, Path], _Listing]
    fetch: str
    size: int
    description: str


_LAYOUTS = {
    "image_folder": _Layout(
        _list_folders,
        "the images, a folder per class,",
        224,
        "a folder of images per class, below train/ and test/",
    ),
    "image_list": _Layout(
        _list_lines,
        "the data set's images and its lists of `path label` lines",
        224,
        "text files of `path label` lines, as ImageNet-LT and WebVision ship them",
    ),
    "animal10n": _Layout(
        _list_animal10n,
        "Animal-10N (https://dm.kaist.ac.kr/datasets/animal-10n, its raw images)",
        64,
        "Animal-10N: training/ and testing/ with the label in front of each file name",
    ),
}
for _name, _layout in _LAYOUTS.items():
    SOURCES.add(
        SourceKind(name=_name, description=_layout.description, load=_load, digest=_digest)
    )
