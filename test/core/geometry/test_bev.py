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

"""Perception ranges and BEV grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cooptrack_core.geometry import BevGrid, MapGrid, PerceptionRange

RANGE = PerceptionRange(-51.2, -40.0, -5.0, 51.2, 60.0, 3.0)


@given(arrays(np.float64, (4, 3), elements=st.floats(-200, 200)))
def test_normalising_and_back_changes_nothing(points):
    np.testing.assert_allclose(RANGE.denormalise(RANGE.normalise(points)), points, atol=1e-9)


def test_the_corners_of_the_range_are_zero_and_one():
    np.testing.assert_allclose(RANGE.normalise([-51.2, -40.0, -5.0]), 0.0)
    np.testing.assert_allclose(RANGE.normalise([51.2, 60.0, 3.0]), 1.0)
    np.testing.assert_allclose(RANGE.extent, [102.4, 100.0, 8.0])


def test_containment_looks_at_x_and_y_only_and_leaves_the_rim_out():
    points = [[0, 0, 99], [51.3, 0, 0], [0, -40.0, 0], [-51.1, 59.9, 0]]
    assert RANGE.contains_xy(points).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    'values', [(0, 0, 0, 0, 1, 1), (5, 0, 0, 1, 1, 1), (0, 0, 0, 1, 1, np.inf)]
)
def test_an_empty_range_is_refused(values):
    with pytest.raises(ValueError, match='empty or not finite'):
        PerceptionRange(*values)


def test_columns_run_along_x_and_rows_along_y():
    grid = BevGrid(-10.0, -2.0, 10.0, 4.0, columns=5, rows=3)
    assert grid.cell_size == (4.0, 2.0)
    centers = grid.cell_centers()
    assert centers.shape == (3, 5, 2)
    np.testing.assert_allclose(centers[0, :, 0], [-8, -4, 0, 4, 8])
    np.testing.assert_allclose(centers[:, 0, 1], [-1, 1, 3])
    # Row-major: index = row * columns + column.
    np.testing.assert_allclose(centers.reshape(-1, 2)[1 * 5 + 4], [8, 1])


@pytest.mark.parametrize('values', [(0, 0, 1, 1, 0, 3), (0, 0, 1, 1, 3, -1), (1, 0, 1, 1, 3, 3)])
def test_a_grid_without_cells_is_refused(values):
    with pytest.raises(ValueError, match='grid'):
        BevGrid(*values)


def test_a_map_is_an_image_heading_up():
    centers = MapGrid(rows=4, columns=2, cell=0.5).cell_centers()
    assert centers.shape == (4, 2, 2)
    # Farthest ahead and left first, farthest behind and right last.
    np.testing.assert_allclose(centers[0, 0], [0.75, 0.25])
    np.testing.assert_allclose(centers[3, 1], [-0.75, -0.25])


def test_the_default_map_covers_a_hundred_metres_and_its_features_too():
    grid = MapGrid()
    assert grid.extent == (100.0, 100.0)
    assert grid.coarser(8) == MapGrid(32, 32, 3.125)
    with pytest.raises(ValueError, match='do not divide'):
        grid.coarser(7)


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 4.0))
def test_cells_and_their_centres_are_inverse_to_each_other(rows, columns, cell):
    grid = MapGrid(rows, columns, cell)
    centers = grid.cell_centers()
    assert grid.contains(centers).all()
    expected = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing='ij'), -1)
    np.testing.assert_allclose(grid.cells_of(centers), expected, atol=1e-9)


@pytest.mark.parametrize('point', [[2.1, 0], [-2.1, 0], [0, 1.1], [0, -1.1]])
def test_points_beyond_a_side_are_not_on_the_map(point):
    assert not MapGrid(rows=4, columns=2, cell=1.0).contains(point)


@pytest.mark.parametrize('values', [(0, 3, 1.0), (3, -1, 1.0), (3, 3, 0.0), (3, 3, np.nan)])
def test_a_map_without_cells_is_refused(values):
    with pytest.raises(ValueError, match='a map'):
        MapGrid(*values)
