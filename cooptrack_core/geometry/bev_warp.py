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
"""BEV maps of one agent on the cells of another: aligned at cell centres, differentiable.

The pose is planar in effect: the centre of a cell, on the ground of the target frame, is moved by
the whole rigid transform and its x and y are looked up. Heights above the ground are not known.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.geometry.bev import MapGrid


def rigid_inverse(a_T_b: Tensor) -> Tensor:
    """b_T_a of rigid transforms (..., 4, 4)."""
    turn = a_T_b[..., :3, :3].transpose(-1, -2)
    shift = -turn @ a_T_b[..., :3, 3:]
    return torch.cat([torch.cat([turn, shift], -1), a_T_b[..., 3:, :]], -2)


def warp_maps(
    maps: Tensor,
    grid: MapGrid,
    source_T_target: Tensor,
    target: MapGrid | None = None,
    mode: Literal['bilinear', 'nearest'] = 'bilinear',
) -> tuple[Tensor, Tensor]:
    """Sample maps at the cell centres of another frame.

    Cells at the rim repeat the rim's value up to the map's edge, so that a constant map stays
    constant wherever it is valid. Nothing is rounded: a map moved by whole cells is the same map.

    Args:
        maps: (N, C, H, W) in the source frames.
        grid: Their cells.
        source_T_target: (N, 4, 4) rigid, target frame to source frame, metres. Better in float64
            when frames are far apart.
        target: Cells wanted; default ``grid``.
        mode: 'nearest' for class ids, whose mean means nothing.

    Returns:
        Maps (N, C, H', W') in the dtype of ``maps``, zero where not valid, and valid (N, H', W')
        bool: the cell's centre lies on the source map.

    Raises:
        ValueError: Shapes do not fit.
    """
    target = target or grid
    n = maps.shape[0]
    if maps.shape[2:] != (grid.rows, grid.columns) or source_T_target.shape != (n, 4, 4):
        raise ValueError(
            f'maps {tuple(maps.shape)} and transforms {tuple(source_T_target.shape)} do not fit '
            f'{grid}'
        )
    # Outside autocast: bfloat16 would move cells by decimetres.
    with torch.autocast('cpu', enabled=False), torch.autocast('cuda', enabled=False):
        pose = source_T_target.to(maps.device)
        cells = torch.as_tensor(target.cell_centers(), dtype=pose.dtype, device=maps.device)
        places = torch.einsum('nij,rcj->nrci', pose[:, :2, :2], cells)
        places = places + pose[:, None, None, :2, 3]
        length, width = grid.extent
        # The sampler's first coordinate runs along columns (to -y), its second along rows (to -x).
        along = torch.stack([-2 * places[..., 1] / width, -2 * places[..., 0] / length], -1)
        valid = (along.abs() <= 1).all(-1)
        # Half a float type has no sampler on every device; poses far away must not overflow it.
        exact = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
        sampled = F.grid_sample(
            exact,
            along.clamp(-2, 2).to(exact.dtype),
            mode=mode,
            padding_mode='border',
            align_corners=False,
        )
        return sampled.masked_fill(~valid[:, None], 0.0).to(maps.dtype), valid


def warp_to_ego(
    maps: Tensor,
    present: Tensor,
    ego_T_agent: Tensor,
    grid: MapGrid,
    mode: Literal['bilinear', 'nearest'] = 'bilinear',
) -> tuple[Tensor, Tensor]:
    """Bring the maps of L agents onto the ego's cells, as fusion operators take them.

    Args:
        maps: (B, L, C, H, W), each in its agent's frame; slot 0 is the ego.
        present: (B, L) bool; whatever stands in the slot of an absent agent is ignored.
        ego_T_agent: (B, L, 4, 4) agents' frames to the ego's.
        grid: Cells of all maps.
        mode: As ``warp_maps``.

    Returns:
        Maps (B, L, C, H, W) and valid (B, L, H, W) bool.

    Raises:
        ValueError: Shapes do not fit.
    """
    if present.shape != maps.shape[:2] or ego_T_agent.shape != (*present.shape, 4, 4):
        raise ValueError(
            f'maps {tuple(maps.shape)}, present {tuple(present.shape)} and transforms '
            f'{tuple(ego_T_agent.shape)} do not fit'
        )
    here = present.bool()
    still = torch.eye(4, dtype=ego_T_agent.dtype, device=ego_T_agent.device)
    agent_T_ego = rigid_inverse(torch.where(here[:, :, None, None], ego_T_agent, still))
    clean = maps.masked_fill(~here[:, :, None, None, None], 0.0)
    warped, valid = warp_maps(clean.flatten(0, 1), grid, agent_T_ego.flatten(0, 1), mode=mode)
    shape = present.shape
    covered = torch.unflatten(valid, 0, shape) & here[:, :, None, None]
    return torch.unflatten(warped, 0, shape), covered
