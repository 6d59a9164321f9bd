"""Rounds of Flower (flwr from PyPI) beside ours: a server and four clients, each a process, on loopback.

    python beside.py NUMBERS ROUNDS

Makes a virtual environment beside the build (`target/beside-VERSION`) with flwr of the version below, once, and goes on in it. Each round sends so many float64 to every client and gets as many back, as `rounds.rs` does. Prints JSON: median seconds a round
and the peak memory of a client in MB. Flower's older gRPC server is taken, since it is the faster of its two by far; without TLS.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import venv

FLWR = "1.41.0"


def environment():
    """The Python of an environment with flwr, made where there is none."""
    target = os.environ.get("CARGO_TARGET_DIR")
    target = pathlib.Path(target) if target else pathlib.Path(__file__).resolve().parents[3] / "target"
    folder = target / f"beside-{FLWR}"
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        venv.create(folder, clear=True, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"flwr=={FLWR}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (folder / "made").touch()
    return python


def client(address):
    import resource

    from flwr.client import NumPyClient, start_client

    class Echo(NumPyClient):
        def get_parameters(self, config):
            return []

        def fit(self, parameters, config):
            return [array + 1.0 for array in parameters], 1, {}

        def evaluate(self, parameters, config):
            return 0.0, 1, {}

    start_client(server_address=address, client=Echo().to_client())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def server(address, numbers, rounds):
    from flwr.common import ndarrays_to_parameters
    from flwr.server import ServerConfig, start_server
    from flwr.server.strategy import FedAvg
    import numpy

    at = []

    class Timed(FedAvg):
        def configure_fit(self, server_round, parameters, client_manager):
            at.append(time.perf_counter())
            return super().configure_fit(server_round, parameters, client_manager)

        def aggregate_fit(self, server_round, results, failures):
            out = super().aggregate_fit(server_round, results, failures)
            at[-1] = time.perf_counter() - at[-1]
            return out

    strategy = Timed(
        fraction_evaluate=0.0,
        min_fit_clients=4,
        min_available_clients=4,
        initial_parameters=ndarrays_to_parameters([numpy.zeros(numbers)]),
    )
    start_server(server_address=address, config=ServerConfig(num_rounds=rounds), strategy=strategy)
    return statistics.median(at)


def main(numbers, rounds):
    import socket
    import threading

    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
    free.close()
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    clients = []

    def start():
        time.sleep(3)  # the server listens by then
        for _ in range(4):
            command = [sys.executable, __file__, "client", address]
            clients.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))

    threading.Thread(target=start).start()
    seconds = server(address, numbers, rounds)
    peaks = [float(one.communicate()[0].split()[-1]) for one in clients]
    print(json.dumps({"numbers": numbers, "round_s": seconds, "client_peak_mb": max(peaks)}))


if __name__ == "__main__":
    if sys.argv[1] == "client":
        client(sys.argv[2])
    elif len(sys.argv) > 3:
        main(int(sys.argv[1]), int(sys.argv[2]))
    else:
        sys.exit(subprocess.call([environment(), __file__, *sys.argv[1:3], "inside"]))
