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


"""Conversions room: what is received, and who an agent is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.structures import CLASS_NAMES, Role
from cooptrack_core.v2x import InboxStats, PeerStats
from cooptrack_core.v2x.clocks import ClockEstimate
from cooptrack_core.v2x.link import LinkModel
from cooptrack_ros.conversions.geometry import header, ns_to_stamp
from cooptrack_ros.conversions.message_types import MessageTypes
from cooptrack_ros.conversions.radio import AGENT_TYPES

_REFERENCES = {'capture': 1, 'publish': 2}


def status_to_message(
    types: MessageTypes,
    stats: InboxStats,
    stamp_ns: int,
    agent_id: str,
    model_id: str,
    clocks: Mapping[str, ClockEstimate] | None = None,
) -> Any:
    """Make a cooptrack_msgs/FusionStatus.

    Args:
        types: Where message classes come from.
        stats: The counters of an inbox.
        stamp_ns: Time of the report.
        agent_id: The receiver.
        model_id: The model it expects.
        clocks: What is known of the senders' clocks, by agent id.
    """
    rejected, clocks = stats.rejected, clocks or {}
    return types.new(
        'cooptrack_msgs/msg/FusionStatus',
        header=header(types, stamp_ns, ''),
        agent_id=agent_id,
        model_id=model_id,
        received=stats.received,
        accepted=stats.accepted,
        rejected_reasons=list(rejected),
        rejected_counts=types.sequence(np.array(list(rejected.values()), dtype=np.uint64)),
        peers=[
            _peer(types, name, peer, clocks.get(name))
            for name, peer in sorted(stats.peers.items())
        ],
    )


def _peer(types: MessageTypes, agent_id: str, peer: PeerStats, clock: ClockEstimate | None) -> Any:
    counts = np.array(list(peer.rejected.values()), dtype=np.uint64)
    known = peer.accepted > 0
    return types.new(
        'cooptrack_msgs/msg/PeerStatus',
        agent_id=agent_id,
        received=peer.received,
        accepted=peer.accepted,
        rejected_reasons=[str(reason) for reason in peer.rejected],
        rejected_counts=types.sequence(counts),
        used=peer.used,
        overtaken=peer.overtaken,
        expired=peer.expired,
        lost=peer.lost,
        restarts=peer.restarts,
        bytes_received=peer.bytes_received,
        last_stamp=ns_to_stamp(types, peer.last_stamp_ns if known else 0),
        last_age=peer.last_age_ns / 1e9 if known else float('nan'),
        mean_age=peer.mean_age_s,
        clock_offset=clock.offset_ns / 1e9 if clock else float('nan'),
        clock_jitter=clock.jitter_ns / 1e9 if clock else float('nan'),
        clock_samples=clock.samples if clock else 0,
        clock_reference=_REFERENCES[clock.reference] if clock else 0,
    )


def channel_to_message(
    types: MessageTypes, links: Mapping[tuple[str, str], LinkModel], stamp_ns: int
) -> Any:
    """Make a cooptrack_msgs/ChannelStatus from links by agent id and topic."""
    return types.new(
        'cooptrack_msgs/msg/ChannelStatus',
        header=header(types, stamp_ns, ''),
        links=[_link(types, *name, link) for name, link in sorted(links.items())],
    )


def _link(types: MessageTypes, agent_id: str, topic: str, link: LinkModel) -> Any:
    stats = link.stats
    return types.new(
        'cooptrack_msgs/msg/LinkStatus',
        agent_id=agent_id,
        topic=topic,
        sent=stats.sent,
        duplicated=stats.duplicated,
        delivered=stats.delivered,
        lost=stats.lost,
        in_flight=stats.in_flight,
        overflowed=stats.overflowed,
        cleared=stats.cleared,
        bytes_sent=stats.bytes_sent,
        bytes_delivered=stats.bytes_delivered,
        mean_delay=stats.mean_delay_s,
        latency=link.latency_ms / 1e3,
        jitter=link.jitter_ms / 1e3,
        loss=float(link.loss),
        duplication=float(link.duplication),
        reordering=float(link.reordering),
        bytes_per_second=float(link.bytes_per_second or 'inf'),
    )


def agent_info_to_message(
    types: MessageTypes,
    *,
    stamp_ns: int,
    frame_id: str,
    agent_id: str,
    role: Role,
    cameras: Sequence[str],
    model_id: str = '',
    session_id: int = 0,
    software_version: str = '',
    perception_range: PerceptionRange | None = None,
) -> Any:
    """Make a cooptrack_msgs/AgentInfo."""
    limits = perception_range.as_tuple() if perception_range is not None else (0.0,) * 6
    return types.new(
        'cooptrack_msgs/msg/AgentInfo',
        header=header(types, stamp_ns, frame_id),
        agent_id=agent_id,
        agent_type=AGENT_TYPES[role],
        model_id=model_id,
        session_id=session_id,
        software_version=software_version,
        cameras=list(cameras),
        perception_range=np.array(limits, dtype=np.float64),
        class_names=list(CLASS_NAMES),
    )


def role_from_agent_type(agent_type: int) -> Role | None:
    """Return the role of a TYPE_ constant, None when unknown."""
    return {code: role for role, code in AGENT_TYPES.items()}.get(int(agent_type))
