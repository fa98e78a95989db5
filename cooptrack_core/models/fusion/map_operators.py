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

"""The baselines that fuse feature maps, by the names of the tables.

FuseBEVT is part of ``models.cobevt``. Map fusion (``map_nearest``) is none of these: it fuses
decoded maps, so its agents run the whole single-agent model.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from cooptrack_core.models.fusion.map_att_fuse import AttFuse
from cooptrack_core.models.fusion.map_cav_attention import CavAttention
from cooptrack_core.models.fusion.map_disconet import DiscoNet
from cooptrack_core.models.fusion.map_max import FCooper
from cooptrack_core.models.fusion.map_no_fusion import NoFusion
from cooptrack_core.models.fusion.map_v2vnet import V2VNet

OperatorName = Literal['no_fusion', 'f_cooper', 'self_attention', 'att_fuse', 'v2vnet', 'disconet']
# What a map model can be told to fuse with; a flat literal, as configuration files need it.
FusionName = Literal[
    'fusebevt', 'no_fusion', 'f_cooper', 'self_attention', 'att_fuse', 'v2vnet', 'disconet'
]


def build_operator(name: OperatorName, channels: int) -> nn.Module:
    """Build a ``MapFusion`` for maps of C channels in its published form.

    'att_fuse' is the operator behind that row of CoBEVT's camera tables (``CavAttention``);
    'self_attention' is the one of the OPV2V paper, without parameters.

    Raises:
        ValueError: No operator has this name.
    """
    if name == 'no_fusion':
        return NoFusion()
    if name == 'f_cooper':
        return FCooper()
    if name == 'self_attention':
        return AttFuse()
    if name == 'att_fuse':
        return CavAttention(channels)
    if name == 'v2vnet':
        return V2VNet(channels)
    if name == 'disconet':
        return DiscoNet(channels)
    raise ValueError(f'no fusion operator {name!r}')
