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

"""Room of evaluation: all numbers of one method, and their form in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cooptrack_core.evaluation.detection import DetectionMetrics, evaluate_detection
from cooptrack_core.evaluation.frames import GroundTruthFrame, PredictionFrame
from cooptrack_core.evaluation.hidden import HiddenMetrics, evaluate_hidden
from cooptrack_core.evaluation.protocol import Protocol
from cooptrack_core.evaluation.tracking import TrackingMetrics, evaluate_tracking

_COUNTS = ('tp', 'fp', 'fn', 'ids', 'frag', 'mt', 'ml')


@dataclass(frozen=True)
class MethodMetrics:
    """All numbers of one method.

    Attributes:
        detection: Per class name.
        tracking: Per class name.
        hidden: Cars only the roadside sees; None where visibility is not known.
        frames: Number of evaluated frames.
        protocol: How they were made.
    """

    detection: dict[str, DetectionMetrics]
    tracking: dict[str, TrackingMetrics]
    hidden: HiddenMetrics | None
    frames: int
    protocol: Protocol

    def as_dict(self) -> dict[str, Any]:
        """Return the car's numbers at the top and every class under ``classes``.

        Valid JSON: what is undefined (NaN, see the metrics' classes) is None.
        """
        hidden = {
            'hidden_recall': self.hidden.recall if self.hidden else None,
            'hidden_precision': self.hidden.precision if self.hidden else None,
            'hidden': asdict(self.hidden) if self.hidden else None,
        }
        content = {
            **self._class('car'),
            **hidden,
            'frames': self.frames,
            'classes': {name: self._class(name) for name in self.detection},
        }
        cleaned: dict[str, Any] = _without_nan(content)
        return cleaned

    def _class(self, name: str) -> dict[str, Any]:
        detection, tracking = asdict(self.detection[name]), asdict(self.tracking[name])
        ap = zip(self.protocol.ap_distances, detection.pop('ap'), strict=True)
        found = detection.pop('predicted_boxes')
        boxes = detection.pop('ground_truth_boxes')
        tracked = tracking.pop('predicted_boxes')
        interpolated = tracking.pop('ground_truth_boxes') - boxes
        for key in _COUNTS:
            # Counts are whole numbers unless undefined.
            tracking[key] = int(tracking[key]) if tracking[key] == tracking[key] else None
        return {
            'mean_ap': self.detection[name].mean_ap,
            'ap': {str(distance): value for distance, value in ap},
            **tracking,
            **detection,
            'ground_truth_boxes': boxes,
            'interpolated_boxes': interpolated,
            'detected_boxes': found,
            'tracked_boxes': tracked,
        }


def evaluate_method(
    ground_truth: Sequence[GroundTruthFrame],
    detections: Sequence[PredictionFrame],
    tracks: Sequence[PredictionFrame],
    protocol: Protocol | None = None,
) -> MethodMetrics:
    """Compute every number of one method.

    Args:
        ground_truth: All frames of all scenes.
        detections: The method's detections, one frame for each of them (published CoopTrack: the
            300 best of every frame).
        tracks: Its tracks, likewise; those below ``protocol.output_score`` are dropped here.
        protocol: The vehicle's by default.

    Raises:
        ValueError: Frames do not correspond, hold too many boxes, or a track id comes twice.
    """
    protocol = protocol or Protocol()
    output = [frame.above(protocol.output_score) for frame in tracks]
    return MethodMetrics(
        evaluate_detection(ground_truth, detections, protocol),
        evaluate_tracking(ground_truth, output, protocol),
        evaluate_hidden(ground_truth, output, protocol),
        len(ground_truth),
        protocol,
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and value != value else value
