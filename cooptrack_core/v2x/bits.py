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

"""V2X room: columns of small unsigned numbers as bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


def pack_bits(table: I64, widths: Sequence[int]) -> bytes:
    """Write (n, k) unsigned numbers row by row, the j-th with ``widths[j]`` bits, high bit first.

    Raises:
        ValueError: A number does not fit.
    """
    limits = 2 ** np.asarray(widths, dtype=np.int64)
    if table.shape[1:] != (len(widths),) or ((table < 0) | (table >= limits)).any():
        raise ValueError('a number does not fit its bits')
    columns = [
        (table[:, j, None] >> np.arange(width - 1, -1, -1)) & 1 for j, width in enumerate(widths)
    ]
    bits = np.concatenate([np.zeros((len(table), 0), dtype=np.int64), *columns], 1)
    return bytes(np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes())


def packed_bytes(rows: int, widths: Sequence[int]) -> int:
    """Bytes that ``pack_bits`` writes."""
    return (rows * int(sum(widths)) + 7) // 8


def unpack_bits(body: bytes | memoryview, rows: int, widths: Sequence[int]) -> I64:
    """Undo ``pack_bits``.

    Raises:
        ValueError: The body has another size, or bits behind the last number are set.
    """
    total = int(sum(widths))
    if len(body) != packed_bytes(rows, widths):
        raise ValueError(f'{len(body)} bytes for {rows} rows of {total} bits')
    flat = np.unpackbits(np.frombuffer(body, np.uint8))
    if flat[rows * total :].any():
        raise ValueError('bits behind the last number')
    bits = flat[: rows * total].reshape(rows, total).astype(np.int64)
    out = np.zeros((rows, len(widths)), dtype=np.int64)
    at = 0
    for j, width in enumerate(widths):
        weights = 1 << np.arange(width - 1, -1, -1, dtype=np.int64)
        out[:, j] = bits[:, at : at + width] @ weights
        at += width
    return out
