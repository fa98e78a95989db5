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

"""One training shared by several processes: each takes its part of the scenes and of the batch.

On CPUs two processes of one thread are faster than one process of two, because most operations
of small models do not fill two threads. Gradients are averaged, so all hold the same weights.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from cooptrack_core.errors import InputError


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's.

    Attributes:
        rank: From 0; rank 0 writes, validates and reports.
        world: Number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def split(self, batch_size: int) -> int:
        """Part of a batch that one process computes.

        Raises:
            InputError: The batch cannot be split evenly.
        """
        if batch_size % self.world:
            raise InputError(
                f'a batch of {batch_size} cannot be shared by {self.world} processes',
                field='processes',
                remedy='choose a number that divides batch_size',
            )
        return batch_size // self.world

    def average(self, parameters: Sequence[nn.Parameter], module: nn.Module) -> None:
        """Make gradients and running statistics the mean over all processes.

        A parameter that took no part in any process counts as one with gradient zero.
        """
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        tensors = [p.grad for p in parameters if p.grad is not None]
        tensors += [b for b in module.buffers() if b.is_floating_point()]
        flat = torch.cat([t.detach().flatten().float() for t in tensors])
        distributed.all_reduce(flat)
        flat /= self.world
        _unpack(flat, tensors)


def _unpack(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    start = 0
    with torch.no_grad():
        for tensor in tensors:
            count = tensor.numel()
            tensor.copy_(flat[start : start + count].view_as(tensor))
            start += count


@contextlib.contextmanager
def processes(world: int, work: Callable[[Share], object]) -> Iterator[Share]:
    """Start ``world - 1`` helpers that call ``work`` and be the first one.

    Args:
        world: Number of processes; 1 starts none.
        work: What a helper does with its share; must be importable and picklable.

    Raises:
        RuntimeError: A helper ended with an error (which it has printed).
    """
    if world == 1:
        yield Share()
        return
    context = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as directory:
        meeting = Path(directory) / 'meeting'
        helpers = [
            context.Process(target=_help, args=(work, Share(r, world), meeting), daemon=True)
            for r in range(1, world)
        ]
        for helper in helpers:
            helper.start()
        try:
            with _group(Share(0, world), meeting):
                yield Share(0, world)
                for helper in helpers:
                    helper.join()
        finally:
            for helper in helpers:
                helper.terminate()
                helper.join()
    if any(helper.exitcode for helper in helpers):
        raise RuntimeError('a training process ended with an error, see above')


def _help(work: Callable[[Share], object], share: Share, meeting: Path) -> None:
    with _group(share, meeting):
        work(share)


@contextlib.contextmanager
def _group(share: Share, meeting: Path) -> Iterator[None]:
    # All processes are on this machine; the address of its name may not even exist.
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    distributed.init_process_group(
        'gloo', init_method=meeting.as_uri(), rank=share.rank, world_size=share.world
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
