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

"""V2X-Seq reader: labels of a sequence: gaps bridged in the world, velocities, the ego's box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.v2x_seq.objects import RawObject
from cooptrack_core.geometry import SE3, Boxes3D, wrap_angle
from cooptrack_core.structures import ObjectLabels

Array = NDArray[np.float64]
VelocityMode = Literal['repaired', 'official']

# A hidden object is interpolated with this occlusion state (reference section 6.4).
_HIDDEN = 3

# UniV2X: a centre this near the ego's LiDAR along x and y (metres) is the ego itself.
EGO_HALF_EXTENT = (2.04, 0.92)


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """The labels of one frame before anything is bridged.

    Attributes:
        stamp_ns: Time of the frame.
        world_SE3_agent: Pose of the labels' frame.
        objects: The objects.
    """

    stamp_ns: int
    world_SE3_agent: SE3
    objects: Sequence[RawObject]


@dataclass(frozen=True, eq=False)
class _Rows:
    """All sightings of a sequence, one row each, boxes in the world."""

    frame: NDArray[np.int64]
    track: NDArray[np.int64]
    center: Array
    yaw: Array
    source: NDArray[np.int64]  # which of the sequence's raw objects gives type and size
    interpolated: NDArray[np.bool_]


def single_frame_labels(objects: Sequence[RawObject]) -> ObjectLabels:
    """Labels of a frame without a sequence: velocities unknown; ids count from 0 where missing."""
    ids = [i if o.track_id < 0 else o.track_id for i, o in enumerate(objects)]
    return ObjectLabels(
        _boxes(objects),
        tuple(o.class_name for o in objects),
        np.array(ids, dtype=np.int64),
        tuple(o.raw_type for o in objects),
        np.array([o.occlusion for o in objects], dtype=np.int64),
        np.zeros(len(objects), dtype=bool),
    )


def sequence_labels(
    frames: Sequence[LabelledFrame], *, interpolate: bool, velocity: VelocityMode
) -> list[ObjectLabels]:
    """Labels of each frame of a sequence, in that frame.

    Reference section 6.4: an object missing between two sightings moves linearly in the world
    (in time; the heading turns the short way, in the world too, where the official converter
    turns it in the moving LiDAR frame) and keeps type and size of the earlier sighting.
    The velocity is the forward difference to the next sighting, bridged ones included. For the
    last sighting of a track ``official`` says 0; ``repaired`` takes the backward difference, and
    NaN (unknown) for a track seen once.

    Args:
        frames: In time order, one agent.
        interpolate: Bridge gaps.
        velocity: What the last sighting of a track gets.
    """
    raw = [o for frame in frames for o in frame.objects]
    boxes = [_boxes(frame.objects) for frame in frames]
    stamps = np.array([frame.stamp_ns for frame in frames], dtype=np.int64)
    rows = _in_world(frames, boxes, raw)
    if interpolate:
        rows = _bridge_gaps(rows, stamps)
    speed = _velocities(rows, stamps, velocity)
    result = []
    for i, frame in enumerate(frames):
        mine = np.flatnonzero(rows.frame == i)
        agent_SE3_world = frame.world_SE3_agent.inverse()
        bridged = mine[rows.interpolated[mine]]
        added = Boxes3D(
            rows.center[bridged],
            np.array([raw[k].size for k in rows.source[bridged]]),
            rows.yaw[bridged],
            np.full((len(bridged), 2), np.nan),
        ).transformed(agent_SE3_world)
        # What the file says stays as the file says it, free of a detour through the world.
        placed = Boxes3D.concatenate([boxes[i], added])
        sources = [raw[k] for k in rows.source[mine]]
        hidden = rows.interpolated[mine]
        result.append(
            ObjectLabels(
                Boxes3D(
                    placed.centers,
                    placed.sizes,
                    placed.yaws,
                    agent_SE3_world.rotate_vectors(speed[mine])[:, :2],
                ),
                tuple(o.class_name for o in sources),
                rows.track[mine],
                tuple(o.raw_type for o in sources),
                np.where(hidden, _HIDDEN, [o.occlusion for o in sources]).astype(np.int64),
                hidden,
            )
        )
    return result


def is_ego_box(boxes: Boxes3D) -> NDArray[np.bool_]:
    """(n,) whether a box, given in the ego's LiDAR frame, is the ego's own.

    It is when the LiDAR stands on its footprint, or by UniV2X's rule (EGO_HALF_EXTENT).
    """
    x, y = boxes.centers[:, 0], boxes.centers[:, 1]
    c, s = np.cos(boxes.yaws), np.sin(boxes.yaws)
    along, across = np.abs(c * x + s * y), np.abs(-s * x + c * y)
    on_footprint = (along <= boxes.sizes[:, 0] / 2) & (across <= boxes.sizes[:, 1] / 2)
    near = (np.abs(x) <= EGO_HALF_EXTENT[0]) & (np.abs(y) <= EGO_HALF_EXTENT[1])
    return np.asarray(on_footprint | near)


def _boxes(objects: Sequence[RawObject]) -> Boxes3D:
    n = len(objects)
    return Boxes3D(
        np.array([o.center for o in objects]).reshape(n, 3),
        np.array([o.size for o in objects]).reshape(n, 3),
        np.array([o.yaw for o in objects]),
        np.full((n, 2), np.nan),
    )


def _in_world(
    frames: Sequence[LabelledFrame], boxes: Sequence[Boxes3D], raw: Sequence[RawObject]
) -> _Rows:
    world = Boxes3D.concatenate(
        [b.transformed(f.world_SE3_agent) for f, b in zip(frames, boxes, strict=True)]
    )
    return _Rows(
        np.repeat(np.arange(len(frames)), [len(b) for b in boxes]),
        np.array([o.track_id for o in raw], dtype=np.int64),
        world.centers,
        world.yaws,
        np.arange(len(raw)),
        np.zeros(len(raw), dtype=bool),
    )


def _bridge_gaps(rows: _Rows, stamps: NDArray[np.int64]) -> _Rows:
    """Append a row for every frame that a track skips between two sightings."""
    order = np.lexsort((rows.frame, rows.track))
    first, second = order[:-1], order[1:]
    gap = rows.frame[second] - rows.frame[first]
    open_ = (rows.track[second] == rows.track[first]) & (gap > 1)
    first, second, missing = first[open_], second[open_], gap[open_] - 1
    if not len(first):
        return rows
    # One line per missing frame: which gap it fills, and which frame of the gap it is.
    a, b = np.repeat(first, missing), np.repeat(second, missing)
    step = np.concatenate([np.arange(1, m + 1) for m in missing])
    frame = rows.frame[a] + step
    t0, t1 = stamps[rows.frame[a]], stamps[rows.frame[b]]
    ratio = (stamps[frame] - t0) / (t1 - t0)
    center = rows.center[a] + ratio[:, None] * (rows.center[b] - rows.center[a])
    yaw = rows.yaw[a] + ratio * wrap_angle(rows.yaw[b] - rows.yaw[a])
    return _Rows(
        np.concatenate([rows.frame, frame]),
        np.concatenate([rows.track, rows.track[a]]),
        np.concatenate([rows.center, center]),
        np.concatenate([rows.yaw, wrap_angle(yaw)]),
        np.concatenate([rows.source, rows.source[a]]),
        np.concatenate([rows.interpolated, np.ones(len(a), dtype=bool)]),
    )


def _velocities(rows: _Rows, stamps: NDArray[np.int64], mode: VelocityMode) -> Array:
    """(n, 3) m/s in the world."""
    order = np.lexsort((rows.frame, rows.track))
    forward = np.full((len(order), 3), np.nan)
    same = rows.track[order[1:]] == rows.track[order[:-1]]
    dt = (stamps[rows.frame[order[1:]]] - stamps[rows.frame[order[:-1]]]) * 1e-9
    step = (rows.center[order[1:]] - rows.center[order[:-1]]) / np.where(same, dt, np.nan)[:, None]
    forward[:-1] = step
    last = np.isnan(forward[:, 0])
    if mode == 'official':
        forward[last] = 0.0
    else:
        backward = np.full_like(forward, np.nan)
        backward[1:] = step
        forward[last] = backward[last]
    velocities = np.empty_like(forward)
    velocities[order] = forward
    return velocities
