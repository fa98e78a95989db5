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

"""Lift encoder: each cell reads the image at fixed points of its pillar, then convolutions.

Cheaper than attention and quicker to train from scratch; it keeps the interface of the
BEVFormer encoder. Only cells that a camera can see are lifted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.models.bev_encoder.motion import EgoMotion, warp
from cooptrack_core.models.bev_encoder.projection import depths, pillar_points, project
from cooptrack_core.models.bev_encoder.sight_depth import NUMBERS, SightDepth, agreement
from cooptrack_core.models.cooptrack.config import BevConfig
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks


class ConvBlock(nn.Module):
    """Residual pair of 3 x 3 convolutions on the BEV map."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dims, dims, 3, padding=1)
        self.conv2 = nn.Conv2d(dims, dims, 3, padding=1)
        self.norm1 = nn.GroupNorm(8, dims)
        self.norm2 = nn.GroupNorm(8, dims)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, rows, columns) to the same."""
        out = self.norm1(self.conv1(x)).relu()
        return torch.relu(x + self.norm2(self.conv2(out)))


class LiftEncoder(nn.Module):
    """Pillar samples, cell embedding, memory fused by a convolution, residual blocks.

    Args:
        dims: Embedding size D, a multiple of 8.
        config: Grid and pillar heights.
        image_size: (height, width) of the network input.
        dropout: Unused; convolutions regularise enough.
        quirks: Only ``pixels_from_corner`` applies.
        levels: Number of image maps; only the finest one is lifted.
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
        self.grid, self.image_size = config.grid, image_size
        self.from_corner = quirks.pixels_from_corner
        pillars = len(config.pillar_heights)
        self.cells = nn.Parameter(0.02 * torch.randn(self.grid.rows * self.grid.columns, dims))
        self.lift = nn.Linear(pillars * dims, dims)
        self.norm = nn.LayerNorm(dims)
        self.memory = nn.Conv2d(2 * dims, dims, 3, padding=1)
        self.blocks = nn.Sequential(*(ConvBlock(dims) for _ in range(config.blocks)))
        self.sight: SightDepth | None = None
        if config.depth_hypotheses:
            self.sight = SightDepth(dims, config.depth_hypotheses)
            # It begins without influence, so that weights without it can go on with it.
            self.agree = nn.Linear(pillars * config.depth_hypotheses * NUMBERS, dims, bias=False)
            nn.init.zeros_(self.agree.weight)
        points = pillar_points(self.grid, config.pillar_heights)
        self.register_buffer('points', points, persistent=False)

    def forward(
        self,
        levels: Sequence[Tensor],
        agent_to_image: Tensor,
        previous: Tensor | None,
        motion: EgoMotion,
    ) -> Tensor:
        """Encode; arguments as in the BEVFormer encoder.

        Args:
            levels: (B, K, D, h, w) per level, finest first.
            agent_to_image: (B, K, 4, 4).
            previous: (B, G, D) previous map in its own frame, or None.
            motion: Ego motion since then.

        Returns:
            (B, G, D) BEV features.
        """
        return self.fuse(self.present(levels, agent_to_image), previous, motion)

    def present(self, levels: Sequence[Tensor], agent_to_image: Tensor) -> Tensor:
        """This frame alone on the cells, (B, G, D); arguments as in ``forward``."""
        return self._lift(levels[0], agent_to_image) + self.cells

    def fuse(self, present: Tensor, previous: Tensor | None, motion: EgoMotion) -> Tensor:
        """Add the memory to ``present`` (B, G, D); arguments and result as in ``forward``."""
        shape = (self.grid.rows, self.grid.columns)
        now = torch.unflatten(present.transpose(1, 2), 2, shape)  # (B, D, rows, columns)
        if previous is None:  # an empty memory adds nothing, so its half is not computed
            weight = self.memory.weight[:, : now.shape[1]]
            fused = F.conv2d(now, weight, self.memory.bias, padding=1)
        else:
            before = warp(previous, self.grid, motion.prev_T_current)
            before = torch.unflatten(before.transpose(1, 2), 2, shape)
            fused = self.memory(torch.cat([now, before.to(now)], 1))
        out: Tensor = self.blocks(now + fused)
        return out.flatten(2).transpose(1, 2)

    def _lift(self, image: Tensor, agent_to_image: Tensor) -> Tensor:
        """Image features (B, K, D, h, w) onto the cells, (B, G, D); unseen cells are zero."""
        batch, cameras, dims = image.shape[:3]
        places, inside = project(self.points, agent_to_image, self.image_size, self.from_corner)
        cells = inside.any(-1).flatten(0, 1).any(0).nonzero()[:, 0]  # (V,)
        places, inside = places[:, :, cells], inside[:, :, cells]  # (B, K, V, P, 2), (B, K, V, P)
        grid = (2 * places - 1).clamp(-2, 2).flatten(0, 1)

        def over_cameras(samples: Tensor) -> Tensor:
            """(B K, n, V, P) to the mean over the cameras that see it, (B, V, P, n)."""
            samples = samples.permute(0, 2, 3, 1) * inside.flatten(0, 1)[..., None]
            samples = torch.unflatten(samples, 0, (batch, cameras)).sum(1)
            return samples / inside.sum(1).clamp(min=1)[..., None]

        samples = F.grid_sample(image.flatten(0, 1), grid, align_corners=False)
        lifted = self.lift(over_cameras(samples).flatten(2))
        if self.sight is not None:
            claimed = F.grid_sample(self.sight(image.flatten(0, 1)), grid, align_corners=False)
            depth = depths(self.points[cells], agent_to_image).flatten(0, 1)  # (B K, V, P)
            agrees = agreement(claimed.permute(0, 2, 3, 1), depth).flatten(-2)
            lifted = lifted + self.agree(over_cameras(agrees.permute(0, 3, 1, 2)).flatten(2))
        seen = inside.any(-1).any(1)  # (B, V)
        features = self.norm(lifted) * seen[..., None]
        empty = features.new_zeros(batch, len(self.points), dims)
        return torch.index_copy(empty, 1, cells, features)
