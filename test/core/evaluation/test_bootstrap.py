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


"""Intervals over scenes: exact recomputation, exact zeros, and differences that are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.evaluation import (
    GroundTruthFrame,
    PredictionFrame,
    evaluate_method,
    resample,
    tally,
)
from cooptrack_core.evaluation.bootstrap import METRICS

CARS, FRAMES = 4, 6


def world(
    truth: Callable[..., GroundTruthFrame],
    output: Callable[..., PredictionFrame],
    recalls: list[float],
    seed: int = 0,
    false_alarms: int = 1,
) -> tuple[list[GroundTruthFrame], list[PredictionFrame]]:
    """One scene per recall: cars in a row, a method that finds that share of them."""
    random = np.random.default_rng(seed)
    frames, found = [], []
    for s, recall in enumerate(recalls):
        name = f'scene {s}'
        seen = random.random((FRAMES, CARS)) < recall
        scores = random.uniform(0.35, 0.9, CARS + false_alarms)
        for k in range(FRAMES):
            rows = [(8.0 * c - 12, 5.0, c) for c in range(CARS)]
            frames.append(truth(k, rows, scene=name))
            said = [
                (x + random.normal(0, 0.4), y, 10 + c, scores[c]) for x, y, c in rows if seen[k, c]
            ]
            said += [(30.0, -20.0 + 3 * f, 20 + f, scores[CARS + f]) for f in range(false_alarms)]
            found.append(output(k, said, scene=name))
    return frames, found


def renamed(frames: list[Any], old: str, new: str) -> list[Any]:
    return [replace(f, sequence_id=new) for f in frames if f.sequence_id == old]


@pytest.fixture(scope='module')
def middling(truth: Any, output: Any) -> Any:
    return world(truth, output, [0.2, 0.9, 0.6, 0.4, 0.7])


def test_all_scenes_once_give_the_published_numbers(scenes: Any) -> None:
    for name in ('crowd', 'one class without ground truth'):
        case = scenes.make_case(name, 1)
        expected = evaluate_method(case.ground_truth, case.detections, case.tracks)
        tallied = tally(case.ground_truth, case.detections, case.tracks)
        once = np.ones(len(tallied.scenes), dtype=np.int64)
        assert tallied.mean_ap(once) == expected.detection['car'].mean_ap
        assert tallied.amota(once) == pytest.approx(expected.tracking['car'].amota, abs=1e-12)


@settings(max_examples=25)
@given(times=st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_scene_drawn_twice_counts_as_two_scenes(middling: Any, times: list[int]) -> None:
    frames, found = middling
    copies: tuple[list[Any], list[Any]] = ([], [])
    for s, n in enumerate(times):
        for i in range(n):
            copies[0].extend(renamed(frames, f'scene {s}', f'{s} copy {i}'))
            copies[1].extend(renamed(found, f'scene {s}', f'{s} copy {i}'))
    expected = evaluate_method(copies[0], copies[1], copies[1])
    tallied, drawn = tally(frames, found, found), np.array(times)
    # Copies have equal scores, whose order among each other is free: a rounding of precision.
    assert tallied.mean_ap(drawn) == pytest.approx(expected.detection['car'].mean_ap, abs=0.02)
    assert tallied.amota(drawn) == pytest.approx(
        expected.tracking['car'].amota, abs=1e-9, nan_ok=True
    )


def test_the_same_method_differs_from_itself_by_exactly_nothing(middling: Any) -> None:
    frames, found = middling
    a, b = (resample(tally(frames, found, found), 200, seed=3) for _ in range(2))
    for metric in METRICS:
        difference = a.minus(b, metric)
        assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
        assert not difference.excludes_zero


def test_a_clearly_better_method_excludes_zero(truth: Any, output: Any) -> None:
    frames, good = world(truth, output, [0.9] * 8, seed=1, false_alarms=0)
    _, bad = world(truth, output, [0.35] * 8, seed=2)
    better, worse = (resample(tally(frames, x, x), 300) for x in (good, bad))
    for metric in METRICS:
        difference = better.minus(worse, metric)
        assert difference.excludes_zero
        assert difference.low is not None and difference.low > 0
        mirrored = worse.minus(better, metric)
        assert mirrored.high == pytest.approx(-difference.low)


def test_equally_good_methods_do_not_exclude_zero(truth: Any, output: Any) -> None:
    frames, one = world(truth, output, [0.3, 0.8, 0.5, 0.7, 0.4, 0.6], seed=5)
    _, other = world(truth, output, [0.8, 0.3, 0.6, 0.4, 0.7, 0.5], seed=6)
    a, b = (resample(tally(frames, x, x), 300) for x in (one, other))
    for metric in METRICS:
        assert not a.minus(b, metric).excludes_zero


def test_seeds_repeat_and_other_seeds_draw_otherwise(middling: Any) -> None:
    frames, found = middling
    tallied = tally(frames, found, found)
    first, second, other = (resample(tallied, 100, seed) for seed in (4, 4, 5))
    for metric in METRICS:
        assert first.draws[metric].tobytes() == second.draws[metric].tobytes()
        assert first.draws[metric].tobytes() != other.draws[metric].tobytes()
    with pytest.raises(ValueError, match='same scenes'):
        first.minus(other, 'amota')


def test_the_interval_holds_the_value_and_widens_with_the_spread(truth: Any, output: Any) -> None:
    def width(recalls: list[float]) -> float:
        frames, found = world(truth, output, recalls)
        interval = resample(tally(frames, found, found), 300).interval('mean_ap')
        assert interval.low is not None and interval.high is not None
        assert interval.value is not None and interval.low <= interval.value <= interval.high
        return interval.high - interval.low

    assert width([0.1, 0.9, 0.1, 0.9, 0.1, 0.9]) > 2 * width([0.9] * 6)


def test_one_scene_is_its_own_interval(truth: Any, output: Any) -> None:
    frames, found = world(truth, output, [0.6])
    interval = resample(tally(frames, found, found), 50).interval('amota')
    assert interval.low == interval.value == interval.high


def test_scenes_without_objects_leave_the_interval_undefined(truth: Any, output: Any) -> None:
    frames = [truth(k, [], scene=f'{s}') for s in range(2) for k in range(3)]
    nothing = [output(k, [], scene=f'{s}') for s in range(2) for k in range(3)]
    drawn = resample(tally(frames, nothing, nothing), 20)
    assert drawn.interval('amota').as_dict() == {'value': None, 'low': None, 'high': None}
    assert drawn.interval('mean_ap').value == 0.0
    with pytest.raises(ValueError, match='no scene'):
        resample(tally([], [], []), 20)
