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

"""Queries become tracks, are missed, live on for a while, and go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cooptrack_core.models.cooptrack.config import TrackingConfig
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.tracking.life_cycle import advance

CONFIG = TrackingConfig(output_threshold=0.3, score_threshold=0.4, max_age=3)


def queries(scores: list[float]) -> QuerySet:
    n = len(scores)
    number = torch.zeros(n, dtype=torch.int64)
    wide = torch.zeros(n, 2)
    return QuerySet(
        feats=wide,
        embeds=wide,
        motion=wide,
        refs=torch.zeros(n, 3),
        boxes=torch.zeros(n, 10),
        logits=torch.zeros(n, 3),
        scores=torch.tensor(scores),
        ids=number - 1,
        missed=number,
        tracked=number > 0,
        learnt=number,
        hist_feats=torch.zeros(n, 1, 2),
        hist_motion=torch.zeros(n, 1, 2),
        hist_padding=torch.ones(n, 1, dtype=torch.bool),
        remote_bits=number,
        best=torch.zeros(n),
    )


def test_only_reported_or_active_queries_get_ids() -> None:
    life = advance(queries([0.9, 0.1, 0.35, 0.5]), CONFIG, next_id=7, limit=10)
    assert life.queries.ids.tolist() == [7, -1, 8, 9]
    assert life.output.tolist() == [True, False, True, True]
    assert life.live.tolist() == [True, False, False, True]
    assert life.next_id == 10


def test_officially_every_query_gets_an_id() -> None:
    life = advance(queries([0.9, 0.1, 0.35]), CONFIG, 1, 10, ids_for_background=True)
    assert life.queries.ids.tolist() == [1, 2, 3]
    assert life.next_id == 4


def test_a_missed_track_lives_on_until_its_age() -> None:
    state = advance(queries([0.9]), CONFIG, 1, 10).queries
    lived = []
    for _ in range(3):
        life = advance(state.replace(scores=torch.tensor([0.1])), CONFIG, 2, 10)
        lived.append(bool(life.live[0]))
        state = life.queries
    assert lived == [True, True, False]
    assert state.ids.tolist() == [1]


def test_a_track_seen_again_starts_to_count_anew() -> None:
    state = advance(queries([0.9]), CONFIG, 1, 10).queries
    for score, missed in ((0.1, 1), (0.8, 0), (0.1, 1)):
        state = advance(state.replace(scores=torch.tensor([score])), CONFIG, 2, 10).queries
        assert state.missed.tolist() == [missed]


def test_with_age_one_a_missed_track_goes_at_once() -> None:
    config = TrackingConfig(max_age=1)
    state = advance(queries([0.9]), config, 1, 10).queries
    assert advance(state.replace(scores=torch.tensor([0.39])), config, 2, 10).live.tolist() == [
        False
    ]


def test_too_many_tracks_keep_the_best() -> None:
    life = advance(queries([0.5, 0.9, 0.7, 0.6]), CONFIG, 1, limit=2)
    assert life.live.tolist() == [False, True, True, False]


def test_no_queries_are_fine() -> None:
    life = advance(queries([]), CONFIG, 4, 10)
    assert life.next_id == 4
    assert life.live.tolist() == []


def at(state: QuerySet, x: list[float], scores: list[float]) -> QuerySet:
    """Queries as they come out of refinement: cars at x on the road ahead."""
    boxes = torch.zeros(len(x), 10)
    boxes[:, 0] = torch.tensor(x)
    return state.replace(boxes=boxes, scores=torch.tensor(scores))


def test_a_new_query_where_a_lost_track_should_be_takes_up_its_id() -> None:
    config = replace(CONFIG, reappear_within=1.0)
    first = advance(at(queries([0.9]), [20.0], [0.9]), config, 1, 10)
    # The track's query drifts away, a new one finds the car, another one something else.
    drifted = QuerySet.concatenate([first.queries, queries([0.9, 0.8])])
    drifted = at(drifted, [25.0, 20.5, 40.0], [0.1, 0.9, 0.8])
    lost = first.sightings.moved(np.eye(4), 0.1)
    life = advance(drifted, config, first.next_id, 10, sightings=lost)
    assert life.queries.ids.tolist() == [-1, 1, 2]
    assert life.live.tolist() == [False, True, True]
    assert sorted(life.sightings.ids.tolist()) == [1, 2]
    officially = advance(drifted, CONFIG, first.next_id, 10, sightings=lost)
    assert officially.queries.ids.tolist() == [1, 2, 3]
    assert officially.sightings.ids.tolist() == []


def test_an_id_stays_with_the_query_that_has_it_while_it_is_reported() -> None:
    config = replace(CONFIG, reappear_within=1.0)
    first = advance(at(queries([0.9]), [20.0], [0.9]), config, 1, 10)
    both = at(QuerySet.concatenate([first.queries, queries([0.9])]), [20.1, 20.5], [0.5, 0.9])
    life = advance(both, config, first.next_id, 10, sightings=first.sightings)
    assert life.queries.ids.tolist() == [1, 2]


FADING = replace(CONFIG, fade=1.5, fade_after=1, score_threshold=0.2)


def after(scores: list[float], config: TrackingConfig) -> list[tuple[bool, bool]]:
    """Whether one query is reported and lives on, frame by frame."""
    state, seen = queries([scores[0]]), []
    for score in scores:
        life = advance(state.replace(scores=torch.tensor([score])), config, 1, 10)
        seen.append((bool(life.output[0]), bool(life.live[0])))
        state = life.queries
    return seen


def test_a_track_that_fades_is_dropped_though_its_score_would_do() -> None:
    fading = [0.9, 0.6, 0.6, 0.6]  # logits 2.2 and 0.4
    assert after(fading, CONFIG)[-1] == (True, True)
    assert after(fading, FADING) == [(True, True), (True, True), (False, True), (False, False)]


def test_a_track_that_was_never_sure_does_not_fade() -> None:
    assert after([0.6] * 5, FADING) == [(True, True)] * 5


def test_a_track_that_is_sure_again_is_reported_again() -> None:
    assert after([0.9, 0.6, 0.6, 0.85, 0.85], FADING)[2:] == [
        (False, True), (True, True), (True, True)]  # fmt: skip
