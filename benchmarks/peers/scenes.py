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

"""Seeded traffic for comparing evaluations: ties, gaps, swaps, empty frames and other corners.

Used by the peer comparison and by the tests; numpy's legacy generator never changes its stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cooptrack_core.evaluation import GroundTruthFrame, PredictionFrame
from cooptrack_core.geometry import Boxes3D


@dataclass(frozen=True)
class Recipe:
    """What happens in the scenes of a case.

    Attributes:
        scenes: Number of scenes.
        frames: Frames per scene, 10 Hz.
        objects: Objects per scene (not all there all the time).
        noise: Standard deviation of output centres, m.
        detect: Share of objects found per frame.
        false_tracks: Wrong tracks per scene.
        swap: Chance per frame that two tracks exchange their ids.
        rename: Chance per frame and track of a new id.
        gap: Chance per frame and object that its label is missing.
        class_flip: Chance per box of another class inside a track.
        empty: Share of frames with neither labels nor output.
        grid: Positions are rounded to this, m (exact ties of distance); 0 leaves them.
        score_steps: Scores are rounded to 1 / this (ties of score); 0 leaves them.
        duplicates: Output boxes that stand exactly on another one, per frame.
        origin: World coordinate around which everything happens, m.
        spread: Half width of the place, m.
        random_stamps: Frames come at irregular times.
    """

    scenes: int = 2
    frames: int = 20
    objects: int = 10
    noise: float = 0.5
    detect: float = 0.85
    false_tracks: int = 3
    swap: float = 0.1
    rename: float = 0.01
    gap: float = 0.1
    class_flip: float = 0.0
    empty: float = 0.0
    grid: float = 0.0
    score_steps: int = 0
    duplicates: int = 0
    origin: float = 0.0
    spread: float = 45.0
    random_stamps: bool = False


@dataclass(frozen=True)
class Case:
    """Ground truth and output of a named case."""

    name: str
    ground_truth: list[GroundTruthFrame]
    detections: list[PredictionFrame]
    tracks: list[PredictionFrame]


RECIPES = {
    'plain': Recipe(),
    'several scenes, many gaps': Recipe(scenes=3, gap=0.35, detect=0.5),
    'tied scores': Recipe(score_steps=4),
    'tied distances': Recipe(grid=1.0, noise=1.0, spread=8.0),
    'tied scores and distances, duplicates': Recipe(
        grid=0.5, noise=0.7, score_steps=3, duplicates=3, spread=12.0
    ),
    'crowd': Recipe(objects=30, spread=10.0, noise=1.0, swap=0.3, rename=0.05),
    'swaps': Recipe(swap=0.8, rename=0.1, spread=15.0),
    'empty frames': Recipe(empty=0.4),
    'class changes inside tracks': Recipe(class_flip=0.2),
    'leaving the range': Recipe(spread=80.0, objects=20),
    'weak output': Recipe(detect=0.08, false_tracks=6),
    'recall below 0.1': Recipe(detect=0.03, noise=0.3, objects=12),
    'irregular times': Recipe(random_stamps=True, gap=0.4, detect=0.5),
    'large world coordinates': Recipe(origin=4321.0, gap=0.3),
    'perfect': Recipe(
        objects=30,
        noise=0.0,
        detect=1.0,
        false_tracks=0,
        swap=0.0,
        rename=0.0,
        gap=0.0,
        grid=1 / 64,
    ),
    'one object': Recipe(scenes=1, objects=1, frames=5, false_tracks=0),
    'benchmark': Recipe(scenes=10, frames=100, objects=30, gap=0.02, swap=0.02, rename=0.002),
}
SPECIAL = ('no output', 'no ground truth', 'nothing at all', 'one class without ground truth')


def make_case(name: str, seed: int = 0) -> Case:
    """Make one of RECIPES or SPECIAL; the same seed gives the same case everywhere."""
    recipe = RECIPES.get(name, RECIPES['plain'])
    random = np.random.RandomState(seed)
    truth: list[GroundTruthFrame] = []
    detections: list[PredictionFrame] = []
    tracks: list[PredictionFrame] = []
    for scene in range(recipe.scenes):
        for a, d, t in _scene(recipe, f's{scene}', random):
            truth.append(a)
            detections.append(d)
            tracks.append(t)
    if name in ('no output', 'nothing at all'):
        detections, tracks = ([_cut(f, f.labels < 0) for f in x] for x in (detections, tracks))
    if name in ('no ground truth', 'nothing at all'):
        truth = [_cut(f, f.labels < 0) for f in truth]
    if name == 'one class without ground truth':
        truth = [_cut(f, f.labels != 1) for f in truth]
    return Case(name, truth, detections, tracks)


def _cut(frame, keep):
    """Keep boxes of a ground-truth or prediction frame."""
    columns = ['labels', 'track_ids'] + (['scores'] if isinstance(frame, PredictionFrame) else [])
    cut = {column: getattr(frame, column)[keep] for column in columns}
    return replace(frame, boxes=frame.boxes[keep], **cut)


def _scene(recipe: Recipe, name: str, random: np.random.RandomState):
    n, total = recipe.objects, recipe.objects + recipe.false_tracks
    start = random.uniform(-recipe.spread, recipe.spread, (total, 2))
    speed = random.uniform(-8, 8, (total, 2))
    sizes = random.uniform([3.5, 1.6, 1.4], [5.0, 2.0, 1.8], (total, 3))
    yaws = random.uniform(-np.pi, np.pi, total)
    labels = random.choice(3, total, p=[0.6, 0.2, 0.2])
    born = random.randint(0, max(1, recipe.frames // 2), total)
    dies = born + random.randint(recipe.frames // 3 + 1, recipe.frames + 1, total)
    quality = random.uniform(0.1, 0.95, total)
    ids = np.arange(total)
    next_id = total
    stamp = 1_600_000_000_000_000_000
    for k in range(recipe.frames):
        stamp += int(random.randint(40, 300)) * 1_000_000 if recipe.random_stamps else 100_000_000
        ego = recipe.origin + np.array([0.5 * k, 0.1 * k])
        centers = recipe.origin + start + 0.1 * k * speed
        if recipe.grid:
            centers = np.round(centers / recipe.grid) * recipe.grid
        there = (born <= k) & (k < dies)
        if random.uniform() < recipe.swap:
            a, b = random.choice(total, 2, replace=False) if total > 1 else (0, 0)
            ids[[a, b]] = ids[[b, a]]
        for i in np.flatnonzero(random.uniform(size=total) < recipe.rename):
            ids[i], next_id = next_id, next_id + 1
        is_empty = random.uniform() < recipe.empty
        labelled = np.flatnonzero(
            there[:n] & (random.uniform(size=n) >= recipe.gap) & (not is_empty)
        )
        found = np.flatnonzero(there & (random.uniform(size=total) < recipe.detect))
        if is_empty:
            found = found[:0]
        noisy = centers + random.normal(size=(total, 2)) * recipe.noise
        if recipe.grid:
            noisy = np.round(noisy / recipe.grid) * recipe.grid
        flipped = np.where(random.uniform(size=total) < recipe.class_flip, 0, labels)
        scores = np.clip(quality + 0.05 * random.normal(size=total), 0.01, 1.0)
        measured = speed + random.normal(size=(total, 2)) * recipe.noise
        measured[random.uniform(size=total) < 0.1] = np.nan
        twin = found[: recipe.duplicates]
        chosen = np.concatenate([found, twin])
        if recipe.noise:
            random.shuffle(chosen)
        first = np.unique(chosen, return_index=True)[1]
        chosen_ids = ids[chosen] + 1000  # of twins, one takes another id
        chosen_ids[np.setdiff1d(np.arange(len(chosen)), first)] += 100_000
        chosen_scores = scores[chosen]
        if recipe.score_steps:
            chosen_scores = np.ceil(chosen_scores * recipe.score_steps) / recipe.score_steps
        frame_id = f'{k:06d}'
        truth = GroundTruthFrame(
            name, frame_id, stamp, ego,
            _boxes(centers[labelled], sizes[labelled], yaws[labelled], speed[labelled]),
            (flipped if recipe.class_flip else labels)[labelled], labelled.astype(np.int64),
        )  # fmt: skip
        grown = (
            sizes[chosen] * random.uniform(0.9, 1.1, (len(chosen), 3))
            if recipe.noise
            else sizes[chosen]
        )
        turned = yaws[chosen] + random.normal(size=len(chosen)) * 0.3 * recipe.noise
        tracks = PredictionFrame(
            name, frame_id, _boxes(noisy[chosen], grown, turned, measured[chosen]),
            flipped[chosen], chosen_scores, chosen_ids,
        )  # fmt: skip
        extra = 0 if is_empty or recipe.noise == 0 else random.randint(0, 6)
        junk = PredictionFrame(
            name, frame_id,
            _boxes(
                recipe.origin + random.uniform(-recipe.spread, recipe.spread, (extra, 2)),
                np.full((extra, 3), 2.0), np.zeros(extra), np.zeros((extra, 2)),
            ),
            random.randint(0, 3, extra), random.uniform(0.01, 0.4, extra),
            np.zeros(extra, np.int64),
        )  # fmt: skip
        yield truth, _join(tracks, junk), tracks


def _boxes(xy, sizes, yaws, velocities) -> Boxes3D:
    centers = np.concatenate([xy, np.full((len(xy), 1), 0.8)], 1)
    return Boxes3D(centers, sizes, yaws, velocities)


def _join(a: PredictionFrame, b: PredictionFrame) -> PredictionFrame:
    return replace(
        a,
        boxes=Boxes3D.concatenate([a.boxes, b.boxes]),
        labels=np.concatenate([a.labels, b.labels]),
        scores=np.concatenate([a.scores, b.scores]),
        track_ids=np.concatenate([a.track_ids, b.track_ids]),
    )
