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

import pytest
import torch

from cooptrack_core.models.cooptrack.interface import DecoderOutputs
from cooptrack_core.training.layers import layer_losses
from cooptrack_core.training.losses import (
    class_loss,
    combine,
    matched_losses,
    placement_quality,
)
from cooptrack_core.training.matching import match_tracks
from cooptrack_core.training.targets import GroundTruth


def objects(number: int, draw: torch.Generator) -> GroundTruth:
    codes = torch.randn(number, 10, generator=draw) * 8
    if number:
        codes[0, 8:] = float('nan')  # an object of unknown velocity
    return GroundTruth(codes, torch.arange(number) % 3, torch.arange(number) + 5)


def outputs(layers: int, frames: int, queries: int, draw: torch.Generator) -> DecoderOutputs:
    logits = torch.randn(layers, frames, queries, 3, generator=draw, requires_grad=True)
    boxes = (torch.randn(layers, frames, queries, 10, generator=draw) * 8).requires_grad_()
    nothing = torch.zeros(1)
    return DecoderOutputs(nothing, logits, boxes, nothing, nothing)


@pytest.mark.parametrize('quality', [0.0, 2.5])
@pytest.mark.parametrize('sizes', [(3, 0, 5), (0, 0), (12,)])
def test_losses_computed_at_once_equal_those_of_frame_after_frame(
    sizes: tuple[int, ...], quality: float
):
    draw = torch.Generator().manual_seed(len(sizes))
    truths, decoded = [objects(n, draw) for n in sizes], outputs(2, len(sizes), 9, draw)
    at_once = layer_losses(decoded, truths, skip=1, quality=quality)
    free = torch.full((8,), -1)
    for layer in range(2):
        shares = [
            matched_losses(logits, codes, match_tracks(logits, codes, free, truth), truth, quality)
            for logits, codes, truth in zip(
                decoded.logits[layer, :, 1:], decoded.boxes[layer, :, 1:], truths, strict=True
            )
        ]
        classes, boxes = combine([s[0] for s in shares]), combine([s[1] for s in shares])
        torch.testing.assert_close(at_once[f'frame_0_loss_cls_{layer}'], classes)
        torch.testing.assert_close(at_once[f'frame_0_loss_bbox_{layer}'], boxes)
    torch.stack(list(at_once.values())).sum().backward()
    assert torch.isfinite(decoded.logits.grad).all()
    assert not decoded.logits.grad[:, :, 0].any(), 'skipped queries must not learn here'


def test_a_match_counts_the_less_the_farther_it_is_off():
    wanted = torch.zeros(4, 10)
    found = torch.zeros(4, 10)
    found[:, 0] = torch.tensor([0.0, 0.5, 2.0, 8.0])
    aim = placement_quality(found, wanted, 2.5)
    assert aim[0] == 1 and (aim.diff() < 0).all() and aim[3] < 0.05
    assert (placement_quality(found, wanted, 0.0) == 1).all()


def test_a_score_equal_to_the_placement_is_left_alone():
    aim = torch.tensor([0.2, 0.7])
    logits = torch.logit(aim).requires_grad_()
    class_loss(logits, aim, 2.5).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(2), atol=1e-6, rtol=0)
    low = (torch.logit(aim) - 0.5).requires_grad_()
    class_loss(low, aim, 2.5).sum().backward()
    assert (low.grad < 0).all()
