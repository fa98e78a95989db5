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

"""Room of evaluation: how sure a difference between two methods is, by a paired bootstrap.

Frames of a scene look alike, so scenes are what is drawn again (with replacement, as many as there
are). For every draw mean AP and AMOTA of the car are computed anew from the pooled frames, a scene
drawn twice counting as two scenes; they are not means over scenes. What does not depend on other
scenes (who matches whom, counts at each score) is tabulated once. Both methods of a difference see
the same draws. Intervals are percentiles (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, chapter 13); with fewer than about ten scenes they are too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.detection import average_precision, match_detections
from cooptrack_core.evaluation.frames import (
    Array,
    GroundTruthFrame,
    IntArray,
    PredictionFrame,
    align,
    box_table,
    frame_table,
    sort_ground_truth,
)
from cooptrack_core.evaluation.matching import MATCH, MISS, SWITCH, match_over_time
from cooptrack_core.evaluation.protocol import Protocol
from cooptrack_core.evaluation.tracking import (
    ClassTables,
    motar,
    score_thresholds,
    track_tables,
)
from cooptrack_core.structures import CLASS_NAMES

METRICS = ('mean_ap', 'amota')
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class TrackTally:
    """Tracking of one scene at every score at which it changes.

    Attributes:
        matched: (p,) scores of all matches when no output is dropped.
        scores: (t,) rising; every score that an output box has.
        counts: (t, 4) int64 TP, FP, FN, IDS when boxes with lower scores are dropped.
        objects: Number of object boxes.
    """

    matched: Array
    scores: Array
    counts: IntArray
    objects: int


@dataclass(frozen=True, eq=False)
class MethodTally:
    """One method on S scenes: all that mean AP and AMOTA of any choice of them depend on.

    Attributes:
        scenes: S names.
        objects: (S,) int64 objects per scene, for AP.
        detected_in: (m,) int64 scene of each detection, best score first.
        hits: (distances, m) bool, whether it is right at each distance of the protocol.
        tracking: One per scene.
        protocol: How it was made.
    """

    scenes: tuple[str, ...]
    objects: IntArray
    detected_in: IntArray
    hits: NDArray[np.bool_]
    tracking: tuple[TrackTally, ...]
    protocol: Protocol

    def mean_ap(self, times: IntArray) -> float:
        """Mean AP when scene s counts ``times[s]`` times; 0 without objects, as published."""
        rows = np.repeat(np.arange(len(self.detected_in)), times[self.detected_in])
        objects = int(times @ self.objects)
        aps = [average_precision(hit[rows], objects, self.protocol) for hit in self.hits]
        return float(np.mean(aps))

    def amota(self, times: IntArray) -> float:
        """AMOTA when scene s counts ``times[s]`` times; NaN without objects."""
        chosen = [(t, n) for t, n in zip(self.tracking, times.tolist(), strict=True) if n]
        objects = sum(t.objects * n for t, n in chosen)
        if objects == 0:
            return float('nan')
        matched = np.concatenate([np.zeros(0), *(np.tile(t.matched, n) for t, n in chosen)])
        levels = score_thresholds(matched, objects, self.protocol)
        total = np.zeros((len(levels), 4), dtype=np.int64)
        for tally, n in chosen:
            # The boxes kept at a level are those kept at the next score of the scene.
            nothing = np.array([[0, 0, tally.objects, 0]], dtype=np.int64)
            at = np.searchsorted(tally.scores, levels)
            total += n * np.concatenate([tally.counts, nothing])[at]
        values = [motar(tp, fp, fn, ids, objects) for tp, fp, fn, ids in total.tolist()]
        return float(np.nan_to_num(values, nan=0.0).sum()) / self.protocol.recall_thresholds


def tally(
    ground_truth: Sequence[GroundTruthFrame],
    detections: Sequence[PredictionFrame],
    tracks: Sequence[PredictionFrame],
    protocol: Protocol | None = None,
    class_name: str = 'car',
) -> MethodTally:
    """Tabulate a method scene by scene.

    Args:
        ground_truth: All frames of all scenes.
        detections: The method's detections, one frame for each of them.
        tracks: Its tracks, likewise; those below ``protocol.output_score`` are dropped here.
        protocol: The vehicle's by default.
        class_name: Of CLASS_NAMES.

    Raises:
        ValueError: As ``evaluate_method``.
    """
    protocol = protocol or Protocol()
    ground_truth = sort_ground_truth(ground_truth)
    frames = frame_table(ground_truth)
    scenes = tuple(dict.fromkeys(f.sequence_id for f in ground_truth))
    k = CLASS_NAMES.index(class_name)
    actual = box_table(ground_truth).in_range(frames, protocol.class_ranges)
    actual = actual.select(actual.labels == k)
    found = box_table(align(ground_truth, detections)).in_range(frames, protocol.class_ranges)
    found, partners = match_detections(actual, found.select(found.labels == k), protocol)
    output = [frame.above(protocol.output_score) for frame in tracks]
    _, per_class = track_tables(ground_truth, output, protocol)
    return MethodTally(
        scenes,
        np.bincount(frames.sequences[actual.frames], minlength=len(scenes)).astype(np.int64),
        frames.sequences[found.frames],
        np.stack([partner >= 0 for partner in partners]),
        tuple(
            _track_tally(per_class[class_name], np.flatnonzero(frames.sequences == s), protocol)
            for s in range(len(scenes))
        ),
        protocol,
    )


def _track_tally(tables: ClassTables, frames: IntArray, protocol: Protocol) -> TrackTally:
    """Tally of one scene; its frames follow one another."""
    actual, numbers, output, output_numbers = tables
    begin, count = int(frames[0]), len(frames)
    a = (actual.frames >= begin) & (actual.frames < begin + count)
    o = (output.frames >= begin) & (output.frames < begin + count)
    actual, output = actual.select(a), output.select(o)
    scores = np.unique(output.scores)
    matching = match_over_time(
        replace(actual, frames=actual.frames - begin),
        numbers[a],
        replace(output, frames=output.frames - begin),
        output_numbers[o],
        # The lowest score drops nothing; without output there is one empty level.
        scores if len(scores) else np.zeros(1),
        count,
        protocol.track_distance,
    )
    status = matching.status
    columns = [(status == MATCH).sum(1), matching.false_positives]
    columns += [(status == MISS).sum(1), (status == SWITCH).sum(1)]
    partner = matching.partner[0, status[0] == MATCH]
    counts = np.stack(columns, axis=1).astype(np.int64)[: len(scores)]
    return TrackTally(output.scores[partner], scores, counts, len(actual))


@dataclass(frozen=True)
class Interval:
    """A number and where it lies with probability ``LEVEL``; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Valid as JSON."""
        return asdict(self)

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, eq=False)
class Resampled:
    """A method's metrics over the drawn scenes.

    Attributes:
        values: Per metric of METRICS, on all scenes once.
        draws: Per metric (resamples,), one per draw.
        key: What the draws depend on; only equal ones can be compared.
    """

    values: dict[str, float]
    draws: dict[str, Array]
    key: tuple[tuple[str, ...], int, int]

    def interval(self, metric: str) -> Interval:
        """Interval of the metric itself."""
        return _interval(self.values[metric], self.draws[metric])

    def minus(self, other: Resampled, metric: str) -> Interval:
        """Interval of this method's metric minus the other's, draw by draw.

        Raises:
            ValueError: The two did not draw the same scenes.
        """
        if self.key != other.key:
            raise ValueError('the two methods were not drawn over the same scenes')
        return _interval(
            self.values[metric] - other.values[metric], self.draws[metric] - other.draws[metric]
        )


def resample(method: MethodTally, resamples: int = 1000, seed: int = 0) -> Resampled:
    """Compute the metrics of a method on ``resamples`` draws of its scenes.

    Args:
        method: The method.
        resamples: Number of draws; 1000 take a few seconds for ten scenes of 100 frames.
        seed: Of the draws.

    Raises:
        ValueError: There is no scene.
    """
    n = len(method.scenes)
    if n == 0:
        raise ValueError('no scene to draw from')
    once = np.ones(n, dtype=np.int64)
    random = np.random.default_rng(seed)
    times = random.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.int64)
    # Few scenes can only be drawn in few ways.
    ways, which = np.unique(times, axis=0, return_inverse=True)
    which = which.reshape(-1)
    draws = {
        'mean_ap': np.array([method.mean_ap(row) for row in ways])[which],
        'amota': np.array([method.amota(row) for row in ways])[which],
    }
    values = {'mean_ap': method.mean_ap(once), 'amota': method.amota(once)}
    return Resampled(values, draws, (method.scenes, resamples, seed))


def _interval(value: float, draws: Array) -> Interval:
    """Percentile interval; draws of scenes without any object are left out."""
    known = draws[~np.isnan(draws)]
    if value != value or len(known) == 0:
        return Interval(None, None, None)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))
