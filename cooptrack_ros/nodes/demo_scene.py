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

"""Nodes room: ``python -m cooptrack_ros.nodes.demo_scene SEED`` simulates the demo scene once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from cooptrack_core.errors import InputError
from cooptrack_ros.commands.demo import FIRST_HELD_OUT_SEED, simulated_scene
from cooptrack_ros.console import Terminal
from cooptrack_ros.nodes.inputs import demo_directory, demo_is_there


def main(args: Sequence[str] | None = None) -> int:
    """Simulate the scene of a seed into the cache unless it is there; returns the exit status."""
    given = list(sys.argv[1:] if args is None else args)
    try:
        if len(given) != 1 or not given[0].isdigit() or int(given[0]) < FIRST_HELD_OUT_SEED:
            raise InputError(
                f'{" ".join(given)!r} is no seed of a held-out scene',
                field='seed',
                remedy=f'give one number, {FIRST_HELD_OUT_SEED} or more',
            )
        seed = int(given[0])
        directory = demo_directory(seed)
        if directory.exists() and not demo_is_there(seed):
            shutil.rmtree(directory)  # the cache is ours; a scene without its mark is not whole
        simulated_scene(directory, seed, Terminal())
    except InputError as error:
        sys.stderr.write(f'cooptrack_ros: {error}\n')
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
