"""Sources whose images are files: folders by class, lists of paths, and Animal-10N."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES
from dynaloss.data.digests import values_digest
from dynaloss.data.sources.cache import Decoded, cached_decoding
from dynaloss.data.sources.image_files import RESIDENT_BYTES, ImageFiles
from dynaloss.data.sources.source import (
    MOST_CLASSES,
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


_Part = list[tuple[str, int]]  # path below the root, and label, of the files of one role


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
        images = cached_decoding(
            facts["digest"],
            lambda: Decoded(arrays={role: part.decoded_whole() for role, part in files.items()}),
        ).arrays
    parts = {
        role: ImageArrays(images=images[role], labels=np.array([label for _, label in part]))
        for role, part in listing.parts.items()
    }
    return Source(
        name=settings.source,
        class_names=tuple(listing.class_names),
        pool=parts["train"],
        test=_joined([part for role, part in parts.items() if role != "train"]),
        more_tests={name: len(parts[f"test_{name}"].labels) for name, _ in _more_tests(settings)},
        mean=_MEAN,
        std=_STD,
        image_std=_STD,  # ImageNet's, too: no image is read for it, wherever the images are kept
        crop_padding=_size(settings) // 8,
        flip=True,
        content_digest=facts["digest"],
        equal=tuple(map(tuple, facts["equal"])),
    )


def _more_tests(settings: SourceSettings) -> tuple[tuple[str, str], ...]:
    return settings.more_tests or ()


def _joined(parts: list[ImageArrays]) -> ImageArrays | None:
    """Images and labels of several test sets as one; None of none."""
    if len(parts) < 2:
        return parts[0] if parts else None
    files = [part.images for part in parts if isinstance(part.images, ImageFiles)]
    decoded = [part.images for part in parts if not isinstance(part.images, ImageFiles)]
    return ImageArrays(
        images=replace(files[0], names=np.concatenate([part.names for part in files]))
        if files
        else np.concatenate(decoded),
        labels=np.concatenate([part.labels for part in parts]),
    )


def _size(settings: SourceSettings) -> int:
    return settings.image_size or _LAYOUTS[settings.source].size


def _files(settings: SourceSettings, listing: _Listing) -> dict[str, ImageFiles]:
    root, size = str(settings.root), _size(settings)
    names = {role: np.array([name for name, _ in part]) for role, part in listing.parts.items()}
    return {role: ImageFiles(root, own, size) for role, own in names.items()}


def _facts(settings: SourceSettings, listing: _Listing) -> Mapping[str, Any]:
    """Digest of the content, and groups of equal files, by position in the pool, then the test.

    Files are read again only where a name, a size or a time of change differs.
    """
    root = Path(str(settings.root))
    known = ["digest, equal", str(root), _size(settings), listing.class_names]
    for names, labels in _columns(listing):
        states = [(root / name).stat() for name in names]
        known += [names, labels, [[s.st_size, s.st_mtime_ns] for s in states]]
    return cached_decoding(values_digest(known), lambda: _read_facts(settings, listing)).facts


def _columns(listing: _Listing) -> list[list[Any]]:
    """Names and labels of each role."""
    return [list(map(list, zip(*part, strict=True))) for part in listing.parts.values()]


def _read_facts(settings: SourceSettings, listing: _Listing) -> Decoded:
    digests = {role: part.digests() for role, part in _files(settings, listing).items()}
    known = [_size(settings), listing.class_names, digests, *_columns(listing)]
    equal = equal_entries([d for part in digests.values() for d in part])
    return Decoded(facts={"digest": values_digest(known), "equal": equal})


def _listing(settings: SourceSettings) -> _Listing:
    layout = _LAYOUTS[settings.source]
    listing = layout.find(settings, data_folder(settings, layout.fetch))
    if settings.num_classes is not None:
        C = settings.num_classes
        parts = {r: [(n, c) for n, c in part if c < C] for r, part in listing.parts.items()}
        listing = _Listing(listing.class_names[:C], parts)
    _check(listing, settings)
    return listing


def _check(listing: _Listing, settings: SourceSettings) -> None:
    """Refuses a role without images, labels without a class, and files of two roles."""
    highest = len(listing.class_names) - 1
    for role, part in listing.parts.items():
        if not part:
            raise InputError(f"[data.root] '{settings.root}' must hold images to {role} on")
        for name, label in part:
            if not 0 <= label <= highest:
                raise InputError(
                    f"[data.root] '{name}' must have a label from 0 to {highest}, but got {label}"
                )
    train = {name for name, _ in listing.parts["train"]}
    for role, part in listing.parts.items():
        common = sorted(train & {name for name, _ in part}) if role != "train" else []
        if common:
            key = "data.test" if role == "test" else "data.more_tests"
            raise InputError(
                f"[{key}] must share no file with data.train, but shares {len(common)}, such as "
                f"'{common[0]}'"
            )


def _role_folders(settings: SourceSettings, root: Path, train: str, test: str) -> dict[str, Path]:
    """Folder or file of each role, with these usual names; no test part where `test` is ''.

    The further test sets come last, in their order.
    """
    fetch = _LAYOUTS[settings.source].fetch
    names = {"train": train if settings.train is None else settings.train}
    if settings.test != "":
        names["test"] = settings.test or test
    elif settings.more_tests:
        raise InputError("[data.more_tests] must stand beside a test set, but data.test is ''")
    names |= {f"test_{name}": path for name, path in _more_tests(settings)}
    return {role: existing(root / name, settings, fetch) for role, name in names.items()}


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
    parts = {
        role: [(n, c) for c, cls in enumerate(class_names) for n in _images_in(root, folder / cls)]
        for role, folder in folders.items()
    }
    return _Listing(class_names, parts)


def _images_in(root: Path, folder: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in _IMAGE_SUFFIXES
    )


def _list_animal10n(settings: SourceSettings, root: Path) -> _Listing:
    """Animal-10N as it is unpacked: `training/3_01234.jpg` is of class 3."""
    folders = _role_folders(settings, root, "training", "testing")
    parts = {
        role: [(name, _leading_number(root / name)) for name in _images_in(root, folder)]
        for role, folder in folders.items()
    }
    return _Listing(list(_ANIMAL10N_CLASSES), parts)


def _leading_number(path: Path) -> int:
    number = path.name.partition("_")[0]
    if not _is_label(number):
        raise InputError(f"[data.root] '{path}' must be named <label>_<anything>, such as 3_1.jpg")
    return int(number)


def _list_lines(settings: SourceSettings, root: Path) -> _Listing:
    """Text files of `path label` lines, with paths below the root or one of its folders."""
    lists = _role_folders(settings, root, "train.txt", "test.txt")
    parts = {role: _lines(settings, root, path) for role, path in lists.items()}
    names = root / "classes.txt"
    if names.is_file():
        return _Listing(_text(names).splitlines(), parts)
    highest = max((label for part in parts.values() for _, label in part), default=0)
    return _Listing([str(label) for label in range(highest + 1)], parts)


def _lines(settings: SourceSettings, root: Path, path: Path) -> _Part:
    found = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not _is_label(label):
            raise InputError(
                f"{path}:{number}: must be `path label`, a number below {MOST_CLASSES:,}, "
                f"but got '{line[:60]}'"
            )
        if settings.num_classes is None or int(label) < settings.num_classes:
            found.append((name.strip(), int(label)))
    prefix = _prefix(root, found)
    for name, _ in found:
        existing(root / (prefix + name), settings, f"the images that '{path.name}' lists")
    return [(prefix + name, label) for name, label in found]


def _is_label(text: str) -> bool:
    return text.isdecimal() and len(text) < 10 and int(text) < MOST_CLASSES


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' must be text in UTF-8: {error}") from error


def _prefix(root: Path, files: _Part) -> str:
    """Folder below the root that the paths are relative to, empty for the root itself."""
    if not files or (root / files[0][0]).is_file():
        return ""
    folders = (folder for folder in sorted(root.iterdir()) if (folder / files[0][0]).is_file())
    return next((f"{folder.name}/" for folder in folders), "")


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
    SOURCES.add(name=_name, description=_layout.description, load=_load, digest=_digest)
