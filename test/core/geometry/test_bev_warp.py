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

"""Warped maps: cells go where their centres go, and nothing is invented."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.geometry.bev_warp import rigid_inverse, warp_maps, warp_to_ego

GRID = MapGrid(rows=12, columns=8, cell=0.5)


def pose(yaw: float, x: float, y: float, z: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.array(SE3.from_yaw(yaw, (x, y, z)).matrix))[None]


def ramp(grid: MapGrid = GRID) -> torch.Tensor:
    """A map whose two channels are the x and y of its own cell centres."""
    return torch.from_numpy(grid.cell_centers()).movedim(-1, 0)[None]


def test_a_map_stays_as_it_is_without_motion():
    maps = torch.randn(2, 3, 12, 8)
    warped, valid = warp_maps(maps, GRID, torch.eye(4, dtype=torch.float64).expand(2, 4, 4))
    torch.testing.assert_close(warped, maps, atol=1e-6, rtol=0)
    assert valid.all()


def test_an_agent_ahead_sees_what_lies_ahead_in_rows_farther_up():
    # Its origin is 2 cells ahead and 1 cell to the left of the ego.
    maps = torch.randn(1, 1, 12, 8)
    warped, valid = warp_maps(maps, GRID, rigid_inverse(pose(0.0, 1.0, 0.5)))
    torch.testing.assert_close(warped[0, :, :10, :7], maps[0, :, 2:, 1:], atol=1e-6, rtol=0)
    assert valid[0, :10, :7].all()
    assert not valid[0, 10:].any() and not valid[0, :, 7:].any()
    assert not warped[0, :, 10:].any()


def test_a_turn_to_the_left_moves_what_is_ahead_to_the_left():
    square = MapGrid(8, 8, 1.0)
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 0, 4] = 1.0  # farthest ahead of the agent, just right of its middle
    warped, valid = warp_maps(maps, square, rigid_inverse(pose(math.pi / 2, 0.0, 0.0)))
    expected = torch.zeros(8, 8)
    expected[3, 0] = 1.0  # farthest left of the ego, just ahead of its middle
    torch.testing.assert_close(warped[0, 0], expected, atol=1e-5, rtol=0)
    assert valid.all()


@settings(max_examples=60, deadline=None)
@given(
    yaw=st.floats(-math.pi, math.pi), x=st.floats(-5, 5), y=st.floats(-5, 5),
    far=st.sampled_from([0.0, 4e6]),
)  # fmt: skip
def test_every_cell_holds_the_place_it_stands_for_in_the_other_frame(yaw, x, y, far):
    """Coordinates are linear in place, so that bilinear sampling is exact off the rim."""
    agent_T_ego = rigid_inverse(pose(0.3, far, far) @ pose(yaw, x, y)) @ pose(0.3, far, far)
    warped, valid = warp_maps(ramp(), GRID, agent_T_ego)
    points = np.concatenate([GRID.cell_centers(), np.zeros((12, 8, 1))], -1)
    matrix = agent_T_ego[0].numpy()
    there = (points @ matrix[:3, :3].T + matrix[:3, 3])[..., :2]
    inside = GRID.contains(there)
    edge = np.abs(np.abs(there) - np.array(GRID.extent) / 2).min(-1) > 1e-6
    np.testing.assert_array_equal(valid[0].numpy()[edge], inside[edge])
    core = (np.abs(there) < np.array(GRID.extent) / 2 - GRID.cell / 2).all(-1)
    found = warped[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(found[core], there[core], atol=1e-5)
    assert not found[~valid[0].numpy()].any()


@settings(max_examples=30, deadline=None)
@given(yaw=st.floats(-4, 4), x=st.floats(-4, 4), y=st.floats(-4, 4), c=st.floats(-3, 3))
def test_a_constant_map_is_constant_up_to_its_edge(yaw, x, y, c):
    warped, valid = warp_maps(torch.full((1, 1, 12, 8), c), GRID, pose(yaw, x, y))
    torch.testing.assert_close(
        warped[:, 0], torch.where(valid, c, 0.0).to(warped), atol=1e-5, rtol=0
    )


def test_two_grids_of_one_area_may_differ_in_cells():
    fine = MapGrid(24, 16, 0.25)
    warped, valid = warp_maps(ramp().float(), GRID, torch.eye(4)[None], target=fine)
    assert warped.shape == (1, 2, 24, 16) and valid.all()
    torch.testing.assert_close(
        warped[..., 1:-1, 1:-1], ramp(fine)[..., 1:-1, 1:-1].float(), atol=1e-5, rtol=0
    )


def test_nearest_keeps_class_ids():
    ids = torch.randint(0, 5, (1, 1, 12, 8)).float()
    warped, _ = warp_maps(ids, GRID, pose(0.4, 0.3, 0.2), mode='nearest')
    assert set(warped.unique().tolist()) <= set(range(5))


def test_gradients_reach_maps_and_poses():
    maps = torch.randn(1, 2, 12, 8, dtype=torch.float64, requires_grad=True)
    matrix = pose(0.2, 0.3, -0.1).clone().requires_grad_()
    torch.autograd.gradcheck(lambda m: warp_maps(m, GRID, pose(0.2, 0.3, -0.1))[0], (maps,))
    warp_maps(maps, GRID, matrix)[0].square().sum().backward()
    assert matrix.grad.isfinite().all() and matrix.grad[0, :2, 3].abs().min() > 0


def test_absent_agents_bring_nothing_whatever_stands_in_their_slot():
    maps = torch.randn(1, 3, 2, 12, 8)
    poses = torch.cat([pose(0, 0, 0), pose(0.5, 1, 0), pose(1, 2, 2)])[None]
    present = torch.tensor([[True, True, False]])
    clean = warp_to_ego(maps, present, poses, GRID)
    spoilt, wrong = maps.clone(), poses.clone()
    spoilt[:, 2], wrong[:, 2] = torch.nan, torch.nan
    for found, expected in zip(warp_to_ego(spoilt, present, wrong, GRID), clean, strict=True):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)
    assert clean[1][:, 0].all() and not clean[1][:, 2].any()


def test_autocast_does_not_move_cells():
    maps = torch.randn(1, 1, 12, 8)
    plain, _ = warp_maps(maps, GRID, pose(0.4, 1.3, 0.2).float())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed, _ = warp_maps(maps, GRID, pose(0.4, 1.3, 0.2).float())
    torch.testing.assert_close(mixed, plain, atol=0, rtol=0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='do not fit'):
        warp_maps(torch.zeros(1, 1, 8, 12), GRID, torch.eye(4)[None])
    with pytest.raises(ValueError, match='do not fit'):
        warp_maps(torch.zeros(2, 1, 12, 8), GRID, torch.eye(4)[None])
    with pytest.raises(ValueError, match='do not fit'):
        warp_to_ego(torch.zeros(1, 2, 1, 12, 8), torch.ones(1, 1).bool(), torch.eye(4), GRID)
