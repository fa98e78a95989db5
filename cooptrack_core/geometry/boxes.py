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

"""Upright 3-D boxes of one frame of reference, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.geometry.se3 import SE3, wrap_angle

Array = NDArray[np.float64]

# Corner order: bottom face counter-clockwise seen from above, starting front-left; then the top.
_UNIT_CORNERS = np.array(
    [
        [+0.5, +0.5, -0.5], [-0.5, +0.5, -0.5], [-0.5, -0.5, -0.5], [+0.5, -0.5, -0.5],
        [+0.5, +0.5, +0.5], [-0.5, +0.5, +0.5], [-0.5, -0.5, +0.5], [+0.5, -0.5, +0.5],
    ]
)  # fmt: skip

# Pairs of corner indices that are the twelve edges of a box.
BOX_EDGES = (
    (0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Boxes3D:
    """n upright boxes.

    Attributes:
        centers: (n, 3) gravity centres, metres.
        sizes: (n, 3) length (along the heading), width, height, metres, > 0.
        yaws: (n,) heading, rad, counter-clockwise from +x, in [-pi, pi).
        velocities: (n, 2) m/s over ground along x and y of the frame; NaN where unknown.
    """

    centers: Array
    sizes: Array
    yaws: Array
    velocities: Array

    def __post_init__(self) -> None:
        """Validate shapes and values and make the arrays read-only."""
        n = np.asarray(self.centers).reshape(-1, 3).shape[0]
        arrays = {
            'centers': np.array(self.centers, dtype=np.float64).reshape(-1, 3),
            'sizes': np.array(self.sizes, dtype=np.float64).reshape(-1, 3),
            'yaws': wrap_angle(np.array(self.yaws, dtype=np.float64).reshape(-1)),
            'velocities': np.array(self.velocities, dtype=np.float64).reshape(-1, 2),
        }
        for name, array in arrays.items():
            if array.shape[0] != n:
                raise ValueError(f'Boxes3D.{name} has {array.shape[0]} rows, centers has {n}')
            if name != 'velocities' and not np.isfinite(array).all():
                raise ValueError(f'Boxes3D.{name} holds a value that is not finite')
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if n and not (self.sizes > 0).all():
            raise ValueError('Boxes3D.sizes must be positive')

    @staticmethod
    def empty() -> Boxes3D:
        """Return no boxes."""
        return Boxes3D(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)))

    @staticmethod
    def concatenate(parts: Sequence[Boxes3D]) -> Boxes3D:
        """Join boxes of the same frame."""
        if not parts:
            return Boxes3D.empty()
        return Boxes3D(
            np.concatenate([p.centers for p in parts]),
            np.concatenate([p.sizes for p in parts]),
            np.concatenate([p.yaws for p in parts]),
            np.concatenate([p.velocities for p in parts]),
        )

    def __len__(self) -> int:
        """Return the number of boxes."""
        return int(self.centers.shape[0])

    def __getitem__(self, index: ArrayLike | slice) -> Boxes3D:
        """Select boxes by mask, index array or slice."""
        i = index if isinstance(index, slice) else np.atleast_1d(np.asarray(index))
        if isinstance(i, np.ndarray) and i.size == 0 and i.dtype != bool:
            i = i.astype(np.int64)
        return Boxes3D(self.centers[i], self.sizes[i], self.yaws[i], self.velocities[i])

    def corners(self) -> Array:
        """(n, 8, 3) corners: bottom face counter-clockwise from front-left, then top face."""
        local = _UNIT_CORNERS[None] * self.sizes[:, None, :]
        c, s = np.cos(self.yaws)[:, None], np.sin(self.yaws)[:, None]
        x = c * local[..., 0] - s * local[..., 1]
        y = s * local[..., 0] + c * local[..., 1]
        return np.asarray(np.stack([x, y, local[..., 2]], -1) + self.centers[:, None, :])

    def transformed(self, dst_SE3_src: SE3) -> Boxes3D:
        """Express the boxes in another frame; pitch and roll of the transform do not tilt them."""
        heading = np.stack([np.cos(self.yaws), np.sin(self.yaws), np.zeros(len(self))], -1)
        heading = dst_SE3_src.rotate_vectors(heading)
        velocity = np.concatenate([self.velocities, np.zeros((len(self), 1))], -1)
        return Boxes3D(
            dst_SE3_src.transform_points(self.centers),
            self.sizes,
            np.arctan2(heading[:, 1], heading[:, 0]),
            dst_SE3_src.rotate_vectors(velocity)[:, :2],
        )

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """(n, m) whether each of the points (m, 3) lies in each box."""
        p = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        d = p[None] - self.centers[:, None]
        c, s = np.cos(self.yaws)[:, None], np.sin(self.yaws)[:, None]
        local = np.stack(
            [c * d[..., 0] + s * d[..., 1], -s * d[..., 0] + c * d[..., 1], d[..., 2]], -1
        )
        return np.asarray((np.abs(local) <= self.sizes[:, None] / 2).all(-1))
