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

"""What agents see, and what is true: images, frames, labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, Boxes3D, CameraModel

CLASS_NAMES = ('car', 'bicycle', 'pedestrian')


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
