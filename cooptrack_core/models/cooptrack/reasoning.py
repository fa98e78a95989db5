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

"""Temporal and spatial reasoning over the queries' short histories.

Source: PF-Track's past reasoning as used by CoopTrack (reference section 2.9): semantic features
look back in time and then at each other; motion features look back in time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.models.attention.ffn import FeedForward
from cooptrack_core.models.attention.multihead import MultiheadAttention
from cooptrack_core.models.cooptrack.config import ReasoningConfig
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.models.cooptrack.queries import sinusoid


class ReasoningLayer(nn.Module):
    """Self attention, cross attention to a memory, feed-forward; post-norm."""

    def __init__(self, dims: int, config: ReasoningConfig, dropout: float) -> None:
        super().__init__()
        self.self_attention = MultiheadAttention(dims, config.heads, dropout)
        self.cross_attention = MultiheadAttention(dims, config.heads, dropout)
        self.ffn = FeedForward(dims, config.ffn, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(
        self, x: Tensor, position: Tensor, memory: Tensor, key: Tensor, blocked: Tensor | None
    ) -> Tensor:
        """x, position (B, q, D); memory (B, k, D) and key = memory with its position."""
        q = x + position
        x = self.norms[0](x + self.self_attention(q, q, x))
        x = self.norms[1](x + self.cross_attention(x + position, key, memory, blocked))
        out: Tensor = self.norms[2](self.ffn(x))
        return out


class ReasoningTransformer(nn.Module):
    """A stack of reasoning layers and a final norm."""

    def __init__(self, dims: int, config: ReasoningConfig, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ReasoningLayer(dims, config, dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(dims)

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        memory: Tensor,
        memory_position: Tensor,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Look from x (B, q, D) at memory (B, k, D); padding (B, k) is True for empty slots."""
        blocked = None if padding is None else padding[:, None, None]
        key = memory + memory_position
        for layer in self.layers:
            x = layer(x, position, memory, key, blocked)
        out: Tensor = self.norm(x)
        return out


class SpatialTemporalReasoning(nn.Module):
    """The three reasoning transformers and their common time encoding."""

    time_code: Tensor

    def __init__(
        self, dims: int, config: ReasoningConfig, dropout: float, looks_back: int | None = None
    ) -> None:
        """Build the transformers.

        Args:
            dims: Embedding size.
            config: Sizes.
            dropout: Of the transformers.
            looks_back: See ``PartsConfig.history``.
        """
        super().__init__()
        self.looks_back = looks_back
        self.temporal = ReasoningTransformer(dims, config, dropout)
        self.spatial = ReasoningTransformer(dims, config, dropout)
        self.motion = ReasoningTransformer(dims, config, dropout)
        self.time_mlp = nn.Sequential(nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, dims))
        steps = max(config.history - 1, 1)
        times = torch.arange(config.history, dtype=torch.float32) / steps
        self.register_buffer('time_code', sinusoid(times, dims), persistent=False)

    def _look_back(
        self,
        transformer: ReasoningTransformer,
        x: Tensor,
        history: Tensor,
        times: Tensor,
        padding: Tensor,
    ) -> Tensor:
        """Objects x (n, D) look at their own histories (n, L, D), newest last."""
        out: Tensor
        if self.looks_back == 0:
            return x
        if self.looks_back is not None:
            padding = padding.clone()
            padding[:, : -self.looks_back] = True
        lone = padding[:, :-1].all(-1)
        if self.training or not lone.any():
            out = transformer(x[:, None], times[-1:], history, times, padding)
            return out[:, 0]
        # Most objects are new and have one slot to look at: then the attention passes its value.
        out = torch.empty_like(x)
        out[lone] = transformer(x[lone, None], times[-1:], history[lone, -1:], times[-1:])[:, 0]
        old = ~lone
        if old.any():
            out[old] = transformer(x[old, None], times[-1:], history[old], times, padding[old])[
                :, 0
            ]
        return out

    def forward(self, queries: QuerySet) -> QuerySet:
        """Append this frame to the histories, reason, and return the updated queries.

        The newest history slot then holds the reasoned features without their graph.
        """
        hist_feats = torch.cat([queries.hist_feats[:, 1:], queries.feats[:, None]], 1)
        hist_motion = torch.cat([queries.hist_motion[:, 1:], queries.motion[:, None]], 1)
        newest = torch.zeros_like(queries.hist_padding[:, :1])
        padding = torch.cat([queries.hist_padding[:, 1:], newest], 1)  # (n, L)

        times = self.time_mlp(self.time_code)  # (L, D)
        embeds = queries.embeds[None]  # (1, n, D)
        feats = self._look_back(self.temporal, queries.feats, hist_feats, times, padding)  # (n, D)
        feats = self.spatial(feats[None], embeds, feats[None], embeds)[0]  # all are one sequence
        motion = self._look_back(self.motion, queries.motion, hist_motion, times, padding)

        return queries.replace(
            feats=feats,
            motion=motion,
            hist_feats=torch.cat([hist_feats[:, :-1], feats[:, None].detach()], 1),
            hist_motion=torch.cat([hist_motion[:, :-1], motion[:, None].detach()], 1),
            hist_padding=padding,
        )
