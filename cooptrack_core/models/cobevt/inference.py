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

"""CoBEVT made ready to run: the same function with fewer operations."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cooptrack_core.models.attention.relative_bias import RelativeBias
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cobevt.sinbevt import SinBevt


def for_inference(model: Cobevt) -> Cobevt:
    """Copy of a model that runs faster.

    Batch norms are folded into their convolutions, images and convolutions run channels last, and
    what follows from the weights (relative biases) or from a calibration (encoded directions,
    queries of the first stage) is computed once. Outputs differ by rounding only. The copy cannot
    be trained and its weights must not change; identity and weights files belong to the original.

    Args:
        model: Any; it is left as it is.
    """
    ready = copy.deepcopy(model).eval()
    ready.requires_grad_(False)
    for module in ready.modules():
        if isinstance(module, (RelativeBias, SinBevt)):
            module.frozen = True
        elif isinstance(module, nn.Sequential):
            for first, second in zip(range(len(module)), range(1, len(module)), strict=False):
                _fold(module, str(first), str(second))
        else:
            for k in (1, 2, 3):
                _fold(module, f'conv{k}', f'bn{k}')
    ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ready.channels_last = True
    ready.unused = None
    return ready


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(parent, conv_name, None), getattr(parent, norm_name, None)
    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        with torch.no_grad():
            setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
        setattr(parent, norm_name, nn.Identity())
