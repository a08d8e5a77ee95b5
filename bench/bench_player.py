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
How evenly the player's clock ticks under fire, and what the player costs, beside bare rclpy.

Clock: the player plays, a client calls its services as fast as they are answered, and images
flow; in the same run a bare node publishes at 100 Hz from a timer and does nothing else. Compared
is by how much the gaps between messages, by the time at which they were sent, exceed 10 ms: each
forward step sends /clock at once besides, so shorter gaps are no fault. Goal: the player's 99th
percentile at most twice the bare timer's, or 5 ms.

CPU: the player plays at its defaults with nobody listening, with a listener to all that is not an
image, and beside it the bare node. Goal: under 20 % of one core without image subscribers.

Steps: how long ~/tick with no frames due and ~/play_next take to answer, in turn with ~/stop of
the same player and a Trigger service of a bare node, at two clock rates. Goal: at most 2 ms above
the bare one, whatever the clock rate.

Beat: the rate of /clock with `rate: 100` and `camera_rate: 1000`, with and without subscribers of
two cameras, while nothing jumps. Goal: what it is without.

Loads: memory, threads and descriptors of a player that loads one file again and again. Goal: after
350 loads within 10 MB of what it was after 50.

Every part is a process of its own. `--code FOLDER…` measures the players of other checkouts, one
after the other, instead of this one's.

    python bench/bench_player.py [clock] [cpu] [steps] [beat] [loads] [--usdz FILE] [--seconds 30]
        [--cameras 2] [--calls 1000] [--loads 350] [--code FOLDER…]
