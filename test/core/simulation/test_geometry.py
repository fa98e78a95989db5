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

"""Pictures, clouds and labels against the projection and the boxes of the rest of the library."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cooptrack_core.geometry import SE3, Boxes3D, CameraModel
from cooptrack_core.simulation.bodies import MAKERS
from cooptrack_core.simulation.camera import take_picture
from cooptrack_core.simulation.labels import sightings
from cooptrack_core.simulation.layout import Path
from cooptrack_core.simulation.scene import Capture, SceneSimulation, _may_hit


def _box_of(capture: Capture, track_id: int, margin: float) -> Boxes3D:
    user = next(u for u in capture.road_users if u.track_id == track_id)
    box = Boxes3D(user.center[None], user.size[None] + 2 * margin, np.array([user.yaw]),
                  np.full((1, 2), np.nan))  # fmt: skip
    return box.transformed(capture.site_SE3_agent.inverse())


def _outline(camera: CameraModel, box: Boxes3D) -> np.ndarray | None:
    pixels, depth = camera.project(box.corners()[0])
    if depth.min() < 0.5:
        return None
    mask = np.zeros((camera.height, camera.width), np.uint8)
    hull = cv2.convexHull(np.clip(pixels, -3e4, 3e4).astype(np.float32))
    cv2.fillConvexPoly(mask, np.round(hull * 16).astype(np.int32), 1, shift=4)
    return mask.astype(bool)


def test_every_rendered_pixel_of_an_object_lies_in_its_projected_box(captures):
    checked = 0
    for capture in captures:
        picture = capture.picture
        for track_id in np.unique(picture.objects[picture.objects > 0]):
            # Mirrors and elbows stick out of boxes, by less than this.
            outline = _outline(capture.agent.camera, _box_of(capture, int(track_id), 0.25))
            if outline is None:
                continue
            shown = picture.objects == track_id
            grown = cv2.dilate(outline.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
            assert grown[shown].all(), (capture.agent.agent_id, track_id)
            checked += 1
    assert checked > 10


def test_what_nothing_hides_fills_its_projected_box(captures):
    checked = 0
    for capture in captures:
        seen = sightings(capture)
        depth = capture.picture.depth
        for user in capture.road_users:
            outline = _outline(capture.agent.camera, _box_of(capture, user.track_id, 0.0))
            if outline is None or outline.sum() < 60:
                continue
            shown = capture.picture.objects == user.track_id
            own = depth[shown].min() if shown.any() else np.inf
            free = depth[outline] > own - 0.3
            if not shown.any() or free.mean() < 0.99 or seen[user.track_id].truncated:
                continue
            motor = user.type in ('Car', 'Van', 'Truck', 'Bus')
            least = 0.45 if motor else 0.15  # a bicycle is mostly air
            assert shown[outline].mean() > least, (capture.agent.agent_id, user.type)
            checked += 1
    assert checked > 5


def test_lidar_points_of_an_object_lie_in_its_box(captures):
    points = inside = 0
    for capture in captures:
        for user in capture.road_users:
            mine = capture.cloud.points[capture.cloud.objects == user.track_id, :3]
            if len(mine):
                points += len(mine)
                inside += int(_box_of(capture, user.track_id, 0.15).contains(mine).sum())
    assert points > 200
    assert inside / points > 0.98


def test_lidar_and_depth_image_of_a_pole_agree(captures):
    errors = []
    for capture in captures:
        if capture.agent.actor is not None:
            continue
        camera = capture.agent.camera
        pixels, depth = camera.project(capture.cloud.points[:, :3])
        ahead = depth > 1
        u, v = np.round(pixels[ahead]).astype(int).T
        inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        picture = capture.picture.depth[v[inside], u[inside]]
        errors.append(np.abs(picture - depth[ahead][inside]) / depth[ahead][inside])
    relative = np.concatenate(errors)
    # The two sensors sit 25 cm apart and a pixel covers some ground, so edges differ.
    assert len(relative) > 1000
    assert np.median(relative) < 0.02
    assert (relative < 0.1).mean() > 0.85


def test_leaving_out_rays_that_cannot_hit_what_moves_changes_no_pixel(scenes):
    for scene in scenes:
        for agent in scene.agents:
            step = scene._warmup
            pose = agent.site_SE3_agent(step)
            geometry = scene._geometry(step, agent)
            users = [
                u for u in scene.road_users(step)
                if agent.actor is None or u.track_id != agent.actor.track_id
            ]  # fmt: skip
            moving = [u for u in users if u.track_id not in scene._parked]
            near = _may_hit(agent.camera, pose, moving)
            shots = [
                take_picture(
                    geometry, scene.ground, scene.light, agent.lenses[0],
                    pose @ agent.agent_SE3_cameras[0], np.random.default_rng(1), near_moving=mask,
                )
                for mask in (None, near)
            ]  # fmt: skip
            np.testing.assert_array_equal(shots[0].objects, shots[1].objects)
            np.testing.assert_array_equal(shots[0].image, shots[1].image)


def test_pixels_and_hits_are_counted_per_object(captures):
    for capture in captures:
        seen = sightings(capture)
        ids = [u.track_id for u in capture.road_users]
        assert sum(seen[i].pixels for i in ids) == (capture.picture.objects > 0).sum()
        assert sum(seen[i].lidar_hits for i in ids) == (capture.cloud.objects > 0).sum()


def test_the_carrier_of_a_sensor_is_not_in_its_own_picture(captures):
    for capture in captures:
        if capture.agent.actor is not None:
            own = capture.agent.actor.track_id
            assert not (capture.picture.objects == own).any()
            assert not (capture.cloud.objects == own).any()
            assert own not in {u.track_id for u in capture.road_users}


@pytest.mark.parametrize('kind', sorted(MAKERS))
def test_a_body_fills_its_box_and_stays_in_it(kind):
    for seed in range(5):
        body = MAKERS[kind](np.random.default_rng(seed))
        points = np.concatenate([mesh.quads.reshape(-1, 3) for mesh in body.poses])
        size = points.max(0) - points.min(0)
        assert points[:, 2].min() > -0.02
        assert size[2] == pytest.approx(body.size[2], abs=0.06)
        assert size[0] == pytest.approx(body.size[0], abs=0.25)
        assert np.abs(points[:, 1]).max() < body.size[1] / 2 + 0.16


def test_the_roadside_frame_has_the_road_below_and_the_camera_ahead(captures, small_preset):
    for capture in captures:
        if capture.agent.actor is None:
            pose = capture.site_SE3_agent
            assert pose.translation[2] == pytest.approx(1.8)
            np.testing.assert_allclose(pose.rotation[2], [0, 0, 1], atol=1e-12)
            forward = capture.agent.agent_SE3_cameras[0].rotation[:, 2]
            assert abs(np.arctan2(forward[1], forward[0])) < 0.06
            pitch = np.degrees(np.arcsin(-forward[2]))
            low, high = small_preset.camera.roadside_pitch_deg
            assert low - 1 < pitch < high + 1
            ground = capture.cloud.points[capture.cloud.objects == 0, 2]
            assert -1.9 < np.percentile(ground, 20) < -1.7


def test_a_path_goes_on_straight_beyond_its_ends():
    path = Path(np.stack([np.arange(0, 5.5, 0.5), np.zeros(11)], 1))
    np.testing.assert_allclose(path.at(np.array([-1.0, 2.25, 7.0]))[:, 0], [-1.0, 2.25, 7.0])
    assert path.place(7.0) == pytest.approx((7.0, 0.0))


def test_the_scene_is_placed_in_the_world_by_a_rigid_pose(scenes: list[SceneSimulation]):
    for scene in scenes:
        assert isinstance(scene.world_SE3_site, SE3)
        assert np.abs(scene.world_SE3_site.translation).max() < 2000
