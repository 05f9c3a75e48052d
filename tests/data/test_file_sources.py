from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet as pq
from pydantic import ValidationError
from torchvision import datasets

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.config.families import SOURCES
from dynaloss.data import digests
from dynaloss.data.sources import (
    DataNotFound,
    SourceSettings,
    load_source,
    source_remarks,
    source_status,
)
from dynaloss.data.sources.image_files import ImageFiles
from dynaloss.data.splits import make_splits
from dynaloss.data.views.weak_and_strong import Views
from dynaloss.errors import InputError
from dynaloss.execution.trial.assembly import assemble_trial
from dynaloss.learning.streams import Streams

SIDE = 8
CLASSES = ["cat", "dog", "eel"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DYNALOSS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _pixels(number: int, side: int = SIDE) -> NDArray[np.uint8]:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (side, side, 3)).astype(np.uint8)


def _png(number: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_pixels(number)).save(path)


def _write_parquet(path: Path, numbers: list[int]) -> None:
    rows = []
    for number in numbers:
        file = io.BytesIO()
        Image.fromarray(_pixels(number)).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
    table = pa.table({"img": rows, "label": [n % 3 for n in numbers]})
    features = {"label": {"names": CLASSES, "_type": "ClassLabel"}}
    info = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), path)


def _parquet(root: Path) -> None:
    _write_parquet(root / "train.parquet", [0, 1, 2, 3, 4, 5])
    _write_parquet(root / "test.parquet", [1, 8, 9])


def _folders(root: Path) -> None:
    for role, numbers in (("train", range(6)), ("test", (1, 8, 9))):
        for n in numbers:
            _png(n, root / role / CLASSES[n % 3] / f"{n}.png")


def _lists(root: Path) -> None:
    for role, numbers in (("train", range(6)), ("test", (1, 8, 9))):
        for n in numbers:
            _png(n, root / "images" / f"{role}-{n}.png")
        lines = (f"{role}-{n}.png {n % 3}\n" for n in numbers)
        (root / f"{role}.txt").write_text("".join(lines))
    (root / "classes.txt").write_text("\n".join(CLASSES))


def _animal10n(root: Path) -> None:
    for role, numbers in (("training", range(6)), ("testing", (1, 8, 9))):
        for n in numbers:
            _png(n, root / role / f"{n % 3}_{n:04}.png")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "parquet": _parquet,
    "image_folder": _folders,
    "image_list": _lists,
    "animal10n": _animal10n,
}


def _settings(name: str, root: Path, **changes: object) -> SourceSettings:
    size = None if name == "parquet" else SIDE
    values = {"source": name, "root": str(root), "image_size": size, **changes}
    return SourceSettings.model_validate(values)


