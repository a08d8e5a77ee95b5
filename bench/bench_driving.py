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
What driving costs: who does not drive, who drives at a high rate, and who steps in Python.

Unused: the processor time of the player with `ego_source: recorded` beside the player of a
checkout that knows no driving (`--old FOLDER`). Both play at the same time, each in a ROS domain
of its own, with nobody listening and then with a listener to all that is not an image; the pairs
start anew each round, now one first and now the other. Goal: not more, within the 5 % by which
equal players differ.

Rates: a player at `rate: 1` and at `rate: 100` in turn, recorded, on a circle by `twist`, and in a
steering ramp without end by `ackermann`: its processor time per second of scenario time, and how
often /clock comes beside a bare timer of 100 Hz. `waited` is how much of the time the player was
ready to run and other processes had the processors: where that is much, the machine is measured
and not the player. Goals: rate 100 costs no more per scenario second
than rate 1; /clock keeps 95 % of the beat that it has at that rate with the recorded ego.

Steps: 1,000 steps of 0.1 s of an `Environment` without images, driven along the path, and each
step's road users, in turn with a bare loop that asks the scenario for the recorded ego and the
road users of the same moments. Goal: 1,000 steps within 1 s of processor time. `--old FOLDER`
measures another checkout's in the same turns, if it has an Environment.

    python bench/bench_driving.py [unused] [rates] [steps] [--usdz FILE…] [--seconds 5]
        [--rounds 2] [--code FOLDER] [--old FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
import itertools
import json
import math
import os
from pathlib import Path
import signal
import sys
import tempfile
import time
from typing import Any

import numpy as np
from player_parts import cpu_s, player, process, ROOT, START_S, wait_until_it_plays
from player_parts import role as part

REAL = sorted((ROOT.parent / 'shared' / 'data').glob('*.usdz'))
GOAL_UNUSED, GOAL_BEAT, GOAL_STEPS_S = 1.05, 0.95, 1.0
RATES = (1.0, 100.0)
STEPS, STEP_S = 1000, 0.1
# Who listens has matched all topics by then.
SETTLE_S = 2.0


# --- the other process ---------------------------------------------------------------------------


def play_steps(code: str, usdz: str) -> None:
    """Step through a scenario; print the processor time of the steps and of the bare loop."""
    sys.path.insert(0, code)
    from nurec_ros import Environment

    with Environment(usdz, '', ego_source='ackermann') as environment:
        ego, tracks = environment.scenario.ego, environment.scenario.tracks
        times_ns, stepped = [], 0.0
        seen = environment.reset()
        # The first step makes what all use.
        environment.step((1.0, 0.0), STEP_S)
        seen = environment.reset()
        began = time.monotonic()
        for _ in range(STEPS):
            # To where the recording is soon, on an arc: drivers of other checkouts may differ.
            goal_ns = min(seen.t_ns + 700_000_000, ego.end_ns)
            to = seen.pose.matrix[:3, :3].T @ (ego.pose(goal_ns).position - seen.pose.position)
            steering = math.atan(2.0 * 2.85 * to[1] / max(to[0] ** 2 + to[1] ** 2, 1.0))
            command = (float(np.hypot(*to[:2])) / 0.7, steering)
            before = time.process_time()
            seen = environment.step(command, STEP_S)
            _ = seen.tracks
            if seen.done:
                seen = environment.reset()
            stepped += time.process_time() - before
            times_ns.append(seen.t_ns)
        wall = time.monotonic() - began
        before = time.process_time()
        for t_ns in times_ns:
            ego.pose(t_ns)
            ego.velocity(t_ns)
            tracks.at(t_ns)
        bare = time.process_time() - before
    print(json.dumps({'steps': stepped, 'wall': wall, 'bare': bare}), flush=True)


# --- the parent ----------------------------------------------------------------------------------


def measure_unused(arguments: argparse.Namespace, folder: Path) -> None:
    """Play two checkouts side by side; print how much of a processor each takes."""
    from test.support.domain import claim_domain

    usdz = arguments.usdz[0] if arguments.usdz else _example(folder)
    codes = {'old': arguments.old, 'new': arguments.code}
    domains = {which: claim_domain() for which in codes}
    windows = ('nobody listens', 'all but images is heard')
    used: dict[str, dict[str, list[float]]] = {
        window: {which: [] for which in codes} for window in windows
    }
    order = list(codes)
    for _ in range(arguments.rounds):
        with contextlib.ExitStack() as stack:
            pids = {}
            for which in order:
                with in_domain(domains[which]):
                    child = stack.enter_context(player(usdz, 'localhost:1', codes[which]))
                pids[which] = child.pid
            for which in order:
                wait_until_it_plays(domains[which])
            for window in windows:
                if window != windows[0]:
                    for which in order:
                        with in_domain(domains[which]):
                            stack.enter_context(part('listener'))
                    time.sleep(SETTLE_S)
                before, began = {which: cpu_s(pids[which]) for which in codes}, time.monotonic()
                time.sleep(arguments.seconds)
                for which in codes:
                    share = (cpu_s(pids[which]) - before[which]) / (time.monotonic() - began)
                    used[window][which].append(share)
        order.reverse()
    print(f'{usdz.name}; {arguments.rounds} pairs of players, of a core\n')
    print(f'{"":26}{"old":>8}{"new":>8}{"ratio":>8}   of each pair')
    for window, shares in used.items():
        old, new = (float(np.mean(shares[which])) for which in codes)
        each = [b / a for a, b in zip(shares['old'], shares['new'], strict=True)]
        print(f'{window:26}{old:8.2%}{new:8.2%}{new / old:8.3f}', end='   ')
        print(', '.join(f'{ratio:.2f}' for ratio in each), end='   ')
        print(f'goal {GOAL_UNUSED:g}:', _verdict(new / old <= GOAL_UNUSED))


@contextlib.contextmanager
def in_domain(domain: int) -> Iterator[None]:
    """Start what is started in the block in another ROS domain."""
    before = os.environ['ROS_DOMAIN_ID']
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    try:
        yield
    finally:
        os.environ['ROS_DOMAIN_ID'] = before


class Seat:
    """Who sits in the player: sends commands, sets the rate, hears the clocks."""

    def __init__(self, source: str) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from rosbag2_interfaces.srv import SetRate
        from rosgraph_msgs.msg import Clock

        self._rclpy = rclpy
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = Node('seat', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.heard = dict.fromkeys(('/clock', '/bare_clock'), 0)
        self.t_ns = 0
        for topic in self.heard:
            self._node.create_subscription(Clock, topic, self._hear(topic), 1000)
        self._rates = self._node.create_client(SetRate, '/nurec/set_rate')
        self.until(lambda: self._rates.service_is_ready() and all(self.heard.values()))
        if source != 'recorded':
            kind, topic, command = _command(source)
            commands = self._node.create_publisher(kind, topic, 10)
            self.until(commands.get_subscription_count)
            # Without a stamp it counts from its arrival.
            commands.publish(command)

    def _hear(self, topic: str) -> Any:
        def hear(message: Any) -> None:
            self.heard[topic] += 1
            if topic == '/clock':
                self.t_ns = message.clock.sec * 10**9 + message.clock.nanosec

        return hear

    def until(self, condition: Any) -> None:
        """Hear until a condition is true."""
        deadline = time.monotonic() + START_S
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError('nothing came: look at the player with ros2 topic list')
            self._executor.spin_once(timeout_sec=0.1)

    def hear(self, seconds: float) -> None:
        """Hear for a time."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left_s)

    def set_rate(self, rate: float) -> None:
        """Have the player play so fast."""
        future = self._rates.call_async(self._rates.srv_type.Request(rate=rate))
        self.until(future.done)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._rclpy.try_shutdown(context=self._context)


def _command(source: str) -> tuple[type, str, Any]:
    """Return type, topic and message of what drives for ever."""
    if source == 'twist':
        from geometry_msgs.msg import TwistStamped

        twist = TwistStamped()
        twist.twist.linear.x, twist.twist.angular.z = 6.0, 0.5
        return TwistStamped, '/nurec/cmd_vel', twist
    from ackermann_msgs.msg import AckermannDrive, AckermannDriveStamped

    # The wheels turn for longer than is played.
    drive = AckermannDrive(speed=6.0, steering_angle=0.6, steering_angle_velocity=1e-4)
    return AckermannDriveStamped, '/nurec/ackermann_cmd', AckermannDriveStamped(drive=drive)


def measure_rates(arguments: argparse.Namespace, folder: Path) -> None:
    """Drive a player at two rates in turn; print what a scenario second costs."""
    from test.support.archives import build_archive

    longest_s = sum(RATES) * (arguments.seconds + 5.0)
    usdz = build_archive(folder, 'long.usdz', duration_s=longest_s)
    print(f'{"source":12}{"rate":>6}{"of a core":>12}{"waited":>8}', end='')
    print(f'{"ms per scenario s":>20}', end='')
    print(f'{"/clock":>10}{"bare timer":>13}')
    recorded_beat = 1.0
    for source in ('recorded', 'twist', 'ackermann'):
        told = {'ego_source': source, 'command_timeout_s': 0.0, 'loop': 'false'}
        costs, beats = [], []
        with (
            part('bare'),
            player(usdz, 'localhost:1', arguments.code, **told) as child,
            contextlib.closing(Seat(source)) as seat,
        ):
            for rate in RATES:
                seat.set_rate(rate)
                seat.hear(1.0)
                heard, t_ns = dict(seat.heard), seat.t_ns
                waited, used, began = _waited_s(child.pid), cpu_s(child.pid), time.monotonic()
                seat.hear(arguments.seconds)
                used, took = cpu_s(child.pid) - used, time.monotonic() - began
                waited = (_waited_s(child.pid) - waited) / took
                passed_s = (seat.t_ns - t_ns) * 1e-9
                hertz, bare = ((seat.heard[topic] - heard[topic]) / took for topic in heard)
                costs.append(used / passed_s)
                beats.append(hertz / bare)
                print(f'{source:12}{rate:6g}{used / took:12.1%}{waited:8.0%}', end='')
                print(f'{1e3 * used / passed_s:20.2f}{hertz:7.1f} Hz{bare:10.1f} Hz')
        (slow, fast), beat = costs, beats[-1] / recorded_beat
        if source == 'recorded':
            recorded_beat = beats[-1]
            continue
        print(
            f'at rate 100 a scenario second costs {fast / slow:.3f} of what it does at rate 1',
            end='',
        )
        print(f' (goal 1: {_verdict(fast <= slow)}), and /clock', end=' ')
        print(f'has {beat:.2f} of its beat (goal {GOAL_BEAT:g}: {_verdict(beat >= GOAL_BEAT)})\n')


def measure_steps(arguments: argparse.Namespace, folder: Path) -> None:
    """Step through scenarios, checkouts in turn; print what 1,000 steps cost."""
    codes = {'new': arguments.code}
    if arguments.old is not None and (arguments.old / 'nurec_ros' / 'environment.py').exists():
        codes = {'old': arguments.old, **codes}
    print(f'{STEPS} steps, best of {arguments.rounds}, s\n')
    print(f'{"":36}{"bare loop":>12}{"steps":>8}{"ratio":>8}{"wall":>8}')
    for usdz in arguments.usdz or (_example(folder), *REAL):
        found: dict[str, list[dict[str, float]]] = {which: [] for which in codes}
        for _, which in itertools.product(range(arguments.rounds), codes):
            words = ('stepper', str(codes[which].resolve()), str(usdz.resolve()))
            with process(sys.executable, __file__, *words, quiet=False) as child:
                assert child.stdout
                found[which].append(json.loads(child.stdout.readline()))
        for which, runs in found.items():
            bare, steps, wall = (
                min(run[key] for run in runs) for key in ('bare', 'steps', 'wall')
            )
            print(f'{usdz.stem + (", " + which if len(codes) > 1 else ""):36}', end='')
            print(f'{bare:12.3f}{steps:8.3f}{steps / bare:8.1f}{wall:8.3f}', end='   ')
            print(f'goal {GOAL_STEPS_S:g} s:', _verdict(steps <= GOAL_STEPS_S))


def _example(folder: Path) -> Path:
    from nurec_ros.example import write_example

    return write_example(folder / 'street.usdz')


def _waited_s(pid: int) -> float:
    """Return how long a process's main thread was ready to run and did not."""
    return int(Path(f'/proc/{pid}/schedstat').read_text().split()[1]) * 1e-9


def _verdict(good: bool) -> str:
    return 'met' if good else 'MISSED'


MEASURES = {'unused': measure_unused, 'rates': measure_rates, 'steps': measure_steps}


def main() -> None:
    """Run the measurements, or the other role."""
    # Python has a package called test as well.
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ['stepper']:
        play_steps(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('parts', nargs='*', choices=(*MEASURES, []), metavar='PART')
    parser.add_argument('--usdz', type=Path, nargs='+', default=[])
    parser.add_argument('--seconds', type=float, default=5.0)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--code', type=Path, default=ROOT)
    parser.add_argument(
        '--old', type=Path, help='another checkout; for unused one that knows none'
    )
    arguments = parser.parse_args()
    if 'unused' in arguments.parts and arguments.old is None:
        parser.error('unused needs --old')
    from test.support.domain import claim_domain

    # A player that outlived this run would be heard by the next one in the same domain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.environ['ROS_DOMAIN_ID'] = str(claim_domain())
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
    for name in arguments.parts or ('rates', 'steps'):
        print(f'\n# {name}; load {os.getloadavg()[0]:.1f}\n')
        with tempfile.TemporaryDirectory() as folder:
            MEASURES[name](arguments, Path(folder))


if __name__ == '__main__':
    main()
