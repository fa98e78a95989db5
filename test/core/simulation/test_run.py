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

"""Whole runs: the files, read back by the dataset reader; same seed, same bytes; bad input."""

from __future__ import annotations

import errno
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cooptrack_core.datasets.v2x_seq.dataset import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.simulation import describe, load_preset, raycast, simulate, writer
from cooptrack_core.simulation.scene import SceneSimulation


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('simulated') / 'data'
    simulate(out, 'tiny', scenes=2, seed=3, workers=1)
    return out


def _digests(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob('*'))
        if p.is_file()
    }


def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(made, tmp_path):
    steps = []
    simulate(tmp_path / 'again', 'tiny', scenes=2, seed=3, workers=2,
             progress=lambda done, total: steps.append((done, total)))  # fmt: skip
    assert _digests(made) == _digests(tmp_path / 'again')
    assert steps == [(2, 4), (4, 4)]


def test_a_scene_made_in_parts_has_the_bytes_of_one_made_whole(made, tmp_path, monkeypatch):
    monkeypatch.setattr('cooptrack_core.simulation.run._PART', 1)
    steps = []
    simulate(tmp_path / 'parts', 'tiny', scenes=2, seed=3, workers=1,
             progress=lambda done, total: steps.append((done, total)))  # fmt: skip
    assert _digests(made) == _digests(tmp_path / 'parts')
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_scene_does_not_depend_on_how_many_there_are(made, tmp_path):
    simulate(tmp_path / 'one', 'tiny', scenes=1, seed=3, workers=1)
    one, two = _digests(tmp_path / 'one'), _digests(made)
    shared = {k for k in one if 'image/' in k or '/label/' in k or 'velodyne/' in k}
    assert len(shared) > 10
    assert all(one[k] == two[k] for k in shared)


def test_another_seed_gives_other_pictures(made, tmp_path):
    simulate(tmp_path / 'other', 'tiny', scenes=1, seed=4, workers=1)
    name = 'vehicle-side/image/000000.jpg'
    assert (made / name).read_bytes() != (tmp_path / 'other' / name).read_bytes()


def test_the_reader_understands_every_frame(made):
    dataset = V2XSeqDataset(made, split='val')
    assert len(dataset.scenes) == 2
    for scene in dataset.scenes:
        assert len(scene.pairs) == 2
        for pair in scene.pairs:
            ego = scene.frame('vehicle', pair.ego_frame_id, load_points=True)
            remote = scene.remote_frame(pair, 'roadside', load_points=True)
            assert ego.images[0].image.shape == (90, 160, 3)
            assert len(ego.points) > 500
            assert len(remote.points) > 200
            skew_ms = abs(remote.stamp_ns - ego.stamp_ns) / 1e6
            assert 0 < skew_ms < 25


def test_labels_of_all_sides_name_the_same_places(made):
    """A standing object labelled by both sides and in the union lies at one place in the world."""
    checked = 0
    for scene in V2XSeqDataset(made).scenes:
        for pair in scene.pairs:
            name = f'{pair.ego_frame_id}.json'
            seen = json.loads((made / 'cooperative' / 'visibility' / name).read_text())
            standing = {o['track_id'] for o in seen['objects'] if o['speed'] == 0}
            places: dict[int, list[np.ndarray]] = {}
            ego = scene.frame('vehicle', pair.ego_frame_id, load_images=False)
            sides = [(ego, scene.labels('vehicle', pair.ego_frame_id)),
                     (ego, scene.cooperative_labels(pair.ego_frame_id))]  # fmt: skip
            frame_id = pair.remote_frame_ids['roadside']
            sides.append((scene.remote_frame(pair, 'roadside', load_images=False),
                          scene.labels('roadside', frame_id)))  # fmt: skip
            for frame, labels in sides:
                world = labels.boxes.transformed(frame.world_SE3_agent)
                for track_id, center in zip(labels.track_ids, world.centers, strict=True):
                    if int(track_id) in standing:
                        places.setdefault(int(track_id), []).append(center)
            for found in places.values():
                if len(found) == 3:
                    np.testing.assert_allclose(found[0], found[1], atol=1e-3)
                    np.testing.assert_allclose(found[0], found[2], atol=1e-3)
                    checked += 1
    assert checked > 0


