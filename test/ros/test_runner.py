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

"""`cooptrack run` and its relatives on a small simulated scene, with untrained weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rosbags.highlevel import AnyReader
from small_models import save_pair

from cooptrack_core.errors import InputError
from cooptrack_core.models.checkpoint import read_metadata
from cooptrack_core.perception import ModelSet, StreamOptions, load_model
from cooptrack_ros import cli
from cooptrack_ros.bags import typestore
from cooptrack_ros.commands import demo
from cooptrack_ros.recordings import OpenRecording
from cooptrack_ros.runner import run_recording

METHODS = {'no_fusion', 'roadside_only', 'late_fusion', 'rule_matching', 'cooptrack'}


@pytest.fixture(scope='module')
def outputs(scene: Path, weights: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('run')
    assert cli.main(['run', str(scene), '-o', str(directory), '--quiet', *weights]) == 0
    return directory


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding='utf-8'))


def topics(bag: Path) -> dict[str, int]:
    with AnyReader([bag], default_typestore=typestore()) as reader:
        return {c.topic: c.msgcount for c in reader.connections}


def test_a_run_writes_a_bag_a_report_and_metrics(outputs: Path) -> None:
    assert {p.name for p in outputs.iterdir()} == {'run.mcap', 'report.html', 'metrics.json'}
    metrics = read(outputs / 'metrics.json')
    assert set(metrics['methods']) == METHODS
    for method in metrics['methods'].values():
        assert {
            'mean_ap',
            'amota',
            'ap',
            'mota',
            'ids',
            'hidden_recall',
            'hidden_precision',
        } <= set(method)
        assert set(method['ap']) == {'0.5', '1.0', '2.0', '4.0'}
    rate = metrics['bytes_per_second']
    assert rate['fp32'] > rate['fp16'] > rate['int8'] > 0
    assert metrics['inbox']['received'] == metrics['inbox']['accepted'] == 2
    assert metrics['protocol']['evaluation']['class_ranges']['car'] == 50.0


def test_the_bag_of_a_run_holds_what_viewers_need(outputs: Path) -> None:
    counts = topics(outputs / 'run.mcap')
    assert counts['/cooptrack/tracks'] == 2
    assert counts['/cooptrack/detections'] == 2
    assert counts['/cooptrack/markers'] == 2
    assert counts['/v2x/roadside/instance_features'] == 2
    assert counts['/gt/tracks'] == 2
    assert any(name.endswith('/image_raw/compressed') for name in counts)
    assert {'/tf', '/tf_static'} <= set(counts)


def test_the_same_run_gives_the_same_numbers(
    scene: Path, weights: list[str], outputs: Path, tmp_path: Path
) -> None:
    assert cli.main(['run', str(scene), '-o', str(tmp_path), '--quiet', *weights]) == 0
    assert read(tmp_path / 'metrics.json') == read(outputs / 'metrics.json')


def test_evaluate_gives_the_numbers_of_the_run(
    scene: Path, weights: list[str], outputs: Path, tmp_path: Path
) -> None:
    target = tmp_path / 'numbers.json'
    code = cli.main(['evaluate', str(scene), '--json', str(target), '--quiet', *weights])
    assert code == 0
    evaluated, ran = read(target), read(outputs / 'metrics.json')
    assert evaluated['methods'] == ran['methods']
    assert evaluated['bytes_per_second'] == ran['bytes_per_second']


def test_roadside_units_may_have_weights_of_their_own(
    scene: Path, weights: list[str], tmp_path: Path
) -> None:
    own, _ = save_pair(tmp_path, bias=-0.5)
    target = tmp_path / 'numbers.json'
    arguments = ['evaluate', str(scene), '--json', str(target), '--quiet', *weights]
    assert cli.main([*arguments, '--roadside-weights', str(own)]) == 0
    numbers = read(target)
    protocol = numbers['protocol']
    assert protocol['roadside_model']['model_id'] == read_metadata(own)['model_id']
    assert protocol['vehicle_model']['model_id'] == read_metadata(weights[1])['model_id']
    assert numbers['inbox']['accepted'] == numbers['inbox']['received'] > 0


def test_a_bag_of_the_dataset_gives_the_same_amount_of_everything(
    scene: Path, weights: list[str], outputs: Path, tmp_path: Path
) -> None:
    bag = tmp_path / 'input.mcap'
    assert cli.main(['bag', str(scene), '-o', str(bag), '--quiet']) == 0
    out = tmp_path / 'out'
    assert cli.main(['run', str(bag), '-o', str(out), '--quiet', *weights]) == 0
    from_bag, from_dataset = topics(out / 'run.mcap'), topics(outputs / 'run.mcap')
    assert from_bag['/cooptrack/tracks'] == from_dataset['/cooptrack/tracks']
    numbers = read(out / 'metrics.json')
    assert numbers['methods']['cooptrack']['frames'] == 2
    # Who sees what is not in a bag, so nothing can be said about hidden cars.
    assert numbers['methods']['cooptrack']['hidden_recall'] is None


def test_a_lossy_link_loses_messages_and_says_so(
    scene: Path, weights: list[str], tmp_path: Path
) -> None:
    arguments = ['run', str(scene), '-o', str(tmp_path), '--quiet', '--loss', '1', *weights]
    assert cli.main(arguments) == 0
    metrics = read(tmp_path / 'metrics.json')
    assert metrics['inbox']['received'] == 0
    assert metrics['protocol']['radio']['loss'] == 1.0


def test_late_messages_are_counted_with_their_reason(
    scene: Path, weights: list[str], tmp_path: Path
) -> None:
    options = ['--latency-ms', '140', *weights]
    assert cli.main(['run', str(scene), '-o', str(tmp_path), '--quiet', *options]) == 0
    counts = read(tmp_path / 'metrics.json')['inbox']
    assert counts['received'] == counts['accepted'] + sum(counts['rejected'].values())


def test_a_truncated_jpeg_is_reported_and_the_run_goes_on(
    scene: Path, weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / 'damaged'
    shutil.copytree(scene, damaged)
    image = sorted((damaged / 'vehicle-side' / 'image').iterdir())[1]
    image.write_bytes(image.read_bytes()[:500])
    assert cli.main(['run', str(damaged), '-o', str(tmp_path / 'out'), *weights]) == 0
    assert image.name in capsys.readouterr().err
    assert read(tmp_path / 'out' / 'metrics.json')['methods']['cooptrack']['frames'] == 2


def test_an_empty_scene_gives_numbers_that_say_undefined(
    scene: Path, weights: list[str], tmp_path: Path
) -> None:
    empty = tmp_path / 'empty'
    shutil.copytree(scene, empty)
    for label in (empty / 'cooperative' / 'label').iterdir():
        label.write_text('[]', encoding='utf-8')
    out = tmp_path / 'out'
    assert cli.main(['run', str(empty), '-o', str(out), '--quiet', *weights]) == 0
    numbers = read(out / 'metrics.json')['methods']['cooptrack']
    assert numbers['ground_truth_boxes'] == 0
    assert numbers['hidden_recall'] is None
    assert numbers['amota'] is None


def test_a_full_disk_leaves_nothing_that_looks_whole(
    scene: Path, weights: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, cooperative = load_model(weights[1]), load_model(weights[3])
    models = ModelSet(agent, agent, cooperative)

    def full(*args: object, **kwargs: object) -> None:
        raise InputError('cannot be written (No space left on device)', path='report.html')

    monkeypatch.setattr('cooptrack_ros.runner.ReportWriter.add', full)
    opened = OpenRecording(scene, scene=None, ego_id='vehicle')
    with opened as recording, pytest.raises(InputError, match='No space left'):
        run_recording(recording, models, tmp_path / 'out', StreamOptions())
    assert list((tmp_path / 'out').glob('*')) == []
    assert list((tmp_path / 'out').glob('.*')) == []


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['run', '/nowhere', '-o', 'out'], ['/nowhere', 'no such file']),
        (['run', '{scene}', '-o', 'out', '--scene', '9999'], ['9999']),
        (['run', '{scene}', '-o', 'out', '--loss', '2'], ['--loss', '0 to 1']),
        (['run', '{scene}', '-o', 'out', '--ego', 'roadside'], ['--ego']),
        (['evaluate', '{scene}', '--methods', 'cooptrak'], ['cooptrak']),
        (['simulate', 'x', '--preset', 'benchmrk'], ['benchmark']),
        (['demo', '--seed', '3'], ['--seed', 'training scenes']),
    ],
)
def test_a_wrong_option_is_one_line_with_a_remedy(
    scene: Path,
    weights: list[str],
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [a.format(scene=scene) for a in arguments]
    extra = weights if arguments[0] in ('run', 'evaluate') else []
    assert cli.main([*filled, *extra]) == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert 'Traceback' not in said
    assert list(tmp_path.iterdir()) == []


def test_the_demo_runs_its_scene_with_the_shipped_weights(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, 'simulated_scene', lambda *arguments: scene)
    assert cli.main(['demo', '--output', str(tmp_path / 'out'), '--quiet']) == 0
    written = {p.name for p in (tmp_path / 'out').iterdir()}
    assert written == {'run.mcap', 'report.html', 'metrics.json'}
    assert set(read(tmp_path / 'out/metrics.json')['methods']) == METHODS


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ('simulate', 'train', 'evaluate', 'run', 'bag', 'demo', 'doctor'):
        with pytest.raises(SystemExit) as end:
            cli.main([command, '--help'])
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert '--json' in said
        assert '--quiet' in said


def test_the_doctor_finds_the_package_and_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(['doctor', '--json', str(tmp_path / 'doctor.json')])
    areas = {f['area']: f for f in read(tmp_path / 'doctor.json')['findings']}
    assert areas['Python']['status'] == 'ok'
    assert areas['model configurations']['status'] == 'ok'
    assert areas['message definitions']['status'] == 'ok'
    assert 'cooptrack doctor' in capsys.readouterr().err
