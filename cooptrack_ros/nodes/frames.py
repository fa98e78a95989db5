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

"""Nodes room: from images, calibration and poses to an AgentFrame. Works without ROS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_core.structures import AgentFrame, CameraImage, Role
from cooptrack_ros.bags.reader import info_signature
from cooptrack_ros.bags.transforms import NoTransformError
from cooptrack_ros.conversions import Calibration, calibration_from_info
from cooptrack_ros.nodes.aligner import Sighting

Lookup = Callable[[str, str, int], SE3]
"""``lookup(target, source, stamp_ns)`` gives ``target_SE3_source`` or raises NoTransformError."""


class NoCalibrationError(InputError):
    """No camera_info came so far."""


class FrameBuilder:
    """Makes the frames of one agent.

    Attributes:
        lap: Counts jumps back in time; a new one makes a new sequence, in which ids start anew.
    """

    def __init__(
        self,
        *,
        agent_id: str,
        role: Role,
        lookup: Lookup,
        info_of: Callable[[str], Any],
        read_image: Callable[[Any, str], NDArray[np.uint8]],
        world_frame: str,
        agent_frame: str,
        body_frame: str,
        rectified: bool,
    ) -> None:
        """Remember whose frames these are.

        Args:
            agent_id: The agent.
            role: Its role.
            lookup: Asks TF.
            info_of: Newest CameraInfo of a camera, or None.
            read_image: Decodes an image message; gets the topic for error texts.
            world_frame: Frame that all agents share.
            agent_frame: Frame of perception.
            body_frame: Frame of the body.
            rectified: Images come from image_rect.
        """
        self.agent_id = agent_id
        self.role = role
        self.lap = 0
        self._lookup = lookup
        self._info_of = info_of
        self._read_image = read_image
        self._world, self._agent, self._body = world_frame, agent_frame, body_frame
        self._rectified = rectified
        self._calibrations: dict[str, tuple[tuple[Any, ...], Calibration]] = {}

    def poses(self, stamp_ns: int) -> tuple[SE3, SE3]:
        """Return ``world_SE3_agent`` and ``world_SE3_body`` at a time.

        Raises:
            NoTransformError: TF does not know (yet).
        """
        world_SE3_agent = self._lookup(self._world, self._agent, stamp_ns)
        try:
            return world_SE3_agent, self._lookup(self._world, self._body, stamp_ns)
        except NoTransformError:
            # An agent without a body frame is its own body, as roadside units are.
            return world_SE3_agent, world_SE3_agent

    def build(self, group: tuple[Sighting, ...]) -> AgentFrame:
        """Decode, undistort and calibrate the images of a group.

        Raises:
            NoTransformError: TF does not know the pose or a camera (yet).
            NoCalibrationError: No camera_info came (yet).
            InputError: An image is damaged, or its camera is not calibrated for it.
        """
        stamp_ns = group[0].stamp_ns
        world_SE3_agent, world_SE3_body = self.poses(stamp_ns)
        calibrations = [self._calibration(image) for image in group]
        images = tuple(
            CameraImage(
                calibration.undistort(self._read_image(image.message, image.topic)),
                calibration.camera,
                image.stamp_ns,
            )
            for image, calibration in zip(group, calibrations, strict=True)
        )
        return AgentFrame(
            agent_id=self.agent_id,
            role=self.role,
            sequence_id=f'live_{self.lap}',
            frame_id=str(stamp_ns),
            stamp_ns=stamp_ns,
            images=images,
            world_SE3_agent=world_SE3_agent,
            world_SE3_body=world_SE3_body,
        )

    def _calibration(self, image: Sighting) -> Calibration:
        """The camera of an image; read anew when camera_info or the mount changed."""
        info = self._info_of(image.camera)
        if info is None:
            raise NoCalibrationError(
                'there is no camera_info yet',
                path=image.topic,
                field='camera_info',
                remedy='publish camera_info beside the images, with their stamps',
            )
        optical = image.message.header.frame_id.lstrip('/')
        camera_SE3_agent = self._lookup(optical, self._agent, image.stamp_ns)
        signature = (info_signature(info), camera_SE3_agent.matrix.tobytes())
        known = self._calibrations.get(image.camera)
        if known is None or known[0] != signature:
            calibration = calibration_from_info(
                info,
                image.camera,
                camera_SE3_agent,
                rectified=self._rectified,
                source=image.topic,
            )
            known = self._calibrations[image.camera] = (signature, calibration)
        return known[1]
