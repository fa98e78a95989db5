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

"""OPV2V reader: the dataset, a split of it, or one scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cooptrack_core.datasets.opv2v.scenario import Opv2vScenario, ReadOptions
from cooptrack_core.errors import InputError

SPLITS = ('train', 'validate', 'test', 'test_culvercity')


class Opv2vDataset:
    """A directory in the layout of OPV2V (reference cobevt.md, section 8.1).

    Attributes:
        root: The directory.
        options: How scenarios are read.
        scenarios: Ordered by split and name; opening reads names of files only.
    """

    def __init__(
        self, root: str | Path, *, split: str | None = None, options: ReadOptions | None = None
    ) -> None:
        """List the scenarios.

        Args:
            root: The dataset with its splits, one split, or one scenario.
            split: One of the splits below ``root``; None takes all there are.
            options: Default: as the official loaders.

        Raises:
            InputError: There is no scenario, no such split, or a frame has an odd name.
        """
        self.root = Path(root)
        self.options = options or ReadOptions()
        self._split = split
        self.scenarios = tuple(_scenario(p, self.options) for p in self._folders(split))

    def _folders(self, split: str | None) -> list[Path]:
        if not self.root.is_dir():
            raise InputError(
                'there is no such directory', path=self.root,
                remedy='give the directory that holds train, validate and test',
            )  # fmt: skip
        if split is not None:
            found = _scenarios_below(self.root / split) if (self.root / split).is_dir() else []
            if not found:
                there = [s for s in SPLITS if (self.root / s).is_dir()]
                raise InputError(
                    f'there are no scenarios of split {split!r}', path=self.root, field='split',
                    remedy=f'use one of {there}' if there else 'give the directory of the splits',
                )  # fmt: skip
            return found
        if _is_scenario(self.root):
            return [self.root]
        found = _scenarios_below(self.root)
        for name in SPLITS:
            if (self.root / name).is_dir():
                found += _scenarios_below(self.root / name)
        if not found:
            raise InputError(
                'this is no dataset in the OPV2V layout: no folder <scenario>/<agent id> holds '
                '<frame>.yaml', path=self.root,
                remedy='give the dataset with its splits, one split, or one scenario',
            )  # fmt: skip
        return found

    @property
    def protocol(self) -> dict[str, Any]:
        """How the data are read; printed with every number that is measured on them."""
        options = self.options
        return {
            'layout': 'OPV2V',
            'split': self._split or 'all scenarios',
            'scenarios': len(self.scenarios),
            'frames': sum(len(s.frame_ids(s.vehicle_ids[0])) for s in self.scenarios
                          if s.vehicle_ids),
            'max_agents': options.max_agents,
            'communication_range_m': options.communication_range,
            'map': {
                'rows': options.grid.rows,
                'columns': options.grid.columns,
                'cell_m': options.grid.cell,
                'centre': 'vehicle pose (true_ego_pos), heading up',
                'covered': 'grey > 0',
            },
            'ego': 'first vehicle in text order; never a roadside unit (negative id)',
        }  # fmt: skip

    def scenario(self, scenario_id: str) -> Opv2vScenario:
        """Find a scenario by its name.

        Raises:
            InputError: There is none.
        """
        for scenario in self.scenarios:
            if scenario.scenario_id == scenario_id:
                return scenario
        raise InputError(
            f'there is no scenario {scenario_id!r}', path=self.root, field='scenario_id',
            remedy=f'use one of {[s.scenario_id for s in self.scenarios][:20]}',
        )  # fmt: skip


def is_opv2v(path: Path) -> bool:
    """Whether a directory is a dataset in this layout, a split of it, or a scenario."""
    below = [path / name for name in SPLITS if (path / name).is_dir()]
    return _is_scenario(path) or any(_scenarios_below(found) for found in (path, *below))


def _agent_id(path: Path) -> bool:
    return path.name.removeprefix('-').isdecimal() and path.is_dir()


def _is_scenario(path: Path) -> bool:
    return any(_agent_id(p) and any(p.glob('*.yaml')) for p in path.iterdir())


def _scenarios_below(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and _is_scenario(p))


def _scenario(path: Path, options: ReadOptions) -> Opv2vScenario:
    frames = {}
    for agent in sorted(p for p in path.iterdir() if _agent_id(p)):
        names = sorted(p.stem for p in agent.glob('*.yaml'))
        for name in names:
            if not name.isdecimal():
                raise InputError(
                    'the name of a frame must be a number', path=agent / f'{name}.yaml',
                    remedy='remove the file; frames are called like 000068.yaml',
                )  # fmt: skip
        if names:
            frames[agent.name] = tuple(sorted(names, key=int))
    return Opv2vScenario(path, frames, options)
