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

"""V2X-Seq reader: bad input is an error that names file, field and remedy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from builder import Extra, Spec, build_v2x_seq, rows_without

from cooptrack_core.datasets.v2x_seq import LabelCorrections, V2XSeqDataset
from cooptrack_core.errors import InputError


@pytest.fixture
def built(tmp_path):
    return build_v2x_seq(tmp_path / 'data', Spec(points='binary'))


def open_error(built, **options):
    with pytest.raises(InputError) as error:
        V2XSeqDataset(built.root, **options)
    return checked(error.value)


def frame_error(built, side='vehicle', number=1, **options):
    scene = V2XSeqDataset(built.root).scenes[0]
    with pytest.raises(InputError) as error:
        scene.frame(side, built.frame_id(side, number), **options)
    return checked(error.value)


def label_error(built, side='vehicle', number=1):
    scene = V2XSeqDataset(built.root).scenes[0]
    with pytest.raises(InputError) as error:
        if side == 'cooperative':
            scene.cooperative_labels(built.frame_id('vehicle', number))
        else:
            scene.labels(side, built.frame_id(side, number))
    return checked(error.value)


def checked(error):
    assert error.path is not None
    assert error.remedy
    assert str(error.path) in str(error)
    return error


@pytest.mark.parametrize('side', ['vehicle-side', 'infrastructure-side', 'cooperative'])
def test_a_missing_index_is_named(built, side):
    (built.root / side / 'data_info.json').unlink()
    assert open_error(built).path == built.root / side / 'data_info.json'


def test_a_directory_of_something_else_is_named(tmp_path):
    with pytest.raises(InputError, match=r"vehicle-side: .*'vehicle' is missing.*Remedy"):
        V2XSeqDataset(tmp_path)


def test_bad_json_is_named(built):
    path = built.root / 'vehicle-side' / 'data_info.json'
    path.write_text(path.read_text()[:-10])
    error = open_error(built)
    assert error.path == path
    assert 'not valid JSON' in error.message


def test_an_index_that_is_no_list_is_named(built):
    (built.root / 'cooperative' / 'data_info.json').write_text('{}')
    assert 'should be a list' in open_error(built).message


@pytest.mark.parametrize(
    'key',
    ['frame_id', 'sequence_id', 'pointcloud_timestamp', 'image_timestamp', 'image_path',
     'pointcloud_path', 'calib_camera_intrinsic_path', 'calib_lidar_to_camera_path',
     'calib_lidar_to_novatel_path', 'calib_novatel_to_world_path', 'label_lidar_std_path'],
)  # fmt: skip
def test_a_missing_key_of_the_index_is_named(built, key):
    built.edit('vehicle-side/data_info.json', lambda r: r[:2] + rows_without(r[2:3], {key}))
    assert open_error(built).field == f'[2].{key}'


@pytest.mark.parametrize('key', ['vehicle_frame', 'infrastructure_frame', 'system_error_offset'])
def test_a_missing_key_of_the_pairs_is_named(built, key):
    built.edit('cooperative/data_info.json', lambda r: rows_without(r, {key}))
    assert open_error(built).field == f'[0].{key}'


@pytest.mark.parametrize('value', ['yesterday', None, 1.5, True, [1]])
def test_a_stamp_that_is_no_number_is_named(built, value):
    built.edit(
        'infrastructure-side/data_info.json', lambda r: r[3].update(pointcloud_timestamp=value)
    )
    assert open_error(built).field == '[3].pointcloud_timestamp'


@pytest.mark.parametrize('shift_us', [-50_000, 0])
def test_stamps_that_do_not_advance_are_named(built, shift_us):
    stamp = built.stamp_ns('vehicle', 1) // 1000 + shift_us
    built.edit(
        'vehicle-side/data_info.json', lambda r: r[2].update(pointcloud_timestamp=str(stamp))
    )
    error = open_error(built)
    assert error.field == '[2].pointcloud_timestamp'
    assert '000101' in error.message
    assert '000102' in error.message


def test_a_frame_listed_twice_is_named(built):
    built.edit('vehicle-side/data_info.json', lambda r: [*r, r[0]])
    assert 'listed twice' in open_error(built).message
    built.edit('vehicle-side/data_info.json', lambda r: r[:-1])
    built.edit('cooperative/data_info.json', lambda r: [*r, r[0]])
    assert 'paired twice' in open_error(built).message


@pytest.mark.parametrize('key', ['vehicle_frame', 'infrastructure_frame'])
def test_a_pair_with_an_unknown_frame_is_named(built, key):
    built.edit('cooperative/data_info.json', lambda r: r[1].update({key: '999999'}))
    error = open_error(built)
    assert error.field == f'[1].{key}'
    assert '999999' in error.message


def test_a_pair_across_sequences_is_named(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(sequences=('0000', '0001'), frames=2))
    other = built.frame_id('roadside', 0, '0001')
    built.edit('cooperative/data_info.json', lambda r: r[0].update(infrastructure_frame=other))
    assert 'sequence 0001' in open_error(built).message


def test_an_unknown_offset_is_zero_and_a_wrong_one_is_named(built):
    built.edit('cooperative/data_info.json', lambda r: r[0].update(system_error_offset=''))
    assert V2XSeqDataset(built.root).scenes[0].pairs[0].offsets['roadside'] == (0.0, 0.0)
    built.edit(
        'cooperative/data_info.json', lambda r: r[0].update(system_error_offset={'delta_x': 1})
    )
    assert open_error(built).field == '[0].system_error_offset.delta_y'


def test_wrong_agents_json_is_named(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(frames=1, extras=(Extra('r_1', 'roadside', (0, 9, 5)),)))
    for change, field in (
        (lambda a: a['agents'][0].update(role='spy'), 'agents[0].role'),
        (lambda a: a['agents'][0].update(role='roadside', agent_id='roadside'),
         'agents[0].agent_id'),
        (lambda a: a['agents'][0].pop('agent_id') and None, 'agents[0].agent_id'),
        (lambda a: a.update(agents={}), 'agents'),
    ):  # fmt: skip
        built.edit('agents.json', change)
        assert open_error(built).field == field
    built.edit('agents.json', lambda a: {'agents': [
        {'agent_id': 'x', 'role': 'vehicle', 'directory': 'nowhere'}]})  # fmt: skip
    assert open_error(built).path == built.root / 'nowhere'


def test_a_missing_split_file_is_named(built):
    assert open_error(built, split='val').field == 'split_file'


@pytest.mark.parametrize(
    'file',
    ['image/000101.jpg', 'velodyne/000101.pcd', 'calib/camera_intrinsic/000101.json',
     'calib/lidar_to_camera/000101.json', 'calib/lidar_to_novatel/000101.json',
     'calib/novatel_to_world/000101.json'],
)  # fmt: skip
def test_a_missing_file_of_a_frame_is_named(built, file):
    (built.root / 'vehicle-side' / file).unlink()
    error = frame_error(built, load_points=True)
    assert error.path == built.root / 'vehicle-side' / file


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_a_truncated_jpeg_is_named_in_the_error(built):
    path = built.root / 'vehicle-side' / 'image' / '000101.jpg'
    truncate(path)
    error = frame_error(built)
    assert error.path == path
    assert 'cut off' in error.message


def test_a_bad_image_can_be_dropped_but_never_silently(built):
    truncate(built.root / 'vehicle-side' / 'image' / '000101.jpg')
    heard = []
    dataset = V2XSeqDataset(built.root, on_image_error='drop', on_warning=heard.append)
    scene = dataset.scenes[0]
    frame = scene.frame('vehicle', '000101')
    assert frame.images == ()
    np.testing.assert_allclose(
        frame.world_SE3_agent.translation, built.pose('vehicle', 1).translation
    )
    assert len(heard) == 1
    assert '000101.jpg' in heard[0]
    assert dataset.warnings == heard
    assert len(scene.frame('vehicle', '000102').images) == 1


def test_an_image_of_another_size_than_calibrated_is_named(built):
    built.edit(
        'vehicle-side/calib/camera_intrinsic/000101.json',
        lambda c: c.update(width=64, height=48),
    )
    assert V2XSeqDataset(built.root).scenes[0].frame('vehicle', '000101').images
    path = built.root / 'vehicle-side' / 'image' / '000101.jpg'
    cv2.imwrite(str(path), np.zeros((48, 80, 3), dtype=np.uint8))
    error = frame_error(built)
    assert error.field == 'width'
    assert '64' in error.message
    assert '80' in error.message


@pytest.mark.parametrize(
    ('content', 'field'),
    [
        ({'D': []}, 'cam_K'),
        ({'cam_K': [1.0, 2.0]}, 'cam_K'),
        ({'P': [[1.0, 0.0], [0.0, 1.0]]}, 'P'),
        ({'cam_K': [0.0] * 9}, 'cam_K'),
        ({'P': [0.0] * 12}, 'P'),
        ({'cam_K': [float('nan')] * 9}, 'cam_K'),
        ({'cam_K': 'lost'}, 'cam_K'),
    ],
)
def test_an_uncalibrated_camera_is_named(built, content, field):
    built.edit('vehicle-side/calib/camera_intrinsic/000101.json', lambda _: content)
    assert frame_error(built).field == field


@pytest.mark.parametrize(
    'rotation',
    [[[1, 0, 0], [0, 1, 0]], np.zeros((3, 3)).tolist(), (-np.eye(3)).tolist(),
     (5 * np.eye(3)).tolist(), [['a', 'b', 'c']] * 3, [[1, 0], [0, 1, 0], [0, 0, 1]]],
)  # fmt: skip
@pytest.mark.parametrize(
    ('side', 'file'),
    [('vehicle', 'novatel_to_world/000101'), ('roadside', 'virtuallidar_to_world/000701'),
     ('vehicle', 'lidar_to_camera/000101')],
)  # fmt: skip
def test_a_matrix_that_is_no_rotation_is_named(built, side, file, rotation):
    path = built.directory(side) / 'calib' / f'{file}.json'
    built.edit(path, lambda c: c.update(rotation=rotation))
    error = frame_error(built, side)
    assert (error.path, error.field) == (path, 'rotation')


def test_a_missing_transform_level_is_named(built):
    built.edit('vehicle-side/calib/lidar_to_novatel/000101.json', lambda c: c['transform'])
    assert frame_error(built).field == 'transform'
    path = 'vehicle-side/calib/lidar_to_novatel/000101.json'
    built.edit(path, lambda c: {'transform': {'rotation': np.eye(3).tolist()}})
    assert frame_error(built).field == 'transform.translation'


@pytest.mark.parametrize(
    ('side', 'file'),
    [('vehicle', 'vehicle-side/label/lidar/000103.json'),
     ('roadside', 'infrastructure-side/label/virtuallidar/000703.json'),
     ('cooperative', 'cooperative/label/000103.json')],
)  # fmt: skip
def test_a_missing_or_broken_label_file_is_named(built, side, file):
    (built.root / file).write_text('[{')
    assert label_error(built, side).path == built.root / file
    (built.root / file).unlink()
    assert label_error(built, side).path == built.root / file


@pytest.mark.parametrize(
    ('change', 'field'),
    [
        ({'type': 'Dragon'}, 'type'),
        ({'track_id': 'seven'}, 'track_id'),
        ({'3d_dimensions': {'h': 1.0, 'w': 1.0}}, '3d_dimensions.l'),
        ({'3d_dimensions': {'h': 1.0, 'w': -1.0, 'l': 2.0}}, '3d_dimensions'),
        ({'3d_location': [1, 2, 3]}, '3d_location'),
        ({'3d_location': {'x': 'NaN', 'y': 0, 'z': 0}}, '3d_location.x'),
        ({'rotation': None}, 'rotation'),
        ({'occluded_state': 'partly'}, 'occluded_state'),
    ],
)
def test_a_wrong_label_field_is_named(built, change, field):
    built.edit('vehicle-side/label/lidar/000101.json', lambda rows: rows[2].update(change))
    assert label_error(built).field == f'[2].{field}'


@pytest.mark.parametrize('key', ['type', 'token', 'track_id', '3d_dimensions', '3d_location',
                                 'rotation'])  # fmt: skip
def test_a_missing_label_key_is_named(built, key):
    built.edit('vehicle-side/label/lidar/000101.json', lambda r: rows_without(r, {key}))
    assert label_error(built).field == f'[0].{key}'


def test_an_unknown_class_names_the_remedy(built):
    built.edit('cooperative/label/000101.json', lambda rows: rows[0].update(type='Dragon'))
    error = label_error(built, 'cooperative')
    assert "'Dragon'" in error.message
    assert 'class_map' in error.remedy


def test_a_frame_outside_every_pair_has_no_cooperative_labels(built):
    built.edit('cooperative/data_info.json', lambda rows: rows[:3])
    assert 'in no pair' in label_error(built, 'cooperative', 4).message


def test_unknown_names_list_the_known_ones(built):
    dataset = V2XSeqDataset(built.root)
    with pytest.raises(InputError, match=r"no agent 'bus'.*'vehicle', 'roadside'"):
        dataset.scenes[0].frame('bus', '000101')
    with pytest.raises(InputError, match=r"no sequence '0009'.*'0000'"):
        dataset.scene('0009')


@pytest.mark.parametrize(
    ('content', 'field'),
    [
        ('{}', 'vehicle-side'),
        ('{"vehicle-side": {}}', 'vehicle-side'),
        ('{"vehicle-side": [{"token": "a", "operation": ["Car"]}]}', 'vehicle-side[0].operation'),
        ('{"vehicle-side": [{"operation": []}]}', 'vehicle-side[0].token'),
    ],
)
def test_wrong_label_corrections_are_named(tmp_path, content, field):
    path = tmp_path / 'update_label_info.json'
    path.write_text(content)
    with pytest.raises(InputError) as error:
        LabelCorrections.read(path)
    assert checked(error.value).field == field


def test_a_broken_visibility_file_is_named(built):
    directory = built.root / 'cooperative' / 'visibility'
    directory.mkdir()
    (directory / '000101.json').write_text('{"objects": [{"track_id": 1}]}')
    with pytest.raises(InputError) as error:
        V2XSeqDataset(built.root).scenes[0].visibility('000101')
    assert checked(error.value).field == 'objects[0].agents'
