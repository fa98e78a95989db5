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


"""Conversions room: cooptrack_msgs/InstanceFeatures from and to the bytes on the air.

Both hold the same message. The feature sections travel unchanged as ``data``; the rest is typed
in the ROS message, as float32. A received ROS message is put together as bytes and read by the
one decoder there is, so every check of the radio also holds for a ROS topic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.structures import InstanceMessage
from cooptrack_core.v2x import Limits, Reason, decode_message, encode_message, quantise
from cooptrack_core.v2x.checks import read_range
from cooptrack_core.v2x.codec import (
    Head,
    Section,
    compose,
    extension,
    read_head,
    read_sections,
)
from cooptrack_core.v2x.envelope import Dtype, covariance_section, section
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

TYPE = 'cooptrack_msgs/msg/InstanceFeatures'

_DTYPES: dict[Dtype, int] = {'fp32': 1, 'fp16': 2, 'int8': 3}
_ENCODINGS: dict[Dtype, Encoding] = {
    'fp32': Encoding.FLOAT32,
    'fp16': Encoding.FLOAT16,
    'int8': Encoding.INT8_ROWS,
}
_FEATURES = (Section.QUERY_FEATURES, Section.QUERY_EMBEDDINGS, Section.MOTION_FEATURES)


def features_to_message(
    types: MessageTypes,
    data: bytes,
    *,
    world_frame_id: str = 'map',
    frame_id: str | None = None,
    publish_stamp_ns: int = 0,
    clock_quality: int = 0,
) -> Any:
    """Make an InstanceFeatures from the bytes on the air.

    Args:
        types: Where message classes come from.
        data: An encoded message (``encode_message``).
        world_frame_id: Name of the frame its pose is given in.
        frame_id: Name of the sender's perception frame; default ``<agent>/lidar``.
        publish_stamp_ns: When it is handed over; 0 = unknown.
        clock_quality: A CLOCK_ constant of the message.

    Raises:
        MessageError: The bytes are damaged.
    """
    message = decode_message(data, Limits(max_bytes=max(len(data), 1)))
    head = read_head(data, Limits(max_bytes=len(data)))
    known, _ = read_sections(data, head, Limits(max_bytes=len(data)))
    dtype: Dtype = head.dtype
    if any(known[kind][0] != _ENCODINGS[dtype] for kind in _FEATURES):
        # A value too large for the format made the encoder send a stream as float32.
        dtype = 'fp32'
        known, _ = read_sections(*_again(message), Limits(max_bytes=2**40))
    boxes = message.boxes
    rows = np.concatenate([boxes.centers, boxes.sizes, boxes.yaws[:, None]], -1)
    names = sorted(message.extensions)
    return types.new(
        TYPE,
        **sender_fields(
            types,
            message,
            frame_id=frame_id or f'{message.agent_id}/lidar',
            world_frame_id=world_frame_id,
            publish_stamp_ns=publish_stamp_ns,
            clock_quality=clock_quality,
        ),
        perception_range=np.array(message.range.as_tuple()),
        shape=np.array([len(_FEATURES), head.n, head.d], dtype=np.uint32),
        dtype=_DTYPES[dtype],
        data=types.sequence(
            np.frombuffer(b''.join(known[kind][1] for kind in _FEATURES), dtype=np.uint8)
        ),
        reference_points=types.sequence(message.reference_points.astype(np.float32)),
        boxes=types.sequence(rows.astype(np.float32)),
        velocities=types.sequence(boxes.velocities.astype(np.float32)),
        class_count=head.c,
        class_scores=types.sequence(message.class_scores.astype(np.float32)),
        track_ids=types.sequence(message.track_ids.astype(np.int64).view(np.uint64)),
        extension_keys=names,
        extension_sizes=types.sequence(
            np.array([len(message.extensions[name]) for name in names], dtype=np.uint32)
        ),
        extension_data=types.sequence(
            np.frombuffer(b''.join(message.extensions[name] for name in names), dtype=np.uint8)
        ),
    )


def _again(message: InstanceMessage) -> tuple[bytes, Head]:
    data = encode_message(message, 'fp32')
    return data, read_head(data, Limits(max_bytes=len(data)))


def message_to_features(
    types: MessageTypes, message: InstanceMessage, dtype: Dtype = 'int8', **options: Any
) -> Any:
    """Make an InstanceFeatures from a message; options as ``features_to_message``.

    The message goes through the codec, so a receiver of the topic gets the very numbers that a
    receiver of the bytes gets.

    Raises:
        ValueError: The message cannot be sent.
    """
    return features_to_message(types, encode_message(message, dtype), **options)


def features_to_bytes(message: Any, limits: Limits | None = None) -> bytes:
    """Put an InstanceFeatures together as bytes on the air.

    Raises:
        MessageError: The version is another, or sizes do not fit together.
    """
    limits = limits or Limits()
    check_version(message)
    streams, n, d = (int(v) for v in message.shape)
    c = int(message.class_count)
    if n > limits.max_instances or d > limits.max_feature_size or c > limits.max_classes:
        raise MessageError(Reason.OVERSIZED, f'{n} instances x {d} features, {c} classes')
    dtype = key_of(_DTYPES, message.dtype, 'dtype')
    encoding = _ENCODINGS[dtype]
    size = quantise.packed_size(encoding, n, d)
    data = memoryview(message.data).cast('B')
    if streams != len(_FEATURES) or len(data) != streams * size:
        raise MessageError(Reason.MALFORMED, f'{len(data)} bytes for shape {[streams, n, d]}')
    if not np.isfinite(message.perception_range).all():
        raise MessageError(Reason.NOT_FINITE, 'range')
    head = Head(
        dtype=dtype,
        **read_sender(message),
        range=read_range([float(v) for v in message.perception_range]),
        n=n,
        d=d,
        c=c,
    )
    ids = _flat(message.track_ids, np.uint64, n, 'track_ids').view(np.int64)
    sections = [
        *(section(k, encoding, bytes(data[i * size : (i + 1) * size]))
          for i, k in enumerate(_FEATURES)),
        *(
            section(kind, Encoding.FLOAT32, _flat(values, np.float32, n * columns, name).tobytes())
            for kind, name, values, columns in (
                (Section.REFERENCE_POINTS, 'reference_points', message.reference_points, 3),
                (Section.BOXES, 'boxes', message.boxes, 7),
                (Section.VELOCITIES, 'velocities', message.velocities, 2),
                (Section.CLASS_SCORES, 'class_scores', message.class_scores, c),
            )
        ),
        section(Section.TRACK_IDS, *quantise.pack_ids(ids)),
    ]  # fmt: skip
    try:
        sections += covariance_section(read_covariance(message))
        sections += [extension(k, v) for k, v in read_extensions(message).items()]
        return compose(head, sections)
    except MessageError:
        raise
    except ValueError as error:
        raise MessageError(Reason.MALFORMED, str(error)) from error


def features_from_message(message: Any, limits: Limits | None = None) -> InstanceMessage:
    """Read and check an InstanceFeatures.

    Raises:
        MessageError: Anything is wrong, as ``decode_message``.
    """
    limits = limits or Limits()
    return decode_message(features_to_bytes(message, limits), limits)


def features_size(message: Any) -> int:
    """Bytes the message takes on the air, for counters; also of a message that is refused."""
    typed = sum(
        len(getattr(message, name)) * width
        for name, width in (
            ('data', 1), ('reference_points', 4), ('boxes', 4), ('velocities', 4),
            ('class_scores', 4), ('track_ids', 8), ('extension_data', 1),
        )
    )  # fmt: skip
    return typed + 500  # header, pose with covariance, range, names


def _flat(values: Any, dtype: Any, count: int, name: str) -> NDArray[Any]:
    if len(values) != count:
        raise MessageError(Reason.MALFORMED, f'{name} has {len(values)} values, not {count}')
    return np.asarray(values, dtype=dtype)
