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

"""V2X-Seq reader against the real files that exist locally; numbers from the data's provenance."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from cooptrack_core.datasets.v2x_seq import LabelCorrections, read_dair_pair, read_dair_pairs
from cooptrack_core.datasets.v2x_seq.layout import FrameRecord, read_pairs, read_split
from cooptrack_core.errors import InputError


@pytest.fixture
def dair_root(shared_dir):
    return shared_dir / 'data/dair_v2x_pair/data/DAIR-V2X'


@pytest.fixture
def pair(dair_root):
    (row,) = read_dair_pairs(dair_root / 'cooperative/selected_data_info.json')
    return read_dair_pair(dair_root, row)


def test_the_real_pair_has_its_known_points_and_labels(pair):
    assert len(pair.vehicle.points) == 62199
    assert len(pair.roadside.points) == 53653
    assert len(pair.vehicle_labels) + len(pair.roadside_labels) + sum(pair.counts.values()) == 31
    assert pair.counts == {'dropped: class trafficcone': 11}
    assert pair.offset == (-0.7, -0.54)


def test_every_real_label_box_holds_points(pair):
    for labels, frame in (
        (pair.vehicle_labels, pair.vehicle),
        (pair.roadside_labels, pair.roadside),
    ):
        inside = labels.boxes.contains(frame.points[:, :3]).sum(1)
        assert inside.min() >= 5


def test_the_real_registration_brings_cars_together(pair):
    def cars(labels):
        return labels.boxes[np.array([name == 'car' for name in labels.class_names])]

    ours = cars(pair.vehicle_labels).centers
    theirs = cars(pair.roadside_labels)

    def distances(vehicle_SE3_roadside):
        moved = theirs.transformed(vehicle_SE3_roadside).centers
        return np.sort(np.linalg.norm((ours[None] - moved[:, None])[..., :2], axis=-1).min(1))

    assert distances(pair.vehicle_SE3_roadside).round(2).tolist() == [0.09, 0.13, 0.17, 0.29]
    assert distances(pair.vehicle_SE3_roadside.inverse()).min() > 10
    assert pair.roadside.world_SE3_agent is pair.vehicle_SE3_roadside


def test_a_pair_without_registration_uses_the_calibration_chain(dair_root, tmp_path, pair):
    """The chain of files, made so that it says the same as the real registration."""
    root = tmp_path / 'DAIR-V2X'
    for side in ('vehicle-side', 'infrastructure-side', 'cooperative'):
        shutil.copytree(dair_root / side / 'label', root / side / 'label') if (
            dair_root / side / 'label'
        ).exists() else (root / side).mkdir(parents=True)
    (row,) = read_dair_pairs(dair_root / 'cooperative/selected_data_info.json')
    with pytest.raises(InputError, match='neither a registration nor the calibration'):
        read_dair_pair(root, row, load_points=False)

    def write(path, pose):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(pose))

    eye = {'rotation': np.eye(3).tolist(), 'translation': [[0], [0], [0]]}
    calib = root / 'vehicle-side/calib'
    write(calib / 'lidar_to_novatel/017314.json', {'transform': eye})
    write(calib / 'novatel_to_world/017314.json', eye)
    registered = pair.vehicle_SE3_roadside
    without_offset = registered.translation - [-0.7, -0.54, 0.0]
    write(
        root / 'infrastructure-side/calib/virtuallidar_to_world/001366.json',
        {'rotation': registered.rotation.tolist(), 'translation': without_offset.tolist()},
    )
    found = read_dair_pair(root, row, load_points=False)
    assert found.vehicle.points is None
    np.testing.assert_allclose(found.vehicle_SE3_roadside.matrix, registered.matrix, atol=1e-9)


def test_the_real_index_of_dair_pairs_is_read(shared_dir):
    rows = read_dair_pairs(shared_dir / 'data/dair_v2x_pair/data/data_info_dair_paper3737.json')
    assert len(rows) == 3737
    assert rows[0].text('vehicle_pointcloud_path') == 'vehicle-side/velodyne/000289.pcd'


def test_the_real_split_has_its_known_sequences(shared_dir):
    path = shared_dir / 'data/v2x_seq_spd_meta/data/split_datas/cooperative-split-data-spd.json'
    splits = {name: read_split(path, name) for name in ('train', 'val', 'test')}
    assert {name: len(ids) for name, ids in splits.items()} == {'train': 46, 'val': 21, 'test': 28}
    assert len(frozenset().union(*splits.values())) == 95
    assert '0003' in splits['val']


def test_the_real_corrections_have_their_known_counts(shared_dir):
    corrections = LabelCorrections.read(
        shared_dir / 'data/v2x_seq_spd_meta/tools/spd_data_converter/update_label_info.json'
    )
    assert len(corrections.vehicle) == 29
    assert len(corrections.roadside) == 146
    assert len(corrections.cooperative) == 6963
    assert sum(change is None for change in corrections.vehicle.values()) == 14
    assert set(corrections.roadside.values()) == {('Car', 1846), ('Car', 2907)}
    assert set(corrections.cooperative.values()) == {None}


def frame(frame_id, sequence_id, stamp_us):
    return FrameRecord(frame_id, sequence_id, stamp_us * 1000, stamp_us * 1000, *[''] * 4, (), '')


def test_the_real_validation_index_gives_its_pairs(shared_dir, tmp_path):
    source = shared_dir / 'data/v2x_seq_spd_index/val_pairs_k0.json'
    rows = json.loads(source.read_text())
    (tmp_path / 'cooperative').mkdir()
    shutil.copy(source, tmp_path / 'cooperative' / 'data_info.json')
    # The index has no stamps; frame numbers stand in for them.
    frames = {
        agent_id: {r[f'{side}_frame']: frame(r[f'{side}_frame'], r[f'{side}_sequence'],
                                             int(r[f'{side}_frame']) * 100_000) for r in rows}
        for agent_id, side in (('vehicle', 'vehicle'), ('roadside', 'infrastructure'))
    }  # fmt: skip
    pairs = read_pairs(tmp_path, frames)
    assert sum(map(len, pairs.values())) == 3237
    split = shared_dir / 'data/v2x_seq_spd_meta/data/split_datas/cooperative-split-data-spd.json'
    assert set(pairs) == read_split(split, 'val')
    first = pairs['0003'][0]
    assert first.ego_frame_id == '000871'
    assert first.remote_frame_ids == {'roadside': '000903'}
    assert first.offsets == {'roadside': (-1.02, -0.62)}
    for scene in pairs.values():
        ids = [pair.ego_frame_id for pair in scene]
        assert ids == sorted(ids)


def test_hand_pasted_records_have_every_key_that_the_index_needs(shared_dir):
    """The file is no strict JSON (stray spaces and breaks), so only this test reads it."""
    text = (shared_dir / 'data/dair_v2x_records/data_info_examples.txt').read_text()
    keys = {key.strip() for key in re.findall(r'"([^"]*)"\s*:', text)}
    common = {'image_path', 'pointcloud_path', 'image_timestamp', 'pointcloud_timestamp',
              'calib_camera_intrinsic_path', 'label_lidar_std_path'}  # fmt: skip
    sides = {'calib_virtuallidar_to_camera_path', 'calib_virtuallidar_to_world_path',
             'calib_lidar_to_camera_path', 'calib_lidar_to_novatel_path',
             'calib_novatel_to_world_path'}  # fmt: skip
    assert common | sides | {'system_error_offset', 'delta_x', 'delta_y'} <= keys
    stamps = [int(s) for s in re.findall(r'timestamp": "(\d+)"', text)]
    # Microseconds of summer 2021; camera and LiDAR of one frame within a tenth of a second.
    assert all(1.62e15 < s < 1.64e15 for s in stamps)
    assert all(abs(a - b) < 100_000 for a, b in zip(stamps[::2], stamps[1::2], strict=True))
