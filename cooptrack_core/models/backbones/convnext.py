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

"""ConvNeXt (Liu et al., CVPR 2022); parameter names are torchvision's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every pixel."""
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Swap(nn.Module):
    """Channels to the end, or back; a place of its own keeps torchvision's numbering."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Permute."""
        return x.permute(self.order)


class Block(nn.Module):
    """Depthwise 7 x 7, norm, four times wider and back, scaled, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            Swap(0, 2, 3, 1),
            nn.LayerNorm(width, eps=1e-6),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            Swap(0, 3, 1, 2),
        )
        self.layer_scale = nn.Parameter(torch.full((width, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        out: Tensor = x + self.layer_scale * self.block(x)
        return out


class ConvNeXt(nn.Module):
    """Patches of four pixels, then four stages at strides 4, 8, 16, 32.

    Args:
        widths: Channels of the stages.
        blocks: Blocks of the stages.
    """

    def __init__(
        self, widths: tuple[int, int, int, int], blocks: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        previous = 3
        for width, count in zip(widths, blocks, strict=True):
            if previous == 3:
                change = [nn.Conv2d(3, width, 4, 4), ChannelNorm(width, eps=1e-6)]
            else:
                change = [ChannelNorm(previous, eps=1e-6), nn.Conv2d(previous, width, 2, 2)]
            parts += [nn.Sequential(*change), nn.Sequential(*(Block(width) for _ in range(count)))]
            previous = width
        self.features = nn.Sequential(*parts)
        self.out_channels = widths
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the four stages' features, finest first."""
        x, stages = images, []
        for number, part in enumerate(self.features):
            x = part(x)
            if number % 2:
                stages.append(x)
        return stages


def convnext_small() -> ConvNeXt:
    """ConvNeXt-S."""
    return ConvNeXt((96, 192, 384, 768), (3, 3, 27, 3))
