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

"""Baseline "map fusion": each cell takes what the agent nearest to it says.

Late fusion of maps after CoBEVT (section 4.2; no code was released): every agent decodes its own
map, the maps are warped, and a cell takes the class of the agent whose position is closest. The
distance is that in the plane between the origin of the agent's frame and the centre of the cell;
of equally near agents the first slot counts. Only agents whose map covers the cell compete.
It works on logits, probabilities or one-hot classes alike, as it only chooses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.fusion.map_operator import masked


class NearestAgent(nn.Module):
    """Map fusion; a ``MapFusion`` without parameters that needs ``ego_T_agent``.

    Args:
        grid: Cells of the decoded maps, in the ego's frame.
    """

    def __init__(self, grid: MapGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, maps: Tensor, valid: Tensor, ego_T_agent: Tensor | None = None) -> Tensor:
        """Choose per cell; see ``MapFusion``."""
        nearest = self.source(valid, ego_T_agent)  # (B, H, W)
        index = nearest[:, None, None].clamp(min=0).expand(-1, 1, maps.shape[2], -1, -1)
        return masked(maps, valid).gather(1, index)[:, 0]

    def source(self, valid: Tensor, ego_T_agent: Tensor | None) -> Tensor:
        """Slot (B, H, W) int64 of the agent each cell is taken from, -1 where there is none.

        Raises:
            ValueError: ``ego_T_agent`` is missing or shapes do not fit.
        """
        if ego_T_agent is None:
            raise ValueError('map fusion by distance needs ego_T_agent')
        if valid.shape[2:] != (self.grid.rows, self.grid.columns):
            raise ValueError(f'valid {tuple(valid.shape)} does not fit {self.grid}')
        cells = torch.as_tensor(self.grid.cell_centers(), device=valid.device)
        origins = ego_T_agent[..., :2, 3].to(cells)
        # (B, L, H, W); a NaN in the slot of an absent agent must not win.
        distance = (cells - origins[:, :, None, None]).norm(dim=-1)
        distance = distance.masked_fill(~valid, torch.inf)
        nearest = distance.argmin(1)
        chosen: Tensor = nearest.masked_fill(~valid.any(1), -1)
        return chosen
