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

"""Room of evaluation: IoU of semantic maps, over all frames together and as a mean over frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.map_protocol import MapProtocol, Mask, Masks
from cooptrack_core.structures import MAP_CLASSES


@dataclass
class DatasetIou:
    """IoU over all frames together; state is three counts of cells per class.

    Attributes:
        counts: Per class name [TP, FP, FN].
    """

    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def add(self, predicted: Masks, truth: Masks, cells: Mask) -> None:
        """Count one frame's cells; classes absent from ``truth`` are not counted."""
        for name in truth:
            p, t = predicted[name][cells], truth[name][cells]
            found = np.array([(p & t).sum(), (p & ~t).sum(), (~p & t).sum()], dtype=np.int64)
            self.counts[name] = self.counts.get(name, np.zeros(3, dtype=np.int64)) + found

    def merge(self, other: DatasetIou) -> None:
        """Add the counts of another part of the dataset."""
        for name, found in other.counts.items():
            self.counts[name] = self.counts.get(name, np.zeros(3, dtype=np.int64)) + found

    def iou(self, name: str) -> float | None:
        """TP / (TP + FP + FN); None where the class occurs nowhere or is not known."""
        counts = self.counts.get(name)
        if counts is None or not counts.sum():
            return None
        return float(counts[0] / counts.sum())


@dataclass
class FrameMeanIou:
    """Mean of per-frame IoUs; state is a sum and a number of frames per class.

    Attributes:
        sums: Per class name, of the frames' IoUs.
        frames: Per class name, frames with an IoU.
        left_out: Per class name, frames without one, see ``MapProtocol.as_published``.
    """

    sums: dict[str, float] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, ious: Mapping[str, float | None]) -> None:
        """Add one frame's IoUs (``frame_ious``)."""
        for name, iou in ious.items():
            if iou is None:
                self.left_out[name] = self.left_out.get(name, 0) + 1
            else:
                self.sums[name] = self.sums.get(name, 0.0) + iou
                self.frames[name] = self.frames.get(name, 0) + 1

    def merge(self, other: FrameMeanIou) -> None:
        """Add the frames of another part of the dataset."""
        for name, iou in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + iou
        for mine, theirs in ((self.frames, other.frames), (self.left_out, other.left_out)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count

    def mean(self, name: str) -> float | None:
        """Mean over the frames that have an IoU; None without any."""
        return self.sums[name] / self.frames[name] if self.frames.get(name) else None


class MapScore:
    """Both numbers of one method, frame by frame.

    Args:
        protocol: How maps are compared.
    """

    def __init__(self, protocol: MapProtocol | None = None) -> None:
        self.protocol = protocol or MapProtocol()
        self.dataset, self.frame_mean = DatasetIou(), FrameMeanIou()
        self.frames = 0
        self._cells = self.protocol.evaluated()

    def add(self, predicted: Masks, truth: Masks, visible: Mask | None = None) -> None:
        """Add one frame.

        Args:
            predicted: Masks of the output, at least the classes of ``truth``.
            truth: Masks of the labels (``MapProtocol.truth``).
            visible: (rows, columns) bool: only these cells are evaluated; default all in range.

        Raises:
            ValueError: A class is missing, or a mask has another shape than the grid or is not
                boolean.
        """
        _check(predicted, truth, visible, self._cells.shape)
        cells = self._cells if visible is None else self._cells & visible
        self.dataset.add(predicted, truth, cells)
        self.frame_mean.add(frame_ious(predicted, truth, cells, self.protocol.as_published))
        self.frames += 1

    def merge(self, other: MapScore) -> None:
        """Add the frames of another part of the dataset.

        Raises:
            ValueError: The other was made under another protocol.
        """
        if other.protocol != self.protocol:
            raise ValueError('scores of different protocols do not add up')
        self.dataset.merge(other.dataset)
        self.frame_mean.merge(other.frame_mean)
        self.frames += other.frames

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, valid as JSON; what is undefined is None."""
        out: dict[str, Any] = {name: self.dataset.iou(name) for name in MAP_CLASSES}
        out.update({f'{name}_frame_mean': self.frame_mean.mean(name) for name in MAP_CLASSES})
        out['frames'] = self.frames
        out['frames_left_out'] = {n: self.frame_mean.left_out.get(n, 0) for n in MAP_CLASSES}
        out['cells'] = {
            name: dict(zip(('tp', 'fp', 'fn'), counts.tolist(), strict=True))
            for name, counts in self.dataset.counts.items()
        }
        return out


def frame_ious(
    predicted: Masks, truth: Masks, cells: Mask, as_published: bool = False
) -> dict[str, float | None]:
    """IoU per class of one frame; None where it is left out.

    Args:
        predicted: Masks of the output.
        truth: Masks of the labels; only their classes are in the result.
        cells: (rows, columns) bool: evaluated cells.
        as_published: As ``MapProtocol.as_published``.
    """
    if not as_published:
        return {n: _iou(predicted[n][cells], truth[n][cells]) for n in truth}
    out: dict[str, float | None] = {}
    for names in (('vehicle',), ('drivable', 'lane')):
        known = [name for name in names if name in truth]
        if not known:
            continue
        # Class ids as the released script compares them: a lane overwrites the road.
        ids = range(len(known), 0, -1)
        p, t = (np.select([m[n][cells] for n in known[::-1]], ids, 0) for m in (predicted, truth))
        values = [_iou(p == k, t == k) for k in np.union1d(p, t)]
        for place, name in enumerate(known, start=1):
            out[name] = values[place] if place < len(values) else None
    return out


def map_report(protocol: MapProtocol, methods: Mapping[str, MapScore]) -> dict[str, Any]:
    """Return the JSON of ``cooptrack evaluate --map``: the protocol and each method's numbers.

    Raises:
        ValueError: A method was scored under another protocol.
    """
    for name, score in methods.items():
        if score.protocol != protocol:
            raise ValueError(f'{name} was scored under another protocol')
    return {
        'protocol': protocol.as_dict(),
        'methods': {name: score.as_dict() for name, score in methods.items()},
    }


def mean_of_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers of one method trained several times.

    Args:
        runs: Numbers of each training run, as ``MapScore.as_dict``.

    Returns:
        The mean of every number, None where a run has none; ``deviation`` has the standard
        deviation (n - 1) of each, ``runs`` the runs.
    """
    mean: dict[str, float | None] = {}
    deviation: dict[str, float | None] = {}
    for name, value in runs[0].items():
        if isinstance(value, dict):
            continue
        values = [run[name] for run in runs]
        known = None not in values
        mean[name] = float(np.mean(values)) if known else None
        deviation[name] = float(np.std(values, ddof=1)) if known and len(runs) > 1 else None
    return {**mean, 'deviation': deviation, 'runs': [dict(run) for run in runs]}


def _iou(predicted: Mask, truth: Mask) -> float | None:
    union = np.count_nonzero(predicted | truth)
    return float(np.count_nonzero(predicted & truth) / union) if union else None


def _check(predicted: Masks, truth: Masks, visible: Mask | None, shape: tuple[int, ...]) -> None:
    missing = set(truth) - set(predicted)
    unknown = (set(truth) | set(predicted)) - set(MAP_CLASSES)
    if missing or unknown:
        raise ValueError(f'classes missing from the output: {missing}; unknown: {unknown}')
    masks = {**{f'output {k}': v for k, v in predicted.items()}, **truth}
    if visible is not None:
        masks['visible'] = visible
    for name, mask in masks.items():
        if mask.shape != shape or mask.dtype != np.bool_:
            raise ValueError(f'{name} is {mask.dtype} {mask.shape}, bool {shape} is due')
