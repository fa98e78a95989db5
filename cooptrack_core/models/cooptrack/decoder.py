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

"""Query decoder: queries talk to each other, sample the BEV map, and move their boxes.

Source: reference section 2.5 (DETR3D-style iterative refinement on a BEV map).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import BevGrid, PerceptionRange
from cooptrack_core.models.attention.deformable import DeformableAttention
from cooptrack_core.models.attention.ffn import FeedForward
from cooptrack_core.models.attention.multihead import MultiheadAttention
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.config import DecoderConfig
from cooptrack_core.models.cooptrack.interface import DecoderOutputs


def class_head(dims: int, out: int) -> nn.Sequential:
    """[Linear, LayerNorm, ReLU] twice, Linear."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(dims, dims), nn.LayerNorm(dims), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(dims, out))


def box_head(dims: int) -> nn.Sequential:
    """[Linear, ReLU] twice, Linear."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(dims, dims), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(dims, box_code.CODE_SIZE))


class DecoderLayer(nn.Module):
    """Self attention, BEV cross attention, feed-forward; post-norm."""

    def __init__(self, dims: int, config: DecoderConfig, dropout: float) -> None:
        super().__init__()
        self.self_attention = MultiheadAttention(dims, config.heads, dropout)
        self.cross_attention = DeformableAttention(dims, config.heads, config.points, dropout)
        self.ffn = FeedForward(dims, config.ffn, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        places: Tensor,
        bev: Tensor,
        shape: tuple[int, int],
        blocked: Tensor | None,
    ) -> Tensor:
        """x, position (B, n, D); places (B, n, 2) on the map; bev (B, G, D)."""
        q = x + position
        x = self.norms[0](x + self.self_attention(q, q, x, blocked))
        x = self.norms[1](x + self.cross_attention(x + position, places, bev, shape))
        out: Tensor = self.norms[2](self.ffn(x))
        return out


class Decoder(nn.Module):
    """The decoder layers with one class and one box head each.

    Args:
        dims: Embedding size D.
        config: Sizes.
        classes: Number of classes C.
        range_: Range of the reference points.
        grid: BEV grid; may be smaller than the range.
        dropout: Of every sub-layer.
    """

    def __init__(
        self,
        dims: int,
        config: DecoderConfig,
        classes: int,
        range_: PerceptionRange,
        grid: BevGrid,
        dropout: float,
    ) -> None:
        super().__init__()
        self.range, self.grid, self.step = range_, grid, config.centre_step
        count = config.layers
        self.layers = nn.ModuleList(DecoderLayer(dims, config, dropout) for _ in range(count))
        self.class_heads = nn.ModuleList(class_head(dims, classes) for _ in range(count))
        self.box_heads = nn.ModuleList(box_head(dims) for _ in range(count))
        self._init(config.zero_start)

    def _init(self, zero_start: bool) -> None:
        for module in [*self.class_heads, *self.box_heads]:
            assert isinstance(module, nn.Sequential)  # noqa: S101 - for the type checker
            for layer in module:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
            last = module[-1]
            assert isinstance(last, nn.Linear)  # noqa: S101 - for the type checker
            if last.out_features == box_code.CODE_SIZE:
                if zero_start:
                    nn.init.zeros_(last.weight)
            else:
                # Every query starts out as background with probability 0.99.
                nn.init.constant_(last.bias, -math.log((1 - 0.01) / 0.01))

    def on_map(self, refs: Tensor) -> Tensor:
        """Reference points (..., 3) in the range to x, y in [0, 1] of the BEV grid."""
        r, g = self.range, self.grid
        if (r.x_min, r.y_min, r.x_max, r.y_max) == (g.x_min, g.y_min, g.x_max, g.y_max):
            return refs[..., :2]
        points = box_code.denormalise(refs, r)[..., :2]
        low = points.new_tensor((g.x_min, g.y_min))
        return (points - low) / points.new_tensor((g.x_max - g.x_min, g.y_max - g.y_min))

    def forward(
        self,
        bev: Tensor,
        feats: Tensor,
        position: Tensor,
        refs: Tensor,
        blocked: Tensor | None = None,
    ) -> DecoderOutputs:
        """Decode.

        Args:
            bev: (B, G, D).
            feats: (B, n, D) query contents.
            position: (B, n, D) positional embeddings, the same for all layers.
            refs: (B, n, 3) normalised reference points.
            blocked: bool, True where query row must not attend to column, (n, n) or
                broadcastable to (B, heads, n, n); None allows all (denoising queries need it).
        """
        shape = (self.grid.rows, self.grid.columns)
        outputs: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        x = feats
        for layer, to_logits, to_box in zip(
            self.layers, self.class_heads, self.box_heads, strict=True
        ):
            x = layer(x, position, self.on_map(refs), bev, shape, blocked)
            moved, boxes = box_code.refine(to_box(x), refs, self.range, self.step)
            outputs.append((x, to_logits(x), boxes, refs))
            refs = moved.detach()
        feats, logits, boxes, starts = (torch.stack(p) for p in zip(*outputs, strict=True))
        # The last reference keeps its graph: its embedding and the refined box depend on it.
        return DecoderOutputs(feats, logits, boxes, starts, last_refs=moved)
