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

"""Detection metrics on cases small enough to compute by hand, and their invariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.evaluation import Protocol, evaluate_detection


def ap(truth_frames, output_frames, **protocol):
    return evaluate_detection(truth_frames, output_frames, Protocol(**protocol))['car']


def test_perfect_detections_have_precision_one_and_no_error(scenes):
    case = scenes.make_case('perfect', 0)
    for metrics in evaluate_detection(case.ground_truth, case.detections).values():
        assert metrics.ap == pytest.approx((1.0, 1.0, 1.0, 1.0))
        assert metrics.trans_err == pytest.approx(0.0, abs=1e-12)


def test_one_right_and_one_wrong_detection_by_hand(truth, output):
    # The wrong one has the higher score: precision 0, then 1/2 from recall 0 to 1 (interpolated
    # linearly between the points (0, 0) and (1, 1/2)). AP = mean over recalls 0.11 ... 1.00 of
    # max(r / 2 - 0.1, 0) / 0.9.
    found = ap([truth(0, [(0, 0, 1)])], [output(0, [(0.3, 0, 1, 0.5), (30, 0, 2, 0.9)])])
    recalls = np.arange(11, 101) / 100
    expected = np.maximum(recalls / 2 - 0.1, 0).mean() / 0.9
    assert found.ap == pytest.approx((expected,) * 4)


def test_half_of_the_objects_found_without_error_by_hand(truth, output):
    # Precision 1 up to recall 1/2, 0 beyond: recalls 0.11 ... 0.50 of 0.11 ... 1.00 count.
    found = ap([truth(0, [(0, 0, 1), (20, 0, 2)])], [output(0, [(0, 0, 1, 0.5)])])
    assert found.ap == pytest.approx((40 / 90,) * 4)


def test_distance_decides_at_which_threshold_a_detection_is_right(truth, output):
    found = ap([truth(0, [(0, 0, 1)])], [output(0, [(1.5, 0, 1, 0.5)])])
    assert found.ap == pytest.approx((0.0, 0.0, 1.0, 1.0))
    assert found.trans_err == pytest.approx(1.5)


def test_a_distance_exactly_at_the_threshold_is_wrong(truth, output):
    found = ap([truth(0, [(0, 0, 1)])], [output(0, [(2.0, 0, 1, 0.5)])])
    assert found.ap == pytest.approx((0.0, 0.0, 0.0, 1.0))


def test_an_object_is_found_only_once(truth, output):
    twice = output(0, [(0, 0, 1, 0.9), (0.1, 0, 2, 0.8)])
    found = ap([truth(0, [(0, 0, 1), (30, 0, 2)])], [twice])
    # As above, but at recall 0.50 itself the second one has brought precision down to 1/2.
    assert found.ap == pytest.approx(((39 + (1 / 2 - 0.1) / 0.9) / 90,) * 4)


def test_a_detection_takes_the_nearest_free_object(truth, output):
    objects = [truth(0, [(0, 0, 1), (1.5, 0, 2)])]
    both = [output(0, [(0.1, 0, 1, 0.9), (0.2, 0, 2, 0.8)])]
    # The better one takes the first; the second object is 1.3 m from the other detection.
    half = (39 + (1 / 2 - 0.1) / 0.9) / 90
    assert ap(objects, both).ap == pytest.approx((half, half, 1.0, 1.0))


def test_range_is_measured_from_the_ego_and_per_class(truth, output):
    near = ap([truth(0, [(149, 0, 1)], ego=(100, 0))], [output(0, [(149, 0, 1, 0.5)])])
    far = ap([truth(0, [(150, 0, 1)], ego=(100, 0))], [output(0, [(150, 0, 1, 0.5)])])
    assert (near.ground_truth_boxes, far.ground_truth_boxes) == (1, 0)
    walker = [truth(0, [(45, 0, 1)], label=2)]
    counts = {
        p.name: evaluate_detection(walker, [output(0, [])], p)['pedestrian'].ground_truth_boxes
        for p in (Protocol.vehicle(), Protocol.roadside())
    }
    assert counts == {'vehicle': 0, 'roadside': 1}


@pytest.mark.parametrize('objects', [[], [(0, 0, 1)]])
@pytest.mark.parametrize('found', [[], [(30, 0, 1, 0.5)]])
def test_nothing_right_is_zero_precision_and_unit_errors(objects, found, truth, output):
    metrics = ap([truth(0, objects)], [output(0, found)])
    assert metrics.ap == (0.0, 0.0, 0.0, 0.0)
    assert metrics.trans_err == metrics.vel_err == 1.0


def test_no_frames_at_all_is_an_answer():
    assert evaluate_detection([], [])['car'].mean_ap == 0.0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_order_of_frames_and_boxes_does_not_matter(seed, scenes):
    case = scenes.make_case('plain', seed % 7)
    random = np.random.default_rng(seed)
    shuffled = []
    for frame in case.detections:
        order = random.permutation(len(frame.boxes))
        shuffled.append(
            replace(
                frame,
                boxes=frame.boxes[order],
                labels=frame.labels[order],
                scores=frame.scores[order],
                track_ids=frame.track_ids[order],
            )
        )
    shuffled = [shuffled[i] for i in random.permutation(len(shuffled))]
    expected = evaluate_detection(case.ground_truth, case.detections)
    found = evaluate_detection(case.ground_truth, shuffled)
    for name in expected:
        assert found[name].ap == pytest.approx(expected[name].ap, abs=1e-12)


def test_missing_unknown_and_double_frames_are_named(truth, output):
    frames = [truth(0, []), truth(1, [])]
    with pytest.raises(ValueError, match='s/1 is missing'):
        evaluate_detection(frames, [output(0, [])])
    with pytest.raises(ValueError, match='s/2 is not in the ground truth'):
        evaluate_detection(frames, [output(k, []) for k in range(3)])
    with pytest.raises(ValueError, match='s/0 comes twice'):
        evaluate_detection(frames, [output(0, []), output(0, [])])
    with pytest.raises(ValueError, match='does not come after'):
        evaluate_detection(frames[::-1], [output(0, []), output(1, [])])


def test_too_many_boxes_in_a_frame_are_refused_with_the_limit(truth, output):
    many = [output(0, [(0, 0, i, 0.5) for i in range(4)])]
    with pytest.raises(ValueError, match='s/0 holds 4 boxes, the protocol allows 3'):
        ap([truth(0, [])], many, max_boxes_per_frame=3)


def test_a_score_that_is_not_finite_is_refused(output):
    with pytest.raises(ValueError, match='scores'):
        output(0, [(0, 0, 1, float('nan'))])