"""

from __future__ import annotations

import argparse
import contextlib
from functools import partial
import json
import os
from pathlib import Path
import signal
import sys
import tempfile
import time
from typing import Any

import numpy as np
from nurec_ros.errors import NurecError
from nurec_ros.scenario import Scenario
from player_parts import cpu_s, Observer, PERIOD_MS, player, role, ROOT, WARM_UP_S

REAL = ROOT.parent / 'shared' / 'data' / 'pittsburgh_adcf7d18.usdz'
GOAL_RATIO, GOAL_MS, GOAL_CPU = 2.0, 5.0, 0.20
GOAL_STEP_MS, GOAL_GROWTH_MB = 2.0, 10.0
CLOCK_RATES = (100, 5)
BEAT = {'rate': 100.0, 'camera_rate': 1000.0}
# Enough scenario time for the beat to be measured before the end comes.
BEAT_DURATION_S = 1000.0


def _all_heard(observer: Observer) -> bool:
    return all(observer.sent.values())


def lateness(sent: list[int], from_ns: int, to_ns: int) -> np.ndarray[Any, Any]:
    """Return by how many ms the gaps in a span exceed the period."""
    times = np.array([one for one in sorted(sent) if from_ns <= one < to_ns])
    return np.maximum(np.diff(times) / 1e6 - PERIOD_MS, 0.0)


def measure_clock(
    usdz: Path, scenario: Scenario, seconds: float, cameras: int, code: Path
) -> bool:
    """Measure both clocks while a client calls; say whether all answers were right."""
    names = [name for name, camera in scenario.cameras.items() if camera.renderable][:cameras]
    span = (scenario.start_ns, scenario.end_ns)
    observer = Observer(names)
    try:
        with (
            role('server', scenario.scene_id, quiet=False) as server,
            player(usdz, server.stdout.readline().strip(), code) as playing,
            role('bare'),
        ):
            observer.until(lambda: all(observer.sent.values()) and observer.images)
            time.sleep(WARM_UP_S)
            from_ns, images, used = time.time_ns(), observer.images, cpu_s(playing.pid)
            with role('client', *span, seconds, quiet=False) as client:
                result = json.loads(client.stdout.readline())
            to_ns = time.time_ns()
            images, used = observer.images - images, cpu_s(playing.pid) - used
    finally:
        observer.close()
    took = (to_ns - from_ns) / 1e9
    wrong = result['wrong']
    print(f'{result["calls"]} calls in {took:.0f} s ({result["per_s"]:.0f}/s), none lost,')
    print(f'{len(wrong)} answers wrong, the slowest took {result["slowest_s"] * 1e3:.0f} ms;')
    print(f'{images / took:.0f} images/s of {len(names)} cameras;')
    print(f'the player used {used / took:.0%} of a core')
    for line in wrong[:5]:
        print(f'  {line}')
    print(f'\n{"late by, ms":20}{"messages":>10}{"p50":>8}{"p95":>8}{"p99":>8}{"max":>8}')
    p99 = {}
    for topic, sent in observer.sent.items():
        late = lateness(sent, from_ns, to_ns)
        figures = [*np.percentile(late, (50, 95, 99)), late.max()]
        p99[topic] = figures[2]
        print(f'{topic:20}{len(late) + 1:10}' + ''.join(f'{figure:8.2f}' for figure in figures))
    ratio = p99['/clock'] / p99['/bare_clock']
    good = ratio <= GOAL_RATIO or p99['/clock'] <= GOAL_MS
    print(f'p99 ratio {ratio:.2f} (goal {GOAL_RATIO:g}, or {GOAL_MS:g} ms):', _verdict(good))
    return not wrong


def measure_cpu(usdz: Path, scenario: Scenario, seconds: float, code: Path) -> None:
    """Measure what playing costs without image subscribers."""
    print(f'{len(scenario.tracks.ids)} road users, {len(scenario.cameras)} cameras, playing\n')
    good = True
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(role('bare'))
        playing = stack.enter_context(player(usdz, 'localhost:1', code))
        for name in ('nobody listens', 'all but images is listened to'):
            if name != 'nobody listens':
                stack.enter_context(role('listener'))
            time.sleep(2 * WARM_UP_S)
            before, from_s = (cpu_s(playing.pid), cpu_s(bare.pid)), time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - from_s
            shares = [
                (cpu_s(child.pid) - used) / took
                for child, used in zip((playing, bare), before, strict=True)
            ]
            good = good and shares[0] < GOAL_CPU
            ratio = shares[0] / shares[1] if shares[1] else float('inf')
            print(f'{name:32}{shares[0]:8.1%} of a core', end='')
            print(f'   bare 100 Hz timer {shares[1]:.1%}   ratio {ratio:.1f}')
    print(f'goal {GOAL_CPU:.0%}:', _verdict(good))


def measure_steps(usdz: Path, calls: int, code: Path) -> None:
    """Measure how long steps take to answer where there is nothing to render."""
    print(f'median (95th percentile) of {calls} calls each, in turn, in ms\n')
    print(f'{"clock_rate":12}{"bare Trigger":>16}{"~/stop":>16}{"~/tick":>16}{"~/play_next":>16}')
    good = True
    for clock_rate in CLOCK_RATES:
        options = {'autoplay': 'false', 'tick_us': 1, 'clock_rate': float(clock_rate)}
        with (
            role('trigger'),
            player(usdz, 'localhost:1', code, **options),
            role('steps', calls, quiet=False) as client,
        ):
            result = json.loads(client.stdout.readline())
        took = list(result['took'].values())
        medians = [float(np.median(one)) for one in took]
        cells = [
            f'{m:.2f} ({np.percentile(one, 95):.2f})' for m, one in zip(medians, took, strict=True)
        ]
        print(f'{clock_rate:<12}' + ''.join(f'{cell:>16}' for cell in cells), end='')
        print(f'   {result["failed"]} refused' if result['failed'] else '')
        good = good and max(medians[2:]) <= medians[0] + GOAL_STEP_MS
    print(f'goal {GOAL_STEP_MS:g} ms above the bare one:', _verdict(good))


def measure_beat(folder: Path, seconds: float, code: Path) -> None:
    """Measure the clock's rate while more is due than could ever be rendered."""
    from test.support.archives import build_archive, CAMERAS, SEQUENCE_ID

    usdz = build_archive(folder, 'long.usdz', duration_s=BEAT_DURATION_S)
    seconds = min(seconds, 0.7 * BEAT_DURATION_S / BEAT['rate'])
    rates = []
    for cameras in ([], list(CAMERAS)):
        observer = Observer(cameras)
        try:
            with (
                role('server', SEQUENCE_ID, quiet=False) as server,
                role('bare'),
                player(
                    usdz, server.stdout.readline().strip(), code, **BEAT, loop='false'
                ) as child,
            ):
                observer.until(partial(_all_heard, observer))
                time.sleep(1.0)
                from_ns, used = time.time_ns(), cpu_s(child.pid)
                time.sleep(seconds)
                to_ns, used = time.time_ns(), cpu_s(child.pid) - used
        finally:
            observer.close()
        took = (to_ns - from_ns) / 1e9
        hertz = [
            sum(from_ns <= one < to_ns for one in observer.sent[topic]) / took
            for topic in ('/clock', '/bare_clock')
        ]
        rates.append(hertz[0])
        print(f'{len(cameras)} cameras subscribed: /clock at {hertz[0]:.1f} Hz', end='')
        print(f' (a bare timer {hertz[1]:.1f} Hz), {used / took:.0%} of a core')
    print('goal 95 % of what it is without subscribers:', _verdict(rates[1] >= 0.95 * rates[0]))


