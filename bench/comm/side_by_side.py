"""Question: how fast are Alpa's messages between two processes, compared with ucx_perftest over the same transports?

    bench/comm/side_by_side.py [--rounds 7] [--tls tcp,posix,...]

Each round measures Alpa once and ucx_perftest twice. One run of ucx_perftest uses plain endpoints. The other run, with
-e, uses endpoints that survive the loss of their peer, as all of Alpa's endpoints do. The table shows the median
bandwidths over all rounds. It also shows medians of the ratio between Alpa and ucx_perftest in one round. Over TCP with
-e, UCX does not receive data directly into its destination (UCX issue 11929), so the two runs of ucx_perftest differ in
speed over TCP.
"""

import argparse
import os
import pathlib
import re
import socket
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = pathlib.Path(os.environ.get("ALPA_BIN", ROOT / "build" / "release" / "bin")) / "comm_bench"
SIZES = (1 << 20, 8 << 20, 64 << 20)
# {transport: value of UCX_TLS}. Workers on one machine use shared memory without CMA (see comm/ucx).
TRANSPORTS = {"shared memory": "^cma,tcp", "tcp": "tcp"}


def ours(environment, size, runs):
    out = subprocess.run([BENCH, "bandwidth", "--bytes", str(size), "--runs", str(runs)], env=environment,
                         capture_output=True, text=True, timeout=300, check=True).stdout
    return float(re.search(r"mean (\d+) MB/s", out)[1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def theirs(environment, size, runs, *flags):
    port = str(free_port())
    server = subprocess.Popen(["ucx_perftest", "-p", port, *flags], env=environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):  # retries until the server listens
            out = subprocess.run(["ucx_perftest", "127.0.0.1", "-p", port, "-t", "tag_bw", "-s", str(size),
                                  "-n", str(runs), "-w", "3", "-f", *flags],
                                 env=environment, capture_output=True, text=True, timeout=300)
            if out.returncode == 0:
                break
        return float(out.stdout.split()[-3]) * (1 << 20) / 1e6  # the overall rate, printed in 2^20 bytes/s
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tls", default="", help="use only these transports, in the syntax of UCX_TLS")
    options = parser.parse_args()
    transports = {options.tls: options.tls} if options.tls else TRANSPORTS
    print("transport        size           Alpa   ucx_perftest -e   ratio      ucx_perftest   ratio")
    for name, tls in transports.items():
        # Without UCX_MM_ERROR_HANDLING, ucx_perftest -e cannot use shared memory. Alpa sets this variable, too.
        environment = {**os.environ, "UCX_TLS": tls, "UCX_MM_ERROR_HANDLING": "y"}
        for size in SIZES:
            runs = max(20, (512 << 20) // size)
            rows = [
                (ours(environment, size, runs), theirs(environment, size, runs, "-e"), theirs(environment, size, runs))
                for _ in range(options.rounds)
            ]
            a, b, c = (statistics.median(column) for column in zip(*rows))
            same, plain = (statistics.median(row[0] / row[i] for row in rows) for i in (1, 2))
            print(f"{name:14} {size >> 20:4} MiB  {a:8.0f}     {b:8.0f} MB/s   {same:5.2f}     {c:8.0f} MB/s   "
                  f"{plain:5.2f}", flush=True)


if __name__ == "__main__":
    main()
