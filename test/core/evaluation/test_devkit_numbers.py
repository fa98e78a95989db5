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

"""Against numbers of nuscenes-devkit 1.2.0 with motmetrics 1.4.0 on seeded scenes.

They were made, and are made again after a change of ``benchmarks/peers/scenes.py``, by
``python benchmarks/peers/run.py --freeze``; ``make peers`` runs both sides live.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cooptrack_core.evaluation import Protocol, evaluate_detection, evaluate_tracking

FROZEN = json.loads(Path(__file__).with_name('devkit_numbers.json').read_text(encoding='utf-8'))


@pytest.mark.parametrize('name', FROZEN['cases'])
def test_every_number_equals_the_devkits(name, scenes):
    case = scenes.make_case(name, FROZEN['seed'])
    detection = evaluate_detection(case.ground_truth, case.detections)
    tracking = evaluate_tracking(case.ground_truth, case.tracks)
    for label, expected in FROZEN['cases'][name].items():
        for metric, value in expected['detection'].items():
            found = getattr(detection[label], metric)
            found = list(found) if metric == 'ap' else found
            assert found == pytest.approx(value, abs=1e-6), (label, metric)
        for metric, value in expected['tracking'].items():
            found = getattr(tracking[label], metric)
            wanted = float('nan') if value is None else value
            assert found == pytest.approx(wanted, abs=1e-6, nan_ok=True), (label, metric)


def test_the_frozen_cases_are_not_all_trivial():
    plain = FROZEN['cases']['plain']['car']
    assert 0.1 < plain['tracking']['amota'] < 0.9
    assert 0.1 < plain['detection']['ap'][2] < 0.9
    assert any(c['car']['tracking']['ids'] for c in FROZEN['cases'].values())
    assert any(c['car']['tracking']['frag'] for c in FROZEN['cases'].values())


def test_correct_gap_weights_give_other_numbers_where_gaps_are_long(scenes):
    case = scenes.make_case('several scenes, many gaps', 0)
    as_devkit = evaluate_tracking(case.ground_truth, case.tracks)['car']
    right = evaluate_tracking(case.ground_truth, case.tracks, Protocol(reversed_gap_weights=False))
    assert right['car'].motp < as_devkit.motp
