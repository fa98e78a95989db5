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

"""Nodes room: the ego. Its cameras and the messages of the others in; fused tracks out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rclpy.serialization import deserialize_message
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from cooptrack_core.geometry import SE3
from cooptrack_core.perception import CooperativePerception
from cooptrack_core.structures import AgentFrame, InstanceMessage, Role
from cooptrack_core.structures import TrackedObjects as CoreTracks
from cooptrack_core.v2x import InboxSettings, Limits, MessageInbox, Rejected
from cooptrack_core.v2x.budget import RateLimits
from cooptrack_msgs.msg import FusionStatus, InstanceFeatures, TrackedObjects
from cooptrack_ros import _compat
from cooptrack_ros.bags import names, typestore
from cooptrack_ros.conversions import (
    MarkerBuilder,
    agent_markers,
    status_to_message,
    tracks_to_detections,
    tracks_to_message,
)
from cooptrack_ros.conversions.cdr import CdrChecker
from cooptrack_ros.conversions.instances import TYPE
from cooptrack_ros.nodes import base, qos
from cooptrack_ros.nodes.gate import FusionGate
from cooptrack_ros.nodes.health import Health, PerSecond, peer_health
from cooptrack_ros.nodes.parameters import CooperativeParameters, declare, watch

_FEATURES = re.compile(r'^/v2x/(?P<agent>[^/]+)/instance_features$')
_MS = 1_000_000


class CooperativeNode:
    """Wires CooperativePerception to ROS; see docs/nodes.md."""

    def __init__(self, node: Any) -> None:
        """Load the model, advertise, subscribe.

        Raises:
            InputError: A parameter, the weights or the device cannot be used.
        """
        self._node = node
        self._p = p = declare(node, CooperativeParameters)
        self._base = base.Perceiver(
            node,
            p,
            shipped_weights='tiny_cooperative.safetensors',
            perceive=self._perceive,
            forget=self._forget,
            on_jump=lambda: self._gate.reset(),
            health=self._health,
        )
        model = self._base.model
        if model.sender_id is None:
            node.get_logger().warning(
                'the weights do not say which model the senders must run: messages of any model '
                'are fused. Remedy: use cooperative weights of "cooptrack train"'
            )
        self._perception = CooperativePerception(model, p.agent_id)
        settings = _inbox_settings(p)
        self._gate = FusionGate(
            MessageInbox(model.sender_id, p.agent_id, settings),
            round(p.wait_ms * _MS),
            p.world_frame,
            limits=_rate_limits(p),
            # Typed fields take a little more room than the same bytes on the air.
            checker=CdrChecker(
                typestore(), TYPE, settings.limits.max_bytes + 4096, settings.limits.max_sections
            ),
            deserialize=lambda data: deserialize_message(data, InstanceFeatures),
        )
        self._rates = PerSecond()
        self._markers = MarkerBuilder(
            self._base.types, frame_id=p.world_frame, lifetime_ns=_lifetime_ns(p)
        )
        self._agents: dict[str, tuple[Role, SE3]] = {}
        self._peers: dict[str, Any] = {}
        self._advertise()
        self._base.start()
        self._discover()
        self._discovery = _compat.steady_timer(node, 0.5, self._discover)
        watch(node, p, self._change)

    def close(self) -> None:
        """End the thread."""
        self._base.close()

    def _change(self, parameters: CooperativeParameters, others: dict[str, Any]) -> None:
        """Take thresholds over while running."""
        p = parameters
        self._gate.change(
            wait_ns=round(p.wait_ms * _MS), settings=_inbox_settings(p), limits=_rate_limits(p)
        )
        self._markers.lifetime_ns = _lifetime_ns(p)
        self._base.change(p)
        self._p = p

    def _advertise(self) -> None:
        def out(kind: Any, topic: str) -> Any:
            return qos.publisher(self._node, kind, topic, 'result')

        self._tracks_out = out(TrackedObjects, names.TRACKS)
        self._detections_out = out(Detection3DArray, names.DETECTIONS)
        self._markers_out = out(MarkerArray, names.MARKERS)
        self._agents_out = out(MarkerArray, names.AGENTS)
        self._status_out = out(FusionStatus, names.STATUS)

    def _discover(self) -> None:
        """Listen to every agent that is on the air; ROS has no subscription by pattern."""
        if '*' not in self._p.agents:
            found: Iterable[str] = self._p.agents
        else:
            topics = self._node.get_topic_names_and_types()
            found = [m['agent'] for topic, _ in topics if (m := _FEATURES.match(topic))]
        for agent_id in found:
            if agent_id != self._p.agent_id and agent_id not in self._peers:
                self._listen(agent_id)

    def _listen(self, agent_id: str) -> None:
        limit = self._p.max_agents  # nobody may open topics without end
        if len(self._peers) >= limit:
            self._base.report.warn('peers', f'more than {limit} agents: {agent_id} is not heard')
            return

        def on_features(data: bytes) -> None:
            now_ns, steady_s = _compat.now_ns(self._node), time.perf_counter()
            verdict = self._gate.receive_serialized(data, agent_id, now_ns, steady_s)
            if isinstance(verdict, Rejected):
                self._base.report.warn(
                    f'{agent_id}/{verdict.reason}',
                    f'a message on the topic of {agent_id} was dropped: {verdict.reason} '
                    f'{verdict.detail}',
                )

        topic = names.features_topic(agent_id)
        # As bytes: what a peer sends is looked at before the middleware's reader believes it.
        self._peers[agent_id] = qos.subscription(
            self._node,
            InstanceFeatures,
            topic,
            on_features,
            qos.radio(self._p.v2x_reliability),
            raw=True,
        )
        self._node.get_logger().info(f'listening to {topic}')

    def _perceive(self, frame: AgentFrame, current: Callable[[], bool]) -> None:
        self._gate.wait(frame.stamp_ns, lambda: _compat.now_ns(self._node), lambda: not current())
        if not current():
            return
        messages = self._gate.messages(frame.stamp_ns)
        result = self._perception.process(frame, messages)
        if current():
            self._publish(frame, messages, result.tracks)

    def _publish(
        self,
        frame: AgentFrame,
        messages: Sequence[InstanceMessage],
        tracks: CoreTracks,
    ) -> None:
        types, world, here = self._base.types, self._p.world_frame, SE3.identity()
        self._tracks_out.publish(
            tracks_to_message(types, tracks, here, frame_id=world, agent_id=self._p.agent_id)
        )
        self._detections_out.publish(tracks_to_detections(types, tracks, here, frame_id=world))
        if self._markers_out.get_subscription_count():
            self._markers_out.publish(self._markers.update(tracks, here))
        if self._agents_out.get_subscription_count():
            self._agents.update({m.agent_id: (m.role, m.world_SE3_agent) for m in messages})
            self._agents[frame.agent_id] = (frame.role, frame.world_SE3_agent)
            self._agents_out.publish(
                agent_markers(
                    types,
                    self._agents,
                    frame.stamp_ns,
                    frame_id=world,
                    lifetime_ns=_lifetime_ns(self._p),
                )
            )
        now_ns = _compat.now_ns(self._node)
        self._status_out.publish(
            status_to_message(
                types,
                self._gate.stats,
                now_ns,
                self._p.agent_id,
                self._base.model.sender_id or '',
                self._gate.clocks(now_ns),
            )
        )

    def _health(self, now_ns: int, seconds: float) -> Sequence[Health]:
        clocks = self._gate.clocks(now_ns)
        return peer_health(self._gate.stats, now_ns, self._rates, seconds, clocks)

    def _forget(self) -> None:
        self._perception.reset()
        self._agents.clear()
        self._markers_out.publish(self._markers.reset(_compat.now_ns(self._node)))


def _inbox_settings(p: CooperativeParameters) -> InboxSettings:
    max_age, ahead = round(p.max_age_ms * _MS), round(p.future_tolerance_ms * _MS)
    return InboxSettings(
        max_age_ns=max_age,
        future_tolerance_ns=ahead,
        forget_after_ns=max(10_000 * _MS, max_age + ahead),
        max_agents=p.max_agents,
        limits=Limits(max_bytes=p.max_message_kilobytes * 1024),
    )


def _rate_limits(p: CooperativeParameters) -> RateLimits:
    """A second's worth may come at once, and the largest message always."""
    rate, data = p.peer_rate_hz, p.peer_megabytes_per_s * 1e6
    largest = p.max_message_kilobytes * 1024.0 + 4096
    return RateLimits(rate, max(rate, 1.0), data, max(data, largest))


def _lifetime_ns(p: CooperativeParameters) -> int:
    return round(p.marker_lifetime_s * 1e9)
