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

"""The training loop: schedule, optimiser, curves, checkpoints; the same for every stage."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cooptrack_core.training.checkpoints import load_state, save_state
from cooptrack_core.training.options import Optimisation, Progress, TrainingOptions
from cooptrack_core.training.parallel import Share
from cooptrack_core.training.schedule import build_optimiser, set_learning_rate


class Intervals(Protocol):
    """What the loop needs of a recipe: iterations between checkpoints, and between validations."""

    @property
    def checkpoint_every(self) -> int:
        """Iterations between checkpoints."""

    @property
    def validate_every(self) -> int:
        """Iterations between validations; 0 validates at the end only."""


class StageRun(Protocol):
    """What a stage gives to the loop."""

    @property
    def modules(self) -> nn.Module:
        """Everything that trains: the model and training-only heads."""

    @property
    def period(self) -> int:
        """Iterations between points where no memory is carried, so that a run can be resumed."""

    def losses(self, iteration: int) -> dict[str, Tensor]:
        """Losses of one iteration, a pure function of weights, seed and iteration."""

    def validate(self) -> dict[str, float]:
        """Numbers on held-out data; empty without such data."""

    def export(self, directory: Path) -> Path:
        """Write the final weights."""


def seed_iteration(seed: int, iteration: int) -> None:
    """Fix torch's own randomness (dropout) of one iteration, whatever ran before."""
    torch.manual_seed(seed * 1_000_003 + iteration)


def run(
    stage: StageRun,
    options: TrainingOptions,
    recipe: Intervals,
    plan: Optimisation,
    identity: str,
    share: Share,
) -> Path:
    """Train to the end of the plan and write the weights.

    Args:
        stage: The stage.
        options: Of the run.
        recipe: Checkpoint and validation intervals.
        plan: Optimisation of the stage; ``iterations`` is final.
        identity: Fingerprint of everything that must agree to resume.
        share: Part of this process; the first one writes, validates and reports.

    Returns:
        The weights file.

    Raises:
        InputError: The state to resume is of another run, or something cannot be written.
        FloatingPointError: Losses are not finite any more.
    """
    trainable = [(n, p) for n, p in stage.modules.named_parameters() if p.requires_grad]
    optimiser = build_optimiser(trainable, plan)
    begin = 0
    if options.resume:
        state = load_state(options.out, identity)
        begin = int(state['iteration'])
        stage.modules.load_state_dict(state['modules'])
        optimiser.load_state_dict(state['optimiser'])
    report = options.progress or (lambda _: None)
    weights = options.out / 'weights.safetensors'
    with _curves(options.out, begin) if share.leads else contextlib.nullcontext(None) as curves:
        for iteration in range(begin, plan.iterations):
            seed_iteration(options.seed, iteration)
            set_learning_rate(optimiser, iteration, plan)
            losses = stage.losses(iteration)
            total = torch.stack(list(losses.values())).sum()
            if not bool(torch.isfinite(total)):
                raise FloatingPointError(
                    f'iteration {iteration}: the losses are not finite: '
                    f'{ {name: value.item() for name, value in losses.items()} }'
                )
            optimiser.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            share.average([p for _, p in trainable], stage.modules)
            norm = nn.utils.clip_grad_norm_([p for _, p in trainable], plan.clip_norm)
            optimiser.step()
            done = iteration + 1
            if curves is None:
                continue
            values = {name: value.item() for name, value in losses.items()}
            values.update(total=total.item(), gradient_norm=norm.item())
            curves.write(done, values, optimiser.param_groups[-1]['lr'])
            metrics = _validate(stage, recipe, done, plan.iterations)
            curves.write(done, metrics, None)
            report(Progress(done, plan.iterations, values, metrics))
            if _at(done, recipe.checkpoint_every, stage.period) or done == plan.iterations:
                save_state(
                    options.out,
                    {
                        'fingerprint': identity,
                        'iteration': done,
                        'modules': stage.modules.state_dict(),
                        'optimiser': optimiser.state_dict(),
                    },
                )
    return stage.export(options.out) if share.leads else weights


def _at(done: int, every: int, period: int) -> bool:
    """Whether to save: at multiples of the interval, moved up to the next clip boundary."""
    every = max(every, 1)
    interval = (every + period - 1) // period * period
    return done % interval == 0


def _validate(stage: StageRun, recipe: Intervals, done: int, planned: int) -> dict[str, float]:
    due = recipe.validate_every > 0 and done % recipe.validate_every == 0
    if not due and done != planned:
        return {}
    modes = [(m, m.training) for m in stage.modules.modules()]
    try:
        stage.modules.eval()
        with torch.no_grad():
            return stage.validate()
    finally:
        for module, training in modes:
            module.training = training


@dataclasses.dataclass
class _Curves:
    writer: Any

    def write(self, iteration: int, values: dict[str, float], rate: float | None) -> None:
        if self.writer is None:
            return
        for name, value in values.items():
            self.writer.add_scalar(name, value, iteration)
        if rate is not None:
            self.writer.add_scalar('learning_rate', rate, iteration)


@contextlib.contextmanager
def _curves(out: Path, begin: int) -> Iterator[_Curves]:
    """TensorBoard curves below the run directory; nothing where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield _Curves(None)
        return
    writer = SummaryWriter(str(out / 'curves'), purge_step=begin or None)
    try:
        yield _Curves(writer)
    finally:
        writer.close()
