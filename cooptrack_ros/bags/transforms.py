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


"""Bags room: the transform tree of a bag, asked for any moment."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3


class NoTransformError(InputError):
    """Two frames are not connected at the time asked for."""


@dataclass
class _Edge:
    """One child frame: its parent and its poses over time; a static one holds at all times."""

    parent: str
    static: bool
    stamps: list[int] = field(default_factory=list)
    poses: list[SE3] = field(default_factory=list)


class TransformHistory:
    """All transforms of a bag. They are small; images are not, so only these are kept."""

    def __init__(self, extrapolation_ns: int = 100_000_000) -> None:
        """Start without any frame.

        Args:
            extrapolation_ns: How far beyond the first and the last pose of a frame its motion is
                carried on; sensors do not start and stop at the same instant.
        """
        self.extrapolation_ns = extrapolation_ns
        self._edges: dict[str, _Edge] = {}

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of all frames, sorted."""
        return tuple(sorted({*self._edges, *(edge.parent for edge in self._edges.values())}))

    def add(
        self, parent: str, child: str, stamp_ns: int, pose: SE3, *, static: bool = False
    ) -> None:
        """Add ``parent_SE3_child`` at a time; several statics: each holds until the next.

        Raises:
            InputError: The child has another parent already.
        """
        edge = self._edges.setdefault(child, _Edge(parent, static))
        if edge.parent != parent:
            raise InputError(
                f"frame '{child}' has two parents, '{edge.parent}' and '{parent}'",
                field='tf',
                remedy='record the transforms of one robot, or rename frames',
            )
        # A frame that is said to be static and moves all the same, moves.
        edge.static = edge.static and static
        at = bisect_left(edge.stamps, stamp_ns)
        if at < len(edge.stamps) and edge.stamps[at] == stamp_ns:
            edge.poses[at] = pose
        else:
            edge.stamps.insert(at, stamp_ns)
            edge.poses.insert(at, pose)

    def lookup(self, target: str, source: str, stamp_ns: int) -> SE3:
        """Return ``target_SE3_source`` at a time, interpolated between the poses around it.

        Raises:
            NoTransformError: The frames are not connected, or not at that time.
        """
        up, down = self._ways(target, source)
        pose = SE3.identity()
        for frame in up:  # from the target up to the common ancestor
            pose = pose @ self._pose(frame, stamp_ns).inverse()
        for frame in reversed(down):
            pose = pose @ self._pose(frame, stamp_ns)
        return pose

    def _ways(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """Frames from the target and from the source up to, without, their common ancestor."""
        above_target, above_source = self._ancestors(target), self._ancestors(source)
        common = next((frame for frame in above_target if frame in above_source), None)
        if common is None:
            known = ', '.join(self.frames) or 'none'
            raise NoTransformError(
                f"frames '{target}' and '{source}' are not connected (known frames: {known})",
                field='tf',
                remedy='record /tf and /tf_static, or name the frames of the bag',
            )
        return (
            above_target[: above_target.index(common)],
            above_source[: above_source.index(common)],
        )

    def _ancestors(self, frame: str) -> list[str]:
        out = [frame]
        while out[-1] in self._edges and self._edges[out[-1]].parent not in out:
            out.append(self._edges[out[-1]].parent)
        return out

    def _pose(self, frame: str, stamp_ns: int) -> SE3:
        edge = self._edges[frame]
        stamps, poses = edge.stamps, edge.poses
        if edge.static:
            at = bisect_left(stamps, stamp_ns + 1) - 1
            return poses[max(at, 0)]
        outside = max(stamps[0] - stamp_ns, stamp_ns - stamps[-1])
        if outside > self.extrapolation_ns or (outside > 0 and len(stamps) == 1):
            raise NoTransformError(
                f"the pose of '{frame}' is not known at {stamp_ns / 1e9:.3f} s; the nearest is "
                f'{outside / 1e9:.3f} s away',
                field='tf',
                remedy='record /tf as long as the images',
            )
        if len(stamps) == 1:
            return poses[0]
        right = min(max(bisect_left(stamps, stamp_ns), 1), len(stamps) - 1)
        left = right - 1
        share = (stamp_ns - stamps[left]) / (stamps[right] - stamps[left])
        return interpolate(poses[left], poses[right], share)


def interpolate(first: SE3, second: SE3, share: float) -> SE3:
    """Pose between two poses: linear place, constant turn. Shares beyond [0, 1] carry on."""
    if share == 0.0:
        return first
    if share == 1.0:
        return second
    translation = first.translation + share * (second.translation - first.translation)
    q, r = first.quaternion_wxyz, second.quaternion_wxyz
    if float(q @ r) < 0:
        r = -r
    return SE3.from_quaternion(_slerp(q, r, share), translation)


def _slerp(q: NDArray[np.float64], r: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    angle = float(np.arctan2(np.linalg.norm(r - (q @ r) * q), q @ r))
    if angle < 1e-9:
        return q + share * (r - q)
    weights = np.sin((1 - share) * angle), np.sin(share * angle)
    return np.asarray((weights[0] * q + weights[1] * r) / np.sin(angle))
