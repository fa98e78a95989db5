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

"""Deformable attention: sample a map at predicted places and weigh the samples.

Source: Deformable DETR (Zhu et al., 2021), equation 2, one level. All three attentions of the
model (temporal, spatial, decoder) are this primitive with different places and weights.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sample_and_weigh(
    value: Tensor, shape: tuple[int, int], locations: Tensor, weights: Tensor
) -> Tensor:
    """Bilinear samples of a map, zero outside, weighted and summed per head.

    Args:
        value: (B, rows * columns, heads, d) map, row-major.
        shape: (rows, columns).
        locations: (B, q, heads, P, 2) x, y in [0, 1]; 0 and 1 are the outer cell borders.
        weights: (B, q, heads, P).

    Returns:
        (B, q, heads * d).
    """
    batch, _, heads, dims = value.shape
    queries = locations.shape[1]
    maps = value.permute(0, 2, 3, 1).reshape(batch * heads, dims, *shape)
    # Points before queries: sums over the outer of two axes are the fast ones.
    grid = (2 * locations - 1).permute(0, 2, 3, 1, 4).flatten(0, 1)  # (B heads, P, q, 2)
    samples = F.grid_sample(maps, grid, mode='bilinear', align_corners=False)  # (B heads, d, P, q)
    w = weights.permute(0, 2, 3, 1).flatten(0, 1)[:, None]  # (B heads, 1, P, q)
    out = samples[:, :, 0] * w[:, :, 0]  # (B heads, d, q)
    for point in range(1, w.shape[2]):
        out = torch.addcmul(out, samples[:, :, point], w[:, :, point])
    return out.view(batch, heads * dims, queries).transpose(1, 2)


def ring_offsets(heads: int, points: int, copies: int = 1) -> Tensor:
    """Return the start of the sampling offsets, flat (heads * copies * points * 2).

    Head k looks along the angle 2 pi k / heads, its point p goes p + 1 cells far (max norm).
    """
    angle = torch.arange(heads) * (2 * math.pi / heads)
    direction = torch.stack([angle.cos(), angle.sin()], -1)
    direction = direction / direction.abs().max(-1, keepdim=True).values
    offsets = direction[:, None, None] * (torch.arange(points) + 1.0)[:, None]
    return offsets.expand(heads, copies, points, 2).flatten()


class DeformableAttention(nn.Module):
    """Cross attention of queries to one BEV map (decoder layers).

    Args:
        dims: Embedding size D.
        heads: Number of heads.
        points: Samples P per head.
        dropout: On the output.
    """

    def __init__(self, dims: int, heads: int, points: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.sampling_offsets = nn.Linear(dims, heads * points * 2)
        self.attention_weights = nn.Linear(dims, heads * points)
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.data.copy_(ring_offsets(heads, points))
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, query: Tensor, refs: Tensor, value: Tensor, shape: tuple[int, int]
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, q, D), position included.
            refs: (B, q, 2) x, y in [0, 1] of the map.
            value: (B, rows * columns, D).
            shape: (rows, columns).
        """
        b, q, _ = query.shape
        offsets = self.sampling_offsets(query).view(b, q, self.heads, self.points, 2)
        weights = self.attention_weights(query).view(b, q, self.heads, self.points).softmax(-1)
        locations = refs[:, :, None, None] + offsets / offsets.new_tensor((shape[1], shape[0]))
        v = torch.unflatten(self.value_proj(value), -1, (self.heads, -1))
        out = self.output_proj(sample_and_weigh(v, shape, locations, weights))
        return cast(Tensor, self.dropout(out))
