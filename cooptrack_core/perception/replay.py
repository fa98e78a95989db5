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

import numpy as np

from cooptrack_core.datasets.v2x_seq import FramePair, Scene
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.structures import AgentFrame


def kept_frames(scene: Scene, rate_hz: float | None = None) -> frozenset[tuple[str, str]]:
    """(agent, frame) of the frames to use: all, or those that are left at a lower rate.

    Ego frames are taken when they are due, half a frame early at most, and of the other agents
    the frames paired with them.
    """
    every = list(scene.stream())
    if rate_hz is None:
        return frozenset((agent_id, frame_id) for agent_id, frame_id, _ in every)
    period = 1e9 / rate_hz
    gaps = np.diff([stamp_ns for agent_id, _, stamp_ns in every if agent_id == EGO_ID])
    early = min(period / 4, float(np.median(gaps)) / 2) if len(gaps) else 0.0
    due: float | None = None
    kept: set[tuple[str, str]] = set()
    for agent_id, frame_id, stamp_ns in every:
        if agent_id != EGO_ID or (due is not None and stamp_ns < due - early):
            continue
        kept.add((agent_id, frame_id))
        # No drift; and after a frame that came late the next one is not taken at once.
        start = float(stamp_ns) if due is None else due
        due = max(start + period, stamp_ns + 0.75 * period + early)
    chosen = {frame_id for _, frame_id in kept}
    for pair in scene.pairs:
        if pair.ego_frame_id in chosen:
            kept.update(pair.remote_frame_ids.items())
    return frozenset(kept)


def scene_frames(scene: Scene, rate_hz: float | None = None) -> Iterator[AgentFrame]:
    """Yield the frames of all agents as they were captured.

    A remote frame that is paired with an ego frame carries the pose registered to the ego
    (``system_error_offset``); one that is in no pair carries its own.

    Args:
        scene: Where they are.
        rate_hz: See ``kept_frames``.

    Raises:
        InputError: A file of the scene is missing or unusable.
    """
    pair_of: dict[tuple[str, str], FramePair] = {}
    for pair in scene.pairs:
        for agent_id, frame_id in pair.remote_frame_ids.items():
            pair_of.setdefault((agent_id, frame_id), pair)
    kept = kept_frames(scene, rate_hz)
    for agent_id, frame_id, _ in scene.stream():
        if (agent_id, frame_id) not in kept:
            continue
        registered = None if agent_id == EGO_ID else pair_of.get((agent_id, frame_id))
        if registered is None:
            yield scene.frame(agent_id, frame_id)
        else:
            yield scene.remote_frame(registered, agent_id)
