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

"""Nodes room: what a node says about itself once a second, as diagnostic_msgs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cooptrack_core.v2x import InboxStats, PeerStats
from cooptrack_core.v2x.clocks import ClockEstimate
from cooptrack_ros.conversions import header
from cooptrack_ros.conversions.message_types import MessageTypes
from cooptrack_ros.nodes.worker import Worker

OK, WARN, ERROR, STALE = 0, 1, 2, 3

# A sender whose clock certainly runs ahead by more than that is worth a warning: half of what is
# tolerated by default.
_AHEAD_NS = 50_000_000


@dataclass(frozen=True)
class Health:
    """One line of the diagnostics.

    Attributes:
        name: What it is about.
        level: OK, WARN, ERROR or STALE.
        message: What is wrong and what to do; short.
        values: Figures.
    """

    name: str
    level: int
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


def diagnostics_message(
    types: MessageTypes, stamp_ns: int, node: str, agent_id: str, lines: Iterable[Health]
) -> Any:
    """Make a diagnostic_msgs/DiagnosticArray of ROS classes (``level`` is bytes there)."""
    return types.new(
        'diagnostic_msgs/msg/DiagnosticArray',
        header=header(types, stamp_ns, ''),
        status=[
            types.new(
                'diagnostic_msgs/msg/DiagnosticStatus',
                level=bytes([line.level]),
                name=f'{node}: {line.name}',
                message=line.message,
                hardware_id=agent_id,
                values=[
                    types.new('diagnostic_msgs/msg/KeyValue', key=key, value=str(value))
                    for key, value in line.values.items()
                ],
            )
            for line in lines
        ],
    )


class PerSecond:
    """Turns counters into rates between two reports."""

    def __init__(self) -> None:
        """Start without figures."""
        self._last: dict[str, tuple[int, float]] = {}

    def rate(self, name: str, count: int, seconds: float) -> float:
        """Rate of a counter since the last call; 0 at the first."""
        before, then = self._last.get(name, (count, seconds))
        self._last[name] = (count, seconds)
        return (count - before) / (seconds - then) if seconds > then else 0.0


def worker_health(worker: Worker[Any], rate_hz: float, details: Mapping[str, object]) -> Health:
    """Speed of the perception and what was dropped."""
    times = np.array(worker.durations_s) * 1e3
    level, message = OK, f'{rate_hz:.1f} Hz'
    if worker.failed:
        level, message = WARN, f'{message}, {worker.failed} frames failed, see the log'
    if not worker.done:
        level, message = WARN, 'no frame perceived yet'
    return Health(
        'perception',
        level,
        message,
        {
            'rate_hz': f'{rate_hz:.2f}',
            'duration_p50_ms': f'{np.percentile(times, 50):.1f}' if len(times) else 'nan',
            'duration_p95_ms': f'{np.percentile(times, 95):.1f}' if len(times) else 'nan',
            'frames': worker.done,
            'frames_dropped': worker.slot.dropped,
            'frames_failed': worker.failed,
            'time_jumps': worker.resets,
            **details,
        },
    )


def peer_health(
    stats: InboxStats,
    now_ns: int,
    rates: PerSecond,
    seconds: float,
    clocks: Mapping[str, ClockEstimate] | None = None,
) -> Sequence[Health]:
    """One line per sender, or one that says that there is none."""
    if not stats.peers:
        return [Health('v2x', WARN, 'no message yet from any agent')]
    known = clocks or {}
    return [
        _peer(name, peer, now_ns, rates, seconds, known.get(name))
        for name, peer in stats.peers.items()
    ]


def _peer(
    name: str,
    peer: PeerStats,
    now_ns: int,
    rates: PerSecond,
    seconds: float,
    clock: ClockEstimate | None,
) -> Health:
    rejected = sum(peer.rejected.values())
    fresh = rates.rate(f'{name}/rejected', rejected, seconds)
    bytes_per_second = rates.rate(f'{name}/bytes', peer.bytes_received, seconds)
    silent_s = (now_ns - peer.last_stamp_ns) / 1e9 if peer.accepted else float('nan')
    level, message = OK, 'messages are taken'
    if fresh > 0:
        why = max(peer.rejected, key=lambda reason: peer.rejected[reason])
        level, message = WARN, f'messages are rejected, mostly: {why}'
    elif not peer.accepted or silent_s > 1.0:
        level, message = WARN, 'silent'
    elif clock is not None and clock.offset_ns < -_AHEAD_NS:
        ahead = f'{-clock.offset_ns / 1e6:.0f} ms'
        level, message = WARN, f'its clock runs ahead by {ahead} or more: synchronise the clocks'
    return Health(
        f'v2x {name}',
        level,
        message,
        {
            'received': peer.received,
            'accepted': peer.accepted,
            **{f'rejected_{reason}': count for reason, count in peer.rejected.items()},
            'used': peer.used,
            'lost': peer.lost,
            'restarts': peer.restarts,
            'bytes_per_second': f'{bytes_per_second:.0f}',
            'last_capture_age_s': f'{silent_s:.3f}',
            'mean_age_at_arrival_s': f'{peer.mean_age_s:.3f}',
            'clock_offset_at_most_s': f'{clock.offset_ns / 1e9:.4f}' if clock else 'nan',
            'delay_jitter_s': f'{clock.jitter_ns / 1e9:.4f}' if clock else 'nan',
        },
    )
