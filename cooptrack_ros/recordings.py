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

"""What `cooptrack run` takes: a scene of a dataset, or a bag; both give the same things."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.errors import InputError
from cooptrack_core.evaluation import GroundTruthFrame
from cooptrack_core.perception.replay import scene_frames
from cooptrack_core.perception.scoreboard import truth_of
from cooptrack_core.perception.viewpoint import moved
from cooptrack_core.structures import CLASS_NAMES, AgentFrame, ObjectLabels, TrackedObjects
from cooptrack_ros.bags import BagReader
from cooptrack_ros.commands.common import choose_scene

# Ground truth of a bag belongs to an ego frame when it is at most this far away in time.
_TRUTH_TOLERANCE_NS = 60_000_000


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of one ego frame.

    Attributes:
        labels: Objects in the ego's agent frame.
        hidden: (n,) bool, no pixel in an ego camera but seen by the roadside; None if unknown.
        evaluated: The same for the metrics.
    """

    labels: ObjectLabels
    hidden: NDArray[np.bool_] | None
    evaluated: GroundTruthFrame


class Recording(Protocol):
    """A recording of several agents.

    Attributes:
        title: Heading for people.
        ego_id: The agent that fuses.
        total: Number of frames of all agents, for progress.
        protocol: What its ground truth rests on; JSON.
    """

    title: str
    ego_id: str
    total: int
    protocol: dict[str, Any]

    def frames(self) -> Iterator[AgentFrame]:
        """Yield the frames of all agents in order of time."""
        ...

    def truth(self, frame: AgentFrame) -> Truth | None:
        """Ground truth of an ego frame; frames are asked in order. None where there is none."""
        ...


class DatasetRecording:
    """One scene of a V2X-Seq directory."""

    def __init__(self, scene: Scene) -> None:
        """Keep the scene; see the class."""
        self.title = f'{scene.dataset.root.name}, sequence {scene.sequence_id}'
        self.ego_id = EGO_ID
        agents = (agent.agent_id for agent in scene.dataset.agents)
        self.total = sum(len(scene.frame_ids(agent_id)) for agent_id in agents)
        self.protocol: dict[str, Any] = dict(scene.dataset.protocol)
        self._scene = scene
        self._paired = frozenset(pair.ego_frame_id for pair in scene.pairs)

    def frames(self) -> Iterator[AgentFrame]:
        """Yield the frames of all agents in order of time."""
        return scene_frames(self._scene)

    def truth(self, frame: AgentFrame) -> Truth | None:
        """Cooperative labels of an ego frame; None when it is in no pair."""
        evaluated = truth_of(self._scene, frame, self._paired)
        if evaluated is None:
            return None
        hidden = None
        if evaluated.seen_by_ego is not None and evaluated.seen_by_remote is not None:
            hidden = evaluated.seen_by_remote & ~evaluated.seen_by_ego
        return Truth(self._scene.cooperative_labels(frame.frame_id), hidden, evaluated)


class BagRecording:
    """A rosbag2."""

    def __init__(self, reader: BagReader, ego_id: str) -> None:
        """Keep the open reader; see the class."""
        if ego_id not in reader.agents:
            raise InputError(
                f"there is no agent '{ego_id}'",
                path=reader.path,
                field='--ego',
                remedy=f'agents of this bag: {sorted(reader.agents)}',
            )
        self.title = reader.path.name
        self.ego_id = ego_id
        self.total = reader.frame_count
        self.protocol: dict[str, Any] = {
            'source': 'rosbag2',
            'ground_truth': '/gt/tracks, moved to the ego frame by its velocities',
        }
        self._reader = reader
        self._truth = reader.ground_truth()
        self._near: deque[TrackedObjects] = deque()

    def frames(self) -> Iterator[AgentFrame]:
        """Yield the frames of all agents in order of time."""
        return self._reader.frames()

    def truth(self, frame: AgentFrame) -> Truth | None:
        """Ground truth of the bag that is nearest in time; None when none is near."""
        while not self._near or self._near[-1].stamp_ns <= frame.stamp_ns + _TRUTH_TOLERANCE_NS:
            following = next(self._truth, None)
            if following is None:
                break
            self._near.append(following)
        while self._near and self._near[0].stamp_ns < frame.stamp_ns - _TRUTH_TOLERANCE_NS:
            self._near.popleft()
        if not self._near:
            return None
        nearest = min(self._near, key=lambda t: abs(t.stamp_ns - frame.stamp_ns))
        if abs(nearest.stamp_ns - frame.stamp_ns) > _TRUTH_TOLERANCE_NS:
            return None
        labels = _labels_at(nearest, frame)
        return Truth(labels, None, GroundTruthFrame.from_labels(frame, labels))


def _labels_at(objects: TrackedObjects, frame: AgentFrame) -> ObjectLabels:
    seconds = (frame.stamp_ns - objects.stamp_ns) / 1e9
    ego_SE3_other = frame.world_SE3_agent.inverse() @ objects.world_SE3_agent
    names = tuple(CLASS_NAMES[label] for label in objects.labels)
    return ObjectLabels(
        moved(objects.boxes, seconds).transformed(ego_SE3_other),
        names,
        objects.track_ids,
        names,
        np.full(len(objects), -1, dtype=np.int64),
        np.zeros(len(objects), dtype=bool),
    )


class OpenRecording:
    """Context manager that opens whatever INPUT is.

    Args:
        path: A V2X-Seq directory, a bag directory, an .mcap or a .db3 file.
        scene: Sequence of a dataset; None takes the first.
        ego_id: The agent that fuses.
        on_warning: Called with what is left out.

    Raises:
        InputError: The path is nothing of the kind.
    """

    def __init__(
        self, path: Path, *, scene: str | None, ego_id: str, on_warning: Any = None
    ) -> None:
        """Remember what to open; see the class."""
        self._path, self._scene, self._ego_id = path, scene, ego_id
        self._on_warning = on_warning
        self._stack = ExitStack()

    def __enter__(self) -> Recording:
        """Open it."""
        if not self._path.exists():
            raise InputError('there is no such file or directory', path=self._path)
        is_dataset = (self._path / 'cooperative').is_dir() or (
            self._path / 'vehicle-side'
        ).is_dir()
        if is_dataset:
            dataset = V2XSeqDataset(
                self._path,
                remove_ego_from_cooperative=True,
                on_image_error='drop',
                on_warning=self._on_warning,
            )
            if self._ego_id != EGO_ID:
                raise InputError(
                    f"'{self._ego_id}' cannot fuse: cooperative labels are the vehicle's",
                    field='--ego',
                    remedy=f'leave the option away (the ego of a dataset is {EGO_ID!r})',
                )
            return DatasetRecording(choose_scene(dataset, self._scene))
        reader = self._stack.enter_context(BagReader(self._path, on_warning=self._on_warning))
        return BagRecording(reader, self._ego_id)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._stack.close()
