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

"""Held-out numbers while training: average precision of single frames in the agent's frame."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from cooptrack_core.evaluation import (
    GroundTruthFrame,
    PredictionFrame,
    Protocol,
    evaluate_detection,
)
from cooptrack_core.geometry import Boxes3D
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.structures import CLASS_NAMES
from cooptrack_core.training.targets import GroundTruth


class Scorer:
    """Collects frames and gives AP per class; what is no target counts as false positive."""

    def __init__(self, radius: float = 50.0, top: int = 100) -> None:
        """Start empty.

        Args:
            radius: Evaluated radius around the agent, metres.
            top: Highest scored boxes kept per frame.
        """
        self._protocol = Protocol(class_ranges=(radius, radius, radius))
        self._top = top
        self._truth: list[GroundTruthFrame] = []
        self._output: list[PredictionFrame] = []

    def add(self, truth: GroundTruth, codes: Tensor, scores: Tensor) -> None:
        """Add one frame.

        Args:
            truth: Its objects.
            codes: (n, 10) predicted box codes.
            scores: (n, C) class probabilities; a box has the class of its highest.
        """
        frame = str(len(self._truth))
        best, label = scores.detach().float().cpu().max(1)
        kept = best.argsort(descending=True, stable=True)[: self._top]
        self._truth.append(
            GroundTruthFrame(
                frame,
                frame,
                0,
                np.zeros(2),
                box_code.to_boxes(truth.codes.nan_to_num()) if len(truth) else Boxes3D.empty(),
                truth.labels.cpu().numpy(),
                truth.ids.cpu().numpy(),
            )
        )
        self._output.append(
            PredictionFrame(
                frame,
                frame,
                box_code.to_boxes(codes.detach().float().cpu()[kept]),
                label[kept].numpy(),
                best[kept].numpy().astype(np.float64),
                np.arange(len(kept)),
            )
        )

    def result(self, prefix: str = '') -> dict[str, float]:
        """AP per class averaged over distances; of cars also per distance, and the speed error."""
        if not self._truth:
            return {}
        metrics = evaluate_detection(self._truth, self._output, self._protocol)
        result = {f'{prefix}{name}_ap': metrics[name].mean_ap for name in CLASS_NAMES}
        for distance, value in zip(self._protocol.ap_distances, metrics['car'].ap, strict=True):
            result[f'{prefix}car_ap_{distance:g}m'] = value
        result[f'{prefix}car_velocity_error'] = metrics['car'].vel_err
        return result
