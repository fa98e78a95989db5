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

"""OPV2V reader on small files made by hand: order of agents, reach, conventions, bad input."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from cooptrack_core.datasets.opv2v import MAP_FILES, Opv2vDataset, ReadOptions, read_frame
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import Role

GRID = MapGrid(16, 16, 1.0)
OPTIONS = ReadOptions(grid=GRID)
PCD = (
    'VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 2\nHEIGHT 1\n'
    'POINTS 2\nDATA binary\n'
)


def content(x: float = 0.0, y: float = 0.0, **changes) -> dict:
    """A frame file: LiDAR half a metre behind and 1.9 m above the vehicle's pose."""
    k = [[4.0, 0, 4], [0, 4.0, 3], [0, 0, 1]]
    cameras = {
        f'camera{i}': {'cords': [x + 2.5, y, 1, 0, yaw, 0], 'intrinsic': k, 'extrinsic': None}
        for i, yaw in enumerate((0, 100, -100, 180))
    }
    vehicle = {
        'angle': [0, 90, 0], 'center': [0.5, 0, 0.75], 'extent': [2.5, 1.0, 0.75],
        'location': [x + 20, y + 5, 0.0], 'speed': 36.0,
    }  # fmt: skip
    frame = {
        **cameras, 'ego_speed': 18.0, 'lidar_pose': [x - 0.5, y, 1.9, 0, 0, 0],
        'true_ego_pos': [x, y, 0, 0, 0, 0], 'vehicles': {7: vehicle},
    }  # fmt: skip
    return {**frame, **changes}


def write_frame(agent: Path, name: str, frame: dict, *, maps: bool = True) -> None:
    agent.mkdir(parents=True, exist_ok=True)
    (agent / f'{name}.yaml').write_text(yaml.safe_dump(frame))
    points = np.array([[1, 2, 3, 0], [np.nan, 0, 0, 0]], '<f4')
    points[:, 3] = np.array([200 << 16, 0], '<u4').view('<f4')
    (agent / f'{name}.pcd').write_bytes(PCD.encode() + points.tobytes())
    for i in range(4):
        image = np.full((6, 8, 3), (10 * i, 20, 30), np.uint8)
        cv2.imwrite(str(agent / f'{name}_camera{i}.png'), image)
    for at, kind in enumerate(MAP_FILES.values() if maps else ()):
        mask = np.zeros((16, 16), np.uint8)
        mask[at, 0] = 1
        mask[at, 15] = 255
        cv2.imwrite(str(agent / f'{name}_bev_{kind}.png'), mask)


@pytest.fixture
def root(tmp_path) -> Path:
    """Agents in a row 10 m apart; as text 1045 comes before 641, and the unit on a pole last."""
    for agent_id, x in (('641', 0.0), ('1045', 10.0), ('-1', 20.0)):
        for name in ('000068', '000070'):
            write_frame(tmp_path / 'train' / 'scene_b' / agent_id, name, content(x))
    write_frame(tmp_path / 'test' / 'scene_a' / '3', '000001', content())
    return tmp_path


def scenario(root: Path, options: ReadOptions = OPTIONS):
    return Opv2vDataset(root / 'train', options=options).scenarios[0]


def test_root_split_and_scenario_can_be_given(root):
    def names(path, **given):
        return [s.scenario_id for s in Opv2vDataset(path, options=OPTIONS, **given).scenarios]

    assert names(root) == ['scene_b', 'scene_a']
    assert names(root, split='test') == ['scene_a']
    assert names(root / 'train') == ['scene_b']
    assert names(root / 'train' / 'scene_b') == ['scene_b']


def test_the_protocol_says_how_the_data_are_read(root):
    protocol = Opv2vDataset(root, split='train', options=OPTIONS).protocol
    assert protocol['frames'] == 2
    assert protocol['communication_range_m'] == 70
    assert protocol['map']['cell_m'] == 1.0


def test_agents_come_in_text_order_and_units_on_poles_last(root):
    found = scenario(root)
    assert found.agent_ids == ('1045', '641', '-1')
    assert [a.agent_id for a in found.map_frame('000068').agents] == ['1045', '641', '-1']
    swapped = found.map_frame('000068', '641')
    assert [a.agent_id for a in swapped.agents] == ['641', '1045', '-1']
    assert [a.role for a in swapped.agents] == [Role.VEHICLE, Role.VEHICLE, Role.ROADSIDE]


def test_a_unit_on_a_pole_is_never_the_ego(root):
    with pytest.raises(InputError, match=r"'-1' cannot be the ego.*\['1045', '641'\]"):
        scenario(root).map_frame('000068', '-1')


