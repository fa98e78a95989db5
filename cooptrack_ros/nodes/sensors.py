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

"""Nodes room: an agent's cameras, calibrations and TF, and the frames they make."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tf2_ros
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_core.structures import AgentFrame, Role
from cooptrack_ros import _compat
from cooptrack_ros.bags import names
from cooptrack_ros.bags.transforms import NoTransformError
from cooptrack_ros.conversions import rgb_from_compressed, stamp_to_ns, transform_from_message
from cooptrack_ros.nodes import qos
from cooptrack_ros.nodes.aligner import FrameAligner, Sighting
from cooptrack_ros.nodes.frames import FrameBuilder, NoCalibrationError
from cooptrack_ros.nodes.health import ERROR, OK, STALE, WARN, Health, PerSecond
from cooptrack_ros.nodes.parameters import SensorParameters

Group = tuple[Sighting, ...]

_POLL_S = 0.005
# ROS time that steps back at all was set back; a little is left for a clock that is corrected.
_CLOCK_JUMP_S = 0.1
# An image from further ahead belongs to another lap of a recording, or its clock is wrong; waiting
# for its time would block the frames of now.
_AHEAD_NS = 1_000_000_000


class Sensors:
    """Subscriptions of one agent. Callbacks hand groups of images over; ``frame`` makes frames.

    Attributes:
        role: Role of the agent.
        builder: Makes the frames.
        enabled: Whether images are looked at.
    """

    def __init__(
        self,
        node: Any,
        parameters: SensorParameters,
        on_group: Callable[[Group], None],
        on_jump: Callable[[], None],
        lap: int = 0,
    ) -> None:
        """Subscribe.

        Args:
            node: The rclpy node.
            parameters: Who the agent is and what it sees.
            on_group: Takes the images of one instant; must return at once.
            on_jump: Called when time jumped back, by the clock or by the stamps.
            lap: First lap; larger than those of sensors that were closed before.
        """
        self.role = Role(parameters.role)
        self.enabled = True
        self._node = node
        self._p = parameters
        self._on_group = on_group
        self._on_jump = on_jump
        self._infos: dict[str, Any] = {}
        self._received: dict[str, int] = dict.fromkeys(parameters.cameras, 0)
        self._problem: str | None = None
        self._incomplete = 0
        self._ahead = 0
        self._rates = PerSecond()
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        self._aligner = FrameAligner(
            parameters.cameras, round(parameters.camera_tolerance_ms * 1e6), self._jumped
        )
        agent_id = parameters.agent_id
        raw = parameters.transport == 'raw'
        self.builder = FrameBuilder(
            agent_id=agent_id,
            role=self.role,
            lookup=self.lookup,
            info_of=self._infos.get,
            read_image=_compat.raw_image_reader(node) if raw else rgb_from_compressed,
            world_frame=parameters.world_frame,
            agent_frame=parameters.agent_frame.format(agent=agent_id),
            body_frame=parameters.body_frame.format(agent=agent_id),
            rectified=parameters.rectified,
        )
        self.builder.lap = lap
        self._clock_handle = _compat.on_jump_back(node, _CLOCK_JUMP_S, self._jumped)
        self._subscriptions = [
            subscription for camera in parameters.cameras for subscription in self._open(camera)
        ]
        self._timer: Any = None
        if len(parameters.cameras) > 1:
            self._timer = _compat.steady_timer(node, 0.02, self._poll)

    def close(self) -> None:
        """Hear nothing any more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._clock_handle.unregister()
        self._listener.unregister()

    def change(self, parameters: SensorParameters) -> None:
        """Take over what may change while running."""
        self._p = parameters
        self._aligner.tolerance_ns = round(parameters.camera_tolerance_ms * 1e6)

    def reset(self) -> None:
        """Forget everything but TF, on somebody's wish: /tf_static would not come again soon."""
        self._aligner.reset()
        self.builder.lap += 1
        self._on_jump()

    def topic(self, camera: str) -> str:
        """Topic of the images of a camera."""
        kind = 'image_rect' if self._p.rectified else 'image_raw'
        base = f'/{self._p.agent_id}/{camera}/{kind}'
        return base if self._p.transport == 'raw' else f'{base}/compressed'

    def frame(self, group: Group, given_up: Callable[[], bool]) -> AgentFrame | None:
        """Make the frame of a group; waits for TF and camera_info. Runs in the worker.

        Returns:
            None when the frame cannot be used; the diagnostics tell why.
        """
        deadline_ns = group[0].stamp_ns + round(self._p.tf_timeout_ms * 1e6)
        while True:
            try:
                frame = self.builder.build(group)
                self._problem = None
                return frame
            except (NoTransformError, NoCalibrationError) as error:
                if given_up():
                    return None
                if _compat.now_ns(self._node) > deadline_ns:
                    self._incomplete += 1
                    self._problem = str(error)
                    raise
                time.sleep(_POLL_S)
            except InputError as error:
                self._problem = str(error)
                raise

    def lookup(self, target: str, source: str, stamp_ns: int) -> SE3:
        """Ask TF.

        Raises:
            NoTransformError: It does not know (yet).
        """
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except tf2_ros.TransformException as error:
            raise NoTransformError(
                str(error).rstrip('.'),
                field='tf',
                remedy=f"publish /tf and /tf_static so that '{source}' and '{target}' are "
                'connected at the stamps of the images',
            ) from error
        return transform_from_message(found)[3]

    def health(self, seconds: float) -> list[Health]:
        """One line per camera and one for TF."""
        lines = []
        problem = self._problem
        for camera in self._p.cameras:
            count = self._received[camera]
            rate = self._rates.rate(camera, count, seconds)
            info = self._infos.get(camera)
            level, message = OK, f'{rate:.1f} Hz'
            if info is not None and info.k[0] == 0:
                level = ERROR
                message = 'the camera is not calibrated: fill k of its camera_info'
            elif count and info is None:
                level, message = ERROR, 'no camera_info: publish it beside the images'
            elif not count:
                level, message = WARN, f'no image yet on {self.topic(camera)}'
            elif rate == 0:
                level, message = STALE, 'no images any more'
            values = {'topic': self.topic(camera), 'images': count, 'rate_hz': f'{rate:.2f}'}
            lines.append(Health(f'camera {camera}', level, message, values))
        counts: dict[str, object] = dict(self._aligner.counts)
        counts['frames_without_pose_or_calibration'] = self._incomplete
        counts['images_ahead_of_clock'] = self._ahead
        level, text = OK, 'frames are complete'
        if self._rates.rate('ahead', self._ahead, seconds) > 0:
            level = WARN
            text = 'images are stamped over 1 s ahead of the clock: synchronise the clocks'
        if problem is not None:
            level, text = ERROR, problem
        if not self.enabled:
            level, text = WARN, 'disabled: call ~/set_enabled with true'
        lines.append(Health('frames', level, text, counts))
        return lines

    def _open(self, camera: str) -> list[Any]:
        topic = self.topic(camera)
        image = Image if self._p.transport == 'raw' else CompressedImage

        def on_info(message: Any) -> None:
            self._infos[camera] = message

        def on_image(message: Any) -> None:
            self._received[camera] += 1
            if not self.enabled:
                return
            stamp_ns = stamp_to_ns(message.header.stamp)
            if stamp_ns > _compat.now_ns(self._node) + _AHEAD_NS:
                self._ahead += 1
                return
            for group in self._aligner.push(Sighting(camera, topic, stamp_ns, message)):
                self._on_group(group)

        info_topic = names.info_topic(self._p.agent_id, camera)
        return [
            qos.subscription(self._node, CameraInfo, info_topic, on_info, 'camera'),
            qos.subscription(self._node, image, topic, on_image, 'camera'),
        ]

    def _poll(self) -> None:
        for group in self._aligner.poll(_compat.now_ns(self._node)):
            self._on_group(group)

    def _jumped(self) -> None:
        """Time jumped back: nothing of before may be used."""
        self._aligner.reset()
        self._buffer.clear()
        self.builder.lap += 1
        self._on_jump()
