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

"""Left-handed poses of OPV2V and right-handed ones of ours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.geometry.ue4 import (
    MIRROR,
    UE4_FROM_OPENCV,
    camera_pose_to_ue4,
    camera_T_agent_from_ue4,
    from_ue4,
    pose_matrix,
    pose_of,
    to_ue4,
)

metres = st.floats(-500, 500)
poses = st.tuples(
    metres, metres, metres, st.floats(-179, 179), st.floats(-179, 179), st.floats(-89, 89)
)


@given(poses)
def test_a_pose_survives_the_way_to_a_matrix_and_back(pose):
    np.testing.assert_allclose(pose_of(pose_matrix(pose)), pose, atol=1e-6)


@given(poses)
def test_a_pose_survives_the_way_to_right_handed_and_back(pose):
    matrix = pose_matrix(pose)
    np.testing.assert_allclose(to_ue4(from_ue4(matrix)), matrix, atol=1e-9)


@given(poses, poses, st.tuples(metres, metres, metres))
def test_mirroring_commutes_with_moving_points(a, b, point):
    """Left-handed all the way, then mirrored, is mirrored first, then right-handed all the way."""
    left = np.linalg.solve(pose_matrix(a), pose_matrix(b) @ [*point, 1.0])[:3]
    relative = from_ue4(pose_matrix(a)).inverse() @ from_ue4(pose_matrix(b))
    right = relative.transform_points(np.array(point) * [1, -1, 1])
    np.testing.assert_allclose(right, left * [1, -1, 1], atol=1e-6)


def test_the_matrix_has_the_signs_of_carla():
    """Yaw turns x to y (to the right), positive pitch lifts the nose, positive roll drops the
    right side (the z of the y axis falls)."""
    assert pose_matrix([0, 0, 0, 0, 90, 0])[:3, 0] == pytest.approx([0, 1, 0])
    assert pose_matrix([0, 0, 0, 0, 0, 10])[2, 0] > 0
    assert pose_matrix([0, 0, 0, 10, 0, 0])[2, 1] < 0


def test_at_a_pitch_of_ninety_degrees_the_matrix_survives():
    for pitch in (90.0, -90.0):
        matrix = pose_matrix([1, 2, 3, 25.0, 40.0, pitch])
        np.testing.assert_allclose(pose_matrix(pose_of(matrix)), matrix, atol=1e-7)


def test_the_axes_of_cameras_are_those_of_the_reference():
    x, y, z = np.eye(4)[:, :3].T  # right, down, forward of the picture
    assert (UE4_FROM_OPENCV @ z)[:3].tolist() == [1, 0, 0]
    assert (UE4_FROM_OPENCV @ x)[:3].tolist() == [0, 1, 0]
    assert (UE4_FROM_OPENCV @ y)[:3].tolist() == [0, 0, -1]


@given(poses, poses)
def test_a_camera_pose_gives_back_its_extrinsic_matrix(camera, agent):
    extrinsic = camera_T_agent_from_ue4(pose_matrix(camera), pose_matrix(agent))
    world_SE3_agent = from_ue4(pose_matrix(agent))
    mount = SE3.from_matrix(extrinsic, project=True).inverse()
    written = camera_pose_to_ue4(world_SE3_agent @ mount)
    np.testing.assert_allclose(written, pose_matrix(camera), atol=1e-6)


def test_what_lies_to_the_right_of_a_vehicle_is_seen_in_the_right_half():
    pose = pose_matrix([10, 20, 1, 0, 30, 0])
    k = np.array([[100.0, 0, 100], [0, 100.0, 50], [0, 0, 1]])
    camera = CameraModel('front', 200, 100, k, camera_T_agent_from_ue4(pose, pose))
    ahead_right = pose @ [10.0, 3.0, 0.0, 1.0]  # UE4: y to the right
    agent = from_ue4(pose).inverse().transform_points((MIRROR @ ahead_right)[:3])
    assert agent == pytest.approx([10, -3, 0])
    pixel, depth = camera.project(agent)
    assert depth == pytest.approx(10)
    assert pixel == pytest.approx([130, 50])
