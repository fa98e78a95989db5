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

"""AB3DMOT: tracking by detection with a Kalman filter and one assignment per frame.

Weng et al., "3D Multi-Object Tracking: A Baseline and New Evaluation Metrics", IROS 2020. Tracks
live in a fixed world frame with z up, so the ego's motion needs no compensation. Classes are
tracked apart from each other; ids are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import Boxes3D
from cooptrack_core.structures import CLASS_NAMES, TrackedObjects
from cooptrack_core.tracking import kalman
from cooptrack_core.tracking.affinity import Affinity, Algorithm, affinity_of, associate

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ClassRule:
    """How objects of one class are tracked.

    Attributes:
        algorithm: How tracks and detections are assigned.
        affinity: What is compared.
        threshold: Pairs of less affinity are no pairs: a GIoU, or minus a distance in m.
        min_hits: A track is reported from its so many-th detection on; earlier only in the first
            ``min_hits`` frames after a start.
        max_age: A track is dropped at its so many-th frame in a row without a detection, so with
            2 it survives one; until then it is reported where it is predicted.
    """

    algorithm: Algorithm = 'hungarian'
    affinity: Affinity = 'giou_3d'
    threshold: float = -0.2
    min_hits: int = 3
    max_age: int = 2

    def __post_init__(self) -> None:
        """Check the values."""
        if self.min_hits < 1 or self.max_age < 1:
            raise ValueError('min_hits and max_age must be at least 1')


# What AB3DMOT uses on KITTI; for cars also the DAIR-V2X plug-in (any detector but one).
KITTI_RULES = (
    ClassRule('hungarian', 'giou_3d', -0.2, min_hits=3, max_age=2),
    ClassRule('hungarian', 'dist_3d', -2.0, min_hits=3, max_age=4),
    ClassRule('greedy', 'giou_3d', -0.4, min_hits=1, max_age=4),
)


@dataclass(frozen=True)
class Ab3dmotConfig:
    """Settings of the tracker.

    Attributes:
        classes: One rule per entry of CLASS_NAMES.
        period_s: Length of a step of the filter, seconds; the noise is given per step, so this
            is the time between regular frames. Other gaps are the fitting number of steps.
    """

    classes: tuple[ClassRule, ...] = KITTI_RULES
    period_s: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        if len(self.classes) != len(CLASS_NAMES):
            raise ValueError(f'classes needs one rule for each of {CLASS_NAMES}')
        if not self.period_s > 0:
            raise ValueError('period_s must be > 0')


@dataclass(frozen=True, eq=False)
class _Tracks:
    """The live tracks, oldest first; every field has one row per track.

    Attributes:
        means: (n, 10), see ``kalman``.
        covariances: (n, 10, 10).
        ids: (n,) int64.
        hits: (n,) int64 detections so far.
        missed: (n,) int64 frames since the latest detection.
        labels: (n,) int64; this and the rest as in the latest detection.
        scores: (n,).
        sources: (n,) int64.
        agents: (n,) objects: the remote agents.
    """

    means: Array
    covariances: Array
    ids: IntArray
    hits: IntArray
    missed: IntArray
    labels: IntArray
    scores: Array
    sources: IntArray
    agents: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: IntArray | NDArray[np.bool_]) -> _Tracks:
        return _Tracks(*(getattr(self, f.name)[rows] for f in fields(self)))

    def joined(self, other: _Tracks) -> _Tracks:
        return _Tracks(
            *(
                np.concatenate([getattr(self, f.name), getattr(other, f.name)])
                for f in fields(self)
            )
        )


class Ab3dmot:
    """The tracker with its memory.

    Args:
        config: Settings; those of KITTI by default.
    """

    def __init__(self, config: Ab3dmotConfig | None = None) -> None:
        """Start without tracks; see the class."""
        self.config = config or Ab3dmotConfig()
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget all tracks; ids go on, so that none comes twice."""
        self._tracks = _no_tracks()
        self._frames = 0
        self._sequence_id: str | None = None
        self._stamp_ns = 0

    def update(self, detections: TrackedObjects) -> TrackedObjects:
        """Take the detections of one frame and report the tracks at its time.

        Another sequence, or a stamp before the previous one, resets the memory.

        Args:
            detections: Objects in an agent frame whose pose in the world is right. Their ids and
                velocities are not used; sources and remote agents are handed on.

        Returns:
            Tracks in the same frame, oldest first. Score, source and remote agents are those of
            the latest detection. Velocities are the filter's, m/s; a new track is at rest.
        """
        if detections.sequence_id != self._sequence_id or detections.stamp_ns < self._stamp_ns:
            self.reset()
        seconds = (detections.stamp_ns - self._stamp_ns) / 1e9 if self._frames else 0.0
        self._sequence_id, self._stamp_ns = detections.sequence_id, detections.stamp_ns
        self._frames += 1
        world = detections.boxes.transformed(detections.world_SE3_agent)
        tracks = _predicted(self._tracks, seconds / self.config.period_s)
        rows, columns = self._pairs(tracks, world, detections.labels)
        tracks = _corrected(tracks, rows, detections, world, columns)
        new = np.setdiff1d(np.arange(len(detections)), columns)
        born = _born(detections, world, new, self._next_id)
        self._next_id += len(born)
        tracks = tracks.joined(born)
        max_age = np.array([rule.max_age for rule in self.config.classes])
        self._tracks = tracks.select(tracks.missed < max_age[tracks.labels])
        return self._reported(detections)

    def _pairs(
        self, tracks: _Tracks, found: Boxes3D, labels: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Rows of tracks and of detections that are one object, class by class."""
        known = _boxes(tracks.means, self.config.period_s)
        rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for label, rule in enumerate(self.config.classes):
            own, seen = np.flatnonzero(tracks.labels == label), np.flatnonzero(labels == label)
            affinity = affinity_of(rule.affinity, known[own], found[seen])
            i, j = associate(affinity, rule.threshold, rule.algorithm)
            rows.append(own[i])
            columns.append(seen[j])
        return np.concatenate(rows), np.concatenate(columns)

    def _reported(self, detections: TrackedObjects) -> TrackedObjects:
        min_hits = np.array([rule.min_hits for rule in self.config.classes])[self._tracks.labels]
        early = self._frames <= min_hits
        tracks = self._tracks.select((self._tracks.hits >= min_hits) | early)
        boxes = _boxes(tracks.means, self.config.period_s)
        return TrackedObjects(
            detections.sequence_id,
            detections.frame_id,
            detections.stamp_ns,
            detections.world_SE3_agent,
            boxes.transformed(detections.world_SE3_agent.inverse()),
            tracks.scores,
            tracks.labels,
            tracks.ids,
            tracks.sources,
            tuple(tracks.agents),
        )


def _no_tracks() -> _Tracks:
    means, covariances = kalman.start(np.zeros((0, kalman.MEASURED)))
    number = np.zeros(0, dtype=np.int64)
    return _Tracks(
        means, covariances, number, number, number, number, np.zeros(0), number, _objects(())
    )


def _predicted(tracks: _Tracks, steps: float) -> _Tracks:
    means, covariances = kalman.predict(tracks.means, tracks.covariances, steps)
    return replace(tracks, means=means, covariances=covariances, missed=tracks.missed + 1)


def _corrected(
    tracks: _Tracks, rows: IntArray, detections: TrackedObjects, world: Boxes3D, columns: IntArray
) -> _Tracks:
    """Give tracks their detections: entries of ``rows`` and ``columns`` belong together."""
    means, covariances = kalman.correct(
        tracks.means[rows], tracks.covariances[rows], _measured(world[columns])
    )
    return replace(
        tracks,
        means=_put(tracks.means, rows, means),
        covariances=_put(tracks.covariances, rows, covariances),
        hits=_put(tracks.hits, rows, tracks.hits[rows] + 1),
        missed=_put(tracks.missed, rows, 0),
        scores=_put(tracks.scores, rows, detections.scores[columns]),
        sources=_put(tracks.sources, rows, detections.sources[columns]),
        agents=_put(tracks.agents, rows, _objects(detections.remote_agents)[columns]),
    )


def _born(detections: TrackedObjects, world: Boxes3D, rows: IntArray, first_id: int) -> _Tracks:
    """Tracks that begin with detections."""
    means, covariances = kalman.start(_measured(world[rows]))
    return _Tracks(
        means,
        covariances,
        np.arange(first_id, first_id + len(rows), dtype=np.int64),
        np.ones(len(rows), dtype=np.int64),
        np.zeros(len(rows), dtype=np.int64),
        detections.labels[rows],
        detections.scores[rows],
        detections.sources[rows],
        _objects(detections.remote_agents)[rows],
    )


def _put(array: NDArray[Any], rows: IntArray, values: NDArray[Any] | int) -> NDArray[Any]:
    changed: NDArray[Any] = array.copy()
    changed[rows] = values
    return changed


def _objects(agents: Sequence[tuple[str, ...]]) -> NDArray[np.object_]:
    array = np.empty(len(agents), dtype=object)
    for i, names in enumerate(agents):
        array[i] = names
    return array


def _measured(boxes: Boxes3D) -> Array:
    """(n, 7) boxes as the filter measures them: the bottom centre in place of the middle."""
    bottom = boxes.centers - boxes.sizes * [0.0, 0.0, 0.5]
    return np.concatenate([bottom, boxes.yaws[:, None], boxes.sizes], axis=1)


def _boxes(means: Array, period_s: float) -> Boxes3D:
    """Boxes of states (n, 10)."""
    sizes = means[:, 4:7]
    centers = means[:, :3] + sizes * [0.0, 0.0, 0.5]
    return Boxes3D(centers, sizes, means[:, kalman.YAW], means[:, 7:9] / period_s)
