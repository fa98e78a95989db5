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

"""BEVFormer encoder: BEV queries look at the previous map and at the images.

Source: Li et al., 2022 (BEVFormer), as configured for CoopTrack (reference sections 2.3, 2.4).
One pseudo camera instead of the official six: the other five never receive a query.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from cooptrack_core.models.attention.deformable import ring_offsets, sample_and_weigh
from cooptrack_core.models.attention.ffn import FeedForward
from cooptrack_core.models.bev_encoder.motion import (
    EgoMotion,
    rotate_about_cell_100,
    warp,
    wrong_axis_shift,
)
from cooptrack_core.models.bev_encoder.projection import pillar_points, project
from cooptrack_core.models.cooptrack.config import BevConfig
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks

# The released weights hold embeddings of six cameras and four levels; the first ones are used.
_CAMERA_EMBEDDINGS = 6
_LEVEL_EMBEDDINGS = 4


def _zero(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class TemporalSelfAttention(nn.Module):
    """Each cell samples the previous and the current map; the two answers are averaged."""

    def __init__(self, dims: int, heads: int, points: int, dropout: float, mixes: bool) -> None:
        super().__init__()
        self.heads, self.points, self.mixes_batch = heads, points, mixes
        self.sampling_offsets = _zero(nn.Linear(2 * dims, heads * 2 * points * 2))
        self.sampling_offsets.bias.data.copy_(ring_offsets(heads, points, copies=2))
        self.attention_weights = _zero(nn.Linear(2 * dims, heads * 2 * points))
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Tensor,
        position: Tensor,
        queues: Tensor,
        refs: Tensor,
        shape: tuple[int, int],
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, G, D) BEV queries.
            position: (G, D) BEV position.
            queues: (B, 2, G, D) previous and current map.
            refs: (B, 2, G, 2) reference of each cell in either map, x, y in [0, 1].
            shape: (rows, columns), G = rows * columns.
        """
        b, g, _ = query.shape
        h, p = self.heads, self.points
        seen = queues.flatten(0, 1)[:b] if self.mixes_batch else queues[:, 0]
        both = torch.cat([seen, query + position], -1)  # (B, G, 2D)
        offsets = self.sampling_offsets(both).view(b, g, h, 2, p, 2)
        weights = self.attention_weights(both).view(b, g, h, 2, p).softmax(-1)
        value = torch.unflatten(
            self.value_proj(queues.flatten(0, 1)), -1, (h, -1)
        )  # (2B, G, h, d)
        offsets = offsets.permute(0, 3, 1, 2, 4, 5).flatten(0, 1)  # (2B, G, h, p, 2)
        weights = weights.permute(0, 3, 1, 2, 4).flatten(0, 1)
        cells = offsets.new_tensor((shape[1], shape[0]))
        locations = refs.flatten(0, 1)[:, :, None, None] + offsets / cells
        out = sample_and_weigh(value, shape, locations, weights)
        out = torch.unflatten(out, 0, (b, 2)).mean(1)
        return cast(Tensor, query + self.dropout(self.output_proj(out)))


