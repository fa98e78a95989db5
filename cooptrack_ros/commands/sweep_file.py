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

"""The file of a sweep: begun, written point by point, gone on with after an interruption."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cooptrack_core import __version__
from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.files import write_text_atomically
from cooptrack_core.perception import ModelSet, StreamOptions


def settings_of(
    options: argparse.Namespace,
    dataset: V2XSeqDataset,
    models: ModelSet,
    names: Sequence[str],
    base: StreamOptions,
) -> dict[str, Any]:
    """All that must be the same when a sweep goes on, as a reader of its file gets it."""
    settings = {
        'version': __version__,
        'over': options.over,
        'data': dataset.root.resolve().name,
        'dataset': dataset.protocol,
        'methods': list(names),
        'models': {role: model['model_id'] for role, model in models.as_dict().items()},
        'scenes': options.scenes,
        'rate_hz': options.rate,
        'remotes': options.remotes,
        'radio': asdict(base),
    }
    # Tuples become lists.
    content: dict[str, Any] = json.loads(json.dumps(settings))
    return content


def open_document(
    path: Path, new: dict[str, Any], keys: Collection[str], *, overwrite: bool
) -> dict[str, Any]:
    """Return the document of a sweep just begun, or the one to go on with.

    Args:
        path: ``sweep.json``; it need not exist.
        new: The document without points, with ``settings``.
        keys: What every finished point has.
        overwrite: Forget what is there.

    Raises:
        InputError: The file is another sweep, or none.
    """
    if overwrite or not path.exists():
        return new
    settings = new['settings']
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        before, points = found['settings'], found['points']
        known = {key for key in settings if before.get(key) == settings[key]}
        whole = all(set(keys) <= point.keys() for point in points)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f'this is no sweep to go on with ({error})',
            path=path,
            remedy='choose another -o, or say --overwrite',
        ) from error
    if known != settings.keys() or not whole:
        other = sorted(settings.keys() - known) or ['its points']
        raise InputError(
            f'the sweep in it has other settings: {", ".join(other)}',
            path=path,
            remedy='choose another -o, or say --overwrite to forget it',
        )
    return {**new, **found}


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write the document; a reader never finds half of it."""
    write_text_atomically(path, json.dumps(document, indent=2, allow_nan=False) + '\n')


def without_classes(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of a method for the car alone."""
    return {key: value for key, value in metrics.items() if key != 'classes'}
