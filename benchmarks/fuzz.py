"""Malformed files of every kind: each must give one clear error, soon.

    python benchmarks/fuzz.py [--inputs 100000] [--seed 0] [--only KIND] [--output FILE]

Valid study files, label files, journals, images, lists of images, parquet files and addresses of
stores are changed at random: bits, lines, values that are too large, of another kind, or hostile.
Each is read by the code that a launch reads it with. Counted are what is accepted, refused with an
`InputError`, and what raises anything else or takes more than a second.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import shutil
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
from PIL import Image

from dynaloss.config import DataConfig
from dynaloss.data.sources import load_source
from dynaloss.errors import InputError
from dynaloss.execution.search.launching import claim
from dynaloss.journal import Journal
from dynaloss.learning.given_files import read_arrays
from dynaloss.studies.loading import load_any
from dynaloss.tracking import Workspace

OUTPUT = Path(__file__).parent / "results" / "tables" / "fuzz.json"
_STUDIES = ("ablations", "search_spaces")
_HOSTILE = (
    "null", "[]", "{}", "-1", "0", "1e400", ".nan", "1" * 400, "''", "'\\0'", "[[[[]]]]", "true",
    "{a: {b: 1}}", "!!python/object:os.system x", "*x", "&x 1", "<<: {}", "'../../etc'", "mod:x",
    "os:system", "'a b'", "[null]", "- 1", "? x", "|", "0x7fffffffffffffffffff", "2024-01-01",
    "{uniform: [1, 0]}", "{choice: []}", "{loguniform: [0, 1]}", "'$(id)'", "auto", "-.inf",
)  # fmt: skip

Read = Callable[[Path], object]


def studies() -> list[bytes]:
    """The study files that come with the project."""
    root = Path(__file__).parents[1]
    paths = (path for name in _STUDIES for path in sorted((root / name).glob("*.yaml")))
    return [path.read_bytes() for path in paths]


def arrays() -> dict[str, list[bytes]]:
    """Label files by suffix."""
    labels = np.arange(40) % 10
    npy, npz, pt = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, labels)
    np.savez(npz, clean_label=labels)
    torch.save({"clean_label": torch.from_numpy(labels)}, pt)
    csv = "index,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels))
    return {
        ".npy": [npy.getvalue()],
        ".npz": [npz.getvalue()],
        ".pt": [pt.getvalue()],
        ".csv": [csv.encode()],
    }


def journals() -> list[bytes]:
    """A journal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal(path) as journal:
            claim(journal, {"trial": "a", "space": "b"})
            journal.write("begin", group="full", number=0, chosen={"meta.lr": 0.003})
            journal.write("report", key="k", epoch=1, metrics={"val/accuracy": 0.1})
            journal.write("end", key="k", outcome="completed", message="", diagnostics={})
        return [path.read_bytes()]


def read_journal(path: Path) -> None:
    """As a launch of the search does."""
    with Journal(path) as journal:
        claim(journal, {"trial": "a", "space": "b"})
        list(journal.read())


def read_labels(path: Path) -> None:
    """As label noise of a file does."""
    read_arrays(path, "data.noise.path")


