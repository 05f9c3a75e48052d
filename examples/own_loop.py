"""The Dynamic Loss in a training loop of one's own, beside plain cross-entropy.

python examples/own_loop.py [SEED] [EPOCHS]

Real 8 x 8 digits, 40 % of the labels redrawn by class frequency, the largest class ten times the
smallest: the quickstart's condition and settings. Data, network, augmentation and loop are plain
torch; the lines with a plus sign at their end are what the loss, its meta step and its metadata
add to the loop.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, SubsetRandomSampler, TensorDataset

from dynaloss.learning import DynamicLoss, MetadataSampler, MetaStep, endless, sample_losses  # +

NUM_CLASSES, BATCH_SIZE, WARMUP_EPOCHS, RAMP_EPOCHS = 10, 64, 2, 5


def make_data(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """A biased training set and a clean test set; a sample is an image, a label and an index."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    images, true = digits.images[:, None] / 16, digits.target
    pool, test = train_test_split(
        np.arange(len(true)), test_size=450, stratify=true, random_state=seed
    )
    of_class = [pool[true[pool] == c] for c in range(NUM_CLASSES)]
    sizes = [int(134 * 10 ** (-c / (NUM_CLASSES - 1))) for c in range(NUM_CLASSES)]
    train = np.concatenate([rows[:size] for rows, size in zip(of_class, sizes, strict=True)])
    is_redrawn = rng.random(len(train)) < 0.4
    observed = np.where(is_redrawn, rng.choice(true[train], len(train)), true[train])
    return as_dataset(images[train], observed), as_dataset(images[test], true[test])


def as_dataset(images: np.ndarray, labels: np.ndarray) -> TensorDataset:
    """Images (N, 1, 8, 8) in [0, 1] with their labels and indices."""
    return TensorDataset(
        torch.tensor(images, dtype=torch.float32), torch.tensor(labels), torch.arange(len(labels))
    )


class Network(nn.Module):
    """Three convolutions with batch norm, then the mean over the image."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, width, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 1)):
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(32, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (N, C) of images (N, 1, 8, 8)."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


def augment(images: Tensor) -> Tensor:
    """Shifts each image by up to one pixel in both directions."""
    rows, columns = torch.randint(3, (2, len(images), 1)) + torch.arange(8)
    places = torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]
    return F.pad(images, (1, 1, 1, 1))[:, 0][places].unsqueeze(1)


def shuffled(data: TensorDataset, indices: Tensor) -> DataLoader[tuple[Tensor, ...]]:
    """Some samples in random order, in batches of nearly equal size, each read at once."""
    num_batches = math.ceil(len(indices) / BATCH_SIZE)
    size = math.ceil(len(indices) / num_batches)
    sampler = BatchSampler(SubsetRandomSampler(indices.tolist()), size, drop_last=False)
    return DataLoader(data, sampler=sampler, batch_size=None)


def train(
    data: TensorDataset, *, seed: int, epochs: int, is_plain: bool = False
) -> Iterator[nn.Module]:
    """Trains a network with the Dynamic Loss, or with cross-entropy alone; yields every epoch."""
    torch.manual_seed(seed)  # noqa: TID251 - a script owns its process
    everything, observed = torch.arange(len(data)), data.tensors[1]
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: factor(epoch, epochs))
    loss = DynamicLoss(num_classes=10, corrector={"ranks": 10, "per_class": False}, seed=seed)  # +
    meta = MetaStep(model, optimizer, loss, seed=seed)  # +
    sampler = MetadataSampler(observed, random_ratio=0.5, low_loss_ratio=0.5, seed=seed)  # +

    def descend(value: Tensor) -> None:
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    for epoch in range(epochs):
        model.train()
        if is_plain or epoch < WARMUP_EPOCHS:
            for images, labels, _ in shuffled(data, everything):
                descend(F.cross_entropy(model(augment(images)), labels))
        else:
            losses = sample_losses(model, shuffled(data, everything))  # +
            ranks = loss.ranks(losses, observed)  # +
            drawn, rest = sampler.draw(epoch, losses)  # +
            metadata = endless(shuffled(data, drawn))  # +
            for images, labels, indices in shuffled(data, rest):
                outer, targets, _ = next(metadata)  # +
                step = meta.step(images, labels, ranks[indices], augment(outer), targets)  # +
                descend(step(model(augment(images))))
            for images, labels, _ in shuffled(data, drawn):  # +
                logits = model(augment(images)) + loss.finetune_margins()  # +
                descend(F.cross_entropy(logits, labels))  # +
        schedule.step()
        yield model


def factor(epoch: int, epochs: int) -> float:
    """Of the learning rate: a linear ramp from a tenth, then a cosine down to zero."""
    progress = max(0, epoch - RAMP_EPOCHS) / max(1, epochs - RAMP_EPOCHS)
    return min(0.1 + 0.9 * epoch / RAMP_EPOCHS, (1 + math.cos(math.pi * progress)) / 2)


@torch.no_grad()
def accuracy(model: nn.Module, test: TensorDataset) -> float:
    """Share of the test images that are classified correctly."""
    images, labels, _ = test.tensors
    return float((model.eval()(images).argmax(dim=1) == labels).float().mean())


def main(seed: int = 0, epochs: int = 40) -> None:
    """Trains both ways on the same images, and prints their accuracies."""
    data, test = make_data(seed)
    for name, is_plain in (("cross-entropy", True), ("Dynamic Loss", False)):
        *_, model = train(data, seed=seed, epochs=epochs, is_plain=is_plain)
        print(f"{name}: {100 * accuracy(model, test):.1f} % of {len(test)} clean test images")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
