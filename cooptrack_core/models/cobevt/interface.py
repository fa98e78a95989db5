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

"""What goes into the model and what comes out.

Sizes: A agents in all, B scenes, L slots of agents per scene, N cameras of a ring, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.models.cobevt.config import Target


@dataclass(frozen=True, eq=False)
class RingInputs:
    """Camera rings of A agents, ready for the network (see ``preprocess.py``).

    Rings may differ in their number of cameras: shorter ones are filled up with cameras that are
    not valid. The order of the cameras means nothing.

    Attributes:
        images: (A, N, 3, h, w) float32, normalised.
        intrinsics: (A, N, 3, 3), pixels of exactly these images.
        agent_T_camera: (A, N, 4, 4), optical frame (x right, y down, z forward) to agent frame.
        cameras_valid: (A, N) bool. What belongs to a camera that is not valid is never read.
    """

    images: Tensor
    intrinsics: Tensor
    agent_T_camera: Tensor
    cameras_valid: Tensor

    def __post_init__(self) -> None:
        """Check the shapes."""
        ring = tuple(self.images.shape[:2])
        shapes = (self.intrinsics.shape, self.agent_T_camera.shape, self.cameras_valid.shape)
        wanted = ((*ring, 3, 3), (*ring, 4, 4), ring)
        if self.images.ndim != 5 or tuple(map(tuple, shapes)) != wanted:
            raise ValueError(f'images {tuple(self.images.shape)} with {shapes}')

    def to(self, device: torch.device | str) -> RingInputs:
        """Copy on another device."""
        return RingInputs(*(getattr(self, f.name).to(device) for f in dataclasses.fields(self)))

    @staticmethod
    def stack(rings: Sequence[RingInputs]) -> RingInputs:
        """Rings of several agents as one, filled up to the longest."""
        longest = max(ring.images.shape[1] for ring in rings)
        return RingInputs(
            torch.cat([_longer(r.images, longest) for r in rings]),
            torch.cat([_longer(r.intrinsics, longest, torch.eye(3)) for r in rings]),
            torch.cat([_longer(r.agent_T_camera, longest, torch.eye(4)) for r in rings]),
            torch.cat([_longer(r.cameras_valid, longest) for r in rings]),
        )


def _longer(x: Tensor, count: int, fill: Tensor | None = None) -> Tensor:
    agents, cameras = x.shape[:2]
    more = x.new_zeros(agents, count - cameras, *x.shape[2:])
    return torch.cat([x, more if fill is None else more + fill.to(x)], 1)


@dataclass(frozen=True, eq=False)
class MapInputs:
    """Scenes of several agents.

    Attributes:
        rings: Of all agents, scene after scene; the first of a scene is its ego.
        ego_T_agent: (A, 4, 4) agent frame (x forward, y left) to that of the scene's ego.
        counts: Agents of each scene.
    """

    rings: RingInputs
    ego_T_agent: Tensor
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that every agent belongs to a scene."""
        agents = self.rings.images.shape[0]
        if sum(self.counts) != agents or min(self.counts, default=0) < 1:
            raise ValueError(f'{agents} agents in scenes of {self.counts}')
        if tuple(self.ego_T_agent.shape) != (agents, 4, 4):
            raise ValueError(f'{agents} agents, ego_T_agent {tuple(self.ego_T_agent.shape)}')

    def to(self, device: torch.device | str) -> MapInputs:
        """Copy on another device."""
        return MapInputs(self.rings.to(device), self.ego_T_agent.to(device), self.counts)


@dataclass(frozen=True, eq=False)
class MapOutputs:
    """Everything the model computed on the way to the map.

    Attributes:
        features: (A, C, H, W), each agent's own map, after the radio.
        warped: (B, L, C, H, W) on the ego's cells; None without fusion.
        valid: (B, L, H, W) bool: the agent is there and its map covers the cell; None as above.
        fused: (B, C, H, W).
        decoded: (B, C', rows, columns) trunk of the heads.
        logits: By target, (B, classes, rows, columns).
    """

    features: Tensor
    warped: Tensor | None
    valid: Tensor | None
    fused: Tensor
    decoded: Tensor
    logits: Mapping[Target, Tensor]
