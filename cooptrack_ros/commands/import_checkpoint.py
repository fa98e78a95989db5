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

"""``cooptrack import-checkpoint``: released CoopTrack weights as a file of ours."""

from __future__ import annotations

import argparse
import dataclasses

from cooptrack_core.models.checkpoint import load_official, save_weights
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks
from cooptrack_core.models.official_files import find_role, read_official
from cooptrack_ros.console import Terminal, emit_json


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Load strictly, write, tell what it is."""
    state = read_official(options.checkpoint)
    role = options.role or find_role(options.checkpoint, state)
    model = load_official(state, role)
    if options.repaired:
        weights = model.state_dict()
        model = CoopTrack(dataclasses.replace(model.config, quirks=OfficialQuirks()))
        model.load_state_dict(weights)
    metadata = {'role': role, 'imported_from': options.checkpoint.name}
    identity = save_weights(model, options.output, metadata=metadata)
    count = sum(p.numel() for p in model.parameters())
    behaviour = 'repaired' if options.repaired else 'as released'
    terminal.say(
        f'{options.output}: {role} model, {len(state)} tensors, {count:,} parameters, '
        f'behaves {behaviour}, model {identity}'
    )
    result = {
        'role': role,
        'tensors': len(state),
        'parameters': count,
        'repaired': options.repaired,
        'model_id': identity,
    }
    emit_json(result, options.json)
    return 0