@pytest.fixture(params=LAYOUTS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> SourceSettings:
    root = tmp_path / "data"
    root.mkdir()
    LAYOUTS[request.param](root)
    return _settings(request.param, root)


def test_images_and_labels_are_those_of_the_files(settings: SourceSettings) -> None:
    source = load_source(settings)
    assert source.test is not None
    found = {
        image.tobytes(): label
        for part in (source.pool, source.test)
        for image, label in zip(part.images, part.labels.tolist(), strict=True)
    }
    numbers = [0, 1, 2, 3, 4, 5, 8, 9]
    assert found == {_pixels(n).transpose(2, 0, 1).tobytes(): n % 3 for n in numbers}
    assert (len(source.pool.labels), len(source.test.labels)) == (6, 3)
    assert source.input_shape == (3, SIDE, SIDE)
    assert list(source.class_names[:1]) == ["cat"]


def test_equal_images_across_roles_are_counted(settings: SourceSettings) -> None:
    source = load_source(settings)
    ids, n = source.image_ids.tolist(), len(source.pool.labels)
    assert len(set(ids[:n]) & set(ids[n:])) == 1


@pytest.mark.parametrize(
    ("name", "changes", "facts"),
    [
        ("parquet", {"test": "train.parquet"}, r"got '.*/train\.parquet'"),
        ("image_folder", {"train": "train", "test": "train"}, r" 6, .*'train/cat/0\.png'"),
        ("image_list", {"test": "train.txt"}, r" 6, .*'images/train-0\.png'"),
    ],
)
def test_a_sample_in_train_and_test_is_refused(
    name: str, changes: dict[str, str], facts: str, tmp_path: Path
) -> None:
    LAYOUTS[name](tmp_path)
    rule = r"^\[data\.test\].*(another|no) file .*data\.train\b"
    with pytest.raises(InputError, match=rf"{rule}.*{facts}"):
        load_source(_settings(name, tmp_path, **changes))


def test_digest_follows_the_content_alone(settings: SourceSettings, tmp_path: Path) -> None:
    digest = source_status(settings).digest
    assert load_source(settings).digest == digest
    assert settings.root is not None
    moved = tmp_path / "moved"
    Path(settings.root).rename(moved)
    there = _settings(settings.source, moved)
    assert source_status(there).digest == digest
    if settings.source == "parquet":
        _write_parquet(moved / "test.parquet", [1, 8, 10])
    else:
        _png(77, next(path for path in sorted(moved.rglob("*.png"))))
    assert source_status(there).digest != digest


def test_decoding_happens_once(settings: SourceSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_source(settings)
    monkeypatch.setattr(Image, "open", None)
    again = load_source(settings)
    assert np.array_equal(first.pool.images, again.pool.images)
    assert isinstance(again.pool.images, np.memmap)


def test_classes_can_be_a_subset(settings: SourceSettings) -> None:
    source = load_source(_settings(settings.source, Path(str(settings.root)), num_classes=2))
    assert sorted(source.pool.labels.tolist()) == [0, 0, 1, 1]
    assert source.num_classes == 2


def test_error_for_missing_data_names_what_to_fetch(
    settings: SourceSettings, tmp_path: Path
) -> None:
    nowhere = _settings(settings.source, tmp_path / "nowhere")
    status = source_status(nowhere)
    assert status.digest == f"missing:{settings.source}"
    facts = rf"^\[data\.root\].*'{settings.source}'.* '.*/nowhere'.*not exist.*fetch "
    assert re.search(facts, str(status.missing))
    with pytest.raises(DataNotFound, match=facts):
        load_source(nowhere)


@pytest.mark.parametrize("name", ["image_folder", "image_list", "animal10n"])
def test_large_images_stay_in_their_files(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path)
    source = load_source(_settings(name, tmp_path, memory="stream"))
    assert isinstance(source.pool.images, ImageFiles)
    assert source.pool.images.decoded(0).shape == (3, SIDE, SIDE)


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    _parquet(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"/train\.parquet'.*read as parquet\b"):
        load_source(_settings("parquet", tmp_path))


@pytest.mark.parametrize("label", ["one", "-1", "100000", "9" * 5000])
def test_a_malformed_line_is_named(tmp_path: Path, label: str) -> None:
    _lists(tmp_path)
    (tmp_path / "train.txt").write_text(f"0.png 0\n1.png {label}\n")
    facts = rf"/train\.txt:2: .*`path label`.*100,000.*got '1\.png {label[:50]}"
    with pytest.raises(InputError, match=facts):
        load_source(_settings("image_list", tmp_path))


def test_a_column_without_bytes_is_named(tmp_path: Path) -> None:
    table = pa.table({"img": [{"path": "0.png"}], "label": [0]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"/train\.parquet' .*'img' .*`bytes`"):
        load_source(_settings("parquet", tmp_path, test=""))


def test_a_column_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    _parquet(tmp_path)
    path = tmp_path / "train.parquet"
    path.write_bytes(path.read_bytes().replace(b"img", b"i\xedg"))
    with pytest.raises(InputError, match=r"/train\.parquet'.*read as parquet\b"):
        load_source(_settings("parquet", tmp_path))


def test_class_names_that_cannot_be_read_are_numbers(tmp_path: Path) -> None:
    _parquet(tmp_path)
    for path in tmp_path.glob("*.parquet"):
        table = pq.read_table(path).replace_schema_metadata({"huggingface": "{"})
        pq.write_table(table, path)
    names = load_source(_settings("parquet", tmp_path)).class_names
    assert names == tuple(str(i) for i in range(len(names)))


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    _lists(tmp_path)
    (tmp_path / "train.txt").write_bytes(b"0.png 0\n\xff.png 1\n")
    with pytest.raises(InputError, match=r"/train\.txt' .*UTF-8"):
        load_source(_settings("image_list", tmp_path))


# -- CIFAR ----------------------------------------------------------------------------------


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SourceSettings]:
    """Writes a small data set in CIFAR's layout; torchvision accepts its checksums."""

    def write(name: str) -> SourceSettings:
        _cifar(tmp_path, name)
        dataset = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        known = {path.name: md5(path.read_bytes()).hexdigest() for path in tmp_path.glob("*/*")}
        for files in ("train_list", "test_list"):
            ours = [[name, known[name]] for name, _ in getattr(dataset, files)]
            monkeypatch.setattr(dataset, files, ours)
        meta = dataset.meta | {"md5": known[dataset.meta["filename"]]}
        monkeypatch.setattr(dataset, "meta", meta)
        return SourceSettings(source=name, root=str(tmp_path))

    return write


def _cifar(root: Path, name: str) -> None:
    ten = name == "cifar10"
    folder = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
    folder.mkdir(parents=True)
    trains = [f"data_batch_{i}" for i in range(1, 6)] if ten else ["train"]
    for i, batch in enumerate([*trains, "test_batch" if ten else "test"]):
        pixels = np.random.default_rng(i).integers(0, 256, (4, 3072)).astype(np.uint8)
        labels = {"labels" if ten else "fine_labels": [0, 1, 2, i % 3]}
        (folder / batch).write_bytes(pickle.dumps({"data": pixels, **labels}))
    names = {"label_names" if ten else "fine_label_names": CLASSES}
    (folder / ("batches.meta" if ten else "meta")).write_bytes(pickle.dumps(names))


@pytest.mark.parametrize(("name", "number"), [("cifar10", 20), ("cifar100", 4)])
def test_cifar_in_its_own_layout(
    name: str, number: int, cifar: Callable[[str], SourceSettings]
) -> None:
    settings = cifar(name)
    source = load_source(settings)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072)).astype(np.uint8)
    assert source.pool.images.shape == (number, 3, 32, 32)
    assert np.array_equal(source.pool.images[0].ravel(), pixels[0])
    assert source.class_names == tuple(CLASSES)
    assert source.digest == source_status(settings).digest


