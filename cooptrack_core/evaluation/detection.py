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

"""Room of evaluation: average precision and true-positive errors of detections.

Semantics of nuScenes ``detection_cvpr_2019`` (Caesar et al., nuScenes, CVPR 2020, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cooptrack_core.evaluation.frames import (
    Array,
    BoolArray,
    BoxTable,
    GroundTruthFrame,
    IntArray,
    PredictionFrame,
    align,
    box_table,
    check_counts,
    frame_table,
    sort_ground_truth,
)
from cooptrack_core.evaluation.protocol import Protocol
from cooptrack_core.structures import CLASS_NAMES

_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class DetectionMetrics:
    """Detection of one class.

    A class without ground truth or without a match has AP 0 and errors 1 (as the devkit), never
    NaN; ``ground_truth_boxes`` tells the two apart.

    Attributes:
        ap: Average precision per centre distance, in the protocol's order.
        trans_err: Mean centre distance (x-y) of matches, m.
        scale_err: 1 - IoU after aligning centre and heading.
        orient_err: Heading difference, rad.
        vel_err: Velocity difference, m/s; 1 where no velocity is known.
        ground_truth_boxes: Number of objects in range.
        predicted_boxes: Number of detections in range.
    """

    ap: tuple[float, ...]
    trans_err: float
    scale_err: float
    orient_err: float
    vel_err: float
    ground_truth_boxes: int
    predicted_boxes: int

    @property
    def mean_ap(self) -> float:
        """Mean over the distances; for the car this is the published "mAP" of CoopTrack."""
        return float(np.mean(self.ap))


def evaluate_detection(
    ground_truth: Sequence[GroundTruthFrame],
    detections: Sequence[PredictionFrame],
    protocol: Protocol | None = None,
) -> dict[str, DetectionMetrics]:
    """Evaluate detections, per class name.

    Args:
        ground_truth: All frames of all scenes.
        detections: One frame for each of them, in any order; of equal scores the later counts
            first, as in the devkit.
        protocol: Ranges and thresholds; the vehicle's by default.

    Raises:
        ValueError: Frames do not correspond or hold too many boxes.
    """
    protocol = protocol or Protocol()
    ground_truth = sort_ground_truth(ground_truth)
    detections = align(ground_truth, detections)
    frames = frame_table(ground_truth)
    predicted = box_table(detections)
    check_counts(predicted, detections, protocol.max_boxes_per_frame)
    actual = box_table(ground_truth).in_range(frames, protocol.class_ranges)
    predicted = predicted.in_range(frames, protocol.class_ranges)
    return {
        name: _evaluate_class(
            actual.select(actual.labels == k), predicted.select(predicted.labels == k), protocol
        )
        for k, name in enumerate(CLASS_NAMES)
    }


def _evaluate_class(actual: BoxTable, predicted: BoxTable, protocol: Protocol) -> DetectionMetrics:
    predicted, partners = match_detections(actual, predicted, protocol)
    aps = tuple(average_precision(p >= 0, len(actual), protocol) for p in partners)
    partner = partners[protocol.ap_distances.index(protocol.tp_distance)]
    errors = (1.0, 1.0, 1.0, 1.0)
    if (partner >= 0).any():
        errors = _errors(actual, predicted, partner, protocol)
    return DetectionMetrics(aps, *errors, len(actual), len(predicted))


def match_detections(
    actual: BoxTable, predicted: BoxTable, protocol: Protocol
) -> tuple[BoxTable, list[IntArray]]:
    """Match the detections of one class, at each distance of the protocol as if it were alone.

    Args:
        actual: Objects, in frame order.
        predicted: m detections, in frame order.
        protocol: ``ap_distances`` is used.

    Returns:
        The detections with the best score first (of equals the later one), and per distance the
        (m,) row of each one's object, -1 for a false one.
    """
    predicted = predicted.select(np.argsort(predicted.scores, kind='stable')[::-1])
    ranks, objects, distances = _near_pairs(actual, predicted, max(protocol.ap_distances))
    partners = []
    for limit in protocol.ap_distances:
        near = distances < limit
        partners.append(_greedy(ranks[near], objects[near], len(predicted), len(actual)))
    return predicted, partners


def _near_pairs(
    actual: BoxTable, predicted: BoxTable, limit: float
) -> tuple[IntArray, IntArray, Array]:
    """Pairs of one frame nearer than ``limit``, by rank of the detection, then by distance."""
    order = np.argsort(predicted.frames, kind='stable')
    last = max([-1, *actual.frames[-1:], *predicted.frames[order[-1:]]])
    edges = np.arange(last + 2)
    a_start = np.searchsorted(actual.frames, edges)
    p_start = np.searchsorted(predicted.frames[order], edges)
    parts: list[tuple[IntArray, IntArray, Array]] = []
    for f in np.flatnonzero((np.diff(a_start) > 0) & (np.diff(p_start) > 0)):
        mine = order[p_start[f] : p_start[f + 1]]
        offset = predicted.centers[mine, None] - actual.centers[None, a_start[f] : a_start[f + 1]]
        d = np.sqrt((offset**2).sum(-1))
        p, a = np.nonzero(d < limit)
        parts.append((mine[p], a + a_start[f], d[p, a]))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    ranks, objects, distances = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((objects, distances, ranks))
    return ranks[order], objects[order], distances[order]


def _greedy(ranks: IntArray, objects: IntArray, n_predicted: int, n_actual: int) -> IntArray:
    """(n_predicted,) object of each detection or -1: best score first takes the nearest free."""
    partner = np.full(n_predicted, -1, dtype=np.int64)
    # A pair that shares neither its detection nor its object with another needs no loop.
    alone = (np.bincount(ranks, minlength=n_predicted)[ranks] == 1) & (
        np.bincount(objects, minlength=n_actual)[objects] == 1
    )
    partner[ranks[alone]] = objects[alone]
    taken: set[int] = set()
    done = -1
    for rank, index in zip(ranks[~alone].tolist(), objects[~alone].tolist(), strict=True):
        if rank != done and index not in taken:
            partner[rank] = index
            taken.add(index)
            done = rank
    return partner


def average_precision(hit: BoolArray, n_actual: int, protocol: Protocol) -> float:
    """AP of one class at one distance; 0 without a hit.

    Args:
        hit: (m,) whether each detection is right, best score first.
        n_actual: Number of objects.
        protocol: ``min_recall`` and ``min_precision`` are used.
    """
    if not hit.any():
        return 0.0
    tp = np.cumsum(hit)
    precision = tp / np.arange(1, len(hit) + 1)
    at_recall = np.interp(_RECALLS, tp / n_actual, precision, right=0)
    clipped = np.maximum(at_recall[_first_recall(protocol) :] - protocol.min_precision, 0)
    return float(clipped.mean()) / (1.0 - protocol.min_precision)


def _first_recall(protocol: Protocol) -> int:
    return round(100 * protocol.min_recall) + 1


def _errors(
    actual: BoxTable, predicted: BoxTable, partner: IntArray, protocol: Protocol
) -> tuple[float, float, float, float]:
    """(trans, scale, orient, vel): running means along the scores, averaged over recalls."""
    hit = partner >= 0
    recall = np.cumsum(hit) / len(actual)
    confidence = np.interp(_RECALLS, recall, predicted.scores, right=0)
    reached = np.flatnonzero(confidence)
    first, last = _first_recall(protocol), int(reached[-1]) if len(reached) else 0
    if last < first:
        return 1.0, 1.0, 1.0, 1.0
    p, a = predicted.select(hit), actual.select(partner[hit])
    overlap = np.minimum(p.sizes, a.sizes).prod(-1)
    turn = (a.yaws - p.yaws + np.pi) % (2 * np.pi) - np.pi
    raw = (
        np.sqrt(((p.centers - a.centers) ** 2).sum(-1)),
        1 - overlap / (p.sizes.prod(-1) + a.sizes.prod(-1) - overlap),
        np.abs(turn),
        np.sqrt(((p.velocities - a.velocities) ** 2).sum(-1)),
    )
    means = []
    for values in raw:
        along = np.interp(confidence[::-1], p.scores[::-1], _running_mean(values)[::-1])[::-1]
        means.append(float(along[first : last + 1].mean()))
    return means[0], means[1], means[2], means[3]


def _running_mean(values: Array) -> Array:
    """Mean of all known values so far; 0 before the first, 1 throughout if none is known."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    return np.asarray(np.nancumsum(values) / np.maximum(np.cumsum(known), 1))
