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

"""OPV2V reader: the maps of one agent and frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.json_files import read_bytes
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import MapLabels

# Field of MapLabels to the word in the name of its file.
MAP_FILES = {
    'dynamic': 'dynamic',
    'drivable': 'static',
    'lane': 'lane',
    'visible': 'visibility',
    'visible_all': 'visibility_corp',
}


def map_file(frame: Path, kind: str) -> Path:
    """Path of a map; ``frame`` is the path of the YAML file, ``kind`` a field of MapLabels."""
    return frame.with_name(f'{frame.stem}_bev_{MAP_FILES[kind]}.png')


def read_map_labels(frame: Path, grid: MapGrid) -> MapLabels:
    """Read the five maps of a frame; every cell with any grey counts.

    Args:
        frame: Path of the YAML file of the frame.
        grid: What the maps must fit.

    Raises:
        InputError: A map is missing, no image, or of another size.
    """
    masks = {kind: _read_mask(map_file(frame, kind), grid) for kind in MAP_FILES}
    return MapLabels(grid=grid, **masks)


def _read_mask(path: Path, grid: MapGrid) -> NDArray[np.bool_]:
    if not path.is_file():
        raise InputError(
            'the map is missing; OPV2V has its maps in an archive of their own', path=path,
            remedy='unpack additional.zip of OPV2V over the dataset (its test_culvercity has no '
            'maps), or read without labels',
        )  # fmt: skip
    data = np.frombuffer(read_bytes(path, 'the map'), dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None:
        raise InputError('the map cannot be decoded', path=path, remedy='copy the file anew')
    image = image[..., :3].max(-1) if image.ndim == 3 else image  # a fourth channel is opacity
    if image.shape != (grid.rows, grid.columns):
        raise InputError(
            f'the map has {image.shape[0]} x {image.shape[1]} cells, expected '
            f'{grid.rows} x {grid.columns}', path=path,
            remedy='give the MapGrid of these maps',
        )  # fmt: skip
    return np.asarray(image > 0)
