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

"""The `cooptrack` command. Each sub-command parses its options and calls one function."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from cooptrack_core import __version__
from cooptrack_core.errors import InputError
from cooptrack_ros.arguments import (
    add_command,
    data_options,
    disturbance_options,
    map_options,
    seed_option,
    selection_options,
)
from cooptrack_ros.console import Terminal
from cooptrack_ros.weight_commands import add_export, add_halve, add_import, add_train

_METHODS = ('no_fusion', 'roadside_only', 'late_fusion', 'rule_matching', 'cooptrack')


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 good, 1 findings, 2 bad input)."""
    options = build_parser().parse_args(arguments)
    terminal = Terminal(quiet=getattr(options, 'quiet', False))
    try:
        # Each command loads its own libraries, so that the others start at once.
        module = importlib.import_module(f'cooptrack_ros.commands.{options.module}')
        return int(module.run(options, terminal))
    except InputError as error:
        print(f'cooptrack {options.command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'cooptrack {options.command}: interrupted', file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every sub-command."""
    parser = argparse.ArgumentParser(
        prog='cooptrack',
        description='Cooperative 3-D tracking: simulate, train, evaluate, run, look.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for add in (
        _simulate,
        add_train,
        add_halve,
        add_import,
        add_export,
        _evaluate,
        _sweep,
        _run,
        _picture,
        _bag,
        _demo,
        _doctor,
    ):
        add(commands)
    return parser


def _perception_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that runs the models."""
    group = parser.add_argument_group('models')
    group.add_argument(
        '--agent-weights', metavar='FILE', help='single-agent weights (default: the shipped tiny)'
    )
    group.add_argument(
        '--roadside-weights',
        metavar='FILE',
        help='single-agent weights of the roadside units (default: the agent weights)',
    )
    group.add_argument(
        '--cooperative-weights',
        metavar='FILE',
        help='cooperative weights (default: the shipped tiny)',
    )
    group.add_argument('--device', default='cpu', help='cpu, cuda or cuda:N')
    group.add_argument(
        '--backend',
        choices=('torch', 'compile', 'openvino', 'onnxruntime'),
        default='torch',
        help='what runs backbone and neck: torch, torch.compile (CUDA graphs on a GPU), or an '
        'engine that is an extra of the package',
    )
    group.add_argument(
        '--precision',
        choices=('fp32', 'bf16', 'int8'),
        default='fp32',
        help='bf16 is faster where the CPU multiplies it natively (amx); int8, with --exported, '
        'on all CPUs, at a small loss',
    )
    group.add_argument(
        '--exported', type=Path, metavar='DIR', help='files of "cooptrack export" for the backend'
    )
    group.add_argument('--threads', type=int, default=2, help='CPU threads of torch')
    link = parser.add_argument_group('V2X link')
    link.add_argument(
        '--dtype',
        choices=('fp32', 'fp16', 'int8', 'compact'),
        default='int8',
        help='form of the messages on the air; compact needs weights with a feature code',
    )
    link.add_argument('--latency-ms', type=float, default=0.0, help='mean latency of a message')
    link.add_argument(
        '--jitter-ms', type=float, default=0.0, help='standard deviation of the latency'
    )
    link.add_argument('--loss', type=float, default=0.0, help='share of messages lost, 0 to 1')
    selection_options(link)


def _simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands, 'simulate', 'write simulated cooperative scenes in the V2X-Seq or OPV2V layout'
    )
    parser.add_argument('output', metavar='OUT', type=Path, help='directory to create')
    parser.add_argument(
        '--preset',
        help='benchmark, train, opv2v, opv2v_test, opv2v_train, or the path of a YAML file '
        '(default: benchmark, with --layout opv2v: opv2v)',
    )
    parser.add_argument(
        '--layout',
        choices=('v2x_seq', 'opv2v'),
        help='layout of the files; opv2v has rings of cameras and maps (default: of the preset)',
    )
    parser.add_argument('--scenes', type=int, default=1, help='number of scenes')
    seed_option(parser, 'every scene: the same seed gives the same bytes')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')
    parser.set_defaults(module='simulate')


def _evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands, 'evaluate', 'run the methods over a dataset and print their metrics'
    )
    data_options(parser, _METHODS)
    parser.add_argument(
        '--per-scene', action='store_true', help='the JSON also holds the metrics of every scene'
    )
    parser.add_argument(
        '--compare',
        metavar='METHOD',
        help='print how much better METHOD is than every other one, with 95 %% intervals over '
        'scenes',
    )
    parser.add_argument(
        '--recall-levels',
        type=int,
        default=40,
        metavar='N',
        help='recalls from 0.1 to 1 that AMOTA is the mean over (default: %(default)s, as '
        'nuScenes; with 391 it does not jump from level to level)',
    )
    parser.add_argument(
        '--ablation',
        action='store_true',
        help='also cooptrack without MDFE, CAA, GBA, and with a shorter history',
    )
    parser.add_argument(
        '--ablation-weights',
        type=Path,
        nargs='+',
        default=[],
        metavar='DIR',
        help='variants that were trained so, by "cooptrack train --without": '
        'DIR/NAME/tiny_cooperative.safetensors ("cooptrack halve") or weights.safetensors; '
        'of the others a part of the cooperative weights is switched off. Further directories '
        'hold the same variants of other seeds: the mean over the runs is told',
    )
    parser.add_argument(
        '--seed-weights',
        nargs='+',
        default=[],
        metavar='[METHOD=]FILE',
        help='weights of further training runs with other seeds, of cooptrack (if METHOD is left '
        'out; rule_matching uses them too), query_fusion or bev_fusion: the mean over the runs is '
        'told, and its deviation',
    )
    map_options(parser)
    _perception_options(parser)
    disturbance_options(parser)
    seed_option(parser, 'link model, pose errors and bootstrap')
    parser.set_defaults(module='evaluate')


def _sweep(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        'sweep',
        'evaluate at several strengths of one disturbance: sweep.json and sweep.svg; an '
        'interrupted sweep goes on where it stopped',
    )
    data_options(parser, _METHODS)
    parser.add_argument(
        '--over',
        required=True,
        choices=('latency', 'loss', 'pose', 'rotation', 'clock', 'agents', 'bytes', 'cameras',
                 'compression'),
        help='latency (ms, with and without compensation), loss (share of messages), pose (metres '
        'and as many degrees), rotation (degrees), clock (ms ahead), agents (number of remote '
        'agents), bytes (least scores, for each of --forms and --rates); with --map: agents, '
        'cameras (that the ego has lost), compression (of the given --map-weights)',
    )  # fmt: skip
    parser.add_argument(
        '--values',
        metavar='A,B,C',
        help='where to evaluate; write --values=-100,0,100 if the first one is negative',
    )
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='DIR', help='directory for the results'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='forget the points that DIR holds already'
    )
    parser.add_argument(
        '--forms', default='int8,compact', help='over bytes: forms of the messages, see --dtype'
    )
    parser.add_argument('--rates', default='10,2', help='over bytes: messages per second')
    map_options(parser)
    _perception_options(parser)
    disturbance_options(parser)
    seed_option(parser, 'link model, pose errors and bootstrap')
    parser.set_defaults(module='sweep')


def _run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        'run',
        'run cooperative perception over a dataset or a bag: run.mcap, report.html, metrics.json',
    )
    parser.add_argument(
        'input',
        metavar='INPUT',
        type=Path,
        help='V2X-Seq directory, rosbag2 directory, .mcap or .db3 file; with --map also a '
        'directory in the OPV2V layout',
    )
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='OUT', help='directory for the results'
    )
    parser.add_argument('--scene', help='sequence of a dataset with several (default: the first)')
    parser.add_argument(
        '--ego', default='vehicle', help='agent that fuses; in OPV2V the first vehicle'
    )
    parser.add_argument(
        '--map', action='store_true', help='make semantic maps too; of rings of cameras, only maps'
    )
    parser.add_argument(
        '--map-weights',
        metavar='FILE',
        help='weights of the map model (default: the shipped tiny)',
    )
    _perception_options(parser)
    seed_option(parser, 'the link model')
    parser.set_defaults(module='run')


def _picture(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        'picture',
        'run up to a moment and draw it: which instances were associated, and the tracks in the '
        'images and from above',
    )
    parser.add_argument(
        'data',
        metavar='DATA',
        type=Path,
        help='V2X-Seq directory, rosbag2 directory, .mcap or .db3 file',
    )
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='OUT', help='.png or .jpg to write'
    )
    parser.add_argument(
        '--kind',
        choices=('association', 'tracking', 'both'),
        default='both',
        help='one of the pictures, or both side by side',
    )
    parser.add_argument('--scene', help='sequence of a dataset with several (default: the first)')
    when = parser.add_mutually_exclusive_group()
    when.add_argument('--frame', type=int, metavar='N', help='number of the ego frame, from 0')
    when.add_argument(
        '--time',
        type=float,
        metavar='S',
        help='seconds since the first ego frame (default: 5, or the end of a shorter scene)',
    )
    parser.add_argument('--ego', default='vehicle', help='agent that fuses')
    parser.add_argument(
        '--reach',
        type=float,
        default=60.0,
        metavar='M',
        help="metres from the ego to the edges of a bird's-eye view",
    )
    _perception_options(parser)
    seed_option(parser, 'the link model')
    parser.set_defaults(module='picture')


def _bag(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands, 'bag', "write a dataset as a rosbag2, with each agent's own stamps"
    )
    parser.add_argument(
        'data', metavar='DATASET', type=Path, help='directory in the V2X-Seq layout'
    )
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='BAG', help='bag to create'
    )
    parser.add_argument('--scene', help='sequence to write (default: the first)')
    parser.add_argument(
        '--storage', choices=('mcap', 'sqlite3'), default='mcap', help='storage of the bag'
    )
    parser.set_defaults(module='bag')


def _demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        'demo',
        'simulate a held-out scene, run it, compare the methods, show the results',
    )
    parser.add_argument(
        '--output',
        type=Path,
        default=Path('demo_output'),
        metavar='OUT',
        help='directory for the results',
    )
    parser.add_argument(
        '--seed', type=int, default=2026, help='scene; no seed below 2000 is held out'
    )
    parser.set_defaults(module='demo')


def _doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands, 'doctor', 'tell what is installed, what clashes, and what to do'
    )
    parser.set_defaults(module='doctor')


if __name__ == '__main__':
    sys.exit(main())
