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

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small import config, frame, model

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError
from cooptrack_core.models.backbones.convnext import convnext_small
from cooptrack_core.models.backbones.deform_conv import DeformableConv
from cooptrack_core.models.backbones.pretrained import load_backbone
from cooptrack_core.models.backbones.resnet import (
    Bottleneck,
    ResNet,
    resnet50,
    resnet101_deformable,
)
from cooptrack_core.models.cooptrack.config import BackboneConfig, ImageConfig, ModelConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.preprocess import image_tensor
from cooptrack_core.models.image_parts import make_backbone
from cooptrack_core.models.neck import PyramidNeck
from cooptrack_core.resources import config_path


def taps_by_hand(conv: DeformableConv, x: torch.Tensor) -> torch.Tensor:
    """Deformable convolution as four nested loops with explicit bilinear weights."""
    guide = conv.conv_offset(x)[0].detach()
    height, width = x.shape[-2:]
    out = torch.zeros(len(conv.weight), *guide.shape[-2:])
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            for k in range(9):
                v = i * conv.stride - 1 + k // 3 + float(guide[2 * k, i, j])
                u = j * conv.stride - 1 + k % 3 + float(guide[2 * k + 1, i, j])
                value = torch.zeros(x.shape[1])
                for row in (int(np.floor(v)), int(np.floor(v)) + 1):
                    for column in (int(np.floor(u)), int(np.floor(u)) + 1):
                        if 0 <= row < height and 0 <= column < width:
                            share = (1 - abs(v - row)) * (1 - abs(u - column))
                            value += share * x[0, :, row, column]
                gain = torch.sigmoid(guide[18 + k, i, j])
                out[:, i, j] += conv.weight.detach()[:, :, k // 3, k % 3] @ value * gain
    return out


@given(st.integers(0, 10_000), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=10)
def test_deformable_convolution_equals_the_written_out_sum(seed: int, stride: int):
    torch.manual_seed(seed)
    conv = DeformableConv(3, 4, stride)
    torch.nn.init.normal_(conv.conv_offset.weight, std=0.3)
    torch.nn.init.normal_(conv.conv_offset.bias)
    x = torch.randn(1, 3, 6, 7)
    torch.testing.assert_close(conv(x)[0].detach(), taps_by_hand(conv, x), atol=1e-4, rtol=1e-4)


def test_untrained_offsets_leave_half_a_plain_convolution():
    conv, x = DeformableConv(5, 6, 2), torch.randn(2, 5, 9, 12)
    plain = F.conv2d(x, conv.weight, None, 2, 1)
    torch.testing.assert_close(conv(x), plain / 2, atol=1e-5, rtol=1e-5)


def test_the_stages_have_the_channels_and_strides_of_the_papers():
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for network, channels in (
            (resnet101_deformable().eval(), (256, 512, 1024, 2048)),
            (convnext_small().eval(), (96, 192, 384, 768)),
        ):
            maps = network(x)
            sizes = [(16, 24), (8, 12), (4, 6), (2, 3)]
            assert [tuple(m.shape[1:]) for m in maps] == [
                (c, *size) for c, size in zip(channels, sizes, strict=True)
            ]
            pyramid = PyramidNeck(channels, 32)(maps)
            assert [tuple(m.shape[1:]) for m in pyramid] == [
                (32, 8, 12), (32, 4, 6), (32, 2, 3), (32, 1, 2),
            ]  # fmt: skip


def test_parameters_are_as_many_as_torchvision_counts():
    # torchvision: ResNet-101 44,549,160 and ConvNeXt-S 50,223,688, classifiers of 2,049,000 and
    # 769,000 + 1,536 (its norm) included.
    plain = ResNet(Bottleneck, (64, 128, 256, 512), (3, 4, 23, 3), 64, True)
    assert sum(p.numel() for p in plain.parameters()) == 44_549_160 - 2_049_000
    assert sum(p.numel() for p in convnext_small().parameters()) == 50_223_688 - 770_536


def test_stem_and_first_stage_of_the_large_network_do_not_train():
    network = make_backbone(BackboneConfig('resnet101'))
    training = {n.split('.')[0] for n, p in network.named_parameters() if p.requires_grad}
    assert training == {'layer2', 'layer3', 'layer4'}


@pytest.mark.parametrize('name', ['r101', 'convnext_small'])
def test_the_shipped_large_configurations_are_valid(name: str):
    path = config_path(f'models/{name}.yaml')
    read = from_mapping(ModelConfig, load_yaml(path), path=path)
    assert read.backbone.levels == 4 and read.bev.grid.rows == 200


@pytest.mark.parametrize('kind', ['resnet101', 'convnext_small'])
def test_a_model_on_four_levels_runs_and_learns(kind: str):
    settings = dataclasses.replace(config(), backbone=BackboneConfig(kind), cooperation=None)  # type: ignore[arg-type]
    network = model(settings)
    outputs, memory = network(frame(), None)
    assert torch.isfinite(outputs.queries.boxes).all() and memory is not None
    network.train()
    dense = network.perceive(frame().images[None], frame().agent_to_image[None])
    dense.bev.square().mean().backward()
    spatial = network.bev_encoder.layers[0].spatial
    assert spatial.sampling_offsets.out_features == 4 * 4 * 8 * 2
    moved = [p.grad is not None and bool(p.grad.any()) for p in network.neck.parameters()]
    assert all(moved), 'every level must reach the cells'


def test_one_level_attends_as_before_and_more_levels_share_one_softmax():
    one = CoopTrack(config()).bev_encoder.layers[0].spatial
    assert one.attention_weights.out_features == 4 * 8
    four = CoopTrack(dataclasses.replace(config(), backbone=BackboneConfig('convnext_small')))
    spatial = four.bev_encoder.layers[0].spatial
    torch.nn.init.zeros_(spatial.output_proj.bias)
    torch.nn.init.eye_(spatial.output_proj.weight)
    torch.nn.init.eye_(spatial.value_proj.weight)
    torch.nn.init.zeros_(spatial.value_proj.bias)
    same = [torch.ones(1, 1, 32, *size) for size in ((8, 12), (4, 6), (4, 4), (4, 4))]
    places = torch.full((1, 1, 3, 4, 2), 0.5)
    cells, visible = torch.arange(3), torch.ones(1, 1, 3, dtype=torch.bool)
    with torch.no_grad():
        spatial.sampling_offsets.bias.zero_()
        out = spatial(torch.zeros(1, 100, 32), same, places, visible, cells)
    torch.testing.assert_close(out[:, :3], torch.ones(1, 3, 32))


def test_channels_are_swapped_where_the_weights_want_blue_first():
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0] = 200  # red
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    rgb = image_tensor(image, ImageConfig(32, 32, zero, one))
    bgr = image_tensor(image, ImageConfig(32, 32, zero, one, bgr=True))
    assert rgb[:, 0, 0].tolist() == [200, 0, 0] and bgr[:, 0, 0].tolist() == [0, 0, 200]


