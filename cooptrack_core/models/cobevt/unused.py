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

"""What the released files hold but the released model never uses."""

from __future__ import annotations

from torch import Tensor, nn

from cooptrack_core.models.attention.relative_bias import pair_index
from cooptrack_core.models.cobevt.config import CHANNELS, CobevtConfig, FuseBevtConfig


class UnusedIndex(nn.Module):
    """Tables that say which bias belongs to which pair of tokens; here they are computed."""

    local_index: Tensor
    global_index: Tensor

    def __init__(self, config: FuseBevtConfig) -> None:
        super().__init__()
        index = pair_index(config.window, config.agents)
        self.register_buffer('local_index', index)
        self.register_buffer('global_index', index.clone())


class UnusedCobevt(nn.Module):
    """The classifier of the ResNet, index tables, and the static head of the dynamic model."""

    def __init__(self, config: CobevtConfig) -> None:
        super().__init__()
        self.classifier = nn.Linear(512, 1000)
        self.layers = nn.ModuleList()
        if config.fusion is not None:
            self.layers.extend(UnusedIndex(config.fusion) for _ in range(config.fusion.depth))
        self.static_head = None
        if config.targets == ('dynamic',):
            # Its channels are those of the dynamic head.
            trunk = config.decoder.channels[-1]
            self.static_head = nn.Conv2d(trunk, CHANNELS['dynamic'], 3, padding=1)
