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

"""Losses against values computed by hand, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.training.losses import (
    Share,
    association_loss,
    box_share,
    combine,
    matched_losses,
    memory_bank_losses,
    sigmoid_focal,
)
from cooptrack_core.training.matching import Matching, match_tracks
from cooptrack_core.training.targets import GroundTruth


def truth(n: int = 2) -> GroundTruth:
    codes = torch.zeros(n, 10)
    codes[:, 0] = torch.arange(n) * 10.0
    codes[:, 7] = 1.0
    return GroundTruth(codes, torch.zeros(n, dtype=torch.int64), torch.arange(n) + 11)


def test_focal_at_even_odds_is_what_a_pencil_says():
    logits, target = torch.zeros(2), torch.tensor([1.0, 0.0])
    loss = sigmoid_focal(logits, target, alpha=0.25, gamma=2.0)
    assert loss[0].item() == pytest.approx(0.25 * 0.25 * math.log(2))
    assert loss[1].item() == pytest.approx(0.75 * 0.25 * math.log(2))


def test_negative_alpha_switches_class_weights_off():
    logits, target = torch.zeros(2), torch.tensor([1.0, 0.0])
    loss = sigmoid_focal(logits, target, alpha=-1.0, gamma=1.0)
    torch.testing.assert_close(loss, torch.full((2,), 0.5 * math.log(2)))


@given(st.floats(-8, 8), st.sampled_from([0.0, 1.0]))
@settings(deadline=None, max_examples=50)
def test_focal_pushes_the_logit_towards_its_target(logit: float, target: float):
    x = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    sigmoid_focal(x, torch.tensor([target], dtype=torch.float64), 0.25, 2.0).sum().backward()
    assert (x.grad.item() < 0) == (target == 1.0)


def test_focal_gradient_agrees_with_finite_differences():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = (torch.rand(4, 3) > 0.5).double()
    assert torch.autograd.gradcheck(lambda t: sigmoid_focal(t, target, 0.25, 2.0), (x,))


def test_box_loss_weights_velocity_a_fifth():
    codes = truth(1).codes.clone()
    codes[0, 0] += 3.0
    codes[0, 8] += 5.0
    matching = Matching(torch.tensor([0]), torch.tensor([11]), 0, 1)
    share = box_share(codes, matching, truth(1))
    assert share.total.item() == pytest.approx(0.25 * (3.0 + 0.2 * 5.0))
    assert share.count == 1


def test_an_unknown_velocity_neither_costs_nor_pulls():
    objects = truth(1)
    objects.codes[0, 8:] = math.nan
    codes = truth(1).codes.clone().requires_grad_()
    matching = Matching(torch.tensor([0]), torch.tensor([11]), 0, 1)
    share = box_share(codes, matching, objects)
    share.total.backward()
    assert share.total.item() == 0.0
    assert torch.isfinite(codes.grad).all() and (codes.grad[0, 8:] == 0).all()


def test_a_disappeared_track_counts_in_the_class_average_but_not_in_the_memory_bank():
    logits = torch.zeros(4, 3)
    codes = torch.cat([truth(2).codes, torch.full((2, 10), 50.0)])
    ids = torch.tensor([11, 12, 99, -1])
    matching = match_tracks(logits, codes, ids, truth(2))
    first, box = matched_losses(logits, codes, matching, truth(2))
    second, _ = memory_bank_losses(logits, codes, matching, truth(2))
    assert (first.count, second.count, box.count) == (3, 2, 2)
    torch.testing.assert_close(first.total, second.total)


def test_a_batch_is_averaged_over_its_items_not_over_its_samples():
    shares = [Share(torch.tensor(6.0), 1), Share(torch.tensor(2.0), 3)]
    assert combine(shares).item() == pytest.approx(2.0)
    assert combine([Share(torch.tensor(4.0), 0)]).item() == pytest.approx(4.0)


def test_association_loss_is_zero_without_a_positive_pair_and_ten_times_the_mean_with_one():
    logits = torch.zeros(2, 3, requires_grad=True)
    labels = torch.zeros(2, 3)
    silent = association_loss(logits, labels)
    silent.backward()
    assert silent.item() == 0.0 and (logits.grad == 0).all()
    labels[0, 1] = 1
    assert association_loss(logits, labels).item() == pytest.approx(10 * 0.5 * math.log(2))
    paper = association_loss(logits, labels, alpha=0.5).item()
    assert paper == pytest.approx(5 * 0.5 * math.log(2))
    assert association_loss(torch.zeros(0, 3), torch.zeros(0, 3)).item() == 0.0
