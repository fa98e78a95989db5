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

"""Times of a cooperative frame per stage, beside a plain ResNet-50 as yardstick.

``python -m benchmarks.forward --model r50`` runs the released architecture with seeded weights
(times do not depend on them), ``--model tiny`` the shipped weights. The yardstick is the eager,
unfused ResNet-50 in the layout (N, C, H, W) on the same input in the same run; ratios to it can
be compared between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cooptrack_core.geometry import SE3
from cooptrack_core.models.backbones.resnet import resnet50
from cooptrack_core.models.backends import ENDINGS, ImageNetwork, export, image_network
from cooptrack_core.models.checkpoint import load_weights
from cooptrack_core.models.cooptrack.config import ModelConfig, r50
from cooptrack_core.models.cooptrack.interface import FrameInputs, RemoteInstances
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.inference import for_inference
from cooptrack_core.resources import weights_path
from cooptrack_ros.console import Terminal

PARTS = (
    'backbone',
    'neck',
    'bev_encoder',
    'decoder',
    'mdfe',
    'reasoning',
    'cooperation',
    'refine',
)
COMBINATIONS = (
    ('torch', 'fp32'), ('torch', 'bf16'), ('compile', 'fp32'), ('compile', 'bf16'),
    ('openvino', 'fp32'), ('openvino', 'bf16'),
    ('openvino', 'int8'),
    ('onnxruntime', 'fp32'), ('onnxruntime', 'int8'),
)  # fmt: skip
LIMIT = 1.7  # times the yardstick, for R50 in fp32
CALIBRATION = 4  # images; what is computed takes the same time whatever the ranges are


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, milliseconds; the first two calls warm up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]) * 1e3


def models(name: str) -> tuple[CoopTrack, CoopTrack]:
    """Sender and receiver."""
    if name == 'tiny':
        return (
            load_weights(weights_path('tiny_agent.safetensors')),
            load_weights(weights_path('tiny_cooperative.safetensors')),
        )
    torch.manual_seed(0)
    return CoopTrack(r50('roadside')).eval(), CoopTrack(r50('cooperative')).eval()


def a_frame(config: ModelConfig, number: int) -> FrameInputs:
    """A camera 1.6 m above the road that looks along +x, on a drive at 10 m/s."""
    height, width = config.image.height, config.image.width
    images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(number))
    intrinsic = np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
    axes = np.array([[0, -1.0, 0, 0], [0, 0, -1.0, -0.2], [1.0, 0, 0, 0]])
    matrix = np.eye(4)
    matrix[:3] = intrinsic @ axes
    pose = SE3.from_yaw(0.3, (float(number), 0.0, 0.0)).matrix
    return FrameInputs(
        images=images,
        agent_to_image=torch.from_numpy(matrix.astype(np.float32))[None],
        stamp_ns=number * 100_000_000,
        scene_id='benchmark',
        world_T_agent=pose,
        world_T_body=pose,
    )


def a_message(config: ModelConfig, sender: ModelConfig, instances: int) -> RemoteInstances:
    """Instances of a roadside unit in front of the ego."""
    draw = torch.Generator().manual_seed(instances)
    dims = config.embed_dims

    def features() -> torch.Tensor:
        return torch.randn(instances, dims, generator=draw)

    boxes = torch.randn(instances, 10, generator=draw)
    refs = torch.rand(instances, 3, generator=draw)
    pose = SE3.from_yaw(2.5, (40.0, 5.0, 0.0)).matrix
    return RemoteInstances(
        agent_id='roadside',
        query_feats=features(),
        query_embeds=features(),
        motion_feats=features(),
        ref_pts=refs,
        boxes=boxes,
        range=sender.range,
        ego_T_remote=pose,
        age_s=0.03,
    )


@contextmanager
def stopwatch(model: CoopTrack) -> Iterator[dict[str, list[float]]]:
    """Wall time of every part at every call, ms."""
    times: dict[str, list[float]] = {}
    hooks = []
    for name in PARTS:
        part = getattr(model, name, None)
        if not isinstance(part, nn.Module):
            continue
        times[name] = []
        begun: list[float] = []

        def before(*_: Any, begun: list[float] = begun) -> None:
            begun.append(time.perf_counter())

        def after(*_: Any, begun: list[float] = begun, name: str = name) -> None:
            times[name].append((time.perf_counter() - begun.pop()) * 1e3)

        hooks += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        yield times
    finally:
        for hook in hooks:
            hook.remove()


def _timed(network: ImageNetwork, times: list[float]) -> ImageNetwork:
    def run(images: torch.Tensor) -> list[torch.Tensor]:
        start = time.perf_counter()
        maps = network(images)
        times.append((time.perf_counter() - start) * 1e3)
        return maps

    return run


def frame_ms(
    model: CoopTrack, remotes: list[RemoteInstances], frames: int
) -> tuple[float, dict[str, float]]:
    """Median of a streamed frame and of its parts, ms."""
    inputs = [a_frame(model.config, k) for k in range(frames + 2)]
    memory, totals = None, []
    with torch.inference_mode(), stopwatch(model) as parts:
        network = model.image_network
        if network is not None:
            model.image_network = _timed(network, parts.setdefault('other engine', []))
        for each in inputs:
            start = time.perf_counter()
            _, memory = model(each, memory, remotes)
            totals.append((time.perf_counter() - start) * 1e3)
        model.image_network = network
    medians = {name: statistics.median(v[2:]) for name, v in parts.items() if v}
    return statistics.median(totals[2:]), medians


def yardstick_ms(config: ModelConfig, repeats: int) -> float:
    """Plain eager ResNet-50 on the same input, ms."""
    network = resnet50().eval()
    image = torch.randn(1, 3, config.image.height, config.image.width)
    with torch.inference_mode():
        return median_ms(lambda: network(image), repeats)


def table(options: argparse.Namespace) -> str:
    """Markdown table of one model in every backend, each in a process of its own."""
    rows = []
    base = [sys.executable, '-m', 'benchmarks.forward', '--model', options.model]
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / 'result.json'
        for backend, precision in COMBINATIONS:
            command = [
                *base, '--threads', str(options.threads), '--frames', str(options.frames),
                '--instances', str(options.instances), '--backend', backend,
                '--precision', precision, '--json', str(result),
            ]  # fmt: skip
            if backend in ENDINGS:  # converted beforehand, as a user would, by "cooptrack export"
                bits = 'int8' if precision == 'int8' else 'fp32'
                path = Path(directory) / f'{bits}{ENDINGS[backend]}'
                convert = [*base, '--backend', backend, '--precision', bits, '--export', str(path)]
                if not path.exists() and subprocess.run(convert, check=False).returncode:
                    continue
                command += ['--exported', str(path)]
            if subprocess.run(command, check=False).returncode == 0:
                rows.append(json.loads(result.read_text(encoding='utf-8')))
    own = next(r['frame_ms'] for r in rows if (r['backend'], r['precision']) == COMBINATIONS[0])
    names = [n for n in ('backbone', 'neck', 'other engine', *PARTS[2:]) if any(
        n in r['parts_ms'] for r in rows)]  # fmt: skip
    header = ['backend', *names, 'frame ms', 'x yardstick', 'x torch fp32', 'peak GB']
    lines = [header, ['---'] * len(header)]
    for row in rows:
        parts = [f'{row["parts_ms"][n]:.0f}' if n in row['parts_ms'] else '' for n in names]
        lines.append(
            [f'{row["backend"]} {row["precision"]}', *parts, f'{row["frame_ms"]:.0f}',
             f'{row["ratio"]:.2f}', f'{row["frame_ms"] / own:.2f}', f'{row["peak_gb"]:.2f}']
        )  # fmt: skip
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.forward', description=__doc__)
    parser.add_argument('--model', choices=('r50', 'tiny'), default='r50')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--frames', type=int, default=12)
    parser.add_argument('--instances', type=int, default=12, help='in the message')
    parser.add_argument('--unprepared', action='store_true', help='without for_inference')
    parser.add_argument(
        '--backend', choices=('torch', 'compile', 'openvino', 'onnxruntime'), default='torch'
    )
    parser.add_argument('--precision', choices=('fp32', 'bf16', 'int8'), default='fp32')
    parser.add_argument('--export', type=Path, help='only convert for the backend, into this file')
    parser.add_argument('--exported', type=Path, help='a file of --export')
    parser.add_argument('--json', type=Path)
    parser.add_argument('--table', action='store_true', help='all backends, as Markdown')
    options = parser.parse_args()
    if options.table:
        print(table(options))
        return 0
    torch.set_num_threads(options.threads)
    terminal = Terminal()
    sender, receiver = models(options.model)
    if options.export:
        images = [a_frame(receiver.config, k).images for k in range(CALIBRATION)]
        few = images if options.precision == 'int8' else None
        export(receiver, 'benchmark', options.backend, options.export, few)
        return 0
    remotes = [a_message(receiver.config, sender.config, options.instances)]
    plain = receiver
    if not options.unprepared:
        receiver = for_inference(receiver, options.precision)
    if options.backend != 'torch':
        receiver.image_network = image_network(
            plain, 'benchmark', options.backend, options.precision, options.exported
        )
    del sender, plain
    yardstick = yardstick_ms(receiver.config, options.frames)
    mixed = torch.autocast('cpu', torch.bfloat16, enabled=options.precision == 'bf16')
    with mixed:
        total, parts = frame_ms(receiver, remotes, options.frames)
    again = yardstick_ms(receiver.config, options.frames)
    yardstick = (yardstick + again) / 2  # before and after: the machine may change in between
    rows = [[n, f'{ms:.1f}', f'{ms / yardstick:.2f}'] for n, ms in parts.items()]
    rows.append(['whole frame', f'{total:.1f}', f'{total / yardstick:.2f}'])
    rows.append(['yardstick: plain ResNet-50', f'{yardstick:.1f}', '1.00'])
    terminal.table(
        f'{options.model}, cooperative frame, {options.threads} threads, {options.backend} '
        f'{options.precision}',
        ['part', 'median ms', 'x yardstick'],
        rows,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    terminal.say(f'peak memory of this process {peak:.2f} GB')
    if options.model == 'r50':
        terminal.say(f'{total / yardstick / LIMIT:.2f} x the limit of {LIMIT} x yardstick')
    result = {
        'model': options.model,
        'threads': options.threads,
        'backend': options.backend,
        'precision': options.precision,
        'cores': os.cpu_count(),
        'torch': torch.__version__,
        'frame_ms': total,
        'parts_ms': parts,
        'yardstick_ms': yardstick,
        'ratio': total / yardstick,
        'peak_gb': peak,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
