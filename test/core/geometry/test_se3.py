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

"""Rigid transforms: group laws, conversions, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from cooptrack_core.geometry import SE3, orthogonality_residual, polar_rotation, wrap_angle

coordinates = st.floats(-1e3, 1e3)
points = arrays(np.float64, (5, 3), elements=coordinates)


@st.composite
def transforms(draw):
    q = draw(arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: q @ q > 1e-3))
    return SE3.from_quaternion(q, draw(arrays(np.float64, 3, elements=coordinates)))


@given(transforms(), transforms(), points)
def test_a_composition_maps_like_one_after_the_other(a_SE3_b, b_SE3_c, p):
    np.testing.assert_allclose(
        (a_SE3_b @ b_SE3_c).transform_points(p),
        a_SE3_b.transform_points(b_SE3_c.transform_points(p)),
        atol=1e-8,
    )


@given(transforms(), points)
def test_the_inverse_leads_back(a_SE3_b, p):
    there = a_SE3_b.transform_points(p)
    np.testing.assert_allclose(a_SE3_b.inverse().transform_points(there), p, atol=1e-8)
    np.testing.assert_allclose(a_SE3_b.matrix @ a_SE3_b.inverse().matrix, np.eye(4), atol=1e-8)


@given(transforms(), points)
def test_the_matrix_maps_homogeneous_points_the_same_way(a_SE3_b, p):
    homogeneous = np.hstack([p, np.ones((5, 1))])
    mapped = homogeneous @ a_SE3_b.matrix.T
    np.testing.assert_allclose(mapped[:, :3], a_SE3_b.transform_points(p), atol=1e-9)
    np.testing.assert_array_equal(SE3.from_matrix(a_SE3_b.matrix).matrix, a_SE3_b.matrix)


@given(transforms())
def test_quaternions_agree_with_scipy(a_SE3_b):
    w, x, y, z = a_SE3_b.quaternion_wxyz
    assert w >= 0
    reference = Rotation.from_matrix(a_SE3_b.rotation)
    np.testing.assert_allclose(
        Rotation.from_quat([x, y, z, w]).as_matrix(), reference.as_matrix(), atol=1e-9
    )
    again = SE3.from_quaternion(a_SE3_b.quaternion_wxyz)
    np.testing.assert_allclose(again.rotation, a_SE3_b.rotation, atol=1e-9)


@pytest.mark.parametrize('axis', [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [-1, 2, 3]])
def test_half_turns_have_a_quaternion(axis):
    rotation = Rotation.from_rotvec(np.pi * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    pose = SE3(rotation, np.zeros(3))
    found = SE3.from_quaternion(pose.quaternion_wxyz).rotation
    np.testing.assert_allclose(found, rotation, atol=1e-12)


@given(st.floats(-3.14, 3.14), points)
def test_yaw_turns_counter_clockwise_about_z(yaw, p):
    pose = SE3.from_yaw(yaw, [1.0, 2.0, 3.0])
    assert pose.yaw == pytest.approx(yaw, abs=1e-12)
    np.testing.assert_allclose(
        pose.transform_points(p) - [1.0, 2.0, 3.0],
        Rotation.from_euler('z', yaw).apply(p),
        atol=1e-9,
    )


@given(transforms(), points)
def test_vectors_turn_but_do_not_move(a_SE3_b, p):
    q = p[::-1]
    np.testing.assert_allclose(
        a_SE3_b.rotate_vectors(p - q),
        a_SE3_b.transform_points(p) - a_SE3_b.transform_points(q),
        atol=1e-8,
    )


def test_a_long_chain_stays_a_rotation():
    step = SE3.from_quaternion([0.9, 0.1, -0.2, 0.3], [0.1, 0.0, 0.0])
    pose = SE3.identity()
    for _ in range(5000):
        pose = pose @ step
    assert orthogonality_residual(pose.rotation) < 1e-12


@given(transforms(), arrays(np.float64, (3, 3), elements=st.floats(-0.05, 0.05)))
def test_the_polar_factor_is_the_nearest_rotation(pose, noise):
    rotation = pose.rotation
    # R (I + S) with S symmetric has exactly R as its nearest rotation.
    found = polar_rotation(rotation @ (np.eye(3) + noise + noise.T))
    np.testing.assert_allclose(found, rotation, atol=1e-9)
    bent = rotation @ (np.eye(3) + noise)
    best = np.linalg.norm(polar_rotation(bent) - bent)
    for angle in (-1e-3, 1e-3):
        for axis in np.eye(3):
            other = Rotation.from_rotvec(angle * axis).as_matrix() @ polar_rotation(bent)
            assert np.linalg.norm(other - bent) >= best - 1e-12


@given(st.floats(-1e3, 1e3))
def test_wrapped_angles_lie_in_their_range_and_point_the_same_way(angle):
    wrapped = float(wrap_angle(angle))
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped - angle) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    'angle', [np.pi, -np.pi, 3 * np.pi, np.nextafter(-np.pi, -4), np.nextafter(np.pi, 0)]
)
def test_the_seam_of_angles_belongs_to_minus_pi(angle):
    assert -np.pi <= wrap_angle(angle) < np.pi


@pytest.mark.parametrize(
    ('rotation', 'translation', 'message'),
    [
        (np.eye(4), np.zeros(3), 'SE3 needs'),
        (np.eye(3), np.zeros(4), 'SE3 needs'),
        (np.diag([1.0, 1.0, -1.0]), np.zeros(3), 'not a rotation'),
        (1.001 * np.eye(3), np.zeros(3), 'polar_rotation'),
        (np.eye(3), [0.0, np.nan, 0.0], 'not finite'),
        (np.full((3, 3), np.inf), np.zeros(3), 'not finite'),
    ],
)
def test_what_is_not_rigid_is_refused(rotation, translation, message):
    with pytest.raises(ValueError, match=message):
        SE3(rotation, translation)


def test_a_skewed_matrix_is_projected_only_on_request():
    skewed = np.eye(4)
    skewed[0, 0] = 1.01
    with pytest.raises(ValueError, match='not a rotation'):
        SE3.from_matrix(skewed)
    np.testing.assert_allclose(SE3.from_matrix(skewed, project=True).rotation, np.eye(3))


@pytest.mark.parametrize('matrix', [np.eye(2), np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_a_matrix_without_nearest_rotation_is_refused(matrix):
    with pytest.raises(ValueError, match=r'3x3|singular'):
        polar_rotation(matrix)


@pytest.mark.parametrize('q', [[0, 0, 0, 0], [1, 0, 0], [np.nan, 0, 0, 1]])
def test_a_quaternion_without_direction_is_refused(q):
    with pytest.raises(ValueError, match='quaternion'):
        SE3.from_quaternion(q)


def test_transforms_cannot_be_changed_afterwards():
    source = np.zeros(3)
    pose = SE3(np.eye(3), source)
    source[0] = 5.0
    assert pose.translation[0] == 0.0
    with pytest.raises(ValueError, match='read-only'):
        pose.rotation[0, 0] = 2.0
