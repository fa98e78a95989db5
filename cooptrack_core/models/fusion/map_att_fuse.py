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

"""Baseline AttFuse (Xu et al., OPV2V, ICRA 2022): attention over agents, cell by cell.

The operator of the OPV2V paper: softmax(x xᵀ / √C) x over the agents of a cell, one head, no
projections, and the ego's row of the result. What CoBEVT's camera tables call AttFuse has layers
and 395 264 parameters; it is ``map_cav_attention``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.models.fusion.map_operator import masked


class AttFuse(nn.Module):
    """Single-head attention of the ego's cell over all agents' cells, without parameters.

    The released code has no mask, zeros of absent agents take part; here only valid cells do.
    """

    def forward(self, maps: Tensor, valid: Tensor, ego_T_agent: Tensor | None = None) -> Tensor:
        """Fuse; see ``MapFusion``."""
        x = masked(maps, valid)
        logits = torch.einsum('bchw,blchw->blhw', x[:, 0], x) / x.shape[2] ** 0.5
        return torch.einsum('blhw,blchw->bchw', softmax_over_agents(logits, valid), x)


def softmax_over_agents(logits: Tensor, valid: Tensor) -> Tensor:
    """Weights (B, L, H, W) over the valid agents of each cell; all zero where there is none."""
    # A finite floor: a cell without agents would be NaN with -inf.
    floor = torch.finfo(logits.dtype).min
    weights = logits.masked_fill(~valid, floor).softmax(1)
    return weights.masked_fill(~valid, 0.0)
