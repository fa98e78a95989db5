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

"""Conversions room: cooptrack_msgs/BevFeature from and to the bytes on the air.

Both hold the same message. The packed features travel unchanged as ``data``; the rest is typed in
the ROS message. A received ROS message is put together as bytes and read by the one decoder there
is, so every check of the radio also holds for a ROS topic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cooptrack_core.errors import MessageError
from cooptrack_core.structures import BevFeature
from cooptrack_core.v2x import Reason, quantise
from cooptrack_core.v2x.bev_codec import BevLimits, BevPayload, decode_bev, pack_bev
from cooptrack_core.v2x.envelope import Dtype, Sender
from cooptrack_core.v2x.quantise import Encoding
from cooptrack_ros.conversions.message_types import MessageTypes
from cooptrack_ros.conversions.radio import (
    check_version,
    key_of,
    read_covariance,
    read_extensions,
    read_sender,
    sender_fields,
)

TYPE = 'cooptrack_msgs/msg/BevFeature'

_DTYPES: dict[Encoding, int] = {
    Encoding.FLOAT32: 1,
    Encoding.FLOAT16: 2,
    Encoding.INT8_ROWS: 3,
}
_WORDS: dict[Encoding, Dtype] = {
    Encoding.FLOAT32: 'fp32',
    Encoding.FLOAT16: 'fp16',
    Encoding.INT8_ROWS: 'int8',
}


def bev_to_message(
    types: MessageTypes,
    feature: BevFeature,
    dtype: Dtype = 'int8',
    *,
    deflate: bool = True,
    world_frame_id: str = 'map',
    frame_id: str | None = None,
    publish_stamp_ns: int = 0,
    clock_quality: int = 0,
) -> Any:
    """Make a BevFeature.

    Args:
        types: Where message classes come from.
        feature: What to send.
        dtype: Number format of the features.
        deflate: Also try lossless compression, and send what is smaller.
        world_frame_id: Name of the frame its pose is given in.
        frame_id: Name of the frame on which the map is centred; default ``<agent>/base_link``.
        publish_stamp_ns: When it is handed over; 0 = unknown.
        clock_quality: A CLOCK_ constant of the message.

    Raises:
        ValueError: The map cannot be sent, as ``encode_bev``.
    """
    payload = pack_bev(feature, dtype, deflate)
    return types.new(
        TYPE,
        **sender_fields(
            types,
            feature,
            frame_id=frame_id or f'{feature.agent_id}/base_link',
            world_frame_id=world_frame_id,
            publish_stamp_ns=publish_stamp_ns,
            clock_quality=clock_quality,
        ),
        shape=np.array([payload.channels, payload.rows, payload.columns], dtype=np.uint32),
        cell=float(payload.cell),
        dtype=_DTYPES[payload.encoding],
        deflated=payload.deflated,
        data=types.sequence(np.frombuffer(payload.body, dtype=np.uint8)),
        extension_keys=[],
        extension_sizes=types.sequence(np.zeros(0, dtype=np.uint32)),
        extension_data=types.sequence(np.zeros(0, dtype=np.uint8)),
    )


def bev_to_bytes(message: Any, limits: BevLimits | None = None) -> bytes:
    """Put a BevFeature together as bytes on the air.

    Raises:
        MessageError: The version is another, or sizes do not fit together.
    """
    limits = limits or BevLimits()
    check_version(message)
    read_extensions(message)  # none is known; but what claims to be one must be one
    data = bytes(memoryview(message.data).cast('B'))
    channels, rows, columns = (int(v) for v in message.shape)
    if len(data) > limits.max_bytes or channels * rows * columns > limits.max_values:
        raise MessageError(
            Reason.OVERSIZED, f'{len(data)} bytes, {channels} x {rows} x {columns} values'
        )
    encoding = key_of(_DTYPES, message.dtype, 'dtype')
    size = quantise.packed_size(encoding, channels, rows * columns)
    if not message.deflated and len(data) != size:
        raise MessageError(Reason.MALFORMED, f'{len(data)} bytes of features, {size} are due')
    if not np.isfinite(message.cell):
        raise MessageError(Reason.NOT_FINITE, 'cell')
    sender = Sender(dtype=_WORDS[encoding], **read_sender(message))
    try:
        payload = BevPayload(
            sender=sender,
            rows=rows,
            columns=columns,
            channels=channels,
            cell=float(message.cell),
            encoding=encoding,
            deflated=bool(message.deflated),
            body=data,
            pose_covariance=read_covariance(message),
        )
        return payload.seal()
    except MessageError:
        raise
    except ValueError as error:
        raise MessageError(Reason.MALFORMED, str(error)) from error


def bev_from_message(message: Any, limits: BevLimits | None = None) -> BevFeature:
    """Read and check a BevFeature.

    Raises:
        MessageError: Anything is wrong, as ``decode_bev``.
    """
    limits = limits or BevLimits()
    return decode_bev(bev_to_bytes(message, limits), limits)


def bev_size(message: Any) -> int:
    """Bytes the message takes on the air, for counters; also of a message that is refused."""
    return len(message.data) + len(message.extension_data) + 500
