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

"""Life cycle of queries: which become tracks, which are reported, which live on.

Source: reference section 2.13 (inference).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.models.cooptrack.config import TrackingConfig
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.tracking.reappearance import Sightings


@dataclass(frozen=True, eq=False)
class LifeCycle:
    """Outcome for the n queries of a frame.

    Attributes:
        queries: Queries with ids, ``tracked``, ``missed`` and ``best`` updated.
        output: (n,) bool, to be reported.
        live: (n,) bool, carried on.
        next_id: Next free id.
        sightings: Where tracks were last reported, this frame included.
    """

    queries: QuerySet
    output: Tensor
    live: Tensor
    next_id: int
    sightings: Sightings


def advance(
    queries: QuerySet,
    config: TrackingConfig,
    next_id: int,
    limit: int,
    ids_for_background: bool = False,
    sightings: Sightings | None = None,
) -> LifeCycle:
    """Give ids to new queries and decide which queries live on.

    Active means score > ``score_threshold`` and not faded (``TrackingConfig.fade``). An active
    query lives on; a track that is not active lives on until it was missed ``max_age`` times in a
    row; nothing else does.

    Args:
        queries: Queries after refinement; ids are -1 for new ones.
        config: Thresholds.
        next_id: First free id.
        limit: Most tracks to carry; beyond it those of lowest score are dropped.
        ids_for_background: Official behaviour: every new query gets an id, reported or not.
        sightings: Of earlier frames, moved on to this one.
    """
    best = torch.maximum(queries.best, queries.scores)
    faded = has_faded(queries.scores, best, config.fade)
    active = (queries.scores > config.score_threshold) & ~faded
    missed = torch.where(active, 0, queries.missed + queries.tracked)
    output = queries.scores >= config.output_threshold
    output = output & ~(faded & (missed > config.fade_after))
    earlier = sightings or Sightings.none()
    queries = _reappeared(queries, active | output, earlier, config)
    new = queries.ids < 0
    named = new if ids_for_background else new & (active | output)
    numbers = next_id - 1 + torch.cumsum(named, 0)
    ids = torch.where(named, numbers, queries.ids)
    tracked = queries.tracked | (new & active)
    live = active | (tracked & (missed < config.max_age))
    if int(live.sum()) > limit:
        kept = torch.where(live, queries.scores, -1.0).topk(limit).indices
        live = torch.zeros_like(live).index_fill(0, kept, True)
    queries = queries.replace(ids=ids, tracked=tracked, missed=missed, best=best)
    return LifeCycle(
        queries=queries,
        output=output,
        live=live,
        next_id=next_id + int(named.sum()),
        sightings=_remembered(earlier, queries.select(output), config.reappear_within),
    )


def _reappeared(
    queries: QuerySet, present: Tensor, earlier: Sightings, config: TrackingConfig
) -> QuerySet:
    """Give n new queries the ids of lost tracks; the query that had lost its object lets go.

    Args:
        queries: (n).
        present: (n,) bool, reported or active at this frame.
        earlier: Where tracks were reported before, moved on to this frame.
        config: ``reappear_within``, ``reappear_distance``.
    """
    begins = torch.nonzero((queries.ids < 0) & present)[:, 0]
    if not config.reappear_within or not len(earlier.ids) or not len(begins):
        return queries
    busy = queries.ids[(queries.ids >= 0) & present].cpu().numpy()
    found = earlier.taken_up(_seen(queries.select(begins)), busy, *config.reappear_distance)
    taken = torch.from_numpy(found[found >= 0]).to(queries.ids)
    rows = begins[torch.from_numpy(found >= 0).to(begins.device)]
    lets_go = torch.isin(queries.ids, taken)
    ids = torch.where(lets_go, -1, queries.ids).index_copy(0, rows, taken)
    tracked = (queries.tracked & ~lets_go).index_fill(0, rows, True)
    return queries.replace(ids=ids, tracked=tracked)


def _remembered(earlier: Sightings, reported: QuerySet, longest: float) -> Sightings:
    return earlier.followed_by(_seen(reported), longest) if longest else Sightings.none()


def _seen(queries: QuerySet) -> Sightings:
    """Sightings of n queries of this frame."""
    boxes = queries.boxes.detach().double().cpu().numpy()
    return Sightings(
        queries.ids.cpu().numpy(),
        queries.logits.detach().argmax(1).cpu().numpy(),
        boxes[:, :2],
        boxes[:, 8:10],
        np.zeros(len(queries)),
    )


def has_faded(scores: Tensor, best: Tensor, fade: float | None) -> Tensor:
    """Which of n queries are far less certain than they were.

    Args:
        scores: (n,).
        best: (n,) highest earlier scores.
        fade: ``TrackingConfig.fade``.
    """
    if fade is None:
        return torch.zeros_like(scores, dtype=torch.bool)
    return torch.logit(best, 1e-4) - torch.logit(scores, 1e-4) > fade
