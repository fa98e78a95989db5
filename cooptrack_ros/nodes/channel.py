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

"""Nodes room: a radio that delays, drops and reorders, between agents in one ROS graph."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from cooptrack_core.v2x.channel import Channel
from cooptrack_msgs.msg import ChannelStatus
from cooptrack_ros import _compat
from cooptrack_ros.bags import names
from cooptrack_ros.conversions import RosTypes, channel_to_message
from cooptrack_ros.nodes import links, qos
from cooptrack_ros.nodes.health import PerSecond, diagnostics_message
from cooptrack_ros.nodes.parameters import SHARED, ChannelParameters, declare, watch

# How late a delivery may be besides its delay. ROS time moves in steps of this size, too, when
# /clock comes at 100 Hz or more.
_POLL_S = 0.005
_CLOCK_JUMP_S = 0.1


class ChannelNode:
    """Wires Channel to ROS; see docs/nodes.md. Messages pass as bytes and are never read."""

    def __init__(self, node: Any) -> None:
        """Look for senders.

        Raises:
            InputError: A parameter cannot be used.
        """
        self._node = node
        self._p = p = declare(node, ChannelParameters, SHARED)
        self._types, self._rates = RosTypes(), PerSecond()
        self._report = _compat.Reporter(node)
        self._own: links.Own = {}
        self._channel = Channel(
            links.settings_of(p),
            seed=p.seed,
            max_links=p.max_links,
            max_in_flight=p.max_in_flight,
            max_bytes_in_flight=round(p.max_megabytes_in_flight * 1e6),
        )
        self._known_agents: set[str] = set()
        self._unknown_types: set[str] = set()
        # By agent and topic: the publisher, and the subscription that must not be collected.
        self._ends: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._status = qos.publisher(node, ChannelStatus, names.CHANNEL_STATUS, 'result')
        self._diagnostics = qos.publisher(node, DiagnosticArray, '/diagnostics', 'result')
        watch(node, p, self._change)
        self._clock_handle = _compat.on_jump_back(node, _CLOCK_JUMP_S, self._jumped)
        self._discover()
        self._timers = [
            _compat.steady_timer(node, 0.5, self._discover),
            _compat.steady_timer(node, _POLL_S, self._deliver),
            _compat.steady_timer(node, 1.0, self._tell),
        ]

    def close(self) -> None:
        """Do nothing: there is no thread."""

    def _change(self, parameters: ChannelParameters, others: dict[str, Any]) -> None:
        own = links.with_own(self._own, others)
        self._channel.change(links.settings_of(parameters), own)
        self._p, self._own = parameters, own

    def _discover(self) -> None:
        """Open a link for every agent and topic that is sent; ROS has no pattern for that."""
        for topic, kinds in self._node.get_topic_names_and_types():
            place = names.parse_sent_topic(topic)
            if place is None or place in self._ends or topic in self._unknown_types:
                continue
            if '*' in self._p.agents or place[0] in self._p.agents:
                self._open(*place, kinds[0])

    def _open(self, agent_id: str, rest: str, kind_name: str) -> None:
        source = names.sent_topic(agent_id, rest)
        try:
            kind = _compat.message_class(kind_name)
        except (ImportError, AttributeError, ValueError) as error:
            self._unknown_types.add(source)
            self._node.get_logger().warning(
                f'{source} is of {kind_name}, which is not known here ({error}): it does not '
                'pass. Remedy: build and source the package of the type'
            )
            return
        if agent_id not in self._known_agents:
            self._known_agents.add(agent_id)
            self._declare_own(agent_id)
        if self._channel.open(agent_id, rest) is None:
            self._report.warn(
                'links', f'more than max_links ({self._p.max_links}): {source} does not pass'
            )
            return

        def on_message(data: bytes) -> None:
            self._channel.send(agent_id, rest, data, _compat.now_ns(self._node))

        radio = qos.radio(self._p.v2x_reliability)
        out = qos.publisher(
            self._node, kind, names.air_topic(agent_id, rest), radio,
            lifespan_ms=self._p.lifespan_ms,
        )  # fmt: skip
        incoming = qos.subscription(self._node, kind, source, on_message, radio, raw=True)
        self._ends[agent_id, rest] = (out, incoming)
        self._node.get_logger().info(f'{source} -> {names.air_topic(agent_id, rest)}')

    def _declare_own(self, agent_id: str) -> None:
        for name, text in links.own_names(agent_id).items():
            problem = _compat.declare_float(self._node, name, float('nan'), text)
            if problem is not None:
                self._node.get_logger().warning(f'{name} is not used: {problem}')

    def _deliver(self) -> None:
        for agent_id, rest, delivery in self._channel.due(_compat.now_ns(self._node)):
            self._ends[agent_id, rest][0].publish(delivery.data)

    def _jumped(self) -> None:
        thrown = self._channel.clear()
        self._node.get_logger().info(f'time jumped back: {thrown} messages under way are lost')

    def _tell(self) -> None:
        now_ns, seconds = _compat.now_ns(self._node), time.perf_counter()
        self._status.publish(channel_to_message(self._types, self._channel.links, now_ns))
        lines = links.link_health(self._channel.links, self._rates, seconds)
        self._diagnostics.publish(
            diagnostics_message(self._types, now_ns, self._node.get_name(), 'v2x_channel', lines)
        )