def images() -> list[bytes]:
    """An image, in two formats."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    png, jpeg = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(png, "png")
    Image.fromarray(pixels).save(jpeg, "jpeg")
    return [png.getvalue(), jpeg.getvalue()]


def tables() -> list[bytes]:
    """A parquet file of eight images."""
    rows = [{"bytes": images()[0], "path": f"{i}.png"} for i in range(8)]
    content = io.BytesIO()
    table = pyarrow.table({"img": rows, "label": [i % 2 for i in range(8)]})
    pyarrow.parquet.write_table(table, content)
    return [content.getvalue()]


def lists() -> list[bytes]:
    """A list of images with their classes."""
    return ["\n".join(f"{i % 2}/{i}.png {i % 2}" for i in range(4)).encode()]


def read_image(path: Path) -> None:
    """As one of four in the folders of a data source."""
    with _fresh_cache():
        root = _image_folders(path.parent)
        shutil.copy(path, root / "train" / "0" / "0.png")
        load_source(_data("image_folder", root))


def read_list(path: Path) -> None:
    """As the list of a data source."""
    with _fresh_cache():
        root = _image_folders(path.parent)
        shutil.copy(path, root / "train.txt")
        load_source(_data("image_list", root))


def read_table(path: Path) -> None:
    """As a data source."""
    with _fresh_cache():
        root = path.parent / "table"
        root.mkdir(exist_ok=True)
        shutil.copy(path, root / "train.parquet")
        load_source(_data("parquet", root))


def read_address(path: Path) -> None:
    """As the address of the tracking store: an error shows no password."""
    uri = path.read_bytes().decode("utf-8", "replace")
    workspace = Workspace(path.parent, uri)
    try:
        if not uri.startswith(("http", "postgres", "mysql", "databricks")):  # nothing is asked
            workspace.open_store(must_exist=True)
    except InputError as error:
        is_whole = re.fullmatch(r"\w+://[^\n@]+:[^\n]*canary@[\w.:\[\]]+/[^\n]*", uri)
        plain = re.sub(r"(password|token)=canary", "", uri.rpartition("@")[2])
        if is_whole and "canary" not in plain and "canary" in str(error):
            raise ValueError(f"the password is shown: {error}") from error
        raise
    except OSError as error:  # with its file, which the command line shows in one line
        raise InputError(str(error)) from error


def addresses() -> list[bytes]:
    """Addresses of stores that are not there, with secrets."""
    return [
        b"sqlite:///none/mlflow.db?timeout=1",
        b"oracle://user:canary@127.0.0.1:1/db?password=canary",
        b"mssql://user:can/ary@canary@[::1]:1/db?token=canary&x=1",
    ]


def _data(source: str, root: Path) -> DataConfig:
    settings = {"source": source, "root": str(root), "test": "", "test_fraction": 0.25}
    return DataConfig.model_validate(settings | {"image_size": 16})


def _image_folders(folder: Path) -> Path:
    """A folder with two images of each of two classes."""
    root = folder / "folders"
    if not root.exists():
        for i in range(4):
            path = root / "train" / str(i % 2) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images()[0])
    return root


@contextmanager
def _fresh_cache() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DYNALOSS_CACHE"] = folder
        yield


def changed(content: bytes, draw: np.random.Generator, *, is_text: bool) -> bytes:
    """The content with one to four changes."""
    for _ in range(draw.integers(1, 5)):
        change = _text_changed if is_text and draw.random() < 0.8 else _bytes_changed
        content = change(content, draw)
    return content


def _bytes_changed(content: bytes, draw: np.random.Generator) -> bytes:
    if not content:
        return bytes(draw.integers(0, 256, 8, dtype=np.uint8))
    at, many = int(draw.integers(len(content))), bytearray(content)
    match draw.integers(4):
        case 0:
            many[at] ^= 1 << int(draw.integers(8))
        case 1:
            del many[at : at + int(draw.integers(1, 64))]
        case 2:
            many[at:at] = bytes(draw.integers(0, 256, int(draw.integers(1, 16)), dtype=np.uint8))
        case _:
            many = many[:at]
    return bytes(many)


def _text_changed(content: bytes, draw: np.random.Generator) -> bytes:
    lines = content.decode("utf-8", "replace").split("\n")
    at, other = (int(k) for k in draw.integers(len(lines), size=2))
    match draw.integers(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at] = "  " * int(draw.integers(4)) + lines[at].lstrip()
        case _:
            values = [*re.finditer(r"[\w.+-]+|\[[^\]]*\]|\{[^}]*\}", lines[at])]
            if values:
                found = values[int(draw.integers(len(values)))]
                value = _HOSTILE[int(draw.integers(len(_HOSTILE)))]
                lines[at] = lines[at][: found.start()] + value + lines[at][found.end() :]
    return "\n".join(lines).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the changed files.

    Attributes:
        outcomes: How many were accepted, refused, raised anything else, took long; by kind.
        slowest: Seconds of the slowest; by kind.
        failures: What else was raised.
        more_mib: Peak memory above that of reading the valid files.
    """

    outcomes: dict[str, Counter[str]]
    slowest: dict[str, float]
    failures: list[dict[str, str]]
    more_mib: float


