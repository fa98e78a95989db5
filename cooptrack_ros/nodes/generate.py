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

"""Nodes room: writes what is generated from the parameters: ``config/`` and tables in the docs.

``python -m cooptrack_ros.nodes.generate`` in a clone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from cooptrack_ros.nodes.parameters import (
    AgentParameters,
    BevMapParameters,
    ChannelParameters,
    CooperativeParameters,
    PlayerParameters,
)
from cooptrack_ros.nodes.schema import parameter_file, table

_LAUNCH = 'cooperative.launch.py sets {} itself, from its arguments and from the recording.'
_NETWORK = 'agent_id, role, cameras, transport, rectified, weights and device'

# By name of the node: its parameters, and what stands at the top of its file.
NODES: dict[str, tuple[type[Any], str]] = {
    'agent': (
        AgentParameters,
        'agent_node: cameras in; instance features and own tracks out. '
        + _LAUNCH.format(_NETWORK),
    ),
    'cooperative': (
        CooperativeParameters,
        "cooperative_node: the ego's cameras and messages of other agents in; fused tracks out. "
        + _LAUNCH.format(_NETWORK),
    ),
    'bev_map': (
        BevMapParameters,
        'bev_map_node: a ring of cameras in; the features of its map for the others, and the map '
        'fused with theirs, out. With map:=true ' + _LAUNCH.format(_NETWORK + ', send and fuse'),
    ),
    'dataset_player': (
        PlayerParameters,
        'dataset_player_node: a scene of a V2X-Seq directory as live topics, with /clock. '
        'playback.launch.py sets dataset, scene, rate and loop itself, from its arguments.',
    ),
    'v2x_channel': (
        ChannelParameters,
        'v2x_channel_node: a radio between /v2x_tx/<agent>/... and /v2x/<agent>/.... The first '
        'six hold for all agents; for one agent write them below its name: '
        '"roadside: {latency_ms: 300.0}". cooperative.launch.py sets those that are given as '
        'arguments itself.',
    ),
}


def documented(text: str) -> str:
    """Put the tables of now into a page, between their marks.

    Raises:
        ValueError: A node has no place in the page.
    """
    for name, (kind, _) in NODES.items():
        begin, end = f'<!-- parameters of {name}_node -->', '<!-- end of parameters -->'
        place = re.compile(f'({re.escape(begin)}\\n).*?({end})', re.DOTALL)
        if not place.search(text):
            raise ValueError(f'the page has no "{begin}"')
        made = table(kind)
        text = place.sub(lambda found, made=made: f'{found[1]}{made}{found[2]}', text, count=1)
    return text


def main(root: Path | None = None) -> int:
    """Write all files; ``root`` is the clone."""
    root = root or Path(__file__).parents[2]
    for name, (kind, head) in NODES.items():
        path = root / 'config' / f'{name}.param.yaml'
        path.write_text(parameter_file(kind, head), encoding='utf-8')
    page = root / 'docs' / 'nodes.md'
    page.write_text(documented(page.read_text(encoding='utf-8')), encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
