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

"""BEV maps on the air: strict when read, nothing when not sent."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from v2x_messages import make_message

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import BevGrid
from cooptrack_core.v2x import decode_message, encode_message
from cooptrack_core.v2x.bev_extension import (
    BEV,
    BevArray,
    pack_bev,
    read_bev,
    without_bev,
    without_instances,
)
from cooptrack_core.v2x.reasons import Reason

GRID = BevGrid(0.0, -7.7, 9.1, 7.7, columns=4, rows=6)
HEAD = 38


def bev(seed: int = 0, channels: int = 16) -> BevArray:
    values = np.random.default_rng(seed).normal(size=(6, 4, channels)).astype(np.float32)
    return BevArray(values, GRID)


def with_body(body: bytes):
    return dataclasses.replace(make_message(), extensions={BEV: body, 'other': b'1'})


def test_a_map_survives_the_air_within_float16():
    message = decode_message(encode_message(with_body(pack_bev(bev()))))
    found = read_bev(message)
    assert found.grid == GRID
    np.testing.assert_allclose(found.values, bev().values, rtol=1e-3, atol=1e-6)


def test_a_message_without_a_map_has_none():
    assert read_bev(make_message()) is None


def test_values_beyond_float16_are_clipped():
    large = bev()
    large.values[0, 0, 0] = 1e6
    assert read_bev(with_body(pack_bev(large))).values[0, 0, 0] == 65504


def grid_of(*area: float) -> bytes:
    return np.array(area, '<f8').tobytes()


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (lambda b: b[:-1], Reason.MALFORMED),
        (lambda b: b + b'x', Reason.MALFORMED),
        (lambda b: b'', Reason.MALFORMED),
        (lambda b: b[: HEAD - 1], Reason.MALFORMED),
        (lambda b: b'\x07' + b[1:], Reason.MALFORMED),  # one row more
        (lambda b: b[:4] + b'\x08' + b[5 : HEAD + 6 * 4 * 8 * 2], Reason.MALFORMED),  # D is 16
        (lambda b: b'\0\0' + b[2:HEAD], Reason.OUT_OF_BOUNDS),  # no rows
        (lambda b: b[:6] + grid_of(0, 0, 0, 1) + b[HEAD:], Reason.OUT_OF_BOUNDS),
        (lambda b: b[:6] + grid_of(0, 0, 1e5, 1) + b[HEAD:], Reason.OUT_OF_BOUNDS),
        (lambda b: b[:6] + grid_of(0, 0, np.nan, 1) + b[HEAD:], Reason.NOT_FINITE),
        (lambda b: b[:-2] + b'\xff\xff', Reason.NOT_FINITE),
    ],
)
def test_a_damaged_map_is_refused_with_its_reason(spoil, reason):
    with pytest.raises(MessageError) as error:
        read_bev(with_body(spoil(pack_bev(bev()))))
    assert error.value.reason == reason


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_bytes_of_any_kind_raise_nothing_else(body):
    try:
        found = read_bev(with_body(body))
    except MessageError:
        return
    assert found.values.shape == (found.grid.rows, found.grid.columns, 16)


def test_what_is_not_finite_or_does_not_fit_is_not_sent():
    bad = bev()
    bad.values[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match='not finite'):
        pack_bev(bad)
    with pytest.raises(ValueError, match='shape'):
        pack_bev(BevArray(bev().values[1:], GRID))


def test_either_half_of_a_message_can_be_sent_alone():
    whole = with_body(pack_bev(bev()))
    instances, maps = without_bev(whole), without_instances(whole)
    assert set(instances.extensions) == {'other'} and len(instances) == len(whole)
    assert set(maps.extensions) == {BEV} and len(maps) == 0
    assert len(read_bev(decode_message(encode_message(maps))).values) == 6
    plain = make_message()
    assert without_bev(plain) is plain


def test_a_message_with_a_damaged_map_is_refused_when_it_is_decoded():
    message = make_message(extensions={BEV: b'no map'})
    with pytest.raises(MessageError) as error:
        decode_message(encode_message(message))
    assert error.value.reason is Reason.MALFORMED
