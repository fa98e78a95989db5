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

"""What every message of an agent says of its sender."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.structures.frames import Role


@dataclass(frozen=True, eq=False)
class AgentMessage:
    """The sender, and when and where it looked.

    Attributes:
        agent_id: Sender.
        role: Its role.
        model_id: Hash of the sender's weights and configuration; features of another model
            mean nothing to the receiver.
        session_id: Random per start of the sender, so that a restart is seen.
        sequence: Counts messages of the session from 0.
        stamp_ns: Capture time, ns, sender's clock.
        world_SE3_agent: Frame of what is sent in the shared world at capture, float64: of
            instances the sender's perception frame, of maps its body, on which they are centred.
        pose_covariance: (6, 6), as AgentFrame.
    """

    agent_id: str
    role: Role
    model_id: str
    session_id: int
    sequence: int
    stamp_ns: int
    world_SE3_agent: SE3
    pose_covariance: NDArray[np.float64]
