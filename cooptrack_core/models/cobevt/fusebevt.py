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

"""FuseBEVT: agents' maps look at each other in windows and in grids, and become one.

Source: CoBEVT, section 3.2; reference section 3.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from cooptrack_core.models.attention.fax_self import FeedForward, GroupAttention, Relations
from cooptrack_core.models.attention.windows import Cut, merge, partition
from cooptrack_core.models.cobevt.config import FuseBevtConfig
from cooptrack_core.models.cobevt.quirks import CobevtQuirks
from cooptrack_core.models.fusion.map_operator import masked


@functools.lru_cache(maxsize=64)
def relations(agents: int, keys: int, known: int, by_slot: bool) -> Relations:
    """Agent differences that the bias table is asked for.

    Args:
        agents: Slots of the queries.
        keys: Slots of the keys, the first ones.
        known: Agents the table knows; differences stay within.
        by_slot: The difference of the slots; otherwise 0 for the same agent, -1 and 1 between
            the ego and another, 2 between two others.

    Returns:
        [query][key].
    """

    def difference(query: int, key: int) -> int:
        if by_slot or query == key:
            return query - key
        return -1 if query == 0 else 1 if key == 0 else 2

    limit = known - 1
    return tuple(
        tuple(max(-limit, min(limit, difference(q, k))) for k in range(keys))
        for q in range(agents)
    )


class FuseBevtLayer(nn.Module):
    """Attention and MLP in windows, then in grids; either may be left out for ablation."""

    def __init__(self, dims: int, config: FuseBevtConfig) -> None:
        super().__init__()
        self.window = (config.window, config.window)
        heads = dims // config.head_dims

        def attention() -> GroupAttention:
            return GroupAttention(dims, heads, config.window, config.agents, config.dropout)

        def mlp() -> FeedForward:
            return FeedForward(dims, config.hidden, config.dropout)

        self.local_attention = attention() if config.local_attention else None
        self.local_mlp = mlp() if config.local_attention else None
        self.global_attention = attention() if config.global_attention else None
        self.global_mlp = mlp() if config.global_attention else None

    def forward(self, x: Tensor, pairs: Relations, keep: dict[Cut, Tensor | None]) -> Tensor:
        """(B, L, H, W, C) to the same; ``keep`` has the groups' valid keys, None for all."""
        shape = (x.shape[1], x.shape[2], x.shape[3])
        steps: tuple[tuple[Cut, nn.Module | None, nn.Module | None], ...] = (
            ('window', self.local_attention, self.local_mlp),
            ('grid', self.global_attention, self.global_mlp),
        )
        for cut, attention, mlp in steps:
            if attention is not None and mlp is not None:
                groups = partition(x, self.window, cut)
                groups = groups + attention(groups, pairs, keep[cut])
                groups = groups + mlp(groups)
                x = merge(groups, shape, self.window, cut)
        return x


class FuseBevt(nn.Module):
    """The fusion operator of CoBEVT; satisfies ``MapFusion``.

    Any number of agents: of the bias table, made for ``config.agents``, the part around the
    difference zero is used, and its ends for what lies beyond.

    Args:
        dims: Channels C.
        config: Sizes.
        quirks: ``mean_over_all_slots`` and ``agents_by_slot``.
    """

    def __init__(self, dims: int, config: FuseBevtConfig, quirks: CobevtQuirks) -> None:
        super().__init__()
        self.config, self.quirks = config, quirks
        self.layers = nn.ModuleList(FuseBevtLayer(dims, config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dims)
        self.output = nn.Linear(dims, dims)

    def forward(self, maps: Tensor, valid: Tensor, ego_T_agent: Tensor | None = None) -> Tensor:
        """Fuse maps (B, L, C, H, W) with ``valid`` (B, L, H, W) into (B, C, H, W).

        A cell of the result is the mean over the agents whose maps cover it; where there is none,
        the layers after the mean see zero.

        Raises:
            ValueError: Shapes do not fit.
        """
        del ego_T_agent
        everything = self.quirks.mean_over_all_slots
        # With the official mask, cells that are not valid hold features all the same.
        x = maps if self.quirks.mask_transposed else masked(maps, valid)
        x = x.permute(0, 1, 3, 4, 2)
        keys = x.shape[1]
        if everything and keys < self.config.agents:
            # Empty slots are no keys, but they look around and count in the mean.
            empty = x.new_zeros(x.shape[0], self.config.agents - keys, *x.shape[2:])
            x = torch.cat([x, empty], 1)
        pairs = relations(x.shape[1], keys, self.config.agents, self.quirks.agents_by_slot)
        keep = self._keep(valid)
        for layer in self.layers:
            x = layer(x, pairs, keep)
        if everything:
            mean = x.mean(1)
        else:
            weights = valid.to(x) / valid.sum(1, keepdim=True).clamp(min=1)
            mean = torch.einsum('blhwc,blhw->bhwc', x, weights)
        out: Tensor = self.output(self.norm(mean))
        return out.permute(0, 3, 1, 2)

    def _keep(self, valid: Tensor) -> dict[Cut, Tensor | None]:
        """Valid keys (G, L P P) of the groups of both cuts; None where all are valid."""
        if bool(valid.all()):
            return {'window': None, 'grid': None}
        size = (self.config.window, self.config.window)
        window = partition(valid[..., None], size, 'window')[..., 0]
        return {'window': window, 'grid': partition(valid[..., None], size, 'grid')[..., 0]}
