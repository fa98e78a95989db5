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

"""Boxes and roads drawn into a map."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, Boxes3D, MapGrid
from cooptrack_core.geometry.road_map import RoadMap, draw_boxes, draw_roads, fill_polygons

GRID = MapGrid()
BLOCK = np.array([[10.0, 5, 0], [30, 5, 0], [30, 12, 0], [10, 12, 0]])


def _box(x: float, y: float, yaw: float, length: float, width: float) -> Boxes3D:
    return Boxes3D([[x, y, 0.8]], [[length, width, 1.6]], [yaw], [[0.0, 0.0]])


@given(
    st.floats(-60, 60), st.floats(-60, 60), st.floats(-3.2, 3.2), st.floats(2, 12),
    st.floats(0.8, 3),
)  # fmt: skip
def test_a_box_covers_its_cells_and_a_rim_of_no_more_than_two(x, y, yaw, length, width):
    drawn = draw_boxes(GRID, _box(x, y, yaw, length, width)) > 0
    centers = np.concatenate([GRID.cell_centers(), np.full((256, 256, 1), 0.8)], -1).reshape(-1, 3)
    inside = _box(x, y, yaw, length - 0.02, width - 0.02).contains(centers).reshape(256, 256)
    rim = 4 * np.sqrt(2) * GRID.cell  # two cells on both sides, also across a corner
    around = _box(x, y, yaw, length + rim, width + rim).contains(centers).reshape(256, 256)
    assert drawn[inside].all()
    assert not drawn[~around].any()


def test_ahead_is_up_and_left_is_left():
    drawn = draw_boxes(GRID, _box(30, 20, 0, 4, 2)) > 0
    assert drawn[:128, :128].any()
    assert drawn.sum() == drawn[:128, :128].sum()


def test_overlapping_areas_add_up():
    both = fill_polygons(GRID, [BLOCK, BLOCK + np.array([5.0, 0, 0])])
    assert (both[fill_polygons(GRID, [BLOCK]) > 0] > 0).all()


def test_lines_stay_on_the_road_and_crosswalks_are_outlines():
    beyond = np.array([[0.0, 8, 0], [45, 8, 0]])
    walk = np.array([[15.0, 6, 0], [25, 6, 0], [25, 7.5, 0], [15, 7.5, 0]])
    area, lane = draw_roads(GRID, RoadMap((BLOCK,), (beyond,), (walk,)))
    assert not (lane > 0)[area == 0].any()
    rows, columns = np.round(GRID.cells_of([[20.0, 8.0], [20.0, 6.0], [20.0, 10.5]])).astype(int).T
    assert (lane[rows, columns] > 0).tolist() == [True, True, False]


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(-3.1, 3.1))
def test_roads_move_against_the_vehicle(x, y, yaw):
    """A cell of the moved map is road exactly where the vehicle's own geometry says so."""
    world_SE3_body = SE3.from_yaw(yaw, [x, y, 5.0])
    moved = RoadMap((BLOCK,), (), ()).transformed(world_SE3_body.inverse())
    area = draw_roads(GRID, moved)[0] > 0
    flat = np.concatenate([GRID.cell_centers(), np.full((256, 256, 1), -5.0)], -1)
    px, py, _ = np.moveaxis(world_SE3_body.transform_points(flat), -1, 0)
    margin = 2 * GRID.cell
    inside = (px > 10.01) & (px < 29.99) & (py > 5.01) & (py < 11.99)
    near = (px > 10 - margin) & (px < 30 + margin) & (py > 5 - margin) & (py < 12 + margin)
    assert area[inside].all()
    assert not area[~near].any()
