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

"""The streaming API: what nodes, the runner, `evaluate` and the demo call, and nothing else."""

from cooptrack_core.perception.agent import AgentPerception, AgentResult
from cooptrack_core.perception.air import RadioEvent
from cooptrack_core.perception.cooperative import (
    Association,
    CooperativePerception,
    CooperativeResult,
    Unmatched,
)
from cooptrack_core.perception.loading import (
    Backend,
    ModelSet,
    PerceptionModel,
    Precision,
    exported_file,
    load_model,
)
from cooptrack_core.perception.map_loading import MapModel, load_map_model
from cooptrack_core.perception.map_stream import MapMoment, MapRadio
from cooptrack_core.perception.mapping import (
    BevMapper,
    LeftOut,
    MapResult,
    MapStats,
    semantic_ids,
    static_ids,
)
from cooptrack_core.perception.stream import EgoMoment, RadioStream, StreamOptions

__all__ = [
    'AgentPerception',
    'AgentResult',
    'Association',
    'Backend',
    'BevMapper',
    'CooperativePerception',
    'CooperativeResult',
    'EgoMoment',
    'LeftOut',
    'MapModel',
    'MapMoment',
    'MapRadio',
    'MapResult',
    'MapStats',
    'ModelSet',
    'PerceptionModel',
    'Precision',
    'RadioEvent',
    'RadioStream',
    'StreamOptions',
    'Unmatched',
    'exported_file',
    'load_map_model',
    'load_model',
    'semantic_ids',
    'static_ids',
]
