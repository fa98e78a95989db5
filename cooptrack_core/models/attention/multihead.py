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

"""Multi-head attention with positions added to query and key only (as in DETR)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention in ``heads`` heads; the residual is the caller's.

    Args:
        dims: Embedding size D.
        heads: Number of heads; divides D.
        dropout: On the attention weights and on the output, as in the official layers.
    """

    def __init__(self, dims: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dims, dims))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dims))
        self.out_proj = nn.Linear(dims, dims)
        # In place of the three matrices above, see quantise.py.
        self.projections: nn.ModuleList | None = None
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, q, D), position included.
            key: (B, k, D), position included.
            value: (B, k, D).
            blocked: bool, True where attention is forbidden, broadcastable to (B, heads, q, k).

        Returns:
            (B, q, D).
        """
        if key.shape[1] == 1 and blocked is None:
            # Softmax over one key is 1, so the value passes; query and key cannot matter.
            v = self._project(2, value)
            return cast(Tensor, self.dropout(self.out_proj(v.expand_as(query))))
        q, k, v = (
            torch.unflatten(self._project(i, x), -1, (self.heads, -1)).transpose(1, 2)
            for i, x in enumerate((query, key, value))
        )  # (B, heads, n, d)
        dropout = self.attention_dropout if self.training else 0.0
        if q.shape[2] == 1:
            out = _attend_once(q, k, v, blocked, dropout)
        elif q.device.type == 'cpu' and q.requires_grad:
            out = _attend_plainly(q, k, v, blocked, dropout)
        else:
            mask = None if blocked is None else ~blocked
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return cast(Tensor, self.dropout(self.out_proj(out.transpose(1, 2).flatten(2))))

    def _project(self, index: int, x: Tensor) -> Tensor:
        """Queries (0), keys (1) or values (2) of tokens."""
        if self.projections is not None:
            return cast(Tensor, self.projections[index](x))
        rows = slice(index * x.shape[-1], (index + 1) * x.shape[-1])
        return F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])


def _attend_plainly(
    q: Tensor, k: Tensor, v: Tensor, blocked: Tensor | None, dropout: float
) -> Tensor:
    """Attention written out: on CPUs the fused kernel's backward pass takes twice as long."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, q, k)
    if blocked is not None:
        scores = scores.masked_fill(blocked, float('-inf'))
    return F.dropout(scores.softmax(-1).to(v.dtype), dropout) @ v


def _attend_once(
    q: Tensor, k: Tensor, v: Tensor, blocked: Tensor | None, dropout: float
) -> Tensor:
    """Attention of one query per batch entry; the fused kernel is slow for many short ones."""
    scores = (q * k).sum(-1) * q.shape[-1] ** -0.5  # (B, heads, k)
    if blocked is not None:
        scores = scores.masked_fill(blocked[:, :, 0], float('-inf'))
    weights = F.dropout(scores.softmax(-1), dropout)
    return (weights[..., None] * v).sum(2, keepdim=True)
