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

"""`cooptrack doctor`."""

from __future__ import annotations

import argparse

from cooptrack_ros import doctor
from cooptrack_ros.console import Terminal, emit_json


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print the findings; exit code 1 when there is a problem."""
    findings = doctor.diagnose()
    rows = [[f.area, f.status, f.found, f.remedy] for f in findings]
    terminal.table('cooptrack doctor', ['what', 'status', 'found', 'remedy'], rows)
    problems = sum(f.status == 'problem' for f in findings)
    terminal.say(f'{problems} problem(s)' if problems else 'everything needed is here')
    emit_json(doctor.as_json(findings), options.json)
    return 1 if problems else 0
