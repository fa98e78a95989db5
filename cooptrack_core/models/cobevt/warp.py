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

"""Other agents' maps on the ego's cells (STTF), and which cells they cover (ROI mask).

Source: reference section 5.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.cobevt.quirks import CobevtQuirks
from cooptrack_core.models.precision import full_precision


@full_precision
def source_cells(ego_T_agent: Tensor, grid: MapGrid, quirks: CobevtQuirks) -> Tensor:
    """Where the cells of the ego's map lie on the maps of the agents.

    Args:
        ego_T_agent: (..., 4, 4), x forward, y left; only the motion in the plane counts.
        grid: Cells of every map.
        quirks: ``warp_about_cell_corner``.

    Returns:
        (..., rows, columns, 2) float64 fractional row and column.
    """
    # Origin of the frame in cells from the first row and column, over the half size.
    origin = (1.0, 0.0) if quirks.warp_about_cell_corner else (0.5, 0.5)
    like = {'dtype': torch.float64, 'device': ego_T_agent.device}
    zero = torch.tensor([grid.rows / 2 - origin[0], grid.columns / 2 - origin[1]], **like)  # type: ignore[arg-type]
    axes = (torch.arange(n, **like) for n in (grid.rows, grid.columns))  # type: ignore[call-overload]
    places = zero - torch.stack(torch.meshgrid(*axes, indexing='ij'), -1)  # x, y in cells
    matrix = ego_T_agent.double()
    turn = torch.linalg.inv(matrix[..., :2, :2])
    shifted = places - matrix[..., None, None, :2, 3] / grid.cell
    return zero - torch.einsum('...ij,...rcj->...rci', turn, shifted)


@full_precision
def warp(maps: Tensor, cells: Tensor, quirks: CobevtQuirks) -> Tensor:
    """Sample maps bilinearly.

    Args:
        maps: (M, C, H, W).
        cells: (M, H, W, 2) of ``source_cells``.
        quirks: ``warp_fades_at_rim``.

    Returns:
        (M, C, H, W); beyond the rim of a map zero, or with repaired rims what stands there.
    """
    last = cells.new_tensor([maps.shape[-2] - 1, maps.shape[-1] - 1])
    places = (2 * cells / last - 1).flip(-1)  # grid_sample wants x, y
    padding = 'zeros' if quirks.warp_fades_at_rim else 'border'
    return F.grid_sample(maps, places.to(maps), padding_mode=padding, align_corners=True)


def covered(cells: Tensor, quirks: CobevtQuirks) -> Tensor:
    """Which cells (..., H, W) of the ego's map lie on an agent's map, bool.

    Args:
        cells: (..., H, W, 2) of ``source_cells``.
        quirks: ``mask_transposed``.
    """
    rows, columns = cells.shape[-3:-1]
    nearest = cells.round()  # the middle between two cells as grid_sample has it
    row, column = nearest.unbind(-1)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return inside.flip(-2).transpose(-1, -2) if quirks.mask_transposed else inside
