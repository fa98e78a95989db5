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

"""Room of evaluation: one method trained several times, with different seeds.

What is told of it is the mean over its training runs. Its intervals over scenes are of that mean:
in every draw of scenes all runs are computed, and averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cooptrack_core.evaluation.bootstrap import Resampled

# Numbers of which the deviation between runs is told.
DEVIATIONS = ('mean_ap', 'amota', 'amotp', 'mota', 'ids', 'recall', 'hidden_recall',
              'hidden_precision')  # fmt: skip


def mean_metrics(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the numbers of several runs of one method.

    Args:
        runs: As ``MethodMetrics.as_dict`` gives them, one or more.

    Returns:
        The same keys with means, a number that any run leaves undefined (None) being None;
        and, of two or more runs, ``deviation`` (standard deviation of the sample, of the numbers
        of ``DEVIATIONS``) and ``runs``, the numbers of each.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError('no run to average')
    if len(runs) == 1:
        return dict(runs[0])
    mean: dict[str, Any] = _mean(runs)
    deviation = {}
    for key in DEVIATIONS:
        values = [run.get(key) for run in runs]
        known = [float(value) for value in values if value is not None]
        if len(known) == len(runs):
            deviation[key] = float(np.std(known, ddof=1))
    return {**mean, 'deviation': deviation, 'runs': [dict(run) for run in runs]}


def _mean(values: Sequence[Any]) -> Any:
    """Mean of numbers, key by key in dictionaries; equal things that are no numbers stay."""
    first = values[0]
    if isinstance(first, Mapping) and all(isinstance(value, Mapping) for value in values):
        return {key: _mean([value[key] for value in values]) for key in first}
    if any(value is None for value in values):
        return None
    if all(value == first for value in values):
        return first
    return float(np.mean(values))


def mean_draws(runs: Sequence[Resampled]) -> Resampled:
    """Average several runs of one method, draw by draw.

    Args:
        runs: One or more, drawn over the same scenes.

    Raises:
        ValueError: There is no run, or they did not draw the same scenes.
    """
    if not runs:
        raise ValueError('no run to average')
    if any(run.key != runs[0].key for run in runs):
        raise ValueError('the runs were not drawn over the same scenes')
    return Resampled(
        {m: float(np.mean([run.values[m] for run in runs])) for m in runs[0].values},
        {m: np.mean([run.draws[m] for run in runs], axis=0) for m in runs[0].draws},
        runs[0].key,
    )
