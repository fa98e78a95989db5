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

"""Relative position bias of tokens on square maps, of one map or of several agents' maps.

Source: Swin (Liu et al., 2021), in three dimensions CoBEVT; reference sections 2.6 and 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RelativeBias(nn.Module):
    """One learnt number per head and difference (agent, row, column) of query and key.

    A frozen module (``models/cobevt/inference.py``) computes every bias once.

    Args:
        size: Edge length P of the map of tokens.
        heads: Number of heads.
        agents: Number of agents L the table knows.
    """

    def __init__(self, size: int, heads: int, agents: int = 1) -> None:
        super().__init__()
        self.size, self.heads, self.agents = size, heads, agents
        count = (2 * agents - 1) * (2 * size - 1) ** 2
        self.weight = nn.Parameter(torch.empty(count, heads))
        nn.init.trunc_normal_(self.weight, std=0.02)
        self.frozen = False
        self._known: dict[tuple[tuple[int, ...], ...], Tensor] = {}

    def forward(self, relations: tuple[tuple[int, ...], ...] = ((0,),)) -> Tensor:
        """Build the bias.

        Args:
            relations: [q][k] is the agent difference of query map q and key map k, between
                1 - L and L - 1; one map by default.

        Returns:
            (heads, Q P P, K P P) for Q query maps and K key maps.
        """
        if self.frozen and relations in self._known:
            return self._known[relations]
        p, span = self.size, 2 * self.size - 1
        table = torch.unflatten(self.weight, 0, (2 * self.agents - 1, span, span))
        rows = torch.tensor(relations, device=self.weight.device) + self.agents - 1
        # Sliding windows over the table: [..., a, b, heads, i, j] is the entry (a + i, b + j), and
        # with i = P - 1 - a' that of the difference a - a'.
        slides = table[rows].unfold(2, p, 1).unfold(3, p, 1).flip(-2, -1)
        bias: Tensor = slides.permute(4, 0, 2, 3, 1, 5, 6)  # (heads, Q, P, P, K, P, P)
        queries, keys = rows.shape[0] * p * p, rows.shape[1] * p * p
        bias = bias.reshape(self.heads, queries, keys)
        if self.frozen:
            self._known[relations] = bias
        return bias


def pair_index(size: int, agents: int) -> Tensor:
    """(L P P, L P P) int64: the row of the table that belongs to each pair of tokens."""
    axes = [torch.arange(n) for n in (agents, size, size)]
    places = torch.stack(torch.meshgrid(*axes, indexing='ij'), -1).flatten(0, 2)
    agent, row, column = (places[:, None] - places[None]).unbind(-1)
    span = 2 * size - 1
    return ((agent + agents - 1) * span + row + size - 1) * span + column + size - 1
