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

"""`cooptrack train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooptrack_core import resources
from cooptrack_core.training.options import Progress, Stage, TrainingOptions
from cooptrack_ros.console import Terminal, emit_json


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Run one stage to its end; validation numbers are printed as they come."""
    from cooptrack_core.training.map_run import train_maps
    from cooptrack_core.training.run import train

    stage = Stage(options.stage)
    maps = stage in (Stage.MAP, Stage.MAP_COOPERATIVE)
    name = options.config or ('training/cobevt_tiny.yaml' if maps else 'training/tiny.yaml')
    config = Path(name)
    metrics: dict[str, float] = {}
    with terminal.progress(f'training ({options.stage})') as move:

        def report(progress: Progress) -> None:
            move(progress.iteration, progress.iterations)
            if progress.text:
                terminal.say(progress.text)
            if progress.metrics:
                metrics.update(progress.metrics)
                values = ', '.join(f'{k} {v:.3f}' for k, v in progress.metrics.items())
                terminal.say(f'iteration {progress.iteration}: {values}')

        weights = (train_maps if maps else train)(
            TrainingOptions(
                stage=stage,
                data=tuple(options.data),
                config=config if config.exists() else resources.config_path(name),
                out=options.out,
                validation=tuple(options.validation),
                initial=options.init,
                backbone=options.backbone,
                remote=options.agent_weights,
                without=tuple(options.without),
                operator=options.operator,
                compression=options.compression,
                map_cache=options.map_cache,
                seed=options.seed,
                device=options.device,
                resume=options.resume,
                iterations=options.iterations,
                threads=options.threads,
                processes=options.processes,
                progress=report,
            )
        )
    terminal.say(f'weights: {weights}')
    emit_json({'weights': str(weights), 'validation': metrics}, options.json)
    return 0
