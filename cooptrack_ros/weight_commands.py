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

"""The sub-commands that make and change weights: train, halve, import-checkpoint, export."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_ros.arguments import add_command, seed_option

_OFFICIAL_ROLES = (
    'vehicle',
    'roadside',
    'cooperative',
    'vehicle_detection',
    'roadside_detection',
)


def add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Options of "cooptrack train"."""
    parser = add_command(
        commands, 'train', 'train a model stage by stage (detection, tracking, cooperative)'
    )
    parser.add_argument(
        '--stage',
        required=True,
        choices=('detection', 'tracking', 'cooperative', 'latency', 'map', 'map_cooperative'),
        help='what to train',
    )
    parser.add_argument(
        '--data', type=Path, nargs='+', required=True, metavar='DIR', help='training datasets'
    )
    parser.add_argument(
        '--validation', type=Path, nargs='*', default=[], metavar='DIR', help='held-out datasets'
    )
    parser.add_argument(
        '--config',
        help='a shipped configuration or a path (default: training/tiny.yaml, for maps '
        'training/cobevt_tiny.yaml)',
    )
    parser.add_argument('--init', type=Path, metavar='FILE', help='weights to start from')
    parser.add_argument(
        '--agent-weights', type=Path, metavar='FILE', help='frozen sender of the cooperative stage'
    )
    parser.add_argument(
        '--without',
        nargs='+',
        default=[],
        metavar='PART',
        help='parts that the stage goes without, for ablations; cooperative: mdfe, caa, gba, '
        'history_0 to history_3; map: sin_global, self_attention, ground; map_cooperative: '
        'fuse_local, fuse_global',
    )
    parser.add_argument(
        '--operator',
        choices=('fusebevt', 'no_fusion', 'f_cooper', 'self_attention', 'att_fuse', 'v2vnet',
                 'disconet'),
        help='fusion of maps in place of the one of the model, in the stage map_cooperative',
    )  # fmt: skip
    parser.add_argument(
        '--compression',
        type=int,
        metavar='N',
        help='channels of the maps on the air shrink by this factor, in the stage map_cooperative',
    )
    parser.add_argument(
        '--map-cache',
        type=Path,
        metavar='DIR',
        help='keeps maps of a frozen trunk for other runs, for the stage map_cooperative',
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='run directory: checkpoints, curves, weights',
    )
    parser.add_argument(
        '--iterations', type=int, help='override the number of iterations of the configuration'
    )
    parser.add_argument('--device', default='cpu', help='cpu, cuda or cuda:N')
    parser.add_argument(
        '--backbone',
        type=Path,
        metavar='FILE',
        help="weights of the image backbone (.pth with torchvision's names) to start from",
    )
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        help='processes that share every batch; on a CPU the number of cores is fastest',
    )
    parser.add_argument(
        '--threads', type=int, default=0, help='CPU threads of each process, 0: its share of them'
    )
    parser.add_argument(
        '--resume', action='store_true', help='go on from the last checkpoint in --out'
    )
    seed_option(parser, 'initialisation, order and augmentation')
    parser.set_defaults(module='train')


