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


"""V2X room: number formats on the air. Each packs a (n, k) array into bytes and back.

Errors of the compact formats: UNIT16 7.6e-6 of the unit interval (0.8 mm over 102.4 m); BOX16
1.6 mm in x and y for a 102.4 m range (twice the extent over 65535, halved), 0.5 mm in size,
4.8e-5 rad in yaw; FLOAT16 relative 4.9e-4 (8 mm/s at 20 m/s); INT8 half a step, a step being
the largest magnitude of the row over 127.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import PerceptionRange

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_FLOAT16_MAX = 65504.0


class Encoding(IntEnum):
    """How the body of a section is written."""

    BYTES = 0
    FLOAT32 = 1
    FLOAT16 = 2
    INT8_ROWS = 3
    UNIT16 = 4
    BOX16 = 5
    UINT32 = 6
    INT64 = 7


# Bytes of n rows of k columns; the decoder compares before it touches the body.
def packed_size(encoding: Encoding, n: int, k: int) -> int:
    """Return how many bytes n rows of k values take.

    Raises:
        ValueError: The encoding has no fixed size.
    """
    per_row = {
        Encoding.FLOAT32: 4 * k,
        Encoding.FLOAT16: 2 * k,
        Encoding.INT8_ROWS: k + 4,
        Encoding.UNIT16: 2 * k,
        Encoding.BOX16: 14,
        Encoding.UINT32: 4 * k,
        Encoding.INT64: 8 * k,
    }
    if encoding not in per_row:
        raise ValueError(f'{encoding.name} has no fixed size')
    return n * per_row[encoding]


def pack_float(values: F32 | F64, encoding: Encoding) -> tuple[Encoding, bytes]:
    """Pack (n, k) numbers as FLOAT32, FLOAT16, INT8_ROWS or UNIT16.

    A value that the compact encoding cannot hold makes the whole section FLOAT32, so that nothing
    is clipped in silence; the encoding really used is returned.
    """
    with np.errstate(invalid='ignore', over='ignore'):
        if encoding is Encoding.FLOAT16 and not (np.abs(values) > _FLOAT16_MAX).any():
            return encoding, values.astype('<f2').tobytes()
        if encoding is Encoding.UNIT16 and ((values >= 0) & (values <= 1)).all():
            return encoding, np.rint(values * 65535.0).astype('<u2').tobytes()
        if encoding is Encoding.INT8_ROWS:
            return encoding, _pack_int8_rows(values)
    return Encoding.FLOAT32, values.astype('<f4').tobytes()


def unpack_float(body: bytes | memoryview, encoding: Encoding, n: int, k: int) -> F32:
    """Undo ``pack_float``; the caller has checked the size with ``packed_size``.

    Raises:
        ValueError: The encoding is none of pack_float's.
    """
    if encoding is Encoding.FLOAT32:
        return np.frombuffer(body, '<f4').reshape(n, k).astype(np.float32)
    if encoding is Encoding.FLOAT16:
        return np.frombuffer(body, '<f2').reshape(n, k).astype(np.float32)
    if encoding is Encoding.UNIT16:
        unit = np.frombuffer(body, '<u2').reshape(n, k).astype(np.float64) / 65535.0
        return unit.astype(np.float32)
    if encoding is Encoding.INT8_ROWS:
        scales = np.frombuffer(body, '<f4', count=n)
        codes = np.frombuffer(body, np.int8, offset=4 * n).reshape(n, k)
        return codes.astype(np.float32) * scales[:, None].astype(np.float32)
    raise ValueError(f'{encoding.name} holds no numbers of this kind')


def _pack_int8_rows(values: F32 | F64) -> bytes:
    largest = np.abs(values).max(-1, initial=0.0)
    scales = (largest / 127.0).astype('<f4')
    # Divide by the scale that is sent, not by the exact one: the receiver multiplies by it.
    safe = np.where(scales > 0, scales, 1.0).astype(np.float64)
    codes = np.clip(np.rint(values / safe[:, None]), -127, 127).astype(np.int8)
    codes[scales == 0] = 0
    return bytes(scales.tobytes() + codes.tobytes())


def pack_boxes(boxes: F64, around: PerceptionRange, compact: bool) -> tuple[Encoding, bytes]:
    """Pack boxes (n, 7) = x, y, z, length, width, height, yaw.

    The compact form quantises the centre over the range grown by half its extent to each side,
    sizes in millimetres, and yaw over the full turn. Boxes that do not fit are sent as FLOAT32.
    """
    if compact:
        low, span = _box_window(around)
        unit = (boxes[:, :3] - low) / span
        if ((unit >= 0) & (unit <= 1)).all() and (boxes[:, 3:6] <= 65.535).all():
            codes = np.empty(boxes.shape, '<u2')
            codes[:, :3] = np.rint(unit * 65535.0)
            codes[:, 3:6] = np.maximum(np.rint(boxes[:, 3:6] * 1000.0), 1)
            codes[:, 6] = np.rint(boxes[:, 6] / (2 * np.pi) * 65536.0).astype(np.int64) % 65536
            return Encoding.BOX16, codes.tobytes()
    return Encoding.FLOAT32, boxes.astype('<f4').tobytes()


def unpack_boxes(
    body: bytes | memoryview, encoding: Encoding, n: int, around: PerceptionRange
) -> F64:
    """Undo ``pack_boxes``.

    Raises:
        ValueError: The encoding is neither BOX16 nor FLOAT32.
    """
    if encoding is Encoding.FLOAT32:
        return np.frombuffer(body, '<f4').reshape(n, 7).astype(np.float64)
    if encoding is Encoding.BOX16:
        codes = np.frombuffer(body, '<u2').reshape(n, 7).astype(np.float64)
        low, span = _box_window(around)
        return np.concatenate(
            [
                codes[:, :3] / 65535.0 * span + low,
                codes[:, 3:6] / 1000.0,
                codes[:, 6:] / 65536.0 * (2 * np.pi),
            ],
            -1,
        )
    raise ValueError(f'{encoding.name} holds no boxes')


def _box_window(around: PerceptionRange) -> tuple[F64, F64]:
    return around.minimum - around.extent / 2, around.extent * 2


def pack_ids(ids: NDArray[np.int64]) -> tuple[Encoding, bytes]:
    """Pack ids (n,), in 4 bytes each where they fit."""
    if ((ids >= 0) & (ids < 2**32)).all():
        return Encoding.UINT32, ids.astype('<u4').tobytes()
    return Encoding.INT64, ids.astype('<i8').tobytes()


def unpack_ids(body: bytes | memoryview, encoding: Encoding) -> NDArray[np.int64]:
    """Undo ``pack_ids``.

    Raises:
        ValueError: The encoding is neither UINT32 nor INT64.
    """
    if encoding is Encoding.UINT32:
        return np.frombuffer(body, '<u4').astype(np.int64)
    if encoding is Encoding.INT64:
        return np.frombuffer(body, '<i8').astype(np.int64)
    raise ValueError(f'{encoding.name} holds no ids')
