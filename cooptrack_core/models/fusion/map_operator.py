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

"""One interface for all that makes one BEV map of several agents' maps.

Every operator keeps two promises: whatever stands in a cell that is not valid has no influence
(not even NaN), and the order of the agents behind the ego does not matter.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class MapFusion(Protocol):
    """Fuses the maps of L agents, all on the ego's cells already; slot 0 is the ego."""

    def __call__(self, maps: Tensor, valid: Tensor, ego_T_agent: Tensor | None = None) -> Tensor:
        """Fuse.

        Args:
            maps: (B, L, C, H, W) features or logits, warped to the ego's frame and grid.
            valid: (B, L, H, W) bool: the agent is there and the cell lies inside its map.
            ego_T_agent: (B, L, 4, 4) agents' frames to the ego's, of agents that are there; only
                operators that know distances need it.

        Returns:
            (B, C, H, W); zero where no agent is valid, unless the operator ends in a layer with a
            bias.

        Raises:
            ValueError: Shapes do not fit, or ``ego_T_agent`` is missing where it is needed.
        """
        ...


def masked(maps: Tensor, valid: Tensor) -> Tensor:
    """Maps (B, L, C, H, W) with zero in every cell that is not valid (B, L, H, W).

    Raises:
        ValueError: Shapes do not fit, there is no slot, or ``valid`` is not boolean.
    """
    if maps.ndim != 5 or maps.shape[1] == 0 or valid.shape != maps.shape[:2] + maps.shape[3:]:
        raise ValueError(f'maps {tuple(maps.shape)} and valid {tuple(valid.shape)} do not fit')
    if valid.dtype.is_floating_point:
        raise ValueError('valid must be boolean')
    # Filled, not multiplied: zero times NaN is NaN.
    return maps.masked_fill(~valid[:, :, None].bool(), 0.0)
