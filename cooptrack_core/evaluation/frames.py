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

"""Room of evaluation: what is compared, frame by frame in the world, and as one flat table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import Boxes3D
from cooptrack_core.structures import CLASS_NAMES, AgentFrame, ObjectLabels, TrackedObjects

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GroundTruthFrame:
    """The objects of one frame, in the world.

    Attributes:
        sequence_id: Scene; tracks do not go across scenes.
        frame_id: Unique inside the scene.
        stamp_ns: Time of the frame, ns; increases strictly inside a scene.
        ego_position: (2,) x and y of the ego body origin in the world, m; ranges start here.
        boxes: The n objects in the world.
        labels: (n,) int64 index into CLASS_NAMES.
        track_ids: (n,) int64, unique inside the frame.
        seen_by_ego: (n,) bool, the object has a pixel in a camera of the ego; None if unknown.
        seen_by_remote: (n,) bool, the same for any roadside unit; None if unknown.
    """

    sequence_id: str
    frame_id: str
    stamp_ns: int
    ego_position: Array
    boxes: Boxes3D
    labels: IntArray
    track_ids: IntArray
    seen_by_ego: BoolArray | None = None
    seen_by_remote: BoolArray | None = None

    def __post_init__(self) -> None:
        """Check that every field has one entry per object."""
        where = f'ground truth, frame {self.sequence_id}/{self.frame_id}'
        if np.shape(self.ego_position) != (2,) or not np.isfinite(self.ego_position).all():
            raise ValueError(f'{where}: ego_position must be two finite numbers')
        _check_labels(where, self.labels, len(self.boxes))
        _check_length(where, 'track_ids', self.track_ids, len(self.boxes))
        for name in ('seen_by_ego', 'seen_by_remote'):
            if getattr(self, name) is not None:
                _check_length(where, name, getattr(self, name), len(self.boxes))

    @staticmethod
    def from_labels(
        frame: AgentFrame,
        labels: ObjectLabels,
        *,
        seen_by_ego: BoolArray | None = None,
        seen_by_remote: BoolArray | None = None,
    ) -> GroundTruthFrame:
        """Move labels given in the ego's agent frame into the world.

        Args:
            frame: The ego's frame; gives the poses, names and the time.
            labels: n objects in the agent frame of ``frame``.
            seen_by_ego: (n,) bool, see the class.
            seen_by_remote: (n,) bool, see the class.
        """
        return GroundTruthFrame(
            frame.sequence_id,
            frame.frame_id,
            frame.stamp_ns,
            frame.world_SE3_body.translation[:2],
            labels.boxes.transformed(frame.world_SE3_agent),
            np.array([CLASS_NAMES.index(name) for name in labels.class_names], dtype=np.int64),
            labels.track_ids,
            seen_by_ego,
            seen_by_remote,
        )


@dataclass(frozen=True, eq=False)
class PredictionFrame:
    """What a method says about one frame, in the world; detections or output tracks.

    Attributes:
        sequence_id: Scene.
        frame_id: Frame of the ground truth that this belongs to.
        boxes: The m boxes in the world.
        labels: (m,) int64 index into CLASS_NAMES.
        scores: (m,) finite.
        track_ids: (m,) int64; for tracks unique inside the frame, for detections not used.
    """

    sequence_id: str
    frame_id: str
    boxes: Boxes3D
    labels: IntArray
    scores: Array
    track_ids: IntArray

    def __post_init__(self) -> None:
        """Check that every field has one entry per box."""
        where = f'output, frame {self.sequence_id}/{self.frame_id}'
        _check_labels(where, self.labels, len(self.boxes))
        _check_length(where, 'scores', self.scores, len(self.boxes))
        _check_length(where, 'track_ids', self.track_ids, len(self.boxes))
        if not np.isfinite(self.scores).all():
            raise ValueError(f'{where}: scores holds a value that is not finite')

    @staticmethod
    def from_tracked(objects: TrackedObjects) -> PredictionFrame:
        """Move tracked (or detected) objects of the ego's agent frame into the world."""
        return PredictionFrame(
            objects.sequence_id,
            objects.frame_id,
            objects.boxes.transformed(objects.world_SE3_agent),
            objects.labels,
            objects.scores,
            objects.track_ids,
        )

    def above(self, score: float) -> PredictionFrame:
        """Keep the boxes with at least this score."""
        keep = np.flatnonzero(self.scores >= score)
        return PredictionFrame(
            self.sequence_id,
            self.frame_id,
            self.boxes[keep],
            self.labels[keep],
            self.scores[keep],
            self.track_ids[keep],
        )


def _check_length(where: str, name: str, values: NDArray[np.generic], n: int) -> None:
    if np.shape(values) != (n,):
        raise ValueError(f'{where}: {name} has shape {np.shape(values)}, expected ({n},)')


def _check_labels(where: str, labels: IntArray, n: int) -> None:
    _check_length(where, 'labels', labels, n)
    if n and (labels.min() < 0 or labels.max() >= len(CLASS_NAMES)):
        raise ValueError(f'{where}: labels must index {CLASS_NAMES}')


@dataclass(frozen=True, eq=False)
class FrameTable:
    """The F frames of all scenes, in order; rows of BoxTable point into it.

    Attributes:
        sequences: (F,) int64 running number of the scene, never falling.
        stamps: (F,) int64 ns, strictly rising inside a scene.
        egos: (F, 2) ego body origin in the world, m.
    """

    sequences: IntArray
    stamps: IntArray
    egos: Array

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.sequences)


