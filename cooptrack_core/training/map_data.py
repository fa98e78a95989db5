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

"""Training data of maps: camera rings at network size with their maps, kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.datasets.opv2v import Opv2vDataset, Opv2vScenario
from cooptrack_core.errors import InputError
from cooptrack_core.models.cobevt.config import CobevtConfig, Target
from cooptrack_core.models.cobevt.interface import MapInputs, RingInputs
from cooptrack_core.models.cobevt.preprocess import network_image, normalised
from cooptrack_core.structures import MapLabels, Role
from cooptrack_core.training.augment import colour_jitter
from cooptrack_core.training.map_options import MapStageRecipe

Array = NDArray[np.float64]

_MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])  # of a body frame: y to the other side
_MIRROR_CAMERA = np.diag([-1.0, 1.0, 1.0, 1.0])  # of an optical frame: x to the other side


@dataclass(frozen=True, eq=False)
class RingFrame:
    """What one agent sees at one instant, at network size.

    Attributes:
        images: (N, h, w, 3) uint8.
        intrinsics: (N, 3, 3), pixels of these images.
        body_T_camera: (N, 4, 4), optical frame to the agent's body, in which its map is.
        world_T_body: (4, 4).
        labels: The map around the agent; None for a roadside unit, which is never an ego.
    """

    images: NDArray[np.uint8]
    intrinsics: Array
    body_T_camera: Array
    world_T_body: Array
    labels: MapLabels | None

    def mirrored(self) -> RingFrame:
        """The same in a world whose left and right are swapped."""
        intrinsics = self.intrinsics.copy()
        intrinsics[:, 0, 2] = self.images.shape[2] - 1 - intrinsics[:, 0, 2]
        return RingFrame(
            np.ascontiguousarray(self.images[:, :, ::-1]),
            intrinsics,
            _MIRROR @ self.body_T_camera @ _MIRROR_CAMERA,
            _MIRROR @ self.world_T_body @ _MIRROR,
            None if self.labels is None else _mirrored(self.labels),
        )


def _mirrored(labels: MapLabels) -> MapLabels:
    def flip(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.ascontiguousarray(mask[:, ::-1])

    drivable, lane = labels.drivable, labels.lane
    return MapLabels(
        labels.grid,
        flip(labels.dynamic),
        None if drivable is None else flip(drivable),
        None if lane is None else flip(lane),
        flip(labels.visible),
        flip(labels.visible_all),
    )


@dataclass(frozen=True)
class Moment:
    """A frame of a scenario: where in the list of scenarios, and the name of the frame."""

    scenario: int
    frame_id: str


class MapTrainingData:
    """Scenarios of several datasets, decoded frames kept up to a memory limit."""

    def __init__(
        self,
        roots: Sequence[Path],
        config: CobevtConfig,
        *,
        cache_bytes: int = 5 << 30,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Open the datasets (names of files only).

        Args:
            roots: Dataset directories in the OPV2V layout.
            config: Network input and grid.
            cache_bytes: Decoded frames kept in memory at most.
            part: (i, n): moments come from every n-th scenario, beginning with the i-th.

        Raises:
            InputError: A dataset is unusable, or no scenario has a vehicle.
        """
        cv2.setNumThreads(0)
        self.config = config
        self.scenarios: list[Opv2vScenario] = [
            scenario
            for root in roots
            for scenario in Opv2vDataset(root).scenarios
            if scenario.vehicle_ids
        ]
        self.names = [f'{s.path.parent.name}/{s.scenario_id}' for s in self.scenarios]
        first, step = part
        self.moments = [
            Moment(i, frame_id)
            for i in range(first, len(self.scenarios), step)
            for frame_id in self.scenarios[i].frame_ids(self.scenarios[i].vehicle_ids[0])
        ]
        if not self.moments:
            raise InputError(
                'there is no scenario with a vehicle to train on',
                path=roots[0] if roots else None,
                remedy='make scenes with "cooptrack simulate --layout opv2v"',
            )
        self._cache: dict[tuple[int, str, str], RingFrame] = {}
        self._cache_left = cache_bytes

    def agents(self, moment: Moment, ego: str, most: int) -> list[str]:
        """The ego and the agents in its reach, at most so many."""
        scenario = self.scenarios[moment.scenario]
        found = scenario.map_frame(moment.frame_id, ego, load_images=False, load_labels=False)
        return [agent.agent_id for agent in found.agents][:most]

    def ring(self, moment: Moment, agent_id: str) -> RingFrame:
        """What an agent sees.

        Raises:
            InputError: A file is missing or unusable.
        """
        key = (moment.scenario, agent_id, moment.frame_id)
        found = self._cache.get(key)
        if found is not None:
            return found
        scenario = self.scenarios[moment.scenario]
        frame = scenario.frame(agent_id, moment.frame_id)
        pairs = [network_image(image, self.config) for image in frame.images]
        body_T_agent = (frame.world_SE3_body.inverse() @ frame.world_SE3_agent).matrix
        found = RingFrame(
            np.stack([pixels for pixels, _ in pairs]),
            np.stack([k for _, k in pairs]),
            np.stack(
                [body_T_agent @ np.linalg.inv(i.camera.camera_T_agent) for i in frame.images]
            ),
            frame.world_SE3_body.matrix,
            None
            if frame.role is Role.ROADSIDE
            else scenario.map_labels(agent_id, moment.frame_id),
        )
        size = found.images.nbytes + 5 * self.config.map.rows * self.config.map.columns
        if self._cache_left >= size:
            self._cache_left -= size
            self._cache[key] = found
        return found


