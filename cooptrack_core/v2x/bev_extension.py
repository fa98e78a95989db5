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

"""V2X room: the BEV map of a sender, an optional extension of hundreds of kilobytes.

Only the baseline ``bev_fusion`` uses it. Body: rows u16, columns u16, channels u16, x_min, y_min,
x_max, y_max float64 (metres, sender's agent frame), then float16 values: row by row (along +y),
cell by cell (along +x), channels last.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import BevGrid
from cooptrack_core.structures import InstanceMessage
from cooptrack_core.v2x.reasons import Reason
from cooptrack_core.v2x.selection import selected

BEV = 'bev_feature'
_HEAD = struct.Struct('<HHH4d')
_VALUE = np.dtype('<f2')
_LARGEST = float(np.finfo(np.float16).max)
_MAX_PLACE = 1e4


@dataclass(frozen=True, eq=False)
class BevArray:
    """A BEV map.

    Attributes:
        values: (rows, columns, D) float32.
        grid: Its cells, sender's agent frame.
    """

    values: NDArray[np.float32]
    grid: BevGrid


def pack_bev(bev: BevArray) -> bytes:
    """Write a map as the body of the extension ``BEV``; values beyond float16 are clipped.

    Raises:
        ValueError: A value is not finite, or shape and grid do not fit.
    """
    rows, columns, channels = bev.values.shape
    grid = bev.grid
    if (rows, columns) != (grid.rows, grid.columns) or max(bev.values.shape) >= 2**16:
        raise ValueError(f'a BEV map of shape {bev.values.shape} on {grid}')
    if not np.isfinite(bev.values).all():
        raise ValueError('the BEV map holds a value that is not finite')
    head = _HEAD.pack(rows, columns, channels, grid.x_min, grid.y_min, grid.x_max, grid.y_max)
    return head + np.clip(bev.values, -_LARGEST, _LARGEST).astype(_VALUE).tobytes()


def read_bev(message: InstanceMessage) -> BevArray | None:
    """BEV map of a message; None when the sender sent none.

    Raises:
        MessageError: The extension is damaged or does not fit the message.
    """
    body = message.extensions.get(BEV)
    if body is None:
        return None
    if len(body) < _HEAD.size:
        raise MessageError(Reason.MALFORMED, f'{BEV} has {len(body)} bytes only')
    rows, columns, channels, x_min, y_min, x_max, y_max = _HEAD.unpack_from(body)
    area = (x_min, y_min, x_max, y_max)
    size = message.query_features.shape[1]
    whole = _HEAD.size + rows * columns * channels * _VALUE.itemsize
    if len(body) != whole or channels != size:
        raise MessageError(
            Reason.MALFORMED,
            f'{BEV} has {len(body)} bytes and {channels} channels, {whole} and {size} are due',
        )
    if not np.isfinite(area).all():
        raise MessageError(Reason.NOT_FINITE, f'{BEV}: grid')
    if max(map(abs, area)) > _MAX_PLACE:
        raise MessageError(Reason.OUT_OF_BOUNDS, f'{BEV}: grid')
    try:
        grid = BevGrid(x_min, y_min, x_max, y_max, columns, rows)
    except ValueError as error:
        raise MessageError(Reason.OUT_OF_BOUNDS, f'{BEV}: {error}') from error
    values = np.frombuffer(body, _VALUE, offset=_HEAD.size).astype(np.float32)
    if not np.isfinite(values).all():
        raise MessageError(Reason.NOT_FINITE, f'{BEV}: values')
    return BevArray(values.reshape(rows, columns, channels), grid)


def without_bev(message: InstanceMessage) -> InstanceMessage:
    """Return the message as one sends it who shares instances alone."""
    if BEV not in message.extensions:
        return message
    return replace(message, extensions={k: v for k, v in message.extensions.items() if k != BEV})


def without_instances(message: InstanceMessage) -> InstanceMessage:
    """Return the message as one sends it who shares a BEV map alone."""
    shared = {k: v for k, v in message.extensions.items() if k == BEV}
    return selected(replace(message, extensions=shared), np.zeros(len(message), dtype=bool))
