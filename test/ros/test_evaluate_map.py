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

"""`cooptrack evaluate --map` from simulated rings to the JSON that scripts read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_rings import CONFIG, simulate_rings

from cooptrack_core.datasets.opv2v import Opv2vDataset
from cooptrack_core.evaluation.map_prior import PriorCounter
from cooptrack_core.evaluation.map_protocol import MapProtocol
from cooptrack_core.models.cobevt import Cobevt
from cooptrack_core.models.cobevt.checkpoint import save_weights
from cooptrack_core.perception.map_loading import load_map_model
from cooptrack_core.perception.map_scoreboard import (
    MapEvaluationOptions,
    RadioMethod,
    evaluate_maps,
    map_fusion_method,
    network_method,
)
from cooptrack_ros import cli


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_rings(tmp_path_factory.mktemp('rings') / 'data')


def weights(path: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    save_weights(Cobevt(replace(CONFIG, **changes)), path)
    return path


def test_the_json_holds_protocol_and_every_method(data: Path, tmp_path: Path):
    fused = weights(tmp_path / 'fused.safetensors')
    alone = weights(tmp_path / 'alone.safetensors', operator='no_fusion')
    pooled = weights(tmp_path / 'pooled.safetensors', operator='f_cooper')
    out = tmp_path / 'maps.json'
    arguments = ['evaluate', str(data), '--map', '--json', str(out), '--map-prior', str(data)]
    files = [str(fused), str(alone), f'f_cooper={pooled}']
    assert cli.main([*arguments, '--map-weights', *files]) == 0
    result = json.loads(out.read_text())
    assert set(result['methods']) == {'cobevt', 'no_fusion', 'map_fusion', 'f_cooper', 'prior'}
    for found in result['methods'].values():
        assert {'vehicle', 'drivable', 'lane', 'vehicle_frame_mean'} <= set(found)
        assert found['frames'] == 4
    assert result['protocol']['moments'] == 4
    # Thresholds chosen on the evaluated set itself: nothing constant can do better.
    prior = result['methods']['prior']
    assert all(prior['drivable'] >= m['drivable'] - 0.05 for m in result['methods'].values())
    assert prior['drivable'] > 0.2


def test_without_weights_the_shipped_ones_and_their_prior_are_evaluated(
    data: Path, tmp_path: Path
):
    out = tmp_path / 'maps.json'
    assert cli.main(['evaluate', str(data), '--map', '--every', '4', '--json', str(out)]) == 0
    methods = json.loads(out.read_text())['methods']
    assert set(methods) == {'no_fusion', 'map_fusion', 'cobevt', 'prior'}
    assert methods['cobevt']['bytes_per_message'] > 1000
    assert methods['cobevt']['drivable'] != methods['no_fusion']['drivable']


def test_the_mean_map_of_a_training_set_can_be_kept(data: Path, tmp_path: Path):
    alone = weights(tmp_path / 'alone.safetensors', operator='no_fusion')
    kept, out = tmp_path / 'prior.npz', tmp_path / 'maps.json'
    start = ['evaluate', str(data), '--map', '--map-weights', str(alone), '--json', str(out)]
    assert cli.main([*start, '--map-prior', str(data), '--write-map-prior', str(kept)]) == 0
    first = json.loads(out.read_text())['methods']['prior']
    assert cli.main([*start, '--map-prior', str(kept)]) == 0
    assert json.loads(out.read_text())['methods']['prior'] == first


def test_maps_over_the_radio_are_those_of_the_network_and_their_bytes_are_told(
    data: Path, tmp_path: Path
):
    path = weights(tmp_path / 'fused.safetensors')
    model, protocol = load_map_model(path), MapProtocol()
    scenario = next(s for s in Opv2vDataset(data).scenarios if len(s.agent_ids) > 1)
    frames = list(next(iter(scenario.frames())).agents)
    radio = RadioMethod(model, protocol, 'fp32')
    said, known = radio(frames), network_method(model.network, protocol)(frames)
    for name, mask in known.items():
        assert (mask == said[name]).mean() > 0.99  # cells at a tie may fall either way
    assert radio.messages == len(frames) - 1
    small = RadioMethod(model, protocol, 'int8')
    small(frames)
    assert 0 < small.sent < radio.sent / 2


def test_a_sweep_of_maps_draws_a_line_per_method(data: Path, tmp_path: Path):
    alone = weights(tmp_path / 'alone.safetensors', operator='no_fusion')
    arguments = [
        'sweep',
        str(data),
        '--map',
        '--over',
        'agents',
        '--values',
        '2,1',
        '--every',
        '4',
    ]
    assert cli.main([*arguments, '--map-weights', str(alone), '-o', str(tmp_path / 'out')]) == 0
    document = json.loads((tmp_path / 'out/sweep.json').read_text())
    first, last = document['points']
    assert (first['value'], last['value']) == (1, 2)
    assert first['protocol']['agents_per_moment'] == 1.0 < last['protocol']['agents_per_moment']
    # Others cannot change what it sees.
    assert first['methods']['no_fusion'] == last['methods']['no_fusion']
    assert '<svg' in (tmp_path / 'out/sweep.svg').read_text()


def test_several_runs_of_a_method_are_told_as_mean_and_deviation(data: Path, tmp_path: Path):
    files = []
    for seed in range(2):
        torch.manual_seed(seed)
        files.append(tmp_path / f'{seed}.safetensors')
        save_weights(Cobevt(CONFIG), files[-1])
    out = tmp_path / 'maps.json'
    arguments = ['evaluate', str(data), '--map', '--every', '4', '--json', str(out)]
    assert cli.main([*arguments, '--map-weights', *(f'two={file}' for file in files)]) == 0
    found = json.loads(out.read_text())['methods']['two']
    single = []
    for file in files:
        assert cli.main([*arguments, '--map-weights', str(file)]) == 0
        single.append(json.loads(out.read_text())['methods']['cobevt'])
    assert found['runs'] == single
    both = [one['drivable'] for one in single]
    assert found['drivable'] == pytest.approx(np.mean(both))
    assert found['deviation']['drivable'] == pytest.approx(np.std(both, ddof=1))
    sizes = [one['bytes_per_message'] for one in single]
    assert found['bytes_per_message'] == pytest.approx(np.mean(sizes))


def test_compression_is_swept_over_the_weights_that_were_trained_with_it(
    data: Path, tmp_path: Path
):
    packed = [weights(tmp_path / f'{n}.safetensors', compression=n) for n in (8, 0, 2)]
    alone = weights(tmp_path / 'alone.safetensors', operator='no_fusion')
    files = [str(file) for file in (*packed, alone)]
    out = tmp_path / 'out'
    start = ['sweep', str(data), '--map', '--over', 'compression', '--every', '4', '-o', str(out)]
    assert cli.main([*start, '--map-weights', *files]) == 0
    points = json.loads((out / 'sweep.json').read_text())['points']
    assert [point['value'] for point in points] == [1, 2, 8]
    sizes = [point['methods']['cobevt']['bytes_per_message'] for point in points]
    assert sizes == sorted(sizes, reverse=True)
    assert len({point['methods']['no_fusion']['drivable'] for point in points}) == 1


def test_lost_cameras_are_drawn_anew_in_every_moment_and_alike_in_every_run(data: Path):
    scenario = next(s for s in Opv2vDataset(data).scenarios if len(s.agent_ids) > 1)
    moment = next(iter(scenario.frames()))
    options = MapEvaluationOptions(MapProtocol(), lost_cameras=2)

    def left(index: int) -> tuple[str, ...]:
        frames = options.agents(moment, index)
        assert len(frames[1].images) == 4
        return tuple(image.camera.name for image in frames[0].images)

    drawn = [left(index) for index in range(20)]
    assert all(len(names) == 2 for names in drawn)
    assert len(set(drawn)) > 2
    assert drawn == [left(index) for index in range(20)]
    blind = replace(options, blind_ego=True).agents(moment, 0)
    assert blind[0].images == ()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--map', '--over', 'latency', '--values', '1'], 'not swept over latency'),
        (['--map', '--over', 'agents', '--values', '0'], 'from 1'),
        (['--over', 'cameras', '--values', '1'], 'say --map'),
        (['--map', '--over', 'agents'], 'no value'),
        (['--over', 'latency'], 'no value'),
        (['--map', '--over', 'compression'], 'no messages to compress'),
    ],
)
def test_a_sweep_that_makes_no_sense_says_why(
    data: Path, tmp_path: Path, capsys, arguments: list[str], words: str
):
    assert cli.main(['sweep', str(data), '-o', str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_perfect_method_gets_one_and_the_counts_add_up(data: Path):
    protocol = MapProtocol()
    scenario = Opv2vDataset(data).scenarios[0]
    moments = list(scenario.frames(load_images=False))
    counter = PriorCounter(protocol)
    for moment in moments:
        counter.add(protocol.truth(moment.labels))
    answers = iter([protocol.truth(moment.labels) for moment in moments])
    result = evaluate_maps(
        [moments], {'perfect': lambda frames: next(answers)}, MapEvaluationOptions(protocol)
    )
    found = result['methods']['perfect']
    assert found['vehicle'] == found['drivable'] == found['lane'] == 1.0
    assert counter.prior().frames == found['frames'] == len(moments)


def test_a_blind_ego_still_hears_the_others_but_its_own_image_is_gone(data: Path):
    scenario = next(s for s in Opv2vDataset(data).scenarios if len(s.agent_ids) > 1)
    moments = list(scenario.frames())
    heard: list[list[int]] = []

    def spy(frames):
        heard.append([len(f.images) for f in frames])
        grid = np.zeros((256, 256), dtype=bool)
        return {'vehicle': grid, 'drivable': grid, 'lane': grid}

    options = MapEvaluationOptions(MapProtocol(), blind_ego=True, max_agents=2)
    evaluate_maps([moments], {'spy': spy}, options)
    assert all(counts[0] == 0 for counts in heard)
    assert any(len(counts) == 2 and counts[1] == 4 for counts in heard)


def test_one_agent_alone_is_the_same_by_network_and_by_map_fusion(data: Path):
    torch.manual_seed(0)
    model = Cobevt(replace(CONFIG, operator='no_fusion')).eval()
    moment = next(iter(Opv2vDataset(data).scenarios[0].frames()))
    one = [moment.ego]
    first, second = (m(model, MapProtocol())(one) for m in (network_method, map_fusion_method))
    for name, mask in first.items():
        assert (mask == second[name]).mean() > 0.999  # cells at a tie may fall either way
