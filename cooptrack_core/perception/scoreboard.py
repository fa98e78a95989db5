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

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cooptrack_core import __version__
from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.errors import InputError
from cooptrack_core.evaluation import (
    BytesLog,
    GroundTruthFrame,
    PredictionFrame,
    Protocol,
    Resampled,
    evaluate_method,
    mean_draws,
    mean_metrics,
    observed_duration,
    resample,
    tally,
)
from cooptrack_core.evaluation.bootstrap import LEVEL, METRICS
from cooptrack_core.perception.agent import AgentPerception, AgentResult
from cooptrack_core.perception.loading import ModelSet
from cooptrack_core.perception.methods import MethodOutput, make_methods, runs_of
from cooptrack_core.perception.replay import kept_frames, scene_frames
from cooptrack_core.perception.stream import RadioStream, StreamOptions
from cooptrack_core.structures import AgentFrame, Role
from cooptrack_core.v2x.bev_extension import BEV, without_bev, without_instances
from cooptrack_core.v2x.codec import Wire, encode_message
from cooptrack_core.v2x.feature_code import FeatureCode
from cooptrack_core.v2x.inbox import MessageInbox
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


@dataclass(frozen=True)
class EvaluationOptions:
    """What `evaluate` does.

    Attributes:
        methods: Names, see ``methods.METHODS``.
        stream: Settings of the radio.
        scenes: Only the first so many scenes; None for all.
        rate_hz: Use only so many frames per second; None for all.
        remotes: Only the first so many remote agents exist; None for all.
        per_scene: Also give the metrics of every scene.
        compare: Give intervals of this method minus every other one.
        intervals: Give an interval for every method.
        timing: Give the time that each method takes per frame of the ego.
    """

    methods: tuple[str, ...]
    stream: StreamOptions
    scenes: int | None = None
    rate_hz: float | None = None
    remotes: int | None = None
    per_scene: bool = False
    compare: str | None = None
    intervals: bool = False
    timing: bool = False


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
        ``{"protocol", "methods", "bytes_per_second", "traffic", "inbox"}``, valid as JSON, and
        ``per_scene``, ``comparison``, ``intervals`` and ``seconds_per_frame`` when asked for.

    Raises:
        InputError: A file of the dataset is unusable, a method or the number of remote agents is
            unknown, or there are too few scenes to compare.
    """
    scenes = dataset.scenes[: options.scenes]
    heard = _chosen_agents(dataset, options.remotes)
    _check_comparison(options, len(scenes))
    if 'bev_fusion' in options.methods and options.stream.dtype == 'compact':
        raise InputError(
            'compact messages carry no BEV map, bev_fusion would hear nothing',
            field='--dtype',
            remedy='choose fp32, fp16 or int8, or leave bev_fusion out',
        )
    runs = {name: runs_of(name, models) for name in options.methods}
    every_run = tuple(run for names in runs.values() for run in names)
    board = Scoreboard(every_run)
    kept = [kept_frames(scene, options.rate_hz) for scene in scenes]
    total = sum(agent_id == EGO_ID for frames in kept for agent_id, _ in frames)
    inbox_counts: dict[str, int] = {}
    seconds = dict.fromkeys(every_run, 0.0)
    done = 0
    for scene in scenes:
        methods = make_methods(every_run, models)
        inbox = MessageInbox(
            models.roadside.model_id,
            EGO_ID,
            options.stream.inbox_settings(),
            models.cooperative.code,
        )
        stream = RadioStream(
            EGO_ID,
            lambda frame: AgentPerception(
                models.agent(frame.role),
                frame.agent_id,
                session_id=1,
                share_bev='bev_fusion' in options.methods,
            ),
            inbox,
            options.stream,
            on_message=lambda result: board.add_message(result, models.roadside.code),
        )
        paired = frozenset(pair.ego_frame_id for pair in scene.pairs)
        for moment in stream.replay(_frames_of(scene, options.rate_hz, heard)):
            outputs = {}
            for name, method in methods.items():
                begin = time.perf_counter()
                outputs[name] = method(moment)
                seconds[name] += time.perf_counter() - begin
            board.add_frame(moment.frame, truth_of(scene, moment.frame, paired), outputs)
            done += 1
            if progress is not None:
                progress(done, total)
        counts = inbox.stats
        for outcome, n in {'received': counts.received, 'accepted': counts.accepted}.items():
            inbox_counts[outcome] = inbox_counts.get(outcome, 0) + n
        for reason, n in counts.rejected.items():
            inbox_counts[reason] = inbox_counts.get(reason, 0) + n
    read = {
        'dataset': dataset.protocol,
        'scenes': len(scenes),
        'rate_hz': options.rate_hz,
        'remote_agents': sorted(heard - {EGO_ID}),
    }
    result = {
        'protocol': protocol_of(board, models, options.stream) | read,
        **board.as_dict(),
        'inbox': inbox_counts,
    }
    found = result['methods']
    result['methods'] = {
        name: mean_metrics([found[run] for run in names]) for name, names in runs.items() if found
    }
    if options.per_scene:
        each = board.per_scene()
        result['per_scene'] = {
            name: {s: mean_metrics([each[run][s] for run in names]) for s in each[name]}
            for name, names in runs.items()
        }
    if options.timing:
        result['seconds_per_frame'] = {name: seconds[name] / max(done, 1) for name in runs}
    return result | _uncertainty(board, options, runs)


def _chosen_agents(dataset: V2XSeqDataset, remotes: int | None) -> frozenset[str]:
    """Ids of the ego and of the first ``remotes`` remote agents, in the dataset's order."""
    others = [agent.agent_id for agent in dataset.agents if agent.agent_id != EGO_ID]
    if remotes is not None and not 0 <= remotes <= len(others):
        raise InputError(
            f'{remotes} remote agents were asked for, there are {len(others)}: {others}',
            path=dataset.root,
            field='--remotes',
            remedy=f'give a number from 0 to {len(others)}',
        )
    return frozenset([EGO_ID, *others[:remotes]])


