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

"""`cooptrack picture`."""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from cooptrack_core.errors import InputError
from cooptrack_core.files import write_bytes_atomically
from cooptrack_ros.commands.common import load_models, stream_options
from cooptrack_ros.console import Terminal, emit_json
from cooptrack_ros.recordings import OpenRecording
from cooptrack_ros.report.pictures import draw_picture
from cooptrack_ros.report.snapshot import Snapshot, take_snapshot

_ENDINGS = ('.png', '.jpg', '.jpeg')


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Run a recording up to a moment and draw it."""
    ending = options.output.suffix.lower()
    if ending not in _ENDINGS:
        raise InputError(
            f"'{options.output.name}' is no picture",
            field='--output',
            remedy=f'give a name that ends in {" or ".join(_ENDINGS)}',
        )
    if not 10 <= options.reach <= 200:
        raise InputError(
            f'{options.reach} is out of range', field='--reach', remedy='give 10 to 200 metres'
        )
    radio = stream_options(options)
    models = load_models(options)
    opened = OpenRecording(
        options.data, scene=options.scene, ego_id=options.ego, on_warning=terminal.say
    )
    with opened as recording, terminal.progress('running') as progress:
        snapshot = take_snapshot(
            recording, models, radio, index=options.frame, time_s=options.time, progress=progress
        )
    picture = draw_picture(snapshot, options.kind, options.reach)
    quality = [] if ending == '.png' else [cv2.IMWRITE_JPEG_QUALITY, 92]
    _, data = cv2.imencode(ending, np.ascontiguousarray(picture[..., ::-1]), quality)
    write_bytes_atomically(options.output, data.tobytes())
    numbers = _numbers(snapshot)
    terminal.say(
        f'frame {snapshot.index} at {snapshot.time_s:.2f} s: {numbers["tracks"]} tracks, '
        f'{numbers["pairs"]} pairs, unmatched: {numbers["unmatched_vehicle"]} of the vehicle, '
        f'{numbers["unmatched_remote"]} of others; written: {options.output}'
    )
    emit_json(numbers, options.json)
    return 0


def _numbers(snapshot: Snapshot) -> dict[str, object]:
    result = snapshot.result
    own = sum(u.agent_id == snapshot.frame.agent_id for u in result.unmatched)
    return {
        'sequence': snapshot.frame.sequence_id,
        'frame': snapshot.index,
        'time_s': snapshot.time_s,
        'tracks': len(result.tracks),
        'pairs': len(result.associations),
        'unmatched_vehicle': own,
        'unmatched_remote': len(result.unmatched) - own,
    }
