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

"""Residual backbones: ResNet-50 in torchvision's layout, and a small one of basic blocks.

Parameter names are torchvision's, so its weights load as they are.
Source: He et al., 2016; stride in the 3 x 3 convolution as in torchvision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.models.backbones.deform_conv import DeformableConv


def _norm_relu(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    out: Tensor = norm(x)
    return out.relu_() if not out.requires_grad else out.relu()


class _Shortcut(nn.Module):
    """What the block types share: the optional projection of the shortcut."""

    downsample: nn.Sequential | None

    def _make_shortcut(self, channels: int, out: int, stride: int) -> None:
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def _shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


class BasicBlock(_Shortcut):
    """Two 3 x 3 convolutions."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self._make_shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        out = _norm_relu(self.conv1(x), self.bn1)
        out = self.bn2(self.conv2(out)) + self._shortcut(x)
        return torch.relu(out)


class Bottleneck(_Shortcut):
    """1 x 1, 3 x 3, 1 x 1 convolutions; four times wider at the end."""

    expansion = 4

    def __init__(
        self,
        channels: int,
        width: int,
        stride: int = 1,
        caffe: bool = False,
        deformable: bool = False,
    ) -> None:
        super().__init__()
        out = width * self.expansion
        first, second = (stride, 1) if caffe else (1, stride)
        self.conv1 = nn.Conv2d(channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2: nn.Module = (
            DeformableConv(width, width, second)
            if deformable
            else nn.Conv2d(width, width, 3, second, 1, bias=False)
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self._make_shortcut(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 width, H / stride, W / stride)."""
        out = _norm_relu(self.conv1(x), self.bn1)
        out = _norm_relu(self.conv2(out), self.bn2)
        out = self.bn3(self.conv3(out)) + self._shortcut(x)
        return torch.relu(out)


class ResNet(nn.Module):
    """Stem and four stages at strides 4, 8, 16, 32.

    Args:
        block: BasicBlock or Bottleneck.
        widths: Block widths of the stages.
        blocks: Number of blocks of the stages.
        stem: Channels of the 7 x 7 stem.
        frozen_norm: Batch norm stays in evaluation mode and its parameters do not train.
        caffe: Bottlenecks stride in their first convolution, as the weights of Caffe want it.
        deformable: Stages whose 3 x 3 convolutions are deformable, from 1.
        frozen_stages: The stem and so many stages do not train; 0 trains the stem as well.
        stages: Number of stages built, from the first.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        widths: tuple[int, int, int, int],
        blocks: tuple[int, int, int, int],
        stem: int,
        frozen_norm: bool,
        *,
        caffe: bool = False,
        deformable: tuple[int, ...] = (),
        frozen_stages: int = 0,
        stages: int = 4,
    ) -> None:
        super().__init__()
        self.frozen_norm = frozen_norm
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = stem
        for i, (width, count) in enumerate(zip(widths[:stages], blocks[:stages], strict=True)):
            stage: list[nn.Module] = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                if issubclass(block, Bottleneck):
                    stage.append(block(channels, width, stride, caffe, i + 1 in deformable))
                else:
                    stage.append(block(channels, width, stride))
                channels = width * block.expansion
            self.add_module(f'layer{i + 1}', nn.Sequential(*stage))
        self.out_channels = tuple(w * block.expansion for w in widths[:stages])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif isinstance(module, nn.BatchNorm2d) and frozen_norm:
                module.weight.requires_grad_(False)
                module.bias.requires_grad_(False)

        if frozen_stages:
            for name in ('conv1', 'bn1', *(f'layer{k + 1}' for k in range(frozen_stages))):
                getattr(self, name).requires_grad_(False)

    def train(self, mode: bool = True) -> ResNet:
        """Switch the mode, but leave frozen norms in evaluation mode."""
        super().train(mode)
        if self.frozen_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the stages' features, finest first."""
        x = self.maxpool(_norm_relu(self.conv1(images), self.bn1))
        features = []
        for i in range(len(self.out_channels)):
            x = getattr(self, f'layer{i + 1}')(x)
            features.append(x)
        return features


def resnet50(frozen_norm: bool = True) -> ResNet:
    """ResNet-50, torchvision layout."""
    return ResNet(Bottleneck, (64, 128, 256, 512), (3, 4, 6, 3), 64, frozen_norm)


def resnet34(frozen_norm: bool = False, stages: int = 4) -> ResNet:
    """ResNet-34, torchvision layout."""
    return ResNet(BasicBlock, (64, 128, 256, 512), (3, 4, 6, 3), 64, frozen_norm, stages=stages)


def resnet101_deformable(frozen_norm: bool = True) -> ResNet:
    """ResNet-101 in Caffe's style, deformable in stages 3 and 4, stem and stage 1 frozen."""
    return ResNet(
        Bottleneck,
        (64, 128, 256, 512),
        (3, 4, 23, 3),
        64,
        frozen_norm,
        caffe=True,
        deformable=(3, 4),
        frozen_stages=1,
    )


def small_resnet(
    widths: tuple[int, int, int, int],
    blocks: tuple[int, int, int, int],
    frozen_norm: bool = False,
    stages: int = 4,
) -> ResNet:
    """A backbone of basic blocks that trains from scratch on a CPU."""
    return ResNet(BasicBlock, widths, blocks, widths[0], frozen_norm, stages=stages)
