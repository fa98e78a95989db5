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

"""Baseline V2VNet (Wang et al., ECCV 2020): agents pass messages, a gated unit updates each map.

In every round each agent i takes a message of every agent j, itself included,

    m_ji = M_ji ⊙ conv3x3([h_j, h_i])        M_ji: cells of i that the map of j covers
    h_i  ← u ⊙ tanh(conv3x3([h_i, mean_j m_ji, 0])),   u = σ(conv3x3([h_i, mean_j m_ji, 0]))

and after the last a linear layer reads the ego's map (reference fusion_baselines 2.3). The zero is
the hidden state of a ConvGRU that no released code carries from round to round, so its reset gate
and its weights for the state have no effect; they are kept, as parameters are counted with them:
1 639 040 at 128 channels. The paper's latency compensation is in none of these codes either.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.models.fusion.map_operator import masked
from cooptrack_core.models.fusion.map_pairs import PairFusion, Pairs


class V2VNet(PairFusion):
    """Message passing over maps; a ``MapFusion``.

    Args:
        channels: C of a map.
        rounds: 3 in CoBEVT's camera tables, 2 in LiDAR models.
    """

    def __init__(self, channels: int, rounds: int = 3) -> None:
        super().__init__()
        self.channels, self.rounds = channels, rounds
        self.message = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.gates = nn.Conv2d(3 * channels, 2 * channels, 3, padding=1)  # reset, update
        self.candidate = nn.Conv2d(3 * channels, channels, 3, padding=1)
        self.out = nn.Linear(channels, channels)

    def _fuse(self, states: Tensor, pairs: Pairs) -> Tensor:
        heard = pairs.valid.flatten(3).any(-1).sum(2).clamp(min=1)  # (B, L) senders
        for _ in range(self.rounds):
            messages = self._messages(states, pairs).masked_fill(~pairs.valid[:, :, :, None], 0.0)
            mean = messages.sum(2) / heard[:, :, None, None, None]
            states = masked(self._update(states, mean), pairs.own)
        fused: Tensor = self.out(states[:, 0].movedim(1, -1)).movedim(-1, 1)
        return fused

    def _messages(self, states: Tensor, pairs: Pairs) -> Tensor:
        """(B, L, L, C, H, W), receiver, then sender: the convolution of both maps.

        It is linear, so the receiver's share is computed once for all its senders.
        """
        theirs, own = torch.split(self.message.weight, self.channels, 1)
        seen = pairs.seen(states)
        sent = F.conv2d(seen.flatten(0, 2), theirs, padding=1)
        received = F.conv2d(states.flatten(0, 1), own, self.message.bias, padding=1)
        own_share = torch.unflatten(received, 0, states.shape[:2])[:, :, None]
        return torch.unflatten(sent, 0, seen.shape[:3]) + own_share

    def _update(self, states: Tensor, mean: Tensor) -> Tensor:
        """Apply the gated unit, without its zero state, to (B, L, C, H, W)."""
        c = self.channels
        x = torch.cat([states, mean], 2).flatten(0, 1)
        bias = self.gates.bias
        assert bias is not None  # noqa: S101 - for the type checker
        gate = F.conv2d(x, self.gates.weight[c:, : 2 * c], bias[c:], padding=1).sigmoid()
        new = F.conv2d(x, self.candidate.weight[:, : 2 * c], self.candidate.bias, padding=1).tanh()
        return torch.unflatten(gate * new, 0, states.shape[:2])
