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

"""The OPV2V layout of the simulator, read back by the reader."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cooptrack_core.datasets.opv2v import MAP_FILES, Opv2vDataset, Opv2vScenario
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.geometry.road_map import draw_boxes
from cooptrack_core.simulation import MapSummary, Preset, load_preset, simulate
from cooptrack_core.simulation.presets import CameraConfig, LidarConfig
from cooptrack_core.simulation.scene import Capture, SceneSimulation

SEED, SCENES = 6, 2
GRID = MapGrid()


@pytest.fixture(scope='module')
def preset() -> Preset:
    """Two frames of 96 x 72 pixels; everything else as for training."""
    base = load_preset('opv2v_train')
    return replace(
        base, frames=2, vehicles=3, camera=CameraConfig(width=96, height=72, ground_texel=0.6),
        lidar=LidarConfig(vehicle_rings=24, vehicle_steps=240),
        ring=replace(base.ring, roadside_share=1.0, image_format='png'),
    )  # fmt: skip


@pytest.fixture(scope='module')
def made(preset, tmp_path_factory) -> tuple[Path, MapSummary]:
    out = tmp_path_factory.mktemp('opv2v') / 'data'
    summary = simulate(out, preset, scenes=SCENES, seed=SEED, workers=1)
    assert isinstance(summary, MapSummary)
    return out, summary


@pytest.fixture(scope='module')
def scenarios(made) -> tuple[Opv2vScenario, ...]:
    return Opv2vDataset(made[0]).scenarios


@pytest.fixture(scope='module')
def truth(preset) -> dict[tuple[int, str], Capture]:
    """First captures by scene and agent."""
    return {
        (index, capture.agent.agent_id): capture
        for index in range(SCENES)
        for capture in next(SceneSimulation(preset, SEED, index).frames())
    }


def _each(scenarios):
    for index, scenario in enumerate(scenarios):
        for agent_id in scenario.agent_ids:
            yield index, scenario, agent_id, scenario.frame_ids(agent_id)[0]


def _digests(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob('*'))
        if p.is_file()
    }


def test_every_frame_has_all_files_of_the_layout(made, scenarios):
    kinds = [f'_camera{k}.png' for k in range(4)] + ['.yaml', '.pcd']
    kinds += [f'_bev_{kind}.png' for kind in MAP_FILES.values()]
    for scenario in scenarios:
        assert scenario.path.parent == made[0] / 'train'
        assert (scenario.path / 'data_protocol.yaml').is_file()
        assert sum(int(a) < 0 for a in scenario.agent_ids) == 1
        assert len(scenario.vehicle_ids) >= 2
        for agent_id in scenario.agent_ids:
            assert scenario.frame_ids(agent_id) == ('000000', '000020')
            expected = {f'{n}{k}' for n in ('000000', '000020') for k in kinds}
            assert {p.name for p in (scenario.path / agent_id).iterdir()} == expected


def test_same_seed_gives_the_same_bytes_in_parts_too(made, preset, tmp_path, monkeypatch):
    monkeypatch.setattr('cooptrack_core.simulation.run._PART', 1)
    steps = []
    simulate(tmp_path / 'again', preset, scenes=SCENES, seed=SEED, workers=1,
             progress=lambda done, total: steps.append((done, total)))  # fmt: skip
    assert _digests(tmp_path / 'again') == _digests(made[0])
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_summary_counts_what_was_written(made, scenarios):
    summary = made[1]
    assert (summary.scenes, summary.frames) == (SCENES, 2 * SCENES)
    assert summary.maps == sum(2 * len(s.agent_ids) for s in scenarios)
    maps = [s.map_labels(a, f) for s in scenarios for a in s.agent_ids for f in s.frame_ids(a)]
    for share, masks in (
        (summary.vehicle_share, [m.dynamic for m in maps]),
        (summary.drivable_share, [m.drivable for m in maps]),
        (summary.lane_share, [m.lane for m in maps]),
    ):
        assert share == pytest.approx(float(np.mean(masks)))
    assert 0 < summary.visible_share <= summary.visible_all_share <= 1
    assert 'cells with a vehicle' in summary.as_markdown()


def test_poses_are_read_as_they_were_written(scenarios, truth):
    """Relative poses of agents; the world itself is moved to a random place."""
    for index, scenario in enumerate(scenarios):
        frames = {a: scenario.frame(a, '000000', load_images=False) for a in scenario.agent_ids}
        first = scenario.agent_ids[0]
        for agent_id, frame in frames.items():
            got = frames[first].world_SE3_body.inverse() @ frame.world_SE3_agent
            here, there = truth[index, first], truth[index, agent_id]
            expected = here.site_SE3_body.inverse() @ there.site_SE3_agent
            np.testing.assert_allclose(got.matrix, expected.matrix, atol=1e-5)


def test_cameras_are_read_as_they_were_written(scenarios, truth):
    for index, scenario, agent_id, frame_id in _each(scenarios):
        frame = scenario.frame(agent_id, frame_id)
        capture = truth[index, agent_id]
        assert [i.camera.name for i in frame.images] == ['front', 'right', 'left', 'back']
        for image, camera, picture in zip(
            frame.images, capture.agent.cameras, capture.pictures, strict=True
        ):
            np.testing.assert_allclose(image.camera.intrinsic, camera.intrinsic, atol=1e-5)
            np.testing.assert_allclose(
                image.camera.camera_T_agent, camera.camera_T_agent, atol=1e-5
            )
            assert (image.image == picture.image).all()


def test_a_vehicle_is_seen_where_its_label_projects(scenarios, truth):
    """Pixels that show a vehicle lie inside the outline of its box, and fill a good part."""
    checked = 0
    for index, scenario, agent_id, frame_id in _each(scenarios):
        frame, labels = scenario.frame(agent_id, frame_id), scenario.labels(agent_id, frame_id)
        for image, picture in zip(frame.images, truth[index, agent_id].pictures, strict=True):
            for track_id, corners in zip(labels.track_ids, labels.boxes.corners(), strict=True):
                pixels, depth = image.camera.project(corners)
                v, u = np.nonzero(picture.objects == track_id)
                if depth.min() < 0.5 or len(u) < 20:
                    continue
                # Mirrors stick out of boxes.
                low, high = pixels.min(0) - 1.5, pixels.max(0) + 1.5
                inside = (u > low[0]) & (u < high[0]) & (v > low[1]) & (v < high[1])
                assert inside.mean() > 0.97, (agent_id, image.camera.name, track_id)
                checked += 1
    assert checked > 8


def test_labelled_vehicles_contain_points_of_the_lidar(scenarios):
    checked = 0
    for _, scenario, agent_id, frame_id in _each(scenarios):
        points = scenario.frame(agent_id, frame_id, load_images=False, load_points=True).points
        boxes = scenario.labels(agent_id, frame_id).boxes
        grown = type(boxes)(boxes.centers, boxes.sizes + 0.4, boxes.yaws, boxes.velocities)
        assert grown.contains(points[:, :3]).any(1).all()
        assert 0 < points[:, 3].max() <= 255
        checked += len(boxes)
    assert checked > 8


def test_the_map_shows_the_vehicles_on_the_road(scenarios):
    """Labels are of what this agent's LiDAR hits, the map of all; other agents are on it too."""
    for _, scenario, agent_id, frame_id in _each(scenarios):
        frame, labels = scenario.frame(agent_id, frame_id), scenario.labels(agent_id, frame_id)
        maps = scenario.map_labels(agent_id, frame_id)
        body_SE3_agent = frame.world_SE3_body.inverse() @ frame.world_SE3_agent
        boxes = labels.boxes.transformed(body_SE3_agent)
        near = np.hypot(*boxes.centers[:, :2].T) < 70
        own = draw_boxes(GRID, boxes[near]) > 0
        assert not (own & maps.drivable & ~maps.dynamic).any()
        for other in scenario.vehicle_ids:
            if other == agent_id:
                continue
            world = scenario.frame(other, frame_id, load_images=False).world_SE3_body
            at = (frame.world_SE3_body.inverse() @ world).translation
            row, column = np.round(GRID.cells_of(at)).astype(int)
            if 0 <= row < 256 and 0 <= column < 256:
                assert maps.dynamic[row, column]


