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

"""Nodes room: who is in a recording, for launch files. Reads indexes only, decodes no image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.structures import Role
from cooptrack_ros.bags import names

# Topics that the live graph makes itself; those of an earlier run are not played.
_MADE_LIVE = (
    '/v2x/', '/v2x_tx/', '/cooptrack/', '/clock', '/diagnostics', '/rosout', '/parameter_events',
)  # fmt: skip


@dataclass(frozen=True)
class AgentInput:
    """An agent of a recording.

    Attributes:
        agent_id: Its name.
        role: Its role.
        cameras: Names of its cameras.
        transport: ``compressed`` or ``raw``.
        rectified: Whether the images are rectified.
    """

    agent_id: str
    role: Role
    cameras: tuple[str, ...]
    transport: str = 'compressed'
    rectified: bool = False

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of the node that perceives for it."""
        return {
            'agent_id': self.agent_id,
            'role': str(self.role),
            'cameras': list(self.cameras),
            'transport': self.transport,
            'rectified': self.rectified,
        }


def agents_of_dataset(path: str | Path, scene: str = '') -> tuple[AgentInput, ...]:
    """Agents of a scene of a V2X-Seq directory.

    Raises:
        InputError: It is no such directory, or there is no such scene.
    """
    dataset = V2XSeqDataset(Path(path).expanduser())
    if not dataset.scenes:
        raise InputError('the dataset holds no scene', path=path)
    chosen = dataset.scene(scene) if scene else dataset.scenes[0]
    return tuple(
        AgentInput(a.agent_id, a.role, (chosen.camera(a.agent_id, frames[0]).name,))
        for a in dataset.agents
        if (frames := chosen.frame_ids(a.agent_id))
    )


def agents_of_bag(path: str | Path) -> tuple[tuple[AgentInput, ...], tuple[str, ...]]:
    """Agents of a rosbag2, and the topics to play.

    Raises:
        InputError: It is no bag, or it has no cameras.
    """
    try:
        with Reader(Path(path).expanduser()) as reader:
            topics = sorted({c.topic for c in reader.connections if c.msgcount})
    except (ReaderError, OSError, ValueError) as error:
        raise InputError(
            f'this is no readable rosbag2 ({error})',
            path=path,
            remedy='give a bag directory, an .mcap or a .db3 file that was closed properly',
        ) from error
    cameras = [camera for t in topics if (camera := names.parse_image_topic(t)) is not None]
    if not cameras:
        raise InputError(
            'there are no camera images',
            path=path,
            remedy='record /<agent>/<camera>/image_raw[/compressed] with camera_info beside',
        )
    agents = []
    for agent_id in sorted({camera.agent_id for camera in cameras}):
        # One form per agent: the first there is of rectified, compressed, raw.
        own = sorted(
            (c for c in cameras if c.agent_id == agent_id),
            key=lambda c: (not c.rectified, not c.compressed),
        )
        form = (own[0].rectified, own[0].compressed)
        same = sorted({c.camera for c in own if (c.rectified, c.compressed) == form})
        agents.append(
            AgentInput(
                agent_id,
                names.guess_role(agent_id),
                tuple(same),
                'compressed' if form[1] else 'raw',
                form[0],
            )
        )
    made = {f'/{a.agent_id}/{what}' for a in agents for what in ('tracks', 'markers', 'latency')}
    played = tuple(
        topic
        for topic in topics
        if topic not in made
        and not topic.startswith(_MADE_LIVE)
        and not topic.endswith('/transition_event')
    )
    return tuple(agents), played


def split_names(text: str) -> list[str]:
    """Names of a list such as ``roadside,vehicle_1``; double ones once."""
    return list(dict.fromkeys(name.strip() for name in text.split(',') if name.strip()))


def choose(agents: tuple[AgentInput, ...], wanted: str, ego_id: str) -> tuple[AgentInput, ...]:
    """Keep the ego and the agents of a comma-separated list; an empty list keeps all.

    Raises:
        InputError: A name of the list, or the ego, is not in the recording.
    """
    known = {agent.agent_id for agent in agents}
    chosen = split_names(wanted)
    missing = [name for name in (ego_id, *chosen) if name not in known]
    if missing:
        raise InputError(
            f"there is no agent '{missing[0]}' in the recording",
            field='agents',
            remedy=f'choose among {sorted(known)}',
        )
    return tuple(a for a in agents if not chosen or a.agent_id in (ego_id, *chosen))


def demo_directory(seed: int) -> Path:
    """Where the demo scene of a seed is kept."""
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(cache).expanduser() / 'cooptrack_ros' / f'demo_{seed}'


def demo_is_there(seed: int) -> bool:
    """Whether the demo scene of a seed was simulated before."""
    mark = demo_directory(seed) / '.seed'
    return mark.is_file() and mark.read_text(encoding='utf-8') == str(seed)
