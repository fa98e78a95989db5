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

"""Pinhole cameras on an agent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CameraModel:
    """An undistorted pinhole camera.

    Pixel (0, 0) is the centre of the top-left pixel. The optical frame looks along +z with x to
    the right and y down.

    Attributes:
        name: Name of the camera on its agent, for example ``front``.
        width: Image width in pixels.
        height: Image height in pixels.
        intrinsic: (3, 3) K, pixels.
        camera_T_agent: (4, 4) maps points of the agent frame into the optical frame. An affine
            matrix, not an SE3: real calibrations (DAIR-V2X) are not exactly orthogonal, and
            projecting with a corrected rotation would move the pixels.
    """

    name: str
    width: int
    height: int
    intrinsic: Array
    camera_T_agent: Array

    def __post_init__(self) -> None:
        """Validate and make the arrays read-only."""
        k = np.array(self.intrinsic, dtype=np.float64)
        extrinsic = np.array(self.camera_T_agent, dtype=np.float64)
        if k.shape != (3, 3) or extrinsic.shape != (4, 4):
            raise ValueError(
                f'camera {self.name}: expected a 3x3 intrinsic and a 4x4 extrinsic matrix, '
                f'found {k.shape} and {extrinsic.shape}'
            )
        if not (np.isfinite(k).all() and np.isfinite(extrinsic).all()):
            raise ValueError(f'camera {self.name}: the calibration is not finite')
        if k[0, 0] <= 0 or k[1, 1] <= 0 or abs(k[2, 2] - 1) > 1e-6:
            raise ValueError(f'camera {self.name}: the intrinsic matrix is not calibrated: {k}')
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f'camera {self.name}: image size {self.width}x{self.height}')
        k.setflags(write=False)
        extrinsic.setflags(write=False)
        object.__setattr__(self, 'intrinsic', k)
        object.__setattr__(self, 'camera_T_agent', extrinsic)

    @property
    def agent_to_image(self) -> Array:
        """(4, 4) matrix [K 0; 0 1] [R t; 0 1]: agent point to (u*d, v*d, d, 1), d = depth."""
        k = np.eye(4)
        k[:3, :3] = self.intrinsic
        return np.asarray(k @ self.camera_T_agent)

    @property
    def position(self) -> Array:
        """(3,) optical centre in the agent frame, metres."""
        return np.asarray(
            -np.linalg.solve(self.camera_T_agent[:3, :3], self.camera_T_agent[:3, 3])
        )

    def project(self, points: ArrayLike) -> tuple[Array, Array]:
        """Project agent-frame points.

        Args:
            points: (..., 3) metres, agent frame.

        Returns:
            Pixels (..., 2) as (u, v), and depth (...,) in metres. Pixels of points with depth
            <= 0 mean nothing and are NaN.
        """
        p = np.asarray(points, dtype=np.float64)
        m = self.agent_to_image
        h = p @ m[:3, :3].T + m[:3, 3]
        depth = h[..., 2]
        safe = np.where(depth > 0, depth, np.nan)
        return np.asarray(h[..., :2] / safe[..., None]), np.asarray(depth)

    def resized(self, width: int, height: int) -> CameraModel:
        """Return the model of the image resized to ``width`` x ``height``.

        Pixel centres move as (u + 0.5) * s - 0.5, as image resizing does it.
        """
        sx, sy = width / self.width, height / self.height
        scale = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])
        return replace(self, width=width, height=height, intrinsic=scale @ self.intrinsic)
