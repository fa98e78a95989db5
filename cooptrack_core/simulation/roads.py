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

"""What the layout of a junction says to a map: drivable area, lane boundaries, crosswalks."""

from __future__ import annotations

import cv2
import numpy as np

from cooptrack_core.geometry.road_map import RoadMap
from cooptrack_core.simulation.layout import CROSSWALK, REACH, STOP_LINE, Arm, Array, Layout

_END = REACH + 4.0  # as far as the asphalt is painted
_STEP = 1.0


def road_map(layout: Layout) -> RoadMap:
    """Roads of a junction in the site frame, at z = 0.

    The drivable area reaches from kerb to kerb, parking strips included. Lane boundaries are the
    centre line, the lines between lanes and the outer edges of the outer lanes, whether painted
    or a kerb; they begin at the stop lines, where the junction ends.
    """
    areas = [_strip(arm, 0.0, _END, arm.half_in, -arm.half_out) for arm in layout.arms]
    corners = [
        arm.offset(arm.mouth, side) for arm in layout.arms for side in (arm.half_in, -arm.half_out)
    ]
    hull = cv2.convexHull(np.array(corners, np.float32))[:, 0]
    areas.append(np.asarray(hull, np.float64))
    boundaries = []
    for arm in layout.arms:
        s = _along(arm.mouth + STOP_LINE, _END)
        for k in range(-arm.lanes_out, arm.lanes_in + 1):
            boundaries.append(arm.offset(s, np.full(len(s), k * arm.lane_width)))
    crosswalks = [
        _strip(arm, arm.mouth + CROSSWALK[0], arm.mouth + CROSSWALK[1], arm.half_in, -arm.half_out)
        for arm in layout.arms
    ]
    return RoadMap(_flat(areas), _flat(boundaries), _flat(crosswalks))


def _flat(shapes: list[Array]) -> tuple[Array, ...]:
    return tuple(np.pad(points, ((0, 0), (0, 1))) for points in shapes)


def _along(start: float, end: float) -> Array:
    return np.linspace(start, end, max(2, int(np.ceil((end - start) / _STEP)) + 1))


def _strip(arm: Arm, start: float, end: float, left: float, right: float) -> Array:
    s = _along(start, end)
    sides = [arm.offset(s, np.full(len(s), aside)) for aside in (left, right)]
    return np.concatenate([sides[0], sides[1][::-1]])
