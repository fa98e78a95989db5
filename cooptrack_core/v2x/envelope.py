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

"""V2X room: the outside of every message: who sent it, when, from where, and sections of bytes.

Layout, little endian: a fixed head, the two names, then sections.

    head      magic 4 bytes, major u8, minor u8, head length u16, total length u32, CRC32 u32,
              number format u8, role u8, reserved u16, session u64, sequence u32, capture time i64,
              pose 7 f64 (x y z, quaternion w x y z), fields of the kind of message,
              length of agent id u8, length of model id u8, reserved u8
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
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import SE3
from cooptrack_core.structures import Role
from cooptrack_core.v2x import quantise
from cooptrack_core.v2x.checks import read_pose, refuse
from cooptrack_core.v2x.quantise import Encoding
from cooptrack_core.v2x.reasons import Reason

Dtype = Literal['fp32', 'fp16', 'int8']

# Sections that every kind of message may have.
POSE_COVARIANCE = 9
NAMED_EXTENSION = 64
UNKNOWN_PREFIX = 'section:'
FEATURE_ENCODING: Mapping[Dtype, Encoding] = {
    'fp32': Encoding.FLOAT32,
    'fp16': Encoding.FLOAT16,
    'int8': Encoding.INT8_ROWS,
}

_HEAD = struct.Struct('<4sBBHIIBBHQIq7d')
_CRC_AT = 12
_NAMES = struct.Struct('<BBB')
_SECTION = struct.Struct('<BBI')
_ROLES = {Role.VEHICLE: 1, Role.ROADSIDE: 2}
_DTYPES: dict[Dtype, int] = {'fp32': 0, 'fp16': 1, 'int8': 2}
_UPPER = np.triu_indices(6)

# Known sections of a message by kind: encoding and body.
Sections = Mapping[int, tuple[int, memoryview]]


class Kind(NamedTuple):
    """A kind of message: how it begins, its version, and the format of its own head fields."""

    magic: bytes
    major: int
    minor: int
    fields: struct.Struct

    @property
    def head_size(self) -> int:
        """Bytes of the head without the names."""
        return _HEAD.size + self.fields.size + _NAMES.size


@dataclass(frozen=True)
class Sender:
    """What the head and the names say of every message."""

    dtype: Dtype
    agent_id: str
    model_id: str
    role: Role
    session_id: int
    sequence: int
    stamp_ns: int
    pose: SE3


def seal(kind: Kind, sender: Sender, fields: Iterable[Any], sections: Iterable[bytes]) -> bytes:
    """Join head, fields of the kind, names and ready sections (of ``section``) to a message.

    Raises:
        ValueError: A field does not fit the format.
    """
    agent, model = sender.agent_id.encode(), sender.model_id.encode()
    for what, number, low, high in (
        ('length of agent_id', len(agent), 1, 2**8), ('length of model_id', len(model), 0, 2**8),
        ('session_id', sender.session_id, 0, 2**64), ('sequence', sender.sequence, 0, 2**32),
        ('stamp_ns', sender.stamp_ns, -(2**63), 2**63),
    ):  # fmt: skip
        check_fits(what, number, low, high)
    body = b''.join(sections)
    head_length = kind.head_size + len(agent) + len(model)
    fixed = _HEAD.pack(
        kind.magic, kind.major, kind.minor, head_length, head_length + len(body), 0,
        _DTYPES[sender.dtype], _ROLES[sender.role], 0, sender.session_id, sender.sequence,
        sender.stamp_ns, *sender.pose.translation, *sender.pose.quaternion_wxyz,
    )  # fmt: skip
    names = _NAMES.pack(len(agent), len(model), 0) + agent + model
    data = fixed + kind.fields.pack(*fields) + names + body
    return data[:_CRC_AT] + struct.pack('<I', _crc(data)) + data[_CRC_AT + 4 :]


def check_fits(what: str, number: int, low: int, high: int) -> None:
    """Check a number of the head before it is sent.

    Raises:
        ValueError: It is not in [low, high).
    """
    if not low <= number < high:
        raise ValueError(f'{what} {number} does not fit the format ({low} to {high - 1})')


def _crc(data: bytes | memoryview) -> int:
    return zlib.crc32(data[_CRC_AT + 4 :], zlib.crc32(data[:_CRC_AT]))


def unseal(raw: bytes, kind: Kind) -> tuple[Sender, tuple[Any, ...], int]:
    """Read and check the head, the names and the CRC.

    Returns:
        What every message says, the fields of the kind (unchecked), and where sections begin.

    Raises:
        MessageError: As ``codec.decode_message``.
    """
    if len(raw) < kind.head_size:
        refuse(Reason.TRUNCATED, f'{len(raw)} bytes, the head alone has {kind.head_size}')
    (
        magic, major, _minor, length, total, crc, dtype, role, _reserved, session, sequence, stamp,
        *numbers,
    ) = _HEAD.unpack_from(raw)  # fmt: skip
    if magic != kind.magic:
        refuse(Reason.NOT_A_MESSAGE, f'magic {magic!r}')
    if major != kind.major:
        refuse(Reason.VERSION, f'schema version {major}, this reader knows {kind.major}')
    if len(raw) < total:
        refuse(Reason.TRUNCATED, f'{len(raw)} of {total} bytes')
    if len(raw) > total:
        refuse(Reason.OVERSIZED, f'{len(raw)} bytes where the head says {total}')
    if _crc(raw) != crc:
        refuse(Reason.CHECKSUM, 'CRC32 differs')
    fields = kind.fields.unpack_from(raw, _HEAD.size)
    agent_length, model_length, _ = _NAMES.unpack_from(raw, _HEAD.size + kind.fields.size)
    agent_end = kind.head_size + agent_length
    if not agent_end + model_length <= length <= total:
        refuse(Reason.MALFORMED, f'head length {length}')
    try:
        agent = raw[kind.head_size : agent_end].decode()
        model = raw[agent_end : agent_end + model_length].decode()
        word = {v: k for k, v in _DTYPES.items()}[dtype]
        side = {v: k for k, v in _ROLES.items()}[role]
    except (UnicodeDecodeError, KeyError) as error:
        raise MessageError(Reason.MALFORMED, f'head: {error!r}') from error
    if not agent:
        refuse(Reason.MALFORMED, 'the agent id is empty')
    if not np.isfinite(numbers).all():
        refuse(Reason.NOT_FINITE, 'pose')
    pose = read_pose(numbers[3:], numbers[:3])
    return Sender(word, agent, model, side, session, sequence, stamp, pose), fields, length


def section(kind: int, encoding: int, body: bytes) -> bytes:
    """Put the section head in front of a body."""
    return _SECTION.pack(kind, encoding, len(body)) + body


def read_sections(
    raw: bytes, at: int, known_kinds: Collection[int], max_sections: int
) -> tuple[dict[int, tuple[int, memoryview]], dict[str, bytes]]:
    """Split what follows the head into known sections (encoding, body) and extensions.

    Raises:
        MessageError: A section is cut off, comes twice, or there are too many.
    """
    view, count = memoryview(raw), 0
    known: dict[int, tuple[int, memoryview]] = {}
    extensions: dict[str, bytes] = {}
    while at < len(raw):
        count += 1
        if count > max_sections:
            refuse(Reason.OVERSIZED, f'more than {max_sections} sections')
        if at + _SECTION.size > len(raw):
            refuse(Reason.MALFORMED, 'a section head is cut off')
        kind, encoding, length = _SECTION.unpack_from(raw, at)
        at += _SECTION.size
        if at + length > len(raw):
            refuse(Reason.MALFORMED, f'section {kind} has {length} bytes, too many')
        body = view[at : at + length]
        at += length
        if kind == NAMED_EXTENSION:
            name, value = _read_extension(body)
        elif kind in known_kinds:
            if kind in known:
                refuse(Reason.MALFORMED, f'section {kind} comes twice')
            known[kind] = (encoding, body)
            continue
        else:
            name, value = f'{UNKNOWN_PREFIX}{kind}', bytes([encoding]) + bytes(body)
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
    if name.startswith(UNKNOWN_PREFIX):
        refuse(Reason.MALFORMED, f'extension name {name!r} is reserved')
    return name, bytes(body[1 + size :])


def table_body(
    sections: Sections, kind: int, rows: int, columns: int
) -> tuple[memoryview, Encoding]:
    """Body and encoding of a section that holds a table of this size.

    Raises:
        MessageError: The body has another size.
        ValueError: The encoding is unknown or has no fixed size.
    """
    code, data = sections[kind]
    encoding = Encoding(code)
    if len(data) != quantise.packed_size(encoding, rows, columns):
        refuse(Reason.MALFORMED, f'section {kind} has {len(data)} bytes')
    return data, encoding


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
    return [section(POSE_COVARIANCE, Encoding.FLOAT32, upper)]


def read_covariance(sections: Sections) -> NDArray[np.float64]:
    """Undo ``covariance_section``: (6, 6), zero where there is none; values are not checked.

    Raises:
        MessageError, ValueError: As ``table_body``.
    """
    covariance = np.zeros((6, 6))
    if POSE_COVARIANCE in sections:
        data, encoding = table_body(sections, POSE_COVARIANCE, 1, 21)
        covariance[_UPPER] = quantise.unpack_float(data, encoding, 1, 21)[0]
        covariance = covariance + np.triu(covariance, 1).T
    return covariance
