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

"""Semantic maps as occupancy grids, image, labels and markers: every cell at its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.structures import BevMap, Source
from cooptrack_ros.bags import bag_types
from cooptrack_ros.conversions import MapMarkers, label_info, map_to_occupancy, map_to_semantic
from cooptrack_ros.conversions.geometry import yaw_of
from cooptrack_ros.conversions.map_markers import rectangles

TYPES = bag_types()
GRID = MapGrid(6, 4, 0.5)
MAP_SE3_WORLD = SE3(np.eye(3), np.array([-1000.0, -2000.0, -10.0]))
BODY = SE3.from_yaw(2.0, [1010.0, 2020.0, 11.0])
ADD, DELETE, DELETE_ALL = 0, 2, 3


def made(vehicle=(), lane=(), drivable=(), source=Source.EGO, grid=GRID, stamp_ns=5) -> BevMap:
    """A map with these cells sure, all others impossible."""
    probabilities = np.zeros((3, grid.rows, grid.columns), np.float32)
    for layer, cells in enumerate((vehicle, drivable, lane)):
        for cell in cells:
            probabilities[layer][cell] = 1.0
    probabilities[1] = np.maximum(probabilities[1], probabilities[2])
    whose = np.full((grid.rows, grid.columns), int(source))
    return BevMap(
        's', 'f', stamp_ns, grid, BODY, probabilities, ('vehicle', 'drivable', 'lane'), whose
    )


def through_cdr(message, name):
    store = TYPES.store
    return store.deserialize_cdr(store.serialize_cdr(message, name), name)


@given(row=st.integers(0, 5), column=st.integers(0, 3))
def test_a_cell_of_the_map_is_at_the_same_place_in_the_grid(row, column):
    message = map_to_occupancy(TYPES, made(vehicle=[(row, column)]), 'vehicle', MAP_SE3_WORLD)
    message = through_cdr(message, 'nav_msgs/msg/OccupancyGrid')
    assert message.header.frame_id == 'map' and message.header.stamp.nanosec == 5
    info = message.info
    (found,) = np.flatnonzero(message.data)
    assert message.data[found] == 100 and len(message.data) == info.width * info.height == 24
    # As nav_msgs says: row-major, cell (i, j) lies i resolutions along x of the origin, j along y.
    j, i = divmod(int(found), info.width)
    place = np.array([i + 0.5, j + 0.5, 0]) * info.resolution
    corner = info.origin.position
    origin = SE3.from_yaw(yaw_of(info.origin.orientation), [corner.x, corner.y, corner.z])
    expected = np.array([*GRID.cell_centers()[row, column], 0.0])
    np.testing.assert_allclose(
        origin.transform_points(place),
        (MAP_SE3_WORLD @ BODY).transform_points(expected),
        atol=1e-6,
    )


def test_cells_of_nobody_are_unknown_in_grid_and_image():
    nobody = made(source=Source.UNKNOWN)
    grid = map_to_occupancy(TYPES, nobody, 'lane', MAP_SE3_WORLD)
    assert set(grid.data.tolist()) == {-1}
    assert set(map_to_semantic(TYPES, nobody, 'ego/base_link').data.tolist()) == {255}
    with pytest.raises(ValueError, match='not in'):
        map_to_occupancy(TYPES, nobody, 'house', MAP_SE3_WORLD)


def test_the_image_is_heading_up_and_its_labels_name_every_id():
    found = made(vehicle=[(0, 1)], lane=[(0, 0)], drivable=[(5, 3)])
    image = map_to_semantic(TYPES, found, 'ego/base_link')
    image = through_cdr(image, 'sensor_msgs/msg/Image')
    assert (image.encoding, image.height, image.width, image.step) == ('mono8', 6, 4, 4)
    pixels = image.data.reshape(6, 4)
    assert [pixels[0, 1], pixels[0, 0], pixels[5, 3], pixels[3, 3]] == [3, 2, 1, 0]
    info = through_cdr(label_info(TYPES, 5, 'ego/base_link'), 'vision_msgs/msg/LabelInfo')
    assert [(c.class_id, c.class_name) for c in info.class_map] == [
        (0, 'background'), (1, 'drivable'), (2, 'lane'), (3, 'vehicle'), (255, 'UNLABELED'),
    ]  # fmt: skip


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_rectangles_cover_exactly_the_cells_and_none_twice(mask):
    count = np.zeros(mask.shape, int)
    for top, bottom, left, right in rectangles(mask):
        count[top:bottom, left:right] += 1
    np.testing.assert_array_equal(count, mask.astype(int))


def test_markers_show_each_class_at_its_place_and_remove_what_is_gone():
    builder = MapMarkers(TYPES)
    first = builder.update(made(vehicle=[(0, 0), (1, 0)], lane=[(5, 3)]), MAP_SE3_WORLD)
    first = through_cdr(first, 'visualization_msgs/msg/MarkerArray').markers
    assert [(m.ns, m.id, m.action) for m in first] == [
        ('', 0, DELETE_ALL), ('bev_lane', 1, ADD), ('bev_vehicle', 1, ADD),
    ]  # fmt: skip
    for marker in first:
        assert marker.header.frame_id == 'map' and marker.pose.orientation.w == 1
    vehicle = first[2]
    assert vehicle.color.a > 0 and not vehicle.frame_locked
    points = np.array([[p.x, p.y, p.z] for p in vehicle.points])
    here = (MAP_SE3_WORLD @ BODY).inverse().transform_points(points)
    assert here[:, 0].min() == pytest.approx(0.5) and here[:, 0].max() == pytest.approx(1.5)
    assert here[:, 1].min() == pytest.approx(0.5) and here[:, 1].max() == pytest.approx(1.0)
    triangles = points.reshape(-1, 3, 3)
    edges = triangles[:, 1:] - triangles[:, :1]
    normals = np.cross(edges[:, 0], edges[:, 1])
    assert (normals[:, 2] > 0).all()  # seen from above
    assert np.abs(normals[:, 2]).sum() / 2 == pytest.approx(2 * 0.5**2)
    second = builder.update(made(lane=[(5, 3)], source=Source.FUSED), MAP_SE3_WORLD).markers
    assert [(m.ns, m.id, m.action) for m in second] == [
        ('bev_lane', 1, DELETE), ('bev_vehicle', 1, DELETE), ('bev_lane', 3, ADD),
    ]  # fmt: skip
    assert second[2].color.a > first[1].color.a
    again = builder.reset(9).markers
    assert [m.action for m in again] == [DELETE_ALL]
    assert builder.update(made(), MAP_SE3_WORLD).markers == []


def test_a_ragged_map_is_drawn_coarser_rather_than_without_bound():
    grid = MapGrid(64, 64, 0.5)
    cells = [(r, c) for r in range(0, 64, 2) for c in range(0, 64, 2)]
    ragged = made(vehicle=cells, grid=grid)
    fine = MapMarkers(TYPES).update(ragged, MAP_SE3_WORLD).markers[1]
    assert len(fine.points) == 6 * len(cells)
    coarse = MapMarkers(TYPES, most_rectangles=100).update(ragged, MAP_SE3_WORLD).markers[1]
    # Every second cell, at half the resolution, is everything.
    assert len(coarse.points) == 6
    points = np.array([[p.x, p.y, p.z] for p in coarse.points])
    here = (MAP_SE3_WORLD @ BODY).inverse().transform_points(points)
    np.testing.assert_allclose([here[:, 0].min(), here[:, 1].max()], [-16, 16], atol=1e-9)
