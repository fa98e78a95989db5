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

"""Compare our evaluation with nuscenes-devkit on the same boxes, in an environment of its own.

``python benchmarks/peers/run.py`` makes ``.venv-peers`` in the repository root, installs
``requirements.txt`` there once, and runs ``compare.py`` in it. Exit status: 0 when every number
agrees within 1e-6, 1 when one does not, 2 when the environment could not be made. Works a second
time without network. Arguments are handed on to ``compare.py``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / '.venv-peers'
SUITABLE = ('3.11', '3.12', '3.10')


def find_python() -> str | None:
    """Return a Python for which the peers have wheels; the running one if it will do."""
    if f'{sys.version_info.major}.{sys.version_info.minor}' in SUITABLE:
        return sys.executable
    for version in SUITABLE:
        path = shutil.which(f'python{version}')
        # A version manager's shim may exist for a Python that is not installed.
        if path and subprocess.run([path, '-c', ''], capture_output=True).returncode == 0:
            return path
    return None


def make_environment() -> Path:
    """Create or reuse the environment; return its Python."""
    requirements = HERE / 'requirements.txt'
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    done, python = ENVIRONMENT / 'installed', ENVIRONMENT / 'bin' / 'python'
    if python.exists() and done.exists() and done.read_text() == digest:
        print(f'using {ENVIRONMENT}', flush=True)
        return python
    base = find_python()
    if base is None:
        print(f'error: the peers need one of Python {", ".join(SUITABLE)}', file=sys.stderr)
        sys.exit(2)
    print(f'making {ENVIRONMENT} with {base}; about 100 MB are fetched once', flush=True)
    install = [python, '-m', 'pip', 'install', '--disable-pip-version-check', '-r', requirements]
    try:
        subprocess.run([base, '-m', 'venv', '--clear', ENVIRONMENT], check=True)
        subprocess.run(install, check=True)
    except subprocess.CalledProcessError as error:
        print(f'error: {error}; check the network and run again', file=sys.stderr)
        sys.exit(2)
    done.write_text(digest)
    return python


def main() -> int:
    """Run the comparison and return its exit status."""
    python = make_environment()
    # One thread each, so that the ratio compares programs and not machines.
    environment = {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'OMP_NUM_THREADS': '1',
        'OPENBLAS_NUM_THREADS': '1',
        'MPLBACKEND': 'Agg',
        'PYTHONWARNINGS': 'ignore',
    }
    command = [python, HERE / 'compare.py', *sys.argv[1:]]
    return subprocess.run(command, env=environment, cwd=ROOT).returncode


if __name__ == '__main__':
    sys.exit(main())
