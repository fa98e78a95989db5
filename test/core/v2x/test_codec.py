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


"""The bytes on the air: round trips, stated errors, damage, versions, room to grow."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from v2x_messages import RANGE, make_message

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import Boxes3D
from cooptrack_core.structures import Role
from cooptrack_core.v2x import Limits, decode_message, encode_message, message_size_report

FEATURES = ('query_features', 'query_embeddings', 'motion_features')


def with_crc(data: bytes) -> bytes:
    """Recompute the checksum, to get behind it."""
    crc = zlib.crc32(data[16:], zlib.crc32(data[:12]))
    return data[:12] + struct.pack('<I', crc) + data[16:]


def with_field(data: bytes, at: int, fmt: str, value: object) -> bytes:
    """Overwrite one field of the head and mend the checksum."""
    packed = struct.pack(fmt, value)
    return with_crc(data[:at] + packed + data[at + len(packed) :])


@given(
    n=st.integers(0, 40), d=st.integers(1, 64), seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(['fp32', 'fp16', 'int8']),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_message_survives_the_air_within_the_stated_errors(n, d, seed, dtype):
    sent = make_message(n, d, seed)
    got = decode_message(encode_message(sent, dtype))
    for name in ('agent_id', 'role', 'model_id', 'session_id', 'sequence', 'stamp_ns', 'range'):
        assert getattr(got, name) == getattr(sent, name)
    np.testing.assert_array_equal(
        got.world_SE3_agent.translation, sent.world_SE3_agent.translation
    )
    np.testing.assert_allclose(
        got.world_SE3_agent.rotation, sent.world_SE3_agent.rotation, atol=1e-14
    )
    np.testing.assert_allclose(got.pose_covariance, sent.pose_covariance, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(got.track_ids, sent.track_ids)
    for name in FEATURES:
        a, b = getattr(got, name), getattr(sent, name)
        if dtype == 'fp32':
            np.testing.assert_array_equal(a, b)
        elif dtype == 'fp16':
            np.testing.assert_allclose(a, b, rtol=4.9e-4, atol=3e-8)
        else:
            step = np.abs(b).max(-1, keepdims=True, initial=0) / 127
            assert (np.abs(a - b) <= step * 0.5001).all()
    exact = dtype == 'fp32'
    assert np.abs(got.reference_points - sent.reference_points).max(initial=0) <= (
        0 if exact else 7.7e-6
    )
    assert np.abs(got.class_scores - sent.class_scores).max(initial=0) <= (0 if exact else 7.7e-6)
    a, b = got.boxes, sent.boxes
    assert np.abs(a.centers - b.centers).max(initial=0) <= (4e-6 if exact else 1.6e-3)
    assert np.abs(a.sizes - b.sizes).max(initial=0) <= (1e-6 if exact else 0.501e-3)
    turn = np.abs(np.angle(np.exp(1j * (a.yaws - b.yaws)))).max(initial=0)
    assert turn <= (3e-7 if exact else 4.8e-5)
    np.testing.assert_allclose(a.velocities, b.velocities, rtol=4.9e-4, atol=1e-7)


def test_an_unknown_velocity_stays_unknown():
    for dtype in ('fp32', 'fp16', 'int8'):
        got = decode_message(encode_message(make_message(4), dtype))
        assert np.isnan(got.boxes.velocities[0]).all()
        assert np.isfinite(got.boxes.velocities[1:]).all()


def test_an_empty_message_is_a_message():
    got = decode_message(encode_message(make_message(0), 'int8'))
    assert len(got) == 0
    assert got.query_features.shape == (0, 16)
    assert got.class_scores.shape == (0, 3)


def test_encoding_is_deterministic_and_stable_under_a_second_trip():
    for dtype in ('fp32', 'fp16'):
        once = encode_message(make_message(5), dtype)
        assert once == encode_message(make_message(5), dtype)
        # The head may differ in the last bit of the quaternion; the sections may not.
        assert encode_message(decode_message(once), dtype)[179:] == once[179:]


def test_what_16_bits_cannot_hold_is_sent_in_32_not_clipped():
    sent = make_message(3)
    far = Boxes3D(
        sent.boxes.centers + np.array([500.0, 0, 0]), sent.boxes.sizes, sent.boxes.yaws,
        sent.boxes.velocities,
    )  # fmt: skip
    features = sent.query_features.copy()
    features[1, 2] = 1e6
    points = sent.reference_points.copy()
    points[0, 0] = 1.25
    ids = np.array([1, 2**40, -5])
    sent = replace(
        sent, boxes=far, query_features=features, reference_points=points, track_ids=ids
    )
    got = decode_message(encode_message(sent, 'fp16'))
    np.testing.assert_allclose(got.boxes.centers, far.centers, atol=1e-4)
    np.testing.assert_array_equal(got.query_features, features)
    np.testing.assert_array_equal(got.reference_points, points)
    np.testing.assert_array_equal(got.track_ids, ids)


def test_extensions_travel_and_sections_of_a_newer_sender_are_passed_on():
    sent = make_message(2, extensions={'wifi.rssi': b'\x01\x02', 'a': b''})
    data = encode_message(sent, 'int8')
    assert decode_message(data).extensions == sent.extensions
    newer = data + struct.pack('<BBI', 200, 3, 4) + b'news'
    newer = with_field(newer, 8, '<I', len(newer))
    newer = with_field(newer, 5, '<B', 9)  # minor version
    got = decode_message(newer)
    assert got.extensions['section:200'] == b'\x03news'
    np.testing.assert_array_equal(got.track_ids, sent.track_ids)
    assert decode_message(encode_message(got, 'int8')).extensions == got.extensions


def test_a_newer_head_with_more_fields_is_read():
    data = encode_message(make_message(2), 'fp16')
    (length,) = struct.unpack_from('<H', data, 6)
    longer = data[:length] + b'later!' + data[length:]
    longer = with_field(with_field(longer, 6, '<H', length + 6), 8, '<I', len(longer))
    assert len(decode_message(longer)) == 2


def test_the_layout_of_version_1_does_not_drift():
    # Another build of the package on the other car must read this for ever.
    data = encode_message(make_message(2, 4, seed=3), 'fp32')
    assert data[:4] == b'CTIM'
    assert data[4:6] == b'\x01\x00'
    assert struct.unpack_from('<B', data, 16) == (0,)  # fp32
    assert struct.unpack_from('<B', data, 17) == (2,)  # roadside
    assert struct.unpack_from('<QIq', data, 20) == (
        0xFEDCBA9876543210, 7, 1_626_155_123_456_789_000,
    )  # fmt: skip
    assert struct.unpack_from('<3d', data, 40) == (456_789.123456, 4_428_123.654321, 21.5)
    assert struct.unpack_from('<6d', data, 96) == RANGE.as_tuple()
    assert struct.unpack_from('<HHBBB', data, 144) == (2, 4, 3, 10, 17)
    assert data[152:179] == b'roadside_1tiny-0123456789ab'
    assert struct.unpack_from('<BBI', data, 179) == (1, 1, 32)
    expected = make_message(2, 4, seed=3).query_features.astype('<f4').tobytes()
    assert data[185 : 185 + 32] == expected


def reason_of(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(MessageError) as error:
        decode_message(data, limits)
    return error.value.reason


def test_every_truncation_is_called_truncated():
    data = encode_message(make_message(2, 4), 'int8')
    reasons = {reason_of(data[:cut]) for cut in range(len(data))}
    assert reasons == {'truncated'}


def test_damage_has_a_reason():
    data = encode_message(make_message(), 'int8')
    assert reason_of(data + b'\0') == 'oversized'
    assert reason_of(b'JUNK' + data[4:]) == 'not_a_message'
    assert reason_of(data[:4] + b'\x02' + data[5:]) == 'version'
    assert reason_of(data[:-1] + bytes([data[-1] ^ 1])) == 'checksum'
    assert reason_of(data, Limits(max_bytes=100)) == 'oversized'
    assert reason_of(data, Limits(max_instances=2)) == 'oversized'
    assert reason_of(data, Limits(max_feature_size=8)) == 'oversized'
    assert reason_of(data, Limits(max_classes=2)) == 'oversized'
    assert reason_of(data, Limits(max_sections=3)) == 'oversized'
    assert reason_of(with_field(data, 144, '<H', 4)) == 'malformed'  # instances
    assert reason_of(with_field(data, 16, '<B', 77)) == 'malformed'  # dtype
    assert reason_of(with_field(data, 17, '<B', 77)) == 'malformed'  # role
    assert reason_of(with_field(data, 40, '<d', float('nan'))) == 'not_finite'
    assert reason_of(with_field(data, 40, '<d', 1e12)) == 'out_of_bounds'
    assert reason_of(with_field(data, 64, '<d', 3.0)) == 'out_of_bounds'  # quaternion
    assert reason_of(with_field(data, 96, '<d', 99.0)) == 'out_of_bounds'  # range


def test_a_message_cannot_make_the_reader_allocate_more_than_it_brought():
    data = with_field(encode_message(make_message(0), 'int8'), 144, '<H', 65535)
    assert reason_of(data, Limits(max_instances=65535)) == 'malformed'


@pytest.mark.parametrize('name', [*FEATURES, 'reference_points', 'class_scores'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_value_that_is_not_finite_is_refused_by_both_ends(name, value):
    message = make_message(2, 4)
    array = getattr(message, name)
    marked = array.copy()
    marked[1, 0] = 0.123456
    position = encode_message(replace(message, **{name: marked}), 'fp32').find(
        np.float32(0.123456).tobytes()
    )
    data = encode_message(message, 'fp32')
    assert reason_of(with_field(data, position, '<f', value)) == 'not_finite'
    marked[1, 0] = value
    with pytest.raises(ValueError, match=name):
        encode_message(replace(message, **{name: marked}), 'fp32')


def test_impossible_values_are_refused():
    message = make_message(2, 4)
    for change in (
        {'class_scores': np.full((2, 3), 1.5, np.float32)},
        {'reference_points': np.full((2, 3), 9.0, np.float32)},
        {'pose_covariance': -np.eye(6)},
        {'boxes': replace(message.boxes, velocities=np.full((2, 2), 5e4))},
        {'boxes': replace(message.boxes, centers=np.full((2, 3), 1e7))},
        {'boxes': replace(message.boxes, sizes=np.full((2, 3), 5e3))},
    ):
        assert reason_of(encode_message(replace(message, **change), 'fp16')) == 'out_of_bounds'


def test_what_does_not_fit_is_refused_before_it_is_sent():
    for change, word in (
        ({'agent_id': ''}, 'agent_id'), ({'agent_id': 'x' * 300}, 'agent_id'),
        ({'sequence': -1}, 'sequence'), ({'sequence': 2**32}, 'sequence'),
        ({'session_id': 2**64}, 'session_id'), ({'stamp_ns': 2**63}, 'stamp_ns'),
        ({'pose_covariance': np.arange(36.0).reshape(6, 6)}, 'pose_covariance'),
        ({'extensions': {'': b''}}, 'extension'),
        ({'extensions': {'section:1': b'x'}}, 'extension'),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            encode_message(make_message(1, **change), 'int8')
    with pytest.raises(ValueError, match='dtype'):
        encode_message(make_message(1), 'fp64')


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """Flip, cut, insert, swap or overwrite, and half of the time mend sizes and checksum."""
    out = bytearray(data)
    for _ in range(random.integers(1, 6)):
        kind = random.integers(0, 5)
        at = int(random.integers(0, max(len(out), 1)))
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            del out[at : at + int(random.integers(1, 30))]
        elif kind == 2:
            out[at:at] = random.bytes(int(random.integers(1, 30)))
        elif kind == 3 and len(out) > 8:
            out[at : at + 4] = struct.pack('<f', random.choice([np.nan, np.inf, -1e30, 0.0]))
        elif len(out) > 8:
            out[at : at + 4] = random.bytes(4)
    if random.random() < 0.6 and len(out) > 20:
        out[:6] = data[:6]
        out[8:12] = struct.pack('<I', len(out))
        return with_crc(bytes(out))
    return bytes(out)


def test_10000_mutated_messages_raise_nothing_but_message_errors():
    random = np.random.default_rng(20260101)
    seeds = [
        encode_message(make_message(n, 8, seed=n, extensions={'x': b'yz'}), dtype)
        for n in (0, 1, 4)
        for dtype in ('fp32', 'fp16', 'int8')
    ]
    reasons: dict[str, int] = {}
    for i in range(10_000):
        try:
            decode_message(mutate(seeds[i % len(seeds)], random))
            reason = 'taken'
        except MessageError as error:
            reason = str(error.reason)
        reasons[reason] = reasons.get(reason, 0) + 1
    # The mutations get deep: behind the checksum, into the values, and some change nothing bad.
    for expected in ('truncated', 'checksum', 'malformed', 'not_finite', 'out_of_bounds', 'taken'):
        assert reasons.get(expected, 0) > 20, reasons


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_noise_is_no_message(noise):
    for data in (noise, b'CTIM\x01\x00' + noise, with_crc(b'CTIM\x01\x00' + noise.ljust(20))):
        with pytest.raises(MessageError):
            decode_message(data)


def test_the_size_report_accounts_for_every_byte():
    for n in (0, 1, 12):
        data = encode_message(make_message(n, 32), 'int8')
        report = message_size_report(data)
        assert report.total == len(data)
        assert report.instances == n
        assert report.overhead + sum(
            size for name, size in report.sections.items() if name != 'pose_covariance'
        ) == len(data)
    per_instance = 3 * (32 + 4) + 6 + 14 + 4 + 6 + 4
    assert report.bytes_per_instance == per_instance
    assert 0 < report.header_share < 1
    smaller = message_size_report(encode_message(make_message(0, 32), 'int8'))
    assert report.overhead == smaller.overhead


def test_int8_is_smaller_than_fp16_is_smaller_than_fp32():
    sizes = [len(encode_message(make_message(10, 64), d)) for d in ('int8', 'fp16', 'fp32')]
    assert sizes == sorted(sizes)
    assert sizes[2] > 3 * sizes[0]


def test_roles_are_both_known():
    for role in Role:
        assert decode_message(encode_message(make_message(1, role=role))).role is role
