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

"""Room of evaluation: AP, AMOTA and their kin, hidden cars, bytes per second.

Start at ``evaluate_method``; ``Protocol`` says under which choices, ``frames`` what goes in.
"""

from cooptrack_core.evaluation.bootstrap import Interval, MethodTally, Resampled, resample, tally
from cooptrack_core.evaluation.bytes_log import BytesLog, BytesSummary, observed_duration
from cooptrack_core.evaluation.detection import DetectionMetrics, evaluate_detection
from cooptrack_core.evaluation.frames import GroundTruthFrame, PredictionFrame
from cooptrack_core.evaluation.hidden import HiddenMetrics, evaluate_hidden
from cooptrack_core.evaluation.method import MethodMetrics, evaluate_method
from cooptrack_core.evaluation.protocol import Protocol
from cooptrack_core.evaluation.runs import mean_draws, mean_metrics
from cooptrack_core.evaluation.tracking import TrackingMetrics, evaluate_tracking

__all__ = [
    'BytesLog',
    'BytesSummary',
    'DetectionMetrics',
    'GroundTruthFrame',
    'HiddenMetrics',
    'Interval',
    'MethodMetrics',
    'MethodTally',
    'PredictionFrame',
    'Protocol',
    'Resampled',
    'TrackingMetrics',
    'evaluate_detection',
    'evaluate_hidden',
    'evaluate_method',
    'evaluate_tracking',
    'mean_draws',
    'mean_metrics',
    'observed_duration',
    'resample',
    'tally',
]
