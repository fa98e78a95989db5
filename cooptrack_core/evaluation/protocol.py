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

"""Room of evaluation: every choice that a number depends on, printed with every number."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cooptrack_core.structures import CLASS_NAMES


@dataclass(frozen=True)
class Protocol:
    """How ground truth and output are compared; the defaults are those of published CoopTrack.

    Detection follows nuScenes ``detection_cvpr_2019``, tracking ``tracking_nips_2019``, as
    nuscenes-devkit 1.2.0 computes them (CoopTrack, supplement B.3; only the car is published).

    Attributes:
        name: Whose view; ``vehicle`` or ``roadside``.
        class_ranges: Evaluated radius around the ego body origin per entry of CLASS_NAMES, m.
            Boxes at this distance or farther (x-y) are dropped from ground truth and output.
        ap_distances: Centre distances below which a detection is right, m.
        tp_distance: The one of them at which true-positive errors are measured, m.
        min_recall: Recalls up to here are left out of AP, of the errors and of AMOTA.
        min_precision: Precision below this counts nothing, above it is rescaled to 0..1.
        max_boxes_per_frame: More detections or tracks than this in one frame are an error.
        track_distance: Centre distance below which a track may match an object, m.
        recall_thresholds: Number of recall thresholds from ``min_recall`` to 1 in AMOTA, AMOTP.
        worst_amotp: AMOTP contribution of a recall that is not reached, m; AMOTA's is 0.
        fill_gaps: Bridge gaps of ground-truth and output tracks linearly before matching.
        reversed_gap_weights: nuscenes-devkit 1.2.0 weights the two ends of a gap the wrong way
            round (the nearer end counts less). True reproduces it, as published numbers do;
            False interpolates correctly. Gaps of one frame are the same in both.
        sample_period: Seconds per frame in TID and LGD. The devkit always takes 0.5, whatever
            the data's rate; give the true period to read them in seconds.
        output_score: Tracks below this score are no output: neither AMOTA nor the hidden
            figures see them (applied by ``evaluate_method``).
        hidden_distance: Centre distance up to which an output track is right about a car, m.
        excuse_distance: Distance up to which a wrong track is laid to a car that the ego sees
            and that no track matches; see ``hidden.evaluate_hidden``, m.
    """

    name: str = 'vehicle'
    class_ranges: tuple[float, float, float] = (50.0, 40.0, 40.0)
    ap_distances: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    tp_distance: float = 2.0
    min_recall: float = 0.1
    min_precision: float = 0.1
    max_boxes_per_frame: int = 500
    track_distance: float = 2.0
    recall_thresholds: int = 40
    worst_amotp: float = 2.0
    fill_gaps: bool = True
    reversed_gap_weights: bool = True
    sample_period: float = 0.5
    output_score: float = 0.3
    hidden_distance: float = 2.0
    excuse_distance: float = 4.0

    def __post_init__(self) -> None:
        """Check the values."""
        if len(self.class_ranges) != len(CLASS_NAMES) or min(self.class_ranges) <= 0:
            raise ValueError(f'class_ranges needs one radius > 0 for each of {CLASS_NAMES}')
        if not self.ap_distances or min(self.ap_distances) <= 0:
            raise ValueError('ap_distances needs at least one distance > 0')
        if self.tp_distance not in self.ap_distances:
            raise ValueError(f'tp_distance must be one of ap_distances {self.ap_distances}')
        for name in ('min_recall', 'min_precision'):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f'{name} must be in [0, 1)')
        for name in ('max_boxes_per_frame', 'recall_thresholds', 'track_distance',
                     'sample_period', 'hidden_distance'):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f'{name} must be > 0')

    @staticmethod
    def vehicle() -> Protocol:
        """Return the protocol of published CoopTrack numbers: 50/40/40 m around the ego."""
        return Protocol()

    @staticmethod
    def roadside() -> Protocol:
        """Return the protocol for a roadside unit on its own: 100/80/80 m around it."""
        return Protocol(name='roadside', class_ranges=(100.0, 80.0, 80.0))

    def as_dict(self) -> dict[str, Any]:
        """Return all choices, valid as JSON."""
        content = asdict(self)
        content['class_ranges'] = dict(zip(CLASS_NAMES, self.class_ranges, strict=True))
        content['ap_distances'] = list(self.ap_distances)
        content['detection'] = 'nuScenes detection_cvpr_2019; mean_ap = car AP over ap_distances'
        content['tracking'] = 'nuScenes tracking_nips_2019 as nuscenes-devkit 1.2.0 computes it'
        content['hidden'] = (
            'cars without an ego camera pixel that a roadside unit sees, inside the car range; '
            'precision = hidden cars matched / (those + output tracks that match no car and are '
            'not laid to a missed car in view of the ego within excuse_distance)'
        )
        return content
