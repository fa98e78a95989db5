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
"""What the images show where a BEV query lies: features sampled at points above the ground.

Not part of CoBEVT, whose queries learn from viewing directions alone where to look, which takes
tens of epochs. A query that begins with what the cameras show at its place learns in a few. The
sampling is that of "simple BEV lifting" (Harley et al., Simple-BEV, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.geometry import MapGrid

# Nearer to the image plane than this a point is not looked up, m.
_NEAREST = 0.5


@dataclass(frozen=True, eq=False)
class Places:
    """Where the points are in the images.

    Attributes:
        grid: (A N, V, P, 2) x, y in [-1, 1] as ``grid_sample`` wants them.
        weight: (A, N, V, P) 1 where the image of a camera holds the point, else 0.
    """

    grid: Tensor
    weight: Tensor


class GroundSampling(nn.Module):
    """Image features onto the queries of a stage.

    Args:
        cells: The queries, V = rows x columns.
        image: Rows and columns of the network's images, pixels.
        image_channels: Channels of the image features.
        dims: Channels of the queries.
        heights: Of the points above the body's origin, m; it stands on the ground.
        samples: Points along an edge of a query cell.
    """

    points: Tensor

    def __init__(
        self,
        cells: MapGrid,
        image: tuple[int, int],
        image_channels: int,
        dims: int,
        heights: tuple[float, ...],
        samples: int,
    ) -> None:
        super().__init__()
        self.size, self.image = (cells.rows, cells.columns), image
        points = _points(cells, heights, samples)
        self.register_buffer('points', points, persistent=False)
        width = dims // 2
        self.narrow = nn.Conv2d(image_channels, width, 1)
        self.lift = nn.Linear(points.shape[1] * width, dims)
        self.norm = nn.LayerNorm(dims)

    def places(self, intrinsics: Tensor, agent_T_camera: Tensor) -> Places:
        """What follows from the calibration alone.

        Args:
            intrinsics: (A, N, 3, 3).
            agent_T_camera: (A, N, 4, 4).
        """
        turn, shift = agent_T_camera[..., :3, :3], agent_T_camera[..., :3, 3]
        project = intrinsics @ turn.transpose(-1, -2)  # (A, N, 3, 3)
        offset = -(project @ shift[..., None])[..., 0]
        flat = self.points.flatten(0, 1).to(project)  # (V P, 3)
        uvw = flat @ project.transpose(-1, -2) + offset[..., None, :]  # (A, N, V P, 3)
        depth = uvw[..., 2]
        # Whole numbers are pixel centres.
        pixels = uvw[..., :2] / depth.clamp(min=_NEAREST)[..., None] + 0.5
        size = pixels.new_tensor([self.image[1], self.image[0]])
        grid = 2 * pixels / size - 1
        inside = (depth > _NEAREST) & (grid.abs() < 1).all(-1)
        shape = self.points.shape[:2]
        grid = torch.unflatten(grid.clamp(-2, 2), 2, shape).flatten(0, 1)
        return Places(grid, torch.unflatten(inside.to(grid), 2, shape))

    def forward(self, features: Tensor, places: Places, cameras_valid: Tensor | None) -> Tensor:
        """Sample.

        Args:
            features: (A N, C_f, h, w).
            places: Of ``places``.
            cameras_valid: (A, N) bool; None for all.

        Returns:
            (A, H, W, C); zero where no camera looks.
        """
        weight = places.weight
        if cameras_valid is not None:
            weight = weight * cameras_valid[..., None, None].to(weight)
        narrow = self.narrow(features)
        found = F.grid_sample(
            narrow, places.grid.to(narrow), align_corners=False
        )  # (A N, c, V, P)
        found = torch.unflatten(found, 0, weight.shape[:2])
        share = weight / weight.sum(1, keepdim=True).clamp(min=1)
        mean = (found * share[:, :, None].to(found)).sum(1)  # (A, c, V, P)
        lifted = self.norm(self.lift(mean.permute(0, 2, 3, 1).flatten(2)))
        seen = weight.flatten(3).sum((1, 3)) > 0  # (A, V)
        out: Tensor = torch.unflatten(lifted * seen[..., None].to(lifted), 1, self.size)
        return out


def _points(cells: MapGrid, heights: tuple[float, ...], samples: int) -> Tensor:
    """(V, P, 3) points of each cell: a square pattern at every height, metres."""
    fine = MapGrid(cells.rows * samples, cells.columns * samples, cells.cell / samples)
    centres = fine.cell_centers().reshape(cells.rows, samples, cells.columns, samples, 2)
    centres = centres.transpose(0, 2, 1, 3, 4).reshape(cells.rows * cells.columns, -1, 1, 2)
    spread = np.broadcast_to(centres, (*centres.shape[:2], len(heights), 2))
    above = np.broadcast_to(np.array(heights)[:, None], (*spread.shape[:3], 1))
    points = np.concatenate([spread, above], -1).reshape(len(centres), -1, 3)
    return torch.from_numpy(points.astype(np.float32))
