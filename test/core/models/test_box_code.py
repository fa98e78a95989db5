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

"""The ten numbers of a box mean what the geometry room means."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, Boxes3D, PerceptionRange, wrap_angle
from cooptrack_core.models.cooptrack import box_code

coordinate = st.floats(-60, 60)
angle = st.floats(-math.pi, math.pi)
RANGE = PerceptionRange(0.0, -51.2, -5.0, 102.4, 51.2, 3.0)


@st.composite
def boxes(draw: st.DrawFn) -> Boxes3D:
    centre = [draw(coordinate), draw(coordinate), draw(st.floats(-4, 3))]
    size = [draw(st.floats(0.3, 15)), draw(st.floats(0.3, 3)), draw(st.floats(0.3, 4))]
    velocity = [draw(st.floats(-20, 20)), draw(st.floats(-20, 20))]
    return Boxes3D(
        np.array([centre]), np.array([size]), np.array([draw(angle)]), np.array([velocity])
    )


@given(boxes())
def test_encoding_and_decoding_returns_the_box(box: Boxes3D) -> None:
    back = box_code.to_boxes(box_code.from_boxes(box))
    np.testing.assert_allclose(back.centers, box.centers, atol=1e-4)
    np.testing.assert_allclose(back.sizes, box.sizes, rtol=1e-5)
    np.testing.assert_allclose(wrap_angle(back.yaws - box.yaws), 0, atol=1e-5)
    np.testing.assert_allclose(back.velocities, box.velocities, rtol=1e-5, atol=1e-5)


@given(boxes())
def test_corner_offsets_are_the_corners_of_the_box(box: Boxes3D) -> None:
    offsets = box_code.corner_offsets(box_code.from_boxes(box))[0].double().numpy()
    expected = box.corners()[0] - box.centers[0]
    distance = np.linalg.norm(offsets[:, None] - expected[None], axis=-1)
    assert distance.min(1).max() < 1e-4
    assert sorted(distance.argmin(1).tolist()) == list(range(8))


@given(boxes(), angle, coordinate, coordinate)
def test_transforming_the_code_transforms_the_box(
    box: Boxes3D, yaw: float, x: float, y: float
) -> None:
    dst_SE3_src = SE3.from_yaw(yaw, (x, y, 0.7))
    matrix = torch.from_numpy(dst_SE3_src.matrix).float()
    moved = box_code.to_boxes(box_code.transform(box_code.from_boxes(box), matrix))
    expected = box.transformed(dst_SE3_src)
    np.testing.assert_allclose(moved.centers, expected.centers, atol=1e-3)
    np.testing.assert_allclose(wrap_angle(moved.yaws - expected.yaws), 0, atol=1e-4)
    np.testing.assert_allclose(moved.velocities, expected.velocities, atol=1e-3)


def test_an_unknown_velocity_is_encoded_as_zero() -> None:
    box = Boxes3D(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1), np.full((1, 2), np.nan))
    assert box_code.from_boxes(box)[0, 8:].tolist() == [0.0, 0.0]


def test_no_boxes_are_fine() -> None:
    empty = box_code.to_boxes(torch.zeros(0, 10))
    assert len(empty) == 0
    assert box_code.from_boxes(empty).shape == (0, 10)
    assert box_code.corner_offsets(torch.zeros(0, 10)).shape == (0, 8, 3)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_refining_by_zero_leaves_the_reference(x: float, y: float, z: float) -> None:
    refs = torch.tensor([[x, y, z]])
    moved, code = box_code.refine(torch.zeros(1, 10), refs, RANGE)
    torch.testing.assert_close(moved, refs, atol=1e-5, rtol=1e-4)
    expected = RANGE.denormalise(refs.numpy())
    np.testing.assert_allclose(box_code.centre(code).numpy(), expected, atol=1e-2)


def test_normalising_inverts_denormalising() -> None:
    refs = torch.rand(50, 3)
    back = box_code.normalise(box_code.denormalise(refs, RANGE), RANGE)
    torch.testing.assert_close(back, refs, atol=1e-5, rtol=1e-5)