def test_bodies_stand_on_the_road_that_of_a_roadside_unit_too(scenarios):
    for scenario in scenarios:
        bodies = {
            agent: scenario.frame(agent, '000000', load_images=False).world_SE3_body
            for agent in scenario.agent_ids
        }
        assert any(int(agent) < 0 for agent in bodies)
        heights = [body.translation[2] for body in bodies.values()]
        np.testing.assert_allclose(heights, heights[0], atol=0.05)


def test_the_own_vehicle_is_not_on_its_map_but_stands_on_the_road(scenarios):
    for _, scenario, agent_id, frame_id in _each(scenarios):
        if int(agent_id) < 0:
            continue
        maps = scenario.map_labels(agent_id, frame_id)
        assert not maps.dynamic[127:129, 127:129].any()
        assert not maps.visible_all[127:129, 127:129].any()
        assert maps.drivable[127:129, 127:129].all()


def test_masks_contain_each_other(scenarios):
    for _, scenario, agent_id, frame_id in _each(scenarios):
        maps = scenario.map_labels(agent_id, frame_id)
        assert not (maps.lane & ~maps.drivable).any()
        assert not (maps.dynamic & ~maps.drivable).any()
        assert not (maps.visible & ~maps.visible_all).any()
        assert not (maps.visible_all & maps.drivable & ~maps.dynamic).any()
        assert (np.unique(maps.static) == [0, 1, 2]).all()


