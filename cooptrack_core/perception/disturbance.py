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

"""What goes wrong with remote agents in an experiment: wrong poses, wrong clocks, blind cameras.

Made to measure how much cooperation bears (CoopTrack, supplement C.3 to C.5). Errors are put into
what the agents say, before it is encoded, so that everything after it meets them as on the road.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from cooptrack_core.geometry import SE3
from cooptrack_core.structures import AgentFrame, InstanceMessage, Role

_NS_PER_MS = 1_000_000
_POSE_STREAM = 0x706F7365  # keeps the draws of poses apart from those of the links

Reach = Literal['everywhere', 'alignment']


@dataclass(frozen=True)
class Disturbance:
    """What is wrong with every remote agent; nothing by default.

    Attributes:
        pose_noise_m: Standard deviation of the sender's x and of its y in the world, metres.
        pose_noise_deg: Standard deviation of its heading, degrees.
        pose_noise_at: ``everywhere``: the pose in the message is wrong, and its covariance says
            how much. ``alignment``: only the input of the feature alignment (CAA) is; reference
            points and boxes use the right pose.
        clock_skew_ms: The clocks of all remote agents run ahead by this (behind if negative):
            stamps inside messages are shifted, captures and sending are not.
        blind_roadside: Frames of roadside units have no image.
        seed: Of the pose errors; each depends on seed, agent and capture time alone.
    """

    pose_noise_m: float = 0.0
    pose_noise_deg: float = 0.0
    pose_noise_at: Reach = 'everywhere'
    clock_skew_ms: float = 0.0
    blind_roadside: bool = False
    seed: int = 0

    @property
    def noisy(self) -> bool:
        """Whether poses are disturbed at all."""
        return self.pose_noise_m > 0 or self.pose_noise_deg > 0

    @property
    def skew_ns(self) -> int:
        """Clock skew, ns."""
        return round(self.clock_skew_ms * _NS_PER_MS)

    def frame(self, frame: AgentFrame) -> AgentFrame:
        """Return the frame as the remote agent's perception gets it."""
        if self.blind_roadside and frame.role is Role.ROADSIDE:
            return replace(frame, images=())
        return frame

    def sent(self, message: InstanceMessage) -> InstanceMessage:
        """Return the message as the remote agent sends it."""
        if self.noisy and self.pose_noise_at == 'everywhere':
            message = replace(
                message,
                world_SE3_agent=self.wrong_pose(message, message.stamp_ns),
                pose_covariance=message.pose_covariance + self.covariance,
            )
        if self.skew_ns:
            message = replace(message, stamp_ns=message.stamp_ns + self.skew_ns)
        return message

    def received(self, message: InstanceMessage) -> InstanceMessage:
        """Return the message as the ego's fusion gets it."""
        if not self.noisy or self.pose_noise_at != 'alignment':
            return message
        pose = self.wrong_pose(message, message.stamp_ns - self.skew_ns)
        return MisalignedMessage.of(message, pose)

    @property
    def covariance(self) -> np.ndarray:
        """(6, 6) covariance of the error of (x, y, z, roll, pitch, yaw) in the world, m, rad."""
        place, turn = self.pose_noise_m**2, np.radians(self.pose_noise_deg) ** 2
        return np.diag([place, place, 0.0, 0.0, 0.0, turn])

    def wrong_pose(self, message: InstanceMessage, captured_ns: int) -> SE3:
        """Sender's pose with an error: a step in the world's plane, a turn about its vertical.

        Args:
            message: Sender and its pose.
            captured_ns: True capture time; the same one always draws the same error.
        """
        name = zlib.crc32(message.agent_id.encode())
        # Seeds are not negative; a stamp may be.
        random = np.random.default_rng(
            [self.seed, _POSE_STREAM, name, captured_ns & 0xFFFF_FFFF_FFFF_FFFF]
        )
        dx, dy, turn = random.standard_normal(3)
        pose = message.world_SE3_agent
        step = self.pose_noise_m * np.array([dx, dy, 0.0])
        yaw = np.radians(self.pose_noise_deg) * turn
        return SE3(SE3.from_yaw(yaw).rotation @ pose.rotation, pose.translation + step)


@dataclass(frozen=True, eq=False)
class MisalignedMessage(InstanceMessage):
    """A received message whose features are aligned with a wrong pose, for experiments.

    It never crosses the radio: neither codec nor ROS message can hold the field.

    Attributes:
        alignment_SE3_agent: Sender's pose in the world as the feature alignment believes it;
            None for the right one.
    """

    alignment_SE3_agent: SE3 | None = None

    @staticmethod
    def of(message: InstanceMessage, pose: SE3) -> MisalignedMessage:
        """Take over a message."""
        content = {f.name: getattr(message, f.name) for f in fields(InstanceMessage)}
        return MisalignedMessage(**content, alignment_SE3_agent=pose)
