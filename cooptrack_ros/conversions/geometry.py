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


"""Conversions room: time, headers, poses, transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_ros.conversions.message_types import MessageTypes

_NS = 1_000_000_000


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time as nanoseconds."""
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def ns_to_stamp(types: MessageTypes, stamp_ns: int) -> Any:
    """Make a builtin_interfaces/Time.

    Raises:
        ValueError: The time does not fit its 32 bit seconds.
    """
    seconds, nanoseconds = divmod(stamp_ns, _NS)
    if not -(2**31) <= seconds < 2**31:
        raise ValueError(f'{stamp_ns} ns does not fit a ROS time (until the year 2038)')
    return types.new('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds)


def header(types: MessageTypes, stamp_ns: int, frame_id: str) -> Any:
    """Make a std_msgs/Header."""
    return types.new('std_msgs/msg/Header', stamp=ns_to_stamp(types, stamp_ns), frame_id=frame_id)


def vector(types: MessageTypes, xyz: ArrayLike) -> Any:
    """Make a geometry_msgs/Vector3."""
    x, y, z = np.asarray(xyz, dtype=np.float64).tolist()
    return types.new('geometry_msgs/msg/Vector3', x=x, y=y, z=z)


def point(types: MessageTypes, xyz: ArrayLike) -> Any:
    """Make a geometry_msgs/Point."""
    x, y, z = np.asarray(xyz, dtype=np.float64).tolist()
    return types.new('geometry_msgs/msg/Point', x=x, y=y, z=z)


def quaternion(types: MessageTypes, wxyz: ArrayLike = (1.0, 0.0, 0.0, 0.0)) -> Any:
    """Make a geometry_msgs/Quaternion from (w, x, y, z)."""
    w, x, y, z = (float(v) for v in np.asarray(wxyz))
    return types.new('geometry_msgs/msg/Quaternion', x=x, y=y, z=z, w=w)


def yaw_quaternion(types: MessageTypes, yaw: float) -> Any:
    """Make the geometry_msgs/Quaternion of a turn about z, rad."""
    return quaternion(types, (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)))


def yaw_of(orientation: Any) -> float:
    """Heading (rad) of a geometry_msgs/Quaternion."""
    return _se3(orientation, np.zeros(3), 'orientation').yaw


def pose_to_message(types: MessageTypes, dst_SE3_src: SE3) -> Any:
    """Make a geometry_msgs/Pose: the pose of src in dst."""
    return types.new(
        'geometry_msgs/msg/Pose',
        position=point(types, dst_SE3_src.translation),
        orientation=quaternion(types, dst_SE3_src.quaternion_wxyz),
    )


def pose_from_message(message: Any) -> SE3:
    """Read a geometry_msgs/Pose.

    Raises:
        InputError: The quaternion is zero or a number is not finite.
    """
    p = message.position
    return _se3(message.orientation, np.array([p.x, p.y, p.z], dtype=np.float64), 'pose')


def pose_with_covariance(
    types: MessageTypes, dst_SE3_src: SE3, covariance: NDArray[np.float64]
) -> Any:
    """Make a geometry_msgs/PoseWithCovariance; covariance (6, 6), m and rad."""
    return types.new(
        'geometry_msgs/msg/PoseWithCovariance',
        pose=pose_to_message(types, dst_SE3_src),
        covariance=np.asarray(covariance, dtype=np.float64).reshape(36).copy(),
    )


def transform_to_message(
    types: MessageTypes, parent_SE3_child: SE3, parent: str, child: str, stamp_ns: int
) -> Any:
    """Make a geometry_msgs/TransformStamped."""
    return types.new(
        'geometry_msgs/msg/TransformStamped',
        header=header(types, stamp_ns, parent),
        child_frame_id=child,
        transform=types.new(
            'geometry_msgs/msg/Transform',
            translation=vector(types, parent_SE3_child.translation),
            rotation=quaternion(types, parent_SE3_child.quaternion_wxyz),
        ),
    )


def transform_from_message(message: Any) -> tuple[str, str, int, SE3]:
    """Read a geometry_msgs/TransformStamped.

    Returns:
        Parent frame, child frame, stamp in ns, ``parent_SE3_child``. A leading slash of frame
        names (ROS 1 manner) is dropped.

    Raises:
        InputError: The quaternion is zero or a number is not finite.
    """
    t = message.transform.translation
    parent, child = message.header.frame_id.lstrip('/'), message.child_frame_id.lstrip('/')
    translation = np.array([t.x, t.y, t.z], dtype=np.float64)
    pose = _se3(message.transform.rotation, translation, f'transform {parent} -> {child}')
    return parent, child, stamp_to_ns(message.header.stamp), pose


def _se3(q: Any, translation: NDArray[np.float64], what: str) -> SE3:
    try:
        return SE3.from_quaternion([q.w, q.x, q.y, q.z], translation)
    except ValueError as error:
        raise InputError(
            str(error), field=what, remedy='correct the publisher of this pose'
        ) from error
