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

"""Replay of a dataset's scene: every agent's frames in order of time."""

from __future__ import annotations

from collections.abc import Iterator

from cooptrack_core.datasets.v2x_seq import FramePair, Scene
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.structures import AgentFrame


def scene_frames(scene: Scene) -> Iterator[AgentFrame]:
    """Yield the frames of all agents as they were captured.

    A remote frame that is paired with an ego frame carries the pose registered to the ego
    (``system_error_offset``); one that is in no pair carries its own.

    Raises:
        InputError: A file of the scene is missing or unusable.
    """
    pair_of: dict[tuple[str, str], FramePair] = {}
    for pair in scene.pairs:
        for agent_id, frame_id in pair.remote_frame_ids.items():
            pair_of.setdefault((agent_id, frame_id), pair)
    for agent_id, frame_id, _ in scene.stream():
        registered = None if agent_id == EGO_ID else pair_of.get((agent_id, frame_id))
        if registered is None:
            yield scene.frame(agent_id, frame_id)
        else:
            yield scene.remote_frame(registered, agent_id)
