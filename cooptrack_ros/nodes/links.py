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

"""Nodes room: settings of radio links as parameters say them. Works without ROS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from cooptrack_core.errors import InputError
from cooptrack_core.v2x.channel import ChannelSettings
from cooptrack_core.v2x.link import LinkModel
from cooptrack_ros.nodes.health import OK, WARN, Health, PerSecond
from cooptrack_ros.nodes.parameters import SHARED, ChannelParameters

Own = dict[str, dict[str, float]]


def settings_of(parameters: ChannelParameters) -> ChannelSettings:
    """What holds for all links."""
    return ChannelSettings(
        **{f.name: getattr(parameters, f.name) for f in fields(ChannelSettings)}
    )


def own_names(agent_id: str) -> dict[str, str]:
    """Parameters that an agent may have of its own, with what they mean."""
    texts = {f.name: f.metadata['text'] for f in fields(ChannelParameters)}
    return {f'{agent_id}.{name}': f'{texts[name]}; NaN = as for all agents' for name in SHARED}


def with_own(own: Mapping[str, Mapping[str, float]], changes: Mapping[str, Any]) -> Own:
    """Take values of single agents, by names like ``roadside.loss``; NaN gives one back.

    Args:
        own: What agents have of their own so far.
        changes: New values; names without a dot or with another ending are not looked at.

    Raises:
        InputError: A value is no double or impossible.
    """
    out = {agent_id: dict(values) for agent_id, values in own.items()}
    for name, value in changes.items():
        agent_id, _, setting = name.rpartition('.')
        if not agent_id or setting not in SHARED:
            continue
        if not isinstance(value, float):
            raise InputError(f'{value!r} is no double', field=name, remedy='write 10.0 for 10')
        mine = out.setdefault(agent_id, {})
        if math.isnan(value):
            mine.pop(setting, None)
        else:
            mine[setting] = value
        try:
            ChannelSettings(**mine)
        except ValueError as error:
            raise InputError(
                str(error), field=name, remedy='give a value as for all agents, or .nan'
            ) from error
    return {agent_id: values for agent_id, values in out.items() if values}


def link_health(
    links: Mapping[tuple[str, str], LinkModel], rates: PerSecond, seconds: float
) -> Iterable[Health]:
    """One line per link, or one that says that there is none."""
    if not links:
        yield Health('links', WARN, 'nobody sends on /v2x_tx/<agent>/...')
    for (agent_id, topic), link in sorted(links.items()):
        name, stats = f'{agent_id}/{topic}', link.stats
        sent = rates.rate(f'{name}/sent', stats.sent, seconds)
        out = rates.rate(f'{name}/bytes', stats.bytes_delivered, seconds)
        level, message = OK, f'{sent:.1f} messages/s in, {out:.0f} bytes/s out'
        if rates.rate(f'{name}/full', stats.overflowed, seconds) > 0:
            level, message = (
                WARN,
                'the queue is full: more is sent than bandwidth_mbit_s lets pass',
            )
        yield Health(
            f'link {name}',
            level,
            message,
            {
                **asdict(stats),
                'bytes_per_second': f'{out:.0f}',
                'messages_per_second': f'{sent:.2f}',
            },
        )
