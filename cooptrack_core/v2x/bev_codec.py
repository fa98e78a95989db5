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

"""V2X room: the bytes on the air of BEV features. Tens of kilobytes per map.

Layout as ``envelope`` says, magic 'CTBM'. Fields of the head: rows u16, columns u16, channels u16,
reserved u16, cell f64 (metres). Sections:

    1  features, channel by channel, row by row: FLOAT32, FLOAT16, or INT8_ROWS with one scale per
       channel (errors: ``quantise``)
    2  the same, deflated (zlib). Bytes of numbers wider than one are sorted by their place first:
       all lowest bytes, ..., all highest, whose regularity deflate finds
    9  pose covariance

Exactly one of 1 and 2 is there; the encoder takes the smaller one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import BevFeature
from cooptrack_core.v2x import envelope, quantise
from cooptrack_core.v2x.checks import refuse
from cooptrack_core.v2x.envelope import Dtype, Sections
from cooptrack_core.v2x.quantise import Encoding
from cooptrack_core.v2x.reasons import Reason

_KIND = envelope.Kind(b'CTBM', 1, 0, struct.Struct('<HHHHd'))
_LARGEST = float(np.finfo(np.float16).max)
_MAX_CELL = 1e3
_LEVEL = 6


class BevSection(IntEnum):
    """What a section of a BEV message holds."""

    FEATURES = 1
    FEATURES_DEFLATED = 2
    POSE_COVARIANCE = envelope.POSE_COVARIANCE


_KNOWN = frozenset(int(s) for s in BevSection)
_WIDTHS = {Encoding.FLOAT32: 4, Encoding.FLOAT16: 2, Encoding.INT8_ROWS: 1}


@dataclass(frozen=True)
class BevLimits:
    """What a receiver takes; checked before anything is allocated.

    Attributes:
        max_bytes: Largest message.
        max_values: Most numbers of a map, rows * columns * channels.
        max_magnitude: Largest absolute value of a feature.
        max_sections: Most sections.
        grid: Cells of the receiver's own map, the only ones it can fuse; None takes any (for
            recorders and viewers).
        channels: Channels that the receiver's model takes; None takes any.
    """

    max_bytes: int = 4 * 1024 * 1024
    max_values: int = 4 * 1024 * 1024
    max_magnitude: float = _LARGEST
    max_sections: int = 64
    grid: MapGrid | None = None
    channels: int | None = None


@dataclass(frozen=True, eq=False)
class BevPayload:
    """A message taken apart with its features still packed, for other forms of it.

    Attributes:
        sender: What every message says.
        rows, columns, channels: Size of the map.
        cell: Edge length of a cell, metres.
        encoding: Number format of the features: FLOAT32, FLOAT16 or INT8_ROWS.
        deflated: Whether ``body`` is deflated.
        body: The features.
        pose_covariance: (6, 6), as AgentFrame.
    """

    sender: envelope.Sender
    rows: int
    columns: int
    channels: int
    cell: float
    encoding: Encoding
    deflated: bool
    body: bytes
    pose_covariance: NDArray[np.float64]

    def seal(self) -> bytes:
        """Put the bytes on the air together.

        Raises:
            ValueError: A field does not fit the format.
        """
        _check_sizes(self.rows, self.columns, self.channels)
        kind = BevSection.FEATURES_DEFLATED if self.deflated else BevSection.FEATURES
        sections = [
            envelope.section(kind, self.encoding, self.body),
            *envelope.covariance_section(self.pose_covariance),
        ]
        fields = (self.rows, self.columns, self.channels, 0, self.cell)
        return envelope.seal(_KIND, self.sender, fields, sections)


def pack_bev(feature: BevFeature, dtype: Dtype = 'int8', deflate: bool = True) -> BevPayload:
    """Pack the features of a map; arguments and errors as ``encode_bev``."""
    if dtype not in get_args(Dtype):
        raise ValueError(f'dtype {dtype!r} is none of {get_args(Dtype)}')
    features = feature.features
    if not (np.abs(features) <= _LARGEST).all():
        raise ValueError(f'features holds a value that is not finite or beyond {_LARGEST}')
    channels, rows, columns = features.shape
    _check_sizes(rows, columns, channels)
    encoding, body = quantise.pack_float(
        features.reshape(channels, -1), envelope.FEATURE_ENCODING[dtype]
    )
    deflated = False
    if deflate:
        packed = zlib.compress(_sorted_bytes(body, _WIDTHS[encoding]), _LEVEL)
        if len(packed) < len(body):
            deflated, body = True, packed
    sender = envelope.Sender(
        dtype, feature.agent_id, feature.model_id, feature.role, feature.session_id,
        feature.sequence, feature.stamp_ns, feature.world_SE3_agent,
    )  # fmt: skip
    return BevPayload(
        sender, rows, columns, channels, feature.grid.cell, encoding, deflated, body,
        feature.pose_covariance,
    )  # fmt: skip


def encode_bev(feature: BevFeature, dtype: Dtype = 'int8', deflate: bool = True) -> bytes:
    """Encode the features of a map.

    Args:
        feature: What to send.
        dtype: Number format of the features.
        deflate: Also try lossless compression, and send what is smaller.

    Returns:
        The bytes on the air.

    Raises:
        ValueError: The map cannot be sent: a value is not finite or beyond float16, the
            covariance is not symmetric, or a name or count is too large for the format.
    """
    return pack_bev(feature, dtype, deflate).seal()


def decode_bev(
    data: bytes | bytearray | memoryview, limits: BevLimits | None = None
) -> BevFeature:
    """Decode and check the map of a peer.

    Args:
        data: The bytes on the air.
        limits: What is taken at most, and of which grid and channels.

    Returns:
        The map; every value finite and within the limits, but not yet checked for model, age and
        order (``map_inbox`` does that).

    Raises:
        MessageError: Anything is wrong; ``reason`` is one of ``Reason``.
    """
    limits = limits or BevLimits()
    if len(data) > limits.max_bytes:
        refuse(Reason.OVERSIZED, f'{len(data)} bytes, at most {limits.max_bytes} are taken')
    raw = bytes(data)
    sender, (rows, columns, channels, _, cell), length = envelope.unseal(raw, _KIND)
    grid = _read_grid(rows, columns, cell, channels, limits)
    sections, _ = envelope.read_sections(raw, length, _KNOWN, limits.max_sections)
    try:
        with np.errstate(invalid='ignore', over='ignore'):
            features = _read_features(sections, channels, rows * columns)
            covariance = envelope.read_covariance(sections)
    except MessageError:
        raise
    except (ValueError, OverflowError) as error:
        raise MessageError(Reason.MALFORMED, str(error)) from error
    _check_values(features, covariance, limits)
    return BevFeature(
        agent_id=sender.agent_id,
        role=sender.role,
        model_id=sender.model_id,
        session_id=sender.session_id,
        sequence=sender.sequence,
        stamp_ns=sender.stamp_ns,
        world_SE3_agent=sender.pose,
        pose_covariance=covariance,
        grid=grid,
        features=features.reshape(channels, rows, columns),
    )


def _check_sizes(rows: int, columns: int, channels: int) -> None:
    for what, number in (('rows', rows), ('columns', columns), ('channels', channels)):
        envelope.check_fits(what, number, 1, 2**16)


def _read_grid(rows: int, columns: int, cell: float, channels: int, limits: BevLimits) -> MapGrid:
    if not np.isfinite(cell):
        refuse(Reason.NOT_FINITE, 'cell')
    if not (rows and columns and channels and 0 < cell <= _MAX_CELL):
        refuse(Reason.OUT_OF_BOUNDS, f'{channels} x {rows} x {columns} cells of {cell} m')
    if rows * columns * channels > limits.max_values:
        refuse(Reason.OVERSIZED, f'{channels} x {rows} x {columns} values')
    found, wanted = MapGrid(rows, columns, cell), limits.grid
    if wanted is not None:
        if (rows, columns) != (wanted.rows, wanted.columns) or not np.isclose(
            cell, wanted.cell, rtol=1e-6, atol=0
        ):
            refuse(Reason.GRID, f'{found}, here {wanted}')
        found = wanted
    if limits.channels is not None and channels != limits.channels:
        refuse(Reason.CHANNELS, f'{channels} channels, here {limits.channels}')
    return found


def _read_features(sections: Sections, channels: int, cells: int) -> NDArray[np.float32]:
    forms = [k for k in (BevSection.FEATURES, BevSection.FEATURES_DEFLATED) if k in sections]
    if len(forms) != 1:
        refuse(Reason.MALFORMED, f'{len(forms)} sections of features')
    code, body = sections[forms[0]]
    encoding = Encoding(code)
    if encoding not in _WIDTHS:
        refuse(Reason.MALFORMED, f'features in encoding {encoding.name}')
    size = quantise.packed_size(encoding, channels, cells)
    plain: bytes | memoryview = body
    if forms[0] is BevSection.FEATURES_DEFLATED:
        plain = _inflated(body, size, _WIDTHS[encoding])
    if len(plain) != size:
        refuse(Reason.MALFORMED, f'features of {len(plain)} bytes, {size} are due')
    return quantise.unpack_float(plain, encoding, channels, cells)


def _sorted_bytes(body: bytes, width: int) -> bytes:
    """All first bytes of the numbers, then all second ones, ..."""
    if width == 1:
        return body
    return bytes(np.frombuffer(body, np.uint8).reshape(-1, width).T.tobytes())


def _inflated(body: memoryview, size: int, width: int) -> bytes:
    """Undo deflate and ``_sorted_bytes``; never makes more than one byte beyond ``size``."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(body, size + 1)
    except zlib.error as error:
        raise MessageError(Reason.MALFORMED, f'features: {error}') from error
    if len(plain) != size or not stream.eof or stream.unused_data:
        refuse(Reason.MALFORMED, f'features do not inflate to {size} bytes')
    if width == 1:
        return plain
    return bytes(np.frombuffer(plain, np.uint8).reshape(width, -1).T.tobytes())


def _check_values(
    features: NDArray[np.float32], covariance: NDArray[np.float64], limits: BevLimits
) -> None:
    for name, values in (('features', features), ('pose_covariance', covariance)):
        if not np.isfinite(values).all():
            refuse(Reason.NOT_FINITE, name)
    if np.abs(features).max() > limits.max_magnitude:
        refuse(Reason.OUT_OF_BOUNDS, f'features up to {np.abs(features).max():.3g}')
    if (np.diag(covariance) < 0).any():
        refuse(Reason.OUT_OF_BOUNDS, 'pose_covariance')
