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

"""BEV features on the air: stated errors, every kind of damage with its reason, no bombs."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_codec import mutate, with_crc, with_field
from v2x_messages import make_feature

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import Role
from cooptrack_core.v2x import BevLimits, decode_bev, decode_message, encode_bev
from cooptrack_core.v2x.reasons import Reason

SECTIONS = 115 + 9 + 17  # head, agent id, model id


def plain(feature=None, dtype='int8', **changes) -> bytes:
    return encode_bev(feature or make_feature(**changes), dtype, deflate=False)


@given(
    channels=st.integers(1, 6), rows=st.integers(1, 9), columns=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(['fp32', 'fp16', 'int8']),
    deflate=st.booleans(),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_a_map_survives_the_air_within_the_stated_errors(
    channels, rows, columns, seed, dtype, deflate
):
    sent = make_feature(channels, rows, columns, seed)
    data = encode_bev(sent, dtype, deflate)
    got = decode_bev(data, BevLimits(grid=sent.grid, channels=channels))
    for name in ('agent_id', 'role', 'model_id', 'session_id', 'sequence', 'stamp_ns', 'grid'):
        assert getattr(got, name) == getattr(sent, name)
    np.testing.assert_array_equal(
        got.world_SE3_agent.translation, sent.world_SE3_agent.translation
    )
    np.testing.assert_allclose(
        got.world_SE3_agent.rotation, sent.world_SE3_agent.rotation, atol=1e-14
    )
    np.testing.assert_allclose(got.pose_covariance, sent.pose_covariance, rtol=1e-6, atol=1e-12)
    a, b = got.features, sent.features
    assert a.dtype == np.float32
    if dtype == 'fp32':
        np.testing.assert_array_equal(a, b)
    elif dtype == 'fp16':
        np.testing.assert_allclose(a, b, rtol=4.9e-4, atol=3e-8)
    else:
        step = np.abs(b).max((1, 2), keepdims=True) / 127
        assert (np.abs(a - b) <= step * 0.5001).all()
        assert not a[b == 0].any()


@given(seed=st.integers(0, 1000), dtype=st.sampled_from(['fp32', 'fp16', 'int8']))
@settings(max_examples=30, deadline=None)
def test_deflate_loses_nothing_and_never_costs_a_byte(seed, dtype):
    feature = make_feature(4, 16, 16, seed)
    small, large = encode_bev(feature, dtype), plain(feature, dtype)
    assert len(small) < len(large)  # half of the values are zero
    np.testing.assert_array_equal(decode_bev(small).features, decode_bev(large).features)
    noise = replace(
        feature,
        features=np.random.default_rng(seed).uniform(-1, 1, (4, 16, 16)).astype(np.float32),
    )
    assert len(encode_bev(noise, dtype)) <= len(plain(noise, dtype))


def test_the_layout_of_version_1_does_not_drift():
    # Another build of the package on the other car must read this for ever.
    feature = make_feature(2, 3, 4)
    data = plain(feature, 'fp32')
    assert data[:6] == b'CTBM\x01\x00'
    assert struct.unpack_from('<BB', data, 16) == (0, 1)  # fp32, vehicle
    assert struct.unpack_from('<QIq', data, 20) == (
        0xFEDCBA9876543210, 7, 1_626_155_123_456_789_000,
    )  # fmt: skip
    assert struct.unpack_from('<3d', data, 40) == (456_789.123456, 4_428_123.654321, 21.5)
    assert struct.unpack_from('<HHHHd', data, 96) == (3, 4, 2, 0, 3.125)
    assert struct.unpack_from('<BB', data, 112) == (9, 17)
    assert data[115:SECTIONS] == b'vehicle_2tiny-0123456789ab'
    assert struct.unpack_from('<BBI', data, SECTIONS) == (1, 1, 96)
    assert data[SECTIONS + 6 :][:96] == feature.features.astype('<f4').tobytes()
    deflated = encode_bev(replace(feature, features=np.ones((2, 3, 4), np.float32)), 'fp32')
    kind, encoding, length = struct.unpack_from('<BBI', deflated, SECTIONS)
    assert (kind, encoding) == (2, 1)
    assert zlib.decompress(deflated[SECTIONS + 6 :][:length]) == (
        b'\0' * 48 + b'\x80' * 24 + b'\x3f' * 24
    )


def test_a_newer_head_and_new_sections_are_read_over():
    data = plain()
    newer = data + struct.pack('<BBI', 200, 3, 4) + b'news'
    newer = with_field(with_field(newer, 8, '<I', len(newer)), 5, '<B', 9)
    longer = newer[:SECTIONS] + b'later!' + newer[SECTIONS:]
    longer = with_field(with_field(longer, 6, '<H', SECTIONS + 6), 8, '<I', len(longer))
    for found in (newer, longer):
        np.testing.assert_array_equal(decode_bev(found).features, decode_bev(data).features)


def reason_of(data: bytes, limits: BevLimits | None = None) -> str:
    with pytest.raises(MessageError) as error:
        decode_bev(data, limits)
    return str(error.value.reason)


def test_every_truncation_is_called_truncated():
    data = encode_bev(make_feature())
    assert {reason_of(data[:cut]) for cut in range(len(data))} == {'truncated'}


def test_damage_has_a_reason():
    data = plain(dtype='fp32')
    assert reason_of(data + b'\0') == 'oversized'
    assert reason_of(b'CTIM' + data[4:]) == 'not_a_message'
    assert reason_of(data[:4] + b'\x02' + data[5:]) == 'version'
    assert reason_of(data[:-1] + bytes([data[-1] ^ 1])) == 'checksum'
    assert reason_of(data, BevLimits(max_bytes=100)) == 'oversized'
    assert reason_of(data, BevLimits(max_values=59)) == 'oversized'
    assert reason_of(data, BevLimits(max_sections=1)) == 'oversized'
    assert reason_of(data, BevLimits(max_magnitude=1e-6)) == 'out_of_bounds'
    assert reason_of(with_field(data, 16, '<B', 77)) == 'malformed'  # number format
    assert reason_of(with_field(data, 17, '<B', 77)) == 'malformed'  # role
    assert reason_of(with_field(data, 40, '<d', float('nan'))) == 'not_finite'
    assert reason_of(with_field(data, 64, '<d', 3.0)) == 'out_of_bounds'  # quaternion
    for at in (96, 98, 100):
        assert reason_of(with_field(data, at, '<H', 0)) == 'out_of_bounds'
        assert reason_of(with_field(data, at, '<H', 6)) == 'malformed'  # too few bytes
    for cell in (0.0, -1.0, 1e9):
        assert reason_of(with_field(data, 104, '<d', cell)) == 'out_of_bounds'
    assert reason_of(with_field(data, 104, '<d', float('inf'))) == 'not_finite'
    for value, reason in ((np.nan, 'not_finite'), (-np.inf, 'not_finite'), (1e6, 'out_of_bounds')):
        assert reason_of(with_field(data, SECTIONS + 6, '<f', value)) == reason
    assert reason_of(with_field(data, SECTIONS, '<B', 2)) == 'malformed'  # not deflated at all
    assert reason_of(with_field(data, SECTIONS + 1, '<B', 6)) == 'malformed'  # UINT32
    assert reason_of(with_field(data, SECTIONS + 1, '<B', 99)) == 'malformed'
    scales = plain(dtype='int8')
    assert reason_of(with_field(scales, SECTIONS + 6, '<f', np.nan)) == 'not_finite'
    assert reason_of(with_field(scales, SECTIONS + 6, '<f', 1e30)) == 'out_of_bounds'
    covariance = replace(make_feature(), pose_covariance=-np.eye(6))
    assert reason_of(plain(covariance)) == 'out_of_bounds'


def test_another_grid_or_another_number_of_channels_is_refused_by_name():
    data = encode_bev(make_feature())
    right = MapGrid(4, 5, 3.125)
    assert decode_bev(data, BevLimits(grid=right, channels=3)).grid == right
    for grid in (MapGrid(4, 5, 3.0), MapGrid(5, 5, 3.125), MapGrid(4, 4, 3.125)):
        assert reason_of(data, BevLimits(grid=grid)) == Reason.GRID.value
    assert reason_of(data, BevLimits(channels=4)) == Reason.CHANNELS.value


def test_the_two_kinds_of_message_are_not_taken_for_each_other():
    with pytest.raises(MessageError) as error:
        decode_message(encode_bev(make_feature(8, 16, 16)))
    assert error.value.reason is Reason.NOT_A_MESSAGE


def rebuilt(*sections: bytes) -> bytes:
    """A message of 3 x 4 x 5 values with these sections behind its head."""
    data = plain()[:SECTIONS] + b''.join(sections)
    return with_field(data, 8, '<I', len(data))


def part(kind: int, encoding: int, body: bytes) -> bytes:
    return struct.pack('<BBI', kind, encoding, len(body)) + body


def test_a_deflated_body_must_inflate_to_exactly_its_size():
    good = zlib.compress(bytes(60 * 2))
    assert not decode_bev(rebuilt(part(2, 2, good))).features.any()
    for body in (
        zlib.compress(bytes(119)), zlib.compress(bytes(121)), good + b'x', good[:-1], b'',
        zlib.compress(bytes(10**6)), b'no stream',
    ):  # fmt: skip
        assert reason_of(rebuilt(part(2, 2, body))) == 'malformed'
    assert reason_of(rebuilt()) == 'malformed'
    assert reason_of(rebuilt(part(1, 2, bytes(120)), part(2, 2, good))) == 'malformed'


def test_a_message_cannot_make_the_reader_allocate_more_than_its_limit():
    body = zlib.compress(bytes(2**20), 9)  # a kilobyte that says it inflates to 64 MiB
    head = plain()[:SECTIONS]
    data = head + part(2, 3, body)
    for at, value in ((96, 2**13), (98, 2**13), (100, 1)):
        data = data[:at] + struct.pack('<H', value) + data[at + 2 :]
    data = with_field(data, 8, '<I', len(data))
    assert reason_of(data) == 'oversized'


@pytest.mark.parametrize('value', [np.nan, np.inf, 7e4])
def test_what_cannot_be_sent_is_refused_before_it_is(value):
    feature = make_feature()
    feature.features[1, 2, 3] = value
    with pytest.raises(ValueError, match='features'):
        encode_bev(feature)
    for change, word in (
        ({'agent_id': ''}, 'agent_id'), ({'agent_id': 'x' * 300}, 'agent_id'),
        ({'sequence': 2**32}, 'sequence'), ({'session_id': -1}, 'session_id'),
        ({'stamp_ns': 2**63}, 'stamp_ns'),
        ({'pose_covariance': np.arange(36.0).reshape(6, 6)}, 'pose_covariance'),
        ({'features': np.zeros((0, 4, 5), np.float32)}, 'channels'),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            encode_bev(make_feature(**change))
    with pytest.raises(ValueError, match='dtype'):
        encode_bev(make_feature(), 'fp64')


def test_3000_mutated_messages_raise_nothing_but_message_errors():
    random = np.random.default_rng(20260102)
    seeds = [
        encode_bev(make_feature(seed=n), dtype, deflate)
        for n in range(2)
        for dtype in ('fp32', 'fp16', 'int8')
        for deflate in (False, True)
    ]
    reasons: dict[str, int] = {}
    for i in range(3_000):
        try:
            feature = decode_bev(mutate(seeds[i % len(seeds)], random))
            assert np.isfinite(feature.features).all()
            reason = 'taken'
        except MessageError as error:
            reason = str(Reason(error.reason))
        reasons[reason] = reasons.get(reason, 0) + 1
    for expected in ('truncated', 'checksum', 'malformed', 'not_finite', 'out_of_bounds', 'taken'):
        assert reasons.get(expected, 0) > 10, reasons


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_noise_is_no_message(noise):
    for data in (noise, b'CTBM\x01\x00' + noise, with_crc(b'CTBM\x01\x00' + noise.ljust(20))):
        with pytest.raises(MessageError):
            decode_bev(data)


def test_roles_are_both_known():
    for role in Role:
        assert decode_bev(encode_bev(make_feature(role=role))).role is role
