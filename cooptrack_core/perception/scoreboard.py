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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cooptrack_core import __version__
from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.evaluation import (
    BytesLog,
    GroundTruthFrame,
    PredictionFrame,
    Protocol,
    evaluate_method,
    observed_duration,
)
from cooptrack_core.perception.agent import AgentPerception, AgentResult
from cooptrack_core.perception.loading import ModelSet
from cooptrack_core.perception.methods import MethodOutput, make_methods
from cooptrack_core.perception.replay import kept_frames, scene_frames
from cooptrack_core.perception.stream import RadioStream, StreamOptions
from cooptrack_core.structures import AgentFrame, Role
from cooptrack_core.v2x.codec import Dtype, encode_message
from cooptrack_core.v2x.inbox import MessageInbox
from cooptrack_core.v2x.sizes import message_size_report

DTYPES: tuple[Dtype, ...] = ('fp32', 'fp16', 'int8')


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

    def add_message(self, result: AgentResult) -> None:
        """Take one message that was sent, in every number format."""
        for dtype, log in self._bytes.items():
            report = message_size_report(encode_message(result.message, dtype))
            log.add(report.total, report.overhead, report.instances)

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics per method and the bytes per second, valid as JSON."""
        seconds = observed_duration(self._stamps)
        traffic = {dtype: log.summary(seconds).as_dict() for dtype, log in self._bytes.items()}
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


@dataclass(frozen=True)
class EvaluationOptions:
    """What `evaluate` does.

    Attributes:
        methods: Names, see ``methods.METHODS``.
        stream: Settings of the radio.
        scenes: Only the first so many scenes; None for all.
        rate_hz: Use only so many frames per second; None for all.
    """

    methods: tuple[str, ...]
    stream: StreamOptions
    scenes: int | None = None
    rate_hz: float | None = None


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


def evaluate_dataset(
    dataset: V2XSeqDataset,
    models: ModelSet,
    options: EvaluationOptions,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run the methods over the scenes of a dataset and compare them with the ground truth.

    Returns:
        ``{"protocol", "methods", "bytes_per_second", "traffic", "inbox"}``, valid as JSON.

    Raises:
        InputError: A file of the dataset is unusable, or a method is unknown.
    """
    scenes = dataset.scenes[: options.scenes]
    board = Scoreboard(options.methods)
    kept = [kept_frames(scene, options.rate_hz) for scene in scenes]
    total = sum(agent_id == EGO_ID for frames in kept for agent_id, _ in frames)
    inbox_counts: dict[str, int] = {}
    done = 0
    for scene in scenes:
        methods = make_methods(options.methods, models)
        inbox = MessageInbox(models.roadside.model_id, EGO_ID)
        stream = RadioStream(
            EGO_ID,
            lambda frame: AgentPerception(models.agent(frame.role), frame.agent_id, session_id=1),
            inbox,
            options.stream,
            on_message=board.add_message,
        )
        paired = frozenset(pair.ego_frame_id for pair in scene.pairs)
        for moment in stream.replay(scene_frames(scene, options.rate_hz)):
            outputs = {name: method(moment) for name, method in methods.items()}
            board.add_frame(moment.frame, truth_of(scene, moment.frame, paired), outputs)
            done += 1
            if progress is not None:
                progress(done, total)
        counts = inbox.stats
        for outcome, n in {'received': counts.received, 'accepted': counts.accepted}.items():
            inbox_counts[outcome] = inbox_counts.get(outcome, 0) + n
        for reason, n in counts.rejected.items():
            inbox_counts[reason] = inbox_counts.get(reason, 0) + n
    return {
        'protocol': protocol_of(board, models, options.stream)
        | {'dataset': dataset.protocol, 'scenes': len(scenes), 'rate_hz': options.rate_hz},
        **board.as_dict(),
        'inbox': inbox_counts,
    }


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
    }
