"""Objects of other packages: found by entry point or by address, and told apart by their source.

An address is `package.module:object`.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from dynaloss.config.settings import refusal
from dynaloss.errors import InputError

_DOTTED = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_ADDRESS = re.compile(rf"{_DOTTED}:{_DOTTED}")
_FOLDERS: dict[str, None] = {}
_IMPORTED: dict[str, str | None] = {}
"""File of each top-level module that an address has named."""


def is_address(name: str) -> bool:
    """Whether a name is meant as an address."""
    return ":" in name


def look_also_in(folders: Iterable[str | Path]) -> None:
    """Looks for modules that addresses name in folders too, after Python's own path.

    Raises:
        InputError: If two folders have modules of one name, and one of them is imported already.
    """
    for folder in map(str, (Path(folder).absolute() for folder in folders)):
        for module, file in _IMPORTED.items():
            here = _file_in(folder, module)
            if here not in (None, file) and any(_file_in(f, module) == file for f in _FOLDERS):
                raise InputError(
                    f"'{here}' cannot be imported, as '{module}' is '{file}' in this process: "
                    "rename one of them, or start another process"
                )
        _FOLDERS[folder] = None


def _file_in(folder: str, module: str) -> str | None:
    """File of a top-level module in a folder, or None."""
    spec = PathFinder.find_spec(module, [folder])
    return spec.origin if spec else None


def folders_looked_in() -> tuple[str, ...]:
    """The folders of `look_also_in` so far, which the processes of trials need as well."""
    return tuple(_FOLDERS)


def extend_path() -> None:
    """Adds these folders to the end of Python's path, for good: modules may import later on."""
    sys.path.extend(folder for folder in _FOLDERS if folder not in sys.path)


@cache
def installed(group: str) -> dict[str, str]:
    """Address of each entry point of a group, by name in order; nothing of them is imported."""
    return {e.name: f"{e.module}:{e.attr}" for e in sorted(entry_points(group=group))}


def imported(address: str) -> object:
    """The object at an address.

    Raises:
        PydanticCustomError: If it cannot be imported; the text gives the reason.
    """
    if not _ADDRESS.fullmatch(address):
        raise refusal(f"must be a name or `package.module:object`, but got '{address}'")
    module, _, name = address.partition(":")
    if module == "__main__":
        raise refusal(f"'{address}' must be in a module that other processes can import")
    extend_path()
    importlib.invalidate_caches()  # the module may be younger than Python's list of its folder
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module of somebody else raises
        raise refusal(f"'{address}' cannot be imported: {_reason(error, module)}") from error
    top = module.partition(".")[0]
    _IMPORTED[top] = getattr(sys.modules[top], "__file__", None)
    value: object = found
    for part in name.split("."):
        if not hasattr(value, part):
            where = getattr(found, "__file__", None) or "a folder without modules"
            raise refusal(f"'{address}' does not exist: '{module}' is {where}")
        value = getattr(value, part)
    return value


def _reason(error: BaseException, module: str) -> str:
    """The first line of an error, and what to do about a module that is not there."""
    line = next(iter(str(error).splitlines()), "")
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    if isinstance(error, ModuleNotFoundError) and module.partition(".")[0] == error.name:
        text += "; install it, or put it beside the study file or into the working directory"
    return text


@cache
def source_digest(module: str) -> str | None:
    """Digest of the source that an imported module belongs to, 12 hexadecimal digits.

    That source is all Python files of the outermost package around the module that has an
    `__init__.py`, or the module alone where no such package is around it. None without files.
    """
    content = hashlib.sha256()
    files = _source_files(module)
    for name, path in files.items():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        content.update(f"{name} {digest}\n".encode())
    return content.hexdigest()[:12] if files else None


def _source_files(module: str) -> dict[str, Path]:
    """Files of that source by their path within it, in order."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        spec = find_spec(".".join(parts[:end]))
        if spec and spec.origin and spec.submodule_search_locations:
            root = Path(spec.origin).parent
            return {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*.py"))}
    file = Path(getattr(sys.modules[module], "__file__", None) or "")
    return {file.name: file} if file.is_file() else {}
