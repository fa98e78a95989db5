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

"""Matching: identities first, then the cheapest assignment; association labels; carrying."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.training.carry import (
    carried_rows,
    displaced,
    paired_bev_iou,
    refresh_iou,
    well_placed,
)
from cooptrack_core.training.matching import (
    Matching,
    association_labels,
    match_ids,
    match_tracks,
    matching_cost,
)
from cooptrack_core.training.options import Streaming
from cooptrack_core.training.targets import GroundTruth


def boxes(*centres: tuple[float, float], psi: float = 0.0) -> torch.Tensor:
    codes = torch.zeros(len(centres), 10)
    codes[:, :2] = torch.tensor(centres)
    codes[:, 2], codes[:, 3], codes[:, 5] = math.log(2.0), math.log(4.0), math.log(1.5)
    codes[:, 6], codes[:, 7] = math.sin(psi), math.cos(psi)
    return codes


def truth(*centres: tuple[float, float], ids: tuple[int, ...] = ()) -> GroundTruth:
    codes = boxes(*centres)
    labels = torch.zeros(len(centres), dtype=torch.int64)
    return GroundTruth(codes, labels, torch.tensor(ids or range(11, 11 + len(centres))))


def test_cost_is_the_sum_of_focal_and_box_distance():
    logits = torch.zeros(1, 3)
    cost = matching_cost(logits, boxes((3.0, 0.0)), truth((0.0, 0.0)))
    focal = 2.0 * (0.25 - 0.75) * 0.25 * math.log(2)
    assert cost.item() == pytest.approx(focal + 0.25 * 3.0, abs=1e-6)


def test_a_carried_track_keeps_its_object_even_when_another_is_nearer():
    objects = truth((0.0, 0.0), (20.0, 0.0))
    codes = boxes((20.0, 0.0), (0.0, 0.0), (30.0, 0.0))
    matching = match_tracks(torch.zeros(3, 3), codes, torch.tensor([11, -1, -1]), objects)
    assert matching.targets.tolist() == [0, -1, 1]
    assert matching.ids.tolist() == [11, -1, 12]
    assert (matching.disappeared, matching.new, matching.positives) == (0, 1, 2)


def test_a_track_whose_object_left_becomes_background_and_keeps_its_id():
    objects = truth((5.0, 0.0), ids=(30,))
    codes = boxes((5.0, 0.0), (6.0, 0.0))
    matching = match_tracks(torch.zeros(2, 3), codes, torch.tensor([11, -1]), objects)
    assert matching.targets.tolist() == [-1, 0]
    assert matching.ids.tolist() == [11, 30]
    assert (matching.disappeared, matching.new) == (1, 1)


@pytest.mark.parametrize('instances', [0, 3])
def test_an_empty_scene_matches_nothing(instances: int):
    ids = torch.full((instances,), -1)
    matching = match_tracks(
        torch.zeros(instances, 3), torch.zeros(instances, 10), ids, GroundTruth.empty()
    )
    assert matching.positives == matching.new == matching.disappeared == 0


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_every_object_is_owned_at_most_once(queries: int, objects: int, seed: int):
    g = torch.Generator().manual_seed(seed)
    target = GroundTruth(
        torch.randn(objects, 10, generator=g),
        torch.randint(0, 3, (objects,), generator=g),
        torch.arange(objects) + 5,
    )
    ids = torch.where(torch.rand(queries, generator=g) > 0.5, torch.arange(queries) + 3, -1)
    matching = match_tracks(
        torch.randn(queries, 3, generator=g), torch.randn(queries, 10, generator=g), ids, target
    )
    owned = matching.targets[matching.targets >= 0].tolist()
    assert len(owned) == len(set(owned))
    free = int((ids == -1).sum())
    found = len(set(ids[ids >= 0].tolist()) & set(target.ids.tolist()))
    assert len(owned) == min(objects, found + free)
    again = match_ids(matching.ids, target)
    assert torch.equal(again.targets, matching.targets)


def test_association_labels_need_both_sides_near_the_same_object():
    objects = truth((0.0, 0.0), (20.0, 0.0), (40.0, 0.0))
    vehicle = torch.tensor([[20.5, 0.0], [0.0, 2.9], [47.0, 0.0]])
    remote = torch.tensor([[1.0, 1.0], [40.0, 0.0]])
    expected = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert torch.equal(association_labels(vehicle, remote, objects), expected)
    assert association_labels(vehicle[:0], remote, objects).shape == (0, 2)


def test_bev_iou_of_shifted_and_turned_boxes():
    same = paired_bev_iou(boxes((0.0, 0.0)), boxes((0.0, 0.0)))
    half = paired_bev_iou(boxes((0.0, 0.0)), boxes((1.0, 0.0)))  # w = 2 lies along x
    turned = paired_bev_iou(boxes((0.0, 0.0)), boxes((0.0, 0.0), psi=math.pi / 2))
    assert same.item() == pytest.approx(1.0)
    assert half.item() == pytest.approx(1 / 3)
    assert turned.item() == pytest.approx(4 / 12)
    around = paired_bev_iou(boxes((0.0, 0.0), psi=math.pi - 0.1), boxes((0.0, 0.0)))
    assert around.item() == pytest.approx(1.0)


def test_only_well_placed_matches_live_on_and_false_positives_come_beside_them():
    objects = truth((0.0, 0.0), (20.0, 0.0))
    codes = boxes((0.0, 0.0), (23.0, 0.0), (50.0, 0.0), (60.0, 0.0))
    matching = Matching(torch.tensor([0, 1, -1, -1]), torch.tensor([11, 12, -1, -1]), 0, 2)
    iou = refresh_iou(torch.zeros(4), codes, matching, objects)
    scores = torch.tensor([0.9, 0.8, 0.1, 0.3])

    def kept(**changes: float) -> list[int]:
        plan = Streaming(**{'drop_probability': 0.0, 'false_positive_ratio': 0.0, **changes})
        placed = well_placed(iou, codes, matching, objects, plan)
        g = torch.Generator().manual_seed(0)
        return carried_rows(matching, placed, scores, plan, g).tolist()

    assert kept() == [0]
    assert kept(carry_distance=4.0) == [0, 1]
    assert kept(false_positive_ratio=1.0) == [0, 3]
    assert kept(drop_probability=1.0, false_positive_ratio=1.0) == []


def test_the_released_code_leaves_iou_stale_when_nothing_new_is_matched():
    objects = truth((0.0, 0.0))
    matching = Matching(torch.tensor([0]), torch.tensor([11]), 0, 0)
    old = torch.tensor([0.2])
    assert refresh_iou(old, boxes((0.0, 0.0)), matching, objects, stale=True).item() == old.item()
    assert refresh_iou(old, boxes((0.0, 0.0)), matching, objects).item() == pytest.approx(1.0)


def live_tracks(count: int) -> tuple[QuerySet, PerceptionRange]:
    around = PerceptionRange(-50.0, -50.0, -5.0, 50.0, 50.0, 3.0)
    codes = boxes(*[(30.0, 0.0)] * count)
    nothing = torch.zeros(count, 4)
    number = torch.zeros(count, dtype=torch.int64)
    return QuerySet(
        feats=nothing, embeds=nothing, motion=nothing,
        refs=box_code.normalise(box_code.centre(codes), around), boxes=codes,
        logits=torch.zeros(count, 3), scores=torch.zeros(count), ids=number, missed=number,
        tracked=number == 0, learnt=number, hist_feats=torch.zeros(count, 2, 4),
        hist_motion=torch.zeros(count, 2, 4), hist_padding=torch.ones(count, 2).bool(),
        remote_bits=number, best=torch.zeros(count),
    ), around  # fmt: skip


def test_half_of_the_tracks_are_displaced_along_the_line_of_sight():
    live, around = live_tracks(400)
    plan = Streaming(track_range_noise=0.1)
    moved = displaced(live, around, plan, torch.Generator().manual_seed(0))
    shift = moved.boxes[:, :2] - live.boxes[:, :2]
    assert 0.4 < float((shift[:, 0] != 0).float().mean()) < 0.6
    assert float(shift[:, 1].abs().max()) == 0.0
    assert 2.0 < float(shift[shift[:, 0] != 0, 0].std()) < 3.5  # a tenth of 30 m, cut at two sigma
    # Box and reference point are one place.
    there = box_code.denormalise(moved.refs, around)
    torch.testing.assert_close(there, box_code.centre(moved.boxes), rtol=1e-5, atol=1e-4)


def test_without_noise_tracks_stay_and_no_random_number_is_drawn():
    live, around = live_tracks(3)
    draws = torch.Generator().manual_seed(1)
    assert displaced(live, around, Streaming(), draws) is live
    assert torch.rand(1, generator=draws) == torch.rand(1, generator=torch.manual_seed(1))
