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

"""Roads and vehicles drawn into a map grid.

What OPV2V's label generator does (reference cobevt.md, section 8.3): polygons are filled
anti-aliased with coordinates of 1/512 cell, and a cell counts as covered when any grey is left in
it, so everything is wider by its anti-aliased rim, about one cell on every side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.bev import MapGrid
from cooptrack_core.geometry.boxes import Boxes3D
from cooptrack_core.geometry.se3 import SE3

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]

LINE_WIDTH = 2  # cells, of lane boundaries and crosswalk outlines
_SHIFT = 9  # coordinates in 1/512 of a cell


@dataclass(frozen=True, eq=False)
class RoadMap:
    """The roads of a place, in one frame, as seen from above.

    Attributes:
        areas: Polygons (k, 3) whose union vehicles may drive on, metres.
        boundaries: Polylines (k, 3), lane boundaries outside of junctions.
        crosswalks: Polygons (k, 3), outlines of crosswalks.
    """

    areas: tuple[Array, ...]
    boundaries: tuple[Array, ...]
    crosswalks: tuple[Array, ...]

    def transformed(self, dst_SE3_src: SE3) -> RoadMap:
        """Express the map in another frame."""

        def moved(shapes: Iterable[Array]) -> tuple[Array, ...]:
            return tuple(dst_SE3_src.transform_points(points) for points in shapes)

        return RoadMap(moved(self.areas), moved(self.boundaries), moved(self.crosswalks))


def fill_polygons(grid: MapGrid, polygons: Iterable[Array]) -> Grey:
    """Grey levels (rows, columns) of polygons (k, >= 2), metres in the frame of the grid."""
    image = np.zeros((grid.rows, grid.columns), np.uint8)
    for points in polygons:
        cv2.fillPoly(image, [_fixed(grid, points)], (255.0,), cv2.LINE_AA, _SHIFT)
    return image


def draw_lines(
    grid: MapGrid, lines: Iterable[Array], *, closed: bool = False, image: Grey | None = None
) -> Grey:
    """Grey levels (rows, columns) of polylines (k, >= 2), drawn into ``image`` if given."""
    image = np.zeros((grid.rows, grid.columns), np.uint8) if image is None else image
    for points in lines:
        cv2.polylines(
            image, [_fixed(grid, points)], closed, (255.0,), LINE_WIDTH, cv2.LINE_AA, _SHIFT
        )
    return image


def draw_boxes(grid: MapGrid, boxes: Boxes3D) -> Grey:
    """Grey levels (rows, columns) of the footprints of boxes in the frame of the grid."""
    return fill_polygons(grid, boxes.corners()[:, :4, :2])


def draw_roads(grid: MapGrid, roads: RoadMap) -> tuple[Grey, Grey]:
    """Grey levels (rows, columns) of the drivable area and of the lane lines on it."""
    area = fill_polygons(grid, roads.areas)
    lane = draw_lines(grid, roads.boundaries)
    lane = draw_lines(grid, roads.crosswalks, closed=True, image=lane)
    lane[area == 0] = 0
    return area, lane


def _fixed(grid: MapGrid, points: Array | Sequence[Sequence[float]]) -> NDArray[np.int32]:
    """(k, 1, 2) column, row in units of 1/512 cell; whole cells are cell centres."""
    cells = grid.cells_of(points)[..., ::-1] * 2**_SHIFT
    return np.asarray(np.round(cells), np.int32).reshape(-1, 1, 2)
