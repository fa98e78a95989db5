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

"""Headings of tracks that drive, from the way they took.

What drives heads where it goes, but a network that was trained for minutes turns the boxes of
turning cars too late, and the filter of velocities (``velocity.py``) trusts those headings. The
places of the last half second know better. Only what is reported is changed, not the queries
that live on. Not part of the official code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import Boxes3D
from cooptrack_core.geometry.se3 import wrap_angle
from cooptrack_core.structures import TrackedObjects
from cooptrack_core.tracking.ways import Ways

Array = NDArray[np.float64]

# On the five validation scenes of docs/training.md windows of 0.4 to 0.7 s are about as good.
_WINDOW_NS = 600_000_000
_FEWEST = 4  # places that make a way
_LEAST_METRES = 1.5  # shorter ways are noise, and pedestrians
_LEAST_SPEED = 2.0  # m/s that the track itself believes
_MOST_TURN = np.pi / 3  # beyond it drives backwards, or is another object's way
_MOST_SCATTER = 0.2  # root mean square distance from a straight, even way, per metre of way


class TravelHeadings:
    """Memory of where tracks were, by track id."""

    def __init__(self) -> None:
        """Start without any track."""
        self._ways = Ways(_WINDOW_NS)

    def reset(self) -> None:
        """Forget all tracks."""
        self._ways.reset()

    def steered(self, tracks: TrackedObjects) -> TrackedObjects:
        """Turn boxes and velocities of what drives into the direction of travel.

        Places are compared in the world, so that the motion of the ego does not count. Tracks
        that stand, walk, drive backwards or jump come back as they are.

        Args:
            tracks: Of a frame later than those before, with ids that last.
        """
        centers = tracks.world_SE3_agent.transform_points(tracks.boxes.centers)[:, :2]
        self._ways.follow(tracks.stamp_ns, tracks.track_ids, centers)
        turns = np.zeros(len(tracks))
        fast = np.linalg.norm(tracks.boxes.velocities, axis=-1) > _LEAST_SPEED
        for i in np.flatnonzero(fast):
            direction = _direction(self._ways[int(tracks.track_ids[i])])
            if direction is not None:
                heading = direction - tracks.world_SE3_agent.yaw
                turn = float(wrap_angle(heading - tracks.boxes.yaws[i]))
                turns[i] = turn if abs(turn) < _MOST_TURN else 0.0
        if not turns.any():
            return tracks
        return replace(tracks, boxes=_turned(tracks.boxes, turns))


def _direction(way: list[tuple[int, Array]]) -> float | None:
    """World yaw of a way, rad, by least squares; None where it is too short or too uneven."""
    if len(way) < _FEWEST or way[0][0] == way[-1][0]:
        return None
    seconds = np.array([stamp - way[-1][0] for stamp, _ in way]) / 1e9
    places = np.stack([place for _, place in way])
    seconds, places = seconds - seconds.mean(), places - places.mean(0)
    velocity = seconds @ places / (seconds @ seconds)
    metres = np.linalg.norm(velocity) * (seconds[-1] - seconds[0])
    scatter = np.sqrt(((places - seconds[:, None] * velocity) ** 2).sum(1).mean())
    if metres < _LEAST_METRES or scatter > _MOST_SCATTER * metres:
        return None
    return float(np.arctan2(velocity[1], velocity[0]))


def _turned(boxes: Boxes3D, turns: Array) -> Boxes3D:
    """Boxes turned about their own centres, with their velocities."""
    cos, sin = np.cos(turns), np.sin(turns)
    x, y = boxes.velocities.T
    velocities = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
    yaws = np.where(turns == 0, boxes.yaws, wrap_angle(boxes.yaws + turns))
    return Boxes3D(boxes.centers, boxes.sizes, yaws, velocities)