def test_cifar_is_made_smaller_as_images_in_parquet_are(
    cifar: Callable[[str], SourceSettings], tmp_path: Path
) -> None:
    """PNG loses nothing, so both hold the same pixels."""
    settings = cifar("cifar10")
    whole = load_source(settings)
    table = {
        "img": [{"bytes": _encoded(image)} for image in whole.pool.images],
        "label": whole.pool.labels.tolist(),
    }
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    small = settings.model_copy(update={"image_size": 16})
    source = load_source(small)
    other = load_source(
        SourceSettings(source="parquet", root=str(tmp_path), test="", image_size=16)
    )
    assert source.pool.images.shape == (20, 3, 16, 16)
    assert np.array_equal(source.pool.images, other.pool.images)
    assert source.crop_padding == other.crop_padding == 2
    assert source.digest != whole.digest


def _encoded(image: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(content, "PNG")
    return content.getvalue()


def test_cifar_reads_each_file_once(
    cifar: Callable[[str], SourceSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    digests._digests.cache_clear()
    real = Path.open

    def counted(path: Path, mode: str = "r", **options: Any) -> Any:
        opened.append(path.name)
        return real(path, mode, **options)

    settings = cifar("cifar100")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", counted)
        assert source_status(settings).missing is None
    assert sorted(opened) == ["meta", "test", "train"]


class _Intruder:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._path,)


@pytest.mark.parametrize("content", [b"", b"\x80\x04broken", None], ids=["empty", "cut", "code"])
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_file_of_cifar_with_another_checksum_is_named_and_never_executed(
    name: str, content: bytes | None, cifar: Callable[[str], SourceSettings], tmp_path: Path
) -> None:
    settings, mark = cifar("cifar10"), tmp_path / "mark"
    file = tmp_path / "cifar-10-batches-py" / name
    published = md5(file.read_bytes()).hexdigest()
    file.write_bytes(pickle.dumps(_Intruder(mark)) if content is None else content)
    facts = rf"{published}\b.* {md5(file.read_bytes()).hexdigest()}\b.*\[data\.verify\] to false"
    for read in (load_source, source_status):
        with pytest.raises(InputError, match=rf"^\[data\.root\] '.*/{name}' .*MD5.*{facts}"):
            read(settings)
    unverified = settings.model_copy(update={"verify": False})
    with pytest.raises(InputError, match=rf"^\[data\.root\] '.*/{name}' .*read as a pickle"):
        load_source(unverified)
    assert not mark.exists()


def test_other_files_in_the_layout_of_cifar_are_read_with_one_warning(tmp_path: Path) -> None:
    _cifar(tmp_path, "cifar100")
    settings = SourceSettings(source="cifar100", root=str(tmp_path), verify=False)
    assert load_source(settings).class_names == tuple(CLASSES)
    (remark,) = source_remarks(settings)
    assert re.search(r"^\[data\.verify\].*/cifar-100-python/train' .*MD5.* 2 more files", remark)


def test_published_files_need_no_warning(cifar: Callable[[str], SourceSettings]) -> None:
    settings = cifar("cifar10").model_copy(update={"verify": False})
    assert source_remarks(settings) == ()


_PIXELS = np.zeros((4, 3072), np.uint8)
_LABELS = [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("batches.meta", {"num_vis": 3072}, "'label_names', but holds one with 'num_vis'"),
        ("batches.meta", {}, "'label_names', but holds an empty one"),
        ("batches.meta", CLASSES, "'label_names', but holds a list"),
        ("batches.meta", {"label_names": "cat"}, "names of the classes as 'label_names'"),
        ("data_batch_2", {"data": _PIXELS}, "'data' and 'labels', but holds one with 'data'"),
        ("data_batch_2", {"data": _PIXELS, "labels": _LABELS[:3]}, "its 4 images as 'labels'"),
        ("data_batch_2", {"data": _PIXELS, "labels": ["cat"] * 4}, "its 4 images as 'labels'"),
        ("test_batch", {"data": _PIXELS, "labels": [0, 1, 2, 3]}, "0 to 2 .*holds 0 to 3"),
        ("test_batch", {"data": _PIXELS, "labels": [0, 1, 2, -1]}, "0 to 2 .*holds -1 to 2"),
        ("test_batch", {"data": _PIXELS / 255, "labels": _LABELS}, r"uint8 .*\(N, 3072\)"),
        ("test_batch", {"data": _PIXELS[:, 1:], "labels": _LABELS}, r"uint8 .*\(N, 3072\)"),
        ("test_batch", {"data": _PIXELS[:0], "labels": []}, r"uint8 .*\(N, 3072\)"),
        ("test_batch", {"data": [1, 2, 3, 4], "labels": _LABELS}, r"uint8 .*\(N, 3072\)"),
    ],
)
def test_file_of_cifar_that_holds_something_else_is_named(
    name: str, content: object, facts: str, tmp_path: Path
) -> None:
    _cifar(tmp_path, "cifar10")
    (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=rf"^\[data\.root\] '.*/{name}' must hold .*{facts}"):
        load_source(SourceSettings(source="cifar10", root=str(tmp_path), verify=False))


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    _cifar(tmp_path, "cifar10")
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match=r"/test_batch': Is a directory"):
        source_status(SourceSettings(source="cifar10", root=str(tmp_path)))


