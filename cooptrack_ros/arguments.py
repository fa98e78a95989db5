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


"""Groups of options that several commands of the command line share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    """Add a sub-command with the options that all have."""
    parser = commands.add_parser(
        name,
        help=text,
        description=text,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--json', metavar='FILE', help='write the results as JSON ("-": stdout)')
    parser.add_argument('--quiet', action='store_true', help='print errors only')
    return parser


def seed_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --seed."""
    parser.add_argument('--seed', type=int, default=0, help=f'fixes {what}')


def selection_options(group: argparse._ArgumentGroup) -> None:
    """Options of what senders leave out."""
    group.add_argument(
        '--min-score', type=float, default=0.0, help='instances less sure than this are not sent'
    )
    group.add_argument(
        '--most-instances', type=int, metavar='N', help='send the best N of every message'
    )
    group.add_argument(
        '--message-hz', type=float, metavar='HZ', help='messages per second (default: all frames)'
    )
    group.add_argument(
        '--outside-view-m',
        type=float,
        default=0.0,
        metavar='M',
        help='do not send what stands in the image of the ego within so many metres of it',
    )


def disturbance_options(parser: argparse.ArgumentParser) -> None:
    """Options of the commands that measure what goes wrong on the way to the ego."""
    group = parser.add_argument_group(
        'receiver and disturbances', 'every remote sender is disturbed, the ego never'
    )
    group.add_argument(
        '--wait-ms',
        type=float,
        default=50.0,
        help='how long the ego waits after its own frame for messages captured around it',
    )
    group.add_argument(
        '--max-age-ms',
        type=float,
        default=500.0,
        help='older captures are dropped, as the nodes do; more than the latency lets messages in',
    )
    group.add_argument(
        '--future-tolerance-ms',
        type=float,
        default=100.0,
        help='captures stamped further ahead of the clock of the ego are dropped',
    )
    group.add_argument(
        '--no-compensation',
        action='store_true',
        help='fuse messages as if they were captured at the time of the ego frame',
    )
    group.add_argument(
        '--no-repeat',
        action='store_true',
        help='fuse each message once, not again while nothing newer comes and it is young',
    )
    group.add_argument(
        '--pose-noise',
        default='0,0',
        metavar='METRES,DEGREES',
        help="standard deviations of the error of the senders' x and y, and heading; drawn anew "
        'for every message',
    )
    group.add_argument(
        '--pose-noise-at',
        choices=('everywhere', 'alignment'),
        default='everywhere',
        help='everywhere: the pose in the message is wrong; alignment: only the input of the '
        'feature alignment is, boxes and reference points keep the right pose',
    )
    group.add_argument(
        '--clock-skew-ms',
        type=float,
        default=0.0,
        metavar='MS',
        help="the senders' clocks run ahead by this, or behind if negative; captures do not move",
    )
    group.add_argument(
        '--no-roadside-images', action='store_true', help='roadside units are blind'
    )


def data_options(parser: argparse.ArgumentParser, methods: Sequence[str]) -> None:
    """Options that choose data and methods of an evaluation."""
    parser.add_argument('data', metavar='DATA', type=Path, help='directory in the V2X-Seq layout')
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        help='part of the dataset (default: all of it)',
    )
    parser.add_argument('--methods', default=','.join(methods), help='comma-separated')
    for name in ('query_fusion', 'bev_fusion'):
        parser.add_argument(
            f'--{name.replace("_", "-")}-weights',
            metavar='FILE',
            help=f'weights of the method {name}; none are shipped',
        )
    parser.add_argument('--scenes', type=int, help='only the first N scenes')
    parser.add_argument(
        '--rate',
        type=float,
        metavar='HZ',
        help='use only so many frames per second (2: as V2X-Seq)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=1,
        help='processes that share the scenes, each with one thread (not with --map)',
    )
    parser.add_argument(
        '--remotes', type=int, metavar='N', help='only the first N remote agents exist'
    )


def map_options(parser: argparse.ArgumentParser) -> None:
    """Options of the evaluation of maps."""
    group = parser.add_argument_group('maps')
    group.add_argument(
        '--map',
        action='store_true',
        help='evaluate semantic maps; DATA in the layout of OPV2V or V2X-Seq',
    )
    group.add_argument(
        '--map-weights',
        nargs='+',
        default=[],
        metavar='[NAME=]FILE',
        help='map models; NAME is cobevt, or no_fusion for one without fusion, if left out; files '
        'of one name are runs of one method with different seeds, of which the mean is told '
        '(default: the shipped ones, and their prior)',
    )
    group.add_argument(
        '--map-prior',
        type=Path,
        metavar='DIR',
        help='training set, or a file of --write-map-prior, whose mean map is evaluated too, as '
        'the method prior',
    )
    group.add_argument(
        '--write-map-prior', type=Path, metavar='FILE', help='keep the mean map (.npz)'
    )
    group.add_argument(
        '--map-dtype',
        choices=('int8', 'fp16', 'fp32', 'exact'),
        default='int8',
        help='number format of the maps on the air; exact: the network alone, without messages',
    )
    group.add_argument(
        '--map-vehicles',
        choices=('visible_all', 'visible', 'dynamic'),
        default='visible_all',
        help='true vehicles: those that any agent, the ego, or nobody need have seen',
    )
    group.add_argument(
        '--max-agents', type=int, default=5, help='most agents of a moment, the ego included'
    )
    group.add_argument('--blind-ego', action='store_true', help='all cameras of the ego are lost')
    group.add_argument(
        '--lost-cameras', type=int, default=0, metavar='N', help='so many of the ego are lost'
    )
    group.add_argument(
        '--every', type=int, default=1, metavar='N', help='only every N-th moment of a scene'
    )
