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

"""Poses of senders that stand still, averaged over their messages.

A roadside unit does not move, so when it admits an uncertain pose, what it says now and what it
said before are measurements of one and the same pose.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.structures import InstanceMessage, Role

_MOST = 30  # messages that count; errors that last longer are not averaged away
_MOVED = 5.0  # standard deviations from the mean: it was put somewhere else
_STRAIGHT = (0, 1, 5)  # x, y, yaw


class StandingPoses:
    """Running means of the poses of roadside units, by sender and session."""

    def __init__(self) -> None:
        """Start without any sender."""
        # By agent: session and sequence of the newest message, how many count, their mean.
        self._means: dict[str, tuple[int, int, int, SE3]] = {}

    def reset(self) -> None:
        """Forget all senders."""
        self._means.clear()

    def settled(self, message: InstanceMessage) -> InstanceMessage:
        """The message with the mean pose of its sender and what remains uncertain.

        Messages of moving senders, and of senders that claim an exact pose, come back unchanged.
        A message that is fused again says nothing new.
        """
        spread = message.pose_covariance
        if message.role is not Role.ROADSIDE or not spread.any():
            return message
        pose = message.world_SE3_agent
        session, newest, count, mean = self._means.get(message.agent_id, (0, 0, 0, pose))
        if session == message.session_id and newest == message.sequence and count:
            return _settled(message, mean, count)
        if session != message.session_id or _moved(mean, pose, spread):
            count, mean = 0, pose
        count = min(count + 1, _MOST)
        mean = _between(mean, pose, 1.0 / count)
        self._means[message.agent_id] = (message.session_id, message.sequence, count, mean)
        return _settled(message, mean, count)


def _settled(message: InstanceMessage, mean: SE3, count: int) -> InstanceMessage:
    spread = message.pose_covariance / count
    return dataclasses.replace(message, world_SE3_agent=mean, pose_covariance=spread)


def _moved(mean: SE3, pose: SE3, spread: NDArray[np.float64]) -> bool:
    change = mean.inverse() @ pose
    gap = np.array([*(pose.translation - mean.translation)[:2], change.yaw])
    # The smallest error a pose can have keeps the matrix regular.
    covariance = spread[np.ix_(_STRAIGHT, _STRAIGHT)] + np.diag([1e-4, 1e-4, 1e-8])
    return bool(gap @ np.linalg.solve(covariance, gap) > _MOVED**2)


def _between(first: SE3, second: SE3, share: float) -> SE3:
    """Pose on the way from the first to the second."""
    a, b = np.asarray(first.quaternion_wxyz), np.asarray(second.quaternion_wxyz)
    mixed = a + share * ((b if a @ b >= 0 else -b) - a)
    place = first.translation + share * (second.translation - first.translation)
    return SE3.from_quaternion(mixed / np.linalg.norm(mixed), place)
