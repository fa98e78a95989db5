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


"""What a run hands to the report page, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.perception import Association, Unmatched
from cooptrack_core.structures import (
    BevMap,
    CameraImage,
    MapLabels,
    ObjectLabels,
    Role,
    TrackedObjects,
)

# Outcomes of a message that are not a reason of rejection.
ACCEPTED = 'accepted'
LOST = 'lost'


@dataclass(frozen=True, eq=False)
class ReportAgent:
    """An agent in the picture, the ego among them.

    Attributes:
        agent_id: Its name; may come from the air, so it is not trusted.
        role: Vehicle or roadside.
        world_SE3_agent: Pose of its perception frame, best known for the frame's time.
        cameras: Calibrations, for the fields of view; may be empty.
    """

    agent_id: str
    role: Role
    world_SE3_agent: SE3
    cameras: tuple[CameraModel, ...] = ()


@dataclass(frozen=True, eq=False)
class ReportCamera:
    """An image to show.

    Attributes:
        agent_id: The agent that took it; must be among the frame's agents.
        image: Image and calibration in that agent's frame.
    """

    agent_id: str
    image: CameraImage


@dataclass(frozen=True)
class ReportMessage:
    """A message of a remote agent that met its fate during this frame.

    Attributes:
        agent_id: Sender.
        size_bytes: Encoded size, as sent over the link.
        age_ms: Capture to arrival, ms; NaN where unknown (lost).
        instances: Instances inside; 0 where it could not be decoded.
        outcome: ``accepted``, ``lost`` (sent, never received), or the reason of rejection.
        kind: ``instances`` or ``map``.
    """

    agent_id: str
    size_bytes: int
    age_ms: float
    instances: int
    outcome: str = ACCEPTED
    kind: Literal['instances', 'map'] = 'instances'


@dataclass(frozen=True, eq=False)
class ReportMap:
    """Semantic maps around the ego at one frame.

    Attributes:
        fused: With the maps of others.
        alone: What the same weights make of the ego's images alone; None where not made.
        truth: The true map; None where there is none.
    """

    fused: BevMap
    alone: BevMap | None = None
    truth: MapLabels | None = None

    def __post_init__(self) -> None:
        """Check that all have the same cells."""
        grids = [m.grid for m in (self.fused, self.alone, self.truth) if m is not None]
        if any(grid != self.fused.grid for grid in grids):
            raise ValueError(f'maps of different cells: {grids}')


@dataclass(frozen=True, eq=False)
class ReportFrame:
    """One frame of the ego and everything known at it.

    Attributes:
        sequence_id: Scene; a change restarts trails.
        frame_id: Name of the frame.
        stamp_ns: Time of the frame, ns.
        ego_id: Which of the agents is the ego.
        agents: All agents, the ego included.
        cameras: Images that exist for this frame.
        ground_truth: Objects in the ego's agent frame, or None where there are no labels.
        hidden: (n,) bool per ground-truth object: no pixel in any ego camera, but seen by a
            remote agent. None where unknown.
        ego_only: Tracks of the vehicle alone, or None where that was not run.
        cooperative: Tracks with messages, or None where nothing is tracked.
        messages: Messages that arrived, were rejected or were lost since the last frame.
        associations: Pairs of instances that the cooperative tracks rest on.
        unmatched: Instances that found no partner.
        map: Semantic maps, or None where none are made.
    """

    sequence_id: str
    frame_id: str
    stamp_ns: int
    ego_id: str
    agents: tuple[ReportAgent, ...]
    cameras: tuple[ReportCamera, ...]
    ground_truth: ObjectLabels | None
    hidden: NDArray[np.bool_] | None
    ego_only: TrackedObjects | None
    cooperative: TrackedObjects | None
    messages: tuple[ReportMessage, ...] = ()
    associations: tuple[Association, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    map: ReportMap | None = None

    def __post_init__(self) -> None:
        """Check that names and masks fit together."""
        names = [agent.agent_id for agent in self.agents]
        if len(set(names)) != len(names):
            raise ValueError(f'two agents of one frame share an id: {names}')
        for name in (self.ego_id, *(camera.agent_id for camera in self.cameras)):
            if name not in names:
                raise ValueError(f'{name!r} is not among the agents {names}')
        if self.hidden is not None and (
            self.ground_truth is None or len(self.hidden) != len(self.ground_truth)
        ):
            raise ValueError('hidden needs one entry per ground-truth object')

    @property
    def ego(self) -> ReportAgent:
        """The ego among the agents."""
        return self.agent(self.ego_id)

    def agent(self, agent_id: str) -> ReportAgent:
        """Return the agent of that name."""
        return next(agent for agent in self.agents if agent.agent_id == agent_id)