def test_the_union_holds_what_any_side_labels_and_the_ego_if_seen(made):
    for pair in json.loads((made / 'cooperative' / 'data_info.json').read_text()):

        def ids(path: str) -> set[str]:
            return {row['track_id'] for row in json.loads((made / path).read_text())}

        vehicle = ids(f'vehicle-side/label/lidar/{pair["vehicle_frame"]}.json')
        roadside = ids(
            f'infrastructure-side/label/virtuallidar/{pair["infrastructure_frame"]}.json'
        )
        union = json.loads((made / f'cooperative/label/{pair["vehicle_frame"]}.json').read_text())
        assert {r['track_id'] for r in union} <= vehicle | roadside
        assert vehicle <= {r['track_id'] for r in union}
        for row in union:
            by = {'veh': row['track_id'] in vehicle, 'inf': row['track_id'] in roadside}
            expected = 'coop' if all(by.values()) else 'veh' if by['veh'] else 'inf'
            assert row['from_side'] == expected


def test_index_rows_have_every_field_of_the_layout(made):
    common = {
        'image_path', 'pointcloud_path', 'calib_camera_intrinsic_path', 'label_camera_std_path',
        'label_lidar_std_path', 'intersection_loc', 'image_timestamp', 'pointcloud_timestamp',
        'frame_id', 'num_frames', 'sequence_id',
    }  # fmt: skip
    vehicle = {'calib_lidar_to_camera_path', 'calib_lidar_to_novatel_path',
               'calib_novatel_to_world_path', 'start_frame_id', 'end_frame_id'}  # fmt: skip
    roadside = {'calib_virtuallidar_to_camera_path', 'calib_virtuallidar_to_world_path',
                'camera_ip', 'camera_id', 'lidar_id', 'valid_frames_splits'}  # fmt: skip
    for side, extra in (('vehicle-side', vehicle), ('infrastructure-side', roadside)):
        rows = json.loads((made / side / 'data_info.json').read_text())
        assert len(rows) == 4
        for row in rows:
            assert set(row) == common | extra
            for key, path in row.items():
                if key.endswith('_path'):
                    assert (made / side / path).is_file(), path
            assert len(row['pointcloud_timestamp']) == 16


def test_more_agents_are_listed_and_readable(tmp_path):
    preset = replace(load_preset('tiny'), name='more', roadsides=2, vehicles=1)
    simulate(tmp_path / 'more', preset, scenes=2, seed=1, workers=1)
    dataset = V2XSeqDataset(tmp_path / 'more')
    assert [a.agent_id for a in dataset.agents] == [
        'vehicle', 'roadside', 'roadside_1', 'vehicle_1',
    ]  # fmt: skip
    scene = dataset.scenes[0]
    for agent_id in scene.pairs[0].remote_frame_ids:
        assert scene.remote_frame(scene.pairs[0], agent_id).images


def test_clouds_can_be_left_out(tmp_path):
    tiny = load_preset('tiny')
    preset = replace(tiny, frames=1, lidar=replace(tiny.lidar, write=False))
    simulate(tmp_path / 'thin', preset, scenes=1, workers=1)
    assert not list((tmp_path / 'thin').rglob('*.pcd'))
    assert json.loads((tmp_path / 'thin/vehicle-side/label/lidar/000000.json').read_text())


def test_the_summary_is_what_the_files_say(made):
    summary = describe(made)
    assert summary.pairs == 4
    assert summary.scenes == sum(summary.weather.values()) == 2
    assert 0 <= summary.hidden_share <= 1
    assert sum(summary.range_histogram.values()) == pytest.approx(
        sum(summary.speed_histogram.values())
    )
    assert 'hidden from the ego' in summary.as_markdown()


