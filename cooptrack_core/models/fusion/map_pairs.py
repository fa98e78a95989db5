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

"""Who sees whose map how: what operators need that update the maps of all agents, in rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import MapGrid
from cooptrack_core.geometry.bev_warp import rigid_inverse, warp_maps
from cooptrack_core.models.fusion.map_operator import masked


@dataclass(frozen=True, eq=False)
class Pairs:
    """Maps of L senders as L receivers see them.

    Attributes:
        seen: Maps (B, L, C, H, W), each in its own place, to (B, L or 1, L, C, H, W): receiver,
            then sender. One receiver stands for all where all see the same.
        valid: (B, L, L, H, W) bool, receiver, then sender: the sender's map covers the cell, and
            the cell belongs to the receiver. The diagonal is the receiver's own map.
    """

    seen: Callable[[Tensor], Tensor]
    valid: Tensor

    @property
    def own(self) -> Tensor:
        """(B, L, H, W) bool: cells of each agent's own map."""
        return self.valid.diagonal(dim1=1, dim2=2).movedim(-1, 1)


def aligned(valid: Tensor) -> Pairs:
    """All maps stay on the ego's cells, as ``MapFusion`` gives them: nothing is warped again.

    Against rounds in the agents' own frames, only the ego's window takes part, and filters of
    all agents share the ego's heading.

    Args:
        valid: (B, L, H, W) bool.
    """
    return Pairs(lambda maps: maps[:, None], valid[:, :, None] & valid[:, None])


def own_frames(present: Tensor, ego_T_agent: Tensor, grid: MapGrid) -> Pairs:
    """Every agent keeps its map in its own frame; each round warps all to all.

    Args:
        present: (B, L) bool.
        ego_T_agent: (B, L, 4, 4); slots of absent agents are ignored.
        grid: Cells of all maps.
    """
    still = torch.eye(4, dtype=ego_T_agent.dtype, device=ego_T_agent.device)
    poses = torch.where(present[:, :, None, None], ego_T_agent, still)
    # [b, i, j] = j_T_i: the receiver's cells in the sender's frame.
    sender_T_receiver = rigid_inverse(poses)[:, None] @ poses[:, :, None]
    batch, agents = present.shape

    def warp(maps: Tensor) -> tuple[Tensor, Tensor]:
        every = maps[:, None].expand(-1, agents, -1, -1, -1, -1).flatten(0, 2)
        warped, valid = warp_maps(every, grid, sender_T_receiver.flatten(0, 2))
        shape = (batch, agents, agents)
        return torch.unflatten(warped, 0, shape), torch.unflatten(valid, 0, shape)

    area = torch.zeros(batch, agents, 1, grid.rows, grid.columns, device=present.device)
    both = present[:, :, None] & present[:, None]
    return Pairs(lambda maps: warp(maps)[0], warp(area)[1] & both[..., None, None])


class PairFusion(nn.Module, ABC):
    """A ``MapFusion`` that updates the maps of all agents in rounds."""

    def forward(self, maps: Tensor, valid: Tensor, ego_T_agent: Tensor | None = None) -> Tensor:
        """Fuse with all states on the ego's cells; see ``MapFusion`` and ``aligned``."""
        return self._fuse(masked(maps, valid), aligned(valid))

    def in_own_frames(
        self, maps: Tensor, present: Tensor, ego_T_agent: Tensor, grid: MapGrid
    ) -> Tensor:
        """Fuse as the reference does: states stay in their agents' frames and are warped per pair.

        Args:
            maps: (B, L, C, H, W), each in its agent's frame.
            present: (B, L) bool.
            ego_T_agent: (B, L, 4, 4).
            grid: Cells of all maps.

        Returns:
            (B, C, H, W) in the ego's frame.
        """
        pairs = own_frames(present, ego_T_agent, grid)
        return self._fuse(masked(maps, pairs.own), pairs)

    @abstractmethod
    def _fuse(self, states: Tensor, pairs: Pairs) -> Tensor:
        """(B, C, H, W) of states (B, L, C, H, W) that are zero where nothing is known."""