def fuzz(inputs: int, seed: int, only: str = "") -> Counts:
    """Reads so many changed files, of all kinds or of one."""
    kinds: dict[str, tuple[str, list[bytes], Read]] = {
        "study files": (".yaml", studies(), load_any),
        "journals": (".jsonl", journals(), read_journal),
        "images": (".image", images(), read_image),
        "lists of images": (".txt", lists(), read_list),
        "parquet files": (".parquet", tables(), read_table),
        "addresses": (".uri", addresses(), read_address),
    }
    for suffix, contents in arrays().items():
        kinds[f"label files {suffix}"] = (suffix, contents, read_labels)
    kinds = {only: kinds[only]} if only else kinds
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = dict.fromkeys(kinds, 0.0)
    failures: list[dict[str, str]] = []
    draw, before = np.random.default_rng(seed), _peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        for suffix, contents, read in kinds.values():
            with suppress(*[InputError] if read is read_address else []):  # none is there
                read_well(Path(folder) / f"whole{suffix}", contents, read)
            before = max(before, _peak_mib())
        for number in range(inputs):
            name = [*kinds][number % len(kinds)]
            suffix, contents, read = kinds[name]
            content = changed(
                contents[int(draw.integers(len(contents)))],
                draw,
                is_text=suffix in (".yaml", ".csv", ".jsonl", ".txt", ".uri"),
            )
            path = Path(folder) / f"input{suffix}"
            path.write_bytes(content)
            start = time.perf_counter()
            counts[name][_outcome(read, path, name, failures)] += 1
            seconds = time.perf_counter() - start
            slowest[name] = max(slowest[name], round(seconds, 2))
            counts[name]["slow"] += seconds > 1
    return Counts(counts, slowest, failures, _peak_mib() - before)


def main() -> None:
    """Reads so many changed files, and keeps the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="Files to read.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the changes.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="File of the counts.")
    parser.add_argument("--only", default="", help="A kind of file, such as 'parquet files'.")
    options = parser.parse_args()
    from machine import describe

    found = fuzz(options.inputs, options.seed, options.only)
    table = shown(found)
    content = {"table": table, "failures": found.failures[:20], **describe()}
    options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print("\n".join(table), *found.failures[:5], sep="\n")


def read_well(path: Path, contents: list[bytes], read: Read) -> None:
    """Reads what is unchanged: it must be accepted, and what is imported late is imported."""
    for content in contents:
        path.write_bytes(content)
        read(path)


def _outcome(read: Read, path: Path, name: str, failures: list[dict[str, str]]) -> str:
    try:
        read(path)
    except InputError:
        return "refused"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place[0]).name}:{place[1]}"
        failures.append({"kind": name, "error": repr(error)[:200], "place": where})
        return "other errors"
    return "accepted"


def shown(counts: Counts) -> list[str]:
    """The counts as a table in Markdown, a line per kind of file."""
    names = ("accepted", "refused", "other errors", "slow")
    lines = [
        "| files | read | accepted | refused | other errors | over a second | slowest (s) |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, found in counts.outcomes.items():
        read = sum(found[name] for name in names[:3])
        cells = (f"{found[name]:,}" for name in names)
        lines.append(f"| {kind} | {read:,} | {' | '.join(cells)} | {counts.slowest[kind]:.2f} |")
    more = f"Peak memory: {counts.more_mib:.0f} MiB above that of reading the valid files."
    return [*lines, "", more]


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
