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

"""Conversions room: semantic maps as markers: cells of a class, by whose maps cover them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.perception.mapping import SEMANTIC_CLASSES, semantic_ids
from cooptrack_core.structures import BevMap, Source
from cooptrack_ros.conversions.geometry import header
from cooptrack_ros.conversions.maps import flat_pose
from cooptrack_ros.conversions.markers import Colour, new_marker
from cooptrack_ros.conversions.message_types import MessageTypes

_TRIANGLE_LIST = 11  # visualization_msgs/Marker
_ADD, _DELETE, _DELETE_ALL = 0, 2, 3
# Okabe and Ito again; the ground stays in the background.
CLASS_COLOURS: Mapping[str, Colour] = {
    'drivable': (0.45, 0.50, 0.55),
    'lane': (0.94, 0.89, 0.26),
    'vehicle': (0.84, 0.37, 0.00),
}
# What rests on the ego alone is fainter than what others see too.
SOURCE_ALPHA: Mapping[Source, float] = {Source.EGO: 0.45, Source.REMOTE: 0.7, Source.FUSED: 0.8}
_LIFT = 0.03  # metres between the classes, so that viewers do not let them flicker
_MOST_RECTANGLES = 4000

Mask = NDArray[np.bool_]


class MapMarkers:
    """Turns maps into MarkerArrays and remembers what is on the screen.

    One TRIANGLE_LIST per class (``ns`` bev_drivable, bev_lane, bev_vehicle) and source (``id``:
    1 the ego's map alone, 2 others' maps alone, 3 both). Neighbouring cells are one rectangle. The
    first array (and the first after ``reset``) begins with DELETEALL; a marker that has no cell
    any more is deleted.

    Args:
        types: Where message classes come from.
        frame_id: Frame the markers are given in.
        lifetime_ns: After this a viewer drops a marker by itself; 0 = never.
        most_rectangles: Most rectangles of an array; beyond them its cells are drawn twice as
            large, as often as needed.
    """

    def __init__(
        self,
        types: MessageTypes,
        *,
        frame_id: str = 'map',
        lifetime_ns: int = 0,
        most_rectangles: int = _MOST_RECTANGLES,
    ) -> None:
        """Start with an empty screen; see the class."""
        self.types = types
        self.frame_id = frame_id
        self.lifetime_ns = lifetime_ns
        self.most_rectangles = most_rectangles
        self._shown: set[tuple[str, int]] = set()
        self._fresh = True

    def update(self, made: BevMap, map_SE3_world: SE3) -> Any:
        """Make the MarkerArray that shows a map and removes what is gone."""
        ids, source, cell = semantic_ids(made), made.source, made.grid.cell
        layers = _layers(ids, source)
        while sum(len(r) for r in layers.values()) > self.most_rectangles and min(ids.shape) > 1:
            ids, source, cell = _halved(ids), _halved(source), 2 * cell
            layers = _layers(ids, source)
        pose = flat_pose(map_SE3_world, made)
        frame = header(self.types, made.stamp_ns, self.frame_id)
        markers = []
        for (name, whose), rectangles in layers.items():
            height = _LIFT * SEMANTIC_CLASSES.index(name)
            corners = _triangles(rectangles, MapGrid(len(ids), len(ids[0]), cell), height)
            markers.append(
                new_marker(
                    self.types, frame, f'bev_{name}', int(whose), _TRIANGLE_LIST, action=_ADD,
                    colour=(*CLASS_COLOURS[name], SOURCE_ALPHA[whose]), scale=np.ones(3),
                    lifetime_ns=self.lifetime_ns, points=pose.transform_points(corners),
                )
            )  # fmt: skip
        return self._finish(markers, made.stamp_ns)

    def reset(self, stamp_ns: int) -> Any:
        """Make a MarkerArray that empties the screen."""
        self._shown, self._fresh = set(), True
        return self._finish([], stamp_ns)

    def _finish(self, markers: list[Any], stamp_ns: int) -> Any:
        frame = header(self.types, stamp_ns, self.frame_id)
        shown = {(m.ns, m.id) for m in markers}
        first = []
        if self._fresh:
            first = [new_marker(self.types, frame, '', 0, _TRIANGLE_LIST, action=_DELETE_ALL)]
        gone = [
            new_marker(self.types, frame, ns, number, _TRIANGLE_LIST, action=_DELETE)
            for ns, number in sorted(self._shown - shown)
        ]
        self._shown, self._fresh = shown, False
        return self.types.new(
            'visualization_msgs/msg/MarkerArray', markers=[*first, *gone, *markers]
        )


def rectangles(mask: Mask) -> NDArray[np.int64]:
    """Cover the true cells of a mask with rectangles that do not overlap.

    Runs of a row grow downwards while the next row has the same run.

    Returns:
        (n, 4) first row, row after the last, first column, column after the last.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    found: list[tuple[int, int, int, int]] = []
    growing: dict[tuple[int, int], int] = {}
    at = 0
    for row in range(len(mask) + 1):
        runs = set()
        while at < len(rows) and rows[at] == row:
            runs.add((int(starts[at]), int(ends[at])))
            at += 1
        for run in sorted(growing.keys() - runs):
            found.append((growing.pop(run), row, *run))
        for run in runs - growing.keys():
            growing[run] = row
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 4)


def _layers(
    ids: NDArray[np.uint8], source: NDArray[np.int64]
) -> dict[tuple[str, Source], NDArray[np.int64]]:
    """Rectangles of each class and source that has any."""
    layers = {}
    for name in CLASS_COLOURS:
        of_class = ids == SEMANTIC_CLASSES.index(name)
        for whose in SOURCE_ALPHA:
            found = rectangles(of_class & (source == whose))
            if len(found):
                layers[name, whose] = found
    return layers


def _halved(values: NDArray[Any]) -> NDArray[Any]:
    """Half the rows and columns; the largest value of four stays, so that nothing thin is lost.

    255, a cell nobody knows, counts as the smallest.
    """
    rows, columns = values.shape
    known = np.where(values == 255, 0, values)
    padded = np.pad(known, ((0, rows % 2), (0, columns % 2)), mode='edge')
    return np.asarray(padded.reshape(-(-rows // 2), 2, -(-columns // 2), 2).max((1, 3)))


def _triangles(boxes: NDArray[np.int64], grid: MapGrid, height: float) -> NDArray[np.float64]:
    """(6 n, 3) corners of two triangles per rectangle, frame of the map, seen from above."""
    top, bottom, left, right = boxes.T
    x0, x1 = ((grid.rows / 2 - edge) * grid.cell for edge in (bottom, top))
    y0, y1 = ((grid.columns / 2 - edge) * grid.cell for edge in (right, left))
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y0), (x1, y1), (x0, y1)]
    flat = np.stack([np.stack(corner, -1) for corner in corners], 1).reshape(-1, 2)
    return np.asarray(np.c_[flat, np.full(len(flat), height)])