def test_missing_cifar_names_the_download_setting(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"cifar10.*\[data\.download\] to true"):
        load_source(SourceSettings(source="cifar10", root=str(tmp_path)))


# -- sources of other packages -------------------------------------------------------------


_LOADERS = """
    import numpy as np
    from dynaloss.data.sources import ImageArrays, Source

    def load(settings):
        labels = np.arange(6) % 2
        return Source(
            name=settings.source, class_names=("a", "b"),
            pool=ImageArrays(images=np.zeros((6, 1, 4, 4), np.uint8), labels=labels),
            test=None, mean=(0.5,), std=(0.5,), crop_padding=0, flip=False,
        )

    def no_source(settings):
        return 3
    """


@pytest.fixture
def own_loaders(write_modules: Callable[..., Path]) -> None:
    entries = {"mine": "own_loaders:load", "broken": "own_loaders:no_source"}
    write_modules({"own_loaders.py": _LOADERS}, {"dynaloss.sources": entries})


@pytest.mark.usefixtures("own_loaders")
@pytest.mark.parametrize("name", ["mine", "own_loaders:load"])
def test_a_function_of_another_package_is_a_source(name: str) -> None:
    settings = SourceSettings(source=name)
    source = load_source(settings)
    assert (source.name, source.num_classes) == (name, 2)
    assert source_status(settings).digest == source.digest
    assert not DataConfig(source=name).has_test_split


@pytest.mark.usefixtures("own_loaders")
def test_a_function_that_returns_no_source_is_refused() -> None:
    with pytest.raises(InputError, match=r"'broken' must load a .*Source, but returned int"):
        load_source(SourceSettings(source="broken"))


