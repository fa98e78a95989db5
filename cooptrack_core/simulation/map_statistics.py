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

"""What simulated map data contain."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import MapGrid

INDEX = 'scenes.json'


@dataclass(frozen=True, eq=False)
class MapRows:
    """What some frames of one scene contain.

    Attributes:
        index: Number of the scene.
        frames: Number of frames.
        agents: Number of agents.
        roadsides: Those on poles among them.
        weather: Of the scene.
        layout: Kind of junction.
        cells: (5,) sums over frames and agents: cells with a vehicle, road, lane lines, with a
            vehicle that the agent sees, with one that any agent sees.
    """

    index: int
    frames: int
    agents: int
    roadsides: int
    weather: str
    layout: str
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class MapSummary:
    """Statistics of simulated data in the OPV2V layout, over all maps.

    Attributes:
        preset: Name of the preset.
        scenes: Number of scenes.
        frames: Number of frames, all agents of a frame counted once.
        maps: Number of maps: agents times frames.
        agents: Scenes by number of agents.
        roadside_scenes: Scenes with a roadside unit.
        weather: Scenes per weather.
        layouts: Scenes per kind of junction.
        vehicle_share: Share of cells with a vehicle.
        drivable_share: Share of cells with road, lane lines included.
        lane_share: Share of cells with a lane line.
        visible_share: Share of the cells with a vehicle whose vehicle the agent itself sees.
        visible_all_share: The same of all agents of the scene together.
    """

    preset: str
    scenes: int
    frames: int
    maps: int
    agents: dict[str, int]
    roadside_scenes: int
    weather: dict[str, int]
    layouts: dict[str, int]
    vehicle_share: float
    drivable_share: float
    lane_share: float
    visible_share: float
    visible_all_share: float

    @property
    def pairs(self) -> int:
        """Number of frames, by the name of the other layout."""
        return self.frames

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping, for JSON."""
        return asdict(self)

    def as_markdown(self) -> str:
        """A table for documents."""
        lines = [f'| {name} | {value} |' for name, value in self._rows()]
        return '\n'.join(['| what | value |', '| --- | --- |', *lines])

    def __str__(self) -> str:
        """Return aligned lines for a terminal."""
        return '\n'.join(f'{name:55} {value}' for name, value in self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        def listed(values: dict[str, int]) -> str:
            return ', '.join(f'{k}: {v}' for k, v in values.items())

        return [
            ('preset', self.preset),
            ('scenes, frames, maps', f'{self.scenes}, {self.frames}, {self.maps}'),
            ('agents (scenes)', listed(self.agents)),
            ('scenes with a roadside unit', str(self.roadside_scenes)),
            ('weather (scenes)', listed(self.weather)),
            ('junctions (scenes)', listed(self.layouts)),
            ('cells with a vehicle', f'{self.vehicle_share:.2%}'),
            ('cells with road', f'{self.drivable_share:.1%}'),
            ('cells with a lane line', f'{self.lane_share:.1%}'),
            ('… of the vehicles visible to the agent itself', f'{self.visible_share:.1%}'),
            ('… visible to any agent of the scene', f'{self.visible_all_share:.1%}'),
        ]


def summarise(rows: Sequence[MapRows], preset: str, grid: MapGrid) -> MapSummary:
    """Add up the rows of all parts of all scenes."""
    scenes = {row.index: row for row in sorted(rows, key=lambda r: r.index)}
    frames = sum(row.frames for row in rows)
    maps = sum(row.frames * row.agents for row in rows)
    cells = np.sum([row.cells for row in rows], axis=0)
    every, vehicles = max(maps * grid.rows * grid.columns, 1), max(int(cells[0]), 1)

    def counted(values: list[str]) -> dict[str, int]:
        return dict(sorted(Counter(values).items()))

    return MapSummary(
        preset=preset,
        scenes=len(scenes),
        frames=frames,
        maps=maps,
        agents=counted([str(r.agents) for r in scenes.values()]),
        roadside_scenes=sum(r.roadsides > 0 for r in scenes.values()),
        weather=counted([r.weather for r in scenes.values()]),
        layouts=counted([r.layout for r in scenes.values()]),
        vehicle_share=float(cells[0] / every),
        drivable_share=float(cells[1] / every),
        lane_share=float(cells[2] / every),
        visible_share=float(cells[3] / vehicles),
        visible_all_share=float(cells[4] / vehicles),
    )


def write_map_index(root: Path, summary: MapSummary, seed: int) -> None:
    """Write ``scenes.json``: preset, seed and statistics."""
    content = {'layout': 'opv2v', 'seed': seed, **summary.as_dict()}
    (root / INDEX).write_text(json.dumps(content, indent=1), encoding='utf-8')
