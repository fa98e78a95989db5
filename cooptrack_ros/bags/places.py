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


"""Bags room: where the map is in the world, and the frames of an agent as TF."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from cooptrack_core.geometry import SE3, CameraModel, orthogonality_residual
from cooptrack_core.structures import AgentFrame
from cooptrack_ros.bags import names
from cooptrack_ros.conversions import MessageTypes, info_to_message, transform_to_message

# float32, in which viewers compute, resolves 1 mm at this distance from the origin.
_NEAR_M = 10_000.0


def map_near(world_SE3_agent: SE3) -> SE3:
    """Choose ``map_SE3_world``: the world's axes, its origin moved near the scene if it is far.

    The shift is in whole metres, so that it can be read and undone without rounding.
    """
    place = np.round(world_SE3_agent.translation)
    if np.abs(place).max() < _NEAR_M:
        return SE3.identity()
    return SE3(np.eye(3), -place)


def extrinsic_from(camera: CameraModel) -> tuple[SE3, float]:
    """Return ``agent_SE3_camera`` as a rigid transform, and how far the calibration was from one.

    Real calibrations are not exactly orthogonal; TF holds nothing else. The residual is the
    largest entry of R R^T - I.
    """
    camera_T_agent = camera.camera_T_agent
    residual = orthogonality_residual(camera_T_agent[:3, :3])
    return SE3.from_matrix(camera_T_agent, project=True).inverse(), residual


Link = tuple[str, str, SE3]  # parent, child, parent_SE3_child


class MessageSink(Protocol):
    """Takes messages: a bag that is written, or a node that publishes."""

    @property
    def types(self) -> MessageTypes:
        """Makes the messages it takes."""
        ...

    def write(self, topic: str, message_type: str, message: Any, stamp_ns: int) -> None:
        """Take one message."""
        ...


class AgentPlaces:
    """Writes TF and calibration of the agents of a bag, static ones only when they change."""

    def __init__(self, bag: MessageSink, map_SE3_world: SE3) -> None:
        """Nothing is written before the first agent.

        Args:
            bag: Takes the messages, usually an open bag.
            map_SE3_world: Place of the world in the map.
        """
        self.bag = bag
        self.map_SE3_world = map_SE3_world
        self.largest_residual = 0.0
        self._static: dict[str, tuple[str, SE3]] = {}

    def announce(
        self,
        frames: Iterable[AgentFrame],
        cameras: Iterable[tuple[str, CameraModel]],
        still: Mapping[str, bool],
        stamp_ns: int,
    ) -> None:
        """Write all that does not move in one message, as a robot does at its start.

        Args:
            frames: One frame of each agent.
            cameras: Agent id and camera.
            still: Whether an agent stands, by agent id.
            stamp_ns: Time of the message.
        """
        links = [(names.MAP, names.WORLD, self.map_SE3_world)]
        for frame in frames:
            links += self._mounts(frame, still[frame.agent_id])
        for agent_id, camera in cameras:
            links.append(self._camera_mount(agent_id, camera))
        self._fix(links, stamp_ns)

    def write_frame(self, frame: AgentFrame, *, still: bool = False) -> None:
        """Write the pose of an agent at ``frame.stamp_ns``, and its LiDAR mount if it is new.

        Args:
            frame: The frame; images are not looked at.
            still: The agent does not move: its pose is static.
        """
        self._fix(self._mounts(frame, still), frame.stamp_ns)
        if not still:
            moved = transform_to_message(
                self.bag.types,
                self.map_SE3_world @ frame.world_SE3_body,
                names.MAP,
                names.body_frame(frame.agent_id),
                frame.stamp_ns,
            )
            self._send('/tf', [moved], frame.stamp_ns)

    def write_camera(self, agent_id: str, camera: CameraModel, stamp_ns: int) -> None:
        """Write the camera_info of one image and, when it is new, the place of the camera."""
        mount = self._camera_mount(agent_id, camera)
        self._fix([mount], stamp_ns)
        info = info_to_message(self.bag.types, camera, stamp_ns, mount[1])
        topic = names.info_topic(agent_id, camera.name)
        self.bag.write(topic, 'sensor_msgs/msg/CameraInfo', info, stamp_ns)

    def _mounts(self, frame: AgentFrame, still: bool) -> list[Link]:
        body, agent = names.body_frame(frame.agent_id), names.agent_frame(frame.agent_id)
        links = [(body, agent, frame.world_SE3_body.inverse() @ frame.world_SE3_agent)]
        if still:
            links.append((names.MAP, body, self.map_SE3_world @ frame.world_SE3_body))
        return links

    def _camera_mount(self, agent_id: str, camera: CameraModel) -> Link:
        agent_SE3_camera, residual = extrinsic_from(camera)
        self.largest_residual = max(self.largest_residual, residual)
        optical = names.optical_frame(agent_id, camera.name)
        return names.agent_frame(agent_id), optical, agent_SE3_camera

    def _fix(self, links: list[Link], stamp_ns: int) -> None:
        changed = False
        for parent, child, pose in links:
            known = self._static.get(child)
            if known is None or not _same(known[1], pose):
                self._static[child] = (parent, pose)
                changed = True
        if changed:
            # A latched topic keeps its last message only, so each holds all static transforms.
            every = [
                transform_to_message(self.bag.types, pose, parent, child, stamp_ns)
                for child, (parent, pose) in sorted(self._static.items())
            ]
            self._send('/tf_static', every, stamp_ns)

    def _send(self, topic: str, transforms: list[Any], stamp_ns: int) -> None:
        message = self.bag.types.new('tf2_msgs/msg/TFMessage', transforms=transforms)
        self.bag.write(topic, 'tf2_msgs/msg/TFMessage', message, stamp_ns)


def _same(a: SE3, b: SE3) -> bool:
    # Mounts are differences of poses; far from the origin of the world these are rounded.
    return bool(
        np.abs(a.rotation - b.rotation).max() < 1e-8
        and np.abs(a.translation - b.translation).max() < 1e-5
    )
