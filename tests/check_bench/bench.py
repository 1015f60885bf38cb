"""`qdrs check` on a million rows beside check.py: wall clock, CPU and peak memory of each process, in turns.

python bench.py QDRS FOLDER [--rounds N] [--rows N] [--json]      (tests/bench check does this)
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def luhn(digits):
    doubled = [int(digit) * (2 if at % 2 else 1) for at, digit in enumerate(digits)]
    return str(-sum(number - 9 if number > 9 else number for number in doubled) % 10)


def imei(number):
    digits = ["35693803", "35209900"][number % 2] + f"{number // 2:06}"
    return digits + luhn(digits)


def sevens(number):
    # All multiples of 7 in the policy's range, again and again under other lots: their form is what counts here.
    return f"QD-{10_003 + 7 * number:07}"


def make(path, serial, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("serial,product,lot,note\r\n")
        for number in range(rows):
            file.write(f"{serial(number)},practice-button,2026-W{number // 20_000 % 53:02},\r\n")


def run(command):
    """Wall clock and CPU in seconds, peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("qdrs")
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    # The sample policy has room for 712,857 multiples of 7; the same without its range has room for a million.
    wide = os.path.join(args.folder, "multiples-of-7.toml")
    with open(os.path.join(ROOT, "samples/policies/multiples-of-7.toml"), encoding="utf-8") as file:
        policy = file.read().replace("to = 4_999_999", "to = 9_999_999")
    with open(wide, "w", encoding="utf-8") as file:
        file.write(policy)
    cases = []
    for name, serial, policy in (("sevens", sevens, wide), ("imei", imei, os.path.join(ROOT, "samples/policies/imei-modem.toml"))):
        path = os.path.join(args.folder, f"{name}.csv")
        make(path, serial, args.rows)
        cases.append(("qdrs check", name, [args.qdrs, "check", path, "--policy", policy]))
        cases.append(("csv, python-stdnum", name, [sys.executable, os.path.join(HERE, "check.py"), name, path]))
    figures = {(who, what): [] for who, what, _ in cases}
    for _ in range(args.rounds):
        for who, what, command in cases:
            figures[who, what].append(run(command))
    results = []
    for (who, what), runs in figures.items():
        walls, cpus, peaks = zip(*runs)
        results.append({"who": who, "policy": what, "rows": args.rows, "wall_s": [min(walls), statistics.median(walls), max(walls)],
                        "cpu_s": statistics.median(cpus), "peak_mb": max(peaks)})
    table = ["| who | policy | min s | median s | max s | CPU s | peak MB |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for result in results:
        low, middle, high = result["wall_s"]
        table.append(f"| {result['who']} | {result['policy']} | {low:.2f} | {middle:.2f} | {high:.2f} | {result['cpu_s']:.2f} "
                     f"| {result['peak_mb']:.0f} |")
    print("\n".join(table), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(results))


main()
