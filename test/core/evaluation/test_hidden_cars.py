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

"""Hidden recall and precision: what counts, what does not, and that it cannot be gamed."""

from __future__ import annotations

import math

import pytest

from cooptrack_core.evaluation import Protocol, evaluate_hidden

# Two cars: one in view of the ego at x = 10, one that only the roadside sees at x = 20.
CARS = [(10, 0, 1), (20, 0, 2)]
VIEW = {'by_ego': [True, False], 'by_remote': [True, True]}


def hidden(truth_frame, output_frame, **protocol):
    return evaluate_hidden([truth_frame], [output_frame], Protocol(**protocol))


def test_a_track_on_a_hidden_car_counts_and_one_on_a_car_in_view_does_not(truth, output):
    found = hidden(truth(0, CARS, **VIEW), output(0, [(10, 0, 1, 0.9), (20.5, 0, 2, 0.9)]))
    assert (found.hidden, found.true_positives, found.false_positives) == (1, 1, 0)
    assert (found.recall, found.precision) == (1.0, 1.0)


def test_without_cooperation_nothing_hidden_is_found(truth, output):
    found = hidden(truth(0, CARS, **VIEW), output(0, [(10, 0, 1, 0.9)]))
    assert found.recall == 0.0
    assert math.isnan(found.precision)


def test_cars_nobody_sees_are_neither_hits_nor_false(truth, output):
    frame = truth(0, [(20, 0, 2)], by_ego=[False], by_remote=[False])
    found = hidden(frame, output(0, [(20, 0, 1, 0.9)]))
    assert (found.hidden, found.true_positives, found.false_positives) == (0, 0, 0)
    assert math.isnan(found.recall)


@pytest.mark.parametrize('distance, hits', [(2.0, 1), (2.01, 0)])
def test_two_metres_are_the_limit(distance, hits, truth, output):
    found = hidden(truth(0, CARS[1:], by_ego=[False], by_remote=[True]),
                   output(0, [(20 + distance, 0, 1, 0.9)]))  # fmt: skip
    assert (found.true_positives, found.false_positives) == (hits, 1 - hits)


def test_flooding_the_map_with_tracks_lowers_precision(truth, output):
    grid = [(x, y, 100 * x + y + 5000, 0.9) for x in range(-40, 41, 4) for y in range(-28, 29, 4)]
    found = hidden(truth(0, CARS, **VIEW), output(0, grid))
    assert found.recall == 1.0
    assert found.precision < 0.01


def test_a_second_track_on_the_same_hidden_car_is_false(truth, output):
    found = hidden(truth(0, CARS, **VIEW),
                   output(0, [(10, 0, 3, 0.9), (20, 0, 1, 0.9), (20.5, 0, 2, 0.9)]))  # fmt: skip
    assert (found.true_positives, found.false_positives) == (1, 1)


def test_a_missed_car_in_view_excuses_one_misplaced_track_and_the_strict_figure_none(
    truth, output
):
    rows = [(13, 0, 1, 0.9), (7, 0, 3, 0.9), (20, 0, 2, 0.9)]
    found = hidden(truth(0, CARS, **VIEW), output(0, rows))
    assert (found.true_positives, found.false_positives, found.excused) == (1, 1, 1)
    assert found.precision == pytest.approx(1 / 2)
    assert found.strict_precision == pytest.approx(1 / 3)


def test_a_found_car_in_view_excuses_nothing(truth, output):
    rows = [(10, 0, 1, 0.9), (13, 0, 3, 0.9), (20, 0, 2, 0.9)]
    assert hidden(truth(0, CARS, **VIEW), output(0, rows)).excused == 0


def test_only_the_car_range_counts_and_cars_beyond_it_make_no_false_tracks(truth, output):
    frame = truth(0, [(50.5, 0, 1)], by_ego=[False], by_remote=[True])
    found = hidden(frame, output(0, [(49.5, 0, 1, 0.9), (60, 0, 2, 0.9)]))
    assert (found.hidden, found.true_positives, found.false_positives) == (0, 0, 0)


def test_the_ego_itself_is_not_hidden(truth, output):
    frame = truth(0, [(0.5, 0, 1)], by_ego=[False], by_remote=[True])
    assert hidden(frame, output(0, [])).hidden == 0


def test_other_classes_do_not_take_part(truth, output):
    frame = truth(0, [(20, 0, 2)], by_ego=[False], by_remote=[True], label=2)
    found = hidden(frame, output(0, [(20, 0, 1, 0.9)], label=2))
    assert (found.hidden, found.false_positives) == (0, 0)


def test_unknown_visibility_gives_no_figure(truth, output):
    assert hidden(truth(0, CARS), output(0, [])) is None
