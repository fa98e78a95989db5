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

"""Nodes room: what the perceiving nodes share: model, worker, sensors, diagnostics, services."""

from __future__ import annotations

import gc
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import SetBool, Trigger

from cooptrack_core import __version__, resources
from cooptrack_core.errors import InputError
from cooptrack_core.perception import (
    Backend,
    MapModel,
    PerceptionModel,
    Precision,
    exported_file,
    load_model,
)
from cooptrack_core.structures import AgentFrame, Role
from cooptrack_msgs.msg import Latency
from cooptrack_ros import _compat
from cooptrack_ros.conversions import RosTypes, agent_info_to_message
from cooptrack_ros.nodes import qos
from cooptrack_ros.nodes.health import (
    WARN,
    Health,
    PerSecond,
    diagnostics_message,
    worker_health,
)
from cooptrack_ros.nodes.latency import Arrival, Stages, Stopwatch, latency_to_message
from cooptrack_ros.nodes.parameters import SensorParameters
from cooptrack_ros.nodes.sensors import Group, Sensors
from cooptrack_ros.nodes.snapshot import Moment, Snapshots
from cooptrack_ros.nodes.worker import Worker

Current = Callable[[], bool]
Perceive = Callable[[AgentFrame, Current, Stopwatch], None]


class Perceiver:
    """Cameras in, one call per frame in a thread of its own, diagnostics out.

    Its steps are those of a lifecycle node: ``configure`` loads the model and advertises,
    ``activate`` subscribes and begins, ``deactivate`` and ``cleanup`` undo them.

    Attributes:
        types: Makes messages.
        session_id: Random per configuration.
        worker: The thread.
        report: Logs what repeats.
    """

    def __init__(
        self,
        node: Any,
        parameters: SensorParameters,
        *,
        shipped_weights: str,
        perceive: Perceive,
        forget: Callable[[], None],
        on_jump: Callable[[], None],
        health: Callable[[int, float], Iterable[Health]],
        latency_topic: str,
        load: Callable[..., Any] = load_model,
    ) -> None:
        """Offer the services; nothing is loaded yet.

        Args:
            node: The rclpy node.
            parameters: Its parameters.
            shipped_weights: File taken when none is given.
            perceive: Called with each frame, with what tells whether it is still current, and
                with the watch that times it.
            forget: Drops the memory of the perception; called in the thread.
            on_jump: Called at once when time jumps back.
            health: Further lines of the diagnostics; gets the time and a steady time in s.
            latency_topic: Where the times of each frame go.
            load: Loads the model: ``load_model``, or for maps ``load_map_model``.
        """
        self.types = RosTypes()
        self.session_id = 0
        self.report = _compat.Reporter(node)
        self._node, self._p = node, parameters
        self._shipped_weights = shipped_weights
        self._load = load
        self._model: PerceptionModel | MapModel | None = None
        self._perceive, self._on_jump, self._health = perceive, on_jump, health
        self._latency_topic = latency_topic
        self._rates, self._stages = PerSecond(), Stages()
        self.worker: Worker[Group] = Worker(self._work, forget, self._failed)
        self._sensors: Sensors | None = None
        self._lap, self._enabled = 0, True
        self._publishers: list[Any] = []
        self._timer: Any = None
        self._snapshots = Snapshots(node.get_name(), parameters)
        self._services = [
            node.create_service(Trigger, '~/reset', self._on_reset),
            node.create_service(SetBool, '~/set_enabled', self._on_set_enabled),
            node.create_service(Trigger, '~/snapshot', self._on_snapshot),
        ]

    @property
    def model(self) -> Any:
        """The loaded model, of the kind that ``load`` gives."""
        if self._model is None:
            raise RuntimeError('the node is not configured')
        return self._model

    def configure(self) -> None:
        """Load the model and advertise.

        Raises:
            InputError: The weights or the device cannot be used.
        """
        p = self._p
        torch.set_num_threads(p.threads)
        path = p.weights or resources.weights_path(self._shipped_weights)
        exported = None
        if p.exported:
            exported = exported_file(Path(p.exported), path, cast(Backend, p.backend))
        self._model = self._load(
            path,
            p.device,
            backend=cast(Backend, p.backend),
            precision=cast(Precision, p.precision),
            exported=exported,
        )
        self.session_id = secrets.randbits(63)
        self._diagnostics = self.advertise(DiagnosticArray, '/diagnostics', 'result')
        self._latency_out = self.advertise(Latency, self._latency_topic, 'result')
        self._timer = _compat.steady_timer(self._node, 1.0, self._publish_health)
        self._node.get_logger().info(
            f'{p.agent_id}: {self.model.network.config.name} of {path} on '
            f'{self.model.device}, model {self.model.model_id[:12]}'
        )

    def activate(self) -> None:
        """Subscribe to the cameras and begin."""
        self.worker.start()
        self._sensors = Sensors(self._node, self._p, self.worker.offer, self._jumped, self._lap)
        self._sensors.enabled = self._enabled

    def deactivate(self) -> None:
        """Hear nothing any more and end the thread.

        Raises:
            RuntimeError: The thread does not end.
        """
        if self._sensors is not None:
            self._sensors.close()
            self._lap = self._sensors.builder.lap + 1
            self._sensors = None
        if not self.worker.stop(timeout_s=30.0):
            raise RuntimeError('the perception did not end in time')

    def cleanup(self) -> None:
        """Free the model and what is advertised."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers.clear()
        self._snapshots.clear()
        self._model = None
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def close(self) -> None:
        """End the thread."""
        if not self.worker.stop():
            self._node.get_logger().warning('the perception did not end in time')

    def advertise(self, kind: Any, topic: str, stream: qos.Stream, **options: Any) -> Any:
        """Make a publisher that goes at ``cleanup``."""
        made = qos.publisher(self._node, kind, topic, stream, **options)
        self._publishers.append(made)
        return made

    def change(self, parameters: SensorParameters) -> None:
        """Take over what may change while running."""
        self._p = parameters
        self._snapshots.change(parameters)
        if self._sensors is not None:
            self._sensors.change(parameters)

    def agent_info(self, frame_id: str) -> Any:
        """Who this agent is, as cooptrack_msgs/AgentInfo."""
        return agent_info_to_message(
            self.types,
            stamp_ns=_compat.now_ns(self._node),
            frame_id=frame_id,
            agent_id=self._p.agent_id,
            role=Role(self._p.role),
            cameras=self._p.cameras,
            model_id=self.model.model_id,
            session_id=self.session_id,
            software_version=__version__,
            perception_range=self.model.network.config.range,
        )

    def published(
        self, watch: Stopwatch, moment: Moment, arrivals: Sequence[Arrival] = ()
    ) -> None:
        """Note that all of a frame is published; called in the thread."""
        watch.ended('publication')
        now_ns = _compat.now_ns(self._node)
        self._stages.add(watch, now_ns)
        self._snapshots.keep(moment)
        if self._latency_out.get_subscription_count():
            self._latency_out.publish(
                latency_to_message(self.types, self._p.agent_id, watch, now_ns, arrivals)
            )

    def _work(self, group: Group, current: Current) -> None:
        sensors = self._sensors
        if sensors is None:
            return
        watch = Stopwatch(group[0].stamp_ns, _compat.now_ns(self._node))
        frame = sensors.frame(group, lambda: not current())
        watch.ended('input')
        if frame is not None:
            self._perceive(frame, current, watch)

    def _failed(self, error: Exception) -> None:
        if not self._node.context.ok():
            return  # the process is about to end, and so nothing can be published
        kind = type(error).__name__
        text = str(error) if isinstance(error, InputError) else f'{kind}: {error}'
        self.report.warn(kind, f'a frame was skipped: {text}')

    def _on_reset(self, request: Any, response: Any) -> Any:
        """Service: forget all tracks and messages, as after a jump of time."""
        response.success, response.message = self._sensors is not None, 'the node is not active'
        if self._sensors is not None:
            self._sensors.reset()
            response.message = 'memory is reset'
        return response

    def _on_set_enabled(self, request: Any, response: Any) -> Any:
        """Service: look at images, or let them pass; holds for later activations, too."""
        self._enabled = bool(request.data)
        if self._sensors is not None:
            self._sensors.enabled = self._enabled
        response.success, response.message = True, 'enabled' if self._enabled else 'disabled'
        return response

    def _on_snapshot(self, request: Any, response: Any) -> Any:
        """Service: write the inputs and outputs of the last frames into a file."""
        try:
            response.success, response.message = True, self._snapshots.write()
        except (InputError, OSError, ValueError) as error:
            response.success, response.message = False, str(error)
        return response

    def _jumped(self) -> None:
        self._node.get_logger().info('time jumped back: memory is reset')
        self.worker.reset()
        self._on_jump()

    def _publish_health(self) -> None:
        seconds, now_ns = time.perf_counter(), _compat.now_ns(self._node)
        lines = [Health('state', WARN, 'inactive: activate the node')]
        if self._sensors is not None:
            rate = self._rates.rate('done', self.worker.done, seconds)
            details = {
                'model_id': self.model.model_id,
                'device': str(self.model.device),
                **self._stages.values(),
            }
            lines = [
                worker_health(self.worker, rate, details),
                *self._sensors.health(seconds),
                *self._health(now_ns, seconds),
            ]
        self._diagnostics.publish(
            diagnostics_message(self.types, now_ns, self._node.get_name(), self._p.agent_id, lines)
        )
