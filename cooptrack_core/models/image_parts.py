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

"""Backbone and neck that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from cooptrack_core.models.backbones.convnext import ConvNeXt, convnext_small
from cooptrack_core.models.backbones.resnet import (
    ResNet,
    resnet50,
    resnet101_deformable,
    small_resnet,
)
from cooptrack_core.models.cooptrack.config import BackboneConfig
from cooptrack_core.models.neck import PyramidNeck, SingleLevelNeck, TopDownNeck


def make_backbone(config: BackboneConfig) -> ResNet | ConvNeXt:
    """Build the backbone a configuration names."""
    if config.kind == 'resnet50':
        return resnet50(config.frozen_norm)
    if config.kind == 'resnet101':
        return resnet101_deformable(config.frozen_norm)
    if config.kind == 'convnext_small':
        return convnext_small()
    return small_resnet(config.widths, config.blocks, config.frozen_norm)


def make_neck(config: BackboneConfig, channels: Sequence[int], dims: int) -> nn.Module:
    """Build the neck that belongs to a backbone of so many channels per stage."""
    if config.kind == 'resnet50':
        return SingleLevelNeck(channels[-1], dims)
    if config.levels > 1:
        return PyramidNeck(channels, dims)
    return TopDownNeck(channels, dims)
