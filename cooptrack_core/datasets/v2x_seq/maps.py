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

"""V2X-Seq reader: maps around the ego, from labels and, where the simulator wrote it, the road."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.json_files import Record, read_record
from cooptrack_core.datasets.v2x_seq.labels import is_ego_box
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.datasets.v2x_seq.scene import COOPERATIVE, Scene
from cooptrack_core.geometry import MapGrid
from cooptrack_core.geometry.road_map import RoadMap, draw_boxes, draw_roads
from cooptrack_core.structures import CooperativeMapFrame, MapLabels

VEHICLES = ('car', 'bicycle')  # what CARLA, and so OPV2V, calls a vehicle
VISIBLE_ABOVE = 5  # LiDAR hits
_NEAR = 70.7  # metres from the ego to the middle of a vehicle
_SHAPES = ('areas', 'boundaries', 'crosswalks')


def read_road_map(scene: Scene) -> RoadMap | None:
    """Roads of a scene in the world, from ``cooperative/map/{sequence}.json``; None without it.

    Only the simulator writes it: three lists of shapes, each a list of points x, y, z.

    Raises:
        InputError: The file is malformed.
    """
    path = scene.dataset.root / COOPERATIVE / 'map' / f'{scene.sequence_id}.json'
    if not path.exists():
        return None
    record = read_record(path, 'the road map')
    shapes = {kind: _shapes(record, kind, path) for kind in _SHAPES}
    return RoadMap(**shapes)


def _shapes(record: Record, kind: str, path: Path) -> tuple[NDArray[np.float64], ...]:
    listed = record.raw(kind)
    if not isinstance(listed, list):
        raise record.error(kind, 'expected a list of shapes', 'simulate the scene again')
    rows = Record({str(i): shape for i, shape in enumerate(listed)}, path, kind)
    return tuple(
        rows.array(str(i), (len(shape) if isinstance(shape, list) else 1, 3))
        for i, shape in enumerate(listed)
    )


def map_labels(
    scene: Scene, ego_frame_id: str, grid: MapGrid | None = None, roads: RoadMap | None = None
) -> MapLabels:
    """The map around the ego at one frame of a pair, centred on its body (novatel).

    ``dynamic`` holds what the cooperative labels hold: vehicles that some agent sees; real and
    simulated labels know nothing of others. A vehicle is visible with more than 5 LiDAR hits
    where the dataset says how many there are (simulated), else where the ego's own labels, or
    for ``visible_all`` the cooperative labels, name it.

    Args:
        scene: The scene.
        ego_frame_id: Frame of the ego.
        grid: Default: that of OPV2V.
        roads: What ``read_road_map`` gave; without it ``drivable`` and ``lane`` are None and
            vehicles beside the road stay in ``dynamic``.

    Raises:
        InputError: The frame is in no pair, or a file of the sequence is missing or wrong.
    """
    grid = grid or MapGrid()
    labels = scene.cooperative_labels(ego_frame_id)
    ego = scene.frame(EGO_ID, ego_frame_id, load_images=False)
    boxes = labels.boxes.transformed(ego.world_SE3_body.inverse() @ ego.world_SE3_agent)
    kept = np.array([name in VEHICLES for name in labels.class_names], dtype=bool)
    kept &= ~is_ego_box(labels.boxes) & (np.hypot(*boxes.centers.T[:2]) < _NEAR)
    seen, seen_by_any = _visible(scene, ego_frame_id, labels.track_ids)

    def drawn(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(draw_boxes(grid, boxes[kept & mask]) > 0)

    dynamic = drawn(np.ones(len(labels), dtype=bool))
    drivable = lane = None
    if roads is not None:
        area, lines = draw_roads(grid, roads.transformed(ego.world_SE3_body.inverse()))
        drivable, lane = area > 0, lines > 0
        dynamic &= drivable
    return MapLabels(grid, dynamic, drivable, lane, drawn(seen), drawn(seen_by_any))


def _visible(
    scene: Scene, ego_frame_id: str, track_ids: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) each: seen by the ego, seen by any agent."""
    visibility = scene.visibility(ego_frame_id)
    if visibility is None:
        own = scene.labels(EGO_ID, ego_frame_id).track_ids
        return np.isin(track_ids, own), np.ones(len(track_ids), dtype=bool)
    enough = {a: hits > VISIBLE_ABOVE for a, hits in visibility.lidar_hits.items()}
    by_any = np.logical_or.reduce(list(enough.values()))
    own_ids, any_ids = (visibility.track_ids[m] for m in (enough[EGO_ID], by_any))
    return np.isin(track_ids, own_ids), np.isin(track_ids, any_ids)


def cooperative_map_frames(
    scene: Scene,
    grid: MapGrid | None = None,
    *,
    communication_range: float = 70.0,
    load_images: bool = True,
    load_labels: bool = True,
) -> Iterator[CooperativeMapFrame]:
    """All pairs of a scene as frames with the map around the ego.

    Args:
        scene: The scene.
        grid: Default: that of OPV2V.
        communication_range: Agents farther from the ego, metres seen from above, are left out.
        load_images: Read the images.
        load_labels: Make the maps.

    Raises:
        InputError: A file is missing or wrong.
    """
    roads = read_road_map(scene) if load_labels else None
    for pair in scene.pairs:
        ego = scene.frame(EGO_ID, pair.ego_frame_id, load_images=load_images)
        others = []
        for agent_id in pair.remote_frame_ids:
            # The pose first: an image that is out of reach need not be read.
            pose = scene.remote_frame(pair, agent_id, load_images=False)
            apart = pose.world_SE3_agent.translation - ego.world_SE3_agent.translation
            if np.hypot(*apart[:2]) <= communication_range:
                others.append(scene.remote_frame(pair, agent_id, load_images=load_images))
        labels = map_labels(scene, pair.ego_frame_id, grid, roads) if load_labels else None
        yield CooperativeMapFrame(ego, tuple(others), labels)
