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

from collections.abc import Sequence
from typing import Any

from rclpy.serialization import deserialize_message
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from cooptrack_core.geometry import SE3
from cooptrack_core.perception import CooperativePerception, CooperativeResult
from cooptrack_core.structures import AgentFrame, InstanceMessage, Role
from cooptrack_core.v2x import MessageInbox
from cooptrack_msgs.msg import FusionStatus, InstanceFeatures, TrackedObjects
from cooptrack_ros import _compat
from cooptrack_ros.bags import names, typestore
from cooptrack_ros.conversions import (
    MarkerBuilder,
    agent_markers,
    link_markers,
    status_to_message,
    tracks_to_detections,
    tracks_to_message,
)
from cooptrack_ros.conversions.cdr import CdrChecker
from cooptrack_ros.conversions.instances import TYPE
from cooptrack_ros.nodes import base, peers
from cooptrack_ros.nodes.gate import FusionGate
from cooptrack_ros.nodes.health import Health, PerSecond, peer_health
from cooptrack_ros.nodes.latency import Stopwatch
from cooptrack_ros.nodes.parameters import CooperativeParameters, declare, watch
from cooptrack_ros.nodes.snapshot import Moment

# An agent that was not heard for so long is not shown any more.
_GONE_NS = 3_000_000_000


