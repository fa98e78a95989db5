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

"""The feature flow on the air: an extension that old readers skip and new ones check."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from v2x_messages import make_message

from cooptrack_core.errors import MessageError
from cooptrack_core.v2x import decode_message, encode_message
from cooptrack_core.v2x.flow import FLOW, FlowArrays, pack_flow, read_flow


def arrays(n: int, d: int, seed: int = 0) -> FlowArrays:
    rng = np.random.default_rng(seed)
    return FlowArrays(
        *(rng.normal(size=(n, k)).astype(np.float32) for k in (d, d, 4)),
    )


def with_flow(body: bytes | None = None):
    message = make_message()
    n, d = message.query_features.shape
    body = pack_flow(arrays(n, d)) if body is None else body
    return dataclasses.replace(message, extensions={FLOW: body})


def test_a_flow_survives_the_air_within_its_rounding():
    message = with_flow()
    found = read_flow(decode_message(encode_message(message)))
    sent = arrays(*message.query_features.shape)
    for name in ('features', 'motion'):
        there, here = getattr(found, name), getattr(sent, name)
        step = np.abs(here).max(1, keepdims=True) / 127
        assert (np.abs(there - here) <= 0.51 * step).all()
    np.testing.assert_allclose(found.state, sent.state, rtol=1e-3, atol=1e-6)


def test_a_message_without_a_flow_has_none():
    assert read_flow(make_message()) is None


@pytest.mark.parametrize(
    'spoil',
    [
        lambda b: b[:-1],
        lambda b: b + b'x',
        lambda b: b'',
        lambda b: b'\xff' + b[1:],
        lambda b: b[:-8] + b'\xff' * 8,  # NaN
        lambda b: b[:-2] + b'\xff\x7b',  # 65504 m/s^2
    ],
)
def test_a_damaged_flow_refuses_the_message_when_it_is_decoded(spoil):
    body = spoil(with_flow().extensions[FLOW])
    with pytest.raises(MessageError):
        decode_message(encode_message(with_flow(body)))


def test_what_is_not_finite_is_not_sent():
    bad = arrays(2, 3)
    bad.state[0, 0] = np.inf
    with pytest.raises(ValueError, match='not finite'):
        pack_flow(bad)
