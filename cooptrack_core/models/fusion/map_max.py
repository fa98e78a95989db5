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

"""Baseline F-Cooper (Chen et al., SEC 2019): the largest value per cell and channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.models.fusion.map_operator import masked


class FCooper(nn.Module):
    """Element-wise maximum over agents; a ``MapFusion`` without parameters.

    CoBEVT's camera version takes the maximum over five slots with the zeros of absent agents
    among them, which no agent sent; here only valid cells take part.
    """

    def forward(self, maps: Tensor, valid: Tensor, ego_T_agent: Tensor | None = None) -> Tensor:
        """Fuse; see ``MapFusion``."""
        lowest = masked(maps, valid).masked_fill(~valid[:, :, None], -torch.inf)
        return lowest.amax(1).masked_fill(~valid.any(1)[:, None], 0.0)
