# Copyright 2026 cooptrack_ros contributors
#
# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The only place of metadata: pip and colcon both read it."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'cooptrack_ros'
ROOT = Path(__file__).parent
VERSION = re.search(
    r"__version__ = '(.+)'", (ROOT / 'cooptrack_core' / '__init__.py').read_text()
).group(1)

# setuptools wants paths relative to this file, and colcon calls from elsewhere.
os.chdir(ROOT)


def share(directory, pattern='*'):
    """List the files below a directory, each with its place below share/cooptrack_ros."""
    places = {}
    for path in sorted(Path(directory).rglob(pattern)):
        if path.is_file() and '__pycache__' not in path.parts:
            places.setdefault(f'share/{PACKAGE}/{path.parent}', []).append(str(path))
    return list(places.items())


setup(
    name=PACKAGE,
    version=VERSION,
    description='Cooperative 3-D tracking for vehicles and roadside units (CoopTrack), ROS 2',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    author='cooptrack_ros contributors',
    maintainer='cooptrack_ros maintainers',
    maintainer_email='maintainers@cooptrack-ros.org',
    python_requires='>=3.10',
    packages=find_packages(
        include=['cooptrack_ros', 'cooptrack_ros.*', 'cooptrack_core', 'cooptrack_core.*']
    ),
    package_data={
        'cooptrack_core': ['py.typed', 'weights/*.safetensors', 'weights/*.npz'],
        'cooptrack_ros': ['py.typed', 'report/*.html', 'report/*.css', 'report/*.js'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        *share('launch', '*.py'),
        *share('config'),
        *share('cooptrack_msgs/msg', '*.msg'),
    ],
    install_requires=[
        'setuptools',
        'torch>=2.2',
        'numpy>=1.24',
        'scipy>=1.10',
        'opencv-python-headless>=4.7,<5',
        'rosbags>=0.10',
        'rosbags-image>=0.1',
        'rich>=13',
        'safetensors>=0.4',
        'PyYAML>=6',
    ],
    extras_require={
        'simulator': ['trimesh>=4', 'embreex>=2.17.7'],
        'training': ['tensorboard>=2.15'],
        'openvino': ['openvino>=2024.4'],
        'onnxruntime': ['onnxruntime>=1.18', 'onnx>=1.16', 'onnxscript>=0.5'],
        'test': [
            'pytest>=7',
            'hypothesis>=6',
            'ruff>=0.17,<0.18',
            'mypy>=2.4,<3',
            'types-PyYAML',
            'scipy-stubs',
            'colcon-common-extensions',
            'catkin_pkg',
        ],
    },
    entry_points={
        'console_scripts': [
            'cooptrack = cooptrack_ros.cli:main',
            'agent_node = cooptrack_ros.nodes.agent_node:main',
            'bev_map_node = cooptrack_ros.nodes.bev_map_node:main',
            'cooperative_node = cooptrack_ros.nodes.cooperative_node:main',
            'dataset_player_node = cooptrack_ros.nodes.dataset_player_node:main',
            'v2x_channel_node = cooptrack_ros.nodes.v2x_channel_node:main',
        ],
    },
    zip_safe=False,
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