def add_halve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Options of "cooptrack halve"."""
    parser = add_command(commands, 'halve', 'store trained weights in float16, for shipping')
    parser.add_argument('agent', metavar='AGENT', type=Path, help='single-agent weights')
    parser.add_argument(
        'cooperative', metavar='COOPERATIVE', type=Path, help='weights trained with its messages'
    )
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='DIR', help='where the files go'
    )
    parser.add_argument(
        '--agent-threshold',
        type=float,
        metavar='SCORE',
        help='instances of an agent above it live on and are sent (default: as trained)',
    )
    parser.add_argument(
        '--score-bias',
        type=float,
        nargs=3,
        metavar=('EGO', 'REMOTE', 'FUSED'),
        help='added to the class logits of what rests on the ego, on a remote agent, on '
        'both; choose them on validation scenes',
    )
    parser.add_argument(
        '--unseen-bias',
        type=float,
        metavar='LOGITS',
        help='added to the class logits of tracks outside the images that no message holds',
    )
    parser.add_argument(
        '--sender-word',
        type=float,
        metavar='SHARE',
        help="of the sender's class logits in those of what rests on it (default: as trained)",
    )
    parser.add_argument(
        '--vehicle-spread',
        type=float,
        nargs=4,
        metavar=('ALONG', 'ALONG_PER_M', 'ACROSS', 'ACROSS_PER_M'),
        help="standard deviation of the places of the ego's camera: metres, and per metre of "
        'distance, along the line of sight and across it (default: as trained)',
    )
    parser.add_argument(
        '--code-data',
        type=Path,
        nargs='+',
        default=[],
        metavar='DIR',
        help='training scenes to fit the code of compact messages to (default: the code '
        'of the agent weights, if they have one)',
    )
    parser.add_argument(
        '--code-bits', type=int, default=96, metavar='N', help='of that code, per instance'
    )
    parser.add_argument(
        '--remote-weight',
        type=float,
        metavar='SHARE',
        help='of the remote instance in the place of a matched pair (default: as trained)',
    )
    parser.add_argument(
        '--first-velocity-gain',
        type=float,
        metavar='SHARE',
        help="the same for a track's first gap (default: the velocity gain)",
    )
    parser.add_argument(
        '--max-age',
        type=int,
        metavar='FRAMES',
        help='frames that the vehicle which fuses keeps a track without seeing it',
    )
    parser.add_argument(
        '--fade',
        type=float,
        metavar='LOGITS',
        help='the vehicle which fuses drops a track whose class logit is so far below its best: '
        'its query has lost its object and drifts (default: as trained)',
    )
    parser.add_argument(
        '--reappear-within',
        type=float,
        metavar='SECONDS',
        help='a new track of the vehicle which fuses, where a track that was lost so long ago '
        'should be by now, takes up its id (default: as trained)',
    )
    parser.add_argument(
        '--remember',
        type=float,
        metavar='SECONDS',
        help='what stood still when it left the images is reported on for so long, unless '
        'something is seen in its place (default: as trained)',
    )
    parser.add_argument(
        '--across-velocity',
        type=float,
        metavar='SHARE',
        help='of the velocity across its heading that a car or bicycle keeps (default: as '
        'trained)',
    )
    parser.add_argument(
        '--velocity-gain',
        type=float,
        metavar='SHARE',
        help='of the gap between predicted and found place that corrects the velocity of a track, '
        '0 to 1 (default: as trained)',
    )
    parser.set_defaults(module='halve')


def add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Options of "cooptrack import-checkpoint"."""
    parser = add_command(
        commands,
        'import-checkpoint',
        'turn a released CoopTrack checkpoint (.pth) into weights for this package; every tensor '
        'must find its place, and no code of the file is run',
    )
    parser.add_argument('checkpoint', metavar='FILE', type=Path, help='the .pth file')
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='OUT', help='.safetensors to write'
    )
    parser.add_argument(
        '--role',
        choices=_OFFICIAL_ROLES,
        help='which model it is (default: found by the digest of a released file)',
    )
    parser.add_argument(
        '--repaired',
        action='store_true',
        help='repair the faults of the released code (docs/parity.md) instead of keeping them',
    )
    parser.set_defaults(module='import_checkpoint')


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Options of "cooptrack export"."""
    parser = add_command(
        commands, 'export', 'write the image network of weights for another engine'
    )
    parser.add_argument(
        'weights',
        metavar='WEIGHTS',
        type=Path,
        nargs='*',
        help='files of this package (default: the shipped tiny ones of agents and ego)',
    )
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='DIR', help='for --exported'
    )
    parser.add_argument('--backend', choices=('openvino', 'onnxruntime'), default='openvino')
    parser.add_argument(
        '--precision',
        choices=('fp32', 'int8'),
        default='fp32',
        help='int8: a network of eight bits, for values as they occur in the images of '
        '--calibration',
    )
    parser.add_argument(
        '--calibration',
        type=Path,
        metavar='DATA',
        help='int8: dataset in the layout of V2X-Seq, of map weights also of OPV2V',
    )
    parser.add_argument(
        '--calibration-images',
        type=int,
        default=48,
        metavar='N',
        help='int8: so many of its images, evenly spread',
    )
    parser.set_defaults(module='export')
