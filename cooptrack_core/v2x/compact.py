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

"""V2X room: the compact form of a message, about 30 bytes per instance.

Features go through the model's own ``FeatureCode``, everything else in as few bits as its error
allows; what follows from the rest (reference points) is not sent. Layout, little endian:

    head      magic 'CTIC', version u8, role u8, bytes of agent id u8, bytes of model id u8,
              CRC32 u32, session u64, sequence u32, capture time i64, position 3 f64,
              quaternion w x y z 4 i16 / 32767, range 6 i16 in centimetres, instances u16,
              feature size u16, classes u8, flags u8 (bit 0: pose covariance follows)
    names     agent id, model id (UTF-8)
    state     one row of bits per instance, see ``_state_widths``
    features  one row of bits per instance, widths of the code
    covariance 21 f16, upper triangle of the pose covariance, if flagged

Errors: 8 mm in x and y over a range of 128 m (the extent over 2^14), 2 cm in z, 2.5 cm in length,
2 cm in width and height, 0.35 degrees, 5 cm/s, 0.8 % of a score; an id is sent modulo 2^20.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import Boxes3D, PerceptionRange
from cooptrack_core.structures import InstanceMessage, Role
from cooptrack_core.v2x.bits import pack_bits, packed_bytes, unpack_bits
from cooptrack_core.v2x.checks import Limits, check_boxes, read_pose, read_range, refuse
from cooptrack_core.v2x.feature_code import FeatureCode
from cooptrack_core.v2x.reasons import Reason

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

COMPACT_MAGIC = b'CTIC'
_VERSION = 1
_HEAD = struct.Struct('<4sBBBBIQIq3d4h6hHHBB')
_CRC_AT = 8
_ROLES = {Role.VEHICLE: 1, Role.ROADSIDE: 2}
_HAS_COVARIANCE = 1
_UPPER = np.triu_indices(6)

_PLACE_BITS = 15  # over the range and half of it again to either side
_Z_BITS, _Z_STEP = 9, 0.04
_SIZE_BITS, _SIZE_STEPS = (9, 8, 8), np.array([0.05, 0.04, 0.04])
_YAW_BITS = 9
_SPEED_BITS, _SPEED_STEP = 10, 0.1
_SCORE_BITS = 6
_ID_BITS = 20


def _state_widths(classes: int) -> tuple[int, ...]:
    """Bits per instance: x y z, sizes, yaw, velocity known, velocity x y, scores, id."""
    return (
        _PLACE_BITS, _PLACE_BITS, _Z_BITS, *_SIZE_BITS, _YAW_BITS, 1, _SPEED_BITS, _SPEED_BITS,
        *[_SCORE_BITS] * classes, _ID_BITS,
    )  # fmt: skip


def encode_compact(message: InstanceMessage, code: FeatureCode) -> bytes:
    """Encode a message in its compact form.

    Values outside what the bits can hold are clipped to the nearest that they can: places beyond
    twice the range, sizes above 25 m, speeds above 51 m/s. Extensions are not sent.

    Args:
        message: What to send.
        code: Of the sender's model.

    Raises:
        ValueError: The features are of another size than the code, or a name is too long.
    """
    n, d = message.query_features.shape
    classes = message.class_scores.shape[1]
    agent, model = message.agent_id.encode(), message.model_id.encode()
    if d != code.size:
        raise ValueError(f'features of {d} numbers, the code is for {code.size}')
    if not 0 < len(agent) < 256 or len(model) > 255 or n >= 2**16 or classes > 255:
        raise ValueError('a name or a count does not fit the format')
    features = np.concatenate(
        [message.query_features, message.query_embeddings, message.motion_features], 1
    )
    if not np.isfinite(features).all():
        raise ValueError('a feature is not finite')
    pose = message.world_SE3_agent
    quaternion = np.rint(np.asarray(pose.quaternion_wxyz) * 32767).astype(int)
    extent = np.rint(np.asarray(message.range.as_tuple()) * 100).astype(int)
    covariance = b''
    if message.pose_covariance.any():
        upper = np.clip(message.pose_covariance[_UPPER], -6e4, 6e4)
        covariance = upper.astype('<f2').tobytes()
    # Receiver and sender must read the places over one window: the rounded range.
    window = PerceptionRange(*(extent / 100.0))
    head = _HEAD.pack(
        COMPACT_MAGIC, _VERSION, _ROLES[message.role], len(agent), len(model), 0,
        message.session_id, message.sequence, message.stamp_ns, *pose.translation, *quaternion,
        *extent, n, d, classes, _HAS_COVARIANCE if covariance else 0,
    )  # fmt: skip
    body = (
        pack_bits(_state(message, window), _state_widths(classes))
        + pack_bits(code.encode(features), code.bits.tolist())
        + covariance
    )
    return _with_crc(head + agent + model + body)


def decode_compact(data: bytes, limits: Limits, code: FeatureCode | None) -> InstanceMessage:
    """Decode a compact message; sizes are checked before anything is allocated.

    Args:
        data: The bytes on the air, not longer than ``limits.max_bytes``.
        limits: What is taken at most.
        code: Of the sender's model; None refuses every compact message.

    Raises:
        MessageError: Anything is wrong.
    """
    if len(data) < _HEAD.size:
        refuse(Reason.TRUNCATED, f'{len(data)} bytes, the head alone has {_HEAD.size}')
    (
        _magic, version, role, agent_length, model_length, crc, session, sequence, stamp,
        *numbers, n, d, classes, flags,
    ) = _HEAD.unpack_from(data)  # fmt: skip
    if version != _VERSION:
        refuse(Reason.VERSION, f'compact form {version}, this reader knows {_VERSION}')
    if _crc(data) != crc:
        refuse(Reason.CHECKSUM, 'CRC32 differs')
    if n > limits.max_instances or d > limits.max_feature_size or classes > limits.max_classes:
        refuse(Reason.OVERSIZED, f'{n} instances x {d} features, {classes} classes')
    if code is None or code.size != d:
        refuse(Reason.MODEL, 'a compact message, and no feature code for its sender')
    widths = _state_widths(classes)
    state_at = _HEAD.size + agent_length + model_length
    code_at = state_at + packed_bytes(n, widths)
    end = code_at + packed_bytes(n, code.bits.tolist())
    total = end + (2 * len(_UPPER[0]) if flags & _HAS_COVARIANCE else 0)
    if len(data) != total:
        reason = Reason.TRUNCATED if len(data) < total else Reason.OVERSIZED
        refuse(reason, f'{len(data)} bytes where {total} are due')
    try:
        agent = data[_HEAD.size : _HEAD.size + agent_length].decode()
        model = data[_HEAD.size + agent_length : state_at].decode()
        kind = {v: k for k, v in _ROLES.items()}[role]
        state = unpack_bits(data[state_at:code_at], n, widths)
        levels = unpack_bits(data[code_at:end], n, code.bits.tolist())
    except (UnicodeDecodeError, KeyError, ValueError) as error:
        raise MessageError(Reason.MALFORMED, f'compact form: {error!r}') from error
    if not agent or not np.isfinite(numbers[:3]).all():
        refuse(Reason.MALFORMED, 'agent id or position')
    covariance = np.zeros((6, 6))
    if flags & _HAS_COVARIANCE:
        covariance[_UPPER] = np.frombuffer(data, '<f2', offset=end)
        covariance = covariance + np.triu(covariance, 1).T
    quaternion = np.asarray(numbers[3:7]) / 32767.0
    norm = float(np.linalg.norm(quaternion))
    if abs(norm - 1.0) > 1e-3:
        refuse(Reason.OUT_OF_BOUNDS, f'quaternion {quaternion}')
    around = read_range([c / 100.0 for c in numbers[7:13]])
    boxes, scores, ids = _read_state(state, around, classes)
    features = code.decode(levels)
    bottom = boxes.centers - np.array([0.0, 0.0, 0.5]) * boxes.sizes
    return InstanceMessage(
        agent_id=agent,
        role=kind,
        model_id=model,
        session_id=session,
        sequence=sequence,
        stamp_ns=stamp,
        world_SE3_agent=read_pose((quaternion / norm).tolist(), numbers[:3]),
        pose_covariance=covariance,
        range=around,
        query_features=features[:, :d],
        query_embeddings=features[:, d : 2 * d],
        motion_features=features[:, 2 * d :],
        reference_points=around.normalise(bottom).astype(np.float32),
        boxes=boxes,
        class_scores=scores,
        track_ids=ids,
    )


def compact_size(data: bytes) -> tuple[int, int]:
    """Bytes that do not grow with the instances, and the number of instances.

    Raises:
        MessageError: The head is cut off.
    """
    if len(data) < _HEAD.size:
        refuse(Reason.TRUNCATED, f'{len(data)} bytes')
    fields = _HEAD.unpack_from(data)
    covariance = 2 * len(_UPPER[0]) if fields[-1] & _HAS_COVARIANCE else 0
    return _HEAD.size + fields[3] + fields[4] + covariance, int(fields[-4])


def _state(message: InstanceMessage, around: PerceptionRange) -> I64:
    boxes = message.boxes
    low, span = _window(around)
    places = (boxes.centers[:, :2] - low[:2]) / span[:2] * 2**_PLACE_BITS
    height = (boxes.centers[:, 2:] - around.z_min) / _Z_STEP
    sizes = boxes.sizes / _SIZE_STEPS
    yaw = boxes.yaws[:, None] / (2 * np.pi) * 2**_YAW_BITS
    known = np.isfinite(boxes.velocities).all(1, keepdims=True)
    speeds = np.nan_to_num(boxes.velocities) / _SPEED_STEP + 2 ** (_SPEED_BITS - 1)
    scores = message.class_scores.astype(np.float64) * (2**_SCORE_BITS - 1)

    def whole(values: F64, bits: int, least: int = 0) -> I64:
        out: I64 = np.clip(np.rint(values), least, 2**bits - 1).astype(np.int64)
        return out

    return np.concatenate(
        [
            np.clip(np.floor(places), 0, 2**_PLACE_BITS - 1).astype(np.int64),
            whole(height, _Z_BITS),
            *(whole(sizes[:, k : k + 1], bits, 1) for k, bits in enumerate(_SIZE_BITS)),
            np.rint(yaw).astype(np.int64) % 2**_YAW_BITS,
            known.astype(np.int64),
            whole(speeds, _SPEED_BITS),
            whole(scores, _SCORE_BITS),
            message.track_ids[:, None] % 2**_ID_BITS,
        ],
        1,
    )


def _read_state(
    state: I64, around: PerceptionRange, classes: int
) -> tuple[Boxes3D, NDArray[np.float32], I64]:
    low, span = _window(around)
    numbers = state.astype(np.float64)
    centers = np.empty((len(state), 3))
    centers[:, :2] = low[:2] + (numbers[:, :2] + 0.5) / 2**_PLACE_BITS * span[:2]
    centers[:, 2] = around.z_min + numbers[:, 2] * _Z_STEP
    sizes = numbers[:, 3:6] * _SIZE_STEPS
    yaws = numbers[:, 6] / 2**_YAW_BITS * 2 * np.pi
    velocities = (numbers[:, 8:10] - 2 ** (_SPEED_BITS - 1)) * _SPEED_STEP
    velocities[state[:, 7] == 0] = np.nan
    check_boxes(np.concatenate([centers, sizes, yaws[:, None]], 1))
    scores = (numbers[:, 10 : 10 + classes] / (2**_SCORE_BITS - 1)).astype(np.float32)
    return Boxes3D(centers, sizes, yaws, velocities), scores, state[:, 10 + classes]


def _window(around: PerceptionRange) -> tuple[F64, F64]:
    return around.minimum - around.extent / 2, around.extent * 2


def _with_crc(data: bytes) -> bytes:
    return data[:_CRC_AT] + struct.pack('<I', _crc(data)) + data[_CRC_AT + 4 :]


def _crc(data: bytes) -> int:
    return zlib.crc32(data[_CRC_AT + 4 :], zlib.crc32(data[:_CRC_AT]))
