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

import pytest
import torch
from small import config, frame, model, remote
from torch import nn

from cooptrack_core.models.backbones.resnet import Bottleneck, ResNet
from cooptrack_core.models.cooptrack.config import BackboneConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.inference import for_inference


def lived_in(network: CoopTrack) -> CoopTrack:
    """Batch norms with statistics and gains as after training."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


def norms(network: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize('kind', ['residual', 'resnet50', 'convnext_small'])
def test_the_ready_model_gives_the_same_frames(kind: str):
    backbone = BackboneConfig(kind, (8, 8, 8, 16), (1, 1, 1, 1))  # type: ignore[arg-type]
    network = lived_in(model(dataclasses.replace(config(), backbone=backbone)))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    ready = for_inference(network)
    assert norms(ready.backbone) == 0
    memories = [None, None]
    for number in range(2):
        results = []
        for slot, each in enumerate((network, ready)):
            with torch.inference_mode():
                outputs, memories[slot] = each(frame(number), memories[slot], [remote(3, number)])
            results.append(outputs)
        for name in ('boxes', 'logits', 'feats'):
            a, b = (getattr(r.queries, name) for r in results)
            spread = (a.max() - a.min()).item()
            torch.testing.assert_close(a, b, atol=1e-3 * spread, rtol=0)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before), 'the original stays as it is'


@pytest.mark.parametrize('encoder', ['bevformer', 'lift'])
def test_bfloat16_stays_near_and_rounds_no_reference_point(encoder: str):
    network = lived_in(model(config(encoder)))  # type: ignore[arg-type]
    ready = for_inference(network, 'bf16')
    assert ready.learnt.refs.weight.dtype == torch.float32
    assert ready.decoder.layers[0].ffn.expand.weight.dtype == torch.bfloat16
    with torch.inference_mode():
        exact, _ = network(frame(), None, [remote(3)])
        with torch.autocast('cpu', torch.bfloat16):
            near, memory = ready(frame(), None, [remote(3)])
            ready(frame(1), memory, [remote(2, 1)])
    for name in ('boxes', 'logits', 'refs'):
        a, b = getattr(exact.queries, name), getattr(near.queries, name)
        assert b.dtype == torch.float32
        assert (a - b).abs().median() < 0.02 * (a.max() - a.min()), name


def test_deformable_convolutions_keep_their_norm():
    backbone = ResNet(Bottleneck, (8, 8, 8, 8), (1, 1, 1, 1), 8, True, deformable=(4,))
    network = model()
    network.backbone = backbone
    x = torch.randn(1, 3, 64, 96)
    ready = for_inference(lived_in(network))
    assert norms(ready.backbone) == 1
    with torch.inference_mode():
        for a, b in zip(network.backbone.eval()(x), ready.backbone(x), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
