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

"""Room of evaluation: from boxes with ids to tracks as the nuScenes tracking task sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cooptrack_core.evaluation.frames import BoxTable, FrameTable, IntArray
from cooptrack_core.evaluation.protocol import Protocol


def number_tracks(table: BoxTable, frames: FrameTable) -> IntArray:
    """(n,) running number of each box's track; the same id in two scenes is two tracks.

    Numbers rise in order of first appearance.

    Raises:
        ValueError: An id comes twice in one frame.
    """
    _, twins = np.unique(np.stack([table.frames, table.track_ids]), axis=1, return_counts=True)
    if len(twins) and twins.max() > 1:
        raise ValueError('a track id comes twice in one frame; ids are unique inside a frame')
    keys = np.stack([frames.sequences[table.frames], table.track_ids])
    _, first, inverse = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse.reshape(-1)])


def average_scores(table: BoxTable, numbers: IntArray) -> BoxTable:
    """Give every box the mean score of its track (over the boxes in range)."""
    order = np.argsort(numbers, kind='stable')
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    scores = np.empty(len(table))
    for rows in np.split(order, starts[1:]):
        if len(rows):
            scores[rows] = np.mean(table.scores[rows])
    return replace(table, scores=scores)


def fill_gaps(
    table: BoxTable, numbers: IntArray, frames: FrameTable, protocol: Protocol
) -> tuple[BoxTable, IntArray]:
    """Bridge the frames that a track misses between two sightings.

    Centre and score are interpolated in time, the class is that of the later sighting; sizes,
    headings and velocities are copied from it, as tracking metrics do not look at them.

    Args:
        table: Boxes in frame order.
        numbers: (n,) track of each box.
        frames: The frames.
        protocol: ``fill_gaps`` and ``reversed_gap_weights`` are used.

    Returns:
        The table and track numbers with the new boxes, in frame order; inside a frame the new
        boxes come after the old ones, by track number.
    """
    order = np.lexsort((table.frames, numbers))
    left, right = order[:-1], order[1:]
    missing = table.frames[right] - table.frames[left] - 1
    gap = (numbers[left] == numbers[right]) & (missing > 0)
    if not protocol.fill_gaps or not gap.any():
        return table, numbers
    left, right, missing = left[gap], right[gap], missing[gap]
    # Frame numbers run through each gap: left + 1 ... right - 1.
    begin = np.repeat(np.cumsum(missing) - missing, missing)
    left, right = np.repeat(left, missing), np.repeat(right, missing)
    at = table.frames[left] + 1 + np.arange(len(left)) - begin
    t, t0, t1 = (frames.stamps[f] for f in (at, table.frames[left], table.frames[right]))
    weight = ((t1 - t) if protocol.reversed_gap_weights else (t - t0)) / (t1 - t0)  # of the right
    bridge = replace(
        table.select(right),
        frames=at,
        centers=(1.0 - weight)[:, None] * table.centers[left]
        + weight[:, None] * table.centers[right],
        scores=(1.0 - weight) * table.scores[left] + weight * table.scores[right],
    )
    merged = BoxTable(
        *(
            np.concatenate([getattr(table, name), getattr(bridge, name)])
            for name in BoxTable.__dataclass_fields__
        )
    )
    numbers = np.concatenate([numbers, numbers[right]])
    is_new = np.arange(len(merged)) >= len(table)
    order = np.lexsort((np.where(is_new, numbers, np.arange(len(merged))), is_new, merged.frames))
    return merged.select(order), numbers[order]
