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


"""`cooptrack evaluate` under disturbances and `cooptrack sweep`, with untrained weights."""

from __future__ import annotations

import json
import math
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cooptrack_core.perception import StreamOptions
from cooptrack_core.perception import evaluate as core_evaluate
from cooptrack_core.simulation import simulate
from cooptrack_core.simulation.presets import load_preset
from cooptrack_ros import cli
from cooptrack_ros.commands import sweep

METHODS = ['--methods', 'no_fusion,cooptrack']
Evaluate = Callable[..., Any]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short scenes with two roadside units."""
    directory = tmp_path_factory.mktemp('simulated') / 'scenes'
    simulate(directory, replace(load_preset('tiny'), frames=4, roadsides=2), 2, 5, workers=1)
    return directory


@pytest.fixture
def evaluate(data: Path, weights: list[str], tmp_path: Path) -> Evaluate:
    def run(*options: str) -> Any:
        target = tmp_path / 'numbers.json'
        arguments = ['evaluate', str(data), '--json', str(target), '--quiet', *METHODS, *weights]
        assert cli.main([*arguments, *options]) == 0
        return json.loads(target.read_text(encoding='utf-8'))

    return run


def swept(data: Path, weights: list[str], out: Path, *options: str) -> Any:
    arguments = ['sweep', str(data), '-o', str(out), '--quiet', *METHODS, *weights]
    assert cli.main([*arguments, *options]) == 0
    return json.loads((out / 'sweep.json').read_text(encoding='utf-8'))


def without_time(document: Any) -> Any:
    for point in document['points']:
        del point['seconds_per_frame']
    return document


def test_everything_that_was_set_is_in_the_protocol(evaluate: Evaluate) -> None:
    radio = evaluate(
        *('--pose-noise', '0.2,0.5', '--pose-noise-at', 'alignment', '--clock-skew-ms', '-20'),
        *('--no-compensation', '--no-roadside-images', '--wait-ms', '60', '--max-age-ms', '700'),
        *('--future-tolerance-ms', '80', '--seed', '3', '--remotes', '1'),
    )['protocol']
    assert radio['remote_agents'] == ['roadside']
    expected = {'wait_ms': 60, 'max_age_ms': 700, 'future_tolerance_ms': 80, 'compensate': False}
    assert {key: radio['radio'][key] for key in expected} == expected
    assert radio['radio']['disturbance'] == {
        'pose_noise_m': 0.2,
        'pose_noise_deg': 0.5,
        'pose_noise_at': 'alignment',
        'clock_skew_ms': -20,
        'blind_roadside': True,
        'seed': 3,
    }


def test_by_default_the_receiver_is_as_strict_as_the_nodes(evaluate: Evaluate) -> None:
    radio = evaluate()['protocol']['radio']
    assert (radio['max_age_ms'], radio['future_tolerance_ms'], radio['wait_ms']) == (500, 100, 50)
    assert radio['compensate'] is True
    assert {v for k, v in radio['disturbance'].items() if k != 'pose_noise_at'} == {0}


def test_a_disturbance_changes_cooperation_and_never_the_ego(evaluate: Evaluate) -> None:
    calm, wild = evaluate(), evaluate('--pose-noise', '3,20')
    assert calm['methods']['no_fusion'] == wild['methods']['no_fusion']
    assert calm['methods']['cooptrack'] != wild['methods']['cooptrack']
    assert wild == evaluate('--pose-noise', '3,20')
    assert wild['methods'] != evaluate('--pose-noise', '3,20', '--seed', '1')['methods']


def test_late_messages_are_dropped_and_said_to_be(
    data: Path, weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / 'numbers.json'
    late = ['evaluate', str(data), '--latency-ms', '200', '--json', str(target), *METHODS]
    assert cli.main([*late, *weights, '--max-age-ms', '100']) == 0
    inbox = json.loads(target.read_text(encoding='utf-8'))['inbox']
    assert inbox['too_old'] == inbox['received'] > 0
    assert '--max-age-ms' in capsys.readouterr().err
    assert cli.main([*late, *weights]) == 0
    assert json.loads(target.read_text(encoding='utf-8'))['inbox']['accepted'] > 0
    assert '--max-age-ms' not in capsys.readouterr().err


def test_scenes_are_told_apart_only_when_asked(evaluate: Evaluate) -> None:
    assert {'per_scene', 'comparison'} & set(evaluate()) == set()
    whole, first = evaluate('--per-scene'), evaluate('--per-scene', '--scenes', '1')
    scenes = whole['per_scene']['cooptrack']
    assert len(scenes) == 2
    (name,) = first['per_scene']['cooptrack']
    for method in ('no_fusion', 'cooptrack'):
        metrics = whole['per_scene'][method]
        assert metrics[name] == first['per_scene'][method][name]
        boxes = sum(scene['ground_truth_boxes'] for scene in metrics.values())
        assert boxes == whole['methods'][method]['ground_truth_boxes']
    expected = {k: v for k, v in first['methods']['cooptrack'].items() if k != 'classes'}
    assert first['per_scene']['cooptrack'][name] == expected


def test_a_comparison_gives_an_interval_against_every_other_method(
    data: Path, weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / 'numbers.json'
    arguments = ['evaluate', str(data), '--json', str(target), '--compare', 'cooptrack']
    methods = ['--methods', 'no_fusion,rule_matching,cooptrack']
    assert cli.main([*arguments, *methods, *weights]) == 0
    result = json.loads(target.read_text(encoding='utf-8'))
    comparison = result['comparison']
    assert set(comparison['minus']) == {'no_fusion', 'rule_matching'}
    assert (comparison['scenes'], comparison['level']) == (2, 0.95)
    difference = (
        result['methods']['cooptrack']['mean_ap'] - result['methods']['no_fusion']['mean_ap']
    )
    interval = comparison['minus']['no_fusion']['mean_ap']
    assert math.isclose(interval['value'], difference, abs_tol=1e-12)
    assert 'cooptrack - no_fusion' in capsys.readouterr().err


def test_amota_is_the_mean_over_as_many_recall_levels_as_asked(evaluate: Evaluate) -> None:
    coarse, fine = evaluate(), evaluate('--recall-levels', '391')
    levels = [r['protocol']['evaluation']['recall_thresholds'] for r in (coarse, fine)]
    assert levels == [40, 391]
    for name, metrics in coarse['methods'].items():
        assert fine['methods'][name]['mean_ap'] == metrics['mean_ap']


def test_workers_that_share_the_scenes_find_what_one_finds(evaluate: Evaluate) -> None:
    options = ('--compare', 'cooptrack', '--per-scene', '--loss', '0.3', '--threads', '1')
    alone, shared = evaluate(*options), evaluate(*options, '--workers', '2')
    assert alone['inbox']['received'] > 0
    assert list(alone['per_scene']['cooptrack']) == list(shared['per_scene']['cooptrack'])
    assert shared == alone


def test_what_a_worker_could_not_read_is_told(
    data: Path, weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / 'broken'
    shutil.copytree(data, broken)
    image = sorted((broken / 'infrastructure-side' / 'image').iterdir())[-1]
    image.write_bytes(b'no image')
    options = ['--methods', 'cooptrack', '--workers', '2', *weights]
    assert cli.main(['evaluate', str(broken), *options]) == 0
    assert capsys.readouterr().err.replace('\n', '').count(image.name) == 1


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--pose-noise', '0.2'], ['--pose-noise', 'METRES,DEGREES']),
        (['--pose-noise', '0.2,-1'], ['--pose-noise']),
        (['--pose-noise', 'nan,1'], ['--pose-noise']),
        (['--wait-ms', '-1'], ['--wait-ms']),
        (['--max-age-ms', '0'], ['--max-age-ms']),
        (['--latency-ms', 'nan'], ['--latency-ms']),
        (['--clock-skew-ms', 'inf'], ['--clock-skew-ms']),
        (['--remotes', '3'], ['--remotes', 'from 0 to 2']),
        (['--scenes', '0'], ['--scenes']),
        (['--workers', '0'], ['--workers', '1 or more']),
        (['--recall-levels', '0'], ['--recall-levels', '1 or more']),
        (['--compare', 'late'], ['--compare', 'cooptrack']),
        (['--compare', 'cooptrack', '--scenes', '1'], ['--compare', 'two scenes']),
        (['sweep', '--over', 'loss', '--values', '0,2'], ['--values', "'2'", 'from 0 to 1']),
        (['sweep', '--over', 'latency', '--values', ','], ['--values', '0,100,200']),
        (['sweep', '--over', 'pose', '--values', 'x'], ['--values', "'x'"]),
        (['sweep', '--over', 'agents', '--values', '1.5'], ['--values', 'whole']),
        (['sweep', '--over', 'agents', '--values', '0,3'], ['--values', 'multi_agent']),
    ],
)
def test_a_wrong_option_is_one_line_with_a_remedy(
    data: Path,
    weights: list[str],
    options: list[str],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, extra = ('evaluate', [])
    if options[0] == 'sweep':
        command, options, extra = 'sweep', options[1:], ['-o', str(tmp_path / 'out')]
    assert cli.main([command, str(data), *METHODS, *weights, *extra, *options]) == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert 'Traceback' not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('command', ['evaluate', 'sweep'])
def test_the_disturbances_are_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, '--help'])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for option in ('--pose-noise', '--clock-skew-ms', '--no-compensation', '--json', '--remotes'):
        assert option in said


def test_a_sweep_over_latency_compares_both_ways_and_draws_them(
    data: Path, weights: list[str], tmp_path: Path
) -> None:
    document = swept(data, weights, tmp_path, '--over', 'latency', '--values', '500,0')
    assert [(p['value'], p['compensate']) for p in document['points']] == [
        (0, True),
        (0, False),
        (500, True),
        (500, False),
    ]
    ages = [p['radio']['max_age_ms'] for p in document['points']]
    assert ages[0] == 500
    # One and a half periods of ten frames a second.
    assert ages[2] == pytest.approx(650, abs=5)
    assert all('too_old' not in p['inbox'] for p in document['points'])
    # The ego alone hears nothing: it ran once.
    assert [p['copied_from_first_point'] for p in document['points']] == [
        [],
        *[['no_fusion']] * 3,
    ]
    assert all(set(p['methods']) == {'no_fusion', 'cooptrack'} for p in document['points'])
    assert all(set(p['intervals']) == {'no_fusion', 'cooptrack'} for p in document['points'])
    text = (tmp_path / 'sweep.svg').read_text(encoding='utf-8')
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text
    words = [e.text for e in root.iter('{http://www.w3.org/2000/svg}text')]
    assert {'no_fusion', 'cooptrack', 'cooptrack, not compensated', 'mean AP', 'AMOTA'} <= {*words}
    assert 'no_fusion, not compensated' not in words


def test_a_point_of_a_sweep_is_the_evaluation_with_these_options(
    data: Path, weights: list[str], tmp_path: Path, evaluate: Evaluate
) -> None:
    document = swept(data, weights, tmp_path / 'out', '--over', 'pose', '--values', '0,1')
    expected = evaluate('--pose-noise', '1,1')
    point = document['points'][1]
    assert point['radio'] == expected['protocol']['radio']
    for name in ('no_fusion', 'cooptrack'):
        metrics = {k: v for k, v in expected['methods'][name].items() if k != 'classes'}
        assert point['methods'][name] == metrics


def test_an_interrupted_sweep_goes_on_where_it_stopped(
    data: Path, weights: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axis = ['--over', 'loss', '--values', '0,0.5,1']
    whole = swept(data, weights, tmp_path / 'whole', *axis)
    calls: list[float] = []
    real = core_evaluate.evaluate_dataset

    def counted(dataset: Any, models: Any, options: Any, progress: Any = None) -> Any:
        calls.append(options.stream.loss)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(dataset, models, options, progress)

    monkeypatch.setattr(sweep, 'evaluate_dataset', counted)
    out = tmp_path / 'parts'
    arguments = ['sweep', str(data), '-o', str(out), '--quiet', *METHODS, *weights]
    assert cli.main([*arguments, *axis]) == 130
    kept = json.loads((out / 'sweep.json').read_text(encoding='utf-8'))
    assert [p['value'] for p in kept['points']] == [0.0]
    document = swept(data, weights, out, *axis)
    assert calls == [0.0, 0.5, 0.5, 1.0]
    assert without_time(document) == without_time(whole)
    # More values later; nothing is done twice.
    longer = swept(data, weights, out, '--over', 'loss', '--values', '0,0.25,1')
    assert calls[4:] == [0.25]
    assert [p['value'] for p in longer['points']] == [0.0, 0.25, 0.5, 1.0]


def test_a_directory_with_another_sweep_is_not_mixed_up(
    data: Path, weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept(data, weights, tmp_path, '--over', 'loss', '--values', '1', '--scenes', '1')
    arguments = ['sweep', str(data), '-o', str(tmp_path), '--quiet', *METHODS, *weights]
    other = ['--over', 'loss', '--values', '1', '--scenes', '1', '--latency-ms', '10']
    assert cli.main([*arguments, *other]) == 2
    said = capsys.readouterr().err
    assert 'radio' in said
    assert '--overwrite' in said
    document = swept(data, weights, tmp_path, *other, '--overwrite')
    assert [p['radio']['latency_ms'] for p in document['points']] == [10.0]
    (tmp_path / 'sweep.json').write_text('[1]', encoding='utf-8')
    assert cli.main([*arguments, *other]) == 2
    assert 'no sweep to go on with' in capsys.readouterr().err


def test_a_sweep_over_agents_adds_them_one_by_one(
    data: Path, weights: list[str], tmp_path: Path
) -> None:
    document = swept(data, weights, tmp_path, '--over', 'agents', '--values', '0,1,2')
    points = document['points']
    assert [p['remote_agents'] for p in points] == [
        [],
        ['roadside'],
        ['roadside', 'roadside_1'],
    ]
    assert [p['inbox']['received'] for p in points] == [0, 8, 16]
    sizes = [p['bytes_per_frame'] for p in points]
    assert sizes[0] == 0
    assert 0 < sizes[1] < sizes[2]
    assert all(p['seconds_per_frame']['cooptrack'] > 0 for p in points)
    text = (tmp_path / 'sweep.svg').read_text(encoding='utf-8')
    assert 'kB per frame' in text
    assert 'ms per frame' in text


@pytest.mark.parametrize(
    ('over', 'value', 'changed'),
    [
        ('loss', 0.5, {'loss': 0.5}),
        ('latency', 100.0, {'latency_ms': 100.0, 'max_age_ms': 500.0}),
        ('latency', 600.0, {'latency_ms': 600.0, 'max_age_ms': 750.0}),
        ('agents', 2.0, {}),
    ],
)
def test_an_axis_changes_its_own_setting_alone(over: str, value: float, changed: Any) -> None:
    base = StreamOptions(seed=4)
    at = sweep.stream_at(over, sweep.Setting(value, True), base, 100.0)
    assert at == replace(base, **changed)


@pytest.mark.parametrize(
    ('over', 'changed'),
    [
        ('pose', {'pose_noise_m': 0.5, 'pose_noise_deg': 0.5}),
        ('rotation', {'pose_noise_deg': 0.5}),
        ('clock', {'clock_skew_ms': 0.5}),
    ],
)
def test_an_axis_of_disturbances_keeps_the_others(over: str, changed: Any) -> None:
    base = StreamOptions()
    base = replace(base, disturbance=replace(base.disturbance, blind_roadside=True))
    at = sweep.stream_at(over, sweep.Setting(0.5, False), base, 100.0)
    wrong = replace(base.disturbance, **changed)
    assert at == replace(base, compensate=False, disturbance=wrong)
