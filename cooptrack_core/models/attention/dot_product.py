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

"""Scaled dot-product attention of tokens in several heads; who computes it best."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention in ``heads`` heads, logits divided by the root of the head size.

    Args:
        query: (B, q, C).
        key: (B, k, C).
        value: (B, k, C).
        heads: Number of heads; divides C.
        bias: Added to the logits, broadcastable to (B, heads, q, k); or bool, True where a key
            may be looked at. Every query needs a key.
        dropout: Share of the weights dropped.

    Returns:
        (B, q, C).
    """
    q, k, v = (torch.unflatten(x, -1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    if q.device.type == 'cpu' and q.requires_grad:
        # Written out: on CPUs the fused kernel's backward pass takes twice as long.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, q, k)
        if bias is not None and not bias.dtype.is_floating_point:
            scores = scores.masked_fill(~bias, float('-inf'))
        elif bias is not None:
            scores = scores + bias
        out = F.dropout(scores.softmax(-1).to(v.dtype), dropout) @ v
    else:
        if bias is not None and bias.dtype.is_floating_point:
            bias = bias.to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
    result: Tensor = out.transpose(1, 2).flatten(2)
    return result
