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

"""Weights the released files hold although nothing uses them.

They are kept so that a released state dict survives import and export unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.models.cooptrack.box_code import CODE_SIZE
from cooptrack_core.models.cooptrack.config import ModelConfig


def _code_weights() -> Tensor:
    weights = torch.ones(CODE_SIZE)
    weights[8:] = 0.2
    return weights


class UnusedWeights(nn.Module):
    """Leftovers of the official training code."""

    def __init__(self, dims: int, config: ModelConfig) -> None:
        super().__init__()
        self.register_buffer('criterion_code_weights', _code_weights())
        self.head_code_weights = nn.Parameter(_code_weights(), requires_grad=False)
        self.bev_embed_linear = nn.Linear(dims, dims)
        self.bev_pos_linear = nn.Linear(dims, dims)
        self.dummy_node: nn.Sequential | None = None
        self.dummy_points: nn.Sequential | None = None
        if config.cooperation is not None:
            self.dummy_node = nn.Sequential(
                nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, dims)
            )
            self.dummy_points = nn.Sequential(nn.Linear(3, dims), nn.ReLU(), nn.Linear(dims, 3))
