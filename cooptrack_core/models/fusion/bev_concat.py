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

"""Baseline: BEV maps of other agents, warped, concatenated with the ego's, and convolved.

The BEV feature fusion of CoopTrack's tables: maps aligned by the relative pose, concatenation,
several convolutions. Detection on the fused map and AB3DMOT follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import BevGrid
from cooptrack_core.models.bev_encoder.motion import resample
from cooptrack_core.models.cooptrack.interface import RemoteInstances


class BevConcat(nn.Module):
    """Three 3x3 convolutions whose result is added to the ego's map.

    The last one starts at zero, so that the decoder starts with the map it knows.

    Args:
        dims: Channels D of a map.
        grid: Cells of the ego's map.
    """

    def __init__(self, dims: int, grid: BevGrid) -> None:
        super().__init__()
        self.grid = grid
        layers: list[nn.Module] = []
        for channels in (2 * dims, dims):
            layers += [
                nn.Conv2d(channels, dims, 3, padding=1, bias=False),
                nn.BatchNorm2d(dims),
                nn.ReLU(),
            ]
        last = nn.Conv2d(dims, dims, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))
        self.convolutions = nn.Sequential(*layers, last)

    def forward(self, own: Tensor, theirs: Tensor) -> Tensor:
        """Fuse B pairs of maps on the ego's grid, both (B, rows * columns, D)."""
        both = torch.cat([own, theirs.to(own)], -1).transpose(1, 2)  # (B, 2D, G)
        maps = torch.unflatten(both, 2, (self.grid.rows, self.grid.columns))
        change: Tensor = self.convolutions(maps)
        return own + change.flatten(2).transpose(1, 2)

    def warped(self, theirs: Tensor, grid: BevGrid, theirs_T_own: Tensor) -> Tensor:
        """Maps (B, G', D) on another agent's grid as (B, rows * columns, D) on the ego's.

        Args:
            theirs: The maps.
            grid: Their cells, in the other agents' frames.
            theirs_T_own: (B, 4, 4) ego's agent frame to the other agent's.
        """
        return resample(theirs, grid, self.grid, theirs_T_own)

    def fuse_all(self, own: Tensor, remotes: Sequence[RemoteInstances]) -> Tensor:
        """Fuse the maps of a frame's messages into (1, G, D), one after another by agent id.

        Messages without a map change nothing. A map is as old as its message; nothing carries it
        on to the ego's time.
        """
        for remote in sorted(remotes, key=lambda r: r.agent_id):
            if remote.bev is not None:
                theirs_T_own = torch.from_numpy(remote.ego_T_remote).inverse().to(own)[None]
                there = remote.bev.values.to(own)[None]
                own = self(own, self.warped(there, remote.bev.grid, theirs_T_own))
        return own
