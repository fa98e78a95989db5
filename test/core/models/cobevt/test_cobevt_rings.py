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

"""From frames to camera rings, and what a calibration means to the network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import small_cobevt
import torch

from cooptrack_core.geometry import SE3, CameraModel, MapGrid
from cooptrack_core.models.cobevt import CobevtQuirks
from cooptrack_core.models.cobevt.embedding import CameraEmbedding, cell_plane, pixel_plane
from cooptrack_core.models.cobevt.preprocess import prepare_ring, prepare_scene
from cooptrack_core.structures import AgentFrame, CameraImage, Role

# Looks along +x of the agent from two metres ahead and one up.
FRONT = np.linalg.inv(
    np.array([[0, 0, 1.0, 2], [-1, 0, 0, 0], [0, -1, 0, 1], [0, 0, 0, 1]], dtype=np.float64)
)
K = np.array([[100.0, 0, 79.5], [0, 100, 59.5], [0, 0, 1]])


def frame(cameras=1, world=None, body=None, value=128):
    camera = CameraModel('front', 160, 120, K, FRONT)
    image = np.full((120, 160, 3), value, np.uint8)
    pose = world or SE3.identity()
    return AgentFrame(
        'a', Role.VEHICLE, 's', 'f', 0, (CameraImage(image, camera, 0),) * cameras, pose,
        body or pose,
    )  # fmt: skip


def config(**quirks):
    return dataclasses.replace(small_cobevt.SMALL, quirks=CobevtQuirks(**quirks))


def test_images_are_normalised_and_the_intrinsics_follow_the_resize():
    ring = prepare_ring(frame(), config())
    assert ring.images.shape == (1, 1, 3, 64, 96)
    expected = (128 - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    torch.testing.assert_close(ring.images[0, 0, :, 5, 5], torch.from_numpy(expected).float())
    # A point ahead of the camera stays at the same share of the image.
    u = ring.intrinsics[0, 0] @ torch.tensor([0.2, 0.1, 1.0])
    assert u[:2].tolist() == pytest.approx(
        [(99.5 + 0.5) * 0.6 - 0.5, (69.5 + 0.5) * 64 / 120 - 0.5], abs=1e-4
    )
    torch.testing.assert_close(
        ring.agent_T_camera[0, 0], torch.from_numpy(np.linalg.inv(FRONT)).float()
    )


def test_rows_left_out_at_the_top_move_the_centre():
    image = dataclasses.replace(small_cobevt.SMALL.image, skip_rows=16)
    whole = prepare_ring(frame(), dataclasses.replace(config(), image=image))
    expected = (59.5 + 0.5) * 80 / 120 - 0.5 - 16
    assert whole.images.shape[-2:] == (64, 96)
    assert whole.intrinsics[0, 0, 1, 2] == pytest.approx(expected)


def test_a_frame_without_images_gives_a_ring_without_valid_cameras():
    ring = prepare_ring(frame(cameras=0), config())
    assert ring.cameras_valid.tolist() == [[False]]
    features = small_cobevt.model().encode(
        ring.images, ring.intrinsics, ring.agent_T_camera, ring.cameras_valid
    )
    assert features.isfinite().all()


def test_a_scene_stacks_its_agents_and_relates_them_to_the_ego():
    ego_pose = SE3.from_yaw(0.3, (100.0, 50.0, 0.0))
    other_pose = SE3.from_yaw(0.7, (110.0, 45.0, 0.0))
    inputs = prepare_scene([frame(2, ego_pose), frame(1, other_pose)], config())
    assert inputs.counts == (2,)
    assert inputs.rings.cameras_valid.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(inputs.ego_T_agent[0], torch.eye(4))
    points = inputs.ego_T_agent[1].double().numpy() @ np.array([1.0, 2.0, 0.0, 1.0])
    expected = ego_pose.inverse().transform_points(
        other_pose.transform_points(np.array([[1.0, 2.0, 0.0]]))
    )
    np.testing.assert_allclose(points[:3], expected[0], atol=1e-4)


def test_the_official_loader_leaves_the_intrinsics_unscaled_and_the_axes_unreal():
    ring = prepare_ring(frame(), config(unscaled_intrinsics=True, unreal_camera_axes=True))
    torch.testing.assert_close(ring.intrinsics[0, 0], torch.from_numpy(K).float())
    # In Unreal a camera that looks ahead has the axes of the vehicle.
    expected = torch.eye(4)
    expected[:3, 3] = torch.tensor([2.0, 0.0, 1.0])
    torch.testing.assert_close(ring.agent_T_camera[0, 0], expected)


def test_the_official_loader_puts_cameras_into_the_receivers_body_frame():
    ego = frame(1, SE3.from_yaw(0.0, (10.0, 0.0, 2.0)), SE3.from_yaw(0.0, (10.0, 0.0, 0.0)))
    other = frame(1, SE3.from_yaw(0.0, (30.0, 5.0, 2.0)))
    quirk = config(cameras_in_receiver_frame=True)
    camera = prepare_ring(other, quirk, ego).agent_T_camera[0, 0, :3, 3]
    assert camera.tolist() == pytest.approx([22.0, 5.0, 3.0])
    assert prepare_ring(other, config(), ego).agent_T_camera[0, 0, 0, 3] == 2.0


def test_a_pixel_of_a_feature_map_is_the_middle_of_the_pixels_it_stands_for():
    plane = pixel_plane((2, 4), (16, 32), from_edges=False).view(3, 2, 4)
    assert plane[0, 0].tolist() == [3.5, 11.5, 19.5, 27.5]
    assert plane[1, :, 0].tolist() == [3.5, 11.5]
    official = pixel_plane((2, 4), (16, 32), from_edges=True).view(3, 2, 4)
    assert official[0, 0].tolist() == pytest.approx([0, 32 / 3, 64 / 3, 32])
    assert official[2].eq(1).all() and plane[2].eq(1).all()


def test_official_cells_reach_the_rim_of_the_map():
    grid = MapGrid(4, 4, 25.0)
    assert cell_plane(grid, from_edges=True)[0, 0].tolist() == [50.0, 50.0]
    assert cell_plane(grid, from_edges=False)[0, 0].tolist() == [37.5, 37.5]


def test_directions_and_cells_are_encoded_as_the_paper_says():
    torch.manual_seed(0)
    embedding = CameraEmbedding(6, MapGrid(4, 4, 2.0), from_edges=False)
    ring = small_cobevt.ring(2, cameras=3)
    pixels = pixel_plane((2, 3), (64, 96), from_edges=False)
    codes = embedding.images(pixels, ring.intrinsics, ring.agent_T_camera)
    places = embedding.queries(ring.agent_T_camera)
    assert codes.shape == (2, 3, 6, 6) and places.shape == (2, 3, 4, 4, 6)
    pose = ring.agent_T_camera[1, 2]
    camera = embedding.position.weight.flatten(1) @ pose[:, 3]
    ray = ring.intrinsics[1, 2].inverse() @ pixels[:, 4]
    end = embedding.direction.weight.flatten(1) @ (pose @ torch.cat([ray, torch.ones(1)]))
    expected = (end - camera) / (end - camera).norm()
    torch.testing.assert_close(codes[1, 2, 4], expected, atol=1e-5, rtol=1e-4)
    x, y = 3.0, -1.0  # row 0, column 2
    cell = embedding.cell.weight.flatten(1) @ torch.tensor([x, y]) + embedding.cell.bias
    expected = (cell - camera) / (cell - camera).norm()
    torch.testing.assert_close(places[1, 2, 0, 2], expected, atol=1e-5, rtol=1e-4)


def test_stages_without_positions_have_no_cells():
    with pytest.raises(ValueError, match='no cells'):
        CameraEmbedding(6, None, False).queries(torch.eye(4)[None, None])
