"""A split whose images are read from files, batch by batch, by worker processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as TF

from dynaloss.data.arrays import Bytes
from dynaloss.data.sources.image_files import EVALUATION_MARGIN, ImageFiles, as_planes, centre_crop
from dynaloss.data.splits.batched import BatchedSplit, Pixels
from dynaloss.data.splits.roles import LabelledImages
from dynaloss.data.views.weak_and_strong import Views

_Item = tuple[int, int | None, bool]
_Plan = list[list[_Item]]
_Cuts = tuple[Bytes | None, Bytes | None]

# Of the random crop: share of the area, and ratio of the sides.
_AREA, _RATIO, _TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10


class StreamedSplit(BatchedSplit):
    """The samples of one role, read as they are needed; see `dynaloss.learning.batches.Split`.

    Workers decode and cut; mirroring, policies, cutout and normalising are those of `Views`, in
    batches on the device. Every sample has a seed of its own from the generator, so the number of
    workers, by default torch's number of threads, changes nothing. The padded crop of the views
    gives way to a resized one.
    """

    def __init__(
        self,
        samples: LabelledImages,
        views: Views,
        device: torch.device,
        num_workers: int | None = None,
    ) -> None:
        if not isinstance(samples.images, ImageFiles):
            raise TypeError("`samples.images` must be files.")
        config = views.config.model_copy(update={"crop_padding": 0})
        super().__init__(samples, replace(views, config=config), device)
        self._reader = _Reader(samples.images)
        self._num_workers = torch.get_num_threads() if num_workers is None else num_workers
        self._idle: list[tuple[_Plan, DataLoader[Any]]] = []

    def _pixels(
        self, indices: Sequence[Tensor], weak: bool, generator: torch.Generator | None
    ) -> Iterator[Pixels]:
        # The workers of a loader live on: each pass gives it another plan.
        plan, loader = self._idle.pop() if self._idle else self._new_loader()
        plan[:] = _items(indices, weak, generator)
        try:
            yield from loader
        finally:
            self._idle.append((plan, loader))

    def _new_loader(self) -> tuple[_Plan, DataLoader[Any]]:
        plan: _Plan = []
        loader = DataLoader(
            self._reader,
            batch_sampler=plan,
            num_workers=self._num_workers,
            collate_fn=_stacked,
            persistent_workers=self._num_workers > 0,
            # Of its own, or it would draw from the default generator.
            generator=torch.Generator(),
        )
        return plan, loader


def _items(indices: Sequence[Tensor], weak: bool, generator: torch.Generator | None) -> _Plan:
    """(position, seed of the strong view or None, whether the weak view is requested)."""
    positions = [chosen.tolist() for chosen in indices]
    seeds: Iterator[int | None] = repeat(None)
    if generator is not None:
        shape, device = (sum(map(len, positions)),), generator.device
        seeds = iter(torch.randint(2**62, shape, generator=generator, device=device).tolist())
    return [[(position, next(seeds), weak) for position in batch] for batch in positions]


class _Reader(Dataset[_Cuts]):
    """Decodes and cuts in a worker: the middle for the weak view, at random for the strong."""

    def __init__(self, files: ImageFiles) -> None:
        self._files = files

    def __getitem__(self, item: _Item) -> _Cuts:
        position, seed, weak = item
        image, size = self._files.open(position), self._files.size
        middle = as_planes(centre_crop(image, size, EVALUATION_MARGIN)) if weak else None
        if seed is None:
            return middle, None
        top, left, height, width = random_box(image, np.random.default_rng(seed))
        cut = TF.resized_crop(image, top, left, height, width, size=[size, size])
        return middle, as_planes(cut)


def random_box(image: Image.Image, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of an image.

    Its area is 8 % to 100 % of the image and its sides are as 3 : 4 to 4 : 3 (Szegedy et al.,
    "Going deeper with convolutions", CVPR 2015); the whole image where ten draws do not fit.
    """
    for _ in range(_TRIES):
        area = image.width * image.height * rng.uniform(*_AREA)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= image.width and 0 < height <= image.height:
            top = int(rng.integers(image.height - height + 1))
            return top, int(rng.integers(image.width - width + 1)), height, width
    return 0, 0, image.height, image.width


def _stacked(pairs: list[_Cuts]) -> Pixels:
    weak, strong = (
        None if planes[0] is None else torch.from_numpy(np.stack(planes))
        for planes in zip(*pairs, strict=True)
    )
    return weak, strong