def _frames_of(scene: Scene, rate_hz: float | None, heard: frozenset[str]) -> Iterator[AgentFrame]:
    return (frame for frame in scene_frames(scene, rate_hz) if frame.agent_id in heard)


def _check_comparison(options: EvaluationOptions, scenes: int) -> None:
    """Say before the long work what cannot be compared."""
    if options.compare is None:
        return
    if options.compare not in options.methods:
        raise InputError(
            f"'{options.compare}' is not among the methods that are run",
            field='--compare',
            remedy=f'choose one of {list(options.methods)}',
        )
    if scenes < 2:
        raise InputError(
            f'{scenes} scene tells nothing about the spread between scenes',
            field='--compare',
            remedy='evaluate at least two scenes; ten or more for an interval to rely on',
        )


def _uncertainty(
    board: Scoreboard, options: EvaluationOptions, runs: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Intervals over scenes, of methods and of differences."""
    if not (options.intervals or options.compare) or not board.ground_truth:
        return {}
    each = board.resampled(seed=options.stream.seed)
    if not each:
        return {}
    drawn = {name: mean_draws([each[run] for run in names]) for name, names in runs.items()}
    how = {
        'how': 'paired bootstrap over scenes, metrics recomputed from the pooled frames of each '
        'draw; percentiles',
        'level': LEVEL,
        'scenes': len(next(iter(drawn.values())).key[0]),
        'resamples': next(iter(drawn.values())).key[1],
        'seed': options.stream.seed,
    }
    out: dict[str, Any] = {}
    if options.intervals:
        own = {n: {m: d.interval(m).as_dict() for m in METRICS} for n, d in drawn.items()}
        out['intervals'] = {**how, 'methods': own}
    if options.compare:
        reference = drawn[options.compare]
        minus = {
            name: {m: reference.minus(other, m).as_dict() for m in METRICS}
            for name, other in drawn.items()
            if name != options.compare
        }
        out['comparison'] = {**how, 'method': options.compare, 'minus': minus}
    return out


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
