"""Helpers for the end-to-end benchmarks. They measure the time of functions in turn, and describe the machine."""

import platform
import statistics
import subprocess
import time


def interleave(subjects, rounds):
    """In each round, runs every function of `subjects` ({name: function}) once. Returns {name: sorted seconds}."""
    times = {name: [] for name in subjects}
    for function in subjects.values():
        function()  # warm-up
    for _ in range(rounds):
        for name, function in subjects.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: sorted(t) for name, t in times.items()}


def describe(seconds):
    return (f"median {statistics.median(seconds) * 1e3:9.2f} ms   "
            f"(min {seconds[0] * 1e3:.2f}, max {seconds[-1] * 1e3:.2f})")


def machine():
    model = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cores = subprocess.run(["nproc"], capture_output=True, text=True).stdout.strip()
    return f"{model}, {cores} cores, {platform.system()} {platform.release()}"
