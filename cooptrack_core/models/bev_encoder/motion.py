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

"""How the agent moved since the previous frame, and the BEV memory carried along with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.geometry import SE3, BevGrid
from cooptrack_core.models.precision import full_precision

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EgoMotion:
    """Motion of B agents between the previous frame and this one.

    Attributes:
        can_bus: (B, 18) float64, as the network sees it: position and yaw (degrees) as changes,
            quaternion and yaw (rad) absolute (reference section 2.3).
        prev_T_current: (B, 4, 4) agent frame now to agent frame then.
    """

    can_bus: Tensor
    prev_T_current: Tensor

    @staticmethod
    def none(batch: int, like: Tensor) -> EgoMotion:
        """No motion and no known pose, for single frames."""
        return EgoMotion(
            torch.zeros(batch, 18, dtype=torch.float64, device=like.device),
            torch.eye(4, dtype=like.dtype, device=like.device).expand(batch, 4, 4),
        )


def can_bus_of(world_T_body: Array) -> Array:
    """Absolute can_bus vector (18,) of a body pose: position, quaternion wxyz, zeros, yaw."""
    pose = SE3.from_matrix(world_T_body, project=True)
    yaw = pose.yaw % (2 * math.pi)
    vector = np.zeros(18)
    vector[:3], vector[3:7] = pose.translation, pose.quaternion_wxyz
    vector[16], vector[17] = yaw, math.degrees(yaw)
    return vector


def can_bus_delta(current: Array, previous: Array | None, unwrapped: bool) -> Array:
    """Turn absolute position and yaw into differences; zero where there is no previous frame.

    Args:
        current: (18,) absolute vector.
        previous: (18,) absolute vector of the previous frame or None.
        unwrapped: Keep the plain difference of degrees (official quirk).
    """
    delta = np.array(current, dtype=np.float64)
    if previous is None:
        delta[:3], delta[17] = 0.0, 0.0
        return delta
    delta[:3] -= previous[:3]
    delta[17] -= previous[17]
    if not unwrapped:
        delta[17] = (delta[17] + 180.0) % 360.0 - 180.0
    return delta


@full_precision
def warp(bev: Tensor, grid: BevGrid, prev_T_current: Tensor, translate: bool = True) -> Tensor:
    """Carry a BEV map into the agent's current frame, bilinear, zero where nothing was seen.

    Args:
        bev: (B, rows * columns, D) in the previous agent frame.
        grid: Its cells.
        prev_T_current: (B, 4, 4).
        translate: False turns about the agent's origin only.

    Returns:
        (B, rows * columns, D): the features of each current cell's centre.
    """
    return resample(bev, grid, grid, prev_T_current, translate)


@full_precision
def resample(
    bev: Tensor, source: BevGrid, target: BevGrid, source_T_target: Tensor, translate: bool = True
) -> Tensor:
    """BEV maps of one frame and grid on the cells of another, bilinear, zero outside.

    Args:
        bev: (B, rows * columns of the source, D).
        source: Cells of ``bev``.
        target: Cells wanted.
        source_T_target: (B, 4, 4) frame of the target to frame of the source; only the motion in
            the plane counts.
        translate: False turns about the origin only.

    Returns:
        (B, rows * columns of the target, D).
    """
    cells = torch.as_tensor(target.cell_centers(), dtype=source_T_target.dtype, device=bev.device)
    places = torch.einsum('bij,rcj->brci', source_T_target[:, :2, :2], cells)
    if translate:
        places = places + source_T_target[:, None, None, :2, 3]
    low = places.new_tensor((source.x_min, source.y_min))
    extent = places.new_tensor((source.x_max - source.x_min, source.y_max - source.y_min))
    maps = torch.unflatten(bev.transpose(1, 2), 2, (source.rows, source.columns))
    sampled = F.grid_sample(maps.to(places), 2 * (places - low) / extent - 1, align_corners=False)
    return sampled.flatten(2).transpose(1, 2)


@full_precision
def rotate_about_cell_100(bev: Tensor, grid: BevGrid, degrees: Tensor) -> Tensor:
    """Official turn of the memory: nearest cell, about (100, 100) cells, no translation.

    Same sampling as an image rotation by ``degrees`` counter-clockwise about that pixel.

    Args:
        bev: (B, rows * columns, D).
        grid: Its cells.
        degrees: (B,) yaw change.
    """
    rows, columns = grid.rows, grid.columns
    # Cell centres relative to the image centre, homogeneous, (rows * columns, 3).
    y = torch.linspace(-rows / 2 + 0.5, rows / 2 - 0.5, rows, device=bev.device)
    x = torch.linspace(-columns / 2 + 0.5, columns / 2 - 0.5, columns, device=bev.device)
    yy, xx = torch.meshgrid(y, x, indexing='ij')
    cells = torch.stack([xx, yy, torch.ones_like(xx)], -1).flatten(0, 1)
    # Nearest-cell ties are decided by rounding, so the arithmetic is that of affine image warps:
    # matrix in float64, then float32, then divided by the half sizes.
    cx, cy = 100 - columns / 2, 100 - rows / 2
    places = []
    for angle in degrees.double().tolist():
        c, s = math.cos(math.radians(-angle)), math.sin(math.radians(-angle))
        matrix = torch.tensor(
            [[c, s, cx - c * cx - s * cy], [-s, c, cy + s * cx - c * cy]], device=bev.device
        )
        places.append(cells @ (matrix.T / matrix.new_tensor((columns / 2, rows / 2))))
    grids = torch.stack(places).view(-1, rows, columns, 2).to(bev.dtype)
    maps = torch.unflatten(bev.transpose(1, 2), 2, (rows, columns))
    turned = F.grid_sample(maps, grids, mode='nearest', align_corners=False)
    return turned.flatten(2).transpose(1, 2)


def wrong_axis_shift(can_bus: Tensor, grid: BevGrid) -> Tensor:
    """Official shift of the memory's reference points, (B, 2) x, y in grid units.

    It decomposes the world translation as if the LiDAR's y axis pointed forward.
    """
    vector = can_bus.double()
    length = vector[:, :2].norm(dim=1)
    travel = torch.rad2deg(torch.atan2(vector[:, 1], vector[:, 0]))
    angle = torch.deg2rad(torch.rad2deg(vector[:, 16]) - travel)
    dx, dy = grid.cell_size
    shift_y = length * angle.cos() / dy / grid.rows
    shift_x = length * angle.sin() / dx / grid.columns
    return torch.stack([shift_x, shift_y], -1)
