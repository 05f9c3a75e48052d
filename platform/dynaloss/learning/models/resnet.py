"""The residual networks for CIFAR-sized images."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (16, 32, 64)
_PREACT_WIDTHS = (64, 128, 256, 512)


class CifarResNet(nn.Module):
    """ResNet with 6n + 2 layers (8, 20, 32, ...) for images (channels, height, width).

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section
    4.2: widths 16, 32, 64, option-A shortcuts (subsample, pad with zero channels).
    """

    def __init__(self, *, depth: int, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"`depth` must be 6n + 2 with n at least 1, but got {depth}.")
        blocks = (depth - 2) // 6
        self.stem = nn.Conv2d(input_shape[0], _WIDTHS[0], 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(_WIDTHS[0])
        self.stages = nn.Sequential(
            _stage(_WIDTHS[0], _WIDTHS[0], blocks, stride=1),
            _stage(_WIDTHS[0], _WIDTHS[1], blocks, stride=2),
            _stage(_WIDTHS[1], _WIDTHS[2], blocks, stride=2),
        )
        self.head = nn.Linear(_WIDTHS[2], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (N, C) of images (N, channels, height, width)."""
        features = self.stages(F.relu(self.stem_norm(self.stem(images))))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class _BasicBlock(nn.Module):
    def __init__(self, num_inputs: int, num_outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = num_outputs - num_inputs
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(num_outputs)
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if not self.padding:
            return x
        before = self.padding // 2
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, before, self.padding - before))


def _stage(num_inputs: int, num_outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = _BasicBlock(num_inputs, num_outputs, stride)
    rest = (_BasicBlock(num_outputs, num_outputs, 1) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class PreActResNet18(nn.Module):
    """Four stages of two pre-activation blocks; 1 x 1 convolutions where sizes change.

    Source: He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016, with the
    widths 64, 128, 256, 512 and a 3 x 3 stem, as robust-learning code uses it on CIFAR.
    Deviation: the last norm and ReLU before the pooling are left out, as in the
    code that the comparisons on CIFAR use (11.17 million parameters for ten classes).

    """

    def __init__(self, *, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(input_shape[0], _PREACT_WIDTHS[0], 3, padding=1, bias=False)
        inputs = (_PREACT_WIDTHS[0], *_PREACT_WIDTHS[:-1])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    _PreActBlock(before, width, 1 if number == 0 else 2),
                    _PreActBlock(width, width, 1),
                )
                for number, (before, width) in enumerate(zip(inputs, _PREACT_WIDTHS, strict=True))
            )
        )
        self.head = nn.Linear(_PREACT_WIDTHS[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (N, C) of images (N, channels, height, width)."""
        logits: Tensor = self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))
        return logits


class _PreActBlock(nn.Module):
    def __init__(self, num_inputs: int, num_outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_inputs)
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_outputs)
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, 3, padding=1, bias=False)
        resized = stride != 1 or num_inputs != num_outputs
        self.shortcut = (
            nn.Conv2d(num_inputs, num_outputs, 1, stride=stride, bias=False) if resized else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        kept = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(F.relu(self.norm2(self.conv1(y)))) + kept  # type: ignore[no-any-return] # a module's call has no type
