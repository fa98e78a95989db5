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

"""The methods over the scenes of a dataset, compared with the ground truth."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.layout import EGO_ID
from cooptrack_core.errors import InputError
from cooptrack_core.evaluation import Protocol, mean_draws, mean_metrics
from cooptrack_core.evaluation.bootstrap import LEVEL, METRICS
from cooptrack_core.perception.agent import AgentPerception
from cooptrack_core.perception.loading import ModelSet
from cooptrack_core.perception.methods import make_methods, runs_of
from cooptrack_core.perception.replay import kept_frames, scene_frames
from cooptrack_core.perception.scoreboard import Scoreboard, protocol_of, truth_of
from cooptrack_core.perception.stream import RadioStream, StreamOptions
from cooptrack_core.processes import spread
from cooptrack_core.structures import AgentFrame
from cooptrack_core.v2x.inbox import MessageInbox


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
        timing: Give the time that each method takes per frame of the ego; workers slow each
            other down.
        workers: Processes that share the scenes, each with one thread.
        protocol: How outputs are compared with the ground truth.
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
    workers: int = 1
    protocol: Protocol = field(default_factory=Protocol)


@dataclass(frozen=True, eq=False)
class _SceneScore:
    """What one scene gives.

    Attributes:
        scene: Its number.
        board: Ground truth, outputs and messages.
        inbox: What became of the messages.
        seconds: Time that each method took.
        warnings: What the dataset said meanwhile, of a worker; here it was heard at once.
    """

    scene: int
    board: Scoreboard
    inbox: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def evaluate_dataset(
    dataset: V2XSeqDataset,
    models: ModelSet,
    options: EvaluationOptions,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run the methods over the scenes of a dataset and compare them with the ground truth.

    With several workers ``progress`` moves scene by scene. Sums of floating-point numbers depend
    on the number of threads, so figures may differ from those of a single worker in their last
    digits; the number of workers beyond one changes nothing.

    Returns:
        ``{"protocol", "methods", "bytes_per_second", "traffic", "inbox"}``, valid as JSON, and
        ``per_scene``, ``comparison``, ``intervals`` and ``seconds_per_frame`` when asked for.

    Raises:
        InputError: A file of the dataset is unusable, a method or the number of remote agents is
            unknown, there are too few scenes to compare, or workers cannot be used.
    """
    _check(options, models, len(dataset.scenes[: options.scenes]))
    heard = _chosen_agents(dataset, options.remotes)
    runs = {name: runs_of(name, models) for name in options.methods}
    every_run = tuple(run for names in runs.values() for run in names)
    board = Scoreboard(every_run, options.protocol)
    inbox, seconds = Counter[str](), dict.fromkeys(every_run, 0.0)
    scores = _scores(dataset, models, options, every_run, heard, progress)
    for score in sorted(scores, key=lambda score: score.scene):
        board.extend(score.board)
        inbox.update(score.inbox)
        for name, spent in score.seconds.items():
            seconds[name] += spent
    read = {
        'dataset': dataset.protocol,
        'scenes': len(dataset.scenes[: options.scenes]),
        'rate_hz': options.rate_hz,
        'remote_agents': sorted(heard - {EGO_ID}),
    }
    result = {
        'protocol': protocol_of(board, models, options.stream) | read,
        **board.as_dict(),
        'inbox': dict(inbox),
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
        frames = max(board.frames, 1)
        result['seconds_per_frame'] = {name: seconds[name] / frames for name in runs}
    return result | _uncertainty(board, options, runs)


def _scores(
    dataset: V2XSeqDataset,
    models: ModelSet,
    options: EvaluationOptions,
    runs: tuple[str, ...],
    heard: frozenset[str],
    progress: Callable[[int, int], None] | None,
) -> Iterator[_SceneScore]:
    """Every scene's part, in any order, here or in worker processes."""
    scenes = dataset.scenes[: options.scenes]
    kept = [kept_frames(scene, options.rate_hz) for scene in scenes]
    total = sum(agent_id == EGO_ID for frames in kept for agent_id, _ in frames)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    work = _Work(dataset, models, options, runs, heard)
    workers = min(options.workers, len(scenes))
    if workers <= 1:
        for index in range(len(scenes)):
            yield work.score(index, step)
        return
    for score in spread(
        _score_here, range(len(scenes)), workers, prepare=_keep, arguments=(work,)
    ):  # fmt: skip
        for text in score.warnings:
            dataset.warn(text)
        for _ in range(score.board.frames):
            step()
        yield score


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for all scenes."""

    dataset: V2XSeqDataset
    models: ModelSet
    options: EvaluationOptions
    runs: tuple[str, ...]
    heard: frozenset[str]

    def score(self, index: int, step: Callable[[], None] | None = None) -> _SceneScore:
        """Run all methods over one scene; ``step`` is called after each frame of the ego."""
        models, options, scene = self.models, self.options, self.dataset.scenes[index]
        score = _SceneScore(
            index, Scoreboard(self.runs, options.protocol), seconds=dict.fromkeys(self.runs, 0.0)
        )
        methods = make_methods(self.runs, models)
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
            on_message=lambda result: score.board.add_message(result, models.roadside.code),
        )
        paired = frozenset(pair.ego_frame_id for pair in scene.pairs)
        for moment in stream.replay(_frames_of(scene, options.rate_hz, self.heard)):
            outputs = {}
            for name, method in methods.items():
                begin = time.perf_counter()
                outputs[name] = method(moment)
                score.seconds[name] += time.perf_counter() - begin
            truth = truth_of(scene, moment.frame, paired)
            score.board.add_frame(moment.frame, truth, outputs)
            if step is not None:
                step()
        counts = inbox.stats
        score.inbox.update(
            {'received': counts.received, 'accepted': counts.accepted, **counts.rejected}
        )
        return score


_work: _Work  # of a worker process, from _keep


def _keep(work: _Work) -> None:
    """Begin as a worker."""
    global _work
    torch.set_num_threads(1)
    _work = work


def _score_here(index: int) -> _SceneScore:
    heard = len(_work.dataset.warnings)
    score = _work.score(index)
    score.warnings.extend(_work.dataset.warnings[heard:])
    return score


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


def _check(options: EvaluationOptions, models: ModelSet, scenes: int) -> None:
    """Say before the long work what cannot be done."""
    if options.workers < 1:
        raise InputError(
            f'{options.workers} workers can do nothing', field='--workers', remedy='give 1 or more'
        )
    if options.workers > 1 and models.cooperative.backend != 'torch':
        raise InputError(
            f'the backend {models.cooperative.backend} does not cross to other processes',
            field='--workers',
            remedy='leave it out, or use --backend torch',
        )
    if options.workers > 1 and models.cooperative.device.type != 'cpu':
        raise InputError(
            'one GPU is not shared among processes',
            field='--workers',
            remedy='leave it out, or use --device cpu',
        )
    if 'bev_fusion' in options.methods and options.stream.dtype == 'compact':
        raise InputError(
            'compact messages carry no BEV map, bev_fusion would hear nothing',
            field='--dtype',
            remedy='choose fp32, fp16 or int8, or leave bev_fusion out',
        )
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
