"""Finds the study files that come with dynaloss, with or without a checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dynaloss.errors import InputError
from dynaloss.studies.reading.problems import did_you_mean

_PACKAGE = Path(__file__).resolve().parents[2]
_FOLDERS = ("ablations", "search_spaces")
_SUFFIXES = (".yaml", ".yml")


def bundled_studies(first: str = "ablations") -> dict[str, Path]:
    """Every bundled study file by name, the path below its folder without the suffix.

    Args:
        first: Folder that has the plain name where an ablation and a search share it; the
            other one's then begins with its folder, such as `search_spaces/quickstart`.
    """
    found: dict[str, Path] = {}
    for folder in sorted(_folders(), key=lambda folder: folder.name != first):
        for path in sorted(folder.rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                name = path.relative_to(folder).with_suffix("").as_posix()
                found.setdefault(f"{folder.name}/{name}" if name in found else name, path)
    return dict(sorted(found.items()))


def find_study(source: str | Path, first: str = "ablations") -> Path:
    """Path of a study: the file `source`, or else the bundled study of that name.

    Args:
        source: A path or a name.
        first: Folder whose study is meant where two share the name.

    Raises:
        InputError: If there is neither.
    """
    path = Path(source)
    studies: dict[str, Path] = {}
    for folder in sorted(_FOLDERS, key=lambda folder: folder == first):
        studies |= bundled_studies(folder)
    if _exists(path) and not path.is_dir():
        return path
    if str(source) in studies:
        return studies[str(source)]
    rule = "is a folder, not a study file" if _exists(path) else "there is no such file"
    hint = did_you_mean(source, studies) or f"bundled studies: {', '.join(studies) or 'none'}"
    raise InputError(f"{source}: {rule}, and no bundled study has this name; {hint}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def _folders() -> Iterator[Path]:
    """Folders of studies inside the wheel, then those of a checkout."""
    checkout = _PACKAGE.parents[1]
    roots = [_PACKAGE / "bundled"]
    # Above an installed package lies somebody else's folder: read only what is ours.
    if _PACKAGE.parent.name == "platform" and (checkout / "pyproject.toml").is_file():
        roots.append(checkout)
    yield from (root / name for root in roots for name in _FOLDERS if (root / name).is_dir())
