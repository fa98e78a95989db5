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

"""`cooptrack evaluate` with more than one set of weights: training seeds and ablations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_models import small_model

from cooptrack_core.models.checkpoint import read_metadata, save_weights
from cooptrack_ros import cli


@pytest.fixture(scope='module')
def other(weights: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cooperative weights of another seed, for the same sender."""
    path = tmp_path_factory.mktemp('other') / 'weights.safetensors'
    sender = read_metadata(weights[3])['sender_model_id']
    save_weights(small_model(True, seed=9), path, metadata={'sender_model_id': sender})
    return path


def evaluate(scene: Path, target: Path, *options: str) -> Any:
    arguments = ['evaluate', str(scene), '--rate', '2', '--json', str(target), '--quiet']
    assert cli.main([*arguments, *options]) == 0
    return json.loads(target.read_text(encoding='utf-8'))


def test_the_mean_over_training_seeds_is_told_and_every_run(
    scene: Path, weights: list[str], other: Path, tmp_path: Path
) -> None:
    methods = ('--methods', 'no_fusion,rule_matching,cooptrack')
    both = evaluate(scene, tmp_path / 'a', *methods, *weights, '--seed-weights', str(other))
    first = evaluate(scene, tmp_path / 'b', *methods, *weights)
    second = evaluate(scene, tmp_path / 'c', *methods, *weights[:3], str(other))
    assert set(both['methods']) == {'no_fusion', 'rule_matching', 'cooptrack'}
    assert both['methods']['no_fusion'] == first['methods']['no_fusion']
    for name in ('rule_matching', 'cooptrack'):
        found = both['methods'][name]
        assert found['runs'] == [run['methods'][name] for run in (first, second)]
        boxes = [run['detected_boxes'] for run in found['runs']]
        assert found['detected_boxes'] == pytest.approx(sum(boxes) / 2)
        assert set(found['deviation']) >= {'mean_ap', 'amota'}
    models = both['protocol']['cooperative_seeds']
    assert [m['model_id'] for m in models] == [second['protocol']['cooperative_model']['model_id']]


def test_seed_weights_must_be_of_their_method(
    scene: Path, weights: list[str], other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, words in (
        (f'late_fusion={other}', ['late_fusion', '--seed-weights', 'query_fusion']),
        (f'query_fusion={other}', ['query_fusion', str(other), '--seed-weights']),
        (weights[1], [weights[1], 'cooperative weights']),
    ):
        assert cli.main(['evaluate', str(scene), *weights, '--seed-weights', given]) != 0
        said = capsys.readouterr().err.replace('\n', '')
        for word in words:
            assert word in said


def test_an_ablation_takes_the_variants_that_were_trained(
    scene: Path, weights: list[str], other: Path, tmp_path: Path
) -> None:
    runs = tmp_path / 'runs'
    for name, file in (
        ('without_caa', 'weights.safetensors'),
        ('without_gba', 'tiny_cooperative.safetensors'),
    ):
        (runs / name).mkdir(parents=True)
        shutil.copy(other, runs / name / file)
    options = ('--methods', 'cooptrack', '--ablation', '--ablation-weights', str(runs))
    found = evaluate(scene, tmp_path / 'a', *options, *weights)
    assert {'without_mdfe_caa_gba', 'without_caa', 'history_0'} < set(found['methods'])
    ids = {name: found['protocol'][f'{name}_model']['model_id'] for name in (
        'without_caa', 'without_gba', 'without_mdfe', 'cooperative')}  # fmt: skip
    assert ids['without_caa'] == ids['without_gba'] != ids['cooperative']
    assert ids['without_mdfe'] == ids['cooperative']


def test_an_ablation_of_several_seeds_tells_their_mean_and_misses_no_run(
    scene: Path, weights: list[str], other: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    first, second = tmp_path / 'seed_1', tmp_path / 'seed_2'
    for directory, source in ((first, other), (second, Path(weights[3]))):
        (directory / 'without_gba').mkdir(parents=True)
        shutil.copy(source, directory / 'without_gba' / 'weights.safetensors')
    options = ('--methods', 'cooptrack', '--ablation', '--ablation-weights')
    found = evaluate(scene, tmp_path / 'a', *options, str(first), str(second), *weights)
    alone = evaluate(scene, tmp_path / 'b', *options, str(second), *weights)
    runs = found['methods']['without_gba']['runs']
    assert len(runs) == 2 and runs[1] == alone['methods']['without_gba']
    assert 'runs' not in found['methods']['without_caa'], 'it was not trained, with any seed'
    (first / 'without_caa').mkdir()
    shutil.copy(other, first / 'without_caa' / 'weights.safetensors')
    command = ['evaluate', str(scene), *options, str(first), str(second), *weights]
    assert cli.main(command) != 0
    said = capsys.readouterr().err.replace('\n', '')
    assert 'without_caa is missing' in said and 'seed_2' in said
