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

import torch
from torch import Tensor

from cooptrack_core.models.cooptrack.config import TrackingConfig
from cooptrack_core.models.cooptrack.interface import QuerySet


@dataclass(frozen=True, eq=False)
class LifeCycle:
    """Outcome for the n queries of a frame.

    Attributes:
        queries: Queries with ids, ``tracked`` and ``missed`` updated.
        output: (n,) bool, to be reported.
        live: (n,) bool, carried on.
        next_id: Next free id.
    """

    queries: QuerySet
    output: Tensor
    live: Tensor
    next_id: int


def advance(
    queries: QuerySet,
    config: TrackingConfig,
    next_id: int,
    limit: int,
    ids_for_background: bool = False,
) -> LifeCycle:
    """Give ids to new queries and decide which queries live on.

    Active means score > ``score_threshold``. An active query lives on; a track that is not
    active lives on until it was missed ``max_age`` times in a row; nothing else does.

    Args:
        queries: Queries after refinement; ids are -1 for new ones.
        config: Thresholds.
        next_id: First free id.
        limit: Most tracks to carry; beyond it those of lowest score are dropped.
        ids_for_background: Official behaviour: every new query gets an id, reported or not.
    """
    best = torch.maximum(queries.best, queries.scores)
    faded = _faded(queries.scores, best, config.fade)
    active = (queries.scores > config.score_threshold) & ~faded
    output = queries.scores >= config.output_threshold
    new = queries.ids < 0
    named = new if ids_for_background else new & (active | output)
    numbers = next_id - 1 + torch.cumsum(named, 0)
    ids = torch.where(named, numbers, queries.ids)
    tracked = queries.tracked | (new & active)
    missed = torch.where(active, 0, queries.missed + tracked)
    output = output & ~(faded & (missed > config.fade_after))
    live = active | (tracked & (missed < config.max_age))
    if int(live.sum()) > limit:
        best = torch.where(live, queries.scores, -1.0).topk(limit).indices
        live = torch.zeros_like(live).index_fill(0, best, True)
    return LifeCycle(
        queries=queries.replace(ids=ids, tracked=tracked, missed=missed, best=best),
        output=output,
        live=live,
        next_id=next_id + int(named.sum()),
    )


def _faded(scores: Tensor, best: Tensor, fade: float | None) -> Tensor:
    """Which of n queries are far less certain than they were."""
    if fade is None:
        return torch.zeros_like(scores, dtype=torch.bool)
    return torch.logit(best, 1e-4) - torch.logit(scores, 1e-4) > fade
