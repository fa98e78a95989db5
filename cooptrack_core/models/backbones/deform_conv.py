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

"""Modulated deformable convolution (Zhu et al., CVPR 2019, equation 2) in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableConv(nn.Module):
    """3 x 3 convolution whose taps sit where a second convolution puts them, with gains.

    ``conv_offset`` gives, per output pixel, (dy, dx) in pixels for each of the nine taps in row
    order, then nine gains before the sigmoid. It starts at zero, where this is half a plain
    convolution.

    Args:
        channels: Input channels.
        out: Output channels.
        stride: Of the output.
    """

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out, channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, mode='fan_out', nonlinearity='relu')
        self.conv_offset = nn.Conv2d(channels, 27, 3, stride, 1)
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride); beyond the border lie zeros."""
        batch, channels, height, width = x.shape
        guide = self.conv_offset(x).float()
        rows, columns = guide.shape[-2:]
        dy, dx = guide[:, :18].unflatten(1, (9, 2)).unbind(2)  # (B, 9, rows, columns)
        tap = torch.arange(9, device=x.device)
        top = torch.arange(rows, device=x.device) * self.stride - 1
        left = torch.arange(columns, device=x.device) * self.stride - 1
        v = dy + (tap // 3)[:, None, None] + top[:, None]
        u = dx + (tap % 3)[:, None, None] + left
        # Pixel i covers [i, i + 1) of the sampling range.
        places = torch.stack([(2 * u + 1) / width - 1, (2 * v + 1) / height - 1], -1)
        samples = F.grid_sample(x.float(), places.flatten(1, 2), align_corners=False)
        samples = samples.view(batch, channels, 9, rows, columns)
        samples = samples * guide[:, 18:].sigmoid()[:, None]
        taps = samples.flatten(1, 2).flatten(2)  # (B, C 9, rows columns)
        out = self.weight.flatten(1) @ taps.to(self.weight.dtype)  # (B, C', rows columns)
        return torch.unflatten(out, 2, (rows, columns))
