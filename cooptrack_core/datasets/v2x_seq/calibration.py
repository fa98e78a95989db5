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

"""V2X-Seq reader: calibration files, raw (for projection) and rigid (for poses).

Rotations of the dataset are not exactly orthogonal. Projection and the official
vehicle-to-roadside matrix use them as they are; poses take the nearest rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.json_files import Record, read_record
from cooptrack_core.datasets.v2x_seq.layout import AgentInfo, FrameRecord
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.structures import Role

Array = NDArray[np.float64]

# Real roadside extrinsics stretch by up to about a third; beyond this it is a wrong file.
_MAX_STRETCH = 2.0


@dataclass(frozen=True, eq=False)
class RawCalibration:
    """The matrices of one frame as the files hold them, (4, 4) each.

    Attributes:
        body_T_agent: LiDAR to novatel; the identity for a roadside unit.
        world_T_body: Novatel (vehicle) or virtual LiDAR (roadside) to world.
    """

    body_T_agent: Array
    world_T_body: Array

    @property
    def world_T_agent(self) -> Array:  # noqa: N802
        """(4, 4) LiDAR to world, not exactly rigid."""
        return np.asarray(self.world_T_body @ self.body_T_agent)

    @property
    def world_SE3_body(self) -> SE3:  # noqa: N802
        """Pose of the body: the nearest rotation of ``world_T_body``."""
        return SE3.from_matrix(self.world_T_body, project=True)

    @property
    def world_SE3_agent(self) -> SE3:  # noqa: N802
        """Pose of the LiDAR: each link of the chain made rigid, then multiplied."""
        return self.world_SE3_body @ SE3.from_matrix(self.body_T_agent, project=True)


def read_transform(record: Record) -> Array:
    """Read ``rotation`` (3x3) and ``translation`` (3x1) into a (4, 4) matrix.

    Raises:
        InputError: A key is missing, has a wrong shape, or the matrix is no rotation.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = record.array('rotation', (3, 3))
    matrix[:3, 3] = record.array('translation', (3,))
    stretch = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    determinant = float(np.linalg.det(matrix[:3, :3]))
    if stretch[0] > _MAX_STRETCH or stretch[-1] * _MAX_STRETCH < 1 or determinant < 0:
        raise record.error(
            'rotation',
            f'the matrix is not even nearly a rotation (it stretches by {stretch[-1]:.3g} to '
            f'{stretch[0]:.3g}, determinant {determinant:.3g})',
            'correct the calibration file',
        )
    return matrix


def read_pose(root: Path, agent: AgentInfo, frame: FrameRecord) -> RawCalibration:
    """Read the pose chain of a frame (reference section 6.2); errors as ``read_transform``."""
    records = [
        read_record(root / agent.directory / path, 'the calibration') for path in frame.poses
    ]
    if agent.role is Role.ROADSIDE:
        return RawCalibration(np.eye(4), read_transform(records[0]))
    return RawCalibration(read_transform(records[0].record('transform')),
                          read_transform(records[1]))  # fmt: skip


def read_intrinsic(record: Record) -> Array:
    """Read K (3, 3) from either layout: ``P`` (3x4, its left part) or ``cam_K`` (9 numbers).

    Raises:
        InputError: Neither key, a wrong shape, or a camera that was never calibrated.
    """
    if 'P' in record:
        key, k = 'P', record.array('P', (3, 4))[:, :3]
    elif 'cam_K' in record:
        key, k = 'cam_K', record.array('cam_K', (3, 3))
    else:
        raise record.error(
            'cam_K', 'there is neither P nor cam_K',
            f'add one of them; the file has {sorted(record.values)}',
        )  # fmt: skip
    if k[0, 0] <= 0 or k[1, 1] <= 0 or abs(k[2, 2] - 1) > 1e-6:
        raise record.error(
            key,
            f'the camera is not calibrated (fx {k[0, 0]:g}, fy {k[1, 1]:g}, K[2,2] {k[2, 2]:g})',
            'calibrate the camera; focal lengths are positive and the last entry is 1',
        )
    return k


def read_camera(
    root: Path, agent: AgentInfo, frame: FrameRecord, size: tuple[int, int]
) -> CameraModel:
    """Read the camera of a frame.

    Args:
        root: The dataset.
        agent: The side.
        frame: The frame.
        size: (width, height) of the image file, pixels.

    Raises:
        InputError: A calibration file is unusable, or states another image size.
    """
    path = root / agent.directory / frame.intrinsic
    record = read_record(path, 'the camera intrinsics')
    k = read_intrinsic(record)
    for key, pixels in zip(('width', 'height'), size, strict=True):
        stated = record.integer(key, 0)
        if stated not in (0, pixels):
            raise record.error(
                key,
                f'the calibration is for {stated} pixels, the image {frame.image} has {pixels}',
                'use the image size that was calibrated, or calibrate again',
            )
    extrinsic = read_transform(
        read_record(root / agent.directory / frame.agent_to_camera, 'the camera extrinsics')
    )
    try:
        return CameraModel('front', size[0], size[1], k, extrinsic)
    except ValueError as error:
        raise InputError(str(error), path=path, remedy='correct the calibration file') from error