def test_agents_are_cut_before_their_distance_is_looked_at(root):
    """As official loaders: the far agent takes a place and is then left out."""
    write_frame(root / 'train' / 'scene_b' / '2', '000068', content(500.0))
    options = ReadOptions(max_agents=3, grid=GRID)
    frame = scenario(root, options).map_frame('000068')
    assert [a.agent_id for a in frame.agents] == ['1045', '641']
    everyone = ReadOptions(max_agents=4, communication_range=10.0, grid=GRID)
    frame = scenario(root, everyone).map_frame('000068')
    assert [a.agent_id for a in frame.agents] == ['1045', '641', '-1']
    closer = ReadOptions(communication_range=9.9, grid=GRID)
    assert not scenario(root, closer).map_frame('000068').others


def test_an_agent_without_this_frame_is_left_out(root):
    (root / 'train' / 'scene_b' / '641' / '000070.yaml').unlink()
    frames = list(scenario(root).frames())
    assert [[a.agent_id for a in f.agents] for f in frames] == [
        ['1045', '641', '-1'], ['1045', '-1'],
    ]  # fmt: skip


def test_names_count_steps_of_the_simulator(root):
    frames = list(scenario(root).frames(load_images=False, load_labels=False))
    assert [f.ego.stamp_ns for f in frames] == [3_400_000_000, 3_500_000_000]
    slower = ReadOptions(tick_s=0.1, grid=GRID)
    assert scenario(root, slower).frame('641', '000068').stamp_ns == 6_800_000_000


def test_frames_are_right_handed(root):
    found = scenario(root)
    frame = found.frame('1045', '000068', load_points=True)
    assert frame.world_SE3_agent.translation.tolist() == [9.5, 0, 1.9]
    assert frame.world_SE3_body.translation.tolist() == [10, 0, 0]
    # The point that is not finite is left out, y is turned to the left, red is the intensity.
    assert frame.points.tolist() == [[1, -2, 3, 200]]


def test_vehicles_become_labels_in_the_agent_frame(root):
    """20 m ahead, 5 m to the right, heading to the right; its middle is half a metre on."""
    labels = scenario(root).labels('1045', '000068')
    np.testing.assert_allclose(labels.boxes.centers, [[20.5, -5.5, -1.15]], atol=1e-12)
    np.testing.assert_allclose(labels.boxes.sizes, [[5, 2, 1.5]])
    np.testing.assert_allclose(labels.boxes.yaws, [-np.pi / 2])
    np.testing.assert_allclose(labels.boxes.velocities, [[0, -10]], atol=1e-12)
    assert labels.track_ids.tolist() == [7]
    assert labels.class_names == ('car',)


@pytest.mark.parametrize(
    ('word', 'name'),
    [('vehicle.lincoln.mkz2017', 'car'), ('vehicle.diamondback.century', 'bicycle'),
     ('vehicle.harley-davidson.low_rider', 'bicycle'), ('walker.pedestrian.0012', 'pedestrian'),
     ('vehicle.carlamotors.firetruck', 'car')],
)  # fmt: skip
def test_blueprints_become_classes(tmp_path, word, name):
    frame = content()
    frame['vehicles'][7]['bp_id'] = word
    write_frame(tmp_path / '1', '000001', frame, maps=False)
    (vehicle,) = read_frame(tmp_path / '1' / '000001.yaml').vehicles
    assert (vehicle.raw_type, vehicle.class_name) == (word, name)


def test_a_ring_looks_forward_right_left_and_back(root):
    frame = scenario(root).frame('641', '000068')
    axes = [i.camera.camera_T_agent[2, :3] for i in frame.images]
    yaws = np.degrees([np.arctan2(a[1], a[0]) for a in axes])
    np.testing.assert_allclose(np.abs(yaws[3]), 180)
    np.testing.assert_allclose(yaws[:3], [0, -100, 100], atol=1e-9)
    np.testing.assert_allclose(frame.images[0].camera.position, [3, 0, -0.9], atol=1e-12)
    assert frame.images[1].image[0, 0].tolist() == [30, 20, 10]  # RGB


def test_every_grey_counts_in_its_own_map(root):
    labels = scenario(root).map_labels('641', '000068')
    kinds = (labels.dynamic, labels.drivable, labels.lane, labels.visible, labels.visible_all)
    for at, mask in enumerate(kinds):
        assert np.argwhere(mask).tolist() == [[at, 0], [at, 15]]
    assert labels.static[1, 0] == 1
    assert labels.static[2, 0] == 2


def test_maps_in_colour_are_read_as_well(root):
    path = root / 'train' / 'scene_b' / '641' / '000068_bev_dynamic.png'
    cv2.imwrite(str(path), np.dstack([np.eye(16, dtype=np.uint8) * 9] * 3))
    assert (scenario(root).map_labels('641', '000068').dynamic == np.eye(16, dtype=bool)).all()


def test_images_without_maps_can_be_used_but_not_learnt_from(root):
    (root / 'train' / 'scene_b' / '1045' / '000068_bev_lane.png').unlink()
    with pytest.raises(InputError, match=r'000068_bev_lane.png: the map is missing.*additional'):
        scenario(root).map_frame('000068')
    frame = scenario(root).map_frame('000068', load_labels=False)
    assert frame.labels is None
    assert len(frame.ego.images) == 4


