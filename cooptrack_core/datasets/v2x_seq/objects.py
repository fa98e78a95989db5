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

"""V2X-Seq reader: label files of one frame, types, and the published label corrections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cooptrack_core.datasets.json_files import Record, read_record, read_records
from cooptrack_core.structures import CLASS_NAMES

# Raw type, lower case, to class; None is dropped. Files also hold the mapped words themselves.
CLASS_MAP: Mapping[str, str | None] = {
    'car': 'car',
    'truck': 'car',
    'van': 'car',
    'bus': 'car',
    'motorcyclist': 'bicycle',
    'cyclist': 'bicycle',
    'tricyclist': 'bicycle',
    'barrowlist': 'bicycle',
    'bicycle': 'bicycle',
    'pedestrian': 'pedestrian',
    'trafficcone': None,
    'traffic_cone': None,
}

# Keys of update_label_info.json; the cooperative list is separate because CoopTrack skips it.
_CORRECTION_SIDES = {'vehicle-side': 'vehicle', 'infrastructure-side': 'roadside',
                     'cooperative': 'cooperative'}  # fmt: skip


@dataclass(frozen=True)
class RawObject:
    """One object of a label file, in the LiDAR frame of the file.

    Attributes:
        token: Unique name of the label; empty in single DAIR-V2X pairs.
        raw_type: The dataset's word.
        class_name: One of CLASS_NAMES.
        track_id: Id inside the sequence; -1 where the file has none (DAIR-V2X).
        center: Gravity centre, metres.
        size: Length, width, height, metres.
        yaw: Heading, rad.
        occlusion: 0 visible ... 3 hidden, -1 not stated.
    """

    token: str
    raw_type: str
    class_name: str
    track_id: int
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    occlusion: int


@dataclass(frozen=True)
class LabelCorrections:
    """Corrections of published labels (``update_label_info.json``).

    Attributes:
        vehicle: By label token: the new (type, track id), or None to delete the label.
        roadside: As ``vehicle``, for the infrastructure side.
        cooperative: Tokens of cooperative labels to delete; applied only on request, because
            UniV2X applies them and CoopTrack does not.
    """

    vehicle: Mapping[str, tuple[str, int] | None]
    roadside: Mapping[str, tuple[str, int] | None]
    cooperative: Mapping[str, tuple[str, int] | None]

    @staticmethod
    def read(path: str | Path) -> LabelCorrections:
        """Read the file.

        Raises:
            InputError: A missing or malformed file.
        """
        path = Path(path)
        content = read_record(path, 'the label corrections')
        sides: dict[str, dict[str, tuple[str, int] | None]] = {}
        for key, side in _CORRECTION_SIDES.items():
            rows = content.raw(key)
            if not isinstance(rows, list):
                raise content.error(key, 'expected a list', 'use the published file')
            sides[side] = {}
            for i, value in enumerate(rows):
                row = Record.of(value, path, f'{key}[{i}]')
                operation = row.raw('operation')
                if operation == []:
                    change = None
                elif isinstance(operation, list) and len(operation) == 2:
                    named = Record({'operation': operation[1]}, path, row.place)
                    change = (str(operation[0]), named.integer('operation'))
                else:
                    raise row.error(
                        'operation', f'expected [] or [type, track_id], found {operation!r}',
                        'use the published file',
                    )  # fmt: skip
                sides[side][row.text('token')] = change
        return LabelCorrections(**sides)


def read_objects(
    path: Path,
    *,
    class_map: Mapping[str, str | None],
    corrections: Mapping[str, tuple[str, int] | None],
    counts: Counter[str],
    tracked: bool = True,
) -> list[RawObject]:
    """Read the objects of a label file, corrected, of known classes, one per track.

    Args:
        path: Label file.
        class_map: Raw type in lower case to class, or None to drop it.
        corrections: By token: new (type, track id), or None to delete.
        counts: What was dropped or changed is added here, by reason.
        tracked: Whether labels carry token and track_id (V2X-Seq does, DAIR-V2X does not).

    Raises:
        InputError: Missing file or key, wrong value, or a type that ``class_map`` lacks.
    """
    objects: list[RawObject] = []
    seen: set[int] = set()
    for row in read_records(path, 'the label file'):
        token = row.text('token') if tracked else ''
        raw_type = row.text('type')
        track_id = row.integer('track_id') if tracked else -1
        if token in corrections:
            change = corrections[token]
            counts['corrected: deleted' if change is None else 'corrected: type or track'] += 1
            if change is None:
                continue
            raw_type, track_id = change
        if raw_type.lower() not in class_map:
            raise row.error(
                'type',
                f'the type {raw_type!r} is unknown',
                f'pass class_map with {raw_type!r} mapped to one of {list(CLASS_NAMES)} or to '
                f'None, which drops it',
            )
        class_name = class_map[raw_type.lower()]
        if class_name is None:
            counts[f'dropped: class {raw_type.lower()}'] += 1
            continue
        if tracked and track_id in seen:
            counts['dropped: track id twice in a frame'] += 1
            continue
        dimensions = row.record('3d_dimensions')
        size = (dimensions.number('l'), dimensions.number('w'), dimensions.number('h'))
        if size == (0.0, 0.0, 0.0):
            counts['dropped: no 3-D box'] += 1
            continue
        if min(size) <= 0:
            raise row.error('3d_dimensions', f'sizes must be positive, found {size}',
                            'correct or delete the label')  # fmt: skip
        seen.add(track_id)
        location = row.record('3d_location')
        objects.append(
            RawObject(
                token=token,
                raw_type=raw_type,
                class_name=class_name,
                track_id=track_id,
                center=(location.number('x'), location.number('y'), location.number('z')),
                size=size,
                yaw=row.number('rotation'),
                occlusion=row.integer('occluded_state', -1),
            )
        )
    return objects
