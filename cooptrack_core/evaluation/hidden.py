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

"""Room of evaluation: what cooperation adds, the cars that the ego's cameras cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cooptrack_core.evaluation.frames import (
    Array,
    BoolArray,
    GroundTruthFrame,
    PredictionFrame,
    align,
    sort_ground_truth,
)
from cooptrack_core.evaluation.matching import assign
from cooptrack_core.evaluation.protocol import Protocol
from cooptrack_core.structures import CLASS_NAMES

_CAR = CLASS_NAMES.index('car')


@dataclass(frozen=True)
class HiddenMetrics:
    """Cars hidden from the ego, over all frames.

    Attributes:
        hidden: Hidden cars in range (boxes, not tracks).
        true_positives: Of them, those with an output track within ``hidden_distance``.
        false_positives: Output tracks in range that stand for no car at all.
        excused: Further such tracks, laid to a missed car in view of the ego.
        recall: true_positives / hidden; NaN without hidden cars.
        precision: true_positives / (true_positives + false_positives); NaN if both are 0.
        strict_precision: The same with the excused tracks counted as false; a lower bound.
    """

    hidden: int
    true_positives: int
    false_positives: int
    excused: int
    recall: float
    precision: float
    strict_precision: float


def evaluate_hidden(
    ground_truth: Sequence[GroundTruthFrame],
    tracks: Sequence[PredictionFrame],
    protocol: Protocol | None = None,
) -> HiddenMetrics | None:
    """Count output tracks on cars that only a roadside unit sees.

    A car is hidden if no pixel of it is in an ego camera, a roadside camera has one, it lies
    within the car range, and it is not the ego itself. In each frame, cars and car tracks are
    paired one to one within ``hidden_distance`` (most pairs first, then least distance), all cars
    taking part, so that a track on a car in view, or on one that nobody sees, is never a hit nor
    a false alarm. A track in range that is left over claims a car where none is. It counts
    as false, wherever it lies, with one exception: leftover tracks and leftover cars in view of
    the ego are paired once more, within ``excuse_distance``; such a track is a car in view put
    in a wrong place, not a claim about a hidden one. Each missed car excuses one track at most,
    and only takes a false alarm away, never adds a hit, so extra output cannot raise precision.

    Args:
        ground_truth: All frames of all scenes, with ``seen_by_ego`` and ``seen_by_remote``.
        tracks: One frame for each of them; every box in it is output.
        protocol: Range and distances; the vehicle's by default.

    Returns:
        The counts, or None if any frame lacks visibility.

    Raises:
        ValueError: Frames do not correspond.
    """
    protocol = protocol or Protocol()
    ground_truth = sort_ground_truth(ground_truth)
    counts = np.zeros(4, dtype=np.int64)
    for truth, output in zip(ground_truth, align(ground_truth, tracks), strict=True):
        if truth.seen_by_ego is None or truth.seen_by_remote is None:
            return None
        counts += _count_frame(truth, output, protocol, truth.seen_by_ego, truth.seen_by_remote)
    hidden, hits, false, excused = (int(c) for c in counts)
    return HiddenMetrics(
        hidden,
        hits,
        false,
        excused,
        _ratio(hits, hidden),
        _ratio(hits, hits + false),
        _ratio(hits, hits + false + excused),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')


def _count_frame(
    truth: GroundTruthFrame,
    output: PredictionFrame,
    protocol: Protocol,
    by_ego: BoolArray,
    by_remote: BoolArray,
) -> tuple[int, int, int, int]:
    """(hidden cars, hits, false alarms, excused tracks) of one frame."""
    is_car = truth.labels == _CAR
    cars = truth.boxes[is_car]
    tracks = output.boxes[output.labels == _CAR]
    seen = by_ego[is_car]
    # The ego itself, which a roadside unit sees and its own cameras do not, is not hidden.
    ego = np.concatenate([np.tile(truth.ego_position, (len(cars), 1)), cars.centers[:, 2:]], 1)
    is_ego = np.diagonal(cars.contains(ego))
    limit = protocol.class_ranges[_CAR]
    near = _distance(cars.centers, truth.ego_position[None])[:, 0] < limit
    hidden = ~seen & by_remote[is_car] & near & ~is_ego
    d = _distance(cars.centers, tracks.centers)
    paired_cars, paired_tracks = assign(d, d <= protocol.hidden_distance)
    car_left, track_left = np.ones(len(cars), dtype=bool), np.ones(len(tracks), dtype=bool)
    car_left[paired_cars], track_left[paired_tracks] = False, False
    track_left &= _distance(tracks.centers, truth.ego_position[None])[:, 0] < limit
    may_excuse = (d <= protocol.excuse_distance) & (car_left & seen)[:, None] & track_left
    excused = len(assign(d, may_excuse)[0])
    return (
        int(hidden.sum()),
        int(hidden[paired_cars].sum()),
        int(track_left.sum()) - excused,
        excused,
    )


def _distance(a: Array, b: Array) -> Array:
    """(n, m) distances in the x-y plane between (n, 2+) and (m, 2+) points, m."""
    offset = a[:, None, :2] - b[None, :, :2]
    return np.asarray(np.sqrt((offset**2).sum(-1)))
