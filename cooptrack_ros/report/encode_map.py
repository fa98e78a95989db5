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

"""Semantic maps of a run as the small JSON objects that the report page paints.

A cell is one byte: bits 0-1 the ground of the fused map (0 nothing, 1 drivable, 2 lane), bit 2
a vehicle in it, bits 3-4 the source (``Source``), bits 5-6 and 7 ground and vehicle of the map of
the ego alone. Cells go row by row, heading up, as runs: pairs of bytes (value, length 1 to 255).
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.perception import static_ids
from cooptrack_core.structures import BevMap, MapLabels
from cooptrack_ros.report.record import ReportFrame, ReportMap

_SOURCE, _ALONE = 3, 5  # lowest bits
_VEHICLE = 4


def map_data(made: ReportMap, frame: ReportFrame) -> dict[str, Any]:
    """Return the JSON object of the maps of a frame.

    ``corners`` are the map's front left, front right and rear left corner in the ego's agent
    frame, metres.
    """
    fused, grid = made.fused, made.fused.grid
    cells = _classes(fused) | fused.source.astype(np.uint8) * np.uint8(1 << _SOURCE)
    if made.alone is not None:
        cells |= _classes(made.alone) * np.uint8(1 << _ALONE)
    length, width = (side / 2 for side in grid.extent)
    corners = np.array([[length, width, 0], [length, -width, 0], [-length, width, 0]])
    ego_SE3_map = frame.ego.world_SE3_agent.inverse() @ fused.world_SE3_agent
    return {
        'rows': grid.rows,
        'columns': grid.columns,
        'corners': ego_SE3_map.transform_points(corners).round(3).tolist(),
        'classes': list(fused.class_names),
        'cells': runs(cells),
        'alone': made.alone is not None,
        'truth': None if made.truth is None else runs(_true_classes(made.truth)),
        'remote': list(fused.remote_agents),
    }


def runs(cells: NDArray[np.uint8]) -> str:
    """Base64 of the run lengths of cells, in the order of the array."""
    flat = np.ascontiguousarray(cells).reshape(-1)
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    lengths = np.diff(np.r_[starts, len(flat)])
    parts = -(-lengths // 255)
    pairs = np.empty((parts.sum(), 2), np.uint8)
    pairs[:, 0] = np.repeat(flat[starts], parts)
    pairs[:, 1] = 255
    pairs[np.cumsum(parts) - 1, 1] = lengths - 255 * (parts - 1)
    return base64.b64encode(pairs.tobytes()).decode('ascii')


def _classes(made: BevMap) -> NDArray[np.uint8]:
    ids = static_ids(made)
    if 'vehicle' in made.class_names:
        vehicle = made.probabilities[made.class_names.index('vehicle')] > 0.5
        ids = ids | vehicle.astype(np.uint8) * np.uint8(_VEHICLE)
    return np.asarray(ids, np.uint8)


def _true_classes(truth: MapLabels) -> NDArray[np.uint8]:
    ground = truth.static
    ids = np.zeros(truth.dynamic.shape, np.uint8) if ground is None else ground
    return np.asarray(ids | truth.visible_all.astype(np.uint8) * np.uint8(_VEHICLE), np.uint8)
