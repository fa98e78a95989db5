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

"""Room of evaluation: AMOTA, AMOTP and the CLEAR MOT family of output tracks.

Semantics of nuScenes ``tracking_nips_2019`` as in nuscenes-devkit 1.2.0 (AMOTA and MOTAR: Weng et
al., A Baseline for 3D Multi-Object Tracking, 2019; the rest: Bernardin and Stiefelhagen 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from cooptrack_core.evaluation.frames import (
    Array,
    BoxTable,
    FrameTable,
    GroundTruthFrame,
    IntArray,
    PredictionFrame,
    align,
    box_table,
    check_counts,
    frame_table,
    sort_ground_truth,
)
from cooptrack_core.evaluation.matching import MATCH, MISS, SWITCH, Matching, match_over_time
from cooptrack_core.evaluation.protocol import Protocol
from cooptrack_core.evaluation.track_table import average_scores, fill_gaps, number_tracks
from cooptrack_core.structures import CLASS_NAMES

NAN = float('nan')


@dataclass(frozen=True)
class TrackingMetrics:
    """Tracking of one class.

    All but ``amota`` and ``amotp`` hold at the score threshold with the highest MOTA (of equals,
    the one with the highest recall). Undefined values are NaN: everything without ground truth;
    ``motar``, ``tid``, ``lgd`` and ``motp`` without a match at that threshold. If not even the
    lowest recall is reached, ``fp``, ``ids`` and ``frag`` are NaN and the rest takes its worst
    value (recall 0, AMOTA 0, AMOTP and MOTP ``worst_amotp``, FAF 500, TID and LGD 20).

    Attributes:
        amota: Mean of MOTAR over the recall thresholds; an unreached recall counts 0.
        amotp: Mean of MOTP over them, m; an unreached recall counts ``worst_amotp``.
        motar: max(0, 1 - (IDS + FP + FN - (1 - r) P) / (r P)), r = TP / P as achieved.
        mota: max(0, 1 - (IDS + FP + FN) / P).
        motp: Mean centre distance of pairs, m.
        recall: (TP + IDS) / P.
        tp: Pairs that continue or begin an identity.
        fp: Output boxes without object.
        fn: Object boxes without output.
        ids: Pairs whose object had another track before.
        frag: Interruptions of an object's tracking, the end not counted.
        mt: Objects tracked in at least 80 % of their frames.
        ml: Objects tracked in less than 20 %.
        faf: False positives per 100 frames.
        tid: Mean time to an object's first pair, over objects ever paired, s.
        lgd: Mean of the longest time without pair, over objects ever paired, s.
        score_threshold: Score at which all but the first two hold.
        ground_truth_boxes: P, interpolated boxes included.
        predicted_boxes: Output boxes, interpolated ones included.
    """

    amota: float
    amotp: float
    motar: float
    mota: float
    motp: float
    recall: float
    tp: float
    fp: float
    fn: float
    ids: float
    frag: float
    mt: float
    ml: float
    faf: float
    tid: float
    lgd: float
    score_threshold: float
    ground_truth_boxes: int
    predicted_boxes: int


def evaluate_tracking(
    ground_truth: Sequence[GroundTruthFrame],
    tracks: Sequence[PredictionFrame],
    protocol: Protocol | None = None,
) -> dict[str, TrackingMetrics]:
    """Evaluate output tracks, per class name.

    Args:
        ground_truth: All frames of all scenes.
        tracks: One frame for each of them, in any order; every box in it is output.
        protocol: Ranges and thresholds; the vehicle's by default.

    Raises:
        ValueError: Frames do not correspond, hold too many boxes, or an id comes twice in one.
    """
    protocol = protocol or Protocol()
    frames, per_class = track_tables(ground_truth, tracks, protocol)
    return {name: _evaluate_class(*per_class[name], frames, protocol) for name in CLASS_NAMES}


ClassTables = tuple[BoxTable, IntArray, BoxTable, IntArray]


def track_tables(
    ground_truth: Sequence[GroundTruthFrame], tracks: Sequence[PredictionFrame], protocol: Protocol
) -> tuple[FrameTable, dict[str, ClassTables]]:
    """Bring objects and output tracks into the form that is matched: in range, gaps bridged.

    Args:
        ground_truth: All frames of all scenes.
        tracks: One frame for each of them.
        protocol: Ranges and the bridging of gaps.

    Returns:
        The frames; per class name the object boxes with the numbers of their objects, and the
        output boxes, each with the mean score of its track, with the numbers of their tracks.

    Raises:
        ValueError: As ``evaluate_tracking``.
    """
    ground_truth = sort_ground_truth(ground_truth)
    tracks = align(ground_truth, tracks)
    frames = frame_table(ground_truth)
    output = box_table(tracks)
    check_counts(output, tracks, protocol.max_boxes_per_frame)
    output = output.in_range(frames, protocol.class_ranges)
    output_numbers = number_tracks(output, frames)
    output = average_scores(output, output_numbers)
    output, output_numbers = fill_gaps(output, output_numbers, frames, protocol)
    actual = box_table(ground_truth).in_range(frames, protocol.class_ranges)
    actual, numbers = fill_gaps(actual, number_tracks(actual, frames), frames, protocol)
    per_class = {}
    for k, name in enumerate(CLASS_NAMES):
        a, o = actual.labels == k, output.labels == k
        per_class[name] = (actual.select(a), numbers[a], output.select(o), output_numbers[o])
    return frames, per_class


def _evaluate_class(
    actual: BoxTable,
    numbers: IntArray,
    output: BoxTable,
    output_numbers: IntArray,
    frames: FrameTable,
    protocol: Protocol,
) -> TrackingMetrics:
    if len(actual) == 0:
        undefined = {f.name: NAN for f in fields(TrackingMetrics) if f.type == 'float'}
        return TrackingMetrics(**undefined, ground_truth_boxes=0, predicted_boxes=len(output))

    gate = protocol.track_distance

    def match(thresholds: Array) -> Matching:
        return match_over_time(
            actual, numbers, output, output_numbers, thresholds, len(frames), gate
        )

    everything = match(np.array([-np.inf]))
    scores = output.scores[everything.partner[0, everything.status[0] == MATCH]]
    levels = score_thresholds(scores, len(actual), protocol)
    levels, repeats = np.unique(levels, return_counts=True)
    unreached = protocol.recall_thresholds - int(repeats.sum())
    if len(levels) == 0:
        return _nothing_reached(actual, numbers, len(output), protocol)
    rows = _clear_mot(match(levels), actual, numbers, protocol)
    repeated = np.concatenate([repeats, [unreached]])
    amota = np.append(np.nan_to_num([r['motar'] for r in rows], nan=0.0), 0.0)
    amotp = np.append(
        np.nan_to_num([r['motp'] for r in rows], nan=protocol.worst_amotp), protocol.worst_amotp
    )
    best = int(np.argmax([r['mota'] for r in rows]))
    return TrackingMetrics(
        amota=float(np.average(amota, weights=repeated)),
        amotp=float(np.average(amotp, weights=repeated)),
        score_threshold=float(levels[best]),
        ground_truth_boxes=len(actual),
        predicted_boxes=len(output),
        **rows[best],
    )


def score_thresholds(scores: Array, n_actual: int, protocol: Protocol) -> Array:
    """Score at which each recall threshold is expected to be reached; unreachable ones left out.

    Args:
        scores: Scores of all matches when no output is dropped.
        n_actual: Number of object boxes.
        protocol: Number of thresholds and lowest recall.
    """
    if len(scores) == 0:
        return np.zeros(0)
    recall = np.arange(1, len(scores) + 1) / n_actual
    wanted = np.linspace(protocol.min_recall, 1, protocol.recall_thresholds).round(12)
    levels = np.interp(wanted, recall, np.sort(scores)[::-1], right=0)
    return np.asarray(levels[wanted <= recall[-1]])


def _nothing_reached(
    actual: BoxTable, numbers: IntArray, n_output: int, protocol: Protocol
) -> TrackingMetrics:
    return TrackingMetrics(
        amota=0.0,
        amotp=protocol.worst_amotp,
        motar=0.0,
        mota=0.0,
        motp=protocol.worst_amotp,
        recall=0.0,
        tp=0.0,
        fp=NAN,
        fn=float(len(actual)),
        ids=NAN,
        frag=NAN,
        mt=0.0,
        ml=float(len(np.unique(numbers))),
        faf=500.0,
        tid=20.0,
        lgd=20.0,
        score_threshold=NAN,
        ground_truth_boxes=len(actual),
        predicted_boxes=n_output,
    )


def _clear_mot(
    matching: Matching, actual: BoxTable, numbers: IntArray, protocol: Protocol
) -> list[dict[str, float]]:
    """Metrics at each score threshold, as keyword arguments of TrackingMetrics."""
    # Boxes of one object next to each other, in time.
    order = np.argsort(numbers, kind='stable')
    begins = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    rows = []
    for k, status in enumerate(matching.status):
        tp, ids = int((status == MATCH).sum()), int((status == SWITCH).sum())
        fp, fn = int(matching.false_positives[k]), int((status == MISS).sum())
        n_frames = int(matching.clock[k, -1])
        clock = matching.clock[k, actual.frames[order]]
        lives = _lives(status[order] != MISS, clock, begins, protocol.sample_period)
        rows.append(
            {
                'motar': motar(tp, fp, fn, ids, len(actual)),
                'mota': max(0.0, 1 - (fn + ids + fp) / len(actual)),
                'motp': float(matching.distances[k].sum()) / (tp + ids) if tp + ids else NAN,
                'recall': (tp + ids) / len(actual),
                'tp': float(tp),
                'fp': float(fp),
                'fn': float(fn),
                'ids': float(ids),
                'faf': fp / n_frames * 100,
                **lives,
            }
        )
    return rows


def motar(tp: int, fp: int, fn: int, ids: int, n_actual: int) -> float:
    """MOTAR at one score threshold, see TrackingMetrics; NaN without a true positive."""
    if tp == 0:
        return NAN
    recall = tp / n_actual
    errors = fn + ids + fp - (1 - recall) * n_actual
    return float(max(0.0, 1 - errors / (recall * n_actual)))


def _lives(
    hit: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    clock: IntArray,
    begins: IntArray,
    sample_period: float,
) -> dict[str, float]:
    """MT, ML, FRAG, TID and LGD from each object's history.

    Args:
        hit: (n,) whether each box was tracked; boxes of an object together, in time.
        clock: (n,) frame count of each box.
        begins: (objects,) first box of each.
        sample_period: Seconds per frame.
    """
    counts = np.add.reduceat(hit.astype(np.int64), begins)
    ends = np.append(begins[1:], len(hit)) - 1
    ratio = counts / (ends - begins + 1)
    seen = counts > 0
    lost = hit[:-1] & ~hit[1:]
    lost[ends[:-1]] = False  # from one object to the next
    frag = int(lost.sum()) - int((seen & ~hit[ends]).sum())
    tid = lgd = NAN
    if seen.any():
        # Frames between two hits of an object, and from its borders to the nearest hit.
        hits = np.flatnonzero(hit)
        first = np.cumsum(counts[seen]) - counts[seen]
        last = first + counts[seen] - 1
        wait = clock[hits[first]] - clock[begins[seen]]
        gaps = np.diff(clock[hits], prepend=0) - 1
        gaps[first] = wait
        longest = np.maximum.reduceat(gaps, first)
        longest = np.maximum(longest, clock[ends[seen]] - clock[hits[last]])
        tid = float(wait.sum()) * sample_period / int(seen.sum())
        lgd = float(longest.sum()) * sample_period / int(seen.sum())
    return {
        'frag': float(frag),
        'mt': float((ratio >= 0.8).sum()),
        'ml': float((ratio < 0.2).sum()),
        'tid': tid,
        'lgd': lgd,
    }