class CooperativeNode:
    """Wires CooperativePerception to ROS; see docs/nodes.md.

    Attributes:
        autostart: Whether the node configures and activates itself.
    """

    def __init__(self, node: Any) -> None:
        """Read the parameters.

        Raises:
            InputError: A parameter cannot be used.
        """
        self._node = node
        self._p = p = declare(node, CooperativeParameters)
        self.autostart = p.autostart
        self._perception: CooperativePerception | None = None
        self._gate: FusionGate | None = None
        self._base = base.Perceiver(
            node,
            p,
            shipped_weights='tiny_cooperative.safetensors',
            perceive=self._perceive,
            forget=self._forget,
            on_jump=self._jumped,
            health=self._health,
            latency_topic=names.LATENCY,
        )
        self._rates = PerSecond()
        self._agents: dict[str, tuple[Role, SE3]] = {}
        self._seen_ns: dict[str, int] = {}
        self._peers = peers.Peers(
            node, p, self._base.report, InstanceFeatures, names.features_topic
        )
        watch(node, p, self._change)

    def configure(self) -> None:
        """Load the model and advertise.

        Raises:
            InputError: The weights or the device cannot be used.
        """
        p = self._p
        self._base.configure()
        model = self._base.model
        if model.sender_id is None:
            self._node.get_logger().warning(
                'the weights do not say which model the senders must run: messages of any model '
                'are fused. Remedy: use cooperative weights of "cooptrack train"'
            )
        self._perception = CooperativePerception(model, p.agent_id)
        settings = peers.inbox_settings(p)
        self._gate = FusionGate(
            MessageInbox(model.sender_id, p.agent_id, settings),
            peers.wait_ns(p),
            p.world_frame,
            limits=peers.rate_limits(p),
            # Typed fields take a little more room than the same bytes on the air.
            checker=CdrChecker(
                typestore(), TYPE, settings.limits.max_bytes + 4096, settings.limits.max_sections
            ),
            deserialize=lambda data: deserialize_message(data, InstanceFeatures),
        )
        self._markers = MarkerBuilder(
            self._base.types, frame_id=p.world_frame, lifetime_ns=peers.lifetime_ns(p)
        )
        self._advertise()

    def activate(self) -> None:
        """Subscribe and begin."""
        self._base.activate()
        if self._gate is not None:
            self._peers.open(self._gate)

    def deactivate(self) -> None:
        """Hear and publish nothing any more."""
        self._peers.close()
        self._base.deactivate()
        self._jumped()

    def cleanup(self) -> None:
        """Free the model."""
        self._perception = self._gate = None
        self._base.cleanup()

    def close(self) -> None:
        """End the thread."""
        self._base.close()

    def _change(self, parameters: CooperativeParameters, others: dict[str, Any]) -> None:
        """Take thresholds over while running."""
        p = parameters
        if self._gate is not None:
            peers.change(self._gate, p)
            self._markers.lifetime_ns = peers.lifetime_ns(p)
        self._base.change(p)
        self._p = p

    def _advertise(self) -> None:
        def out(kind: Any, topic: str) -> Any:
            return self._base.advertise(kind, topic, 'result')

        self._tracks_out = out(TrackedObjects, names.TRACKS)
        self._detections_out = out(Detection3DArray, names.DETECTIONS)
        self._markers_out = out(MarkerArray, names.MARKERS)
        self._agents_out = out(MarkerArray, names.AGENTS)
        self._links_out = out(MarkerArray, names.LINKS)
        self._status_out = out(FusionStatus, names.STATUS)

    def _perceive(self, frame: AgentFrame, current: base.Current, times: Stopwatch) -> None:
        gate, perception = self._gate, self._perception
        if gate is None or perception is None:
            return
        gate.wait(frame.stamp_ns, lambda: _compat.now_ns(self._node), lambda: not current())
        times.ended('wait')
        if not current():
            return
        messages = gate.messages(frame.stamp_ns)
        result = perception.process(frame, messages)
        times.ended('perception')
        if not current():
            return
        self._publish(frame, messages, result, gate)
        moment = Moment(frame, messages, result.tracks)
        self._base.published(times, moment, gate.arrivals(messages))

    def _publish(
        self,
        frame: AgentFrame,
        messages: Sequence[InstanceMessage],
        result: CooperativeResult,
        gate: FusionGate,
    ) -> None:
        types, world, here, p = self._base.types, self._p.world_frame, SE3.identity(), self._p
        tracks = result.tracks
        now_ns = _compat.now_ns(self._node)
        if p.output_time == 'now':
            tracks = tracks.predicted(now_ns)
        age_s = (tracks.stamp_ns - frame.stamp_ns) / 1e9
        self._tracks_out.publish(
            tracks_to_message(
                types, tracks, here, frame_id=world, agent_id=p.agent_id, age_s=age_s
            )
        )
        if self._detections_out.get_subscription_count():
            self._detections_out.publish(tracks_to_detections(types, tracks, here, frame_id=world))
        if self._markers_out.get_subscription_count():
            self._markers_out.publish(self._markers.update(tracks, here))
        self._see(frame, messages)
        shown: dict[str, Any] = {'frame_id': world, 'lifetime_ns': peers.lifetime_ns(p)}
        if self._agents_out.get_subscription_count():
            self._agents_out.publish(agent_markers(types, self._agents, tracks.stamp_ns, **shown))
        if self._links_out.get_subscription_count():
            self._links_out.publish(
                link_markers(
                    types, self._agents, tracks, result.associations, frame.agent_id, **shown
                )
            )
        if self._status_out.get_subscription_count():
            self._status_out.publish(
                status_to_message(
                    types,
                    gate.stats,
                    now_ns,
                    p.agent_id,
                    self._base.model.sender_id or '',
                    gate.clocks(now_ns),
                )
            )

    def _see(self, frame: AgentFrame, messages: Sequence[InstanceMessage]) -> None:
        """Remember where the agents are; those that are silent for long go."""
        for heard in (frame, *messages):
            self._agents[heard.agent_id] = (heard.role, heard.world_SE3_agent)
            self._seen_ns[heard.agent_id] = heard.stamp_ns
        for agent_id, seen_ns in list(self._seen_ns.items()):
            if seen_ns < frame.stamp_ns - _GONE_NS:
                del self._agents[agent_id], self._seen_ns[agent_id]

    def _health(self, now_ns: int, seconds: float) -> Sequence[Health]:
        if self._gate is None:
            return ()
        clocks = self._gate.clocks(now_ns)
        return peer_health(self._gate.stats, now_ns, self._rates, seconds, clocks)

    def _jumped(self) -> None:
        if self._gate is not None:
            self._gate.reset()

    def _forget(self) -> None:
        if self._perception is not None:
            self._perception.reset()
        self._agents.clear()
        self._seen_ns.clear()
        self._markers_out.publish(self._markers.reset(_compat.now_ns(self._node)))