class SpatialCrossAttention(nn.Module):
    """Each visible cell samples every level of the image around its projected pillar."""

    def __init__(
        self, dims: int, heads: int, points: int, pillars: int, dropout: float, levels: int = 1
    ) -> None:
        super().__init__()
        if points % pillars:
            raise ValueError(f'{points} points cannot be shared by {pillars} pillar heights')
        self.heads, self.points, self.pillars, self.levels = heads, points, pillars, levels
        self.sampling_offsets = _zero(nn.Linear(dims, heads * levels * points * 2))
        self.sampling_offsets.bias.data.copy_(ring_offsets(heads, points, copies=levels))
        self.attention_weights = _zero(nn.Linear(dims, heads * levels * points))
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Tensor,
        images: Sequence[Tensor],
        places: Tensor,
        visible: Tensor,
        cells: Tensor,
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, G, D) BEV queries.
            images: (B, K, D, h, w) image features per level.
            places: (B, K, V, P, 2) projected pillars of the visible cells, [0, 1].
            visible: (B, K, V) which camera sees which cell.
            cells: (V,) index of the cells any camera sees.
        """
        b, v = query.shape[0], len(cells)
        k, h, n, p = images[0].shape[1], self.heads, self.levels, self.points
        q = query[:, cells]
        offsets = self.sampling_offsets(q).view(b, v, h, n, p, 2)
        # The weights of all points of all levels sum to one.
        weights = self.attention_weights(q).view(b, v, h, n * p).softmax(-1).view(b, v, h, n, p)
        # Point p belongs to pillar height p modulo P.
        refs = places.repeat(1, 1, 1, p // self.pillars, 1)[:, :, :, None]
        parts = []
        for level, image in enumerate(images):
            rows, columns = image.shape[-2:]
            value = self.value_proj(image.flatten(3).transpose(2, 3))  # (B, K, h w, D)
            value = torch.unflatten(value, -1, (h, -1)).flatten(0, 1)
            moves = offsets[:, :, :, level] / offsets.new_tensor((columns, rows))
            locations = refs + moves[:, None]
            every = weights[:, None, :, :, level].expand(b, k, v, h, p)
            parts.append(
                sample_and_weigh(
                    value, (rows, columns), locations.flatten(0, 1), every.flatten(0, 1)
                )
            )
        seen = parts[0] if n == 1 else torch.stack(parts).sum(0)
        seen = torch.unflatten(seen, 0, (b, k)) * visible[..., None]
        mean = seen.sum(1) / visible.sum(1).clamp(min=1)[..., None]  # (B, V, D)
        slots = torch.zeros_like(query).index_copy(1, cells, mean.to(query.dtype))
        return cast(Tensor, query + self.dropout(self.output_proj(slots)))


class EncoderLayer(nn.Module):
    """Temporal self attention, spatial cross attention, feed-forward; post-norm."""

    def __init__(
        self, dims: int, config: BevConfig, dropout: float, quirks: OfficialQuirks, levels: int
    ) -> None:
        super().__init__()
        mixes = quirks.temporal_attention_mixes_batch
        self.temporal = TemporalSelfAttention(
            dims, config.heads, config.temporal_points, dropout, mixes
        )
        self.spatial = SpatialCrossAttention(
            dims, config.heads, config.spatial_points, len(config.pillar_heights), dropout, levels
        )
        self.ffn = FeedForward(dims, config.ffn, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))


class BevFormerEncoder(nn.Module):
    """BEV queries, their embeddings, and the encoder layers.

    Args:
        dims: Embedding size D.
        config: Grid and sizes.
        image_size: (height, width) of the network input.
        dropout: Of every sub-layer.
        quirks: Official behaviour to reproduce.
        levels: Number of image maps.
    """

    points: Tensor

    def __init__(
        self,
        dims: int,
        config: BevConfig,
        image_size: tuple[int, int],
        dropout: float,
        quirks: OfficialQuirks,
        levels: int = 1,
    ) -> None:
        super().__init__()
        grid = config.grid
        self.grid, self.image_size, self.quirks = grid, image_size, quirks
        self.queries = nn.Embedding(grid.rows * grid.columns, dims)
        self.row_embedding = nn.Embedding(grid.rows, dims // 2)
        self.column_embedding = nn.Embedding(grid.columns, dims // 2)
        self.level_embeddings = nn.Parameter(torch.randn(_LEVEL_EMBEDDINGS, dims))
        self.camera_embeddings = nn.Parameter(torch.randn(_CAMERA_EMBEDDINGS, dims))
        self.can_bus_mlp: nn.Sequential | None = None
        if config.can_bus:
            self.can_bus_mlp = nn.Sequential(
                nn.Linear(18, dims // 2),
                nn.ReLU(),
                nn.Linear(dims // 2, dims),
                nn.ReLU(),
                nn.LayerNorm(dims),
            )
        self.layers = nn.ModuleList(
            EncoderLayer(dims, config, dropout, quirks, levels) for _ in range(config.layers)
        )
        points = pillar_points(grid, config.pillar_heights)
        self.register_buffer('points', points, persistent=False)
        self._init()

    def _init(self) -> None:
        for embedding in (self.row_embedding, self.column_embedding):
            nn.init.uniform_(embedding.weight)
        for name, parameter in self.layers.named_parameters():
            if ('value_proj' in name or 'output_proj' in name) and parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def position(self) -> Tensor:
        """Learnt position of every cell, (G, D): column half, then row half."""
        rows, columns = self.grid.rows, self.grid.columns
        x = self.column_embedding.weight[None].expand(rows, -1, -1)
        y = self.row_embedding.weight[:, None].expand(-1, columns, -1)
        return torch.cat([x, y], -1).flatten(0, 1)

    def _memory(self, bev: Tensor, motion: EgoMotion) -> tuple[Tensor, Tensor]:
        """Previous map in the current frame, and the shift (B, 2) of its reference points."""
        wrong_shift, q = self.quirks.shift_along_wrong_axis, self.quirks
        if q.rotate_about_cell_100:
            bev = rotate_about_cell_100(bev, self.grid, motion.can_bus[:, 17])
        elif wrong_shift:
            bev = warp(bev, self.grid, motion.prev_T_current, translate=False)
        if wrong_shift:
            return bev, wrong_axis_shift(motion.can_bus, self.grid).to(bev.dtype)
        if q.rotate_about_cell_100:
            shift_only = torch.eye(4).to(bev).repeat(len(bev), 1, 1)
            shift_only[:, :2, 3] = motion.prev_T_current[:, :2, 3]
            bev = warp(bev, self.grid, shift_only)
        else:
            bev = warp(bev, self.grid, motion.prev_T_current)
        return bev, bev.new_zeros(len(bev), 2)

    def _cell_refs(self) -> Tensor:
        """Cell centres (G, 2) as x, y in [0, 1]."""
        rows, columns = self.grid.rows, self.grid.columns
        like = self.queries.weight
        y = (torch.arange(rows).to(like) + 0.5) / rows
        x = (torch.arange(columns).to(like) + 0.5) / columns
        yy, xx = torch.meshgrid(y, x, indexing='ij')
        return torch.stack([xx, yy], -1).flatten(0, 1)

    def forward(
        self,
        levels: Sequence[Tensor],
        agent_to_image: Tensor,
        previous: Tensor | None,
        motion: EgoMotion,
    ) -> Tensor:
        """Encode.

        Args:
            levels: (B, K, D, h, w) image features per level, finest first.
            agent_to_image: (B, K, 4, 4).
            previous: (B, G, D) previous map in its own frame, or None.
            motion: Ego motion since then.

        Returns:
            (B, G, D) BEV features.
        """
        batch, shape = levels[0].shape[0], (self.grid.rows, self.grid.columns)
        query = self.queries.weight.expand(batch, -1, -1)
        if self.can_bus_mlp is not None:
            query = query + self.can_bus_mlp(motion.can_bus.to(query.dtype))[:, None]
        cameras = self.camera_embeddings[: levels[0].shape[1], :, None, None]
        images = [
            level + (cameras + embedding[:, None, None])
            for level, embedding in zip(levels, self.level_embeddings, strict=False)
        ]
        places, inside = project(
            self.points, agent_to_image, self.image_size, self.quirks.pixels_from_corner
        )
        visible = inside.any(-1)  # (B, K, G)
        if self.quirks.visibility_of_first_sample:
            visible = visible[:1].expand_as(visible)
        cells = visible.flatten(0, 1).any(0).nonzero()[:, 0]
        places, visible = places[:, :, cells], visible[:, :, cells]

        position = self.position()
        refs = self._cell_refs().expand(batch, 2, -1, -1)
        if self.quirks.zero_bev_starts_training and self.training and previous is None:
            previous = torch.zeros_like(query)
        if previous is not None:
            previous, shift = self._memory(previous, motion)
            moved = refs + shift[:, None, None]
            if self.quirks.shift_both_queues:
                refs = moved
            else:
                refs = torch.stack([moved[:, 0], refs[:, 1]], 1)
        first = query
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)  # noqa: S101 - for the type checker
            current = first if previous is not None and self.quirks.stale_current_bev else query
            queues = torch.stack([current if previous is None else previous, current], 1)
            query = layer.norms[0](layer.temporal(query, position, queues, refs, shape))
            query = layer.norms[1](layer.spatial(query, images, places, visible, cells))
            query = layer.norms[2](layer.ffn(query))
        return query
