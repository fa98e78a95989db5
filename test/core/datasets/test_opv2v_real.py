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

"""OPV2V reader against real files that exist locally (V2X-R has OPV2V's layout)."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml

from cooptrack_core.datasets.opv2v import Opv2vDataset, Opv2vScenario
from cooptrack_core.geometry.ue4 import MIRROR, UE4_FROM_OPENCV
from cooptrack_core.structures import Role


@pytest.fixture
def scenario(shared_dir, tmp_path) -> Opv2vScenario:
    """The three agents of V2X-R; its roadside unit is 0, which OPV2V would call -1."""
    source = shared_dir / 'data' / 'v2xr_agents'
    for name, agent_id in (('0', '-1'), ('1', '1'), ('2', '2')):
        (tmp_path / agent_id).mkdir()
        shutil.copy(source / f'{name}.yaml', tmp_path / agent_id / '000068.yaml')
        shutil.copy(source / f'{name}_lidar.pcd', tmp_path / agent_id / '000068.pcd')
    for camera in range(4):
        shutil.copy(
            shared_dir / 'data' / 'opv2v_images' / f'contributer_641_000759_camera{camera}.png',
            tmp_path / '1' / f'000068_camera{camera}.png',
        )
    return Opv2vDataset(tmp_path).scenarios[0]


def test_every_real_labelled_vehicle_contains_points(scenario):
    counts = {}
    for agent_id in scenario.agent_ids:
        frame = scenario.frame(agent_id, '000068', load_images=False, load_points=True)
        labels = scenario.labels(agent_id, '000068')
        inside = labels.boxes.contains(frame.points[:, :3]).sum(1)
        assert inside.min() >= 1
        counts[agent_id] = len(labels), int(inside.sum())
    assert {k: n for k, (n, _) in counts.items()} == {'-1': 27, '1': 10, '2': 24}
    assert [total for _, total in counts.values()] == pytest.approx([241, 4135, 2777], abs=5)


def test_agents_see_each_other_where_they_say_they_are(scenario):
    """The sender's own pose and the labels others have of it, in one right-handed world."""
    sender = scenario.frame('1', '000068', load_images=False)
    for witness in ('2', '-1'):
        frame = scenario.frame(witness, '000068', load_images=False)
        labels = scenario.labels(witness, '000068')
        world = labels.boxes.transformed(frame.world_SE3_agent)
        apart = np.linalg.norm((world.centers - sender.world_SE3_body.translation)[:, :2], axis=1)
        nearest = int(np.argmin(apart))
        assert labels.track_ids[nearest] == 988
        assert apart[nearest] < 0.05
        assert world.yaws[nearest] == pytest.approx(sender.world_SE3_body.yaw, abs=1e-4)
        speed = np.linalg.norm(labels.boxes.velocities[nearest])
        assert speed == pytest.approx(20.5867 / 3.6, abs=1e-3)


def test_the_stored_extrinsic_is_lidar_to_camera_in_ue4_axes(scenario):
    for agent_id in scenario.agent_ids:
        path = scenario.path / agent_id / '000068.yaml'
        stored = yaml.safe_load(path.read_text())
        for camera in scenario.record(agent_id, '000068').cameras:
            ours = UE4_FROM_OPENCV @ camera.camera_T_agent @ MIRROR
            np.testing.assert_allclose(ours, stored[camera.key]['extrinsic'], atol=2e-4)


def test_the_real_images_are_read_with_their_ring(scenario):
    frame = scenario.frame('1', '000068')
    assert [i.camera.name for i in frame.images] == ['front', 'right', 'left', 'back']
    assert all(i.image.shape == (600, 800, 3) for i in frame.images)
    yaws = [np.degrees(np.arctan2(*i.camera.camera_T_agent[2, 1::-1])) for i in frame.images]
    np.testing.assert_allclose(yaws[:3], [0, -100, 100], atol=0.05)
    assert abs(yaws[3]) == pytest.approx(180, abs=0.05)
    focal = frame.images[0].camera.intrinsic[0, 0]
    assert np.degrees(2 * np.arctan(400 / focal)) == pytest.approx(100, abs=1e-3)


def test_the_roadside_unit_joins_the_ego(scenario):
    frame = scenario.map_frame('000068', load_images=False, load_labels=False)
    assert [a.agent_id for a in frame.agents] == ['1', '2', '-1']
    assert frame.agents[2].role is Role.ROADSIDE
