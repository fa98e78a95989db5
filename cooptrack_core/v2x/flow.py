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

"""V2X room: the feature flow of a message, an optional extension of a few hundred bytes.

Rates of change that a receiver may add when a message arrives late. Body: count u16, feature size
u16, then the rates of the semantic and of the motion features (int8 rows, see ``quantise``) and
of the state (four float16 per instance).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.structures import InstanceMessage
from cooptrack_core.v2x.quantise import Encoding, pack_float, packed_size, unpack_float
from cooptrack_core.v2x.reasons import Reason

FLOW = 'feature_flow'
_HEAD = struct.Struct('<HH')
_STATE = 4
_MAX_RATE = 1e4


@dataclass(frozen=True, eq=False)
class FlowArrays:
    """Rates of change of m instances, sender's agent frame, per second.

    Attributes:
        features: (m, D) float32 of the query features.
        motion: (m, D) float32 of the motion features.
        state: (m, 4) float32: error of the velocity x, y (m/s), acceleration x, y (m/s^2).
    """

    features: NDArray[np.float32]
    motion: NDArray[np.float32]
    state: NDArray[np.float32]


def pack_flow(flow: FlowArrays) -> bytes:
    """Write a flow as the body of the extension ``FLOW``.

    Raises:
        ValueError: A value is not finite or a shape does not fit.
    """
    n, d = flow.features.shape
    if flow.motion.shape != (n, d) or flow.state.shape != (n, _STATE):
        raise ValueError(f'flow of shapes {flow.features.shape}, {flow.motion.shape}')
    if not all(np.isfinite(a).all() for a in (flow.features, flow.motion, flow.state)):
        raise ValueError('the flow holds a value that is not finite')
    rows = [pack_float(a, Encoding.INT8_ROWS)[1] for a in (flow.features, flow.motion)]
    state = np.clip(flow.state, -_MAX_RATE, _MAX_RATE)
    return _HEAD.pack(n, d) + b''.join(rows) + pack_float(state, Encoding.FLOAT16)[1]


def read_flow(message: InstanceMessage) -> FlowArrays | None:
    """Flow of a message; None when the sender sent none.

    Raises:
        MessageError: The extension is damaged or does not fit the message.
    """
    body = message.extensions.get(FLOW)
    if body is None:
        return None
    n, d = message.query_features.shape
    size = packed_size(Encoding.INT8_ROWS, n, d)
    whole = _HEAD.size + 2 * size + packed_size(Encoding.FLOAT16, n, _STATE)
    if len(body) != whole or _HEAD.unpack_from(body) != (n, d):
        raise MessageError(Reason.MALFORMED, f'{FLOW} has {len(body)} bytes, {whole} are due')
    parts, at = [], _HEAD.size
    for _ in range(2):
        parts.append(unpack_float(body[at : at + size], Encoding.INT8_ROWS, n, d))
        at += size
    state = unpack_float(body[at:], Encoding.FLOAT16, n, _STATE)
    flow = FlowArrays(parts[0], parts[1], state)
    for name, values in (('features', parts[0]), ('motion', parts[1]), ('state', state)):
        if not np.isfinite(values).all():
            raise MessageError(Reason.NOT_FINITE, f'{FLOW}: {name}')
        if (np.abs(values) > _MAX_RATE).any():
            raise MessageError(Reason.OUT_OF_BOUNDS, f'{FLOW}: {name}')
    return flow