def test_an_existing_output_is_not_touched(made):
    before = _digests(made)
    with pytest.raises(InputError, match='exists already'):
        simulate(made, 'tiny', scenes=1)
    assert _digests(made) == before


def test_overwrite_replaces_the_old_output(tmp_path):
    out = tmp_path / 'data'
    out.mkdir()
    (out / 'old.txt').write_text('old')
    preset = replace(load_preset('tiny'), frames=1)
    simulate(out, preset, scenes=1, workers=1, overwrite=True)
    assert not (out / 'old.txt').exists()
    assert (out / 'cooperative' / 'data_info.json').exists()
    assert [p.name for p in tmp_path.iterdir()] == ['data']


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    written = []

    def full(path: Path, content: object) -> None:
        written.append(path)
        if len(written) > 12:
            raise OSError(errno.ENOSPC, 'No space left on device')
        path.write_text('{}')

    monkeypatch.setattr(writer, '_dump', full)
    with pytest.raises(InputError, match=r'No space left on device.*nothing incomplete'):
        simulate(tmp_path / 'data', 'tiny', scenes=1, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_the_missing_ray_caster_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(raycast, 'EmbreeScene', None)
    with pytest.raises(InputError, match=r'pip install "cooptrack_ros\[simulator\]"'):
        simulate(tmp_path / 'data', 'tiny', scenes=1)


def test_an_unknown_preset_names_the_nearest(tmp_path):
    with pytest.raises(InputError, match="did you mean 'benchmark'"):
        simulate(tmp_path / 'data', 'benchmrk')


def test_an_unknown_key_of_a_preset_names_the_nearest(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('name: mine\nframse: 3\n')
    with pytest.raises(InputError, match="did you mean 'frames'"):
        simulate(tmp_path / 'data', path)


@pytest.mark.parametrize(('scenes', 'seed'), [(0, 0), (1, -1)])
def test_senseless_numbers_are_refused(tmp_path, scenes, seed):
    with pytest.raises(InputError, match='Remedy'):
        simulate(tmp_path / 'data', 'tiny', scenes=scenes, seed=seed)


def test_a_directory_that_is_no_simulation_cannot_be_described(tmp_path):
    with pytest.raises(InputError, match='no complete simulated dataset'):
        describe(tmp_path)


def test_the_benchmark_preset_is_frozen():
    """Whoever changes these scenes makes published figures incomparable: see CHANGELOG.rst."""
    preset = load_preset('benchmark')
    assert (preset.frames, preset.rate_hz, preset.roadsides, preset.vehicles) == (100, 10.0, 1, 0)
    assert (preset.camera.width, preset.camera.height) == (960, 540)
    small = replace(preset.camera, width=32, height=18, ground_texel=2.0)
    preset = replace(preset, camera=small, lidar=load_preset('tiny').lidar)
    expected = [
        ('tee', 'overcast', 6, -7.646, {'Car': 7, 'Cyclist': 1, 'Pedestrian': 17, 'Truck': 1,
                                        'Van': 4}),
        ('skewed', 'overcast', 14, -39.879, {'Bus': 1, 'Car': 21, 'Cyclist': 1, 'Motorcyclist': 1,
                                             'Pedestrian': 16, 'Truck': 4, 'Van': 2}),
    ]  # fmt: skip
    for index, (layout, weather, routes, skew_ms, types) in enumerate(expected):
        scene = SceneSimulation(preset, 0, index)
        assert (scene.layout.kind, scene.light.kind) == (layout, weather)
        assert len(scene.layout.routes) == routes
        assert scene.agents[1].skew_s * 1000 == pytest.approx(skew_ms, abs=1e-3)
        assert Counter(a.body.type for a in scene.actors if a.first == 0) == types
