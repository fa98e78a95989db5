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

"""Rigid transforms. ``a_SE3_b`` maps points given in frame b into frame a."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# A rotation read from float32 or printed with six digits is still a rotation.
_ORTHOGONALITY_TOLERANCE = 1e-5


def wrap_angle(angle: ArrayLike) -> Array:
    """Wrap angles (rad) into [-pi, pi); what is not finite becomes NaN."""
    with np.errstate(invalid='ignore'):
        wrapped = (np.asarray(angle, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi
    # Just below -pi the remainder rounds up to the full turn.
    return np.where(wrapped >= np.pi, -np.pi, wrapped)


def orthogonality_residual(matrix: ArrayLike) -> float:
    """Largest absolute entry of ``M M^T - I`` of a 3x3 matrix; 0 for a rotation."""
    m = np.asarray(matrix, dtype=np.float64)
    return float(np.abs(m @ m.T - np.eye(3)).max())


def polar_rotation(matrix: ArrayLike) -> Array:
    """Nearest rotation (Frobenius norm) of a nearly orthogonal 3x3 matrix.

    Real calibration files hold such matrices; this is their polar factor with determinant +1.

    Raises:
        ValueError: The matrix is not 3x3, not finite, or singular.
    """
    m = np.asarray(matrix, dtype=np.float64)
    if m.shape != (3, 3) or not np.isfinite(m).all():
        raise ValueError(f'expected a finite 3x3 matrix, found shape {m.shape}')
    u, s, vt = np.linalg.svd(m)
    if s[-1] < 1e-6:
        raise ValueError('the matrix is singular, so it has no nearest rotation')
    d = np.sign(np.linalg.det(u @ vt))
    return np.asarray(u @ np.diag([1.0, 1.0, d]) @ vt)


@dataclass(frozen=True, eq=False)
class SE3:
    """A rigid transform ``dst_SE3_src``: x_dst = rotation @ x_src + translation.

    Attributes:
        rotation: (3, 3) float64, orthonormal with determinant +1.
        translation: (3,) float64, metres.
    """

    rotation: Array
    translation: Array

    def __post_init__(self) -> None:
        """Validate and make the arrays read-only."""
        rotation = np.array(self.rotation, dtype=np.float64)
        translation = np.array(self.translation, dtype=np.float64).reshape(-1)
        if rotation.shape != (3, 3) or translation.shape != (3,):
            raise ValueError(
                f'SE3 needs a (3, 3) rotation and a (3,) translation, found {rotation.shape} '
                f'and {translation.shape}'
            )
        if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
            raise ValueError('SE3 holds a value that is not finite')
        residual = orthogonality_residual(rotation)
        if residual > _ORTHOGONALITY_TOLERANCE or np.linalg.det(rotation) < 0:
            raise ValueError(
                f'the matrix is not a rotation (orthogonality residual {residual:.2e}, '
                f'determinant {np.linalg.det(rotation):.6f}); project it with polar_rotation'
            )
        rotation.setflags(write=False)
        translation.setflags(write=False)
        object.__setattr__(self, 'rotation', rotation)
        object.__setattr__(self, 'translation', translation)

    @staticmethod
    def identity() -> SE3:
        """Return the transform that changes nothing."""
        return SE3(np.eye(3), np.zeros(3))

    @staticmethod
    def from_matrix(matrix: ArrayLike, *, project: bool = False) -> SE3:
        """Build from a (4, 4) or (3, 4) matrix; ``project`` first takes the nearest rotation."""
        m = np.asarray(matrix, dtype=np.float64)
        if m.shape not in ((4, 4), (3, 4)):
            raise ValueError(f'expected a 4x4 or 3x4 matrix, found shape {m.shape}')
        return SE3(polar_rotation(m[:3, :3]) if project else m[:3, :3], m[:3, 3])

    @staticmethod
    def from_yaw(yaw: float, translation: ArrayLike = (0.0, 0.0, 0.0)) -> SE3:
        """Rotation about z by ``yaw`` (rad, counter-clockwise), then translation."""
        c, s = float(np.cos(yaw)), float(np.sin(yaw))
        return SE3(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), np.asarray(translation))

    @staticmethod
    def from_quaternion(wxyz: ArrayLike, translation: ArrayLike = (0.0, 0.0, 0.0)) -> SE3:
        """Build from a quaternion (w, x, y, z), normalised here, and a translation.

        Raises:
            ValueError: The quaternion is zero or not finite.
        """
        q = np.asarray(wxyz, dtype=np.float64)
        norm = float(np.linalg.norm(q))
        if q.shape != (4,) or not np.isfinite(norm) or norm < 1e-9:
            raise ValueError(f'expected a non-zero quaternion (w, x, y, z), found {q}')
        w, x, y, z = q / norm
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        return SE3(rotation, np.asarray(translation))

    @property
    def matrix(self) -> Array:
        """The (4, 4) homogeneous matrix."""
        m = np.eye(4)
        m[:3, :3] = self.rotation
        m[:3, 3] = self.translation
        return m

    @property
    def yaw(self) -> float:
        """Heading (rad): angle of the rotated x axis in the x-y plane."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    @property
    def quaternion_wxyz(self) -> Array:
        """Unit quaternion (w, x, y, z) with w >= 0."""
        r = self.rotation
        # The largest of the four candidates keeps the division well conditioned.
        candidates = np.array(
            [
                1 + r[0, 0] + r[1, 1] + r[2, 2],
                1 + r[0, 0] - r[1, 1] - r[2, 2],
                1 - r[0, 0] + r[1, 1] - r[2, 2],
                1 - r[0, 0] - r[1, 1] + r[2, 2],
            ]
        )
        k = int(np.argmax(candidates))
        a = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
        b = r[1, 0] + r[0, 1], r[0, 2] + r[2, 0], r[2, 1] + r[1, 2]
        rows: list[list[Any]] = [
            [candidates[0], a[0], a[1], a[2]],
            [a[0], candidates[1], b[0], b[1]],
            [a[1], b[0], candidates[2], b[2]],
            [a[2], b[1], b[2], candidates[3]],
        ]
        q = np.array(rows[k], dtype=np.float64)
        q /= np.linalg.norm(q)
        return np.asarray(-q if q[0] < 0 else q)

    def inverse(self) -> SE3:
        """Return ``src_SE3_dst``."""
        return SE3(self.rotation.T, -self.rotation.T @ self.translation)

    def __matmul__(self, other: SE3) -> SE3:
        """Compose: ``a_SE3_b @ b_SE3_c`` is ``a_SE3_c``."""
        # Re-projecting stops the rounding of long chains from failing the check above.
        rotation = polar_rotation(self.rotation @ other.rotation)
        return SE3(rotation, self.rotation @ other.translation + self.translation)

    def transform_points(self, points: ArrayLike) -> Array:
        """Map points (..., 3) from src into dst, metres."""
        p = np.asarray(points, dtype=np.float64)
        return np.asarray(p @ self.rotation.T + self.translation)

    def rotate_vectors(self, vectors: ArrayLike) -> Array:
        """Rotate free vectors (..., 3), for example velocities."""
        return np.asarray(np.asarray(vectors, dtype=np.float64) @ self.rotation.T)