def ring_inputs(
    frame: RingFrame,
    config: CobevtConfig,
    plan: MapStageRecipe | None = None,
    rng: np.random.Generator | None = None,
) -> RingInputs:
    """Network input of one agent; with ``plan`` and ``rng`` colours change and cameras fail."""
    images = frame.images
    valid = np.ones((1, len(images)), dtype=np.bool_)
    if plan is not None and rng is not None:
        images = np.stack([colour_jitter(image, plan.augmentation, rng) for image in images])
        lost = rng.random(len(images)) < plan.camera_dropout
        valid[0] = ~lost if not lost.all() else True
    pixels = np.stack([normalised(image, config.image) for image in images])
    return RingInputs(
        torch.from_numpy(pixels)[None],
        torch.from_numpy(frame.intrinsics.astype(np.float32))[None],
        torch.from_numpy(frame.body_T_camera.astype(np.float32))[None],
        torch.from_numpy(valid),
    )


def scene_inputs(rings: Sequence[RingInputs], frames: Sequence[RingFrame]) -> MapInputs:
    """One scene; the first frame is the ego's."""
    return MapInputs(RingInputs.stack(rings), ego_T_bodies(frames), (len(frames),))


def ego_T_bodies(frames: Sequence[RingFrame]) -> Tensor:  # noqa: N802
    """(L, 4, 4) bodies of the agents in the frame of the first one's."""
    ego_T_world = np.linalg.inv(frames[0].world_T_body)
    poses = np.stack([ego_T_world @ frame.world_T_body for frame in frames])
    return torch.from_numpy(poses.astype(np.float32))


def batch_inputs(scenes: Sequence[MapInputs]) -> MapInputs:
    """Several scenes as one batch."""
    return MapInputs(
        RingInputs.stack([scene.rings for scene in scenes]),
        torch.cat([scene.ego_T_agent for scene in scenes]),
        tuple(count for scene in scenes for count in scene.counts),
    )


def map_truth(labels: Sequence[MapLabels], plan: MapStageRecipe) -> dict[Target, Tensor]:
    """Classes by target, (B, rows, columns) int64; without ``static`` if a scene has no map."""
    dynamic = np.stack([getattr(found, plan.vehicles) for found in labels])
    truth: dict[Target, Tensor] = {'dynamic': torch.from_numpy(dynamic.astype(np.int64))}
    static = [found.static for found in labels]
    if all(found is not None for found in static):
        truth['static'] = torch.from_numpy(np.stack(static).astype(np.int64))  # type: ignore[arg-type]
    return truth
