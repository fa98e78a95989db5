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

"""Poses of CARLA (UE4) and OPV2V: left-handed, x forward, y right, z up, angles in degrees.

Everything else in this package is right-handed (y left). The world and every frame on a vehicle
are mirrored alike: with S = diag(1, -1, 1), a point p becomes S p and a pose T becomes S T S.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.geometry.se3 import SE3

Array = NDArray[np.float64]

MIRROR: Array = np.diag([1.0, -1.0, 1.0, 1.0])
MIRROR.setflags(write=False)

# Maps points of an OpenCV camera (x right, y down, z forward) to UE4 axes (reference 2.2).
UE4_FROM_OPENCV: Array = np.array(
    [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
UE4_FROM_OPENCV.setflags(write=False)


def pose_matrix(pose: ArrayLike) -> Array:
    """World from a frame, both left-handed (reference cobevt.md, section 8.2).

    Args:
        pose: (6,) x, y, z in metres, roll, yaw, pitch in degrees, in this order.

    Returns:
        (4, 4) matrix.
    """
    x, y, z, roll, yaw, pitch = np.asarray(pose, dtype=np.float64)
    cr, cy, cp = np.cos(np.radians([roll, yaw, pitch]))
    sr, sy, sp = np.sin(np.radians([roll, yaw, pitch]))
    return np.array(
        [
            [cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr, x],
            [sy * cp, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr, y],
            [sp, -cp * sr, cp * cr, z],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def pose_of(matrix: ArrayLike) -> Array:
    """Inverse of ``pose_matrix``: (6,) with roll and yaw in (-180, 180], pitch in [-90, 90].

    At a pitch of 90 degrees only roll and yaw together are defined; roll is 0 there.
    """
    m = np.asarray(matrix, dtype=np.float64)
    flat = float(np.hypot(m[0, 0], m[1, 0]))
    pitch = np.arctan2(m[2, 0], flat)
    if flat > 1e-9:
        yaw, roll = np.arctan2(m[1, 0], m[0, 0]), np.arctan2(-m[2, 1], m[2, 2])
    else:
        yaw, roll = np.arctan2(-m[0, 1], m[1, 1]), 0.0
    return np.concatenate([m[:3, 3], np.degrees([roll, yaw, pitch])])


def from_ue4(matrix: ArrayLike) -> SE3:
    """Right-handed ``a_SE3_b`` of a left-handed (4, 4) matrix that maps b into a."""
    return SE3.from_matrix(MIRROR @ np.asarray(matrix, dtype=np.float64) @ MIRROR)


def to_ue4(pose: SE3) -> Array:
    """Left-handed (4, 4) matrix of a right-handed pose."""
    return np.asarray(MIRROR @ pose.matrix @ MIRROR)


def camera_T_agent_from_ue4(world_T_camera: ArrayLike, world_T_agent: ArrayLike) -> Array:  # noqa: N802
    """Extrinsic matrix of ``CameraModel`` from two poses in UE4 axes.

    Args:
        world_T_camera: (4, 4) pose of the camera, x forward, y right, z up.
        world_T_agent: (4, 4) pose of the agent (LiDAR).

    Returns:
        (4, 4) matrix that maps right-handed agent points into the OpenCV optical frame.
    """
    ue4 = np.linalg.solve(np.asarray(world_T_camera), np.asarray(world_T_agent))
    return np.asarray(UE4_FROM_OPENCV.T @ ue4 @ MIRROR)


def camera_pose_to_ue4(world_SE3_camera: SE3) -> Array:
    """(4, 4) UE4 pose of a camera whose right-handed world pose has an OpenCV optical frame."""
    return np.asarray(MIRROR @ world_SE3_camera.matrix @ UE4_FROM_OPENCV.T)
