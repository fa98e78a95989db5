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

"""Camera and box conventions against real data: Rope3D, nuScenes, DAIR-V2X roadside cameras."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from cooptrack_core.datasets.images import read_image
from cooptrack_core.geometry import SE3, Boxes3D, CameraModel


def rope3d_camera(folder):
    """The agent frame stands on the road: z is the ground normal, origin below the camera."""
    (calib,) = (folder / 'calib').glob('*.txt')
    k = np.array(calib.read_text().split()[1:], dtype=float).reshape(3, 4)[:, :3]
    (plane,) = (folder / 'denorm').glob('*.txt')
    *normal, distance = map(float, plane.read_text().split())
    up = np.array(normal) / np.linalg.norm(normal)
    forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
    forward /= np.linalg.norm(forward)
    rotation = np.stack([forward, np.cross(up, forward), up], axis=1)
    camera_SE3_agent = SE3(rotation, -distance * up)
    (image,) = (folder / 'image_2').glob('*.jpg')
    height, width, _ = read_image(image).shape
    return CameraModel('roadside', width, height, k, camera_SE3_agent.matrix)


def test_rope3d_centres_fall_into_their_boxes(shared_dir):
    folder = shared_dir / 'data/rope3d_roadside/show_tools/data_demo'
    camera = rope3d_camera(folder)
    assert (camera.width, camera.height) == (1920, 1080)
    assert camera.position[2] == pytest.approx(7.004, abs=1e-3)
    (labels,) = (folder / 'label_2').glob('*.txt')
    rows = np.array([line.split()[4:15] for line in labels.read_text().splitlines()], dtype=float)
    assert len(rows) == 48
    rows = rows[np.abs(rows[:, 7:10]).sum(1) > 0]
    assert len(rows) == 44
    camera_SE3_agent = SE3.from_matrix(camera.camera_T_agent)
    centers = camera_SE3_agent.inverse().transform_points(rows[:, 7:10])
    # Labels give the middle of the bottom face, on the road.
    assert np.median(np.abs(centers[:, 2])) < 0.5
    centers[:, 2] += rows[:, 4] / 2
    pixels, depth = camera.project(centers)
    assert (depth > 0).all()
    x1, y1, x2, y2 = rows[:, :4].T
    inside = (
        (x1 <= pixels[:, 0]) & (pixels[:, 0] <= x2) & (y1 <= pixels[:, 1]) & (pixels[:, 1] <= y2)
    )
    assert inside.sum() == 41
    middle = np.stack([(x1 + x2) / 2, (y1 + y2) / 2], -1)
    offsets = np.linalg.norm(pixels - middle, axis=1)
    assert np.median(offsets) == pytest.approx(0.28, abs=0.01)


@pytest.fixture
def keyframe(shared_dir):
    folder = shared_dir / 'data/nuscenes_keyframe'
    info = json.loads((folder / 'infos.json').read_text())['data_list'][0]
    rows = np.array([item['bbox_3d'] for item in info['instances']])
    boxes = Boxes3D(rows[:, :3], rows[:, 3:6], rows[:, 6], np.zeros((len(rows), 2)))
    return folder, info, boxes


def test_nuscenes_boxes_hold_their_counted_points(keyframe):
    folder, info, boxes = keyframe
    sweep = np.fromfile(folder / info['lidar_points']['lidar_path'], dtype=np.float32)
    points = sweep.reshape(-1, 5)[:, :3]
    assert len(points) == 34688
    counted = np.array([item['num_lidar_pts'] for item in info['instances']])
    assert len(boxes) == len(counted) == 69
    inside = boxes.contains(points).sum(1)
    assert (inside == counted).sum() == 61
    np.testing.assert_allclose(inside, counted, rtol=0.15, atol=2)
    # No other reading of the boxes comes near. (Headings here are close to whole half turns, so
    # the mirrored yaw is told apart by the least.)
    lift = boxes.sizes * [0, 0, 0.5]
    for centers, yaws, factor in (
        (boxes.centers, -boxes.yaws, 1.9),
        (boxes.centers, boxes.yaws + np.pi / 2, 5),
        (boxes.centers + lift, boxes.yaws, 5),
    ):
        other = Boxes3D(centers, boxes.sizes, yaws, boxes.velocities).contains(points).sum(1)
        assert np.abs(other - counted).sum() > factor * np.abs(inside - counted).sum()


def test_nuscenes_centres_project_where_their_labels_say(keyframe):
    folder, info, boxes = keyframe
    checked = 0
    for name, data in info['images'].items():
        height, width, _ = read_image(folder / data['img_path']).shape
        assert (width, height) == (1600, 900)
        camera = CameraModel(
            name, width, height, np.array(data['cam2img']), np.array(data['lidar2cam'])
        )
        pixels, depth = camera.project(boxes.centers)
        found = np.column_stack([pixels, depth])
        for label in info['cam_instances'][name]:
            expected = [*label['center_2d'], label['depth']]
            assert np.nanmin(np.abs(found - expected).max(1)) < 1e-3
            checked += 1
    assert checked == 84


def roadside_matrices(shared_dir):
    text = (shared_dir / 'data/dair_v2x_records/infra_lidar2img_log.txt').read_text()
    found = re.findall(r"lidar2img': array\((\[\[.*?\]\])", text, re.DOTALL)
    return [np.array(json.loads(re.sub(r'(\d)\.(?=[\],e])', r'\1.0', m))) for m in found]


def test_six_real_roadside_matrices_survive_the_camera_model(shared_dir):
    matrices = roadside_matrices(shared_dir)
    assert len(matrices) == 6
    k = np.array([[2183.0, 0.0, 940.0], [0.0, 2329.0, 567.0], [0.0, 0.0, 1.0]])
    k4 = np.eye(4)
    k4[:3, :3] = k
    for matrix in matrices:
        camera = CameraModel('roadside', 1920, 1080, k, np.linalg.solve(k4, matrix))
        np.testing.assert_allclose(camera.agent_to_image, matrix, rtol=1e-9, atol=1e-6)
        # The viewing axis of an exact rotation would have length 1: these are not exact.
        assert 0.99 < np.linalg.norm(matrix[2, :3]) < 0.999
        # A camera on a pole, looking along +x and a little down, the road in its picture.
        assert 6.0 < camera.position[2] < 7.5
        assert np.hypot(*camera.position[:2]) < 4.0
        assert matrix[2, 0] > 0.9
        assert matrix[2, 2] < -0.1
        (u, v), depth = camera.project([60.0, 0.0, 0.0])
        assert depth > 50
        assert 0 < v < 1080
        # Left of the agent is left in the picture, up is up.
        (u_left, _), _ = camera.project([60.0, 5.0, 0.0])
        (_, v_up), _ = camera.project([60.0, 0.0, 3.0])
        assert u_left < u
        assert v_up < v
