"""What MLflow takes: names, lengths and batch sizes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar

__all__ = [
    "MAX_METRICS",
    "MAX_NAME",
    "MAX_PAGE",
    "MAX_PAIRS",
    "MAX_PARAMETER",
    "MAX_TAG",
    "chunks",
    "clean_name",
    "cut",
    "tag_values",
]

MAX_NAME: Final = 250
MAX_PARAMETER: Final = 6_000
MAX_TAG: Final = 8_000
MAX_PAIRS: Final = 100
MAX_METRICS: Final = 1_000
MAX_PAGE: Final = 1_000

T = TypeVar("T")


def clean_name(name: str) -> str:
    """The name of a metric, parameter or tag in the characters that MLflow takes.

    MLflow also refuses names that change when read as a path, such as `a//b` or `../a`.
    """
    allowed = re.sub(r"[^/\w.\- :]", "_", name)
    parts = (part for part in allowed.split("/") if part not in {"", ".", ".."})
    return "/".join(parts)[:MAX_NAME] or "_"


def cut(text: str, limit: int) -> str:
    """The text, cut to the limit with an ellipsis at its end where it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def tag_values(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow takes them: clean names, values cut to the limit."""
    return {clean_name(name): cut(str(value), MAX_TAG) for name, value in tags.items()}


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in order, in lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
