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

"""``cooptrack export``: the static part of models for other engines."""

from __future__ import annotations

import argparse

from cooptrack_core import resources
from cooptrack_core.errors import InputError
from cooptrack_core.models import checkpoint
from cooptrack_core.models.backends import ENDINGS, export
from cooptrack_core.models.cobevt import checkpoint as map_checkpoint
from cooptrack_core.perception.calibration import calibration_images
from cooptrack_ros.commands.common import AGENT_WEIGHTS, COOPERATIVE_WEIGHTS
from cooptrack_ros.console import Terminal, emit_json


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Write one file per weights file, under its name.

    Raises:
        InputError: Weights or images are unusable, or options do not fit together.
    """
    if (options.precision == 'int8') != (options.calibration is not None):
        raise InputError(
            'eight bits and images to calibrate them belong together',
            field='--calibration',
            remedy='give both --precision int8 and --calibration DATA, or none',
        )
    written = {}
    options.output.mkdir(parents=True, exist_ok=True)
    shipped = [resources.weights_path(name) for name in (AGENT_WEIGHTS, COOPERATIVE_WEIGHTS)]
    for source in options.weights or shipped:
        target = options.output / source.with_suffix(ENDINGS[options.backend]).name
        about = checkpoint.read_metadata(source)
        identity = about.get('model_id', '')
        maps = map_checkpoint.CONFIG_KEY in about
        load = map_checkpoint.load_weights if maps else checkpoint.load_weights
        model = load(source)
        images = None
        if options.precision == 'int8':
            images = calibration_images(options.calibration, model, options.calibration_images)
        export(model, identity, options.backend, target, images)
        written[str(target)] = identity
        terminal.say(f'{target}: image network of model {identity}, {options.precision}')
    emit_json({'written': written}, options.json)
    return 0
