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

"""V2X-Seq reader: the dataset and its scenes; opening reads index files only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cooptrack_core.datasets.v2x_seq.labels import VelocityMode
from cooptrack_core.datasets.v2x_seq.layout import (
    EGO_ID,
    SPLIT_FILE,
    FrameRecord,
    read_agents,
    read_frames,
    read_pairs,
    read_split,
)
from cooptrack_core.datasets.v2x_seq.objects import CLASS_MAP, LabelCorrections
from cooptrack_core.datasets.v2x_seq.scene import COOPERATIVE, Scene
from cooptrack_core.errors import InputError
from cooptrack_core.structures import CLASS_NAMES, Role


class V2XSeqDataset:
    """A directory in the layout of V2X-Seq-SPD (reference section 6).

    Attributes:
        root: The directory.
        agents: The ego first, then the roadside unit, then the sides of ``agents.json``.
        scenes: One per sequence of the split, ordered by sequence id.
        counts: What label reading dropped or changed so far, by reason. Sequences are read when
            their labels are first asked for, and counted once.
        warnings: What was dropped while reading frames (``on_image_error='drop'``).
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str | None = None,
        split_file: str | Path | None = None,
        label_corrections: str | Path | LabelCorrections | None = None,
        cooperative_deletions: bool = False,
        remove_ego_from_cooperative: bool = False,
        interpolate: bool = True,
        velocity: VelocityMode = 'repaired',
        class_map: Mapping[str, str | None] | None = None,
        on_image_error: Literal['raise', 'drop'] = 'raise',
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        """Read the index files.

        Args:
            root: Directory with vehicle-side, infrastructure-side and cooperative.
            split: ``train``, ``val`` or ``test``; None takes every sequence.
            split_file: File with ``batch_split``; default: V2X-Seq's own name, inside root.
            label_corrections: Published ``update_label_info.json``, applied to the labels of the
                sides.
            cooperative_deletions: Apply its cooperative list too (UniV2X does, CoopTrack not).
            remove_ego_from_cooperative: Drop the ego's own box from cooperative labels.
            interpolate: Bridge gaps of tracks.
            velocity: ``official`` gives the last sighting of a track velocity 0.
            class_map: Further raw types to class, or to None to drop them.
            on_image_error: ``drop`` gives a frame without images and a warning.
            on_warning: Called with each warning.

        Raises:
            InputError: An index file is missing or wrong.
        """
        self.root = Path(root)
        self.agents = read_agents(self.root)
        self.counts: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.interpolate = interpolate
        self.velocity = velocity
        self.remove_ego_from_cooperative = remove_ego_from_cooperative
        self.on_image_error = on_image_error
        self._on_warning = on_warning
        self._split = split
        self.class_map = _merged_class_map(class_map or {})
        self._corrections_from = label_corrections
        if isinstance(label_corrections, (str, Path)):
            label_corrections = LabelCorrections.read(label_corrections)
        none: Mapping[str, tuple[str, int] | None] = {}
        listed = label_corrections
        self.corrections = {
            str(Role.VEHICLE): listed.vehicle if listed else none,
            str(Role.ROADSIDE): listed.roadside if listed else none,
            COOPERATIVE: listed.cooperative if listed and cooperative_deletions else none,
        }
        self.records: dict[str, dict[str, FrameRecord]] = {
            agent.agent_id: {f.frame_id: f for f in read_frames(self.root, agent)}
            for agent in self.agents
        }
        pairs = read_pairs(self.root, self.records)
        sequences = {f.sequence_id for f in self.records[EGO_ID].values()}
        if split is not None:
            path = Path(split_file) if split_file is not None else self.root / SPLIT_FILE
            sequences &= read_split(path, split)
            if not sequences:
                raise InputError(
                    f'no sequence of this dataset is in split {split!r}',
                    path=path,
                    field=f'batch_split.{split}',
                    remedy='use another split, or split=None for every sequence',
                )
        by_sequence: dict[str, dict[str, list[FrameRecord]]] = {s: {} for s in sequences}
        for agent_id, records in self.records.items():
            for record in records.values():
                if record.sequence_id in by_sequence:
                    by_sequence[record.sequence_id].setdefault(agent_id, []).append(record)
        self.scenes = tuple(
            Scene(self, sequence_id, by_sequence[sequence_id], pairs.get(sequence_id, ()))
            for sequence_id in sorted(sequences)
        )

    @property
    def protocol(self) -> dict[str, Any]:
        """How the data are read; printed with every number that is measured on them."""
        corrections: str | dict[str, Any] = 'none'
        if self._corrections_from is not None:
            given = self._corrections_from
            corrections = {
                'file': Path(given).name if isinstance(given, (str, Path)) else 'given in code',
                **{side: len(changes) for side, changes in self.corrections.items()},
            }
        return {
            'layout': 'V2X-Seq-SPD',
            'split': self._split or 'all sequences',
            'sequences': len(self.scenes),
            'pairs': sum(len(scene.pairs) for scene in self.scenes),
            'agents': [agent.agent_id for agent in self.agents],
            'frequency_hz': self._frequency(),
            'label_corrections': corrections,
            'ego_box_in_cooperative_labels': 'removed'
            if self.remove_ego_from_cooperative
            else 'kept',
            'gaps': 'interpolated in the world frame' if self.interpolate else 'left open',
            'velocity': 'forward difference; last sighting: '
            + ('0' if self.velocity == 'official' else 'backward difference'),
            'classes': {key: value or 'dropped' for key, value in self.class_map.items()},
        }

    def scene(self, sequence_id: str) -> Scene:
        """Find a scene by its id.

        Raises:
            InputError: There is none.
        """
        for scene in self.scenes:
            if scene.sequence_id == sequence_id:
                return scene
        raise InputError(
            f'there is no sequence {sequence_id!r} in this split',
            path=self.root,
            field='sequence_id',
            remedy=f'use one of {[s.sequence_id for s in self.scenes]}',
        )

    def __getstate__(self) -> dict[str, Any]:
        """What crosses to another process: ``on_warning`` stays, it speaks to this one's user."""
        return {**vars(self), '_on_warning': None}

    def warn(self, text: str) -> None:
        """Keep a warning and pass it on."""
        self.warnings.append(text)
        if self._on_warning is not None:
            self._on_warning(text)

    def _frequency(self) -> float | None:
        steps = [
            np.diff([self.records[EGO_ID][p.ego_frame_id].stamp_ns for p in scene.pairs])
            for scene in self.scenes
            if len(scene.pairs) > 1
        ]
        if not steps:
            return None
        return round(1e9 / float(np.median(np.concatenate(steps))), 2)


def _merged_class_map(extra: Mapping[str, str | None]) -> dict[str, str | None]:
    for key, value in extra.items():
        if value is not None and value not in CLASS_NAMES:
            raise InputError(
                f'{value!r} is no class',
                field=f'class_map.{key}',
                remedy=f'use one of {list(CLASS_NAMES)}, or None to drop the type',
            )
    return {**CLASS_MAP, **{key.lower(): value for key, value in extra.items()}}
