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

"""A model made ready to run: the same function with fewer operations."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cooptrack_core.models.attention.multihead import MultiheadAttention
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.quantise import quantise_products

Precision = Literal['fp32', 'bf16', 'int8']
# Parts with large matrix products.
_HEAVY = ('bev_encoder', 'decoder', 'reasoning')
# Who comes before a norm: torchvision's naming, in blocks and in the stem.
_PAIRS = (('conv1', 'bn1'), ('conv2', 'bn2'), ('conv3', 'bn3'))


def for_inference(model: CoopTrack, precision: Precision = 'fp32') -> CoopTrack:
    """Copy of a model with batch norms folded into their convolutions, channels last.

    Outputs differ by rounding only. The copy cannot be trained, and its state dict is another
    one; identity and weights files belong to the original.

    Args:
        model: Any; it is left as it is.
        precision: ``bf16`` keeps the large weights in bfloat16, so that autocast, without which
            such a copy does not run, need not round them for every frame. ``int8`` multiplies
            the features of encoder, decoder and reasoning in eight bits; the image network needs
            an engine for that (``backends.py``).
    """
    ready = copy.deepcopy(model).eval()
    ready.requires_grad_(False)
    for module in ready.backbone.modules():
        for conv_name, norm_name in _PAIRS:
            _fold(module, conv_name, norm_name)
        if isinstance(module, nn.Sequential) and len(module) == 2:
            _fold(module, '0', '1')
    for part in (ready.backbone, ready.neck):
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ready.channels_last = True
    if precision == 'bf16':
        for name in ('backbone', 'neck', *_HEAVY):
            part = getattr(ready, name)
            if part is not None:
                _round(part)
    elif precision == 'int8':
        for name in _HEAVY:
            part = getattr(ready, name)
            if part is not None:
                quantise_products(part)
    return ready


def _round(part: nn.Module) -> None:
    """Keep the weights of what multiplies matrices in bfloat16; norms and embeddings stay."""
    for module in part.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(torch.bfloat16)
        elif isinstance(module, MultiheadAttention):
            for weight in (module.in_proj_weight, module.in_proj_bias):
                weight.data = weight.data.to(torch.bfloat16)


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(parent, conv_name, None), getattr(parent, norm_name, None)
    # A deformable convolution multiplies by gains of its own and keeps its norm.
    if type(conv) is not nn.Conv2d or not isinstance(norm, nn.BatchNorm2d):
        return
    with torch.no_grad():
        setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
    setattr(parent, norm_name, nn.Identity())