def test_a_vehicle_hidden_from_all_scanners_is_on_the_map_but_not_visible(scenarios, truth):
    hidden = 0
    for index, scenario, agent_id, frame_id in _each(scenarios):
        maps = scenario.map_labels(agent_id, frame_id)
        seen = frozenset().union(*(truth[k].visible for k in truth if k[0] == index))
        capture = truth[index, agent_id]
        for user in capture.road_users:
            at = capture.site_SE3_body.inverse().transform_points(user.center)
            row, column = np.round(GRID.cells_of(at)).astype(int)
            on_map = 0 <= row < 256 and 0 <= column < 256 and user.type != 'Pedestrian'
            if on_map and np.hypot(*at[:2]) < 70 and maps.dynamic[row, column]:
                assert maps.visible_all[row, column] == (user.track_id in seen)
                hidden += user.track_id not in seen
    assert hidden > 0


def test_frames_of_several_agents_fit_together(scenarios):
    for scenario in scenarios:
        for frame in scenario.frames(load_images=False):
            assert frame.agents[0].agent_id == scenario.vehicle_ids[0]
            assert frame.labels is not None
            for agent, pose in zip(frame.agents, frame.map_SE3_bodies, strict=True):
                assert np.hypot(*pose.translation[:2]) < 71
                assert agent.stamp_ns == int(agent.frame_id) * 50_000_000
            poses = zip(frame.agents, frame.map_SE3_bodies, frame.map_SE3_agents, strict=True)
            for agent, pose, lidar in poses:
                apart = lidar.translation - pose.translation
                if int(agent.agent_id) < 0:  # straight above the foot of its mast
                    np.testing.assert_allclose(apart[:2], 0.0, atol=0.2)  # the ego sways
                    assert 4.0 < apart[2] < 8.0
                else:
                    assert np.linalg.norm(apart) == pytest.approx(np.hypot(0.5, 1.9), abs=1e-4)


def test_jpeg_images_are_read_as_well(preset, tmp_path):
    smaller = replace(preset, frames=1, ring=replace(preset.ring, image_format='jpg'))
    smaller = replace(smaller, lidar=replace(preset.lidar, write=False))
    simulate(tmp_path / 'jpg', smaller, scenes=1, seed=SEED, workers=1)
    assert not list((tmp_path / 'jpg').rglob('*camera*.png'))
    assert not list((tmp_path / 'jpg').rglob('*.pcd'))
    (frame,) = Opv2vDataset(tmp_path / 'jpg').scenarios[0].frames()
    assert all(len(agent.images) == 4 for agent in frame.agents)


def test_the_layout_can_be_asked_for_beside_the_preset(preset, tmp_path):
    tiny = replace(load_preset('tiny'), frames=1)
    summary = simulate(tmp_path / 'tiny', tiny, scenes=1, workers=1, layout='opv2v')
    assert isinstance(summary, MapSummary)
    assert Opv2vDataset(tmp_path / 'tiny', split='validate').scenarios
    with pytest.raises(InputError, match=r"no layout 'opv2'.*Remedy"):
        simulate(tmp_path / 'none', tiny, layout='opv2')


@pytest.mark.parametrize(
    'wrong',
    [{'max_skew_ms': 5.0}, {'rate_hz': 7.0}, {'rate_hz': 40.0}, {'split': 'all'}],
)
def test_what_the_layout_cannot_hold_is_refused(preset, wrong):
    with pytest.raises(ValueError, match=r'opv2v|split'):
        replace(preset, **wrong)


def test_the_shipped_presets_have_the_sizes_of_the_reference():
    full, train = load_preset('opv2v'), load_preset('opv2v_train')
    assert (full.camera.width, full.camera.height) == (800, 600)
    assert full.ring.fov_deg == train.ring.fov_deg == 100
    assert full.ring.image_format == 'png'
    assert full.camera.width / 2 / np.tan(np.radians(50)) == pytest.approx(335.6399, abs=1e-4)
