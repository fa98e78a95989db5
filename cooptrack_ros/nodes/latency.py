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

"""Nodes room: where the time between capture and publication goes. Works without ROS."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cooptrack_ros.conversions.geometry import header
from cooptrack_ros.conversions.message_types import MessageTypes

STAGES = ('input', 'wait', 'perception', 'publication')


class Stopwatch:
    """Times the stages of one frame.

    Attributes:
        capture_ns: Capture time of the frame.
        start_ns: Time of the node's clock when its work began.
        stages_s: Real time of each stage that has ended, s.
    """

    def __init__(self, capture_ns: int, start_ns: int) -> None:
        """Begin with the first stage."""
        self.capture_ns = capture_ns
        self.start_ns = start_ns
        self.stages_s: dict[str, float] = {}
        self._lap_s = time.perf_counter()

    def ended(self, stage: str) -> None:
        """Note that a stage is over and the next one begins; one that comes again adds up."""
        now_s = time.perf_counter()
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + now_s - self._lap_s
        self._lap_s = now_s


@dataclass(frozen=True)
class Arrival:
    """When a message of another agent was captured, sent and received.

    Attributes:
        agent_id: The sender.
        capture_ns: Capture, sender's clock.
        sent_ns: Handing over, sender's clock; None = it does not say.
        received_ns: Arrival, receiver's clock.
    """

    agent_id: str
    capture_ns: int
    sent_ns: int | None
    received_ns: int


class Stages:
    """Remembers the times of the last frames, for diagnostics."""

    def __init__(self) -> None:
        """Start without frames."""
        self._kept: dict[str, deque[float]] = {}

    def add(self, watch: Stopwatch, published_ns: int) -> None:
        """Take a frame that was published."""
        total = (published_ns - watch.capture_ns) / 1e9
        for name, seconds in (*watch.stages_s.items(), ('capture_to_published', total)):
            self._kept.setdefault(name, deque(maxlen=100)).append(seconds)

    def values(self) -> dict[str, object]:
        """Median and 95th percentile of each stage over the last 100 frames, ms."""
        out: dict[str, object] = {}
        for name, seconds in self._kept.items():
            for percent in (50, 95):
                value = np.percentile(np.array(seconds), percent) * 1e3
                out[f'{name}_p{percent}_ms'] = f'{value:.1f}'
        return out


def latency_to_message(
    types: MessageTypes,
    agent_id: str,
    watch: Stopwatch,
    published_ns: int,
    arrivals: Iterable[Arrival] = (),
) -> Any:
    """Make a cooptrack_msgs/Latency.

    Args:
        types: Where message classes come from.
        agent_id: Who perceives.
        watch: Times of the frame.
        published_ns: When its tracks were published, node's clock.
        arrivals: The messages that were fused into it.
    """
    stages: Mapping[str, float] = dict.fromkeys(STAGES, 0.0) | watch.stages_s
    return types.new(
        'cooptrack_msgs/msg/Latency',
        header=header(types, watch.capture_ns, ''),
        agent_id=agent_id,
        capture_to_start=(watch.start_ns - watch.capture_ns) / 1e9,
        **stages,
        capture_to_published=(published_ns - watch.capture_ns) / 1e9,
        peers=[
            _peer(types, arrival, published_ns)
            for arrival in sorted(arrivals, key=lambda a: a.agent_id)
        ],
    )


def _peer(types: MessageTypes, arrival: Arrival, published_ns: int) -> Any:
    sent_ns, unknown = arrival.sent_ns, float('nan')
    return types.new(
        'cooptrack_msgs/msg/PeerLatency',
        agent_id=arrival.agent_id,
        capture_to_sent=unknown if sent_ns is None else (sent_ns - arrival.capture_ns) / 1e9,
        sent_to_received=unknown if sent_ns is None else (arrival.received_ns - sent_ns) / 1e9,
        received_to_published=(published_ns - arrival.received_ns) / 1e9,
        capture_to_published=(published_ns - arrival.capture_ns) / 1e9,
    )
