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


"""V2X room: the bytes on the air. An instance message in, a few hundred bytes per instance out.

Layout as ``envelope`` says, magic 'CTIM'. Fields of the head: range 6 f64, instances u16, feature
size u16, classes u8. The sections are those of ``Section``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import SE3, Boxes3D, PerceptionRange
from cooptrack_core.structures import InstanceMessage, Role
from cooptrack_core.v2x import envelope, quantise
from cooptrack_core.v2x.bev_extension import read_bev
from cooptrack_core.v2x.checks import Limits, check_boxes, check_values, read_range, refuse
from cooptrack_core.v2x.compact import COMPACT_MAGIC, decode_compact, encode_compact
from cooptrack_core.v2x.envelope import Dtype, Sections, covariance_section, section
from cooptrack_core.v2x.feature_code import FeatureCode
from cooptrack_core.v2x.flow import read_flow
from cooptrack_core.v2x.quantise import Encoding
from cooptrack_core.v2x.reasons import Reason

# What can go over the air: the general form in one of its number formats, or the compact form.
Wire = Literal['fp32', 'fp16', 'int8', 'compact']

MAGIC = b'CTIM'
VERSION_MAJOR = 1
VERSION_MINOR = 0

_KIND = envelope.Kind(MAGIC, VERSION_MAJOR, VERSION_MINOR, struct.Struct('<6dHHB'))


class Section(IntEnum):
    """What a section holds."""

    QUERY_FEATURES = 1
    QUERY_EMBEDDINGS = 2
    MOTION_FEATURES = 3
    REFERENCE_POINTS = 4
    BOXES = 5
    VELOCITIES = 6
    CLASS_SCORES = 7
    TRACK_IDS = 8
    POSE_COVARIANCE = envelope.POSE_COVARIANCE
    NAMED_EXTENSION = envelope.NAMED_EXTENSION


_REQUIRED = tuple(s for s in Section if s <= Section.TRACK_IDS)
_KNOWN = frozenset(int(s) for s in Section)


@dataclass(frozen=True)
class Head:
    """What the head and the names say; ``length`` is where the sections begin."""

    dtype: Dtype
    agent_id: str
    model_id: str
    role: Role
    session_id: int
    sequence: int
    stamp_ns: int
    pose: SE3
    range: PerceptionRange
    n: int
    d: int
    c: int
    length: int = 0


def encode_message(
    message: InstanceMessage, dtype: Wire = 'int8', code: FeatureCode | None = None
) -> bytes:
    """Encode a message.

    Args:
        message: What to send.
        dtype: Number format of the features. With 'fp32' all else is float32 too; with the
            others, reference points, boxes, velocities and scores take 16 bit per number (their
            errors are told in ``quantise``). 'compact' is the short form of ``compact``.
        code: Of the sender's model; the compact form needs it.

    Returns:
        The bytes on the air.

    Raises:
        ValueError: The message cannot be sent: a value is not finite (velocities may be NaN),
            the covariance is not symmetric, or a name or count is too large for the format; or
            the compact form is wanted without a code.
    """
    if dtype == 'compact':
        if code is None:
            raise ValueError("the compact form needs the feature code of the sender's model")
        return encode_compact(message, code)
    if dtype not in get_args(Dtype):
        raise ValueError(f'dtype {dtype!r} is none of {get_args(Dtype)}')
    n, d = message.query_features.shape
    head = Head(
        dtype, message.agent_id, message.model_id, message.role, message.session_id,
        message.sequence, message.stamp_ns, message.world_SE3_agent, message.range,
        n, d, message.class_scores.shape[1],
    )  # fmt: skip
    return compose(head, _sections(message, dtype))


def compose(head: Head, sections: Iterable[bytes]) -> bytes:
    """Join a head and ready sections (of ``section``) to the bytes on the air.

    Raises:
        ValueError: A field does not fit the format.
    """
    for what, number, high in (
        ('instances', head.n, 2**16), ('feature size', head.d, 2**16), ('classes', head.c, 2**8),
    ):  # fmt: skip
        envelope.check_fits(what, number, 0, high)
    sender = envelope.Sender(
        head.dtype, head.agent_id, head.model_id, head.role, head.session_id, head.sequence,
        head.stamp_ns, head.pose,
    )  # fmt: skip
    return envelope.seal(_KIND, sender, (*head.range.as_tuple(), head.n, head.d, head.c), sections)


def _sections(message: InstanceMessage, dtype: Dtype) -> list[bytes]:
    compact = dtype != 'fp32'
    feature = envelope.FEATURE_ENCODING[dtype]
    unit = Encoding.UNIT16 if compact else Encoding.FLOAT32
    half = Encoding.FLOAT16 if compact else Encoding.FLOAT32
    boxes = message.boxes
    rows = np.concatenate([boxes.centers, boxes.sizes, boxes.yaws[:, None]], -1)
    for name in (
        'query_features', 'query_embeddings', 'motion_features', 'reference_points',
        'class_scores',
    ):  # fmt: skip
        if not np.isfinite(getattr(message, name)).all():
            raise ValueError(f'{name} holds a value that is not finite')
    if np.isinf(boxes.velocities).any():
        raise ValueError('boxes.velocities is infinite; NaN means unknown')
    out = [
        section(Section.QUERY_FEATURES, *quantise.pack_float(message.query_features, feature)),
        section(Section.QUERY_EMBEDDINGS, *quantise.pack_float(message.query_embeddings, feature)),
        section(Section.MOTION_FEATURES, *quantise.pack_float(message.motion_features, feature)),
        section(Section.REFERENCE_POINTS, *quantise.pack_float(message.reference_points, unit)),
        section(Section.BOXES, *quantise.pack_boxes(rows, message.range, compact)),
        section(Section.VELOCITIES, *quantise.pack_float(boxes.velocities, half)),
        section(Section.CLASS_SCORES, *quantise.pack_float(message.class_scores, unit)),
        section(Section.TRACK_IDS, *quantise.pack_ids(message.track_ids)),
    ]
    out.extend(covariance_section(message.pose_covariance))
    out.extend(extension(name, body) for name, body in sorted(message.extensions.items()))
    return out


def extension(name: str, body: bytes) -> bytes:
    """Write a named extension as a section.

    Raises:
        ValueError: The name is empty or longer than 255 bytes.
    """
    if name.startswith(
        envelope.UNKNOWN_PREFIX
    ):  # received from a newer sender, passed on as it came
        number = name.removeprefix(envelope.UNKNOWN_PREFIX)
        if not number.isdecimal() or int(number) > 255 or int(number) in _KNOWN or not body:
            raise ValueError(f'extension {name!r} is no unknown section of a newer sender')
        return section(int(number), body[0], body[1:])
    key = name.encode()
    if not 0 < len(key) < 256:
        raise ValueError(f'extension name {name!r} must have 1 to 255 bytes')
    return section(Section.NAMED_EXTENSION, Encoding.BYTES, bytes([len(key)]) + key + body)


def decode_message(
    data: bytes | bytearray | memoryview,
    limits: Limits | None = None,
    code: FeatureCode | None = None,
) -> InstanceMessage:
    """Decode and check a message of a peer.

    Args:
        data: The bytes on the air.
        limits: What is taken at most.
        code: Of the sender's model, for compact messages; without it they are refused.

    Returns:
        The message; every value finite and physically possible, but not yet checked for model,
        age and order (``inbox`` does that).

    Raises:
        MessageError: Anything is wrong; ``reason`` is one of ``Reason``.
    """
    limits = limits or Limits()
    if len(data) > limits.max_bytes:
        refuse(Reason.OVERSIZED, f'{len(data)} bytes, at most {limits.max_bytes} are taken')
    raw = bytes(data)
    if raw[: len(COMPACT_MAGIC)] == COMPACT_MAGIC:
        message = decode_compact(raw, limits, code)
        check_values(message)
        return message
    head = read_head(raw, limits)
    sections, extensions = read_sections(raw, head, limits)
    try:
        # NaN and infinity pass the casts in silence: check_values refuses them by name.
        with np.errstate(invalid='ignore', over='ignore'):
            message = _assemble(head, sections, extensions)
            check_values(message)
            read_flow(message)
            read_bev(message)
    except MessageError:
        raise
    except (ValueError, OverflowError) as error:
        raise MessageError(Reason.MALFORMED, str(error)) from error
    return message


def message_dtype(data: bytes | memoryview) -> Dtype:
    """Return the feature dtype a message's head names.

    Raises:
        MessageError: The head is damaged.
    """
    return read_head(bytes(data), Limits(max_bytes=len(data))).dtype


def read_head(raw: bytes, limits: Limits) -> Head:
    """Read and check the head, the names and the CRC.

    Raises:
        MessageError: As ``decode_message``.
    """
    sender, fields, length = envelope.unseal(raw, _KIND)
    *around, n, d, c = fields
    if n > limits.max_instances or d > limits.max_feature_size or c > limits.max_classes:
        refuse(Reason.OVERSIZED, f'{n} instances x {d} features, {c} classes')
    if not np.isfinite(around).all():
        refuse(Reason.NOT_FINITE, 'range')
    return Head(
        sender.dtype, sender.agent_id, sender.model_id, sender.role, sender.session_id,
        sender.sequence, sender.stamp_ns, sender.pose, read_range(around), n, d, c, length,
    )  # fmt: skip


def read_sections(
    raw: bytes, head: Head, limits: Limits
) -> tuple[dict[int, tuple[int, memoryview]], dict[str, bytes]]:
    """Split what follows the head into known sections (encoding, body) and extensions.

    Raises:
        MessageError: A section is cut off, comes twice, or there are too many.
    """
    return envelope.read_sections(raw, head.length, _KNOWN, limits.max_sections)


def _assemble(head: Head, sections: Sections, extensions: dict[str, bytes]) -> InstanceMessage:
    for kind in _REQUIRED:
        if kind not in sections:
            refuse(Reason.MALFORMED, f'section {kind.name} is missing')

    def body(kind: Section, columns: int) -> tuple[memoryview, Encoding]:
        return envelope.table_body(sections, kind, head.n, columns)

    def numbers(kind: Section, columns: int) -> NDArray[np.float32]:
        return quantise.unpack_float(*body(kind, columns), head.n, columns)

    boxes = quantise.unpack_boxes(*body(Section.BOXES, 7), head.n, head.range)
    check_boxes(boxes)
    velocities = numbers(Section.VELOCITIES, 2).astype(np.float64)
    return InstanceMessage(
        agent_id=head.agent_id,
        role=head.role,
        model_id=head.model_id,
        session_id=head.session_id,
        sequence=head.sequence,
        stamp_ns=head.stamp_ns,
        world_SE3_agent=head.pose,
        pose_covariance=envelope.read_covariance(sections),
        range=head.range,
        query_features=numbers(Section.QUERY_FEATURES, head.d),
        query_embeddings=numbers(Section.QUERY_EMBEDDINGS, head.d),
        motion_features=numbers(Section.MOTION_FEATURES, head.d),
        reference_points=numbers(Section.REFERENCE_POINTS, 3),
        boxes=Boxes3D(boxes[:, :3], boxes[:, 3:6], boxes[:, 6], velocities),
        class_scores=numbers(Section.CLASS_SCORES, head.c),
        track_ids=quantise.unpack_ids(*body(Section.TRACK_IDS, 1)),
        extensions=extensions,
    )
