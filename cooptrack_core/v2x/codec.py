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

Layout, little endian: a fixed head, the two names, then sections.

    head      magic 'CTIM', major u8, minor u8, head length u16, total length u32, CRC32 u32,
              feature dtype u8, role u8, reserved u16, session u64, sequence u32, capture time i64,
              pose 7 f64 (x y z, quaternion w x y z), range 6 f64, instances u16, feature size u16,
              classes u8, length of agent id u8, length of model id u8, reserved u8
    names     agent id, model id (UTF-8)
    section   kind u8, encoding u8, length u32, body

A reader refuses another major version. A newer minor version may add fields after the names (the
head length says where the sections begin) and add sections: a reader skips the former and keeps
the latter as extensions, so fields can be added without breaking old readers. The CRC covers all
bytes but its own four; it finds damage, it is no protection against forgery.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import SE3, Boxes3D, PerceptionRange
from cooptrack_core.structures import InstanceMessage, Role
from cooptrack_core.v2x import quantise
from cooptrack_core.v2x.bev_extension import read_bev
from cooptrack_core.v2x.checks import (
    Limits,
    check_boxes,
    check_values,
    read_pose,
    read_range,
    refuse,
)
from cooptrack_core.v2x.compact import COMPACT_MAGIC, decode_compact, encode_compact
from cooptrack_core.v2x.feature_code import FeatureCode
from cooptrack_core.v2x.flow import read_flow
from cooptrack_core.v2x.quantise import Encoding
from cooptrack_core.v2x.reasons import Reason

Dtype = Literal['fp32', 'fp16', 'int8']
# What can go over the air: the general form in one of its number formats, or the compact form.
Wire = Literal['fp32', 'fp16', 'int8', 'compact']

MAGIC = b'CTIM'
VERSION_MAJOR = 1
VERSION_MINOR = 0

_HEAD = struct.Struct('<4sBBHIIBBHQIq7d6dHHBBBB')
_CRC_AT = 12
_SECTION = struct.Struct('<BBI')
_ROLES = {Role.VEHICLE: 1, Role.ROADSIDE: 2}
_DTYPES: dict[str, int] = {'fp32': 0, 'fp16': 1, 'int8': 2}
_FEATURE_ENCODING = {
    'fp32': Encoding.FLOAT32,
    'fp16': Encoding.FLOAT16,
    'int8': Encoding.INT8_ROWS,
}
_UPPER = np.triu_indices(6)


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
    POSE_COVARIANCE = 9
    NAMED_EXTENSION = 64


_REQUIRED = tuple(s for s in Section if s <= Section.TRACK_IDS)
_KNOWN = frozenset(int(s) for s in Section)
_UNKNOWN_PREFIX = 'section:'


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
    agent, model = head.agent_id.encode(), head.model_id.encode()
    for what, number, low, high in (
        ('length of agent_id', len(agent), 1, 2**8), ('length of model_id', len(model), 0, 2**8),
        ('instances', head.n, 0, 2**16), ('feature size', head.d, 0, 2**16),
        ('classes', head.c, 0, 2**8), ('session_id', head.session_id, 0, 2**64),
        ('sequence', head.sequence, 0, 2**32), ('stamp_ns', head.stamp_ns, -(2**63), 2**63),
    ):  # fmt: skip
        if not low <= number < high:
            raise ValueError(f'{what} {number} does not fit the format ({low} to {high - 1})')
    body = b''.join(sections)
    head_length = _HEAD.size + len(agent) + len(model)
    fixed = _HEAD.pack(
        MAGIC, VERSION_MAJOR, VERSION_MINOR, head_length, head_length + len(body), 0,
        _DTYPES[head.dtype], _ROLES[head.role], 0, head.session_id, head.sequence,
        head.stamp_ns, *head.pose.translation, *head.pose.quaternion_wxyz,
        *head.range.as_tuple(), head.n, head.d, head.c, len(agent), len(model), 0,
    )  # fmt: skip
    return _with_crc(fixed + agent + model + body)


