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

"""FAX self-attention (FAX-SA): tokens of several agents look at each other, near and far.

Source: CoBEVT, section 3.2; reference sections 3.1 to 3.3.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from cooptrack_core.models.attention.dot_product import attend
from cooptrack_core.models.attention.relative_bias import RelativeBias

Relations = tuple[tuple[int, ...], ...]


class GroupAttention(nn.Module):
    """Attention inside groups of tokens of L agents, with a 3-D relative bias.

    Args:
        dims: Channels C.
        heads: Number of heads.
        window: Edge length P of a group.
        agents: Number of agents the bias knows.
        dropout: On the output.
    """

    def __init__(self, dims: int, heads: int, window: int, agents: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dims)
        self.qkv = nn.Linear(dims, 3 * dims, bias=False)
        self.output = nn.Linear(dims, dims, bias=False)
        self.bias = RelativeBias(window, heads, agents)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, relations: Relations, keep: Tensor | None) -> Tensor:
        """Attend; the residual is the caller's.

        Args:
            x: (G, L P P, C) tokens of G groups, those of one agent together.
            relations: [q][k], agent differences; only the first K agents may be keys.
            keep: (G, K P P) bool, keys that count; None for all. Where none does, all do.

        Returns:
            (G, L P P, C).
        """
        tokens = self.norm(x)
        agents, known = len(relations), len(relations[0])
        dims = x.shape[-1]
        if agents == known:
            q, k, v = self.qkv(tokens).chunk(3, -1)
        else:
            wq, wkv = torch.split(self.qkv.weight, [dims, 2 * dims])
            keys = tokens[:, : tokens.shape[1] // agents * known]
            q = nn.functional.linear(tokens, wq)
            k, v = nn.functional.linear(keys, wkv).chunk(2, -1)
        bias = self.bias(relations)[None]  # (1, heads, q, k)
        if keep is not None:
            hidden = ~keep & keep.any(1, keepdim=True)
            bias = bias.masked_fill(hidden[:, None, None], torch.finfo(bias.dtype).min)
        out = attend(q, k, v, self.heads, bias)
        return cast(Tensor, self.dropout(self.output(out)))


class FeedForward(nn.Module):
    """LayerNorm, Linear, GELU, Linear; the residual is the caller's."""

    def __init__(self, dims: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dims)
        self.expand = nn.Linear(dims, hidden)
        self.contract = nn.Linear(hidden, dims)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        hidden = self.dropout(nn.functional.gelu(self.expand(self.norm(x))))
        return cast(Tensor, self.dropout(self.contract(hidden)))


class MapSelfAttention(nn.Module):
    """Attention of all cells of one map with 2-D relative bias; no norm, no residual.

    Stands at the end of SinBEVT in the released code (reference section 2.6).

    Args:
        dims: Channels C.
        heads: Number of heads.
        size: Edge length P of the map.
        dropout: On the weights and on the output.
    """

    def __init__(self, dims: int, heads: int, size: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.qkv = nn.Linear(dims, 3 * dims, bias=False)
        self.output = nn.Linear(dims, dims, bias=False)
        self.bias = RelativeBias(size, heads)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, P, C) to (B, P, P, C)."""
        q, k, v = self.qkv(x.flatten(1, 2)).chunk(3, -1)
        rate = self.rate if self.training else 0.0
        out = attend(q, k, v, self.heads, self.bias()[None], rate)
        return cast(Tensor, self.dropout(self.output(out))).view_as(x)