@dataclass(frozen=True, eq=False)
class BoxTable:
    """All boxes of all frames as columns, ordered by frame and by position in it.

    Attributes:
        frames: (n,) int64 row of the FrameTable.
        centers: (n, 2) m, x and y in the world.
        sizes: (n, 3) m.
        yaws: (n,) rad.
        velocities: (n, 2) m/s.
        labels: (n,) int64.
        scores: (n,); ones for ground truth.
        track_ids: (n,) int64, meaningful inside a scene.
    """

    frames: IntArray
    centers: Array
    sizes: Array
    yaws: Array
    velocities: Array
    labels: IntArray
    scores: Array
    track_ids: IntArray

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.frames)

    def select(self, index: BoolArray | IntArray) -> BoxTable:
        """Select rows by mask or index."""
        return BoxTable(*(getattr(self, f.name)[index] for f in fields(self)))

    def in_range(self, frames: FrameTable, class_ranges: Sequence[float]) -> BoxTable:
        """Keep the boxes nearer to the ego (x-y) than the radius of their class."""
        offset = self.centers - frames.egos[self.frames]
        distance = np.sqrt((offset**2).sum(-1))
        return self.select(distance < np.asarray(class_ranges, dtype=np.float64)[self.labels])


def sort_ground_truth(frames: Sequence[GroundTruthFrame]) -> list[GroundTruthFrame]:
    """Bring the frames of a scene together, scenes in order of first appearance.

    Raises:
        ValueError: A frame comes twice, or time does not rise inside a scene.
    """
    order: dict[str, list[GroundTruthFrame]] = {}
    for frame in frames:
        order.setdefault(frame.sequence_id, []).append(frame)
    seen: set[tuple[str, str]] = set()
    for sequence_id, group in order.items():
        for previous, frame in zip([None, *group[:-1]], group, strict=True):
            if (sequence_id, frame.frame_id) in seen:
                raise ValueError(f'ground truth: frame {sequence_id}/{frame.frame_id} comes twice')
            seen.add((sequence_id, frame.frame_id))
            if previous is not None and frame.stamp_ns <= previous.stamp_ns:
                raise ValueError(
                    f'ground truth: stamp_ns of frame {sequence_id}/{frame.frame_id} does not '
                    f'come after that of {previous.frame_id}'
                )
    return [frame for group in order.values() for frame in group]


def align(
    ground_truth: Sequence[GroundTruthFrame], predictions: Sequence[PredictionFrame]
) -> list[PredictionFrame]:
    """Order predictions as the ground truth; a method answers every frame, if only with nothing.

    Raises:
        ValueError: A frame is missing, comes twice, or is unknown to the ground truth.
    """
    by_name: dict[tuple[str, str], PredictionFrame] = {}
    for frame in predictions:
        key = (frame.sequence_id, frame.frame_id)
        if key in by_name:
            raise ValueError(f'output: frame {key[0]}/{key[1]} comes twice')
        by_name[key] = frame
    aligned = []
    for truth in ground_truth:
        key = (truth.sequence_id, truth.frame_id)
        if key not in by_name:
            raise ValueError(
                f'output: frame {key[0]}/{key[1]} is missing; give an empty frame where a method '
                'says nothing'
            )
        aligned.append(by_name.pop(key))
    if by_name:
        key = next(iter(by_name))
        raise ValueError(f'output: frame {key[0]}/{key[1]} is not in the ground truth')
    return aligned


def frame_table(ground_truth: Sequence[GroundTruthFrame]) -> FrameTable:
    """Tabulate sorted ground-truth frames."""
    numbers: dict[str, int] = {}
    sequences = [numbers.setdefault(f.sequence_id, len(numbers)) for f in ground_truth]
    return FrameTable(
        np.array(sequences, dtype=np.int64),
        np.array([f.stamp_ns for f in ground_truth], dtype=np.int64),
        np.array([f.ego_position for f in ground_truth], dtype=np.float64).reshape(-1, 2),
    )


def box_table(frames: Sequence[GroundTruthFrame] | Sequence[PredictionFrame]) -> BoxTable:
    """Tabulate the boxes of frames that are in ground-truth order."""
    boxes = Boxes3D.concatenate([f.boxes for f in frames])
    counts = [len(f.boxes) for f in frames]
    scores = [
        f.scores if isinstance(f, PredictionFrame) else np.ones(len(f.boxes)) for f in frames
    ]
    return BoxTable(
        np.repeat(np.arange(len(frames)), counts),
        boxes.centers[:, :2],
        boxes.sizes,
        boxes.yaws,
        boxes.velocities,
        np.concatenate([np.zeros(0, np.int64), *(f.labels for f in frames)]).astype(np.int64),
        np.concatenate([np.zeros(0), *scores]).astype(np.float64),
        np.concatenate([np.zeros(0, np.int64), *(f.track_ids for f in frames)]).astype(np.int64),
    )


def check_counts(table: BoxTable, frames: Sequence[PredictionFrame], limit: int) -> None:
    """Refuse frames with more boxes than the protocol allows.

    Raises:
        ValueError: Names the frame and the remedy.
    """
    counts = np.bincount(table.frames, minlength=len(frames))
    if len(counts) and counts.max() > limit:
        frame = frames[int(counts.argmax())]
        raise ValueError(
            f'output: frame {frame.sequence_id}/{frame.frame_id} holds {counts.max()} boxes, the '
            f'protocol allows {limit}; keep the ones with the highest scores'
        )
