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

"""What `cooptrack run` takes: a scene of a dataset, or a bag; all give the same things."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.opv2v import Opv2vDataset, Opv2vScenario, ReadOptions, is_opv2v
from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.datasets.v2x_seq.maps import map_labels, read_road_map
from cooptrack_core.errors import InputError
from cooptrack_core.evaluation import GroundTruthFrame
from cooptrack_core.perception.replay import scene_frames
from cooptrack_core.perception.scoreboard import truth_of
from cooptrack_core.perception.viewpoint import moved
from cooptrack_core.structures import (
    CLASS_NAMES,
    AgentFrame,
    MapLabels,
    ObjectLabels,
    Role,
    TrackedObjects,
)
from cooptrack_ros.bags import BagReader
from cooptrack_ros.commands.common import choose, choose_scene

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
        rings: Agents have rings of cameras, which trackers of one camera do not take.
    """

    title: str
    ego_id: str
    total: int
    protocol: dict[str, Any]
    rings: bool

    def frames(self) -> Iterator[AgentFrame]:
        """Yield the frames of all agents in order of time."""
        ...

    def truth(self, frame: AgentFrame) -> Truth | None:
        """Ground truth of an ego frame; frames are asked in order. None where there is none."""
        ...

    def map_truth(self, frame: AgentFrame) -> MapLabels | None:
        """The true map around an ego frame; None where there is none."""
        ...


class DatasetRecording:
    """One scene of a V2X-Seq directory."""

    rings = False

    def __init__(self, scene: Scene) -> None:
        """Keep the scene; see the class."""
        self.title = f'{scene.dataset.root.name}, sequence {scene.sequence_id}'
        self.ego_id = EGO_ID
        agents = (agent.agent_id for agent in scene.dataset.agents)
        self.total = sum(len(scene.frame_ids(agent_id)) for agent_id in agents)
        self.protocol: dict[str, Any] = dict(scene.dataset.protocol)
        self._scene = scene
        self._paired = frozenset(pair.ego_frame_id for pair in scene.pairs)
        self._roads = read_road_map(scene)

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

    def map_truth(self, frame: AgentFrame) -> MapLabels | None:
        """Map around an ego frame of a pair; without roads where the dataset has none."""
        if frame.frame_id not in self._paired:
            return None
        return map_labels(self._scene, frame.frame_id, roads=self._roads)


class Opv2vRecording:
    """One scenario in the OPV2V layout. Agent 641 is called vehicle_641, -1 is roadside_1.

    ROS names must not begin with a digit.
    """

    rings = True

    def __init__(self, scenario: Opv2vScenario, ego: str | None = None) -> None:
        """Keep the scenario; see the class.

        Args:
            scenario: Where frames are.
            ego: The agent that fuses, by the dataset's name or ours; default: the first vehicle.

        Raises:
            InputError: There is no such vehicle.
        """
        known = {_opv2v_name(number): number for number in scenario.vehicle_ids}
        if ego is not None and ego not in known and ego not in known.values():
            raise InputError(
                f"there is no vehicle '{ego}'",
                path=scenario.path,
                field='--ego',
                remedy=f'vehicles of this scenario: {sorted(known)}',
            )
        self._ego = known.get(ego or '', ego) or next(iter(scenario.vehicle_ids), None)
        if self._ego is None:
            raise InputError('the scenario has no vehicle', path=scenario.path)
        self._scenario = scenario
        self.title = f'{scenario.path.parent.name}, scenario {scenario.scenario_id}'
        self.ego_id = _opv2v_name(self._ego)
        # More than are read: an agent out of reach of the ego is left out.
        self.total = sum(len(scenario.frame_ids(a)) for a in scenario.agent_ids)
        self.protocol: dict[str, Any] = {
            'layout': 'OPV2V',
            'communication_range_m': scenario.options.communication_range,
            'max_agents': scenario.options.max_agents,
            'ground_truth': 'vehicles that the LiDARs of the ego hit; maps of the dataset',
        }

    def frames(self) -> Iterator[AgentFrame]:
        """Yield the frames of the ego and of the agents in reach of it, the ego's last."""
        for moment in self._scenario.frames(self._ego, load_labels=False):
            for frame in (*moment.others, moment.ego):
                yield replace(frame, agent_id=_opv2v_name(frame.agent_id))

    def truth(self, frame: AgentFrame) -> Truth | None:
        """Vehicles that the ego's LiDARs hit."""
        labels = self._scenario.labels(str(self._ego), frame.frame_id)
        return Truth(labels, None, GroundTruthFrame.from_labels(frame, labels))

    def map_truth(self, frame: AgentFrame) -> MapLabels | None:
        """Map around an ego frame."""
        return self._scenario.map_labels(str(self._ego), frame.frame_id)


def _opv2v_name(agent_id: str) -> str:
    number = int(agent_id)
    return f'{Role.ROADSIDE}_{-number}' if number < 0 else f'{Role.VEHICLE}_{number}'


class BagRecording:
    """A rosbag2."""

    rings = False

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

    def map_truth(self, frame: AgentFrame) -> MapLabels | None:
        """Bags hold no true maps."""
        return None


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
        path: A directory in the V2X-Seq or OPV2V layout, a bag directory, an .mcap or a .db3
            file.
        scene: Sequence or scenario of a dataset; None takes the first.
        ego_id: The agent that fuses; ``vehicle`` is the first vehicle of an OPV2V scenario.
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
        if self._path.is_dir() and is_opv2v(self._path):
            rings = Opv2vDataset(self._path, options=ReadOptions(
                on_image_error='drop', on_warning=self._on_warning or (lambda text: None)
            ))  # fmt: skip
            found = {s.scenario_id: s for s in rings.scenarios if s.vehicle_ids}
            ego = None if self._ego_id == EGO_ID else self._ego_id
            return Opv2vRecording(choose(found, self._scene, self._path), ego)
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
