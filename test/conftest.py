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

"""Shared fixtures. Real samples and golden arrays are optional and never part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A loaded machine must not fail a property, and a run must be repeatable.
settings.register_profile('project', deadline=None, derandomize=True)
settings.load_profile('project')


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """Directory with real samples (``data/``) and golden arrays (``golden/``)."""
    value = os.environ.get('COOPTRACK_SHARED', '')
    if not value or not Path(value).is_dir():
        pytest.skip('COOPTRACK_SHARED is not set: needs the real samples and golden arrays')
    return Path(value)
