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

"""V2X-Seq reader: the simulator's side file, what each agent's sensors saw of each object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.json_files import Record, read_record


@dataclass(frozen=True, eq=False)
class ObjectVisibility:
    """How much of each object every agent sees at one ego frame.

    Attributes:
        track_ids: (n,) int64, as in the cooperative labels.
        visible_pixels: Per agent (n,) int64, camera pixels that show the object.
        lidar_hits: Per agent (n,) int64, LiDAR returns from the object.
    """

    track_ids: NDArray[np.int64]
    visible_pixels: dict[str, NDArray[np.int64]]
    lidar_hits: dict[str, NDArray[np.int64]]


def read_visibility(path: Path, agent_ids: Sequence[str]) -> ObjectVisibility | None:
    """Read ``cooperative/visibility/{ego frame}.json``; None where there is none (real data).

    Its format: ``{"objects": [{"track_id": 7, "agents": {"vehicle": {"pixels": 120,
    "lidar_hits": 4}, …}}, …]}``; an agent that an object does not name sees nothing of it.
    Further keys (the simulator writes speed and more) are for other readers.

    Args:
        path: The file.
        agent_ids: The agents of the dataset.

    Raises:
        InputError: The file is malformed.
    """
    if not path.exists():
        return None
    content = read_record(path, 'the visibility file')
    listed = content.raw('objects')
    if not isinstance(listed, list):
        raise content.error('objects', 'expected a list', 'simulate the scene again')
    rows = [Record.of(row, path, f'objects[{i}]') for i, row in enumerate(listed)]
    seen = [row.record('agents') for row in rows]

    def column(key: str, agent_id: str) -> NDArray[np.int64]:
        return np.array(
            [a.record(agent_id).integer(key) if agent_id in a else 0 for a in seen],
            dtype=np.int64,
        )

    return ObjectVisibility(
        np.array([row.integer('track_id') for row in rows], dtype=np.int64),
        {agent_id: column('pixels', agent_id) for agent_id in agent_ids},
        {agent_id: column('lidar_hits', agent_id) for agent_id in agent_ids},
    )
