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

"""What stood still when the ego lost sight of it stands there still.

A car that a turning or passing ego has in its images no longer is not gone, and whoever plans a
way backwards or across must know of it. A query cannot say so: without evidence its score falls,
and it dies. So what was reported, stood, and is outside all images now goes on being reported
where it was, until something is seen there, the place is in view again, or it was too long ago.
Only what is reported is changed, not the queries that live on. Not part of the official code;
every method of the comparison has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import Boxes3D
from cooptrack_core.structures import Source, TrackedObjects

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# (n, 3) points of the agent frame, metres, to (n,) whether an image of this frame shows them.
InView = Callable[[Array], BoolArray]

_FADING = 0.9  # of the best score per frame: how sure a track was of late


@dataclass(frozen=True)
class PermanenceConfig:
    """How long and of what an ego is sure without seeing it.

    Attributes:
        seconds: What was seen longer ago is forgotten; 0 remembers nothing.
        window_s: The last seconds of a track that tell whether it stood, and where.
        speed: Faster ones were not standing, m/s. The place of a far car in a low camera wanders
            by a metre and more, which looks like a speed.
        fewest: Frames that it must have been reported in.
        near: Something reported this near takes its place, metres.
        hidden_s: In view, but not found, for so long: it is gone.
    """

    seconds: float = 0.0
    window_s: float = 1.0
    speed: float = 2.0
    fewest: int = 5
    near: float = 2.0
    hidden_s: float = 1.0


# Of the baselines that need no training; others have it in their weights.
REMEMBERING = PermanenceConfig(seconds=20.0)


@dataclass(eq=False)
class _Seen:
    """A track as it was last reported, in the world."""

    box: Boxes3D
    label: int
    score: float
    agents: tuple[str, ...]
    frames: int = 0
    way: list[tuple[int, Array]] = field(default_factory=list)  # stamps ns, (3,) metres
    hidden_ns: int = 0

    def standing(self, config: PermanenceConfig) -> Array | None:
        """(3,) where it stood; None if it moved, or too little is known of it."""
        if self.frames < config.fewest or len(self.way) < 2:
            return None
        seconds = np.array([stamp - self.way[0][0] for stamp, _ in self.way]) / 1e9
        places = np.stack([place for _, place in self.way])
        seconds, mean = seconds - seconds.mean(), places.mean(0)
        velocity = seconds @ (places - mean) / (seconds @ seconds)
        return mean if np.linalg.norm(velocity[:2]) <= config.speed else None


class ObjectPermanence:
    """Memory of what one agent reported.

    Args:
        config: How long it lasts.
    """

    def __init__(self, config: PermanenceConfig) -> None:
        """Start without memory; see the class."""
        self.config = config
        self._seen: dict[int, _Seen] = {}
        self._last_ns = 0

    def reset(self) -> None:
        """Forget everything."""
        self._seen.clear()

    def completed(
        self, tracks: TrackedObjects, detections: TrackedObjects, in_view: InView
    ) -> tuple[TrackedObjects, TrackedObjects]:
        """Add what is remembered to the tracks and to the detections of a frame.

        Args:
            tracks: Of a frame later than those before, with ids that last.
            detections: Of the same frame. Of a remembered object and less sure detections beside
                it only the object stays.
            in_view: Whether points are in an image of the frame.

        Returns:
            Tracks and detections; what was added is of ``Source.REMEMBERED``.
        """
        if not self.config.seconds:
            return tracks, detections
        self._watch(tracks)
        known = self._remembered(tracks, in_view)
        self._last_ns = tracks.stamp_ns
        if not len(known):
            return tracks, detections
        near = _distances(detections.boxes.centers, known.boxes.centers) < self.config.near
        covered = np.asarray((near & (detections.scores[:, None] < known.scores)).any(1))
        return tracks.joined(known), detections.select(~covered).joined(known)

    def _watch(self, tracks: TrackedObjects) -> None:
        """Take note of what is reported now."""
        world = tracks.boxes.transformed(tracks.world_SE3_agent)
        oldest = tracks.stamp_ns - round(self.config.window_s * 1e9)
        for row, track_id in enumerate(tracks.track_ids.tolist()):
            before = self._seen.get(track_id)
            way = [] if before is None else [p for p in before.way if p[0] >= oldest]
            score = float(tracks.scores[row])
            self._seen[track_id] = _Seen(
                world[[row]],
                int(tracks.labels[row]),
                score if before is None else max(score, _FADING * before.score),
                tracks.remote_agents[row],
                1 if before is None else before.frames + 1,
                [*way, (tracks.stamp_ns, world.centers[row])],
            )

    def _remembered(self, tracks: TrackedObjects, in_view: InView) -> TrackedObjects:
        """What is reported no longer and stands somewhere out of sight; forgets the rest."""
        ids = sorted(self._seen.keys() - set(tracks.track_ids.tolist()))
        places = {i: self._seen[i].standing(self.config) for i in ids}
        stands = {i: place for i, place in places.items() if place is not None}
        here = tracks.world_SE3_agent.inverse().transform_points(
            np.array([*stands.values()]).reshape(-1, 3)
        )
        near = np.any(_distances(here, tracks.boxes.centers) < self.config.near, axis=1)
        taken = dict(zip(stands, np.asarray(near).tolist(), strict=True))
        visible = dict(zip(stands, in_view(here).tolist(), strict=True))
        shown = []
        for i in ids:
            seen = self._seen[i]
            if visible.get(i):
                seen.hidden_ns += tracks.stamp_ns - self._last_ns
            age_s = (tracks.stamp_ns - seen.way[-1][0]) / 1e9
            gone = seen.hidden_ns / 1e9 > self.config.hidden_s or age_s > self.config.seconds
            if i not in stands or taken[i] or gone:
                del self._seen[i]
            elif not visible[i]:
                shown.append(i)
        return self._as_tracks(shown, stands, tracks)

    def _as_tracks(
        self, ids: list[int], places: dict[int, Array], now: TrackedObjects
    ) -> TrackedObjects:
        """Remembered objects in the agent frame of a frame, standing still."""
        seen = [self._seen[i] for i in ids]
        n = len(ids)
        boxes = Boxes3D.concatenate([s.box for s in seen])
        world = Boxes3D(
            np.array([places[i] for i in ids]).reshape(n, 3),
            boxes.sizes,
            boxes.yaws,
            np.zeros((n, 2)),
        )
        return TrackedObjects(
            now.sequence_id,
            now.frame_id,
            now.stamp_ns,
            now.world_SE3_agent,
            world.transformed(now.world_SE3_agent.inverse()),
            np.array([s.score for s in seen], dtype=np.float64),
            np.array([s.label for s in seen], dtype=np.int64),
            np.array(ids, dtype=np.int64),
            np.full(n, int(Source.REMEMBERED), dtype=np.int64),
            tuple(s.agents for s in seen),
        )


def _distances(a: Array, b: Array) -> Array:
    """(n, m) metres in the plane between (n, 3) and (m, 3) points."""
    apart: Array = np.linalg.norm(a[:, None, :2] - b[None, :, :2], axis=-1)
    return apart
