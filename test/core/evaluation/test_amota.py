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

"""Tracking metrics on cases small enough to compute by hand, and their invariances."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.evaluation import Protocol, evaluate_tracking


def car(truth_frames, output_frames, **protocol):
    return evaluate_tracking(truth_frames, output_frames, Protocol(**protocol))['car']


def test_perfect_tracks_have_amota_one_and_no_error(scenes):
    case = scenes.make_case('perfect', 0)
    for metrics in evaluate_tracking(case.ground_truth, case.tracks).values():
        assert metrics.ground_truth_boxes > 0
        assert (metrics.amota, metrics.mota, metrics.recall) == (1.0, 1.0, 1.0)
        assert metrics.amotp == metrics.motp == 0.0
        assert (metrics.fp, metrics.fn, metrics.ids, metrics.frag) == (0, 0, 0, 0)


def test_a_track_that_finds_half_of_the_boxes_by_hand(truth, output):
    # Two objects, ten frames; one track, 1 m off. Recall 0.5 is reached, thresholds above are not.
    objects = [truth(k, [(0, 0, 1), (30, 0, 2)]) for k in range(10)]
    tracks = [output(k, [(1, 0, 7, 0.8)]) for k in range(10)]
    found = car(objects, tracks)
    reached = int((np.linspace(0.1, 1, 40).round(12) <= 0.5).sum())
    # At every reached threshold FN = (1 - r) P, no FP, no IDS: MOTAR is 1.
    assert found.amota == pytest.approx(reached / 40)
    assert found.amotp == pytest.approx((reached * 1.0 + (40 - reached) * 2.0) / 40)
    assert (found.tp, found.fn, found.fp, found.ids) == (10, 10, 0, 0)
    assert found.mota == pytest.approx(0.5)
    assert (found.mt, found.ml) == (1, 1)
    assert found.score_threshold == pytest.approx(0.8)


def test_a_switch_is_counted_once_and_costs_motar(truth, output):
    objects = [truth(k, [(0, 0, 1)]) for k in range(10)]
    tracks = [output(k, [(0, 0, 7 if k < 5 else 8, 0.8)]) for k in range(10)]
    found = car(objects, tracks)
    assert (found.tp, found.ids, found.fp, found.fn, found.recall) == (9, 1, 0, 0, 1.0)
    # r = 9/10; (IDS + FP + FN - (1 - r) P) / (r P) = (1 - 1) / 9.
    assert found.motar == pytest.approx(1.0)
    assert found.mota == pytest.approx(0.9)


def test_an_old_pair_is_kept_though_another_track_comes_nearer(truth, output):
    objects = [truth(k, [(0, 0, 1)]) for k in range(4)]
    tracks = [output(0, [(0.5, 0, 7, 0.8)])] + [
        output(k, [(0.1, 0, 8, 0.8), (1.5, 0, 7, 0.8)]) for k in range(1, 4)
    ]
    found = car(objects, tracks)
    assert (found.ids, found.tp, found.fp) == (0, 4, 3)
    assert found.motp == pytest.approx((0.5 + 3 * 1.5) / 4)


def test_the_rest_is_paired_at_least_total_distance(truth, output):
    # Nearest first would take (0.2) and leave (1.9); together 2.1 against 0.9 + 0.8.
    objects = [truth(0, [(0, 0, 1), (1.0, 0, 2)])]
    tracks = [output(0, [(0.8, 0, 7, 0.8), (-0.9, 0, 8, 0.8)])]
    found = car(objects, tracks)
    assert found.motp == pytest.approx((0.2 + 0.9) / 2)
    objects = [truth(0, [(0, 0, 1), (1.7, 0, 2)])]
    tracks = [output(0, [(0.9, 0, 7, 0.8), (-0.9, 0, 8, 0.8)])]
    assert car(objects, tracks).motp == pytest.approx((0.9 + 0.8) / 2)


def test_an_interruption_is_a_fragmentation_and_the_end_is_not(truth, output):
    # The output gap is longer than what is filled: it has another id afterwards.
    objects = [truth(k, [(0, 0, 1)]) for k in range(10)]
    seen = {0: 7, 1: 7, 2: 7, 5: 8, 6: 8}
    tracks = [output(k, [(0, 0, seen[k], 0.8)] if k in seen else []) for k in range(10)]
    found = car(objects, tracks)
    assert (found.frag, found.ids, found.fn) == (1, 1, 5)
    assert found.lgd == pytest.approx(3 * 0.5)  # frames 7, 8, 9
    assert found.tid == 0.0


def test_time_to_the_first_match_uses_the_sample_period(truth, output):
    objects = [truth(k, [(0, 0, 1)]) for k in range(10)]
    tracks = [output(k, [(0, 0, 7, 0.8)] if k >= 4 else []) for k in range(10)]
    assert car(objects, tracks).tid == pytest.approx(2.0)
    assert car(objects, tracks, sample_period=0.1).tid == pytest.approx(0.4)


def test_gaps_of_output_and_ground_truth_are_filled(truth, output):
    objects = [truth(k, [] if k == 5 else [(k, 0, 1)]) for k in range(10)]
    tracks = [output(k, [] if k == 3 else [(k, 0, 7, 0.8)]) for k in range(10)]
    found = car(objects, tracks)
    assert (found.ground_truth_boxes, found.predicted_boxes) == (10, 10)
    assert (found.mota, found.motp) == (1.0, pytest.approx(0.0, abs=1e-12))
    unfilled = car(objects, tracks, fill_gaps=False)
    assert (unfilled.fn, unfilled.fp) == (1, 1)


def test_long_gaps_are_filled_backwards_as_the_devkit_does_unless_asked_otherwise(truth, output):
    objects = [truth(k, [(k, 0, 1)]) for k in range(5)]
    tracks = [output(k, [(k, 0, 7, 0.8)] if k in (0, 4) else []) for k in range(5)]
    assert car(objects, tracks, reversed_gap_weights=False).motp == pytest.approx(0.0, abs=1e-12)
    # Frames 1 and 3 exchange places: both are 2 m off, which is no match any more.
    found = car(objects, tracks)
    assert (found.tp, found.fp, found.fn) == (3, 2, 2)


def test_the_score_of_a_track_is_the_mean_over_its_boxes(truth, output):
    objects = [truth(k, [(0, 0, 1)]) for k in range(4)]
    tracks = [output(k, [(0, 0, 7, s)]) for k, s in enumerate((0.4, 0.6, 0.8, 1.0))]
    assert car(objects, tracks).score_threshold == pytest.approx(0.7)


def test_the_same_id_in_another_scene_is_another_track(truth, output):
    objects = [truth(k, [(0, 0, 1)], scene=s) for s in 'ab' for k in range(3)]
    tracks = [
        output(k, [(0, 0, 7 if s == 'a' else 8, 0.8)], scene=s) for s in 'ab' for k in range(3)
    ]
    found = car(objects, tracks)
    assert (found.ids, found.mt) == (0, 2)


def test_no_ground_truth_is_undefined_and_no_output_is_the_worst(truth, output):
    nothing = car([truth(0, [])], [output(0, [(0, 0, 1, 0.8)])])
    assert math.isnan(nothing.amota)
    assert math.isnan(nothing.ids)
    missed = car([truth(0, [(0, 0, 1)])], [output(0, [])])
    assert (missed.amota, missed.amotp, missed.recall, missed.fn) == (0.0, 2.0, 0.0, 1)
    assert math.isnan(missed.fp)
    assert math.isnan(car([], []).amota)


def test_an_id_twice_in_a_frame_is_refused(truth, output):
    with pytest.raises(ValueError, match='twice in one frame'):
        car([truth(0, [])], [output(0, [(0, 0, 1, 0.8), (9, 0, 1, 0.8)])])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), name=st.sampled_from(['plain', 'swaps', 'crowd']))
def test_names_of_ids_and_order_of_boxes_do_not_matter(seed, name, scenes):
    case = scenes.make_case(name, seed % 5)
    random = np.random.default_rng(seed)
    new_id = random.permutation(200_000)
    shuffled = []
    for frame in case.tracks:
        order = random.permutation(len(frame.boxes))
        shuffled.append(
            replace(
                frame,
                boxes=frame.boxes[order],
                labels=frame.labels[order],
                scores=frame.scores[order],
                track_ids=new_id[frame.track_ids[order]],
            )
        )
    expected = evaluate_tracking(case.ground_truth, case.tracks)
    found = evaluate_tracking(case.ground_truth, shuffled)
    for label in expected:
        for metric in ('amota', 'amotp', 'mota', 'ids', 'frag', 'tp', 'fp', 'tid'):
            a, b = getattr(expected[label], metric), getattr(found[label], metric)
            assert b == pytest.approx(a, abs=1e-9, nan_ok=True), (label, metric)
