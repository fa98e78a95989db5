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

"""Boxes: corners, containment, change of frame, selection, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cooptrack_core.geometry import SE3, Boxes3D, wrap_angle
from cooptrack_core.geometry.boxes import BOX_EDGES


@st.composite
def boxes(draw, count=3):
    return Boxes3D(
        draw(arrays(np.float64, (count, 3), elements=st.floats(-80, 80))),
        draw(arrays(np.float64, (count, 3), elements=st.floats(0.2, 15))),
        draw(arrays(np.float64, count, elements=st.floats(-7, 7))),
        draw(arrays(np.float64, (count, 2), elements=st.floats(-30, 30))),
    )


planar = st.builds(
    lambda yaw, x, y: SE3.from_yaw(yaw, [x, y, 0.5]),
    st.floats(-3, 3), st.floats(-50, 50), st.floats(-50, 50),
)  # fmt: skip


@given(boxes())
def test_corners_lie_around_the_centre_at_the_right_distances(b):
    corners = b.corners()
    np.testing.assert_allclose(corners.mean(1), b.centers, atol=1e-9)
    lengths = [np.linalg.norm(corners[:, i] - corners[:, j], axis=-1) for i, j in BOX_EDGES]
    for row, (length, width, height) in zip(np.array(lengths).T, b.sizes, strict=True):
        np.testing.assert_allclose(
            np.sort(row), np.sort([length] * 4 + [width] * 4 + [height] * 4), atol=1e-9
        )


@given(boxes())
def test_the_first_and_last_bottom_corners_are_the_front(b):
    front = b.corners()[:, [0, 3]].mean(1) - b.centers
    heading = np.arctan2(front[:, 1], front[:, 0])
    np.testing.assert_allclose(wrap_angle(heading - b.yaws), 0, atol=1e-9)
    np.testing.assert_allclose(np.hypot(front[:, 0], front[:, 1]), b.sizes[:, 0] / 2, atol=1e-9)
    left = b.corners()[:, 0] - b.corners()[:, 3]
    assert (front[:, 0] * left[:, 1] - front[:, 1] * left[:, 0] > 0).all()


@given(boxes(), arrays(np.float64, (3, 3), elements=st.floats(-0.49, 0.49)))
def test_points_inside_are_contained_and_mirrored_points_outside_are_not(b, inside):
    for scale, expected in ((1.0, True), (3.0, False)):
        offsets = np.where(scale > 1, np.sign(inside + 1e-9) * 0.51 * scale, inside)
        local = offsets * b.sizes
        c, s = np.cos(b.yaws), np.sin(b.yaws)
        world = b.centers + np.stack(
            [c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1], local[:, 2]], -1
        )
        np.testing.assert_array_equal(np.diag(b.contains(world)), expected)


@given(boxes(), planar)
def test_a_change_of_frame_moves_corners_rigidly(b, pose):
    np.testing.assert_allclose(
        b.transformed(pose).corners(), pose.transform_points(b.corners()), atol=1e-8
    )


@given(boxes(), planar)
def test_a_change_of_frame_turns_velocities_and_leads_back(b, pose):
    moved = b.transformed(pose)
    np.testing.assert_allclose(
        np.linalg.norm(moved.velocities, axis=1), np.linalg.norm(b.velocities, axis=1), atol=1e-9
    )
    back = moved.transformed(pose.inverse())
    np.testing.assert_allclose(back.centers, b.centers, atol=1e-8)
    np.testing.assert_allclose(wrap_angle(back.yaws - b.yaws), 0, atol=1e-9)
    np.testing.assert_allclose(back.velocities, b.velocities, atol=1e-9)


def test_a_tilted_frame_does_not_tilt_boxes():
    box = Boxes3D([[10.0, 0.0, 0.0]], [[4.0, 2.0, 1.5]], [0.3], [[1.0, 0.0]])
    tilt = SE3.from_quaternion([np.cos(0.05), np.sin(0.05), 0.0, 0.0])
    corners = box.transformed(tilt).corners()[0]
    assert np.ptp(corners[:4, 2]) == 0.0


def test_unknown_velocities_stay_unknown():
    box = Boxes3D([[1.0, 0, 0]], [[1.0, 1, 1]], [0.0], [[np.nan, np.nan]])
    assert np.isnan(box.transformed(SE3.from_yaw(1.0)).velocities).all()


@given(boxes(count=4))
def test_selection_by_mask_index_and_slice_agree(b):
    mask = np.array([True, False, True, False])
    for index in (mask, [0, 2], slice(0, 3, 2)):
        np.testing.assert_array_equal(b[index].centers, b.centers[mask])
    assert len(b[[]]) == 0
    assert len(b[1]) == 1
    joined = Boxes3D.concatenate([b[:2], b[2:]])
    for name in ('centers', 'sizes', 'yaws', 'velocities'):
        np.testing.assert_array_equal(getattr(joined, name), getattr(b, name))


def test_no_boxes_are_boxes_too():
    none = Boxes3D.empty()
    assert len(none) == 0
    assert none.corners().shape == (0, 8, 3)
    assert none.contains(np.zeros((5, 3))).shape == (0, 5)
    assert len(none.transformed(SE3.from_yaw(1.0))) == 0
    assert len(Boxes3D.concatenate([])) == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'sizes': [[1.0, 0.0, 1.0]]}, 'positive'),
        ({'sizes': [[1.0, -2.0, 1.0]]}, 'positive'),
        ({'centers': [[np.nan, 0, 0]]}, r'centers.*not finite'),
        ({'yaws': [np.inf]}, r'yaws.*not finite'),
        ({'yaws': [0.0, 1.0]}, 'yaws has 2 rows'),
        ({'velocities': np.zeros((0, 2))}, 'velocities has 0 rows'),
    ],
)
def test_impossible_boxes_are_refused(changes, message):
    fields = {'centers': [[0, 0, 0]], 'sizes': [[1, 1, 1]], 'yaws': [0], 'velocities': [[0, 0]]}
    with pytest.raises(ValueError, match=message):
        Boxes3D(**{**fields, **changes})


def test_yaws_are_wrapped_and_arrays_are_read_only():
    box = Boxes3D([[0, 0, 0]], [[1, 1, 1]], [7.0], [[0, 0]])
    assert box.yaws[0] == pytest.approx(7.0 - 2 * np.pi)
    with pytest.raises(ValueError, match='read-only'):
        box.centers[0, 0] = 1.0
