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

"""Conversions room: semantic maps as standard messages (occupancy grids, an image, its labels)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.perception.mapping import SEMANTIC_CLASSES, UNKNOWN_CELL, semantic_ids
from cooptrack_core.structures import BevMap, Source
from cooptrack_ros.conversions.geometry import header, ns_to_stamp, point, yaw_quaternion
from cooptrack_ros.conversions.message_types import MessageTypes


def flat_pose(map_SE3_world: SE3, made: BevMap) -> SE3:
    """Frame of a map's cells in the map frame: that of the ego's body, levelled."""
    body = map_SE3_world @ made.world_SE3_agent
    return SE3(SE3.from_yaw(body.yaw).rotation, body.translation)


def occupancy(made: BevMap, class_name: str) -> NDArray[np.int8]:
    """Percent (height, width) of a class as nav_msgs/OccupancyGrid lays it out.

    Width runs along +x of the map's frame, height along +y, and the first cell is at the lower
    right behind the ego: the image "heading up" turned by half a turn and mirrored. -1 where
    nobody's map covers the cell.
    """
    probability = made.probabilities[made.class_names.index(class_name)]
    percent = np.round(100 * probability).astype(np.int8)
    percent = np.where(made.source == Source.UNKNOWN, np.int8(-1), percent)
    return np.ascontiguousarray(percent[::-1, ::-1].T)


def map_to_occupancy(
    types: MessageTypes,
    made: BevMap,
    class_name: str,
    map_SE3_world: SE3,
    frame_id: str = 'map',
) -> Any:
    """Make the nav_msgs/OccupancyGrid of one class.

    Args:
        types: Where message classes come from.
        made: The map.
        class_name: One of its classes.
        map_SE3_world: Place of the world in ``frame_id``.
        frame_id: Frame of the grid; the grid is turned in it as the ego is.

    Raises:
        ValueError: The map has no such class.
    """
    grid = made.grid
    length, width = grid.extent
    pose = flat_pose(map_SE3_world, made)
    corner = pose.transform_points(np.array([-length / 2, -width / 2, 0.0]))
    data = occupancy(made, class_name)
    return types.new(
        'nav_msgs/msg/OccupancyGrid',
        header=header(types, made.stamp_ns, frame_id),
        info=types.new(
            'nav_msgs/msg/MapMetaData',
            map_load_time=ns_to_stamp(types, made.stamp_ns),
            resolution=float(grid.cell),
            width=data.shape[1],
            height=data.shape[0],
            origin=types.new(
                'geometry_msgs/msg/Pose',
                position=point(types, corner),
                orientation=yaw_quaternion(types, pose.yaw),
            ),
        ),
        data=types.sequence(data),
    )


def map_to_semantic(types: MessageTypes, made: BevMap, frame_id: str) -> Any:
    """Make the sensor_msgs/Image (mono8) of class ids, heading up; see ``label_info``.

    Args:
        types: Where message classes come from.
        made: The map.
        frame_id: Frame in whose origin the image is centred: the ego's body.
    """
    ids = semantic_ids(made)
    height, width = ids.shape
    return types.new(
        'sensor_msgs/msg/Image',
        header=header(types, made.stamp_ns, frame_id),
        height=height,
        width=width,
        encoding='mono8',
        is_bigendian=0,
        step=width,
        data=types.sequence(ids),
    )


def label_info(types: MessageTypes, stamp_ns: int, frame_id: str) -> Any:
    """Make the vision_msgs/LabelInfo of the semantic image; it never changes."""
    names = [*enumerate(SEMANTIC_CLASSES), (UNKNOWN_CELL, 'UNLABELED')]
    return types.new(
        'vision_msgs/msg/LabelInfo',
        header=header(types, stamp_ns, frame_id),
        class_map=[
            types.new('vision_msgs/msg/VisionClass', class_id=number, class_name=name)
            for number, name in names
        ],
        threshold=0.5,
    )
