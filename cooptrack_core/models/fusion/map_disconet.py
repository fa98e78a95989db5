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

"""Baseline DiscoNet (Li et al., NeurIPS 2021): a learnt weight per sender and cell.

    w_ji = ReLU(1x1 stack 2C → 128 → 32 → 8 → 1)([h_j, h_i])     h_i ← Σ_j softmax_j(w_ji) ⊙ h_j

The defaults are CoBEVT's camera variant: three rounds over all agents and a linear layer at the
end (reference fusion_baselines 2.4), 54 145 parameters at 128 channels. One round without that
layer is the operator of the paper. The paper's distillation from early fusion is training, not
part of the operator; CoBEVT's tables do without it.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from cooptrack_core.models.fusion.map_pairs import PairFusion, Pairs


class DiscoNet(PairFusion):
    """Weighted sum over agents with a matrix of weights per edge; a ``MapFusion``.

    Args:
        channels: C of a map.
        rounds: How often all agents fuse.
        linear: End with a linear layer.
    """

    def __init__(self, channels: int, rounds: int = 3, linear: bool = True) -> None:
        super().__init__()
        self.rounds = rounds
        layers: list[nn.Module] = []
        widths = (2 * channels, 128, 32, 8)
        for wide, narrow in itertools.pairwise(widths):
            layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU()]
        self.weight = nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.ReLU())
        self.out = nn.Linear(channels, channels) if linear else nn.Identity()

    def _fuse(self, states: Tensor, pairs: Pairs) -> Tensor:
        for last in [False] * (self.rounds - 1) + [True]:
            # Only the ego's map is read after the last round.
            receivers = 1 if last else states.shape[1]
            seen = pairs.seen(states)[:, :receivers]  # (B, 1 or L, L, C, H, W)
            weights = self._weights(states[:, :receivers], seen, pairs.valid[:, :receivers])
            states = (weights[:, :, :, None] * seen).sum(2)
        fused: Tensor = self.out(states[:, 0].movedim(1, -1)).movedim(-1, 1)
        return fused

    def _weights(self, own: Tensor, seen: Tensor, valid: Tensor) -> Tensor:
        """(B, receivers, L, H, W) softmax weights over the senders, zero where not valid.

        The layers see valid cells only: the statistics of their normalisation are those of maps,
        not of padding.
        """
        shape = (*valid.shape, own.shape[2])
        theirs = seen.movedim(3, -1).expand(shape)[valid]
        mine = own[:, :, None].movedim(3, -1).expand(shape)[valid]
        logits = theirs.new_full(valid.shape, torch.finfo(theirs.dtype).min)
        logits[valid] = self.weight(torch.cat([theirs, mine], -1))[:, 0].to(logits)
        return logits.softmax(2).masked_fill(~valid, 0.0)
