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

"""Ground truth as tensors: the targets of matching and losses (reference sections 2.6, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.geometry import Boxes3D, PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.box_code import CODE_SIZE
from cooptrack_core.structures import CLASS_NAMES, ObjectLabels


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The objects of one frame that supervise it.

    Attributes:
        codes: (n, 10) float32 box codes, metres, agent frame.
        labels: (n,) int64 index into CLASS_NAMES.
        ids: (n,) int64 >= 0, the same object keeps its id inside a sequence.
    """

    codes: Tensor
    labels: Tensor
    ids: Tensor

    def __post_init__(self) -> None:
        """Check that the fields belong together."""
        n = len(self.labels)
        if self.codes.shape != (n, CODE_SIZE) or self.ids.shape != (n,):
            raise ValueError(
                f'{n} labels, but codes {tuple(self.codes.shape)}, ids {tuple(self.ids.shape)}'
            )

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.labels)

    def to(self, device: torch.device | str) -> GroundTruth:
        """Copy to a device."""
        return GroundTruth(self.codes.to(device), self.labels.to(device), self.ids.to(device))

    def select(self, mask: Tensor) -> GroundTruth:
        """Keep the objects under a mask or index tensor."""
        return GroundTruth(self.codes[mask], self.labels[mask], self.ids[mask])

    @staticmethod
    def empty() -> GroundTruth:
        """Return no objects."""
        index = torch.zeros(0, dtype=torch.int64)
        return GroundTruth(torch.zeros(0, CODE_SIZE), index, index.clone())


def encode_boxes(boxes: Boxes3D) -> Tensor:
    """(n, 10) float32 codes; unknown velocities stay NaN and are not supervised."""
    codes = box_code.from_boxes(boxes)
    codes[:, 8:] = torch.from_numpy(boxes.velocities.astype(np.float32))
    return codes


def ground_truth(
    labels: ObjectLabels, extent: PerceptionRange, *, keep_interpolated: bool = True
) -> GroundTruth:
    """Turn the labels of a frame into targets: three classes, inside the BEV range.

    Args:
        labels: Objects in the agent frame.
        extent: The agent's perception range; z is not tested (reference section 4.4).
        keep_interpolated: Whether objects bridged between two sightings supervise.

    Raises:
        ValueError: A track id is negative (the losses use -1 for "no object").
    """
    known = np.array([name in CLASS_NAMES for name in labels.class_names], dtype=bool)
    keep = known & extent.contains_xy(labels.boxes.centers)
    if not keep_interpolated:
        keep &= ~labels.interpolated
    kept = labels.select(keep)
    ids = torch.from_numpy(np.ascontiguousarray(kept.track_ids)).long()
    if len(ids) and int(ids.min()) < 0:
        raise ValueError(f'track ids must not be negative, found {int(ids.min())}')
    classes = torch.tensor([CLASS_NAMES.index(n) for n in kept.class_names], dtype=torch.int64)
    return GroundTruth(encode_boxes(kept.boxes), classes, ids)