def test_a_map_of_another_size_names_the_grid(root):
    with pytest.raises(InputError, match=r'16 x 16 cells, expected 256 x 256.*MapGrid'):
        scenario(root, ReadOptions()).map_frame('000068')


@pytest.mark.parametrize('data', [b'', b'no image'])
def test_a_damaged_map_is_named(root, data):
    (root / 'train' / 'scene_b' / '641' / '000068_bev_static.png').write_bytes(data)
    with pytest.raises(InputError, match=r'bev_static.png: the map cannot be decoded'):
        scenario(root).map_labels('641', '000068')


def test_a_missing_camera_is_an_error_or_left_out(root):
    (root / 'train' / 'scene_b' / '641' / '000068_camera3.png').unlink()
    with pytest.raises(InputError, match=r"camera3.png.*'camera3'.*missing.*2021_09_09_13_20_58"):
        scenario(root).frame('641', '000068')
    said: list[str] = []
    options = ReadOptions(grid=GRID, on_image_error='drop', on_warning=said.append)
    images = scenario(root, options).frame('641', '000068').images
    assert [i.camera.name for i in images] == ['front', 'right', 'left']
    assert len(said) == 1
    assert 'camera3' in said[0]


def test_an_image_of_another_size_than_calibrated_is_refused(root):
    path = root / 'train' / 'scene_b' / '641' / '000068_camera0.png'
    cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(InputError, match=r'camera0.intrinsic.*80 x 60.*resize after reading'):
        scenario(root).frame('641', '000068')


@pytest.mark.parametrize(
    ('change', 'field'),
    [
        ({'lidar_pose': [0, 0, 0]}, 'lidar_pose'),
        ({'lidar_pose': None}, 'lidar_pose'),
        ({'true_ego_pos': [0, 0, 0, 0, 'north', 0]}, 'true_ego_pos'),
        ({'true_ego_pos': [0, 0, 0, 0, float('nan'), 0]}, 'true_ego_pos'),
        ({'camera2': {'intrinsic': [1]}}, 'camera2.cords'),
        ({'camera2': 'broken'}, 'camera2'),
        ({'camera1': {'cords': [0] * 6, 'intrinsic': np.zeros((3, 3)).tolist()}},
         'camera1.intrinsic'),
        ({'vehicles': []}, 'vehicles'),
        ({'vehicles': {'seven': {}}}, 'vehicles'),
        ({'vehicles': {7: {'location': [0, 0, 0]}}}, 'vehicles.7.angle'),
        ({'vehicles': {7: {'location': [0, 0, 0], 'angle': [0, 0, 0], 'extent': [1, 0, 1]}}},
         'vehicles.7.extent'),
        ({'ego_speed': 'fast'}, 'ego_speed'),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_file_and_remedy(tmp_path, change, field):
    write_frame(tmp_path / '1', '000001', content(**change), maps=False)
    with pytest.raises(InputError, match='Remedy') as error:
        read_frame(tmp_path / '1' / '000001.yaml')
    assert error.value.field == field
    assert error.value.path.name == '000001.yaml'


def test_a_frame_without_vehicles_has_no_labels(tmp_path):
    for nothing in ({}, None):
        write_frame(tmp_path / '1', '000001', content(vehicles=nothing), maps=False)
        assert len(read_frame(tmp_path / '1' / '000001.yaml').labels()) == 0


@pytest.mark.parametrize('text', ['a: [1, 2', '\x00', '- 1\n- 2\n', '', '!!python/object:os.x {}'])
def test_a_damaged_frame_file_is_refused_without_running_anything(tmp_path, text):
    path = tmp_path / '000001.yaml'
    path.write_text(text)
    with pytest.raises(InputError, match='Remedy'):
        read_frame(path)


def test_what_is_not_there_is_named(root, tmp_path):
    found = scenario(root)
    for ask, message in (
        (lambda: found.frame('12', '000068'), r"no agent '12'.*'1045'"),
        (lambda: found.frame('641', '000069'), r"has no frame '000069'"),
        (lambda: Opv2vDataset(root, split='validate'), r"split 'validate'.*\['train', 'test'\]"),
        (lambda: Opv2vDataset(root / 'nowhere'), 'no such directory'),
        (lambda: Opv2vDataset(root).scenario('scene_c'), r"no scenario 'scene_c'.*scene_b"),
    ):
        with pytest.raises(InputError, match=message):
            ask()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='no dataset in the OPV2V layout'):
        Opv2vDataset(tmp_path / 'empty')


def test_a_frame_with_an_odd_name_is_refused(root):
    write_frame(root / 'train' / 'scene_b' / '641', 'notes', content())
    with pytest.raises(InputError, match=r'notes.yaml: the name of a frame must be a number'):
        scenario(root)


def test_a_scenario_of_poles_alone_has_no_ego(tmp_path):
    write_frame(tmp_path / '-1', '000001', content())
    (found,) = Opv2vDataset(tmp_path, options=OPTIONS).scenarios
    with pytest.raises(InputError, match='has no vehicle'):
        found.map_frame('000001')
