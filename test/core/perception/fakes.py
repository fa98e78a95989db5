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

"""Agents without a network: they send messages of chosen content."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from cooptrack_core.geometry import SE3, Boxes3D, PerceptionRange
from cooptrack_core.structures import AgentFrame, InstanceMessage, Role

MS = 1_000_000


def frame(
    agent_id: str, ms: float, *, sequence_id: str = 'a', role: Role | None = None
) -> AgentFrame:
    guessed = Role.VEHICLE if agent_id == 'vehicle' else Role.ROADSIDE
    pose = SE3.from_yaw(0.1, (5.0, 0.0, 0.0))
    return AgentFrame(
        agent_id, role or guessed, sequence_id, f'{ms}', round(ms * MS), (), pose, pose
    )


def message(agent_id: str, stamp_ns: int, sequence: int, n: int = 2) -> InstanceMessage:
    zeros = np.zeros((n, 4), dtype=np.float32)
    return InstanceMessage(
        agent_id=agent_id,
        role=Role.ROADSIDE,
        model_id='model',
        session_id=1,
        sequence=sequence,
        stamp_ns=stamp_ns,
        world_SE3_agent=SE3.identity(),
        pose_covariance=np.zeros((6, 6)),
        range=PerceptionRange(-50, -50, -5, 50, 50, 3),
        query_features=zeros,
        query_embeddings=zeros,
        motion_features=zeros,
        reference_points=np.full((n, 3), 0.5, dtype=np.float32),
        boxes=Boxes3D(np.zeros((n, 3)), np.ones((n, 3)), np.zeros(n), np.zeros((n, 2))),
        class_scores=np.full((n, 3), 0.5, dtype=np.float32),
        track_ids=np.arange(n),
    )


@dataclass(frozen=True)
class FakeResult:
    """Stands for AgentResult."""

    message: InstanceMessage


class FakeAgent:
    """Stands for AgentPerception."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.model = SimpleNamespace(code=None, path='fake')
        self.sequence = 0
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def process(self, taken: AgentFrame) -> Any:
        self.sequence += 1
        return FakeResult(message(self.agent_id, taken.stamp_ns, self.sequence - 1))