def _with_crc(data: bytes) -> bytes:
    return data[:_CRC_AT] + struct.pack('<I', _crc(data)) + data[_CRC_AT + 4 :]


def _crc(data: bytes | memoryview) -> int:
    return zlib.crc32(data[_CRC_AT + 4 :], zlib.crc32(data[:_CRC_AT]))


def _sections(message: InstanceMessage, dtype: Dtype) -> list[bytes]:
    compact = dtype != 'fp32'
    feature = _FEATURE_ENCODING[dtype]
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


def covariance_section(matrix: NDArray[np.float64]) -> list[bytes]:
    """Write the upper triangle; a zero matrix (unknown) costs nothing.

    Raises:
        ValueError: The matrix is not (6, 6), finite and symmetric.
    """
    covariance = np.asarray(matrix, dtype=np.float64)
    if covariance.shape != (6, 6) or not (np.abs(covariance) < 1e30).all():
        raise ValueError('pose_covariance is no finite (6, 6) matrix')
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-12):
        raise ValueError('pose_covariance is not symmetric')
    if not covariance.any():
        return []
    upper = covariance[_UPPER].astype('<f4').tobytes()
    return [section(Section.POSE_COVARIANCE, Encoding.FLOAT32, upper)]


def section(kind: int, encoding: int, body: bytes) -> bytes:
    """Put the section head in front of a body."""
    return _SECTION.pack(kind, encoding, len(body)) + body


def extension(name: str, body: bytes) -> bytes:
    """Write a named extension as a section.

    Raises:
        ValueError: The name is empty or longer than 255 bytes.
    """
    if name.startswith(_UNKNOWN_PREFIX):  # received from a newer sender, passed on as it came
        number = name.removeprefix(_UNKNOWN_PREFIX)
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
    if len(raw) < _HEAD.size:
        refuse(Reason.TRUNCATED, f'{len(raw)} bytes, the head alone has {_HEAD.size}')
    (
        magic, major, _minor, length, total, crc, dtype, role, _reserved, session, sequence, stamp,
        *numbers, n, d, c, agent_length, model_length, _reserved2,
    ) = _HEAD.unpack_from(raw)  # fmt: skip
    if magic != MAGIC:
        refuse(Reason.NOT_A_MESSAGE, f'magic {magic!r}')
    if major != VERSION_MAJOR:
        refuse(Reason.VERSION, f'schema version {major}, this reader knows {VERSION_MAJOR}')
    if len(raw) < total:
        refuse(Reason.TRUNCATED, f'{len(raw)} of {total} bytes')
    if len(raw) > total:
        refuse(Reason.OVERSIZED, f'{len(raw)} bytes where the head says {total}')
    if _crc(raw) != crc:
        refuse(Reason.CHECKSUM, 'CRC32 differs')
    names_end = _HEAD.size + agent_length + model_length
    if not names_end <= length <= total:
        refuse(Reason.MALFORMED, f'head length {length}')
    if n > limits.max_instances or d > limits.max_feature_size or c > limits.max_classes:
        refuse(Reason.OVERSIZED, f'{n} instances x {d} features, {c} classes')
    try:
        agent = raw[_HEAD.size : _HEAD.size + agent_length].decode()
        model = raw[_HEAD.size + agent_length : names_end].decode()
        word = {v: k for k, v in _DTYPES.items()}[dtype]
        kind = {v: k for k, v in _ROLES.items()}[role]
    except (UnicodeDecodeError, KeyError) as error:
        raise MessageError(Reason.MALFORMED, f'head: {error!r}') from error
    if not agent:
        refuse(Reason.MALFORMED, 'the agent id is empty')
    if not np.isfinite(numbers).all():
        refuse(Reason.NOT_FINITE, 'pose or range')
    pose, around = read_pose(numbers[3:7], numbers[:3]), read_range(numbers[7:13])
    return Head(
        word,  # type: ignore[arg-type]  # the keys of _DTYPES are the words of Dtype
        agent, model, kind, session, sequence, stamp, pose, around, n, d, c, length,
    )  # fmt: skip


