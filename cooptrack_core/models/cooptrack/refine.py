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

"""Refine heads: the class from the semantic stream, the whole box from the motion stream.

Source: reference section 2.9, item 7.
"""

from __future__ import annotations

from torch import nn

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.decoder import class_head
from cooptrack_core.models.cooptrack.interface import QuerySet


class RefineHeads(nn.Module):
    """Final class and box of every query."""

    def __init__(self, dims: int, classes: int, range_: PerceptionRange, step: float) -> None:
        super().__init__()
        self.range, self.step = range_, step
        self.to_logits = class_head(dims, classes)
        self.to_box = class_head(dims, box_code.CODE_SIZE)

    def forward(self, queries: QuerySet) -> QuerySet:
        """Set logits, scores, reference points and boxes of the queries."""
        logits = self.to_logits(queries.feats)
        refs, boxes = box_code.refine(
            self.to_box(queries.motion), queries.refs, self.range, self.step
        )
        scores = logits.detach().sigmoid().max(-1).values
        return queries.replace(logits=logits, scores=scores, refs=refs, boxes=boxes)
