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

"""One moment of a run, with all that the pictures show of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.perception import (
    AgentPerception,
    CooperativePerception,
    CooperativeResult,
    EgoMoment,
    ModelSet,
    RadioStream,
    StreamOptions,
)
from cooptrack_core.structures import AgentFrame, ObjectLabels, TrackedObjects
from cooptrack_core.v2x.inbox import MessageInbox
from cooptrack_ros.recordings import Recording

TRAIL_SECONDS = 3.0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A moment of the ego.

    Attributes:
        title: Name of the recording.
        index: Number of the ego frame in the recording, from 0.
        time_s: Seconds since its first ego frame.
        frame: The ego's frame.
        remote_frames: Newest frame of each remote agent.
        result: What the ego made of it.
        truth: Labelled objects in the ego's agent frame; None where there are none.
        trails: Per track (k, 3) where it was in the last seconds, oldest first, in the agent
            frame that the ego has now, metres.
    """

    title: str
    index: int
    time_s: float
    frame: AgentFrame
    remote_frames: Mapping[str, AgentFrame]
    result: CooperativeResult
    truth: ObjectLabels | None
    trails: Mapping[int, NDArray[np.float64]]


def take_snapshot(
    recording: Recording,
    models: ModelSet,
    stream_options: StreamOptions,
    *,
    index: int | None = None,
    time_s: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Snapshot:
    """Run a recording up to a moment.

    Args:
        recording: Frames and, where known, ground truth.
        models: Of the single agents and of the ego that fuses.
        stream_options: Settings of the radio.
        index: Number of the ego frame, from 0.
        time_s: Or: the first ego frame at or after so many seconds. Neither: 5 seconds, or the
            last frame of a shorter recording.
        progress: Called with (frames done, frames in all).

    Raises:
        InputError: The recording is unusable or ends before that moment.
    """
    field = '--time' if index is None else '--frame'
    if (index or 0) < 0 or (time_s or 0) < 0:
        raise InputError(
            f'{time_s if index is None else index} is before the first frame',
            field=field,
            remedy='give a number from 0 on',
        )
    wanted = 5.0 if index is None and time_s is None else time_s
    ego = CooperativePerception(models.cooperative, recording.ego_id)
    past: list[TrackedObjects] = []
    number, seconds, reached, first_ns = -1, 0.0, False, 0
    for moment in _moments(recording, models, stream_options, progress):
        number += 1
        first_ns = first_ns if number else moment.frame.stamp_ns
        seconds = (moment.frame.stamp_ns - first_ns) / 1e9
        result = ego.process(moment.frame, moment.messages)
        past.append(result.tracks)
        truth = recording.truth(moment.frame)  # frames must be asked in order
        reached = number == index or (wanted is not None and seconds >= wanted - 1e-3)
        if reached:
            break
    if number < 0:
        raise InputError(
            f'the recording holds no frame of {recording.ego_id}', remedy='choose another one'
        )
    if not reached and not (index is None and time_s is None):
        raise InputError(
            f'the scene ends before {f"{time_s} s" if index is None else f"frame {index}"}',
            field=field,
            remedy=f'give 0 to {f"{seconds:.2f}" if index is None else number}',
        )
    return Snapshot(
        recording.title,
        number,
        seconds,
        moment.frame,
        moment.remote_frames,
        result,
        truth.labels if truth else None,
        _trails(past, moment.frame),
    )


def _moments(
    recording: Recording,
    models: ModelSet,
    options: StreamOptions,
    progress: Callable[[int, int], None] | None,
) -> Iterator[EgoMoment]:
    stream = RadioStream(
        recording.ego_id,
        lambda frame: AgentPerception(
            models.agent(frame.role), frame.agent_id, session_id=options.seed + 1
        ),
        MessageInbox(models.roadside.model_id, recording.ego_id, code=models.cooperative.code),
        options,
    )
    return stream.replay(_counted(recording, progress))


def _counted(
    recording: Recording, progress: Callable[[int, int], None] | None
) -> Iterator[AgentFrame]:
    for done, frame in enumerate(recording.frames()):
        yield frame
        if progress is not None:
            progress(done + 1, recording.total)


def _trails(
    past: Iterable[TrackedObjects], frame: AgentFrame
) -> Mapping[int, NDArray[np.float64]]:
    """Places in the last seconds of the tracks that are there now."""
    recent = [
        tracks
        for tracks in past
        if tracks.sequence_id == frame.sequence_id
        and 0 <= frame.stamp_ns - tracks.stamp_ns <= TRAIL_SECONDS * 1e9
    ]
    places: dict[int, list[NDArray[np.float64]]] = {}
    for tracks in recent:
        ego_SE3_then = frame.world_SE3_agent.inverse() @ tracks.world_SE3_agent
        centers = ego_SE3_then.transform_points(tracks.boxes.centers)
        for track_id, center in zip(tracks.track_ids.tolist(), centers, strict=True):
            places.setdefault(track_id, []).append(center)
    present = recent[-1].track_ids.tolist() if recent else []
    return {track_id: np.stack(places[track_id]) for track_id in present}