def read_sections(
    raw: bytes, head: Head, limits: Limits
) -> tuple[dict[int, tuple[int, memoryview]], dict[str, bytes]]:
    """Split what follows the head into known sections (encoding, body) and extensions.

    Raises:
        MessageError: A section is cut off, comes twice, or there are too many.
    """
    view, at, count = memoryview(raw), head.length, 0
    known: dict[int, tuple[int, memoryview]] = {}
    extensions: dict[str, bytes] = {}
    while at < len(raw):
        count += 1
        if count > limits.max_sections:
            refuse(Reason.OVERSIZED, f'more than {limits.max_sections} sections')
        if at + _SECTION.size > len(raw):
            refuse(Reason.MALFORMED, 'a section head is cut off')
        kind, encoding, length = _SECTION.unpack_from(raw, at)
        at += _SECTION.size
        if at + length > len(raw):
            refuse(Reason.MALFORMED, f'section {kind} has {length} bytes, too many')
        body = view[at : at + length]
        at += length
        if kind == Section.NAMED_EXTENSION:
            name, value = _read_extension(body)
        elif kind in _KNOWN:
            if kind in known:
                refuse(Reason.MALFORMED, f'section {kind} comes twice')
            known[kind] = (encoding, body)
            continue
        else:
            name, value = f'{_UNKNOWN_PREFIX}{kind}', bytes([encoding]) + bytes(body)
        if name in extensions:
            refuse(Reason.MALFORMED, f'extension {name!r} comes twice')
        extensions[name] = value
    return known, extensions


def _read_extension(body: memoryview) -> tuple[str, bytes]:
    size = body[0] if len(body) else 0
    if not size or 1 + size > len(body):
        refuse(Reason.MALFORMED, 'extension without a name')
    try:
        name = bytes(body[1 : 1 + size]).decode()
    except UnicodeDecodeError as error:
        raise MessageError(Reason.MALFORMED, f'extension name: {error}') from error
    if name.startswith(_UNKNOWN_PREFIX):
        refuse(Reason.MALFORMED, f'extension name {name!r} is reserved')
    return name, bytes(body[1 + size :])


def _assemble(
    head: Head, sections: dict[int, tuple[int, memoryview]], extensions: dict[str, bytes]
) -> InstanceMessage:
    for kind in _REQUIRED:
        if kind not in sections:
            refuse(Reason.MALFORMED, f'section {kind.name} is missing')

    def body(kind: Section, columns: int, rows: int = head.n) -> tuple[memoryview, Encoding]:
        code, data = sections[kind]
        encoding = Encoding(code)
        if len(data) != quantise.packed_size(encoding, rows, columns):
            refuse(Reason.MALFORMED, f'section {kind.name} has {len(data)} bytes')
        return data, encoding

    def numbers(kind: Section, columns: int) -> NDArray[np.float32]:
        return quantise.unpack_float(*body(kind, columns), head.n, columns)

    boxes = quantise.unpack_boxes(*body(Section.BOXES, 7), head.n, head.range)
    check_boxes(boxes)
    velocities = numbers(Section.VELOCITIES, 2).astype(np.float64)
    covariance = np.zeros((6, 6))
    if Section.POSE_COVARIANCE in sections:
        data, encoding = body(Section.POSE_COVARIANCE, 21, rows=1)
        covariance[_UPPER] = quantise.unpack_float(data, encoding, 1, 21)[0]
        covariance = covariance + np.triu(covariance, 1).T
    return InstanceMessage(
        agent_id=head.agent_id,
        role=head.role,
        model_id=head.model_id,
        session_id=head.session_id,
        sequence=head.sequence,
        stamp_ns=head.stamp_ns,
        world_SE3_agent=head.pose,
        pose_covariance=covariance,
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
