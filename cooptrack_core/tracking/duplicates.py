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

"""Two queries on one object: the less certain one is silenced.

Not part of the official code, which relies on self attention alone to keep queries apart; a small
model trained for minutes has not fully learnt that.
"""

from __future__ import annotations

import numpy as np
import torch

from cooptrack_core.models.cooptrack.config import TrackingConfig
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.tracking.life_cycle import has_faded

_SILENT = -12.0  # logit


def silence_duplicates(queries: QuerySet, config: TrackingConfig) -> QuerySet:
    """Give background scores to queries that stand on an object another query explains.

    Queries are visited by certainty, followed tracks that are reported and have not faded before
    new ones; each one silences those of its class within ``duplicate_distance`` metres (x-y).

    Args:
        queries: After refinement.
        config: Holds the distances; None leaves the queries as they are.
    """
    if config.duplicate_distance is None or len(queries) < 2:
        return queries
    scores = queries.scores.detach().float()
    kept = queries.tracked & (scores >= config.output_threshold)
    kept &= ~has_faded(scores, queries.best, config.fade)
    priority = scores + kept.float()
    order = priority.argsort(descending=True, stable=True).cpu().numpy()
    labels = queries.logits.detach().argmax(1).cpu().numpy()
    xy = queries.boxes.detach()[:, :2].double().cpu().numpy()
    limit = np.asarray(config.duplicate_distance)[labels]
    near = np.linalg.norm(xy[:, None] - xy, axis=-1) < limit
    near &= labels[:, None] == labels
    silent = np.zeros(len(queries), dtype=bool)
    waiting = np.ones(len(queries), dtype=bool)
    for row in order:
        waiting[row] = False
        if not silent[row]:
            silent |= near[row] & waiting
    mask = torch.from_numpy(silent).to(queries.scores.device)
    return queries.replace(
        logits=torch.where(mask[:, None], queries.logits.new_tensor(_SILENT), queries.logits),
        scores=torch.where(mask, queries.scores.new_tensor(0.0), queries.scores),
    )
