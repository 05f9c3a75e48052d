"""The pre-activation ResNet-18 for small images.

Source: He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016, with the
widths 64, 128, 256, 512 and a 3 x 3 stem, as robust-learning code uses it on CIFAR.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (64, 128, 256, 512)


class PreActResNet18(nn.Module):
    """Four stages of two pre-activation blocks; 1 x 1 convolutions where sizes change.

    Deviation from the paper: the last norm and ReLU before the pooling are left out, as in the
    code that the comparisons on CIFAR use (11.17 million parameters for ten classes).

    An image has the shape (channels, height, width) `input_shape`.
    """

    def __init__(self, *, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(input_shape[0], _WIDTHS[0], 3, padding=1, bias=False)
        inputs = (_WIDTHS[0], *_WIDTHS[:-1])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    _PreActBlock(before, width, 1 if number == 0 else 2),
                    _PreActBlock(width, width, 1),
                )
                for number, (before, width) in enumerate(zip(inputs, _WIDTHS, strict=True))
            )
        )
        self.head = nn.Linear(_WIDTHS[-1], num_classes)

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
