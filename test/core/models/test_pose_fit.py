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

"""A sender's pose error is found from objects that both sides know."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3
from cooptrack_core.models.cooptrack.pose_fit import fit_pose, lever, shifted

PRIOR = torch.diag(torch.tensor([1.0, 1.0, 0.035**2], dtype=torch.float64))
ORIGIN = torch.tensor([10.0, -5.0], dtype=torch.float64)


def street(count: int = 10, seed: int = 0) -> torch.Tensor:
    """Objects (count, 2) at least eight metres apart."""
    rng = np.random.default_rng(seed)
    rows = [[8.0 * k + rng.uniform(-1, 1), rng.uniform(-15, 15)] for k in range(count)]
    return torch.tensor(rows, dtype=torch.float64)


def sure(count: int, spread: float = 0.3) -> torch.Tensor:
    return (spread**2 * torch.eye(2, dtype=torch.float64)).expand(count, 2, 2)


def disturbed(own: torch.Tensor, x: float, y: float, yaw: float) -> torch.Tensor:
    """The same objects by a pose that has to be moved by (x, y, yaw) to be right."""
    cos, sin = np.cos(-yaw), np.sin(-yaw)
    turn = torch.tensor([[cos, -sin], [sin, cos]])
    moved = own - torch.tensor([x, y]) - ORIGIN
    return moved @ turn.T + ORIGIN


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(-0.05, 0.05), st.integers(0, 20))
def test_shift_and_turn_are_found(x: float, y: float, yaw: float, seed: int):
    own = street(seed=seed)
    fit = fit_pose(own, sure(10), disturbed(own, x, y, yaw), sure(10), PRIOR, ORIGIN)
    assert fit.pairs == 10
    np.testing.assert_allclose(fit.shift[:2], [x, y], atol=0.25)
    assert float(fit.shift[2]) == pytest.approx(yaw, abs=0.006)
    assert float(fit.covariance[0, 0]) < 0.1  # it says that it knows


def test_strangers_do_not_pull():
    own = street()
    theirs = disturbed(own, 0.8, -0.5, 0.02)
    far = torch.tensor([[200.0, 90.0], [-80.0, 70.0]], dtype=torch.float64)
    fit = fit_pose(
        torch.cat([own, far[:1]]), sure(11), torch.cat([theirs, far[1:]]), sure(11), PRIOR, ORIGIN
    )
    assert fit.pairs == 10
    np.testing.assert_allclose(fit.shift[:2], [0.8, -0.5], atol=0.15)


def test_an_exact_pose_and_an_empty_road_change_nothing():
    own = street()
    for mine, theirs, prior in (
        (own, own + 1.0, torch.zeros(3, 3)),
        (own[:0], own, PRIOR),
        (own, own[:0], PRIOR),
    ):
        fit = fit_pose(mine, sure(len(mine)), theirs, sure(len(theirs)), prior, ORIGIN)
        assert not fit.shift.any()
        assert fit.pairs == 0


def test_the_prior_holds_what_one_vague_object_says():
    own = street(1)
    fit = fit_pose(own, sure(1, 5.0), own + 2.0, sure(1, 5.0), 0.01 * PRIOR, ORIGIN)
    assert fit.shift[:2].abs().max() < 0.05


def test_a_turned_pose_moves_points_as_the_lever_says():
    pose = SE3.from_yaw(0.4, (10.0, -5.0, 1.0)).matrix
    shift = np.array([0.3, -0.2, 1e-4])
    local = np.array([20.0, 3.0, 0.0, 1.0])
    before, after = (m @ local for m in (pose, shifted(pose, shift)))
    points = torch.from_numpy(before[None, :2])
    moved = (lever(points, ORIGIN) @ torch.from_numpy(shift))[0]
    np.testing.assert_allclose(after[:2] - before[:2], moved, atol=1e-6)
    assert after[2] == before[2]
