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

"""Nodes room: the topics of other agents: found, listened to as bytes, handed to a gate."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from cooptrack_core.v2x import InboxSettings, Limits, Rejected
from cooptrack_core.v2x.budget import RateLimits
from cooptrack_ros import _compat
from cooptrack_ros.nodes import qos
from cooptrack_ros.nodes.gate import Gate
from cooptrack_ros.nodes.parameters import ReceiverParameters

_MS = 1_000_000


class Peers:
    """Listens to every agent that is on the air, from ``open`` to ``close``."""

    def __init__(
        self,
        node: Any,
        parameters: ReceiverParameters,
        report: _compat.Reporter,
        kind: Any,
        topic_of: Callable[[str], str],
    ) -> None:
        """Listen to nobody yet.

        Args:
            node: The rclpy node.
            parameters: Who the agent is, and whom it listens to.
            report: Logs what repeats.
            kind: Message class of the topics.
            topic_of: Topic of an agent.
        """
        self._node, self._p, self._report = node, parameters, report
        self._kind, self._topic_of = kind, topic_of
        agent = re.escape('{agent}')
        pattern = re.escape(topic_of('{agent}')).replace(agent, '(?P<agent>[^/]+)')
        self._pattern = re.compile(f'^{pattern}$')
        self._subscriptions: dict[str, Any] = {}
        self._gate: Gate[Any] | None = None
        self._timer: Any = None

    def open(self, gate: Gate[Any]) -> None:
        """Look for agents now and again, and hand what they send to a gate."""
        self._gate = gate
        self._discover()
        self._timer = _compat.steady_timer(self._node, 0.5, self._discover)

    def close(self) -> None:
        """Hear nobody any more."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._gate = None

    def _discover(self) -> None:
        """Listen to every agent that is there; ROS has no subscription by pattern."""
        if '*' not in self._p.agents:
            found: Iterable[str] = self._p.agents
        else:
            topics = self._node.get_topic_names_and_types()
            found = [m['agent'] for topic, _ in topics if (m := self._pattern.match(topic))]
        for agent_id in found:
            if agent_id != self._p.agent_id and agent_id not in self._subscriptions:
                self._listen(agent_id)

    def _listen(self, agent_id: str) -> None:
        gate, limit = self._gate, self._p.max_agents  # nobody may open topics without end
        if gate is None:
            return
        if len(self._subscriptions) >= limit:
            self._report.warn('peers', f'more than {limit} agents: {agent_id} is not heard')
            return

        def on_data(data: bytes) -> None:
            now_ns, steady_s = _compat.now_ns(self._node), time.perf_counter()
            verdict = gate.receive_serialized(data, agent_id, now_ns, steady_s)
            if isinstance(verdict, Rejected):
                self._report.warn(
                    f'{agent_id}/{verdict.reason}',
                    f'a message on the topic of {agent_id} was dropped: {verdict.reason} '
                    f'{verdict.detail}',
                )

        topic = self._topic_of(agent_id)
        # As bytes: what a peer sends is looked at before the middleware's reader believes it.
        self._subscriptions[agent_id] = qos.subscription(
            self._node, self._kind, topic, on_data, qos.radio(self._p.v2x_reliability), raw=True
        )
        self._node.get_logger().info(f'listening to {topic}')


def inbox_settings(p: ReceiverParameters) -> InboxSettings:
    """What the inbox takes."""
    max_age, ahead = round(p.max_age_ms * _MS), round(p.future_tolerance_ms * _MS)
    return InboxSettings(
        max_age_ns=max_age,
        future_tolerance_ns=ahead,
        forget_after_ns=max(10_000 * _MS, max_age + ahead),
        max_agents=p.max_agents,
        limits=Limits(max_bytes=p.max_message_kilobytes * 1024),
    )


def rate_limits(p: ReceiverParameters) -> RateLimits:
    """What each sender may send: a second's worth may come at once, the largest one always."""
    rate, data = p.peer_rate_hz, p.peer_megabytes_per_s * 1e6
    largest = p.max_message_kilobytes * 1024.0 + 4096
    return RateLimits(rate, max(rate, 1.0), data, max(data, largest))


def wait_ns(p: ReceiverParameters) -> int:
    """How long an ego frame waits for the others."""
    return round(p.wait_ms * _MS)


def change(gate: Gate[Any], p: ReceiverParameters) -> None:
    """Take over into a gate what may change while running."""
    gate.change(wait_ns=wait_ns(p), settings=inbox_settings(p), limits=rate_limits(p))


def lifetime_ns(p: ReceiverParameters) -> int:
    """Lifetime of markers."""
    return round(p.marker_lifetime_s * 1e9)
