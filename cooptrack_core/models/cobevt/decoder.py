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

"""From fused features to the semantic map: trunk and heads.

Source: reference section 6 (CoBEVT) and section 10 (cross-view transformers, nuScenes).
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.models.cobevt.config import CHANNELS, MapDecoderConfig, Target


class NearestBlock(nn.Module):
    """Convolution, twice the resolution (nearest), convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.before = _convolution(channels, out)
        self.after = _convolution(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', 2 H, 2 W)."""
        out: Tensor = self.after(F.interpolate(self.before(x), scale_factor=2.0, mode='nearest'))
        return out


class CvtBlock(nn.Module):
    """Twice the resolution (bilinear), two convolutions, and the decoder's input added."""

    def __init__(self, channels: int, out: int, skip: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, out // 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(out // 2),
            nn.ReLU(),
            nn.Conv2d(out // 2, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.skip = nn.Conv2d(skip, out, 1)

    def forward(self, x: Tensor, first: Tensor) -> Tensor:
        """(B, C, H, W) and the decoder's input to (B, C', 2 H, 2 W)."""
        x = F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=True)
        x = self.convolutions(x)
        # Pointwise, so it is projected before it is enlarged.
        return (x + F.interpolate(self.skip(first), x.shape[-2:])).relu()


class MapDecoder(nn.Module):
    """Doubles the resolution block by block.

    Args:
        channels: Of the features.
        config: Kind and channels of the blocks.
    """

    def __init__(self, channels: int, config: MapDecoderConfig) -> None:
        super().__init__()
        widths = (channels, *config.channels)
        self.kind = config.kind
        self.blocks = nn.ModuleList(
            NearestBlock(a, b) if config.kind == 'nearest' else CvtBlock(a, b, channels)
            for a, b in itertools.pairwise(widths)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', rows, columns)."""
        x = features
        for block in self.blocks:
            x = block(x) if self.kind == 'nearest' else block(x, features)
        return x


def make_head(channels: int, target: Target) -> nn.Module:
    """Logits of a target from the decoder's trunk."""
    if target == 'vehicle_center':
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, CHANNELS[target], 1),
        )
    return nn.Conv2d(channels, CHANNELS[target], 3, padding=1)


def _convolution(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())
