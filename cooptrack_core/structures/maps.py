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

"""Maps: their truth, their features on the air, the map that is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.structures.frames import AgentFrame
from cooptrack_core.structures.messages import AgentMessage

# Lane lines lie on drivable ground.
MAP_CLASSES = ('vehicle', 'drivable', 'lane')


@dataclass(frozen=True, eq=False)
class MapLabels:
    """Ground truth of a map around one agent: cells (rows, columns) bool.

    The map is centred on the agent's *body* (``world_SE3_body``; OPV2V's ``true_ego_pos``), with
    its heading up. In OPV2V the LiDAR frame lies about half a metre behind it.

    Attributes:
        grid: The cells.
        dynamic: Vehicles; the agent's own is not among them.
        drivable: Road, lane lines included; None where the dataset has no map.
        lane: Lane lines and outlines of crosswalks; None where the dataset has no map.
        visible: Vehicles that this agent's LiDARs hit; not cut off at the kerb.
        visible_all: The same of all agents of the scene together.
    """

    grid: MapGrid
    dynamic: NDArray[np.bool_]
    drivable: NDArray[np.bool_] | None
    lane: NDArray[np.bool_] | None
    visible: NDArray[np.bool_]
    visible_all: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check that every mask fits the grid."""
        for name in ('dynamic', 'drivable', 'lane', 'visible', 'visible_all'):
            mask = getattr(self, name)
            if mask is None and name in ('drivable', 'lane'):
                continue
            if mask.shape != (self.grid.rows, self.grid.columns) or mask.dtype != np.bool_:
                raise ValueError(
                    f'MapLabels.{name} is {mask.dtype} {mask.shape}, the grid has '
                    f'{self.grid.rows} x {self.grid.columns} cells'
                )
        if (self.drivable is None) != (self.lane is None):
            raise ValueError('MapLabels has one of drivable and lane, but not the other')

    @property
    def static(self) -> NDArray[np.uint8] | None:
        """Classes (rows, columns): 0 nothing, 1 road, 2 lane, which overwrites road."""
        if self.drivable is None or self.lane is None:
            return None
        return np.where(self.lane, 2, self.drivable).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class CooperativeMapFrame:
    """What several agents see at one instant, and the map around the first of them.

    Attributes:
        ego: The agent around which the map is.
        others: The agents in reach of it.
        labels: The map around the ego; None when it was not asked for.
    """

    ego: AgentFrame
    others: tuple[AgentFrame, ...]
    labels: MapLabels | None

    @property
    def agents(self) -> tuple[AgentFrame, ...]:
        """The ego first."""
        return (self.ego, *self.others)

    @property
    def map_SE3_agents(self) -> tuple[SE3, ...]:  # noqa: N802
        """Per agent, the transform of its agent (LiDAR) frame into the frame of the map."""
        map_SE3_world = self.ego.world_SE3_body.inverse()
        return tuple(map_SE3_world @ agent.world_SE3_agent for agent in self.agents)

    @property
    def map_SE3_bodies(self) -> tuple[SE3, ...]:  # noqa: N802
        """Per agent, the transform of the frame of its own map (its body) into the ego's map."""
        map_SE3_world = self.ego.world_SE3_body.inverse()
        return tuple(map_SE3_world @ agent.world_SE3_body for agent in self.agents)


@dataclass(frozen=True, eq=False)
class BevFeature(AgentMessage):
    """What crosses agents for maps: the features of one map of one sender.

    The fields of ``AgentMessage`` come first.

    Attributes:
        grid: The cells of ``features``.
        features: (C, rows, columns) float32.
    """

    grid: MapGrid
    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the features fit the grid."""
        shape = self.features.shape
        if len(shape) != 3 or shape[1:] != (self.grid.rows, self.grid.columns):
            raise ValueError(f'BevFeature.features {shape} do not fit {self.grid}')


@dataclass(frozen=True, eq=False)
class BevMap:
    """A semantic map around the ego at one instant.

    Attributes:
        sequence_id: Scene.
        frame_id: Frame of the ego this belongs to.
        stamp_ns: Time for which the map holds, ns.
        grid: The cells.
        world_SE3_agent: Frame on which the grid is centred, in the world: the ego's body.
        probabilities: (K, rows, columns) float32 in [0, 1], one map per class.
        class_names: K names, of MAP_CLASSES.
        source: (rows, columns) int64 of Source: whose maps cover the cell; UNKNOWN: nobody's.
        remote_agents: Other agents whose maps took part.
    """

    sequence_id: str
    frame_id: str
    stamp_ns: int
    grid: MapGrid
    world_SE3_agent: SE3
    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]
    source: NDArray[np.int64]
    remote_agents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every field fits grid and classes."""
        cells = (self.grid.rows, self.grid.columns)
        shape = self.probabilities.shape
        if shape != (len(self.class_names), *cells) or self.source.shape != cells:
            raise ValueError(
                f'BevMap: probabilities {shape} and source {self.source.shape} do not fit '
                f'{len(self.class_names)} classes and {self.grid}'
            )
