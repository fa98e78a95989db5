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

"""`cooptrack run --map` on simulated rings and on a scene with one camera per agent."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from map_frames import weights_file
from rosbags.highlevel import AnyReader
from small_rings import simulate_rings

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_ros import cli
from cooptrack_ros.bags import typestore
from cooptrack_ros.commands import common
from cooptrack_ros.conversions.geometry import yaw_of
from cooptrack_ros.recordings import OpenRecording

GRIDS = {f'/cooptrack/bev/{name}' for name in ('vehicle', 'drivable', 'lane')}


@pytest.fixture(scope='module')
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_rings(tmp_path_factory.mktemp('rings') / 'data')


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_file(tmp_path_factory.mktemp('model') / 'small.safetensors')


def run(data: Path, out: Path, model: Path, *more: str) -> Any:
    arguments = ['run', str(data), '-o', str(out), '--quiet', '--map', '--map-weights', str(model)]
    assert cli.main([*arguments, *more]) == 0
    return json.loads((out / 'metrics.json').read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def outputs(rings: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('run')
    run(rings, out, model, '--dtype', 'fp32')
    return out


def records(path: Path) -> list[Any]:
    text = path.read_text(encoding='utf-8')
    found = re.findall(r'<script type="application/json" class="frame">(.*?)</script>', text)
    return [json.loads(one) for one in found]


def test_rings_give_maps_agents_and_truth_without_tracks(outputs: Path):
    metrics = json.loads((outputs / 'metrics.json').read_text(encoding='utf-8'))
    assert metrics['methods'] == {}
    maps = metrics['maps']
    assert set(maps['methods']) == {'ego_alone', 'cooperative'}
    assert maps['methods']['cooperative']['frames'] == 2
    traffic, inbox = maps['traffic']['fp32'], maps['inbox']
    assert traffic['messages'] == inbox['received'] == inbox['accepted'] > 0
    # 8 of 16 channels of 16 x 16 cells are sent; what deflate finds is the network's matter.
    assert 100 < traffic['bytes_per_message'] < 8 * 16 * 16 * 4 + 1000
    for record in records(outputs / 'report.html'):
        assert record['cooperative'] is None and record['ego_only'] is None
        assert record['map']['classes'] == ['vehicle', 'drivable', 'lane']
        assert record['map']['truth'] and record['truth'] is not None
        kinds = {message['kind'] for message in record['messages']}
        assert kinds == {'map'} and record['map']['remote']
        assert all(re.fullmatch(r'(vehicle|roadside)_\d+', a['id']) for a in record['agents'])


def test_the_bag_of_a_map_run_opens_in_viewers(outputs: Path):
    with AnyReader([outputs / 'run.mcap'], default_typestore=typestore()) as reader:
        counts = {c.topic: c.msgcount for c in reader.connections}
        assert all(counts[topic] == 2 for topic in GRIDS)
        assert counts['/cooptrack/bev/semantic'] == counts['/cooptrack/bev/markers'] == 2
        assert counts['/cooptrack/bev/label_info'] == 1 and counts['/gt/tracks'] == 2
        assert '/cooptrack/tracks' not in counts
        chosen = [c for c in reader.connections if c.topic in {*GRIDS, '/tf'}]
        grids, bodies = {}, {}
        for connection, stamp, raw in reader.messages(chosen):
            message = reader.deserialize(raw, connection.msgtype)
            if connection.topic == '/tf':
                for t in message.transforms:
                    bodies[stamp, t.child_frame_id] = t.transform
            else:
                grids[stamp, connection.topic] = message
    for (stamp, _), grid in grids.items():
        # The middle of the grid is the ego's body, as TF has it.
        corner, side = grid.info.origin, grid.info.width * grid.info.resolution
        place = [corner.position.x, corner.position.y, corner.position.z]
        origin = SE3.from_yaw(yaw_of(corner.orientation), place)
        middle = origin.transform_points(np.array([side / 2, side / 2, 0.0]))
        body = bodies[stamp, 'vehicle_1/base_link'].translation
        np.testing.assert_allclose(middle, [body.x, body.y, body.z], atol=1e-3)


def test_the_map_of_the_run_is_the_map_of_the_evaluation(
    rings: Path, model: Path, outputs: Path, tmp_path: Path
):
    """The live steps, message by message, against the model applied to whole moments."""
    found = tmp_path / 'maps.json'
    arguments = ['evaluate', str(rings), '--map', '--map-weights', f'x={model}', '--scenes', '1']
    assert cli.main([*arguments, '--quiet', '--json', str(found)]) == 0
    expected = json.loads(found.read_text())['methods']['x']
    ran = json.loads((outputs / 'metrics.json').read_text())['maps']['methods']['cooperative']
    for name in ('vehicle', 'drivable', 'lane'):
        assert ran[name] == pytest.approx(expected[name], abs=1e-3)


def test_when_all_maps_are_lost_the_ego_maps_alone(rings: Path, model: Path, tmp_path: Path):
    lost = run(rings, tmp_path, model, '--loss', '1')['maps']
    assert lost['methods']['cooperative'] == lost['methods']['ego_alone']
    assert lost['inbox']['received'] == 0 and lost['traffic']['int8']['messages'] > 0
    outcomes = {m['outcome'] for r in records(tmp_path / 'report.html') for m in r['messages']}
    assert outcomes == {'lost'}


def test_the_same_run_gives_the_same_numbers_and_maps(rings: Path, model: Path, tmp_path: Path):
    again = [
        run(rings, tmp_path / name, model, '--jitter-ms', '30', '--loss', '0.3', '--seed', '4')
        for name in ('a', 'b')
    ]
    assert again[0] == again[1]
    pages = [records(tmp_path / name / 'report.html') for name in ('a', 'b')]
    assert pages[0] == pages[1]


def test_tracks_are_the_same_with_maps_under_them(
    scene: Path, weights: list[str], model: Path, tmp_path: Path
):
    with_maps = run(scene, tmp_path / 'maps', model, *weights)
    assert cli.main(['run', str(scene), '-o', str(tmp_path / 'plain'), '--quiet', *weights]) == 0
    plain = json.loads((tmp_path / 'plain' / 'metrics.json').read_text())
    assert with_maps['methods'] == plain['methods'] and 'maps' not in plain
    assert with_maps['bytes_per_second'] == plain['bytes_per_second']
    assert with_maps['maps']['methods']['cooperative']['frames'] == 2
    for record in records(tmp_path / 'maps' / 'report.html'):
        assert record['cooperative'] is not None and record['map'] is not None


def test_a_lost_camera_and_a_blind_agent_are_counted(
    rings: Path, model: Path, tmp_path: Path, capsys
):
    copy = tmp_path / 'copy'
    shutil.copytree(rings, copy)
    scenario = sorted(p for p in (copy / 'train').iterdir() if p.is_dir())[0]
    agents = sorted(p for p in scenario.iterdir() if p.is_dir())
    frames = sorted({p.stem for p in agents[-1].glob('*.yaml')}, key=int)
    names = {a.name for a in agents}
    ego = min(n for n in names if int(n) >= 0)
    other = next(n for n in sorted(names) if n != ego)
    for image in (scenario / ego).glob(f'{frames[1]}_camera1.*'):
        image.unlink()
    for image in (scenario / other).glob(f'{frames[0]}_camera*.*'):
        image.unlink()
    arguments = ['run', str(copy), '-o', str(tmp_path / 'out'), '--map', '--map-weights']
    assert cli.main([*arguments, str(model)]) == 0
    told = capsys.readouterr()
    maps = json.loads((tmp_path / 'out' / 'metrics.json').read_text())['maps']
    mine = maps['agents'][f'vehicle_{ego}']
    assert sum(mine['cameras_missing'].values()) == 1 and mine['blind'] == 0
    name = f'roadside_{other[1:]}' if other.startswith('-') else f'vehicle_{other}'
    assert maps['agents'][name]['blind'] == 1
    assert 'cameras missing' in told.out + told.err


def test_what_cannot_be_run_is_said_clearly(
    rings: Path, model: Path, tmp_path: Path, capsys, monkeypatch
):
    def fails(*arguments: str) -> str:
        assert cli.main(['run', str(rings), '-o', str(tmp_path), '--quiet', *arguments]) == 2
        return capsys.readouterr().err

    assert '--map' in fails()
    monkeypatch.setattr(common, 'MAP_WEIGHTS', 'not_there.safetensors')
    assert 'train --stage map' in fails('--map')
    wrong = common.resources.weights_path(common.AGENT_WEIGHTS)
    assert 'no weights of CoBEVT' in fails('--map', '--map-weights', str(wrong))
    with_model = ('--map', '--map-weights', str(model))
    assert 'vehicle_1' in fails(*with_model, '--ego', 'truck')
    assert 'sequence' in fails(*with_model, '--scene', 'nowhere')
    with pytest.raises(InputError), OpenRecording(tmp_path, scene=None, ego_id='vehicle'):
        pass
