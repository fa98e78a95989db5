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

"""Nodes room: a scene of a V2X-Seq directory as the live topics of its agents, with /clock."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.errors import InputError
from cooptrack_ros import _compat
from cooptrack_ros.bags import names
from cooptrack_ros.bags.dataset import SceneEvents
from cooptrack_ros.conversions import RosTypes
from cooptrack_ros.conversions.geometry import ns_to_stamp
from cooptrack_ros.nodes import qos
from cooptrack_ros.nodes.parameters import PlayerParameters, declare, watch
from cooptrack_ros.nodes.playback import Playback

# A step shows one image of the ego.
_STEP = ('image', EGO_ID)
# Longest time that passes between two ticks, s; what is more is lost: the recording slows down.
_LONGEST_S = 0.05
# How often it is looked at how much was lost, s, and which share is worth a warning.
_TELL_S, _LOST_SHARE = 30.0, 0.2


class LiveSink:
    """Publishes what a bag would be given to write."""

    def __init__(self, node: Any) -> None:
        """Advertise nothing yet."""
        self.types = RosTypes()
        self._node = node
        self._publishers: dict[str, Any] = {}

    def open(self, topic: str, message_type: str) -> Any:
        """Advertise a topic."""
        if topic not in self._publishers:
            package, _, word = message_type.split('/')
            kind = getattr(importlib.import_module(f'{package}.msg'), word)
            self._publishers[topic] = qos.publisher(self._node, kind, topic, _stream(topic))
        return self._publishers[topic]

    def write(self, topic: str, message_type: str, message: Any, stamp_ns: int) -> None:
        """Publish a message."""
        self.open(topic, message_type).publish(message)


def _stream(topic: str) -> qos.Stream:
    if topic == '/tf_static' or topic.endswith('/agent_info'):
        return 'latched'
    if topic == '/tf':
        return 'tf'
    return 'player' if names.parse_image_topic(topic) else 'result'


class DatasetPlayer:
    """Plays a scene; see docs/nodes.md."""

    def __init__(self, node: Any) -> None:
        """Read the scene and advertise; playing starts when the cameras have subscribers.

        Raises:
            InputError: A parameter or a file of the scene cannot be used.
        """
        self._node = node
        self._p = p = declare(node, PlayerParameters)
        if not p.dataset:
            raise InputError(
                'no dataset is given',
                field=f'{node.get_name()}.dataset',
                remedy='give a directory in the V2X-Seq layout, for example one that "cooptrack '
                'simulate" made: --ros-args -p dataset:=DIR',
            )
        self._report = _compat.Reporter(node)
        dataset = V2XSeqDataset(Path(p.dataset).expanduser(), remove_ego_from_cooperative=True)
        self._scene = _choose(dataset, p.scene)
        self._sink = LiveSink(node)
        self._events = SceneEvents(self._scene, self._sink)
        order = self._events.order
        self._playback = Playback(
            [event[0] for event in order],
            p.rate,
            p.loop,
            paused=p.start_paused,
            steps_ns=[stamp for stamp, kind, agent, _ in order if (kind, agent) == _STEP],
        )
        self._clock = qos.publisher(node, Clock, '/clock', 'result')
        self._cameras = [
            self._sink.open(topic, kind) for topic, kind in _camera_topics(self._scene)
        ]
        _read_labels(self._scene)
        self._asked_s = time.perf_counter()
        self._playing = False
        self._last_s = self._played_s = 0.0
        self._told_s, self._lost_s = self._asked_s, 0.0
        self._timer = _compat.steady_timer(node, 1.0 / p.clock_hz, self._tick)
        self._services = [
            node.create_service(Trigger, f'~/{name}', self._on_request(do, said))
            for name, do, said in (
                ('pause', self._playback.pause, 'paused'),
                ('resume', self._playback.resume, 'playing'),
                ('step', self._playback.step, 'one frame of the ego'),
            )
        ]
        watch(node, p, self._change)
        self._node.get_logger().info(
            f'{len(self._events.order)} events of sequence {self._scene.sequence_id} in '
            f'{p.dataset}; waiting for subscribers of the images'
        )

    def close(self) -> None:
        """Do nothing: there is no thread."""

    def _change(self, parameters: PlayerParameters, others: dict[str, Any]) -> None:
        """Take over what may change while running."""
        self._playback.rate = parameters.rate
        self._p = parameters

    def _on_request(self, do: Callable[[], None], said: str) -> Callable[[Any, Any], Any]:
        def answer(request: Any, response: Any) -> Any:
            do()
            response.success, response.message = True, said
            return response

        return answer

    def _tick(self) -> None:
        now_s = time.perf_counter()
        if not self._playing:
            if not self._may_start(now_s):
                return
            self._last_s = self._told_s = now_s
        tick = self._playback.tick(self._steady(now_s))
        self._clock.publish(Clock(clock=ns_to_stamp(self._sink.types, tick.now_ns)))
        if tick.new_lap:
            self._events.announce()
        for index in tick.due:
            try:
                self._events.write(self._events.order[index])
            except InputError as error:
                self._report.warn('event', f'left out: {error}')
        if tick.ended:
            self._node.get_logger().info('all is played')
            self._timer.cancel()
            rclpy.try_shutdown()

    def _steady(self, now_s: float) -> float:
        """Time in which is played, s: slower than real time where this machine is too slow.

        Otherwise /clock would run ahead of the messages, and all of them would come too late.
        """
        passed_s, self._last_s = now_s - self._last_s, now_s
        taken_s = min(passed_s, _LONGEST_S)
        self._played_s += taken_s
        self._lost_s += passed_s - taken_s
        if now_s - self._told_s > _TELL_S:
            share = self._lost_s / (now_s - self._told_s)
            self._told_s, self._lost_s = now_s, 0.0
            if share > _LOST_SHARE:
                self._report.warn(
                    'slow',
                    f'this machine is too slow: time ran at {(1 - share) * self._p.rate:.2f} in '
                    f'place of {self._p.rate:g}. Remedy: a lower rate',
                )
        return self._played_s

    def _may_start(self, now_s: float) -> bool:
        waited_s = now_s - self._asked_s
        silent = [p.topic_name for p in self._cameras if not p.get_subscription_count()]
        if silent and waited_s < self._p.wait_for_s:
            return False
        if silent:
            self._node.get_logger().warning(
                f'nobody reads {", ".join(silent)} after {waited_s:.0f} s; playing all the same'
            )
        how = 'paused at the start' if self._playback.paused else 'playing'
        self._node.get_logger().info(f'{how}, rate {self._p.rate:g}')
        self._playing = True
        return True


def _choose(dataset: V2XSeqDataset, sequence_id: str) -> Scene:
    if sequence_id:
        return dataset.scene(sequence_id)
    if not dataset.scenes:
        raise InputError('the dataset holds no scene', path=dataset.root)
    return dataset.scenes[0]


def _camera_topics(scene: Scene) -> list[tuple[str, str]]:
    """Topics of images and calibrations, with their types."""
    out = []
    for agent in scene.dataset.agents:
        for frame_id in scene.frame_ids(agent.agent_id)[:1]:
            camera = agent.agent_id, scene.camera(agent.agent_id, frame_id).name
            out.append((names.image_topic(*camera), 'sensor_msgs/msg/CompressedImage'))
            out.append((names.info_topic(*camera), 'sensor_msgs/msg/CameraInfo'))
    return out


def _read_labels(scene: Scene) -> None:
    """Read the labels now: the first time takes seconds, in which the clock would stand."""
    for agent in scene.dataset.agents:
        if scene.frame_ids(agent.agent_id):
            scene.labels(agent.agent_id, scene.frame_ids(agent.agent_id)[0])
    if scene.pairs:
        scene.cooperative_labels(scene.pairs[0].ego_frame_id)
