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


"""Conversions room: tracks to and from cooptrack_msgs and vision_msgs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.structures import CLASS_NAMES, TrackedObjects
from cooptrack_ros.conversions.geometry import (
    header,
    stamp_to_ns,
    yaw_of,
)
from cooptrack_ros.conversions.message_types import MessageTypes


def tracks_in(frame_SE3_world: SE3, tracks: TrackedObjects) -> Boxes3D:
    """Boxes of the tracks in another frame, for example ``map_SE3_world``."""
    return tracks.boxes.transformed(frame_SE3_world @ tracks.world_SE3_agent)


def tracks_to_message(
    types: MessageTypes,
    tracks: TrackedObjects,
    map_SE3_world: SE3,
    *,
    frame_id: str = 'map',
    agent_id: str = '',
    age_s: float = 0.0,
) -> Any:
    """Make a cooptrack_msgs/TrackedObjects in ``frame_id``.

    Args:
        types: Where message classes come from.
        tracks: The tracks.
        map_SE3_world: Place of their world in ``frame_id``.
        frame_id: Frame of the boxes.
        agent_id: Who tracks.
        age_s: Over how much time they were predicted, s.
    """
    boxes = tracks_in(map_SE3_world, tracks)
    rows = zip(
        _poses(types, boxes),
        _vectors(types, boxes.sizes),
        _vectors(types, np.pad(boxes.velocities, ((0, 0), (0, 1)), constant_values=np.nan)),
        tracks.track_ids.tolist(),
        tracks.labels.tolist(),
        tracks.scores.tolist(),
        tracks.sources.tolist(),
        tracks.remote_agents,
        strict=True,
    )
    objects = [
        types.new(
            'cooptrack_msgs/msg/TrackedObject',
            track_id=track_id % 2**64,
            class_name=class_name(label),
            score=score,
            pose=pose,
            size=size,
            velocity=velocity,
            source=source,
            remote_agents=sorted(remote),
        )
        for pose, size, velocity, track_id, label, score, source, remote in rows
    ]
    return types.new(
        'cooptrack_msgs/msg/TrackedObjects',
        header=header(types, tracks.stamp_ns, frame_id),
        agent_id=agent_id,
        sequence_id=tracks.sequence_id,
        age=age_s,
        objects=objects,
    )


def tracks_from_message(
    message: Any, world_SE3_frame: SE3 | None = None, frame_id: str = ''
) -> TrackedObjects:
    """Read a cooptrack_msgs/TrackedObjects.

    Args:
        message: The message; its frame becomes the frame of the boxes.
        world_SE3_frame: Place of that frame in the world; default: it is the world.
        frame_id: Name of the ego frame the tracks belong to.

    Raises:
        InputError: An object has an unknown class or impossible numbers.
    """
    objects = message.objects
    try:
        boxes = Boxes3D(
            np.array([[o.pose.position.x, o.pose.position.y, o.pose.position.z] for o in objects]),
            np.array([[o.size.x, o.size.y, o.size.z] for o in objects]),
            np.array([yaw_of(o.pose.orientation) for o in objects]),
            np.array([[o.velocity.x, o.velocity.y] for o in objects]),
        )
        labels = np.array([_label(o.class_name) for o in objects], dtype=np.int64)
    except ValueError as error:
        raise InputError(
            f'a tracked object cannot be read ({error})',
            field='objects',
            remedy='correct the publisher',
        ) from error
    ids = np.array([int(o.track_id) for o in objects], dtype=np.uint64).view(np.int64)
    return TrackedObjects(
        sequence_id=message.sequence_id,
        frame_id=frame_id,
        stamp_ns=stamp_to_ns(message.header.stamp),
        world_SE3_agent=world_SE3_frame or SE3.identity(),
        boxes=boxes,
        scores=np.array([float(o.score) for o in objects]),
        labels=labels,
        track_ids=ids,
        sources=np.array([int(o.source) for o in objects], dtype=np.int64),
        remote_agents=tuple(tuple(o.remote_agents) for o in objects),
    )


def tracks_to_detections(
    types: MessageTypes, tracks: TrackedObjects, map_SE3_world: SE3, *, frame_id: str = 'map'
) -> Any:
    """Make a vision_msgs/Detection3DArray of the tracks; ``id`` is the track id as text.

    The covariance is zero, which vision_msgs readers take as unknown.
    """
    boxes = tracks_in(map_SE3_world, tracks)
    frame = header(types, tracks.stamp_ns, frame_id)
    unknown = np.zeros(36)
    poses, sizes = _poses(types, boxes), _vectors(types, boxes.sizes)
    detections = []
    for i, pose in enumerate(poses):
        hypothesis = types.new(
            'vision_msgs/msg/ObjectHypothesisWithPose',
            hypothesis=types.new(
                'vision_msgs/msg/ObjectHypothesis',
                class_id=class_name(int(tracks.labels[i])),
                score=float(tracks.scores[i]),
            ),
            pose=types.new(
                'geometry_msgs/msg/PoseWithCovariance',
                pose=pose,
                covariance=unknown,
            ),
        )
        detections.append(
            types.new(
                'vision_msgs/msg/Detection3D',
                header=frame,
                results=[hypothesis],
                bbox=types.new(
                    'vision_msgs/msg/BoundingBox3D',
                    center=pose,
                    size=sizes[i],
                ),
                id=str(int(tracks.track_ids[i])),
            )
        )
    return types.new(
        'vision_msgs/msg/Detection3DArray',
        header=frame,
        detections=detections,
    )


def class_name(label: int) -> str:
    """Name of a class index; an unknown one is empty."""
    return CLASS_NAMES[label] if 0 <= label < len(CLASS_NAMES) else ''


def _label(name: str) -> int:
    if name not in CLASS_NAMES:
        raise ValueError(f'unknown class {name!r}, known: {CLASS_NAMES}')
    return CLASS_NAMES.index(name)


def _poses(types: MessageTypes, boxes: Boxes3D) -> list[Any]:
    """A geometry_msgs/Pose per box."""
    half = boxes.yaws / 2
    turns = zip(np.sin(half).tolist(), np.cos(half).tolist(), strict=True)
    return [
        types.new(
            'geometry_msgs/msg/Pose',
            position=types.new('geometry_msgs/msg/Point', x=x, y=y, z=z),
            orientation=types.new('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=sin, w=cos),
        )
        for (x, y, z), (sin, cos) in zip(boxes.centers.tolist(), turns, strict=True)
    ]


def _vectors(types: MessageTypes, rows: NDArray[np.float64]) -> list[Any]:
    """A geometry_msgs/Vector3 per row."""
    kind = 'geometry_msgs/msg/Vector3'
    return [types.new(kind, x=x, y=y, z=z) for x, y, z in rows.tolist()]
