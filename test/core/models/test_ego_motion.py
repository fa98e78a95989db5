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

"""A static world stays put when the agent moves: tracks and the BEV memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import RANGE, config, frame, model

from cooptrack_core.geometry import SE3, BevGrid
from cooptrack_core.models.bev_encoder.motion import (
    can_bus_delta,
    can_bus_of,
    rotate_about_cell_100,
    warp,
    wrong_axis_shift,
)
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.models.cooptrack.queries import choose_learnt, propagate

GRID = BevGrid(-51.2, -51.2, 51.2, 51.2, columns=50, rows=50)


def track(points: torch.Tensor, velocity: tuple[float, float] = (0.0, 0.0)) -> QuerySet:
    """Tracks with bottom centres ``points`` (n, 3), heading along +x."""
    network = model(config())
    n = len(points)
    queries = network.learnt.fresh(torch.arange(n), 3, 4)
    boxes = torch.zeros(n, 10)
    boxes[:, 6] = math.sin(-math.pi / 2)
    boxes[:, 8:10] = torch.tensor(velocity)
    return queries.replace(
        refs=box_code.normalise(points, RANGE), boxes=box_code.with_centre(boxes, points)
    )


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(-3, 3), st.floats(-3, 3), st.floats(-math.pi, math.pi))
def test_a_moving_object_follows_its_world_path(
    turn: float, dx: float, dy: float, heading: float
) -> None:
    # Large world coordinates, as in the data set.
    world_SE3_then = SE3.from_yaw(heading, (439_000.0, 4_420_000.0, 12.0))
    world_SE3_now = world_SE3_then @ SE3.from_yaw(turn, (dx, dy, 0.0))
    points = torch.tensor([[10.0, 5.0, -1.8], [30.0, -12.0, -1.5]])
    velocity = (4.0, -2.0)
    now_SE3_then = world_SE3_now.inverse() @ world_SE3_then
    moved = propagate(
        track(points, velocity),
        torch.from_numpy(now_SE3_then.matrix).float(),
        0.1,
        RANGE,
        heading_stays=False,
    )
    boxes = box_code.to_boxes(moved.boxes)
    bottom = points.numpy() + np.array([0.4, -0.2, 0.0])
    world = world_SE3_then.transform_points(bottom)
    actual = world_SE3_now.transform_points(boxes.centers - [0, 0, 0.5])
    np.testing.assert_allclose(actual, world, atol=1e-3)
    then_world = world_SE3_then.rotate_vectors([4.0, -2.0, 0.0])
    now_world = world_SE3_now.rotate_vectors([*boxes.velocities[0], 0.0])
    np.testing.assert_allclose(now_world, then_world, atol=1e-4)
    now_heading = world_SE3_now.yaw + boxes.yaws[0]
    assert math.cos(now_heading - world_SE3_then.yaw) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(
        box_code.denormalise(moved.refs, RANGE).numpy(), box_code.centre(moved.boxes), atol=1e-4
    )


def test_official_heading_stays_in_the_old_frame() -> None:
    now_T_then = torch.from_numpy(SE3.from_yaw(-0.2).matrix).float()
    tracks = track(torch.tensor([[10.0, 0.0, -1.8]]), (3.0, 0.0))
    moved = propagate(tracks, now_T_then, 0.1, RANGE, heading_stays=True)
    torch.testing.assert_close(moved.boxes[:, 6:], tracks.boxes[:, 6:])


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(-4, 4), st.floats(-4, 4))
def test_the_warped_memory_shows_the_same_world(turn: float, dx: float, dy: float) -> None:
    prev_SE3_now = SE3.from_yaw(turn, (dx, dy, 0.0))

    def field(points: np.ndarray) -> np.ndarray:
        return np.stack([points[..., 0], points[..., 1], 1 + 0 * points[..., 0]], -1)

    cells = GRID.cell_centers().reshape(-1, 2)
    before = torch.from_numpy(field(cells)).float()[None]
    matrix = torch.from_numpy(prev_SE3_now.matrix).float()[None]
    after = warp(before, GRID, matrix)[0].numpy()
    places = prev_SE3_now.transform_points(np.c_[cells, np.zeros(len(cells))])[:, :2]
    inside = (np.abs(places) < 50).all(1)  # bilinear is exact for a linear field
    np.testing.assert_allclose(after[inside], field(places[inside]), atol=1e-3)
    assert (after[(np.abs(places) > 54).any(1)] == 0).all()


def test_no_motion_leaves_the_memory_as_it_is() -> None:
    bev = torch.randn(2, 2500, 4)
    torch.testing.assert_close(
        warp(bev, GRID, torch.eye(4).expand(2, 4, 4)), bev, atol=1e-4, rtol=0
    )
    assert torch.equal(rotate_about_cell_100(bev, GRID, torch.zeros(2)), bev)


def test_the_official_turn_is_about_a_cell_outside_the_grid() -> None:
    bev = torch.zeros(1, 2500, 1)
    bev[0, 25 * 50 + 25] = 1.0  # near the agent itself
    turned = rotate_about_cell_100(bev, GRID, torch.tensor([2.0]))
    row, column = divmod(int(turned.flatten().argmax()), 50)
    # Two degrees about a point 75 cells away in both directions move the agent's own cell.
    assert (row, column) == (28, 23) or abs(row - 25) + abs(column - 25) >= 4


def test_the_official_shift_treats_y_as_forward() -> None:
    can_bus = torch.zeros(1, 18, dtype=torch.float64)
    can_bus[0, 0] = 2.048  # one cell along x, heading 0
    shift = wrong_axis_shift(can_bus, GRID)[0]
    assert shift.tolist() == pytest.approx([0.0, 1 / 50])


def test_can_bus_turns_are_wrapped_unless_official() -> None:
    before, after = can_bus_of(SE3.from_yaw(-0.01).matrix), can_bus_of(SE3.from_yaw(0.01).matrix)
    assert can_bus_delta(after, before, unwrapped=False)[17] == pytest.approx(math.degrees(0.02))
    assert can_bus_delta(after, before, unwrapped=True)[17] < -300
    fresh = can_bus_delta(after, None, unwrapped=True)
    assert fresh[17] == 0 and (fresh[:3] == 0).all() and fresh[16] == pytest.approx(0.01)


def test_queries_nearest_to_tracks_make_room() -> None:
    learnt = torch.tensor([[0.1, 0.1, 0.5], [0.5, 0.5, 0.5], [0.9, 0.9, 0.5], [0.52, 0.5, 0.5]])
    live = torch.tensor([[0.5, 0.5, 0.5], [0.91, 0.9, 0.5]])
    assert choose_learnt(learnt, live, random=False).tolist() == [0, 3]
    assert choose_learnt(learnt, live[:0], random=False).tolist() == [0, 1, 2, 3]
    assert choose_learnt(learnt, live.repeat(5, 1), random=False).tolist() == []


@pytest.mark.parametrize('encoder', ['bevformer', 'lift'])
def test_memory_changes_the_next_frame(encoder: str) -> None:
    network = model(config(encoder))
    with torch.inference_mode():
        _, memory = network(frame(0))
        alone, _ = network(frame(1))
        after, _ = network(frame(1), memory)
    assert alone.reset and not after.reset
    assert (alone.dense.bev - after.dense.bev).abs().max() > 1e-3
