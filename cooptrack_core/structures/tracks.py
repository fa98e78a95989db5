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

"""Instances on the air and tracks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, Boxes3D, PerceptionRange
from cooptrack_core.structures.messages import AgentMessage

# Pictures, the report page and RViz draw tracks of a lower score faintly: they are output for
# those who need recall, and many of them are wrong.
SURE_SCORE = 0.5


class Source(IntEnum):
    """Which agents a track's latest update rests on; REMEMBERED: none, see ``permanence.py``."""

    UNKNOWN = 0
    EGO = 1
    REMOTE = 2
    FUSED = 3
    REMEMBERED = 4


@dataclass(frozen=True, eq=False)
class InstanceMessage(AgentMessage):
    """All that crosses agents: the live instances of one frame of one sender.

    The fields of ``AgentMessage`` come first.

    Attributes:
        range: The sender's range; reference points are normalised to it.
        query_features: (m, D) float32 semantic features.
        query_embeddings: (m, D) float32 positional embeddings.
        motion_features: (m, D) float32.
        reference_points: (m, 3) float32 in [0, 1] of ``range``.
        boxes: The sender's boxes in its agent frame, velocities included.
        class_scores: (m, C) float32 in [0, 1].
        track_ids: (m,) int64, the sender's ids.
        extensions: Further fields by name; a reader ignores what it does not know.
    """

    range: PerceptionRange
    query_features: NDArray[np.float32]
    query_embeddings: NDArray[np.float32]
    motion_features: NDArray[np.float32]
    reference_points: NDArray[np.float32]
    boxes: Boxes3D
    class_scores: NDArray[np.float32]
    track_ids: NDArray[np.int64]
    extensions: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every field has one row per instance."""
        m = len(self.boxes)
        features = (self.query_features, self.query_embeddings, self.motion_features)
        if len({f.shape for f in features}) != 1 or features[0].ndim != 2:
            raise ValueError(f'feature shapes differ: {[f.shape for f in features]}')
        rows = (features[0], self.reference_points, self.class_scores, self.track_ids)
        if any(array.shape[0] != m for array in rows):
            raise ValueError(f'{m} boxes, but {[array.shape[0] for array in rows]} rows')

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class TrackedObjects:
    """The output of tracking at one instant, in the ego's agent frame.

    Attributes:
        sequence_id: Scene.
        frame_id: Frame of the ego this belongs to.
        stamp_ns: Time for which the boxes hold, ns.
        world_SE3_agent: Frame of the boxes in the world.
        boxes: The objects.
        scores: (n,) in [0, 1].
        labels: (n,) int64 index into CLASS_NAMES.
        track_ids: (n,) int64, stable over time, unique inside a sequence.
        sources: (n,) int64 of Source.
        remote_agents: Per object, the agents whose instances it rests on (empty: ego alone).
    """

    sequence_id: str
    frame_id: str
    stamp_ns: int
    world_SE3_agent: SE3
    boxes: Boxes3D
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    sources: NDArray[np.int64]
    remote_agents: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Check that every field has one entry per object."""
        n = len(self.boxes)
        for name in ('scores', 'labels', 'track_ids', 'sources', 'remote_agents'):
            if len(getattr(self, name)) != n:
                raise ValueError(f'TrackedObjects.{name} has not {n} entries')

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.boxes)

    def predicted(self, stamp_ns: int) -> TrackedObjects:
        """Move the objects to another time with constant velocity; the frame stays where it is.

        Objects of unknown velocity stay where they are.
        """
        step_s = (stamp_ns - self.stamp_ns) / 1e9
        moved = self.boxes.centers.copy()
        moved[:, :2] += np.nan_to_num(self.boxes.velocities) * step_s
        boxes = Boxes3D(moved, self.boxes.sizes, self.boxes.yaws, self.boxes.velocities)
        return replace(self, stamp_ns=stamp_ns, boxes=boxes)

    def biased(self, bias: float) -> TrackedObjects:
        """Add ``bias`` to the logits of all scores; their order and the objects stay.

        It moves scores to where a threshold that all methods share suits them.
        """
        if bias == 0:
            return self  # to the last bit
        odds = self.scores * np.exp(bias)
        return replace(self, scores=odds / (odds + 1 - self.scores))

    def select(self, mask: NDArray[np.bool_]) -> TrackedObjects:
        """Keep the objects under a boolean mask."""
        keep = np.flatnonzero(mask)
        return TrackedObjects(
            self.sequence_id,
            self.frame_id,
            self.stamp_ns,
            self.world_SE3_agent,
            self.boxes[keep],
            self.scores[keep],
            self.labels[keep],
            self.track_ids[keep],
            self.sources[keep],
            tuple(self.remote_agents[i] for i in keep),
        )

    def joined(self, other: TrackedObjects) -> TrackedObjects:
        """These objects and those of ``other``, of the same frame, behind them."""
        return replace(
            self,
            boxes=Boxes3D.concatenate([self.boxes, other.boxes]),
            scores=np.concatenate([self.scores, other.scores]),
            labels=np.concatenate([self.labels, other.labels]),
            track_ids=np.concatenate([self.track_ids, other.track_ids]),
            sources=np.concatenate([self.sources, other.sources]),
            remote_agents=self.remote_agents + other.remote_agents,
        )