Change = Callable[[dict[str, torch.Tensor]], None]


def test_backbone_weights_of_others_find_their_places(tmp_path: Path):
    torch.manual_seed(0)
    source = ResNet(Bottleneck, (64, 128, 256, 512), (3, 4, 23, 3), 64, True).state_dict()
    path = tmp_path / 'resnet101.pth'
    torch.save(source | {'fc.weight': torch.zeros(1000, 2048), 'fc.bias': torch.zeros(1000)}, path)
    network = resnet101_deformable()
    load_backbone(network, path)
    own = network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in source.items())
    torch.save({'state_dict': {f'img_backbone.{k}': v for k, v in own.items()}}, path)
    load_backbone(resnet101_deformable(), path)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (lambda s: s.pop('layer2.0.conv1.weight'), r'1 missing.*layer2\.0\.conv1\.weight'),
        (lambda s: s.update({'layer9.x': torch.zeros(1)}), r'1 unexpected.*layer9\.x'),
        (lambda s: s.update({'conv1.weight': torch.zeros(1)}), r'1 misshaped.*conv1\.weight'),
        (lambda s: s.clear() or s.update({'x': torch.zeros(1)}), r'has no conv1\.weight'),
    ],
)
def test_backbone_weights_that_do_not_fit_are_named(change: Change, named: str, tmp_path: Path):
    state = resnet50().state_dict()
    change(state)
    torch.save(state, tmp_path / 'weights.pth')
    with pytest.raises(InputError, match=named):
        load_backbone(resnet50(), tmp_path / 'weights.pth')