def test_no_entry_point_is_installed_here() -> None:
    assert not SOURCES.installed()


def test_ignored_setting_is_refused() -> None:
    with pytest.raises(InputError, match=r"^\[data\.image_size\].*not .*'digits'"):
        load_source(SourceSettings(source="digits", image_size=4))


def _further(root: Path, numbers: Sequence[int] = (10, 11)) -> SourceSettings:
    """Training and test images as listed, and a further test set of other images."""
    _lists(root)
    for n in numbers:
        _png(n, root / "images" / f"imagenet-{n}.png")
    (root / "imagenet.txt").write_text("".join(f"imagenet-{n}.png {n % 3}\n" for n in numbers))
    return _settings("image_list", root, more_tests={"imagenet": "imagenet.txt"})


@pytest.mark.parametrize("memory", ["resident", "stream"])
def test_further_test_sets_are_tested_on_by_name(memory: str, tmp_path: Path) -> None:
    settings = _further(tmp_path)
    config = DataConfig.model_validate(settings.model_dump() | {"memory": memory})
    source = load_source(config)
    splits = make_splits(source, config, Streams(base_seed=0, seed=0))
    labels = {role: samples.true.tolist() for role, samples in splits.tests.items()}
    assert labels == {"test": [1, 2, 0], "test_imagenet": [1, 2]}
    images = splits.tests["test_imagenet"].images
    pixels = [images.decoded(i) if isinstance(images, ImageFiles) else images[i] for i in (0, 1)]
    assert [p.tobytes() for p in pixels] == [
        _pixels(n).transpose(2, 0, 1).tobytes() for n in (10, 11)
    ]
    assert splits.record["splits"] == {"train": 6, "validation": 0, "test": 3, "test_imagenet": 2}
    assert source.digest != load_source(settings.model_copy(update={"more_tests": None})).digest
    assert source.digest == source_status(settings).digest


def test_a_trial_reports_each_test_set(tmp_path: Path) -> None:
    settings = _further(tmp_path)
    config = TrialConfig.model_validate(
        {
            "data": settings.model_dump(),
            "model": {"name": "mlp"},
            "loss": {"name": "cross_entropy"},
            "schedule": {"epochs": 1, "warmup_epochs": 1, "batch_size": 4},
        }
    )
    source, device = load_source(config.data), torch.device("cpu")
    trial = assemble_trial(config, seed=0, base_seed=0, source=source, device=device)
    (report,) = trial.trainer.epochs()
    views = Views.of_source(source, device, config.data.views)
    model = trial.trainer.model.eval()
    for role, own in source.test_sets.items():
        logits = model(views.weak(torch.from_numpy(own.images)))
        hits = logits.argmax(dim=1).numpy() == own.labels
        assert report.metrics[f"{role}/accuracy"] == pytest.approx(hits.mean())


def test_training_images_in_a_further_test_set_are_counted(tmp_path: Path) -> None:
    """Number 4 is trained on; number 1 is in the first test set, too."""
    settings = _further(tmp_path, (4, 11))
    config = DataConfig.model_validate(settings.model_dump())
    splits = make_splits(load_source(config), config, Streams(base_seed=0, seed=0))
    assert splits.equal_images["train_test"] == 2


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        (
            {"more_tests": {"again": "train.txt"}},
            r"more_tests\].*no file with data.train.* 6, .*'images/train-0",
        ),
        ({"more_tests": {"other": "none.txt"}}, r"none\.txt' does not exist"),
        ({"test": ""}, r"more_tests\].*beside a test set.*data\.test is ''"),
    ],
    ids=["training files", "missing", "no first one"],
)
def test_further_test_sets_that_cannot_be_used_are_refused(
    changes: dict[str, Any], facts: str, tmp_path: Path
) -> None:
    settings = _further(tmp_path)
    values = settings.model_dump() | changes
    with pytest.raises(InputError, match=facts):
        load_source(SourceSettings.model_validate(values))


def test_a_further_test_set_needs_a_name_and_a_source_that_has_one() -> None:
    with pytest.raises(ValidationError, match=r"names a set 'a/b', which must be letters, digits"):
        SourceSettings.model_validate({"more_tests": {"a/b": "x.txt"}})
    with pytest.raises(InputError, match=r"^\[data\.more_tests\].*not .*'digits'"):
        load_source(SourceSettings.model_validate({"more_tests": {"a": "x.txt"}}))
