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

"""Several training runs of one method: means, deviations and draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_bootstrap import world

from cooptrack_core.evaluation import (
    Resampled,
    evaluate_method,
    mean_draws,
    mean_metrics,
    resample,
    tally,
)

KEY = (('0000', '0001'), 3, 0)


def drawn(amota: float, draws: list[float]) -> Resampled:
    return Resampled({'amota': amota}, {'amota': np.array(draws)}, KEY)


def test_one_run_keeps_its_numbers() -> None:
    assert mean_metrics([{'mean_ap': 0.4, 'ids': 3}]) == {'mean_ap': 0.4, 'ids': 3}


def test_several_runs_are_averaged_key_by_key_and_each_is_kept(truth: Any, output: Any) -> None:
    runs = []
    for seed in range(3):
        frames, found = world(truth, output, [0.9, 0.6], seed)
        runs.append(evaluate_method(frames, found, found).as_dict())
    mean = mean_metrics(runs)
    assert set(mean) == {*runs[0], 'deviation', 'runs'}
    assert mean['runs'] == runs
    for key in ('mean_ap', 'amota', 'ids'):
        values = [run[key] for run in runs]
        assert mean[key] == pytest.approx(np.mean(values))
        assert mean['deviation'][key] == pytest.approx(np.std(values, ddof=1))
    assert mean['deviation']['mean_ap'] > 0
    assert mean['ap']['2.0'] == pytest.approx(np.mean([run['ap']['2.0'] for run in runs]))
    car = [run['classes']['car']['amotp'] for run in runs]
    assert mean['classes']['car']['amotp'] == pytest.approx(np.mean(car))


def test_what_one_run_leaves_undefined_is_undefined_in_the_mean() -> None:
    mean = mean_metrics([{'amota': 0.4, 'ids': None}, {'amota': 0.2, 'ids': 3}])
    assert mean['ids'] is None
    assert mean['amota'] == pytest.approx(0.3)
    assert set(mean['deviation']) == {'amota'}


def test_an_interval_of_several_runs_is_that_of_their_mean(truth: Any, output: Any) -> None:
    runs = []
    for seed in range(3):
        frames, found = world(truth, output, [0.2, 0.9, 0.6, 0.4, 0.7], seed)
        runs.append(resample(tally(frames, found, found), 50))
    mean = mean_draws(runs)
    for metric in ('mean_ap', 'amota'):
        assert mean.values[metric] == pytest.approx(np.mean([run.values[metric] for run in runs]))
        expected = (runs[0].draws[metric] + runs[1].draws[metric] + runs[2].draws[metric]) / 3
        np.testing.assert_allclose(mean.draws[metric], expected)
    assert mean.minus(mean, 'amota').low == 0.0


def test_a_draw_without_objects_stays_undefined() -> None:
    mean = mean_draws([drawn(0.4, [0.5, float('nan'), 0.3]), drawn(0.2, [0.1, float('nan'), 0.3])])
    np.testing.assert_allclose(mean.draws['amota'], [0.3, np.nan, 0.3])


def test_nothing_and_other_scenes_cannot_be_averaged() -> None:
    other = Resampled({'amota': 0.1}, {'amota': np.zeros(3)}, (('0007',), 3, 0))
    with pytest.raises(ValueError, match='not drawn over the same scenes'):
        mean_draws([drawn(0.1, [0.1, 0.2, 0.3]), other])
    for mean in (mean_draws, mean_metrics):
        with pytest.raises(ValueError, match='no run'):
            mean([])
