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

"""What a simulated dataset contains, read from its files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cooptrack_core.errors import InputError

CAR_TYPES = ('Car', 'Van', 'Truck', 'Bus')
_RANGES = (0, 10, 20, 30, 40, 50, 75, 100)
_SPEEDS = (0.0, 0.1, 2.0, 5.0, 8.0, 12.0)
HIDDEN_MIN_ROADSIDE_PIXELS = 12
NEAR = 50.0


@dataclass(frozen=True)
class SimulationSummary:
    """Statistics of a simulated dataset, over all frame pairs.

    Attributes:
        preset: Name of the preset.
        scenes: Number of scenes.
        pairs: Number of frame pairs.
        weather: Scenes per weather.
        layouts: Scenes per kind of junction.
        objects_per_pair: Mean number of road users in the cooperative labels, ego excluded.
        types: Mean number per pair and type.
        cars_near: Mean number of labelled cars (car, van, truck, bus) within 50 m of the ego.
        hidden_share: Share of cars within 50 m that no ego camera pixel shows and the roadside
            camera does (12 pixels or more).
        ego_visible_share: Share of cars within 50 m that the ego camera shows (12 or more).
        roadside_visible_share: The same of the roadside camera.
        hidden_in_view_share: As hidden_share, but only those inside the ego's field of view:
            hidden by something rather than beside or behind the ego.
        range_histogram: Labelled cars per pair by distance to the ego, metres.
        speed_histogram: Labelled moving and standing cars per pair by speed, m/s.
        ego_speed: Mean speed of the ego, m/s.
    """

    preset: str
    scenes: int
    pairs: int
    weather: dict[str, int]
    layouts: dict[str, int]
    objects_per_pair: float
    types: dict[str, float]
    cars_near: float
    hidden_share: float
    ego_visible_share: float
    roadside_visible_share: float
    hidden_in_view_share: float
    range_histogram: dict[str, float]
    speed_histogram: dict[str, float]
    ego_speed: float

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
        def listed(values: dict[str, Any]) -> str:
            return ', '.join(
                f'{k}: {v:.2f}' if isinstance(v, float) else f'{k}: {v}' for k, v in values.items()
            )

        return [
            ('preset', self.preset),
            ('scenes, frame pairs', f'{self.scenes}, {self.pairs}'),
            ('weather (scenes)', listed(self.weather)),
            ('junctions (scenes)', listed(self.layouts)),
            ('labelled objects per pair', f'{self.objects_per_pair:.1f}'),
            ('by type', listed(self.types)),
            ('labelled cars within 50 m of the ego', f'{self.cars_near:.1f}'),
            ('… in the ego camera', f'{self.ego_visible_share:.1%}'),
            ('… in the roadside camera', f'{self.roadside_visible_share:.1%}'),
            ('… hidden from the ego camera, in the roadside camera', f'{self.hidden_share:.1%}'),
            ('… the same, inside the ego’s field of view', f'{self.hidden_in_view_share:.1%}'),
            ('labelled cars per pair by distance (m)', listed(self.range_histogram)),
            ('labelled cars per pair by speed (m/s)', listed(self.speed_histogram)),
            ('mean speed of the ego', f'{self.ego_speed:.1f} m/s'),
        ]


def _bin(value: float, edges: tuple[float, ...]) -> str:
    for low, high in pairwise(edges):
        if value < high:
            return f'{low:g}-{high:g}'
    return f'{edges[-1]:g}+'


def _empty(edges: tuple[float, ...]) -> Counter[str]:
    names = [_bin(edge, edges) for edge in edges]
    return Counter(dict.fromkeys(names, 0))


def describe(path: str | Path) -> SimulationSummary:
    """Read the statistics of a dataset that ``simulate`` wrote.

    Raises:
        InputError: The directory holds no simulated dataset.
    """
    root = Path(path)
    try:
        index = json.loads((root / 'scenes.json').read_text(encoding='utf-8'))
        pairs = json.loads((root / 'cooperative' / 'data_info.json').read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise InputError(
            'this is no complete simulated dataset', path=root,
            remedy='give a directory that `cooptrack simulate` has written',
        ) from error  # fmt: skip
    ranges, speeds, types = _empty(_RANGES), _empty(_SPEEDS), Counter[str]()
    near = hidden = in_view = ego_seen = roadside_seen = 0
    ego_speed = 0.0
    for pair in pairs:
        name = f'{pair["vehicle_frame"]}.json'
        labelled = {
            int(row['track_id'])
            for row in json.loads((root / 'cooperative' / 'label' / name).read_bytes())
        }
        content = json.loads((root / 'cooperative' / 'visibility' / name).read_bytes())
        for row in content['objects']:
            if row['is_ego']:
                ego_speed += row['speed']
                continue
            if row['track_id'] not in labelled:
                continue
            types[row['type']] += 1
            if row['type'] not in CAR_TYPES:
                continue
            ranges[_bin(row['distance'], _RANGES)] += 1
            speeds[_bin(row['speed'], _SPEEDS)] += 1
            if row['distance'] > NEAR:
                continue
            ego, roadside = row['agents'].get('vehicle'), row['agents'].get('roadside')
            near += 1
            ego_pixels = ego['pixels'] if ego else 0
            seen = bool(roadside) and roadside['pixels'] >= HIDDEN_MIN_ROADSIDE_PIXELS
            ego_seen += ego_pixels >= HIDDEN_MIN_ROADSIDE_PIXELS
            roadside_seen += seen
            if ego_pixels == 0 and seen:
                hidden += 1
                in_view += bool(ego) and ego['outline_pixels'] >= HIDDEN_MIN_ROADSIDE_PIXELS
    n, cars = max(len(pairs), 1), max(near, 1)
    scenes = index['scenes']
    return SimulationSummary(
        preset=index['preset'],
        scenes=len(scenes),
        pairs=len(pairs),
        weather=dict(sorted(Counter(s['weather'] for s in scenes).items())),
        layouts=dict(sorted(Counter(s['layout'] for s in scenes).items())),
        objects_per_pair=sum(types.values()) / n,
        types={k: v / n for k, v in sorted(types.items())},
        cars_near=near / n,
        hidden_share=hidden / cars,
        ego_visible_share=ego_seen / cars,
        roadside_visible_share=roadside_seen / cars,
        hidden_in_view_share=in_view / cars,
        range_histogram={k: v / n for k, v in ranges.items()},
        speed_histogram={k: v / n for k, v in speeds.items()},
        ego_speed=ego_speed / n,
    )
