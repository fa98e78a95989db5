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

"""Mirroring keeps image and objects together; dense heads and noised queries."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, BevGrid, Boxes3D, PerceptionRange
from cooptrack_core.models.cooptrack.interface import DecoderOutputs
from cooptrack_core.training.augment import (
    colour_jitter,
    grid_mask,
    mirror_image,
    mirror_pose,
    mirror_projection,
    mirror_truth,
)
from cooptrack_core.training.auxiliary import (
    AuxiliaryHeads,
    bev_losses,
    decode_bev_peaks,
    heatmap_loss,
    image_losses,
    noise_queries,
    sight_loss,
    splat,
)
from cooptrack_core.training.layers import noised_losses
from cooptrack_core.training.options import Augmentation, Auxiliary
from cooptrack_core.training.sampling import batch_indices
from cooptrack_core.training.targets import GroundTruth, encode_boxes

RANGE = PerceptionRange(-51.2, -51.2, -5, 51.2, 51.2, 3)
GRID = BevGrid(-51.2, -51.2, 51.2, 51.2, 50, 50)


def a_truth(*xy: tuple[float, float], yaw: float = 0.3) -> GroundTruth:
    n = len(xy)
    centres = np.concatenate([np.array(xy, float).reshape(n, 2), np.full((n, 1), -1.0)], 1)
    boxes = Boxes3D(centres, np.tile([4.4, 1.9, 1.6], (n, 1)), np.full(n, yaw), np.ones((n, 2)))
    return GroundTruth(encode_boxes(boxes), torch.zeros(n, dtype=torch.int64), torch.arange(n))


def a_projection() -> np.ndarray:
    k = np.eye(4)
    k[0, 0] = k[1, 1] = 300.0
    k[0, 2], k[1, 2] = 200.0, 110.0
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    extrinsic[:3, 3] = [0.2, 0.1, 0.0]
    return k @ extrinsic


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    h = points @ matrix[:3, :3].T + matrix[:3, 3]
    return h[:, :2] / h[:, 2:]


def test_codes_hold_the_bottom_and_the_datasets_yaw():
    code = a_truth((10.0, 2.0)).codes[0]
    assert code[4].item() == pytest.approx(-1.8)
    assert code[2].exp().item() == pytest.approx(1.9) and code[3].exp().item() == pytest.approx(
        4.4
    )
    psi = math.atan2(code[6].item(), code[7].item())
    assert psi == pytest.approx(-0.3 - math.pi / 2)


def test_a_mirrored_object_appears_in_the_mirrored_column():
    width = 448
    points = np.array([[20.0, 3.0, -1.0], [15.0, -4.0, 0.5]])
    mirrored = points * [1, -1, 1]
    before = project(a_projection(), points)
    after = project(mirror_projection(a_projection(), width), mirrored)
    np.testing.assert_allclose(after[:, 0], width - 1 - before[:, 0], atol=1e-9)
    np.testing.assert_allclose(after[:, 1], before[:, 1], atol=1e-9)


@given(st.floats(-3.1, 3.1))
@settings(deadline=None, max_examples=30)
def test_mirroring_truth_negates_heading_and_lateral_velocity(yaw: float):
    truth = a_truth((10.0, 2.0), yaw=yaw)
    expected = a_truth((10.0, -2.0), yaw=-yaw)
    expected.codes[:, 9] = -1.0
    torch.testing.assert_close(mirror_truth(truth).codes, expected.codes, atol=1e-5, rtol=0)
    torch.testing.assert_close(mirror_truth(mirror_truth(truth)).codes, truth.codes)


def test_a_mirrored_pose_is_rigid_and_maps_mirrored_points():
    pose = SE3.from_yaw(0.7, (5.0, 3.0, 1.0)).matrix
    mirrored = mirror_pose(pose)
    SE3.from_matrix(mirrored)  # raises when not rigid
    point, flip = np.array([2.0, 1.0, 0.0, 1.0]), np.array([1, -1, 1, 1])
    np.testing.assert_allclose(mirrored @ (flip * point), flip * (pose @ point))


def test_jitter_changes_colours_only_and_a_seed_fixes_it():
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    one = colour_jitter(image, Augmentation(), np.random.default_rng(3))
    two = colour_jitter(image, Augmentation(), np.random.default_rng(3))
    assert one.dtype == np.uint8 and one.shape == image.shape
    assert np.array_equal(one, two) and not np.array_equal(one, image)
    still = Augmentation(brightness=0, contrast=0, colour=0, blur=0)
    assert np.array_equal(colour_jitter(image, still, np.random.default_rng(3)), image)
    assert np.array_equal(mirror_image(mirror_image(image)), image)


def test_grid_mask_removes_about_a_quarter():
    shares = [
        1 - grid_mask(torch.ones(3, 100, 160), 1.0, np.random.default_rng(i)).mean().item()
        for i in range(40)
    ]
    assert 0.1 < np.mean(shares) < 0.4
    image = torch.ones(3, 4, 4)
    assert grid_mask(image, 0.0, np.random.default_rng(0)) is image


def test_splat_peaks_at_the_cell_and_separates_classes():
    heat = splat(torch.tensor([[3, 2], [4, 2]]), torch.tensor([0, 1]), torch.ones(2), (3, 6, 8))
    assert heat[0, 2, 3] == 1 and heat[1, 2, 4] == 1 and heat[2].max() == 0
    assert heat[0, 2, 4].item() == pytest.approx(math.exp(-0.5))


def test_a_perfect_bev_head_costs_nothing_in_regression_and_decodes_to_the_boxes():
    truth = a_truth((10.3, 2.0), (30.0, -12.0))
    prediction = torch.full((11, 50, 50), -12.0)
    prediction[3:] = 0.0
    for code in truth.codes:
        cell = ((code[:2] + 51.2) / 2.048).floor().long()
        prediction[0, cell[1], cell[0]] = 12.0
        prediction[3:5, cell[1], cell[0]] = (code[:2] + 51.2) / 2.048 - cell
        prediction[5:, cell[1], cell[0]] = code[[4, 2, 3, 5, 6, 7]]
    heat, numbers = bev_losses(prediction, truth, GRID)
    assert heat.item() < 0.05 and numbers.item() < 1e-4
    codes, scores = decode_bev_peaks(prediction, GRID, top=2)
    order = codes[:, 0].argsort()
    torch.testing.assert_close(codes[order][:, :8], truth.codes[:, :8], atol=1e-4, rtol=1e-4)
    assert (scores[:, 0] > 0.99).all()


def test_dense_losses_of_an_empty_scene_are_finite_and_teach_background():
    heads = AuxiliaryHeads(16, 3)
    feature = torch.randn(1, 16, 12, 20)
    empty = GroundTruth.empty()
    matrix = torch.from_numpy(a_projection()).float()
    first, second = image_losses(heads.image(feature)[0], empty, matrix, (220, 400))
    assert torch.isfinite(first) and first > 0 and second == 0
    third, fourth = bev_losses(heads.bev(torch.randn(1, 16, 50, 50))[0], empty, GRID)
    assert torch.isfinite(third) and fourth == 0


def test_an_object_behind_the_camera_has_no_image_target():
    matrix = torch.from_numpy(a_projection()).float()
    prediction = torch.zeros(6, 12, 20)
    behind = image_losses(prediction, a_truth((-10.0, 0.0)), matrix, (220, 400))
    before = image_losses(prediction, a_truth((10.0, 0.0)), matrix, (220, 400))
    assert behind[1] == 0 and before[1] > 0


def test_the_heat_map_loss_is_lowest_at_its_target():
    heat = splat(torch.tensor([[3, 2]]), torch.tensor([0]), torch.ones(1), (1, 6, 8))
    sharp = torch.where(heat > 0.999, 9.0, -9.0)
    assert heatmap_loss(sharp, heat) < 0.01 < heatmap_loss(-sharp, heat)


def test_noised_queries_see_their_own_group_and_stay_unseen_by_learnt_ones():
    plan = Auxiliary(denoising_groups=2)
    truths = [a_truth((10.0, 2.0), (20.0, -5.0)), a_truth((5.0, 1.0)), GroundTruth.empty()]
    g = torch.Generator().manual_seed(0)
    noised = noise_queries(truths, RANGE, learnt=5, plan=plan, classes=3, generator=g)
    assert noised is not None
    assert noised.refs.shape == (3, 4, 3) and noised.blocked.shape == (9, 9)
    assert (noised.index >= 0).sum(1).tolist() == [4, 2, 0]
    assert not noised.blocked[0, 1] and noised.blocked[0, 2] and noised.blocked[4:, :4].all()
    assert not noised.blocked[:4, 4:].any()
    metres = noised.refs[0, :2, 0] * 102.4 - 51.2
    assert (metres - truths[0].codes[:, 0]).abs().max() <= 2.0 + 1e-4
    assert noise_queries([GroundTruth.empty()], RANGE, 5, plan, 3, g) is None
    boxes = torch.stack([t.codes[noised.index[b]] if len(t) else torch.zeros(4, 10)
                         for b, t in enumerate(truths)])  # fmt: skip
    layer = DecoderOutputs(*[torch.zeros(1)] * 5)
    layer = replace(layer, logits=torch.zeros(1, 3, 4, 3), boxes=boxes[None])
    first, second = noised_losses(layer, truths, noised, plan).values()
    focal = 2.0 * (0.25 + 2 * 0.75) * 0.25 * math.log(2)  # one positive, two negative classes
    assert first.item() == pytest.approx(focal, rel=1e-4)
    assert second.item() == pytest.approx(0.0, abs=1e-6)


def test_batches_walk_through_every_item_once_per_epoch():
    seen = [item for i in range(5) for item in batch_indices(10, 4, i, seed=1)]
    assert sorted(seen[:10]) == list(range(10)) and sorted(seen[10:]) == list(range(10))
    assert batch_indices(10, 4, 3, seed=1) == batch_indices(10, 4, 3, seed=1)
    assert seen != [item for i in range(5) for item in batch_indices(10, 4, i, seed=2)]


def depth_map(truth: GroundTruth, metres: float) -> torch.Tensor:
    """A map that claims one depth everywhere, for the image of ``a_projection``."""
    return torch.full((28, 50), math.log(metres), requires_grad=True)


def test_a_claimed_depth_is_right_where_an_object_is_and_free_elsewhere():
    matrix, size = torch.from_numpy(a_projection()).float(), (224, 400)
    truth = a_truth((20.0, 0.0))
    claimed = depth_map(truth, 20.0)
    loss = sight_loss(claimed, truth, matrix, size)
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    wrong = depth_map(truth, 40.0)
    missed = sight_loss(wrong, truth, matrix, size)
    assert missed.item() == pytest.approx(math.log(2.0), abs=1e-5)
    missed.backward()
    rows, columns = torch.nonzero(wrong.grad, as_tuple=True)
    # The car is at (200 + 300 * 0.1 / 20) / 8 = column 25 and below the middle of the image.
    assert 25 in columns.tolist() and columns.min() >= 22 and columns.max() <= 28
    assert rows.min() >= 13 and rows.max() <= 17


def test_a_nearer_object_covers_a_farther_one():
    matrix, size = torch.from_numpy(a_projection()).float(), (224, 400)
    both = a_truth((40.0, 0.0), (10.0, 0.0))
    loss = sight_loss(depth_map(both, 10.0), both, matrix, size)
    assert loss.item() == pytest.approx(0.0, abs=1e-5), 'the far car is behind the near one'
    beside = a_truth((40.0, 8.0), (10.0, 0.0))
    loss = sight_loss(depth_map(beside, 10.0), beside, matrix, size)
    assert loss.item() == pytest.approx(math.log(4.0) / 2, abs=1e-4), 'both count the same'


def test_without_an_object_in_view_no_depth_is_wrong():
    matrix, size = torch.from_numpy(a_projection()).float(), (224, 400)
    for truth in (a_truth(), a_truth((-20.0, 0.0)), a_truth((0.5, 0.0))):
        claimed = depth_map(truth, 5.0)
        loss = sight_loss(claimed, truth, matrix, size)
        loss.backward()
        assert loss.item() == 0.0 and not claimed.grad.any()
