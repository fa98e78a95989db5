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

import torch
from torch import Tensor, nn

from cooptrack_core.models.attention.dot_product import attend
from cooptrack_core.models.attention.windows import Cut, merge, partition

Size = tuple[int, int]


class RingAttention(nn.Module):
    """Attention of BEV tokens on all cameras' tokens of their group.

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
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        windows: tuple[Size, Size],
        cut: Cut,
        keep: Tensor | None,
        share: Tensor | None,
    ) -> Tensor:
        """Attend.

        Args:
            query: (A, Q, H, W, C) projected queries, one copy per camera or a single one.
            keys: (A, N, h, w, C) maps of the images.
            values: (A, N, h, w, C).
            windows: Group size of queries and of images; the numbers of groups agree.
            cut: How the images are cut; the queries are always cut into windows.
            keep: (A, N, h, w) bool, tokens of the images that count; None for all.
            share: (A, Q) weight of each query copy in their mean.

        Returns:
            (A, H, W, C).
        """
        agents, copies, rows, columns, _ = query.shape
        q = partition(query, windows[0], 'window')
        k = partition(self.key(keys), windows[1], cut)
        v = partition(self.value(values), windows[1], cut)
        mask = None
        if keep is not None:
            mask = partition(keep[..., None], windows[1], cut).transpose(1, 2)[:, None]
        out = attend(q, k, v, self.heads, mask)
        out = out.unflatten(1, (copies, -1))  # (A X Y, Q, tokens, C)
        if share is not None:
            groups = share.repeat_interleave(out.shape[0] // agents, 0)
            out = (out * groups[:, :, None, None]).sum(1)
        else:
            out = out.mean(1) if copies > 1 else out[:, 0]
        # Projected after the mean: the same, on fewer tokens.
        result: Tensor = self.output(merge(out, (1, rows, columns), windows[0], 'window')[:, 0])
        return result


class FaxCrossAttention(nn.Module):
    """Windows look at windows, then at cells of the whole images; an MLP after each.

    Args:
        dims: Channels C.
        heads: Number of heads.
        query_window: Rows and columns of a group of BEV tokens.
        image_window: The same of image tokens.
    """

    def __init__(self, dims: int, heads: int, query_window: Size, image_window: Size) -> None:
        super().__init__()
        self.windows = (query_window, image_window)
        self.local_attention = RingAttention(dims, heads)
        self.local_norm = nn.LayerNorm(dims)
        self.local_mlp = _mlp(dims)
        self.global_attention = RingAttention(dims, heads)
        self.global_norm = nn.LayerNorm(dims)
        self.global_mlp = _mlp(dims)
        self.norm = nn.LayerNorm(dims)

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
            query: (A, N, H, W, C) projected queries of the first attention, one per camera; None
                takes the map itself.
            keys: (A, N, h, w, C).
            values: (A, N, h, w, C).
            keep: (A, N, h, w) bool, tokens that count; None for all.
            cameras_valid: (A, N) bool; None for all. The map of an agent without any camera
                passes through the MLPs alone.

        Returns:
            (A, H, W, C).
        """
        windows, share, one = self.windows, None, None
        if cameras_valid is not None:
            one = cameras_valid.any(1, keepdim=True).to(bev)  # (A, 1)
            if query is not None:
                share = cameras_valid.to(bev) / cameras_valid.sum(1, keepdim=True).clamp(min=1)
            else:
                share = one
        if keep is not None:
            # Without a camera everything is kept, and the result weighted by zero.
            keep = keep | ~keep.flatten(1).any(1)[:, None, None, None]
        if query is None:
            query = self.local_attention.query(bev[:, None])
        seen = self.local_attention(query, keys, values, windows, 'window', keep, share)
        bev = bev + seen
        bev = bev + self.local_mlp(self.local_norm(bev))
        query = self.global_attention.query(bev[:, None])
        bev = bev + self.global_attention(query, keys, values, windows, 'grid', keep, one)
        bev = bev + self.global_mlp(self.global_norm(bev))
        result: Tensor = self.norm(bev)
        return result


def _mlp(dims: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dims, 2 * dims), nn.GELU(), nn.Linear(2 * dims, dims))


def fit(maps: Tensor, window: Size) -> Tensor:
    """Maps (A, N, h, w, C) with zeros below and to the right, so that windows fit."""
    rows, columns = -maps.shape[2] % window[0], -maps.shape[3] % window[1]
    if rows == 0 and columns == 0:
        return maps
    return torch.nn.functional.pad(maps, (0, 0, 0, columns, 0, rows))
