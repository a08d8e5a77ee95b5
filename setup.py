# Copyright 2026 nurec_ros contributors
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
"""
Package metadata, and the generation of the protobuf messages during every kind of build.

The metadata stand here and not in pyproject.toml because Humble's setuptools ignores `[project]`.
"""

from glob import glob
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

NAME = 'nurec_ros'
ROOT = Path(__file__).resolve().parent
PROTO_DIR = Path(NAME, 'rendering', 'protos')
# What ROS is told of the package, and PyPI likewise.
MANIFEST = ET.parse(ROOT / 'package.xml').getroot()
EMAIL = next(MANIFEST.iter('maintainer')).get('email')
URLS = {url.get('type', '').capitalize(): url.text for url in MANIFEST.iter('url')}


def generate_messages(target: str | Path) -> None:
    """Write the `_pb2.py` files of our .proto files below the folder `target`."""
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PROTO_DIR).glob('*.proto'))
    Path(target).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-m', 'grpc_tools.protoc', '-I.', f'--python_out={target}', *protos]
    subprocess.run(command, cwd=ROOT, check=True)


def protobuf_requirement() -> str:
    """
    Return which protobuf runtimes accept what this machine's generator writes.

    pip chooses generator and runtime apart. A generated file works with a runtime that is as new
    as its generator or newer, up to and including the next major version; before 3.20 the
    generated code names no version and is told by what it calls.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            generate_messages(folder)
        except (OSError, subprocess.CalledProcessError):
            # Metadata are asked for on machines without the generator too (rosdep, colcon list).
            return 'protobuf>=3.12'
        text = (Path(folder) / PROTO_DIR / 'common_pb2.py').read_text()
    named = re.search(r'Domain\.PUBLIC,\s*(\d+),\s*(\d+),\s*(\d+)', text)
    if named:
        return f'protobuf>={".".join(named.groups())},<{int(named.group(1)) + 2}'
    if '_builder' in text:
        return 'protobuf>=3.20'
    if 'AddSerializedFile' in text:
        return 'protobuf>=3.19'
    return 'protobuf>=3.12,<4'


def check_messages(folder: str | Path) -> None:
    """Stop a build whose generated messages this Python's protobuf runtime cannot load."""
    done = subprocess.run(
        [sys.executable, str(Path(folder) / PROTO_DIR / 'common_pb2.py')],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(
            f'The generated protobuf messages do not load with the protobuf runtime of '
            f'{sys.executable}: {done.stderr.strip().splitlines()[-1]}\n'
            'Generator and runtime must come from one source: both from apt '
            '(python3-grpc-tools, python3-protobuf; pip uninstall protobuf grpcio-tools), or both '
            'from pip (pip install --upgrade protobuf grpcio-tools).'
        )


class BuildPy(build_py):  # type: ignore[misc]
    """Build the Python modules, the generated messages among them."""

    def run(self) -> None:
        editable = getattr(self, 'editable_mode', False)
        target = ROOT if editable else (ROOT / self.build_lib)
        generate_messages(target)
        check_messages(target)
        super().run()

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs + [
            str(Path(self.build_lib) / PROTO_DIR / f'{path.stem}_pb2.py')
            for path in (ROOT / PROTO_DIR).glob('*.proto')
        ]


class Develop(develop):  # type: ignore[misc]
    """Install in place (`colcon build --symlink-install`), the messages beside their source."""

    def run(self) -> None:
        generate_messages(ROOT)
        check_messages(ROOT)
        super().run()


COMMANDS = (
    'player', 'preview', 'probe', 'example', 'demo', 'info', 'export', 'control', 'follow',
    'autoware',
)  # fmt: skip

setup(
    name=NAME,
    version=MANIFEST.findtext('version'),
    description=MANIFEST.findtext('description'),
    long_description=(ROOT / 'README.md').read_text() if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license=MANIFEST.findtext('license'),
    author=MANIFEST.findtext('author'),
    maintainer=MANIFEST.findtext('maintainer'),
    maintainer_email=EMAIL,
    url=URLS['Website'],
    project_urls=URLS,
    keywords=['ROS', 'ROS 2', 'NuRec', 'simulation', 'autonomous driving', 'neural rendering'],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)),
        'Topic :: Scientific/Engineering',
        'Topic :: Software Development',
        'Typing :: Typed',
    ],
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={
        NAME: ['py.typed'],
        f'{NAME}.rendering.protos': ['*.proto'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (os.path.join('share', NAME, 'launch'), sorted(glob('launch/*.launch.py'))),
        (os.path.join('share', NAME, 'config'), sorted(glob('config/*'))),
    ],
    python_requires='>=3.10',
    install_requires=[
        'grpcio>=1.30',
        'numpy>=1.21',
        'opencv-python-headless>=4.5',
        'pyyaml>=5.4',
        'scipy>=1.8',
        'tqdm>=4.57',
        protobuf_requirement(),
    ],
    extras_require={
        # Real ROS 2 on a machine without a distribution; never beside one.
        'wheels': [
            'ros-rclpy[fastrtps]',
            'ros-ament-index-python',
            'ros-builtin-interfaces',
            'ros-diagnostic-msgs',
            'ros-geometry-msgs',
            'ros-nav-msgs',
            'ros-rosgraph-msgs',
            'ros-sensor-msgs',
            'ros-std-msgs',
            'ros-std-srvs',
            'ros-visualization-msgs',
        ],
        # ROS's own linters, likewise.
        'wheels-lint': [
            'flake8',
            'flake8-builtins',
            'flake8-class-newline',
            'flake8-comprehensions',
            'flake8-deprecated',
            'flake8-docstrings',
            'flake8-import-order',
            'flake8-quotes',
            'pydocstyle',
            'ros-ament-flake8',
            'ros-ament-pep257',
        ],
        'fast': ['orjson', 'simplejpeg'],
        'demo': ['rosbags>=0.10'],
        'export': ['rosbags>=0.10'],
        'video': ['av'],
        # There are no wheels for Python 3.14 yet.
        'cluster': ['ray>=2.9; python_version < "3.14"'],
        'test': ['hypothesis', 'pytest', 'pytest-xdist'],
        # What the tests of the node, the demo and the packaging need besides.
        'test-ros': [
            'colcon-library-path',
            'colcon-python-setup-py',
            'colcon-recursive-crawl',
            'colcon-ros',
            'grpcio-tools',
            'mcap',
            'rosbags',
            'setuptools',
            'wheel',
        ],
        'lint': ['mypy', 'ruff'],
    },
    entry_points={
        'console_scripts': [f'nurec_{name} = {NAME}.cli.entry:{name}' for name in COMMANDS],
    },
    zip_safe=False,
    cmdclass={'build_py': BuildPy, 'develop': Develop},
)
