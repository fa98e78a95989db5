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

"""Runs many scenes on several processes and puts the result in place whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2

from cooptrack_core.errors import InputError
from cooptrack_core.processes import spread
from cooptrack_core.simulation.map_statistics import (
    MapRows,
    MapSummary,
    summarise,
    write_map_index,
)
from cooptrack_core.simulation.opv2v_writer import GRID, write_opv2v_scene
from cooptrack_core.simulation.presets import LAYOUTS, LayoutName, Preset, load_preset
from cooptrack_core.simulation.raycast import require_engine
from cooptrack_core.simulation.scene import SceneSimulation
from cooptrack_core.simulation.statistics import SimulationSummary, describe
from cooptrack_core.simulation.writer import SceneRows, make_directories, write_index, write_scene
from cooptrack_core.structures import Role

Progress = Callable[[int, int], None]
_PART = 10  # frames a worker renders at a time, so that one scene keeps several of them busy


def simulate(
    out: str | Path,
    preset: str | Path | Preset | None = None,
    scenes: int = 10,
    seed: int = 0,
    *,
    layout: LayoutName | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> SimulationSummary | MapSummary:
    """Simulate scenes and write them as a dataset in the V2X-Seq or OPV2V layout.

    The same preset, number of scenes and seed give the same bytes, whatever the number of
    workers. Scene k of a seed does not depend on how many scenes there are.

    Args:
        out: Directory to create. It appears only when it is complete.
        preset: Name of a shipped preset, a YAML file of your own, or a Preset; default:
            ``benchmark``, or ``opv2v`` where that layout is asked for.
        scenes: Number of scenes, each a sequence of its own.
        seed: Held-out data are data of another seed.
        layout: ``v2x_seq`` or ``opv2v``; default: what the preset says.
        workers: Processes; default: one per core. With more than one, a script must guard its
            entry by ``if __name__ == '__main__'``.
        progress: Called with (frame pairs done, frame pairs in all).
        overwrite: Replace what ``out`` holds.

    Raises:
        InputError: Unknown preset, ``out`` exists, no ray caster, or the disk is full.
    """
    require_engine()
    config, target = _preset(preset, layout), Path(out)
    if scenes < 1:
        raise InputError(f'{scenes} scenes are none', field='scenes', remedy='use 1 or more')
    if seed < 0:
        raise InputError(f'the seed {seed} is negative', field='seed', remedy='use 0 or more')
    if target.exists() and not overwrite and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            'the output exists already', path=target,
            remedy='choose another directory or ask to overwrite it',
        )  # fmt: skip
    with _whole_or_nothing(target) as partial:
        if config.layout == 'v2x_seq':
            make_directories(partial, _sides(config))
        rows: list[SceneRows | MapRows] = []
        done = 0
        jobs = [
            _Job(partial, config, seed, index, start, min(start + _PART, config.frames))
            for index in range(scenes)
            for start in range(0, config.frames, _PART)
        ]
        for row in _rows(jobs, min(len(jobs), workers or os.cpu_count() or 1)):
            rows.append(row)
            done += row.frames if isinstance(row, MapRows) else len(row.pairs)
            if progress is not None:
                progress(done, scenes * config.frames)
        return _finish(partial, rows, config, seed)


def _preset(preset: str | Path | Preset | None, layout: LayoutName | None) -> Preset:
    if layout not in (None, *LAYOUTS):
        raise InputError(
            f'there is no layout {layout!r}', field='layout', remedy=f'use one of {list(LAYOUTS)}'
        )
    config = load_preset(preset or ('opv2v' if layout == 'opv2v' else 'benchmark'))
    return config if layout is None else config.with_layout(layout)


def _finish(
    root: Path, rows: Sequence[SceneRows | MapRows], preset: Preset, seed: int
) -> SimulationSummary | MapSummary:
    """Write the index files and say what there is."""
    if preset.layout == 'opv2v':
        summary = summarise([r for r in rows if isinstance(r, MapRows)], preset.name, GRID)
        write_map_index(root, summary, seed)
        return summary
    pairs = [r for r in rows if isinstance(r, SceneRows)]
    write_index(root, pairs, preset.split, preset.name, [side for side, _ in _sides(preset)])
    return describe(root)


def _sides(preset: Preset) -> list[tuple[str, Role]]:
    sides = [('vehicle-side', Role.VEHICLE), ('infrastructure-side', Role.ROADSIDE)]
    sides += [(f'roadside_{k}', Role.ROADSIDE) for k in range(1, preset.roadsides)]
    sides += [(f'vehicle_{k}', Role.VEHICLE) for k in range(1, preset.vehicles + 1)]
    return sides


@dataclass(frozen=True)
class _Job:
    """Some frames of one scene, ``end`` not included."""

    root: Path
    preset: Preset
    seed: int
    index: int
    begin: int
    end: int


@lru_cache(maxsize=1)
def _scene(preset: Preset, seed: int, index: int) -> SceneSimulation:
    """The scene a worker is at: its frames come in several jobs."""
    return SceneSimulation(preset, seed, index)


def _write(job: _Job) -> SceneRows | MapRows:
    cv2.setNumThreads(1)
    scene = _scene(job.preset, job.seed, job.index)
    write = write_opv2v_scene if job.preset.layout == 'opv2v' else write_scene
    return write(job.root, scene, range(job.begin, job.end))


def _rows(jobs: list[_Job], workers: int) -> Iterator[SceneRows | MapRows]:
    if workers <= 1:
        try:
            yield from map(_write, jobs)
        finally:
            _scene.cache_clear()
        return
    yield from spread(_write, jobs, workers)


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    """A directory beside ``target`` that takes its place when the block succeeds."""
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f'.{target.name}.partial-', dir=target.parent))
        partial.chmod(0o755)
        yield partial
        if target.is_dir() and not target.is_symlink():
            old = partial.with_name(f'{partial.name}.old')
            target.replace(old)
            partial.replace(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
            partial.replace(target)
    except OSError as error:
        raise InputError(
            f'the simulation cannot be written ({error.strerror or error})', path=target,
            remedy='free some disk space or choose another place; nothing incomplete was left',
        ) from error  # fmt: skip
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
