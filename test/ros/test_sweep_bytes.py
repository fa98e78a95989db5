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


"""`cooptrack sweep --over bytes` and what senders leave out, with untrained weights."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cooptrack_core.simulation import simulate
from cooptrack_core.simulation.presets import load_preset
from cooptrack_ros import cli


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short scene."""
    directory = tmp_path_factory.mktemp('simulated') / 'scenes'
    simulate(directory, replace(load_preset('tiny'), frames=10), 1, 5, workers=1)
    return directory


def swept(data: Path, weights: list[str], out: Path, *options: str) -> Any:
    arguments = ['sweep', str(data), '--over', 'bytes', '-o', str(out), '--quiet', *weights]
    assert cli.main([*arguments, '--methods', 'cooptrack', *options]) == 0
    return json.loads((out / 'sweep.json').read_text(encoding='utf-8'))


def test_fewer_messages_and_surer_instances_cost_fewer_bytes_and_are_drawn(
    data: Path, weights: list[str], tmp_path: Path
) -> None:
    options = ('--forms', 'fp32,int8', '--rates', '2,10', '--values', '0,0.999')
    points = swept(data, weights, tmp_path, *options)['points']
    cost = {(p['form'], p['message_hz'], p['min_score']): p['bytes_per_second'] for p in points}
    assert len(cost) == 8
    for form in ('fp32', 'int8'):
        assert cost[form, 2.0, 0.0] == pytest.approx(cost[form, 10.0, 0.0] / 5, rel=0.3)
    for rate in (2.0, 10.0):
        assert cost['int8', rate, 0.0] < cost['fp32', rate, 0.0] / 2
        assert cost['fp32', rate, 0.999] < cost['fp32', rate, 0.0] / 2
    picture = ElementTree.parse(tmp_path / 'sweep.svg').getroot()  # noqa: S314 - our own file
    text = ' '.join(picture.itertext())
    assert all(f'{form}, {rate} Hz' in text for form in ('fp32', 'int8') for rate in (2, 10))


def test_an_interrupted_sweep_goes_on_and_another_one_is_not_mixed_in(
    data: Path, weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ('--forms', 'int8', '--rates', '10', '--values', '0.5')
    before = swept(data, weights, tmp_path, *first)['points']
    after = swept(data, weights, tmp_path, *first[:-1], '0,0.5')['points']
    assert after[0] == before[0]
    assert len(after) == 2
    arguments = ['sweep', str(data), '--over', 'bytes', '-o', str(tmp_path), *weights]
    assert cli.main([*arguments, '--methods', 'cooptrack', '--loss', '0.5', *first]) != 0
    assert 'the sweep in it has other settings: radio' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (('--forms', 'int9'), '--forms'),
        (('--rates', '0'), '--rates'),
        (('--rates', 'often'), '--rates'),
        (('--values', '0,2'), '--values'),
        (('--min-score', '1.5'), '--min-score'),
        (('--message-hz', '-1'), '--message-hz'),
        (('--most-instances', '-2'), '--most-instances'),
        (('--outside-view-m', '-3'), '--outside-view-m'),
    ],
)
def test_a_wrong_value_is_named(
    options: tuple[str, str],
    named: str,
    data: Path,
    weights: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ['sweep', str(data), '--over', 'bytes', '-o', str(tmp_path), *weights]
    assert cli.main([*arguments, '--methods', 'cooptrack', *options]) != 0
    assert named in capsys.readouterr().err


def test_what_the_ego_sees_itself_need_not_be_sent(
    data: Path, weights: list[str], tmp_path: Path
) -> None:
    target = tmp_path / 'numbers.json'
    means = []
    for metres in ('0', '200'):
        arguments = ['evaluate', str(data), '--json', str(target), '--quiet', *weights]
        arguments += ['--methods', 'cooptrack', '--outside-view-m', metres]
        assert cli.main(arguments) == 0
        traffic = json.loads(target.read_text(encoding='utf-8'))['traffic']
        means.append(traffic['int8']['mean_instances'])
    assert means[1] < means[0]
