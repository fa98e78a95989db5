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

"""Nodes room: quality of service per stream. Imports rclpy; only running nodes use it."""

from __future__ import annotations

from typing import Any, Literal

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

Stream = Literal['camera', 'player', 'radio', 'radio_reliable', 'result', 'latched', 'tf']

_DEPTHS = {'camera': 2, 'player': 5, 'radio': 5, 'radio_reliable': 5, 'result': 10, 'tf': 100}


def profile(stream: Stream, lifespan_ms: float | None = None) -> QoSProfile:
    """Return the profile of a stream.

    ``camera`` is the reading side of sensors: it matches reliable and best-effort drivers.
    ``radio`` loses what comes late, for late features are worthless.
    """
    best_effort = stream in ('camera', 'radio')
    qos = QoSProfile(
        depth=_DEPTHS.get(stream, 1),
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL
        if stream == 'latched'
        else DurabilityPolicy.VOLATILE,
    )
    if lifespan_ms is not None:
        qos.lifespan = Duration(seconds=lifespan_ms / 1e3)
    return qos


def overridable() -> QoSOverridingOptions:
    """Let users change depth, history and reliability by ``qos_overrides`` parameters."""
    return QoSOverridingOptions.with_default_policies()


def publisher(node: Any, kind: Any, topic: str, stream: Stream, **options: Any) -> Any:
    """Make a publisher of a stream."""
    return node.create_publisher(
        kind, topic, profile(stream, **options), qos_overriding_options=overridable()
    )


def subscription(
    node: Any, kind: Any, topic: str, callback: Any, stream: Stream, *, raw: bool = False
) -> Any:
    """Make a subscription of a stream; with ``raw`` the callback gets serialised bytes."""
    return node.create_subscription(
        kind, topic, callback, profile(stream), qos_overriding_options=overridable(), raw=raw
    )


def radio(reliability: str) -> Stream:
    """Stream of the radio topics, of the value of ``v2x_reliability``."""
    return 'radio' if reliability == 'best_effort' else 'radio_reliable'
