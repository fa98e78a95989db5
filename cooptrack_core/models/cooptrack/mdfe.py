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

"""MDFE, the motion half: what a box says about its object, as a feature.

The semantic half is the decoder's query feature itself. Source: reference section 2.8.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from cooptrack_core.models.cooptrack import box_code


def point_net(width: int, dims: int) -> nn.Sequential:
    """[Linear, LayerNorm, ReLU] 3 -> width -> width -> D."""
    layers: list[nn.Module] = []
    for a, b in ((3, width), (width, width), (width, dims)):
        layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU()]
    return nn.Sequential(*layers)


class MotionFeatures(nn.Module):
    """Box corners through a point network, yaw and velocity through another, then fused."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.corner_net = point_net(width, dims)
        self.velocity_net = point_net(width, dims)
        self.fusion = nn.Sequential(nn.Linear(2 * dims, dims), nn.LayerNorm(dims), nn.ReLU())

    def forward(self, boxes: Tensor) -> Tensor:
        """Box codes (n, 10) to motion features (n, D), all >= 0."""
        corners = self.corner_net(box_code.corner_offsets(boxes)).max(-2).values  # (n, D)
        state = torch.cat([box_code.psi(boxes)[:, None], boxes[:, 8:10]], -1)
        return cast(Tensor, self.fusion(torch.cat([corners, self.velocity_net(state)], -1)))
