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

"""Baseline: the ego alone."""

from __future__ import annotations

from torch import Tensor, nn

from cooptrack_core.models.fusion.map_operator import masked


class NoFusion(nn.Module):
    """The ego's own map; a ``MapFusion`` without parameters."""

    def forward(self, maps: Tensor, valid: Tensor, ego_T_agent: Tensor | None = None) -> Tensor:
        """Return slot 0; see ``MapFusion``."""
        return masked(maps[:, :1], valid[:, :1])[:, 0]
