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

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cooptrack_core.models.cooptrack.model import CoopTrack

# Who comes before a norm: torchvision's naming, in blocks and in the stem.
_PAIRS = (('conv1', 'bn1'), ('conv2', 'bn2'), ('conv3', 'bn3'))


def for_inference(model: CoopTrack) -> CoopTrack:
    """Copy of a model with batch norms folded into their convolutions, channels last.

    Outputs differ by rounding only. The copy cannot be trained, and its state dict is another
    one; identity and weights files belong to the original.

    Args:
        model: Any; it is left as it is.
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
    return ready


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(parent, conv_name, None), getattr(parent, norm_name, None)
    # A deformable convolution multiplies by gains of its own and keeps its norm.
    if type(conv) is not nn.Conv2d or not isinstance(norm, nn.BatchNorm2d):
        return
    with torch.no_grad():
        setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
    setattr(parent, norm_name, nn.Identity())