def measure_loads(usdz: Path, scenario: Scenario, count: int, code: Path) -> None:
    """Measure what loads of one file leave behind."""
    with (
        role('server', scenario.scene_id, quiet=False) as server,
        player(usdz, server.stdout.readline().strip(), code, autoplay='false') as child,
        role('loads', child.pid, count, quiet=False) as client,
    ):
        held = json.loads(client.stdout.readline())
    print(f'{"loads":>8}{"MB":>10}{"threads":>10}{"descriptors":>14}')
    for number, megabytes, threads, descriptors in held:
        print(f'{number:8}{megabytes:10.1f}{threads:10}{descriptors:14}')
    after = {number: megabytes for number, megabytes, *_ in held}
    if count > 50:
        growth = after[count] - after[50]
        print(f'{growth:.1f} MB more than after 50 (goal {GOAL_GROWTH_MB:g}):', end=' ')
        print(_verdict(growth <= GOAL_GROWTH_MB))


def _verdict(good: bool) -> str:
    return 'met' if good else 'MISSED'


def main() -> int:
    """Run the measurements; 1 where answers were wrong."""
    # Python has a package called test as well.
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('parts', nargs='*', choices=(*PARTS, []), metavar='PART')
    parser.add_argument('--usdz', type=Path, default=REAL if REAL.exists() else None)
    parser.add_argument('--seconds', type=float, default=30.0)
    parser.add_argument('--cameras', type=int, default=2)
    parser.add_argument('--calls', type=int, default=1000)
    parser.add_argument('--loads', type=int, default=350)
    parser.add_argument('--code', type=Path, nargs='+', default=[ROOT])
    arguments = parser.parse_args()
    from test.support.domain import claim_domain

    # A player that outlived this run would be heard by the next one in the same domain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    os.environ['ROS_DOMAIN_ID'] = str(claim_domain())
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
    with tempfile.TemporaryDirectory() as folder:
        usdz = arguments.usdz
        if usdz is None:
            from nurec_ros.example import write_example

            usdz = write_example(Path(folder) / 'example.usdz')
        try:
            scenario = Scenario.load(usdz)
        except NurecError as error:
            print(error, file=sys.stderr)
            return 1
        right = True
        for part in arguments.parts or SHORT:
            for code in arguments.code:
                print(f'\n# {PARTS[part]}', end='\n\n')
                print(f'{code.resolve().name}, {usdz.name}; load {os.getloadavg()[0]:.1f}')
                right &= _measure(part, usdz.resolve(), scenario, arguments, code, Path(folder))
    return 0 if right else 1


PARTS = {
    'clock': 'The clock while a client calls as fast as it can',
    'cpu': 'Processor',
    'steps': 'Steps with nothing to render',
    'beat': 'The clock while more is due than can be rendered',
    'loads': 'Loads of one file',
}
# What is measured where nothing is named; loads take some ten minutes.
SHORT = ('clock', 'cpu', 'steps', 'beat')


def _measure(
    part: str,
    usdz: Path,
    scenario: Scenario,
    arguments: argparse.Namespace,
    code: Path,
    folder: Path,
) -> bool:
    """Measure one part of one checkout; False where answers were wrong."""
    if part == 'clock':
        return measure_clock(usdz, scenario, arguments.seconds, arguments.cameras, code)
    if part == 'cpu':
        measure_cpu(usdz, scenario, arguments.seconds, code)
    elif part == 'steps':
        measure_steps(usdz, arguments.calls, code)
    elif part == 'beat':
        measure_beat(folder, arguments.seconds, code)
    else:
        measure_loads(usdz, scenario, arguments.loads, code)
    return True


if __name__ == '__main__':
    sys.exit(main())
