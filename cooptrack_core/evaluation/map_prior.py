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

"""Room of evaluation: the mean map of a training set, what a map is worth that sees nothing.

Each class is taken where it occurs in at least a certain share of the training frames; the share
is the one with the best IoU over the training set. Classes are thresholded one by one, so that a
cell may be drivable and lane at once: no other thresholds of the mean map do better on the set.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.map_protocol import MapProtocol, Mask, Masks
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import MAP_CLASSES


@dataclass(frozen=True, eq=False)
class MapPrior:
    """A mean map with its thresholds.

    Attributes:
        grid: Its cells.
        shares: Per class (rows, columns) float32, share of the training frames in [0, 1].
        thresholds: Per class, the smallest share that is taken; above 1: the class never is.
        ious: Per class, dataset IoU on the training set; NaN where the class does not occur.
        frames: Number of training frames.
    """

    grid: MapGrid
    shares: Mapping[str, NDArray[np.float32]]
    thresholds: Mapping[str, float]
    ious: Mapping[str, float]
    frames: int

    def predict(self) -> Masks:
        """Return the same masks for every frame."""
        return {name: share >= self.thresholds[name] for name, share in self.shares.items()}

    def save(self, path: str | Path) -> None:
        """Write a compressed .npz file."""
        about = {
            'grid': [self.grid.rows, self.grid.columns, self.grid.cell],
            'thresholds': dict(self.thresholds),
            'ious': {k: None if v != v else v for k, v in self.ious.items()},
            'frames': self.frames,
        }
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        with Path(path).open('wb') as file:
            np.savez_compressed(file, about=text, **self.shares)  # type: ignore[arg-type]

    @staticmethod
    def load(path: str | Path) -> MapPrior:
        """Read a file of ``save``.

        Raises:
            InputError: The file is missing or no prior.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(bytes(file['about']).decode())
                shares = {n: np.asarray(file[n], np.float32) for n in MAP_CLASSES if n in file}
            rows, columns, cell = about['grid']
            grid = MapGrid(int(rows), int(columns), float(cell))
            thresholds = {name: float(about['thresholds'][name]) for name in shares}
            given = {name: about['ious'][name] for name in shares}
            ious = {name: float('nan') if v is None else float(v) for name, v in given.items()}
            if any(s.shape != (grid.rows, grid.columns) for s in shares.values()):
                raise ValueError('maps and grid do not fit')
            return MapPrior(grid, shares, thresholds, ious, int(about['frames']))
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(
                f'this is no mean map ({error})', path=path, remedy='make it from a training set'
            ) from error


class PriorCounter:
    """Counts the frames of a training set.

    Args:
        protocol: The one the prior will be evaluated under.
    """

    def __init__(self, protocol: MapProtocol | None = None) -> None:
        self.protocol = protocol or MapProtocol()
        self.frames = 0
        self._cells = self.protocol.evaluated()
        self._true: dict[str, NDArray[np.int64]] = {}
        self._seen: dict[str, NDArray[np.int64]] = {}

    def add(self, truth: Masks, visible: Mask | None = None) -> None:
        """Add the labels of one frame (``MapProtocol.truth``).

        Args:
            truth: Masks of the labels.
            visible: (rows, columns) bool: other cells are not counted; default all.
        """
        cells = self._cells if visible is None else self._cells & visible
        for name, mask in truth.items():
            none = np.zeros(cells.shape, dtype=np.int64)
            self._true[name] = self._true.get(name, none) + (mask & cells)
            self._seen[name] = self._seen.get(name, none) + cells
        self.frames += 1

    def prior(self) -> MapPrior:
        """Return the mean map of the frames so far, with the best thresholds.

        Raises:
            ValueError: There was no frame.
        """
        if not self.frames:
            raise ValueError('a mean map needs frames')
        shares, thresholds, ious = {}, {}, {}
        for name, true in self._true.items():
            share = (true / np.maximum(self._seen[name], 1)).astype(np.float32)
            shares[name] = share
            thresholds[name], ious[name] = _best_threshold(share, true, self._seen[name])
        return MapPrior(self.protocol.grid, shares, thresholds, ious, self.frames)


def _best_threshold(
    share: NDArray[np.float32], true: NDArray[np.int64], seen: NDArray[np.int64]
) -> tuple[float, float]:
    """Threshold with the best IoU over the counted frames, and that IoU; exact, by sorting.

    Taking a set of cells in all frames gives TP = its true counts, TP + FP = its seen counts, and
    TP + FN = all true counts.
    """
    total = int(true.sum())
    if not total:
        return 2.0, float('nan')
    order = np.argsort(-share, axis=None, kind='stable')
    sorted_share = share.ravel()[order]
    hits, taken = np.cumsum(true.ravel()[order]), np.cumsum(seen.ravel()[order])
    ious = hits / (taken + total - hits)
    # Cells of equal share can only be taken together.
    ends = np.append(sorted_share[1:] != sorted_share[:-1], True)
    best = int(np.argmax(np.where(ends, ious, -1.0)))
    return float(sorted_share[best]), float(ious[best])
