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

"""Nodes room: one agent. Cameras in; instance features for the others and its own tracks out."""

from __future__ import annotations

from typing import Any

from visualization_msgs.msg import MarkerArray

from cooptrack_core.geometry import SE3
from cooptrack_core.perception import AgentPerception
from cooptrack_core.structures import AgentFrame
from cooptrack_core.v2x.selection import Outbox
from cooptrack_msgs.msg import AgentInfo, InstanceFeatures, TrackedObjects
from cooptrack_ros import _compat
from cooptrack_ros.bags import names
from cooptrack_ros.conversions import MarkerBuilder, message_to_features, tracks_to_message
from cooptrack_ros.nodes import base, qos
from cooptrack_ros.nodes.latency import Stopwatch
from cooptrack_ros.nodes.parameters import AgentParameters, declare, watch
from cooptrack_ros.nodes.snapshot import Moment


class AgentNode:
    """Wires AgentPerception to ROS; see docs/nodes.md.

    Attributes:
        autostart: Whether the node configures and activates itself.
    """

    def __init__(self, node: Any) -> None:
        """Read the parameters.

        Raises:
            InputError: A parameter cannot be used.
        """
        self._node = node
        self._p = p = declare(node, AgentParameters)
        self.autostart = p.autostart
        self._frame_id = p.agent_frame.format(agent=p.agent_id)
        self._perception: AgentPerception | None = None
        self._outbox = Outbox(p.selection)
        self._base = base.Perceiver(
            node,
            p,
            shipped_weights='tiny_agent.safetensors',
            perceive=self._perceive,
            forget=self._forget,
            on_jump=lambda: None,
            health=lambda now_ns, seconds: (),
            latency_topic=names.latency_topic(p.agent_id),
        )
        watch(node, p, self._change)

    def configure(self) -> None:
        """Load the model and advertise.

        Raises:
            InputError: The weights or the device cannot be used.
        """
        p, out = self._p, self._base.advertise
        self._base.configure()
        self._perception = AgentPerception(
            self._base.model, p.agent_id, session_id=self._base.session_id
        )
        self._markers = MarkerBuilder(
            self._base.types, frame_id=p.world_frame, prefix=p.agent_id, lifetime_ns=10**9
        )
        self._features_out = out(
            InstanceFeatures,
            names.features_topic(p.agent_id),
            qos.radio(p.v2x_reliability),
            lifespan_ms=1000.0,
        )
        self._tracks_out = out(TrackedObjects, f'/{p.agent_id}/tracks', 'result')
        self._markers_out = out(MarkerArray, f'/{p.agent_id}/markers', 'result')
        self._info_out = out(AgentInfo, names.agent_info_topic(p.agent_id), 'latched')

    def activate(self) -> None:
        """Subscribe and begin."""
        self._base.activate()
        self._info_out.publish(self._base.agent_info(self._frame_id))

    def deactivate(self) -> None:
        """Hear and publish nothing any more."""
        self._base.deactivate()

    def cleanup(self) -> None:
        """Free the model."""
        self._perception = None
        self._base.cleanup()

    def close(self) -> None:
        """End the thread."""
        self._base.close()

    def _change(self, parameters: AgentParameters, others: dict[str, Any]) -> None:
        """Take over what may change while running."""
        self._base.change(parameters)
        self._outbox.selection = parameters.selection
        self._p = parameters

    def _perceive(self, frame: AgentFrame, current: base.Current, times: Stopwatch) -> None:
        if self._perception is None:
            return
        result = self._perception.process(frame)
        times.ended('perception')
        if not current():
            return
        message = self._outbox.take(result.message)
        sent = () if message is None else (message,)
        if message is not None:
            features = message_to_features(
                self._base.types,
                message,
                self._p.dtype,
                world_frame_id=self._p.world_frame,
                frame_id=self._frame_id,
                publish_stamp_ns=_compat.now_ns(self._node),
            )
            self._features_out.publish(features)
        here = SE3.identity()
        if self._tracks_out.get_subscription_count():
            self._tracks_out.publish(
                tracks_to_message(
                    self._base.types,
                    result.tracks,
                    here,
                    frame_id=self._p.world_frame,
                    agent_id=self._p.agent_id,
                )
            )
        if self._markers_out.get_subscription_count():
            self._markers_out.publish(self._markers.update(result.tracks, here))
        self._base.published(times, Moment(frame, sent, result.tracks))

    def _forget(self) -> None:
        if self._perception is not None:
            self._perception.reset()
        self._outbox.reset()
        self._markers_out.publish(self._markers.reset(_compat.now_ns(self._node)))
