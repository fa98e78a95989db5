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

"""A road user with the record of its motion, and whether the outlines of road users overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.simulation.bodies import Body
from cooptrack_core.simulation.layout import Path

Array = NDArray[np.float64]

STEP_S = 0.1


@dataclass(eq=False)
class Actor:
    """One road user and the record of its motion.

    Attributes:
        track_id: Unique in the scene.
        body: Looks and size.
        kind: Key of bodies.MAKERS.
        path: Line it follows; parked ones have a line of their own heading.
        route: Index of the route, -1 for walkers and parked ones.
        walk_arm: Arm whose crosswalk it uses, -1 if none.
        s: Arc length of its middle, metres.
        v: Speed, m/s.
        wish: Speed it would like, m/s.
        aside: Metres left of its line (cyclists keep right).
        holds: Whether it may be in the junction (vehicles) or on the crosswalk (walkers).
        first: Step at which it appeared.
        record: Arc length and speed per step since then.
    """

    track_id: int
    body: Body
    kind: str
    path: Path
    route: int
    walk_arm: int
    s: float
    v: float
    wish: float
    aside: float = 0.0
    holds: bool = False
    first: int = 0
    record: list[tuple[float, float]] = field(default_factory=list)

    @property
    def parked(self) -> bool:
        """Whether it never moves."""
        return self.wish == 0.0

    def pose(self, s: float) -> tuple[float, float, float]:
        """x, y, yaw at arc length ``s``: the axles ride on the line."""
        reach = 0.3 * float(self.body.size[0])
        (x0, y0), (x1, y1) = self.path.place(s - reach), self.path.place(s + reach)
        yaw = math.atan2(y1 - y0, x1 - x0)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        return x - self.aside * math.sin(yaw), y + self.aside * math.cos(yaw), yaw

    def state_at(self, step: float) -> tuple[float, float, float, float] | None:
        """x, y, yaw, speed at a fractional step; None when it is not there."""
        k = step - self.first
        last = len(self.record) - 1
        if k < 0 or k > last:
            return None
        low = min(int(k), last - 1) if last else 0
        share = k - low
        (s0, v0), (s1, v1) = self.record[low], self.record[min(low + 1, last)]
        x, y, yaw = self.pose(s0 + (s1 - s0) * share)
        return x, y, yaw, v0 + (v1 - v0) * share


def hits(pose: Array, size: Array, poses: Array, sizes: Array) -> NDArray[np.bool_]:
    """(n,) whether the rectangle at ``pose`` overlaps each of the others (separating axes)."""
    return np.asarray(_separating(pose[None], size[None], poses, sizes)[0])


def overlapping(poses: Array, sizes: Array) -> NDArray[np.bool_]:
    """(n, n) whether two of the rectangles overlap, False on the diagonal."""
    clash = _separating(poses, sizes, poses, sizes)
    np.fill_diagonal(clash, False)
    return clash


def _separating(pa: Array, za: Array, pb: Array, zb: Array) -> NDArray[np.bool_]:
    d = pb[None, :, :2] - pa[:, None, :2]
    ca, sa, cb, sb = np.cos(pa[:, 2]), np.sin(pa[:, 2]), np.cos(pb[:, 2]), np.sin(pb[:, 2])
    cos = np.abs(ca[:, None] * cb + sa[:, None] * sb)
    sin = np.abs(sa[:, None] * cb - ca[:, None] * sb)
    la, wa = za[:, :1] / 2, za[:, 1:] / 2
    lb, wb = zb[None, :, 0] / 2, zb[None, :, 1] / 2
    apart = np.abs(d[..., 0] * ca[:, None] + d[..., 1] * sa[:, None]) > la + lb * cos + wb * sin
    apart |= np.abs(d[..., 1] * ca[:, None] - d[..., 0] * sa[:, None]) > wa + lb * sin + wb * cos
    apart |= np.abs(d[..., 0] * cb + d[..., 1] * sb) > lb + la * cos + wa * sin
    apart |= np.abs(d[..., 1] * cb - d[..., 0] * sb) > wb + la * sin + wa * cos
    return np.asarray(~apart)
