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
Build the ROS interface packages that PyPI's wheels lack, into the environment that runs this.

    .venv/bin/python interfaces/build.py

The generators' own CMake builds each type for C and C++, with three type supports, optimised: it
took 137 s of CPU for these few. Python over Fast DDS needs the C structures, two type supports of
them (the wire's, and the one that describes fields to Fast DDS) and the Python classes. All of a
package is one library here, which goes by the names that rclpy and the type supports look for.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import contextlib
import io
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any

import numpy
from rosidl_adapter import convert_to_idl
from rosidl_generator_c import generate_c
from rosidl_generator_py import generate_py
from rosidl_generator_type_description import generate_type_hash
from rosidl_typesupport_c import generate_c as generate_typesupport_c
from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
from rosidl_typesupport_introspection_c import generate_c as generate_introspection_c

HERE = Path(__file__).resolve().parent
PREFIX = Path(sys.prefix)
LIB, SHARE = PREFIX / 'lib', PREFIX / 'share'
# The packages of PyPI whose types ours use; every service uses service_msgs.
DEPENDENCIES = ('builtin_interfaces', 'geometry_msgs', 'service_msgs', 'std_msgs')
TYPE_SUPPORTS = ('rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')
PARTS = ('rosidl_generator_c', 'rosidl_generator_py', *TYPE_SUPPORTS)
LIBRARIES = (
    *(f'{package}__{part}' for package in DEPENDENCIES for part in PARTS),
    'fastcdr',
    'rcutils',
    'rosidl_runtime_c',
    'rosidl_typesupport_c',
    'rosidl_typesupport_fastrtps_c',
    'rosidl_typesupport_fastrtps_cpp',
    'rosidl_typesupport_introspection_c',
)
# Each generator's share folder, its function, and what that takes beside the arguments' file.
GENERATORS: dict[str, tuple[Any, ...]] = {
    'rosidl_generator_c': (generate_c,),
    'rosidl_typesupport_fastrtps_c': (generate_typesupport_fastrtps_c,),
    'rosidl_typesupport_introspection_c': (generate_introspection_c,),
    'rosidl_typesupport_c': (generate_typesupport_c, TYPE_SUPPORTS),
    'rosidl_generator_py': (generate_py, ['rosidl_typesupport_c']),
}
DESCRIPTION = 'rosidl_generator_type_description'
ENDINGS = ('_msgs', '_interfaces')


def definitions(package: str) -> list[Path]:
    """Return the .msg and .srv files of a package, relative to its folder."""
    folder = HERE / package
    found = [*folder.glob('msg/*.msg'), *folder.glob('srv/*.srv')]
    return sorted(path.relative_to(folder) for path in found)


def run_generator(
    package: str,
    build: Path,
    name: str,
    function: Callable[..., object],
    *more: Sequence[str],
    **arguments: list[str],
) -> None:
    """Let one generator write its code for a package, into a folder of its own."""
    out = build / name / package
    out.mkdir(parents=True, exist_ok=True)
    idls = build / DESCRIPTION / package
    described = {
        'package_name': package,
        'idl_tuples': [f'{idls}:{path.with_suffix(".idl")}' for path in definitions(package)],
        'output_dir': str(out),
        'template_dir': str(SHARE / name / 'resource'),
        'target_dependencies': [],
    }
    path = out / 'arguments.json'
    path.write_text(json.dumps({**described, **arguments}))
    function(str(path), *more)


def describe(package: str, build: Path) -> None:
    """Write a package's .idl files, and for each the description of its type with the hash."""
    out = build / DESCRIPTION / package
    paths = [f'{name}:{SHARE / name}' for name in DEPENDENCIES]
    for path in definitions(package):
        # It says which files it reads and writes.
        with contextlib.redirect_stdout(io.StringIO()):
            convert_to_idl(HERE / package, package, path, out)
    run_generator(package, build, DESCRIPTION, generate_type_hash, include_paths=paths)


def generate(package: str, build: Path, name: str) -> None:
    """Let one generator write its code for a package that has been described."""
    paths = definitions(package)
    described = build / DESCRIPTION / package
    run_generator(
        package,
        build,
        name,
        *GENERATORS[name],
        type_description_tuples=[
            f'{path.with_suffix(".idl")}:{described / path.with_suffix(".json")}' for path in paths
        ],
        ros_interface_files=[str(HERE / package / path) for path in paths],
    )
    template = SHARE / name / 'resource' / f'{name}__visibility_control.h.in'
    if template.exists():
        text = template.read_text().replace('@PROJECT_NAME@', package)
        header = build / name / package / 'msg' / f'{name}__visibility_control.h'
        header.parent.mkdir(exist_ok=True)
        header.write_text(text.replace('@PROJECT_NAME_UPPER@', package.upper()))


def units(package: str, build: Path) -> list[Path]:
    """
    Return what to compile of a package.

    Headers take most of the time, so files are compiled as one wherever two types' do not define
    the same names, as their descriptions do.
    """
    found = sorted(path for name in GENERATORS for path in (build / name / package).rglob('*.c*'))
    descriptions = [path for path in found if path.name.endswith('__description.c')]
    python = [path for path in found if path.name.endswith('_s.c')]
    cpp = [path for path in found if path.suffix == '.cpp']
    others = set(found) - {*descriptions, *python, *cpp}
    together = {'cpp.cpp': cpp, 'python.c': python, 'others.c': sorted(others)}
    for name, paths in together.items():
        (build / package / name).write_text(''.join(f'#include "{path}"\n' for path in paths))
    return [*descriptions, *(build / package / name for name in together)]


def compiler() -> list[str]:
    """Return the command of the C++ compiler, which compiles C as well."""
    found = os.environ.get('CXX') or shutil.which('c++') or shutil.which('g++')
    if not found:
        sys.exit('There is no C++ compiler here: sudo apt install g++')
    return found.split()


def run(command: list[str]) -> None:
    """Run a compiler; where it fails, show what it says and end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f'{command[0]} {command[-1]}:\n{done.stderr}')


def compile_unit(path: Path, target: Path, build: Path) -> None:
    """Compile one file."""
    include = PREFIX / 'include'
    folders = [build / name for name in GENERATORS]
    folders += [Path(sysconfig.get_path('include')), Path(numpy.get_include()), include]
    folders += sorted(folder for folder in include.iterdir() if folder.is_dir())
    language = 'c++' if path.suffix == '.cpp' else 'c'
    flags = ['-O0', '-fPIC', '-w', *(f'-I{folder}' for folder in folders), '-x', language]
    run([*compiler(), *flags, '-c', str(path), '-o', str(target)])


def link(package: str, build: Path) -> None:
    """Link all of a package as one library."""
    libraries = [f'-L{LIB}', *(f'-l{name}' for name in LIBRARIES)]
    objects = sorted(str(path) for path in (build / package).glob('*.o'))
    # It is loaded from lib/, and by Python by its name in site-packages.
    where = ['-Wl,--as-needed', '-Wl,-rpath,$ORIGIN:$ORIGIN/../../..']
    library = build / package / 'library.so'
    run([*compiler(), '-shared', *where, *objects, *libraries, '-o', str(library)])


def install(package: str, build: Path) -> None:
    """Put a package where Python, ROS and the ament index look for it, replacing an older one."""
    python = Path(sysconfig.get_path('platlib')) / package
    share = SHARE / package
    for folder in (python, share):
        shutil.rmtree(folder, ignore_errors=True)
    for path in LIB.glob(f'lib{package}__*.so'):
        path.unlink()
    generated = build / 'rosidl_generator_py' / package
    copies = [(path, python / path.relative_to(generated)) for path in generated.glob('*/*.py')]
    types = []
    for path in definitions(package):
        idl, description = path.with_suffix('.idl'), path.with_suffix('.json')
        described = build / DESCRIPTION / package
        copies += [(described / other, share / other) for other in (idl, description)]
        copies.append((HERE / package / path, share / path))
        types += [str(idl), str(path)]
    library, *names = (LIB / f'lib{package}__{name}.so' for name in TYPE_SUPPORTS)
    copies.append((build / package / 'library.so', library))
    for source, target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    for name in (*names, python / f'{package}_s__rosidl_typesupport_c.so'):
        name.symlink_to(os.path.relpath(library, name.parent))
    (python / '__init__.py').touch()
    index = SHARE / 'ament_index' / 'resource_index'
    for resource, content in (('packages', ''), ('rosidl_interfaces', '\n'.join(types))):
        (index / resource).mkdir(parents=True, exist_ok=True)
        (index / resource / package).write_text(content)


def main() -> None:
    """Build and install every package that has a folder here."""
    packages = sorted(folder.name for folder in HERE.iterdir() if folder.name.endswith(ENDINGS))
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        print('Generating', ', '.join(packages), flush=True)
        with ProcessPoolExecutor() as pool:
            list(pool.map(describe, packages, [build] * len(packages)))
            jobs = [(package, build, name) for name in GENERATORS for package in packages]
            list(pool.map(generate, *zip(*jobs, strict=True)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            files = []
            for package in packages:
                (build / package).mkdir()
                for count, path in enumerate(units(package, build)):
                    files.append((path, build / package / f'{count}.o', build))
            print(f'Compiling {len(files)} files', flush=True)
            list(pool.map(compile_unit, *zip(*files, strict=True)))
            list(pool.map(link, packages, [build] * len(packages)))
        for package in packages:
            install(package, build)


if __name__ == '__main__':
    main()
