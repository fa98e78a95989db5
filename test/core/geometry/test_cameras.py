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

"""Pinhole cameras: projection, resizing, and what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, CameraModel

K = np.array([[500.0, 0.0, 320.0], [0.0, 520.0, 180.0], [0.0, 0.0, 1.0]])
# Looks along +x of the agent from 1.5 m height.
LOOK_R_AGENT = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
EXTRINSIC = SE3(LOOK_R_AGENT, -LOOK_R_AGENT @ [0.2, 0.1, 1.5]).matrix


@pytest.fixture
def camera():
    return CameraModel('front', 640, 360, K, EXTRINSIC)


@given(st.floats(1, 200), st.floats(-50, 50), st.floats(-10, 10))
def test_projection_is_the_textbook_pinhole(forward, left, up):
    camera = CameraModel('front', 640, 360, K, EXTRINSIC)
    (u, v), depth = camera.project([forward, left, up])
    z = forward - 0.2
    assert depth == pytest.approx(z)
    assert u == pytest.approx(320 - 500 * (left - 0.1) / z, abs=1e-6)
    assert v == pytest.approx(180 - 520 * (up - 1.5) / z, abs=1e-6)


def test_projection_agrees_with_opencv(camera):
    points = np.random.default_rng(0).uniform([5, -20, -2], [60, 20, 5], (30, 3))
    rotation, _ = cv2.Rodrigues(EXTRINSIC[:3, :3])
    expected, _ = cv2.projectPoints(points, rotation, EXTRINSIC[:3, 3], K, None)
    np.testing.assert_allclose(camera.project(points)[0], expected[:, 0], atol=1e-6)


def test_points_behind_the_camera_have_no_pixel(camera):
    pixels, depth = camera.project([[-5.0, 0, 0], [0.2, 0.1, 1.5], [9.0, 0, 0]])
    assert np.isnan(pixels[:2]).all()
    assert np.isfinite(pixels[2]).all()
    assert depth[0] < 0


def test_left_and_up_of_the_agent_are_left_and_up_in_the_image(camera):
    (middle, left, up), _ = camera.project([[20, 0, 1.5], [20, 2, 1.5], [20, 0, 3.5]])
    assert left[0] < middle[0]
    assert up[1] < middle[1]


def test_the_position_is_where_everything_starts(camera):
    np.testing.assert_allclose(camera.position, [0.2, 0.1, 1.5])
    np.testing.assert_allclose(camera.camera_T_agent @ [*camera.position, 1], [0, 0, 0, 1])


def test_the_combined_matrix_projects_like_project(camera):
    p = np.array([12.0, -3.0, 0.4])
    u, v, w, one = camera.agent_to_image @ [*p, 1.0]
    pixels, depth = camera.project(p)
    np.testing.assert_allclose([u / w, v / w], pixels)
    assert w == pytest.approx(depth)
    assert one == 1.0


@pytest.mark.parametrize('size', [(320, 180), (960, 540), (480, 360)])
def test_resizing_moves_pixels_as_opencv_resizes_images(camera, size):
    """An image whose values are its own pixel coordinates tells where a pixel came from."""
    u, v = np.meshgrid(np.arange(640.0), np.arange(360.0))
    resized = cv2.resize(np.stack([u, v], -1), size, interpolation=cv2.INTER_LINEAR)
    small = camera.resized(*size)
    assert (small.width, small.height) == size
    points = np.array([[20.0, 1.0, 0.5], [15.0, -3.0, 2.0], [40.0, 8.0, 1.0]])
    old, new = camera.project(points)[0], small.project(points)[0]
    for (u_old, v_old), (u_new, v_new) in zip(old, new, strict=True):
        patch = cv2.getRectSubPix(resized[..., 0].astype(np.float32), (1, 1), (u_new, v_new))
        assert patch[0, 0] == pytest.approx(u_old, abs=0.02)
        patch = cv2.getRectSubPix(resized[..., 1].astype(np.float32), (1, 1), (u_new, v_new))
        assert patch[0, 0] == pytest.approx(v_old, abs=0.02)


def test_an_extrinsic_that_is_not_rigid_is_kept_as_it_is():
    bent = EXTRINSIC.copy()
    bent[:3, :3] *= 0.99
    camera = CameraModel('front', 640, 360, K, bent)
    np.testing.assert_array_equal(camera.camera_T_agent, bent)
    np.testing.assert_allclose(
        (camera.camera_T_agent @ [*camera.position, 1])[:3], 0.0, atol=1e-12
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'intrinsic': np.zeros((3, 3))}, 'not calibrated'),
        ({'intrinsic': np.eye(4)}, '3x3'),
        ({'intrinsic': np.full((3, 3), np.nan)}, 'not finite'),
        ({'intrinsic': 2 * K}, 'not calibrated'),
        ({'camera_T_agent': np.eye(3)}, '4x4'),
        ({'camera_T_agent': np.full((4, 4), np.inf)}, 'not finite'),
        ({'width': 0}, 'image size'),
        ({'height': -2}, 'image size'),
    ],
)
def test_impossible_cameras_are_refused(changes, message):
    fields = {'name': 'front', 'width': 640, 'height': 360, 'intrinsic': K,
              'camera_T_agent': EXTRINSIC}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        CameraModel(**{**fields, **changes})
