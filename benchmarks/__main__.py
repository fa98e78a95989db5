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

"""`make bench`: how fast the shipped models are and what they send, on this machine, now."""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import ray_casting
from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.perception import (
    AgentPerception,
    CooperativePerception,
    ModelSet,
    PerceptionModel,
)
from cooptrack_core.perception.replay import scene_frames
from cooptrack_core.simulation import load_preset, simulate
from cooptrack_core.structures import AgentFrame, Role
from cooptrack_core.v2x import decode_message, encode_message, message_size_report
from cooptrack_ros.commands.common import load_models
from cooptrack_ros.console import Terminal, emit_json

# A cooperative frame of both agents must fit: cameras at 10 Hz, and the floor of 5 Hz.
LIMITS_MS = {'10 Hz camera period': 100.0, '5 Hz floor': 200.0}
SEED = 2100


def frame_times(models: ModelSet, frames: list[AgentFrame]) -> dict[str, float]:
    """Medians per cooperative frame over a scene, ms: the sender, the radio, the ego."""
    sender = AgentPerception(models.roadside, 'roadside', session_id=1)
    ego = CooperativePerception(models.cooperative, 'vehicle')
    times: dict[str, list[float]] = {'roadside agent': [], 'encode + decode': [], 'ego': []}
    message = None
    for frame in frames:
        start = time.perf_counter()
        if frame.role is Role.ROADSIDE:
            sent = sender.process(frame).message
            times['roadside agent'].append(time.perf_counter() - start)
            start = time.perf_counter()
            message = decode_message(encode_message(sent))
            times['encode + decode'].append(time.perf_counter() - start)
        else:
            ego.process(frame, [message] if message is not None else [])
            times['ego'].append(time.perf_counter() - start)
    # The first frames pay for the allocation of memory.
    return {name: statistics.median(values[3:]) * 1e3 for name, values in times.items()}


def message_sizes(model: PerceptionModel, frames: list[AgentFrame]) -> list[list[str]]:
    """Mean size of the messages of a scene in each number format."""
    sender = AgentPerception(model, 'roadside', session_id=1)
    messages = [sender.process(f).message for f in frames if f.role is Role.ROADSIDE]
    rows = []
    for dtype in ('fp32', 'fp16', 'int8'):
        reports = [message_size_report(encode_message(m, dtype)) for m in messages]  # type: ignore[arg-type]
        total, count = sum(r.total for r in reports), len(reports)
        rows.append(
            [
                dtype,
                f'{total / count:.0f}',
                f'{sum(r.instances for r in reports) / count:.1f}',
                f'{10 * total / count:.0f}',
                f'{sum(r.overhead for r in reports) / total:.3f}',
            ]
        )
    return rows


def main() -> int:
    """Run every benchmark and print the tables."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads of torch')
    parser.add_argument('--agent-weights', help='default: the shipped tiny')
    parser.add_argument('--roadside-weights', help='default: the agent weights')
    parser.add_argument('--cooperative-weights', help='default: the shipped tiny')
    parser.add_argument('--json', help='also write the numbers here')
    options = parser.parse_args()
    options.device = 'cpu'
    options.backend, options.precision, options.exported = 'torch', 'fp32', None
    terminal = Terminal()
    models = load_models(options)
    result: dict[str, Any] = {'threads': options.threads, 'cores': os.cpu_count()}
    with tempfile.TemporaryDirectory() as directory:
        preset = dataclasses.replace(load_preset('benchmark'), frames=30)
        start = time.perf_counter()
        with terminal.progress('simulating 30 frame pairs') as progress:
            simulate(Path(directory) / 'scene', preset, 1, SEED, workers=1, progress=progress)
        seconds = time.perf_counter() - start
        frames = list(scene_frames(V2XSeqDataset(Path(directory) / 'scene').scenes[0]))
    torch.set_num_threads(options.threads)
    times = frame_times(models, frames)
    total = sum(times.values())
    rows = [[name, f'{ms:.1f}'] for name, ms in times.items()] + [['sum', f'{total:.1f}']]
    terminal.table(f'cooperative frame, {options.threads} threads', ['part', 'median ms'], rows)
    for name, limit in LIMITS_MS.items():
        terminal.say(f'{total / limit:.2f} x the {name} ({1e3 / total:.1f} Hz)')
    header = ['format', 'bytes/message', 'instances', 'bytes/s at 10 Hz', 'header share']
    terminal.table('messages of the roadside unit', header, message_sizes(models.roadside, frames))
    cast = ray_casting.pair_cast_ms(frames)
    pair = seconds / 30 * 1e3
    terminal.say(
        f'simulator, one process: {pair:.0f} ms per frame pair of 960x540 with LiDAR, labels and '
        f'files, {pair / cast:.1f} x Embree casting the same two images'
    )
    result |= {
        'cooperative_frame_ms': times,
        'ratio_to_limit': {name: total / limit for name, limit in LIMITS_MS.items()},
        'simulator_pair_ms': pair,
        'simulator_ratio_to_cast': pair / cast,
    }
    emit_json(result, options.json)
    return 0


if __name__ == '__main__':
    sys.exit(main())
