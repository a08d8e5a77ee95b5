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
took 137 s of CPU for these few. Python over Fast DDS needs the C structures, Fast DDS's type
support for them, and the Python classes. Where there is one type support, rosidl_typesupport_c
hands out its handles, so that all of a package fits into the one module that rclpy loads.
"""

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

import numpy
from rosidl_adapter import convert_to_idl
from rosidl_generator_c import generate_c
from rosidl_generator_py import generate_py
from rosidl_generator_type_description import generate_type_hash
from rosidl_typesupport_c import generate_c as generate_typesupport_c
from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c

HERE = Path(__file__).resolve().parent
PREFIX = Path(sys.prefix)
SHARE = PREFIX / 'share'
# The packages of PyPI whose types ours use; every service uses service_msgs.
DEPENDENCIES = ('builtin_interfaces', 'geometry_msgs', 'service_msgs', 'std_msgs')
PARTS = ('rosidl_generator_c', 'rosidl_generator_py', 'rosidl_typesupport_fastrtps_c')
LIBRARIES = (
    *(f'{package}__{part}' for package in DEPENDENCIES for part in PARTS),
    'fastcdr',
    'rcutils',
    'rosidl_runtime_c',
    'rosidl_typesupport_c',
    'rosidl_typesupport_fastrtps_c',
    'rosidl_typesupport_fastrtps_cpp',
)
TYPE_SUPPORT = 'rosidl_typesupport_c'
ENDINGS = ('_msgs', '_interfaces')
# Each generator's share folder, its function, and what that takes beside the arguments' file.
GENERATORS = {
    'rosidl_generator_c': (generate_c,),
    'rosidl_typesupport_fastrtps_c': (generate_typesupport_fastrtps_c,),
    TYPE_SUPPORT: (generate_typesupport_c, ['rosidl_typesupport_fastrtps_c']),
    'rosidl_generator_py': (generate_py, [TYPE_SUPPORT]),
}


def definitions(package):
    """Return the .msg and .srv files of a package, relative to its folder."""
    folder = HERE / package
    found = [*folder.glob('msg/*.msg'), *folder.glob('srv/*.srv')]
    return sorted(path.relative_to(folder) for path in found)


def write_arguments(package, out, name, **more):
    """Write what every generator is told, and return the file."""
    path = out / f'{name}.json'
    tuples = [f'{out}:{definition.with_suffix(".idl")}' for definition in definitions(package)]
    arguments = {
        'package_name': package,
        'idl_tuples': tuples,
        'output_dir': str(out),
        'template_dir': str(SHARE / name / 'resource'),
        'target_dependencies': [],
    }
    path.write_text(json.dumps({**arguments, **more}))
    return str(path)


def describe(package, out):
    """Write a package's .idl files, and for each the description of its type with the hash."""
    for path in definitions(package):
        # It says which files it reads and writes.
        with contextlib.redirect_stdout(io.StringIO()):
            convert_to_idl(HERE / package, package, path, out)
    paths = [f'{name}:{SHARE / name}' for name in DEPENDENCIES]
    generate_type_hash(write_arguments(package, out, 'description', include_paths=paths))


def generate(package, out, generator):
    """Let one generator write its code for a package that has been described."""
    paths = definitions(package)
    arguments = write_arguments(
        package,
        out,
        generator,
        type_description_tuples=[
            f'{path.with_suffix(".idl")}:{out / path.with_suffix(".json")}' for path in paths
        ],
        ros_interface_files=[str(HERE / package / path) for path in paths],
    )
    function, *more = GENERATORS[generator]
    function(arguments, *more)
    template = SHARE / generator / 'resource' / f'{generator}__visibility_control.h.in'
    if template.exists():
        text = template.read_text().replace('@PROJECT_NAME@', package)
        header = out / 'msg' / f'{generator}__visibility_control.h'
        header.parent.mkdir(exist_ok=True)
        header.write_text(text.replace('@PROJECT_NAME_UPPER@', package.upper()))


