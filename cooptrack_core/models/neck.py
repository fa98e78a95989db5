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

"""Necks: from backbone stages to one image feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class SingleLevelNeck(nn.Module):
    """The one-level FPN of the released R50 model: 1 x 1 then 3 x 3 on the last stage."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(channels, dims, 1)
        self.output = nn.Conv2d(dims, dims, 3, padding=1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Stages (B, C, h, w), finest first, to (B, D, h, w) at stride 32."""
        return cast(Tensor, self.output(self.lateral(stages[-1])))


class PyramidNeck(nn.Module):
    """Feature pyramid (Lin et al., 2017): strides 8, 16 and 32 top-down, and 64 on top of them."""

    def __init__(self, channels: Sequence[int], dims: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, dims, 1) for c in channels[1:])
        self.outputs = nn.ModuleList(nn.Conv2d(dims, dims, 3, padding=1) for _ in channels[1:])
        self.coarsest = nn.Conv2d(dims, dims, 3, 2, 1)

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Stages (B, C, h, w), finest first, to four maps (B, D, h, w), finest first."""
        maps = [lateral(s) for lateral, s in zip(self.laterals, stages[1:], strict=True)]
        for i in range(len(maps) - 1, 0, -1):
            size = maps[i - 1].shape[-2:]
            maps[i - 1] = maps[i - 1] + F.interpolate(maps[i], size=size, mode='nearest')
        out = [output(x) for output, x in zip(self.outputs, maps, strict=True)]
        return [*out, self.coarsest(out[-1].relu())]


class TopDownNeck(nn.Module):
    """Stages at strides 8, 16 and 32 merged top-down into one map at stride 8."""

    def __init__(self, channels: Sequence[int], dims: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, dims, 1) for c in channels[1:])
        self.output = nn.Conv2d(dims, dims, 3, padding=1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Stages (B, C, h, w), finest first, to (B, D, H / 8, W / 8)."""
        maps = [lateral(s) for lateral, s in zip(self.laterals, stages[1:], strict=True)]
        x = maps[-1]
        for finer in reversed(maps[:-1]):
            x = finer + F.interpolate(x, size=finer.shape[-2:], mode='nearest')
        return cast(Tensor, self.output(x))
