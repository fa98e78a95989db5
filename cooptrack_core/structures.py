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

"""The nouns that flow: images, frames, labels, messages, tracks. Frozen, validated, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, Boxes3D, CameraModel, MapGrid, PerceptionRange

CLASS_NAMES = ('car', 'bicycle', 'pedestrian')
# Classes of maps; lane lines lie on drivable ground.
MAP_CLASSES = ('vehicle', 'drivable', 'lane')


class Role(str, Enum):
    """What kind of agent this is."""

    VEHICLE = 'vehicle'
    ROADSIDE = 'roadside'

    @staticmethod
    def from_dataset(name: str) -> Role:
        """Map a dataset's word for a side to a role; the one place where they are mapped.

        V2X-Seq and the official CoopTrack code say "infrastructure" (or "inf"), we say roadside.

        Raises:
            ValueError: The word is unknown.
        """
        words = {
            'vehicle': Role.VEHICLE,
            'vehicle-side': Role.VEHICLE,
            'veh': Role.VEHICLE,
            'infrastructure': Role.ROADSIDE,
            'infrastructure-side': Role.ROADSIDE,
            'inf': Role.ROADSIDE,
            'infra': Role.ROADSIDE,
            'roadside': Role.ROADSIDE,
        }
        try:
            return words[name.lower()]
        except KeyError:
            raise ValueError(f'unknown role {name!r}; known: {sorted(words)}') from None

    def __str__(self) -> str:
        """Return the plain word."""
        return self.value


class Source(IntEnum):
    """Which agents a track's latest update rests on."""

    UNKNOWN = 0
    EGO = 1
    REMOTE = 2
    FUSED = 3


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One image with its calibration.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        camera: Calibration for exactly this image size.
        stamp_ns: Capture time, ns, clock of the agent.
    """

    image: NDArray[np.uint8]
    camera: CameraModel
    stamp_ns: int

    def __post_init__(self) -> None:
        """Check the image against its calibration."""
        expected = (self.camera.height, self.camera.width, 3)
        if self.image.dtype != np.uint8 or self.image.shape != expected:
            raise ValueError(
                f'camera {self.camera.name}: the calibration is for a uint8 image of shape '
                f'{expected}, the image has {self.image.dtype} {self.image.shape}'
            )


@dataclass(frozen=True, eq=False)
class AgentFrame:
    """What one agent sees at one instant.

    Attributes:
        agent_id: Name of the agent, for example ``vehicle`` or ``roadside_1``.
        role: Vehicle or roadside.
        sequence_id: Scene; a change of it resets every memory.
        frame_id: The dataset's name of the frame (may be a running number).
        stamp_ns: Time of the frame, ns.
        images: One per camera; empty when all cameras failed.
        world_SE3_agent: Pose of the perception (LiDAR) frame in the world.
        world_SE3_body: Pose of the body (novatel / base_link) frame; roadside: as agent.
        pose_covariance: (6, 6) of (x, y, z, roll, pitch, yaw) in the world, m and rad.
        points: (m, 4) x, y, z, intensity of the LiDAR in the agent frame, or None.
    """

    agent_id: str
    role: Role
    sequence_id: str
    frame_id: str
    stamp_ns: int
    images: tuple[CameraImage, ...]
    world_SE3_agent: SE3
    world_SE3_body: SE3
    pose_covariance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((6, 6)))
    points: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """Ground truth of one frame, in one agent's frame.

    Attributes:
        boxes: The objects.
        class_names: One of CLASS_NAMES per object.
        track_ids: (n,) int64, the same object keeps its id inside a sequence.
        raw_types: The dataset's own type words, for example ``Van``.
        occlusion: (n,) int, 0 visible ... 3 hidden or interpolated, -1 unknown.
        interpolated: (n,) bool, object bridged between two sightings.
    """

    boxes: Boxes3D
    class_names: tuple[str, ...]
    track_ids: NDArray[np.int64]
    raw_types: tuple[str, ...]
    occlusion: NDArray[np.int64]
    interpolated: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check that every field has one entry per object."""
        n = len(self.boxes)
        for name in ('class_names', 'track_ids', 'raw_types', 'occlusion', 'interpolated'):
            if len(getattr(self, name)) != n:
                raise ValueError(f'ObjectLabels.{name} has not {n} entries')

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.boxes)

    def select(self, mask: NDArray[np.bool_]) -> ObjectLabels:
        """Keep the objects under a boolean mask."""
        keep = np.flatnonzero(mask)
        return ObjectLabels(
            self.boxes[keep],
            tuple(self.class_names[i] for i in keep),
            self.track_ids[keep],
            tuple(self.raw_types[i] for i in keep),
            self.occlusion[keep],
            self.interpolated[keep],
        )


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
class InstanceMessage:
    """All that crosses agents: the live instances of one frame of one sender.

    Attributes:
        agent_id: Sender.
        role: Its role.
        model_id: Hash of the sender's weights and configuration; features of another model
            mean nothing to the receiver.
        session_id: Random per start of the sender, so that a restart is seen.
        sequence: Counts messages of the session from 0.
        stamp_ns: Capture time, ns, sender's clock.
        world_SE3_agent: Sender's perception frame in the shared world at capture, float64.
        pose_covariance: (6, 6), as AgentFrame.
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

    agent_id: str
    role: Role
    model_id: str
    session_id: int
    sequence: int
    stamp_ns: int
    world_SE3_agent: SE3
    pose_covariance: NDArray[np.float64]
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


@dataclass(frozen=True, eq=False)
class BevFeature:
    """What crosses agents for maps: the features of one map of one sender.

    Attributes:
        agent_id: Sender.
        role: Its role.
        model_id: As InstanceMessage.
        session_id: As InstanceMessage.
        sequence: Counts messages of the session from 0.
        stamp_ns: Capture time, ns, sender's clock.
        world_SE3_agent: Frame of the map in the shared world at capture, float64: that on which
            ``grid`` is centred, the sender's body.
        pose_covariance: (6, 6), as AgentFrame.
        grid: The cells of ``features``.
        features: (C, rows, columns) float32.
    """

    agent_id: str
    role: Role
    model_id: str
    session_id: int
    sequence: int
    stamp_ns: int
    world_SE3_agent: SE3
    pose_covariance: NDArray[np.float64]
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
