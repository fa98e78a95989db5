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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooptrack_core.files import write_text_atomically
from cooptrack_core.perception import (
    AgentPerception,
    AgentResult,
    EgoMoment,
    ModelSet,
    RadioStream,
    StreamOptions,
)
from cooptrack_core.perception.methods import METHODS, MethodOutput, make_methods
from cooptrack_core.perception.scoreboard import Scoreboard, protocol_of
from cooptrack_core.structures import AgentFrame
from cooptrack_core.v2x.inbox import MessageInbox
from cooptrack_ros.bags import RunWriter, labels_as_tracks
from cooptrack_ros.recordings import Recording, Truth
from cooptrack_ros.report import (
    ReportAgent,
    ReportCamera,
    ReportFrame,
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
    models: ModelSet,
    output: Path,
    stream_options: StreamOptions,
    *,
    methods: tuple[str, ...] = METHODS,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunOutputs:
    """Run the methods over a recording and write what they gave.

    Each file appears whole or not at all; metrics.json comes last.

    Args:
        recording: Frames and, where known, ground truth.
        models: Of the single agents and of the ego that fuses.
        output: Directory; made if missing, files in it are replaced.
        stream_options: Settings of the radio.
        methods: Methods to compare; the two that the pictures show are always among them.
        provenance: Further entries for the report, for example the command line.
        progress: Called with (frames done, frames in all).

    Raises:
        InputError: The recording is unusable or the output cannot be written.
    """
    names = tuple(dict.fromkeys((*methods, EGO_ALONE, COOPERATIVE)))
    made = make_methods(names, models)
    board = Scoreboard(names)
    inbox = MessageInbox(models.roadside.model_id, recording.ego_id, code=models.cooperative.code)
    bag, page, numbers = (output / n for n in ('run.mcap', 'report.html', 'metrics.json'))
    count = 0
    with RunWriter(bag) as writer, ReportWriter(page, title=recording.title) as report:

        def sent(result: AgentResult) -> None:
            board.add_message(result, models.roadside.code)
            # ROS messages have no compact form; what the ego hears comes over the real radio.
            recorded = 'int8' if stream_options.dtype == 'compact' else stream_options.dtype
            writer.write_message(result.message, recorded)

        stream = RadioStream(
            recording.ego_id,
            lambda frame: AgentPerception(
                models.agent(frame.role), frame.agent_id, session_id=stream_options.seed + 1
            ),
            inbox,
            stream_options,
            sent,
        )
        for moment in stream.replay(_written(recording, writer, progress)):
            truth = recording.truth(moment.frame)
            outputs = {name: method(moment) for name, method in made.items()}
            board.add_frame(moment.frame, truth.evaluated if truth else None, outputs)
            _write_moment(writer, moment, truth, outputs, recording.ego_id)
            writer.write_status(
                inbox.stats, moment.now_ns, recording.ego_id, models.cooperative.model_id
            )
            report.add(report_frame(moment, truth, outputs, recording.ego_id))
            count += 1
        protocol = protocol_of(board, models, stream_options)
        result = {
            'protocol': protocol | {'recording': recording.title, 'data': recording.protocol},
            **board.as_dict(),
            'inbox': {
                'received': inbox.stats.received,
                'accepted': inbox.stats.accepted,
                'rejected': inbox.stats.rejected,
            },
        }
        report.close(metrics=result, provenance={**(provenance or {}), **result['protocol']})
    write_text_atomically(numbers, json.dumps(result, indent=2, allow_nan=False) + '\n')
    return RunOutputs(bag, page, numbers, result, count)


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
    outputs: Mapping[str, MethodOutput],
    ego_id: str,
) -> None:
    writer.write_tracks(outputs[COOPERATIVE].tracks, ego_id)
    writer.write_tracks(outputs[EGO_ALONE].tracks, ego_id, layer='ego_only')
    if truth is not None:
        writer.write_ground_truth(labels_as_tracks(truth.labels, moment.frame))


def report_frame(
    moment: EgoMoment,
    truth: Truth | None,
    outputs: Mapping[str, MethodOutput],
    ego_id: str,
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
        ego_only=outputs[EGO_ALONE].tracks,
        cooperative=outputs[COOPERATIVE].tracks,
        messages=tuple(
            ReportMessage(
                event.agent_id,
                event.size,
                float('nan')
                if event.arrival_ns is None
                else (event.arrival_ns - event.sent_ns) / 1e6,
                event.instances,
                event.outcome,
            )
            for event in moment.events
        ),
        associations=outputs[COOPERATIVE].associations,
        unmatched=outputs[COOPERATIVE].unmatched,
    )