def units(out):
    """
    Return what to compile of a package.

    Headers take most of the time, so files are compiled as one wherever two types' do not define
    the same names, as their descriptions do.
    """
    c = sorted(out.rglob('*.c'))
    descriptions = [path for path in c if path.name.endswith('__description.c')]
    python = [path for path in c if path.name.endswith('_s.c')]
    others = [path for path in c if path not in descriptions and path not in python]
    together = {'cpp.cpp': sorted(out.rglob('*.cpp')), 'python.c': python, 'others.c': others}
    for name, paths in together.items():
        (out / name).write_text(''.join(f'#include "{path}"\n' for path in paths))
    return [*descriptions, *(out / name for name in together)]


def compiler():
    """Return the command of the C++ compiler, which compiles C as well."""
    found = os.environ.get('CXX') or shutil.which('c++') or shutil.which('g++')
    if not found:
        sys.exit('There is no C++ compiler here: sudo apt install g++')
    return found.split()


def run(command):
    """Run a compiler; where it fails, show what it says and end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f'{command[0]} {command[-1]}:\n{done.stderr}')


def compile_unit(path, build):
    """Compile one file."""
    include = PREFIX / 'include'
    folders = [build, sysconfig.get_path('include'), numpy.get_include(), include]
    folders += sorted(folder for folder in include.iterdir() if folder.is_dir())
    language = 'c++' if path.suffix == '.cpp' else 'c'
    flags = ['-O0', '-fPIC', '-w', *(f'-I{folder}' for folder in folders), '-x', language]
    run([*compiler(), *flags, '-c', str(path), '-o', f'{path}.o'])


def link(package, out):
    """Link all of a package as the extension module that rclpy loads for it."""
    module = out / f'{package}_s__{TYPE_SUPPORT}.so'
    libraries = [f'-L{PREFIX / "lib"}', *(f'-l{name}' for name in LIBRARIES)]
    objects = sorted(str(path) for path in out.rglob('*.o'))
    where = ['-Wl,--as-needed', '-Wl,-rpath,$ORIGIN/../../..']
    run([*compiler(), '-shared', *where, *objects, *libraries, '-o', str(module)])


def install(package, out):
    """Put a package where Python and the ament index look for it, in the place of an older one."""
    python = Path(sysconfig.get_path('platlib')) / package
    share = SHARE / package
    for folder in (python, share):
        shutil.rmtree(folder, ignore_errors=True)
    copies = [(path, python / path.relative_to(out)) for path in out.glob('*/*.py')]
    copies += [(path, python / path.name) for path in out.glob('*.so')]
    types = []
    for path in definitions(package):
        copies.append((HERE / package / path, share / path))
        idl = path.with_suffix('.idl')
        copies += [(out / other, share / other) for other in (idl, path.with_suffix('.json'))]
        types += [str(idl), str(path)]
    for source, target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    (python / '__init__.py').touch()
    index = SHARE / 'ament_index' / 'resource_index'
    for resource, content in (('packages', ''), ('rosidl_interfaces', '\n'.join(types))):
        (index / resource).mkdir(parents=True, exist_ok=True)
        (index / resource / package).write_text(content)


def main():
    """Build and install every package that has a folder here."""
    packages = sorted(folder.name for folder in HERE.iterdir() if folder.name.endswith(ENDINGS))
    with tempfile.TemporaryDirectory() as name:
        build = Path(name)
        outs = {package: build / package for package in packages}
        with ProcessPoolExecutor() as pool:
            print('Generating', ', '.join(packages), flush=True)
            list(pool.map(describe, outs, outs.values()))
            pairs = [(package, generator) for generator in GENERATORS for package in packages]
            list(pool.map(generate, *zip(*((p, outs[p], g) for p, g in pairs), strict=True)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            paths = [path for out in outs.values() for path in units(out)]
            print(f'Compiling {len(paths)} files', flush=True)
            list(pool.map(lambda path: compile_unit(path, build), paths))
            list(pool.map(link, outs, outs.values()))
        for package, out in outs.items():
            install(package, out)


if __name__ == '__main__':
    main()
