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

"""Numbers of a replay: metrics of every method, bytes on the air, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cooptrack_core import __version__
from cooptrack_core.datasets.v2x_seq import Scene
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.evaluation import (
    BytesLog,
    GroundTruthFrame,
    PredictionFrame,
    Protocol,
    Resampled,
    evaluate_method,
    observed_duration,
    resample,
    tally,
)
from cooptrack_core.perception.agent import AgentResult
from cooptrack_core.perception.loading import ModelSet
from cooptrack_core.perception.methods import MethodOutput
from cooptrack_core.perception.stream import StreamOptions
from cooptrack_core.structures import AgentFrame, Role
from cooptrack_core.v2x.bev_extension import BEV, without_bev, without_instances
from cooptrack_core.v2x.codec import Wire, encode_message
from cooptrack_core.v2x.feature_code import FeatureCode
from cooptrack_core.v2x.sizes import message_size_report

DTYPES: tuple[Wire, ...] = ('fp32', 'fp16', 'int8', 'compact')


class Scoreboard:
    """Collects ground truth, outputs and messages frame by frame.

    Args:
        names: The methods.
        protocol: How outputs are compared with the ground truth.
    """

    def __init__(self, names: Sequence[str], protocol: Protocol | None = None) -> None:
        """Start empty; see the class."""
        self.protocol = protocol or Protocol()
        self.ground_truth: list[GroundTruthFrame] = []
        self.detections: dict[str, list[PredictionFrame]] = {name: [] for name in names}
        self.tracks: dict[str, list[PredictionFrame]] = {name: [] for name in names}
        self._bytes = {dtype: BytesLog() for dtype in DTYPES}
        self._maps = BytesLog()
        self._stamps: list[tuple[str, int]] = []

    def add_frame(
        self,
        frame: AgentFrame,
        truth: GroundTruthFrame | None,
        outputs: Mapping[str, MethodOutput],
    ) -> None:
        """Take one ego frame; without ground truth only its time counts."""
        self._stamps.append((frame.sequence_id, frame.stamp_ns))
        if truth is None:
            return
        self.ground_truth.append(truth)
        for name, output in outputs.items():
            self.detections[name].append(PredictionFrame.from_tracked(output.detections))
            self.tracks[name].append(PredictionFrame.from_tracked(output.tracks))

    def add_message(self, result: AgentResult, code: FeatureCode | None = None) -> None:
        """Take one message that was sent, in every form; the compact one needs its code."""
        for dtype, log in self._bytes.items():
            if dtype == 'compact' and code is None:
                continue
            instances = without_bev(result.message)
            report = message_size_report(encode_message(instances, dtype, code))
            log.add(report.total, report.overhead, report.instances)
        if BEV in result.message.extensions:
            data = encode_message(without_instances(result.message), 'fp16')
            self._maps.add(len(data), len(data) - len(result.message.extensions[BEV]), 0)

    @property
    def frames(self) -> int:
        """Number of ego frames, those without ground truth included."""
        return len(self._stamps)

    def extend(self, other: Scoreboard) -> None:
        """Take all that another one of the same methods collected, in its order."""
        self.ground_truth += other.ground_truth
        self._stamps += other._stamps
        for name in self.detections:
            self.detections[name] += other.detections[name]
            self.tracks[name] += other.tracks[name]
        for dtype, log in self._bytes.items():
            log.extend(other._bytes[dtype])
        self._maps.extend(other._maps)

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics per method and the bytes per second, valid as JSON."""
        seconds = observed_duration(self._stamps)
        logs: dict[str, BytesLog] = {
            dtype: log for dtype, log in self._bytes.items() if log.messages or dtype != 'compact'
        }
        if self._maps.messages:
            logs['bev_map'] = self._maps
        traffic = {dtype: log.summary(seconds).as_dict() for dtype, log in logs.items()}
        methods = {
            name: evaluate_method(
                self.ground_truth, self.detections[name], self.tracks[name], self.protocol
            ).as_dict()
            for name in self.detections
            if self.ground_truth
        }
        return {
            'methods': methods,
            'bytes_per_second': {d: summary['bytes_per_second'] for d, summary in traffic.items()},
            'traffic': traffic,
        }

    def per_scene(self) -> dict[str, dict[str, Any]]:
        """Return the car's metrics per method and scene, from the same frames."""
        names = tuple(dict.fromkeys(frame.sequence_id for frame in self.ground_truth))

        def metrics(method: str, scene: str) -> dict[str, Any]:
            truth = [frame for frame in self.ground_truth if frame.sequence_id == scene]
            found, tracks = (
                [frame for frame in frames if frame.sequence_id == scene]
                for frames in (self.detections[method], self.tracks[method])
            )
            content = evaluate_method(truth, found, tracks, self.protocol).as_dict()
            del content['classes']
            return content

        return {m: {scene: metrics(m, scene) for scene in names} for m in self.detections}

    def resampled(self, resamples: int = 1000, seed: int = 0) -> dict[str, Resampled]:
        """Return every method's metrics over drawn scenes, see ``evaluation.bootstrap``."""
        return {
            name: resample(
                tally(self.ground_truth, found, self.tracks[name], self.protocol), resamples, seed
            )
            for name, found in self.detections.items()
            if self.ground_truth
        }


def truth_of(scene: Scene, frame: AgentFrame, paired: frozenset[str]) -> GroundTruthFrame | None:
    """Ground truth of an ego frame: cooperative labels, and who sees what where it is known."""
    if frame.frame_id not in paired:
        return None
    labels = scene.cooperative_labels(frame.frame_id)
    visibility = scene.visibility(frame.frame_id)
    if visibility is None:
        return GroundTruthFrame.from_labels(frame, labels)
    rows = {track_id: row for row, track_id in enumerate(visibility.track_ids.tolist())}
    index = np.array([rows.get(t, -1) for t in labels.track_ids.tolist()], dtype=np.int64)

    def pixels(agent_ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        seen = np.zeros(len(labels), dtype=bool)
        for agent_id in agent_ids:
            column = visibility.visible_pixels.get(agent_id)
            if column is not None and len(column):
                seen |= (index >= 0) & (column[index] > 0)
        return seen

    roadside = [a.agent_id for a in scene.dataset.agents if a.role is Role.ROADSIDE]
    return GroundTruthFrame.from_labels(
        frame, labels, seen_by_ego=pixels([EGO_ID]), seen_by_remote=pixels(roadside)
    )


def protocol_of(
    board: Scoreboard,
    models: ModelSet,
    stream: StreamOptions,
) -> dict[str, Any]:
    """All that the numbers depend on, except the data."""
    return {
        'version': __version__,
        'evaluation': board.protocol.as_dict(),
        **models.as_dict(),
        'radio': asdict(stream),
        'past_the_radio': 'roadside_only takes the newest tracks of roadside units with the right '
        'pose and time, whatever the radio and the disturbance',
    }
