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

"""CoBEVT: one file per named part of the paper; ``model.py`` puts them together."""

from cooptrack_core.models.cobevt import official_inputs
from cooptrack_core.models.cobevt.checkpoint import load_official
from cooptrack_core.models.cobevt.config import CobevtConfig
from cooptrack_core.models.cobevt.interface import MapInputs, MapOutputs, RingInputs
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cobevt.quirks import CobevtQuirks
from cooptrack_core.models.cobevt.trace import record_stages

__all__ = [
    'Cobevt',
    'CobevtConfig',
    'CobevtQuirks',
    'MapInputs',
    'MapOutputs',
    'RingInputs',
    'load_official',
    'official_inputs',
    'record_stages',
]
