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

"""FAX cross-attention (FAX-CA): BEV queries look at the images of a camera ring.

Source: CoBEVT, section 3.3; reference section 2.4.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.models.attention.dot_product import attend
from cooptrack_core.models.attention.windows import Cut, merge, partition

Size = tuple[int, int]
Projection = tuple[nn.LayerNorm, nn.Linear]


class RingAttention(nn.Module):
    """Weights of one attention of BEV tokens on all cameras' tokens of their group.

    Args:
        dims: Channels C.
        heads: Number of heads.
    """

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Sequential(nn.LayerNorm(dims), nn.Linear(dims, dims))
        self.key = nn.Sequential(nn.LayerNorm(dims), nn.Linear(dims, dims))
        self.value = nn.Sequential(nn.LayerNorm(dims), nn.Linear(dims, dims))
        self.output = nn.Linear(dims, dims)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, share: Tensor | None
    ) -> Tensor:
        """Attend inside G groups.

        Args:
            query: (G, Q T, C) projected, Q copies of each token: one per camera, or one.
            key: (G, K, C) projected.
            value: (G, K, C) projected.
            mask: (G, K) bool, keys that count; None for all.
            share: (G, Q) weight of each copy in their mean; None for equal ones.

        Returns:
            (G, Q T, C), or (G, T, C) with ``share``.
        """
        keep = None if mask is None else mask[:, None, None]
        out = attend(query, key, value, self.heads, keep)
        # Projected after the mean over the copies: the same, on fewer tokens.
        if share is not None:
            out = (torch.unflatten(out, 1, (share.shape[1], -1)) * share[:, :, None, None]).sum(1)
        result: Tensor = self.output(out)
        return result


class FaxCrossAttention(nn.Module):
    """Windows look at windows, then at cells of the whole images; an MLP after each.

    Args:
        dims: Channels C.
        heads: Number of heads.
        query_window: Rows and columns of a group of BEV tokens.
        image_window: The same of image tokens.
        everywhere: Whether there is the second look, at cells of the whole images; without it
            for ablation.
    """

    def __init__(
        self,
        dims: int,
        heads: int,
        query_window: Size,
        image_window: Size,
        everywhere: bool = True,
    ) -> None:
        super().__init__()
        self.query_window, self.image_window = query_window, image_window
        self.local_attention = RingAttention(dims, heads)
        self.local_norm = nn.LayerNorm(dims)
        self.local_mlp = _mlp(dims)
        self.global_attention = RingAttention(dims, heads) if everywhere else None
        self.global_norm = nn.LayerNorm(dims) if everywhere else None
        self.global_mlp = _mlp(dims) if everywhere else None
        self.norm = nn.LayerNorm(dims)

    def local_query(self, query: Tensor) -> Tensor:
        """Project and cut the queries (A, Q, H, W, C) of the first attention."""
        return partition(self.local_attention.query(query), self.query_window, 'window')

    def forward(
        self,
        bev: Tensor,
        query: Tensor | None,
        keys: Tensor,
        values: Tensor,
        keep: Tensor | None = None,
        cameras_valid: Tensor | None = None,
    ) -> Tensor:
        """Attend twice.

        The copies of a query that differ in nothing are computed once; their mean is the same.

        Args:
            bev: (A, H, W, C).
            query: Of ``local_query`` with one copy per camera; None takes the map itself.
            keys: (A, N, h, w, C), whole windows.
            values: (A, N, h, w, C).
            keep: (A, N, h, w) bool, tokens that count; None for all.
            cameras_valid: (A, N) bool; None for all. The map of an agent without any camera
                passes through the MLPs alone.

        Returns:
            (A, H, W, C).
        """
        agents, cameras = keys.shape[:2]
        one = share = None
        if cameras_valid is not None:
            one = cameras_valid.any(1, keepdim=True).to(bev)  # (A, 1)
            share = cameras_valid.to(bev) / cameras_valid.sum(1, keepdim=True).clamp(min=1)
        elif query is not None and cameras > 1:
            share = bev.new_full((agents, cameras), 1 / cameras)
        if keep is not None:
            # Without a camera everything is kept, and the result weighted by zero.
            keep = keep | ~keep.flatten(1).any(1)[:, None, None, None]
        parts = [p for p in (self.local_attention, self.global_attention) if p is not None]
        k = _project(keys, [cast(Projection, tuple(part.key)) for part in parts])
        v = _project(values, [cast(Projection, tuple(part.value)) for part in parts])

        share = share if query is not None else one
        query = self.local_query(bev[:, None]) if query is None else query
        bev = bev + self._attend(
            self.local_attention, bev, query, k[0], v[0], 'window', keep, share
        )
        bev = bev + self.local_mlp(self.local_norm(bev))

        second, norm, mlp = self.global_attention, self.global_norm, self.global_mlp
        if second is not None and norm is not None and mlp is not None:
            query = partition(second.query(bev[:, None]), self.query_window, 'window')
            bev = bev + self._attend(second, bev, query, k[1], v[1], 'grid', keep, one)
            bev = bev + mlp(norm(bev))
        result: Tensor = self.norm(bev)
        return result

    def _attend(
        self,
        attention: RingAttention,
        bev: Tensor,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        cut: Cut,
        keep: Tensor | None,
        share: Tensor | None,
    ) -> Tensor:
        """Groups of the images meet the windows of the queries; (A, H, W, C)."""
        k, v = partition(keys, self.image_window, cut), partition(values, self.image_window, cut)
        mask = None
        if keep is not None:
            mask = partition(keep[..., None], self.image_window, cut)[..., 0]
        if share is not None:
            share = share.repeat_interleave(query.shape[0] // share.shape[0], 0)
        # Queries that rest on geometry keep their precision under autocast.
        out = attention(query.to(k), k, v, mask, share)
        return merge(out, (1, bev.shape[1], bev.shape[2]), self.query_window, 'window')[:, 0]


def _project(x: Tensor, projections: list[Projection]) -> tuple[Tensor, ...]:
    """Several Linear(LayerNorm(x)): normalised once, one product with all weights side by side."""
    weights, biases = [], []
    for norm, linear in projections:
        weights.append(linear.weight * norm.weight)
        biases.append(linear.bias + linear.weight @ norm.bias)
    plain = F.layer_norm(x, x.shape[-1:])
    return F.linear(plain, torch.cat(weights), torch.cat(biases)).chunk(len(projections), -1)


def _mlp(dims: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dims, 2 * dims), nn.GELU(), nn.Linear(2 * dims, dims))


def fit(maps: Tensor, window: Size) -> Tensor:
    """Maps (A, N, h, w, C) with zeros below and to the right, so that windows fit."""
    rows, columns = -maps.shape[2] % window[0], -maps.shape[3] % window[1]
    return F.pad(maps, (0, 0, 0, columns, 0, rows)) if rows or columns else maps
