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

"""V2X-Seq reader on small datasets with a known truth: frames, poses, pairs, agents, splits."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from builder import INTRINSIC, Extra, Spec, build_v2x_seq

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset, official_view
from cooptrack_core.errors import InputError
from cooptrack_core.structures import Role

EXTRAS = (
    Extra('roadside_1', 'roadside', (5.0, 30.0, 6.0), offset=(0.2, 0.3)),
    Extra('vehicle_1', 'vehicle', (-10.0, 4.0, 0.0), listed=False),
)


@pytest.fixture
def built(tmp_path):
    return build_v2x_seq(tmp_path / 'data')


def assert_same_pose(found, expected, atol=1e-8):
    np.testing.assert_allclose(found.translation, expected.translation, rtol=0, atol=atol)
    np.testing.assert_allclose(found.rotation, expected.rotation, rtol=0, atol=atol)


def test_a_frame_holds_image_time_and_pose(built):
    scene = V2XSeqDataset(built.root).scenes[0]
    frame = scene.frame('vehicle', built.frame_id('vehicle', 3))
    assert (frame.agent_id, frame.role, frame.sequence_id) == ('vehicle', Role.VEHICLE, '0000')
    assert frame.stamp_ns == built.stamp_ns('vehicle', 3)
    assert frame.images[0].stamp_ns == frame.stamp_ns + 4_000_000
    np.testing.assert_allclose(frame.images[0].image[20, 50], [200, 0, 0], atol=8)
    np.testing.assert_allclose(frame.images[0].image[20, 10], [200, 100, 0], atol=8)
    assert_same_pose(frame.world_SE3_agent, built.pose('vehicle', 3))
    assert_same_pose(frame.world_SE3_body, built.body('vehicle', 3))
    assert frame.points is None


@pytest.mark.parametrize('encoding', ['ascii', 'binary', 'binary_compressed'])
def test_points_are_read_on_request(tmp_path, encoding):
    built = build_v2x_seq(tmp_path, Spec(points=encoding, frames=2))
    scene = V2XSeqDataset(built.root).scenes[0]
    frame = scene.frame(
        'roadside', built.frame_id('roadside', 1), load_images=False, load_points=True
    )
    assert frame.images == ()
    np.testing.assert_array_equal(frame.points, np.arange(40.0).reshape(10, 4) + 1)


@pytest.mark.parametrize('layout', ['P', 'cam_K'])
def test_both_intrinsics_layouts_give_the_same_camera(tmp_path, layout):
    built = build_v2x_seq(tmp_path, Spec(layout=layout, frames=1))
    for side in ('vehicle', 'roadside'):
        scene = V2XSeqDataset(built.root).scenes[0]
        camera = scene.camera(side, built.frame_id(side, 0))
        np.testing.assert_array_equal(camera.intrinsic, INTRINSIC)
        assert (camera.width, camera.height) == (64, 48)


def test_p_wins_over_cam_k(built):
    frame_id = built.frame_id('vehicle', 0)
    built.edit(
        f'vehicle-side/calib/camera_intrinsic/{frame_id}.json',
        lambda c: c.update(cam_K=[99.0, 0, 1, 0, 99, 1, 0, 0, 1]),
    )
    camera = V2XSeqDataset(built.root).scenes[0].camera('vehicle', frame_id)
    assert camera.intrinsic[0, 0] == 60.0


def test_skewed_rotations_project_raw_but_pose_rigidly(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(skew=2e-3, frames=2))
    scene = V2XSeqDataset(built.root).scenes[0]
    frame = scene.frame('vehicle', built.frame_id('vehicle', 1))
    assert_same_pose(frame.world_SE3_agent, built.pose('vehicle', 1), atol=1e-7)
    raw = scene.raw_calibration('roadside', built.frame_id('roadside', 1)).world_T_agent[:3, :3]
    assert np.abs(raw @ raw.T - np.eye(3)).max() > 1e-3
    extrinsic = frame.images[0].camera.camera_T_agent[:3, :3]
    assert np.abs(extrinsic @ extrinsic.T - np.eye(3)).max() > 1e-3


def test_the_offset_corrects_the_remote_pose_and_never_the_ego(built):
    scene = V2XSeqDataset(built.root).scenes[0]
    for number, pair in enumerate(scene.pairs):
        ego = scene.frame('vehicle', pair.ego_frame_id)
        own = scene.frame('roadside', pair.remote_frame_ids['roadside'])
        registered = scene.remote_frame(pair, 'roadside')
        truth = built.pose('roadside', number)
        assert_same_pose(registered.world_SE3_agent, truth)
        assert_same_pose(registered.world_SE3_body, truth)
        assert_same_pose(ego.world_SE3_agent, built.pose('vehicle', number))
        # p_ego = ego_T_remote(p) + (dx, dy, 0)
        p = np.array([12.0, -3.0, 1.0])
        raw = ego.world_SE3_agent.inverse() @ own.world_SE3_agent
        corrected = ego.world_SE3_agent.inverse() @ registered.world_SE3_agent
        np.testing.assert_allclose(
            corrected.transform_points(p) - raw.transform_points(p), [0.7, -0.4, 0.0], atol=1e-8
        )


def test_labels_of_both_sides_meet_after_registration(built):
    scene = V2XSeqDataset(built.root).scenes[0]
    pair = scene.pairs[2]
    ego = scene.frame('vehicle', pair.ego_frame_id, load_images=False)
    remote = scene.remote_frame(pair, 'roadside', load_images=False)
    ours = scene.labels('vehicle', pair.ego_frame_id)
    theirs = scene.labels('roadside', remote.frame_id)
    van_here = ours.boxes[ours.track_ids == 2]
    van_there = theirs.boxes[theirs.track_ids == 2].transformed(
        ego.world_SE3_agent.inverse() @ remote.world_SE3_agent
    )
    np.testing.assert_allclose(van_there.centers, van_here.centers, atol=1e-6)
    np.testing.assert_allclose(van_there.yaws, van_here.yaws, atol=1e-6)


def test_the_official_view_follows_the_written_formula(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(skew=2e-3))
    scene = V2XSeqDataset(built.root).scenes[0]
    pair = scene.pairs[1]
    view = official_view(scene, pair)
    vehicle = scene.raw_calibration('vehicle', pair.ego_frame_id)
    remote = scene.raw_calibration('roadside', pair.remote_frame_ids['roadside'])
    l2e, e2g = (np.array(m) for m in (vehicle.body_T_agent, vehicle.world_T_body))
    u, _, vt = np.linalg.svd(l2e[:3, :3])
    l2e[:3, :3] = u @ vt
    u, _, vt = np.linalg.svd(e2g[:3, :3])
    e2g[:3, :3] = u @ vt
    r_inf, t_inf = remote.world_T_agent[:3, :3], remote.world_T_agent[:3, 3]
    delta = np.array([0.7, -0.4, 0.0])
    for p in np.array([[0.0, 0, 0], [30.0, -4, 1], [-7.0, 12, 2]]):
        ego = l2e[:3, :3] @ (p - delta) + l2e[:3, 3]
        expected = np.linalg.inv(r_inf) @ (e2g[:3, :3] @ ego + e2g[:3, 3] - t_inf)
        found = view.veh2inf_rt('roadside', transposed=False) @ [*p, 1.0]
        np.testing.assert_allclose(found[:3], expected, atol=1e-6)
        world = p @ view.l2g_r['vehicle'] + view.l2g_t['vehicle']
        np.testing.assert_allclose(
            world, e2g[:3, :3] @ (l2e[:3, :3] @ p + l2e[:3, 3]) + e2g[:3, 3]
        )
    np.testing.assert_array_equal(
        view.veh2inf_rt('roadside'), view.veh2inf_rt('roadside', transposed=False).T
    )
    camera = scene.frame('vehicle', pair.ego_frame_id).images[0].camera
    np.testing.assert_array_equal(view.lidar2img['vehicle'], camera.agent_to_image)
    assert view.timestamps['vehicle'] == pytest.approx(built.stamp_ns('vehicle', 1) * 1e-9)


def test_a_remote_vehicle_has_its_whole_chain_in_the_official_view(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(extras=EXTRAS, frames=2))
    scene = V2XSeqDataset(built.root).scenes[0]
    pair = scene.pairs[1]
    view = official_view(scene, pair)
    expected = built.pose('vehicle_1', 1).inverse() @ built.pose('vehicle', 1)
    np.testing.assert_allclose(view.vehicle_to_remote['vehicle_1'], expected.matrix, atol=1e-6)


def test_without_agents_json_it_is_plain_v2x_seq(built):
    dataset = V2XSeqDataset(built.root)
    assert [a.agent_id for a in dataset.agents] == ['vehicle', 'roadside']
    assert dataset.agents[1].directory == 'infrastructure-side'
    assert list(dataset.scenes[0].pairs[0].remote_frame_ids) == ['roadside']


def test_extra_sides_come_in_the_listed_order_and_are_paired(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(extras=EXTRAS))
    dataset = V2XSeqDataset(built.root)
    assert [a.agent_id for a in dataset.agents] == [
        'vehicle', 'roadside', 'roadside_1', 'vehicle_1'
    ]  # fmt: skip
    assert dataset.agents[3].role is Role.VEHICLE
    scene = dataset.scenes[0]
    for number, pair in enumerate(scene.pairs):
        # roadside_1 is named in the row, vehicle_1 is found by its stamp.
        assert pair.remote_frame_ids == {
            side: built.frame_id(side, number) for side in ('roadside', 'roadside_1', 'vehicle_1')
        }
        registered = scene.remote_frame(pair, 'roadside_1').world_SE3_agent
        assert_same_pose(registered, built.pose('roadside_1', number))
    assert pair.offsets['roadside_1'] == (0.2, 0.3)
    assert pair.offsets['vehicle_1'] == (0.0, 0.0)


def test_an_agent_may_leave_and_come_back(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(extras=EXTRAS))

    def leave(rows):
        rows[1]['infrastructure_frame'] = None
        rows[1]['frames']['roadside_1'] = None

    built.edit('cooperative/data_info.json', leave)
    # vehicle_1 sends nothing for a while: no frame of it lies within 0.1 s of ego frame 1.
    built.edit('vehicle_1/data_info.json', lambda rows: rows[3:])
    scene = V2XSeqDataset(built.root).scenes[0]
    assert scene.pairs[1].remote_frame_ids == {}
    assert set(scene.pairs[4].remote_frame_ids) == {'roadside', 'roadside_1', 'vehicle_1'}
    with pytest.raises(InputError, match="'roadside' has no frame for ego frame"):
        scene.remote_frame(scene.pairs[1], 'roadside')


def test_missing_frames_leave_the_rest_in_order(built):
    built.edit('vehicle-side/data_info.json', lambda rows: [rows[4], rows[0], rows[2]])
    built.edit('cooperative/data_info.json', lambda rows: [rows[2], rows[0]])
    scene = V2XSeqDataset(built.root).scenes[0]
    ids = [built.frame_id('vehicle', n) for n in (0, 2, 4)]
    assert scene.frame_ids('vehicle') == tuple(ids)
    assert [p.ego_frame_id for p in scene.pairs] == ids[:2]


def test_the_stream_is_in_time_order_with_every_frame_once(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(extras=EXTRAS, frames=4))
    scene = V2XSeqDataset(built.root).scenes[0]
    rows = list(scene.stream())
    assert len(rows) == 16
    assert [r[2] for r in rows] == sorted(r[2] for r in rows)
    assert [r[0] for r in rows[:4]] == ['roadside', 'vehicle', 'roadside_1', 'vehicle_1']
    assert {r[:2] for r in rows} == {
        (a.agent_id, f) for a in scene.dataset.agents for f in scene.frame_ids(a.agent_id)
    }


def test_splits_go_by_sequence(tmp_path):
    splits = {'train': ['0000', '0002'], 'val': ['0001'], 'test': []}
    built = build_v2x_seq(tmp_path, Spec(sequences=('0000', '0001', '0002'), frames=2,
                                         splits=splits))  # fmt: skip
    root = built.root
    names = {s: [x.sequence_id for x in V2XSeqDataset(root, split=s).scenes]
             for s in ('train', 'val', None)}  # fmt: skip
    assert names == {'train': ['0000', '0002'], 'val': ['0001'], None: ['0000', '0001', '0002']}
    with pytest.raises(InputError, match=r"'batch_split\.test'.*no sequence"):
        V2XSeqDataset(root, split='test')
    with pytest.raises(InputError, match=r'batch_split\.valid.*unknown.*train'):
        V2XSeqDataset(root, split='valid')
    other = root / 'own_split.json'
    other.write_text('{"batch_split": {"val": ["0002"]}}')
    assert V2XSeqDataset(root, split='val', split_file=other).scenes[0].sequence_id == '0002'


def test_frames_of_different_sequences_do_not_mix(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(sequences=('0000', '0001'), frames=2))
    scene = V2XSeqDataset(built.root).scene('0001')
    assert scene.frame_ids('vehicle') == ('001100', '001101')
    with pytest.raises(InputError, match='sequence 0001 has no frame'):
        scene.frame('vehicle', '000100')


def test_opening_reads_index_files_only(built, monkeypatch):
    opened = []
    read_bytes = Path.read_bytes

    def spy(path):
        opened.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, 'read_bytes', spy)
    dataset = V2XSeqDataset(built.root)
    assert opened == ['data_info.json'] * 3
    dataset.scenes[0].frame('vehicle', built.frame_id('vehicle', 0))
    assert sum(name.endswith('.jpg') for name in opened) == 1


def test_the_protocol_names_every_choice(built, tmp_path):
    plain = V2XSeqDataset(built.root).protocol
    assert plain['frequency_hz'] == 10.0
    assert plain['pairs'] == 5
    assert plain['label_corrections'] == 'none'
    assert plain['ego_box_in_cooperative_labels'] == 'kept'
    assert plain['classes']['van'] == 'car'
    assert plain['classes']['trafficcone'] == 'dropped'
    file = tmp_path / 'update_label_info.json'
    file.write_text('{"vehicle-side": [], "infrastructure-side": [], "cooperative": []}')
    other = V2XSeqDataset(
        built.root, label_corrections=file, remove_ego_from_cooperative=True, interpolate=False,
        velocity='official',
    ).protocol  # fmt: skip
    assert other['label_corrections']['file'] == 'update_label_info.json'
    for key in ('label_corrections', 'ego_box_in_cooperative_labels', 'gaps', 'velocity'):
        assert other[key] != plain[key]


def test_a_dataset_travels_to_worker_processes(built):
    dataset = pickle.loads(pickle.dumps(V2XSeqDataset(built.root)))  # noqa: S301
    assert len(dataset.scenes[0].labels('vehicle', built.frame_id('vehicle', 0))) == 4


def test_real_data_have_no_visibility_file_and_simulated_do(built):
    scene = V2XSeqDataset(built.root).scenes[0]
    ego = built.frame_id('vehicle', 0)
    assert scene.visibility(ego) is None
    directory = built.root / 'cooperative' / 'visibility'
    directory.mkdir()
    (directory / f'{ego}.json').write_text(
        '{"objects": [{"track_id": 7, "agents": {"vehicle": {"pixels": 120, "lidar_hits": 4}, '
        '"roadside": {"pixels": 3, "lidar_hits": 0}}}, '
        '{"track_id": 9, "agents": {"roadside": {"pixels": 50, "lidar_hits": 8}}}]}'
    )
    seen = scene.visibility(ego)
    assert seen.track_ids.tolist() == [7, 9]
    assert seen.visible_pixels['vehicle'].tolist() == [120, 0]
    assert seen.lidar_hits['roadside'].tolist() == [0, 8]
