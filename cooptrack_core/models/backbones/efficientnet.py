# Copyright 2026 cooptrack_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The first stages of EfficientNet-B4, for SinBEVT on nuScenes.

Source: Tan and Le, 2019; what is used of it in reference section 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

# TensorFlow pads below and to the right, how much depends on the size of the image. The released
# models fix it for the size that B4 was made for.
_NOMINAL_SIZE = 380


@dataclass(frozen=True)
class _Stage:
    """Blocks of one resolution."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# Of B4: widths times 1.4, depths times 1.8. What follows is not used.
_STAGES = (
    _Stage(2, 3, 1, 1, 24),
    _Stage(4, 3, 2, 6, 32),
    _Stage(4, 5, 2, 6, 56),
    _Stage(6, 3, 2, 6, 112),
)


class SamePadConv(nn.Conv2d):
    """A convolution that keeps the size, or halves it, padded as TensorFlow does.

    Args:
        size: Edge length of the image the padding is made for.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, size: int, groups: int = 1
    ) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        self.pads = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        return super().forward(F.pad(x, self.pads))


class ChannelGate(nn.Module):
    """Squeeze and excitation: channels weighted by the whole image."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        mean = x.mean((2, 3), keepdim=True)
        gate: Tensor = self.expand(F.silu(self.reduce(mean))).sigmoid()
        return x * gate


class InvertedBottleneck(nn.Module):
    """Widened, filtered per channel, gated, narrowed; with a residual where shapes allow."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, expansion: int, size: int
    ) -> None:
        super().__init__()
        wide = channels * expansion
        self.residual = stride == 1 and channels == out
        self.widen = None
        if expansion != 1:
            self.widen = nn.Sequential(
                nn.Conv2d(channels, wide, 1, bias=False), _norm(wide), nn.SiLU()
            )
        self.filter = nn.Sequential(
            SamePadConv(wide, wide, kernel, stride, size, groups=wide), _norm(wide), nn.SiLU()
        )
        self.gate = ChannelGate(wide, max(1, channels // 4))
        self.narrow = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), _norm(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        wide = x if self.widen is None else self.widen(x)
        out: Tensor = self.narrow(self.gate(self.filter(wide)))
        return x + out if self.residual else out


class EfficientNetB4(nn.Module):
    """Stem and blocks of EfficientNet-B4 up to stride 16.

    Features are taken behind the first block of a stage, where the resolution has just changed.

    Args:
        levels: How many of the maps at strides 4, 8 and 16 are computed.
    """

    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        size, channels = _NOMINAL_SIZE, 48
        self.stem = nn.Sequential(SamePadConv(3, channels, 3, 2, size), _norm(channels), nn.SiLU())
        size = -(-size // 2)
        self.blocks = nn.ModuleList()
        taps: list[int] = []
        for stage in _STAGES[: levels + 1]:
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                if len(taps) == levels:
                    break  # behind the last features
                if stride == 2:
                    taps.append(len(self.blocks))
                self.blocks.append(
                    InvertedBottleneck(
                        channels, stage.channels, stage.kernel, stride, stage.expansion, size
                    )
                )
                size, channels = -(-size // stride), stage.channels
        self.taps = tuple(taps)
        self.out_channels = tuple(stage.channels for stage in _STAGES[1 : levels + 1])

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the features at strides 4, 8 and 16, finest first."""
        x, features = self.stem(images), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                features.append(x)
        return features


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
