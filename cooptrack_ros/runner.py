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

"""`cooptrack run`: a recording in; run.mcap, report.html and metrics.json out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cooptrack_core import __version__
from cooptrack_core.errors import InputError
from cooptrack_core.files import write_text_atomically
from cooptrack_core.perception import (
    AgentPerception,
    AgentResult,
    EgoMoment,
    MapModel,
    ModelSet,
    RadioEvent,
    RadioStream,
    StreamOptions,
)
from cooptrack_core.perception.methods import METHODS, MethodOutput, make_methods
from cooptrack_core.perception.scoreboard import Scoreboard, protocol_of
from cooptrack_core.structures import AgentFrame
from cooptrack_core.v2x.inbox import MessageInbox
from cooptrack_ros.bags import RunWriter, labels_as_tracks
from cooptrack_ros.map_runs import MapRun
from cooptrack_ros.recordings import Recording, Truth
from cooptrack_ros.report import (
    ReportAgent,
    ReportCamera,
    ReportFrame,
    ReportMap,
    ReportMessage,
    ReportWriter,
)

EGO_ALONE, COOPERATIVE = 'no_fusion', 'cooptrack'


@dataclass(frozen=True, eq=False)
class RunOutputs:
    """What a run left.

    Attributes:
        bag: ``run.mcap``.
        report: ``report.html``.
        metrics: ``metrics.json``.
        result: Its content.
        frames: Number of ego frames.
    """

    bag: Path
    report: Path
    metrics: Path
    result: dict[str, Any]
    frames: int


def run_recording(
    recording: Recording,
    models: ModelSet | None,
    output: Path,
    stream_options: StreamOptions,
    *,
    methods: tuple[str, ...] = METHODS,
    map_model: MapModel | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunOutputs:
    """Run the methods over a recording and write what they gave.

    Each file appears whole or not at all; metrics.json comes last.

    Args:
        recording: Frames and, where known, ground truth.
        models: Of the single agents and of the ego that fuses; None tracks nothing.
        output: Directory; made if missing, files in it are replaced.
        stream_options: Settings of the radio.
        methods: Methods to compare; the two that the pictures show are always among them.
        map_model: Makes semantic maps too.
        provenance: Further entries for the report, for example the command line.
        progress: Called with (frames done, frames in all).

    Raises:
        InputError: The recording is unusable, there is nothing to run, or the output cannot be
            written.
    """
    if models is None and map_model is None:
        raise InputError('there is neither a tracking model nor a map model to run')
    bag, page, numbers = (output / n for n in ('run.mcap', 'report.html', 'metrics.json'))
    count = 0
    with (
        RunWriter(bag) as writer,
        ReportWriter(
            page, title=recording.title, image_width=320 if recording.rings else 480
        ) as report,
    ):
        tracking = maps = None
        if map_model is not None:
            maps = MapRun(map_model, recording.ego_id, stream_options, writer.write_bev)
        if models is not None:
            names = tuple(dict.fromkeys((*methods, EGO_ALONE, COOPERATIVE)))
            tracking = _Tracking(models, names, writer, stream_options)
        stream = RadioStream(
            recording.ego_id,
            None if tracking is None else tracking.make_agent,
            MessageInbox(
                None if models is None else models.roadside.model_id,
                recording.ego_id,
                code=None if models is None else models.cooperative.code,
            ),
            stream_options,
            None if tracking is None else tracking.sent,
            maps=None if maps is None else maps.radio,
        )
        for moment in stream.replay(_written(recording, writer, progress)):
            truth = recording.truth(moment.frame)
            outputs = None if tracking is None else tracking.step(moment, truth)
            made = None
            if maps is not None:
                made = maps.step(moment, recording.map_truth(moment.frame))
                writer.write_map(made.fused, recording.ego_id)
            _write_moment(writer, moment, truth, outputs, recording.ego_id)
            if models is not None:
                writer.write_status(
                    stream.inbox.stats,
                    moment.now_ns,
                    recording.ego_id,
                    models.cooperative.model_id,
                )
            report.add(report_frame(moment, truth, outputs, recording.ego_id, made))
            count += 1
        result = _result(recording, tracking, maps, stream)
        report.close(metrics=result, provenance={**(provenance or {}), **result['protocol']})
    write_text_atomically(numbers, json.dumps(result, indent=2, allow_nan=False) + '\n')
    return RunOutputs(bag, page, numbers, result, count)


class _Tracking:
    """Tracks of a run: the agents, the methods of the ego, and their numbers."""

    def __init__(
        self,
        models: ModelSet,
        names: tuple[str, ...],
        writer: RunWriter,
        options: StreamOptions,
    ) -> None:
        self.models, self.options = models, options
        self.board = Scoreboard(names)
        self._made = make_methods(names, models)
        self._writer = writer

    def make_agent(self, frame: AgentFrame) -> AgentPerception:
        """Perception of a remote agent."""
        model = self.models.agent(frame.role)
        return AgentPerception(model, frame.agent_id, session_id=self.options.seed + 1)

    def sent(self, result: AgentResult) -> None:
        """Count and record a message of a remote agent."""
        self.board.add_message(result, self.models.roadside.code)
        # ROS messages have no compact form; what the ego hears comes over the real radio.
        recorded = 'int8' if self.options.dtype == 'compact' else self.options.dtype
        self._writer.write_message(result.message, recorded)

    def step(self, moment: EgoMoment, truth: Truth | None) -> dict[str, MethodOutput]:
        """Run all methods on a moment."""
        outputs = {name: method(moment) for name, method in self._made.items()}
        self.board.add_frame(moment.frame, truth.evaluated if truth else None, outputs)
        return outputs


def _result(
    recording: Recording, tracking: _Tracking | None, maps: MapRun | None, stream: RadioStream
) -> dict[str, Any]:
    """The content of metrics.json."""
    data = {'recording': recording.title, 'data': recording.protocol}
    result: dict[str, Any] = {'methods': {}}
    if tracking is None:
        radio = {'version': __version__, 'radio': asdict(stream.options)}
        result['protocol'] = radio | data
    else:
        protocol = protocol_of(tracking.board, tracking.models, stream.options)
        stats = stream.inbox.stats
        result = {
            'protocol': protocol | data,
            **tracking.board.as_dict(),
            'inbox': {
                'received': stats.received,
                'accepted': stats.accepted,
                'rejected': stats.rejected,
            },
        }
    if maps is not None:
        result['maps'] = maps.as_dict()
    return result


def _written(
    recording: Recording, writer: RunWriter, progress: Callable[[int, int], None] | None
) -> Iterator[AgentFrame]:
    for done, frame in enumerate(recording.frames()):
        writer.write_frame(frame)
        yield frame
        if progress is not None:
            progress(done + 1, recording.total)


def _write_moment(
    writer: RunWriter,
    moment: EgoMoment,
    truth: Truth | None,
    outputs: Mapping[str, MethodOutput] | None,
    ego_id: str,
) -> None:
    if outputs is not None:
        writer.write_tracks(outputs[COOPERATIVE].tracks, ego_id)
        writer.write_tracks(outputs[EGO_ALONE].tracks, ego_id, layer='ego_only')
    if truth is not None:
        writer.write_ground_truth(labels_as_tracks(truth.labels, moment.frame))


def report_frame(
    moment: EgoMoment,
    truth: Truth | None,
    outputs: Mapping[str, MethodOutput] | None,
    ego_id: str,
    made: ReportMap | None = None,
) -> ReportFrame:
    """Put together what the report shows of one ego frame."""
    frames = {ego_id: moment.frame, **moment.remote_frames}
    return ReportFrame(
        sequence_id=moment.frame.sequence_id,
        frame_id=moment.frame.frame_id,
        stamp_ns=moment.frame.stamp_ns,
        ego_id=ego_id,
        agents=tuple(
            ReportAgent(name, f.role, f.world_SE3_agent, tuple(image.camera for image in f.images))
            for name, f in frames.items()
        ),
        cameras=tuple(
            ReportCamera(name, image) for name, f in frames.items() for image in f.images
        ),
        ground_truth=truth.labels if truth else None,
        hidden=truth.hidden if truth else None,
        ego_only=outputs[EGO_ALONE].tracks if outputs else None,
        cooperative=outputs[COOPERATIVE].tracks if outputs else None,
        messages=(
            *(_message(event) for event in moment.events),
            *(_message(event, 'map') for event in (moment.maps.events if moment.maps else ())),
        ),
        associations=outputs[COOPERATIVE].associations if outputs else (),
        unmatched=outputs[COOPERATIVE].unmatched if outputs else (),
        map=made,
    )


def _message(event: RadioEvent, kind: Literal['instances', 'map'] = 'instances') -> ReportMessage:
    age_ms = float('nan')
    if event.arrival_ns is not None:
        age_ms = (event.arrival_ns - event.sent_ns) / 1e6
    return ReportMessage(event.agent_id, event.size, age_ms, event.instances, event.outcome, kind)
