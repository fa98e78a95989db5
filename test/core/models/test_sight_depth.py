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

"""Depths read off the image, and what they say on the cells of the lift encoder."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import small_config

from cooptrack_core.models.bev_encoder.lift import LiftEncoder
from cooptrack_core.models.bev_encoder.projection import depths, project
from cooptrack_core.models.bev_encoder.sight_depth import NUMBERS, SightDepth, agreement
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks


def encoder(hypotheses: int) -> LiftEncoder:
    config = small_config(False)
    bev = dataclasses.replace(config.bev, depth_hypotheses=hypotheses)
    torch.manual_seed(1)
    return LiftEncoder(16, bev, (64, 96), 0.0, OfficialQuirks())


def a_projection() -> torch.Tensor:
    """A camera at the origin that looks along x, in an image of 96 x 64 pixels."""
    k = torch.tensor([[100.0, 0, 48, 0], [0, 100.0, 20, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    look = torch.tensor([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    return (k @ look)[None, None]


@given(claimed=st.floats(2.0, 90.0), depth=st.floats(2.0, 90.0))
def test_agreement_is_largest_where_the_point_is_as_far_as_the_image_says(
    claimed: float, depth: float
) -> None:
    seen = torch.tensor([claimed]).log()
    there = agreement(seen, torch.tensor(claimed))[0]
    here = agreement(seen, torch.tensor(depth))[0]
    assert there[:-1] == pytest.approx(np.ones(NUMBERS - 1), abs=1e-4)
    assert (here[:-1] <= there[:-1] + 1e-6).all()
    assert math.copysign(1.0, float(here[-1]) or 1.0) == math.copysign(1.0, depth - claimed) or (
        abs(depth - claimed) < 1e-3
    )


def test_agreement_keeps_its_precision_where_matrix_products_are_rounded() -> None:
    sight, image = SightDepth(16, 2), torch.randn(1, 16, 4, 6)
    exact = sight(image)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rounded = sight(image)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, exact)


def test_the_depth_of_a_point_is_its_distance_along_the_axis_of_the_camera() -> None:
    points = torch.tensor([[[12.0, 3.0, -1.0], [7.5, -2.0, 0.5]]])
    assert depths(points, a_projection())[0, 0, 0].tolist() == pytest.approx([12.0, 7.5])
    assert project(points, a_projection(), (64, 96), False)[1].all()


def test_depths_begin_without_influence_and_gain_it_by_training() -> None:
    with_depth, without = encoder(3), encoder(0)
    with_depth.load_state_dict(without.state_dict(), strict=False)
    image = torch.randn(1, 1, 16, 8, 12)
    assert torch.equal(
        with_depth.present([image], a_projection()), without.present([image], a_projection())
    )
    with_depth.present([image], a_projection()).square().sum().backward()
    assert with_depth.agree.weight.grad is not None
    assert with_depth.agree.weight.grad.abs().sum() > 0


def test_a_cell_at_the_claimed_depth_is_told_from_its_neighbours_on_the_line_of_sight() -> None:
    lift = encoder(1)
    assert lift.sight is not None
    torch.nn.init.zeros_(lift.sight.head[-1].weight)
    torch.nn.init.constant_(lift.sight.head[-1].bias, math.log(30.0))
    with torch.no_grad():
        lift.agree.weight[:, 0::NUMBERS] = 1.0  # the narrowest bell, all channels alike
        lift.agree.weight[0] = 5.0  # but for one, which the norm cannot take away
        lift.lift.weight.zero_()
        lift.lift.bias.zero_()
        lift.cells.zero_()
    cells = lift.present([torch.zeros(1, 1, 16, 8, 12)], a_projection())[0, :, 0]
    x = lift.points[:, 0, 0]
    seen = cells.abs() > 0
    best = x[seen][cells[seen].argmax()]
    assert abs(float(best) - 30.0) == float((x[seen] - 30.0).abs().min())
