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

"""Of two queries on one object the less certain one is silenced."""

from __future__ import annotations

import dataclasses

import torch

from cooptrack_core.models.cooptrack.config import TrackingConfig
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.tracking.duplicates import silence_duplicates

CONFIG = TrackingConfig(duplicate_distance=(2.0, 1.0, 0.6))


def queries(xy: list[tuple[float, float]], scores: list[float], labels: list[int]) -> QuerySet:
    n = len(xy)
    boxes = torch.zeros(n, 10)
    boxes[:, :2] = torch.tensor(xy)
    logits = torch.full((n, 3), -8.0)
    logits[torch.arange(n), torch.tensor(labels)] = torch.logit(torch.tensor(scores))
    zeros = {f.name: torch.zeros(n, dtype=torch.int64) for f in dataclasses.fields(QuerySet)}
    return QuerySet(
        **{
            **zeros,
            'boxes': boxes,
            'logits': logits,
            'scores': torch.tensor(scores),
            'tracked': torch.zeros(n, dtype=torch.bool),
        }
    )


def test_the_better_of_two_near_cars_stays():
    given = queries([(10.0, 0.0), (11.5, 0.0), (20.0, 0.0)], [0.5, 0.8, 0.3], [0, 0, 0])
    kept = silence_duplicates(given, CONFIG)
    assert kept.scores.tolist() == [0.0, given.scores[1].item(), given.scores[2].item()]
    assert kept.logits[0].sigmoid().max() < 1e-4


def test_other_classes_and_larger_distances_do_not_disturb():
    given = queries([(10.0, 0.0), (10.5, 0.0), (11.2, 0.0)], [0.5, 0.8, 0.7], [0, 2, 2])
    assert torch.equal(silence_duplicates(given, CONFIG).scores, given.scores)


def test_a_followed_track_wins_over_a_new_query_while_it_is_reported():
    given = queries([(10.0, 0.0), (10.5, 0.0)], [0.4, 0.8], [0, 0])
    followed = given.replace(tracked=torch.tensor([True, False]))
    assert silence_duplicates(followed, CONFIG).scores[1] == 0
    fading = queries([(10.0, 0.0), (10.5, 0.0)], [0.2, 0.8], [0, 0])
    fading = fading.replace(tracked=torch.tensor([True, False]))
    assert silence_duplicates(fading, CONFIG).scores[0] == 0


def test_a_silenced_query_silences_nobody():
    row = queries([(0.0, 0.0), (1.5, 0.0), (3.0, 0.0)], [0.9, 0.8, 0.7], [0, 0, 0])
    assert (silence_duplicates(row, CONFIG).scores > 0).tolist() == [True, False, True]


def test_without_a_distance_nothing_changes():
    given = queries([(10.0, 0.0), (10.0, 0.0)], [0.5, 0.8], [0, 0])
    assert silence_duplicates(given, TrackingConfig()) is given


def test_a_track_that_faded_gives_way_to_a_new_query_that_is_surer():
    config = dataclasses.replace(CONFIG, fade=1.5)
    given = queries([(10.0, 0.0), (10.5, 0.0)], [0.5, 0.6], [0, 0])
    followed = given.replace(tracked=torch.tensor([True, False]), best=torch.tensor([0.9, 0.0]))
    assert silence_duplicates(followed, CONFIG).scores[1] == 0.0
    assert silence_duplicates(followed, config).scores.tolist() == [0.0, given.scores[1].item()]
