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

"""Nodes room: what the two perceiving nodes share: model, worker, sensors, diagnostics."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import SetBool, Trigger

from cooptrack_core import __version__, resources
from cooptrack_core.errors import InputError
from cooptrack_core.perception import Backend, PerceptionModel, Precision, load_model
from cooptrack_core.structures import AgentFrame
from cooptrack_ros import _compat
from cooptrack_ros.conversions import RosTypes, agent_info_to_message
from cooptrack_ros.nodes import qos
from cooptrack_ros.nodes.health import Health, PerSecond, diagnostics_message, worker_health
from cooptrack_ros.nodes.parameters import SensorParameters
from cooptrack_ros.nodes.sensors import Group, Sensors
from cooptrack_ros.nodes.worker import Worker


class Perceiver:
    """Cameras in, one call per frame in a thread of its own, diagnostics out.

    Attributes:
        types: Makes messages.
        model: The loaded model.
        session_id: Random per start.
        worker: The thread.
        report: Logs what repeats.
    """

    def __init__(
        self,
        node: Any,
        parameters: SensorParameters,
        *,
        shipped_weights: str,
        perceive: Callable[[AgentFrame, Callable[[], bool]], None],
        forget: Callable[[], None],
        on_jump: Callable[[], None],
        health: Callable[[int, float], Iterable[Health]],
    ) -> None:
        """Load the model; ``start`` subscribes.

        Args:
            node: The rclpy node.
            parameters: Its parameters.
            shipped_weights: File taken when none is given.
            perceive: Called with each frame, and with what tells whether it is still current.
            forget: Drops the memory of the perception; called in the thread.
            on_jump: Called at once when time jumps back.
            health: Further lines of the diagnostics; gets the time and a steady time in s.

        Raises:
            InputError: The weights or the device cannot be used.
        """
        torch.set_num_threads(parameters.threads)
        self.types = RosTypes()
        self.session_id = secrets.randbits(63)
        self.report = _compat.Reporter(node)
        self._node, self._p = node, parameters
        path = parameters.weights or resources.weights_path(shipped_weights)
        self.model: PerceptionModel = load_model(
            path,
            parameters.device,
            backend=cast(Backend, parameters.backend),
            precision=cast(Precision, parameters.precision),
        )
        self._perceive, self._on_jump, self._health = perceive, on_jump, health
        self._rates = PerSecond()
        self.worker: Worker[Group] = Worker(self._work, forget, self._failed)
        self._sensors: Sensors | None = None
        self._diagnostics = qos.publisher(node, DiagnosticArray, '/diagnostics', 'result')
        node.get_logger().info(
            f'{parameters.agent_id}: {self.model.network.config.name} of {path} on '
            f'{self.model.device}, model {self.model.model_id[:12]}'
        )

    def start(self) -> None:
        """Subscribe to the cameras and begin."""
        self.worker.start()
        self._sensors = Sensors(self._node, self._p, self.worker.offer, self._jumped)
        self._timer = _compat.steady_timer(self._node, 1.0, self._publish_health)
        self._services = [
            self._node.create_service(Trigger, '~/reset', self._on_reset),
            self._node.create_service(SetBool, '~/set_enabled', self._on_set_enabled),
        ]

    def change(self, parameters: SensorParameters) -> None:
        """Take over what may change while running."""
        self._p = parameters
        if self._sensors is not None:
            self._sensors.change(parameters)

    def close(self) -> None:
        """End the thread."""
        if not self.worker.stop():
            self._node.get_logger().warning('the perception did not end in time')

    def agent_info(self, frame_id: str) -> Any:
        """Who this agent is, as cooptrack_msgs/AgentInfo."""
        assert self._sensors is not None  # noqa: S101 - called after start
        return agent_info_to_message(
            self.types,
            stamp_ns=_compat.now_ns(self._node),
            frame_id=frame_id,
            agent_id=self._p.agent_id,
            role=self._sensors.role,
            cameras=self._p.cameras,
            model_id=self.model.model_id,
            session_id=self.session_id,
            software_version=__version__,
            perception_range=self.model.network.config.range,
        )

    def _work(self, group: Group, current: Callable[[], bool]) -> None:
        if self._sensors is None:
            return
        frame = self._sensors.frame(group, lambda: not current())
        if frame is not None:
            self._perceive(frame, current)

    def _failed(self, error: Exception) -> None:
        kind = type(error).__name__
        text = str(error) if isinstance(error, InputError) else f'{kind}: {error}'
        self.report.warn(kind, f'a frame was skipped: {text}')

    def _on_reset(self, request: Any, response: Any) -> Any:
        """Service: forget all tracks and messages, as after a jump of time."""
        if self._sensors is not None:
            self._sensors.reset()
        response.success, response.message = True, 'memory is reset'
        return response

    def _on_set_enabled(self, request: Any, response: Any) -> Any:
        """Service: look at images, or let them pass."""
        if self._sensors is not None:
            self._sensors.enabled = bool(request.data)
        response.success, response.message = True, 'enabled' if request.data else 'disabled'
        return response

    def _jumped(self) -> None:
        self._node.get_logger().info('time jumped back: memory is reset')
        self.worker.reset()
        self._on_jump()

    def _publish_health(self) -> None:
        if self._sensors is None:
            return
        seconds, now_ns = time.perf_counter(), _compat.now_ns(self._node)
        rate = self._rates.rate('done', self.worker.done, seconds)
        details = {'model_id': self.model.model_id, 'device': str(self.model.device)}
        lines = [
            worker_health(self.worker, rate, details),
            *self._sensors.health(seconds),
            *self._health(now_ns, seconds),
        ]
        self._diagnostics.publish(
            diagnostics_message(self.types, now_ns, self._node.get_name(), self._p.agent_id, lines)
        )
