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

"""The compact form: few bytes, known errors, and no message that crashes its reader."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from v2x_messages import make_message

from cooptrack_core.errors import MessageError
from cooptrack_core.v2x import decode_message, encode_message, message_size_report
from cooptrack_core.v2x.bits import pack_bits, packed_bytes, unpack_bits
from cooptrack_core.v2x.feature_code import FeatureCode, allot, fit_code
from cooptrack_core.v2x.reasons import Reason

D = 16


def features(count: int, seed: int = 0) -> np.ndarray:
    """(count, 3 D) features that live in few directions, as those of a network do."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(6, 3 * D))
    noise = 0.02 * rng.normal(size=(count, 3 * D))
    return (rng.normal(size=(count, 6)) @ mixing + noise + 1.0).astype(np.float32)


def code(bits: int = 40) -> FeatureCode:
    return fit_code(features(500), bits)


def message(n: int = 5, **changes: object):
    rows = features(n, seed=7)
    parts = {
        name: rows[:, k * D : (k + 1) * D]
        for k, name in enumerate(('query_features', 'query_embeddings', 'motion_features'))
    }
    made = make_message(n, D, **changes)
    boxes = dataclasses.replace(made.boxes, sizes=np.minimum(made.boxes.sizes, 9.0))
    return dataclasses.replace(made, boxes=boxes, **parts)


@given(st.data())
def test_bits_come_back(data: st.DataObject):
    widths = data.draw(st.lists(st.integers(1, 20), min_size=0, max_size=8))
    rows = data.draw(st.integers(0, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    table = np.array([[rng.integers(2**w) for w in widths] for _ in range(rows)], dtype=np.int64)
    table = table.reshape(rows, len(widths))
    packed = pack_bits(table, widths)
    assert len(packed) == packed_bytes(rows, widths)
    assert (unpack_bits(packed, rows, widths) == table).all()


def test_a_number_that_does_not_fit_its_bits_is_refused():
    with pytest.raises(ValueError, match='fit'):
        pack_bits(np.array([[4]]), [2])
    with pytest.raises(ValueError, match='behind'):
        unpack_bits(b'\x01', 1, [7])
    with pytest.raises(ValueError, match='rows'):
        unpack_bits(b'\x01\x02', 1, [7])


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=12), st.integers(1, 60))
def test_bits_go_where_most_error_is(variance: list[float], bits: int):
    given_bits = allot(np.array(variance), bits)
    assert given_bits.sum() == min(bits, 8 * len(variance))
    order = np.argsort(variance)
    assert (np.diff(given_bits[order]) >= 0).all() or len(set(variance)) < len(variance)


def test_more_bits_leave_less_error_and_enough_leave_hardly_any():
    unseen = features(200, seed=3)
    errors = []
    for bits in (6, 18, 36, 60):
        fitted = fit_code(features(500), bits)
        errors.append(float(((fitted.decode(fitted.encode(unseen)) - unseen) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * unseen.var()


def test_a_compact_message_keeps_what_it_says():
    sent = message()
    found = decode_message(encode_message(sent, 'compact', code(48)), code=code(48))
    for name in ('agent_id', 'model_id', 'role', 'session_id', 'sequence', 'stamp_ns'):
        assert getattr(found, name) == getattr(sent, name)
    np.testing.assert_allclose(found.boxes.centers[:, :2], sent.boxes.centers[:, :2], atol=0.01)
    np.testing.assert_allclose(found.boxes.centers[:, 2], sent.boxes.centers[:, 2], atol=0.021)
    np.testing.assert_allclose(found.boxes.sizes, sent.boxes.sizes, atol=0.026)
    turn = np.angle(np.exp(1j * (found.boxes.yaws - sent.boxes.yaws)))
    assert np.abs(turn).max() < np.radians(0.36)
    np.testing.assert_allclose(found.boxes.velocities, sent.boxes.velocities, atol=0.051)
    assert np.isnan(found.boxes.velocities[0]).all()  # unknown stays unknown
    np.testing.assert_allclose(found.class_scores, sent.class_scores, atol=0.008)
    assert (found.track_ids == sent.track_ids).all()
    np.testing.assert_allclose(found.pose_covariance, sent.pose_covariance, rtol=1e-2, atol=1e-6)
    pose, there = sent.world_SE3_agent, found.world_SE3_agent
    np.testing.assert_allclose(pose.translation, there.translation)
    np.testing.assert_allclose(pose.matrix, there.matrix, atol=1e-4)
    error = found.query_features - sent.query_features
    assert (error**2).mean() < 0.02 * sent.query_features.var()
    bottom = sent.range.denormalise(found.reference_points)
    lower = found.boxes.centers[:, 2] - found.boxes.sizes[:, 2] / 2
    np.testing.assert_allclose(bottom[:, 2], lower, atol=1e-3)


def test_a_compact_message_of_ten_objects_takes_half_a_kilobyte():
    data = encode_message(message(10), 'compact', code(96))
    report = message_size_report(data)
    assert report.total == len(data) < 520
    assert report.instances == 10
    assert report.bytes_per_instance < 32
    assert len(encode_message(message(10))) > 1.6 * len(data)  # D is 96 in tiny: 8 times


def test_without_its_code_a_compact_message_is_refused():
    data = encode_message(message(), 'compact', code())
    with pytest.raises(MessageError) as error:
        decode_message(data)
    assert error.value.reason is Reason.MODEL
    with pytest.raises(ValueError, match='code'):
        encode_message(message(), 'compact')


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_compact_message_is_refused_or_read_and_nothing_else(data: st.DataObject):
    fitted = code()
    raw = bytearray(encode_message(message(3), 'compact', fitted))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # behind a right checksum, too
        from cooptrack_core.v2x.compact import _with_crc

        raw = bytearray(_with_crc(bytes(raw)))
    cut = data.draw(st.integers(0, 3))
    try:
        decode_message(bytes(raw[: len(raw) - cut]), code=fitted)
    except MessageError as error:
        assert Reason(error.reason)


def test_an_empty_message_is_possible():
    data = encode_message(message(0), 'compact', code())
    assert len(decode_message(data, code=code())) == 0
