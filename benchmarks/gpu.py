"""One GPU: training and sampling of every kind, model FLOP utilisation, with and without bfloat16 and `compile`.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json

Each case is timed by CUDA events over half a second or more after it is warm; its first call, with which compilation
comes, by itself. A training step is loss, gradient and update by the recipe's optimizer, on a batch that is there.
Utilisation is the operations of the model's forward passes (four for a step with self-conditioning, three without, one
when sampling; what autocast or recomputation add does not count) over the time, as a share of what a matrix product of
8,192 cubed in bfloat16 reaches on the same GPU in the same run. Memory is the peak that torch allocated.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import gc
import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_cases import CASES, Case
from suite.setting import setting


def milliseconds(call: Callable[[], Any], least: float = 0.5) -> float:
    """Mean time of a call by the GPU's clock, over `least` seconds or more."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    calls = 3
    while True:
        torch.cuda.synchronize()
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        torch.cuda.synchronize()
        taken = begin.elapsed_time(end)
        if taken > 1e3 * least:
            return taken / calls
        calls = int(calls * min(20.0, max(1.5, 1.2e3 * least / taken))) + 1


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations a second of a matrix product of random numbers, 8,192 cubed."""
    a, b = (torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
    return 2 * 8192**3 / (milliseconds(lambda: a @ b, 0.3) / 1e3)


def measured(make: Callable[[], Case], rate: float) -> dict[str, Any]:
    """What one case does: the time to the end of its first call, then its rate."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.compiler.reset()
    torch.manual_seed(0)
    case = make()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    case.call()
    torch.cuda.synchronize()
    first = time.perf_counter() - begun
    for _ in range(3):
        case.call()
    torch.cuda.reset_peak_memory_stats()
    taken = milliseconds(case.call) / 1e3
    found = {"milliseconds": 1e3 * taken, "per_second": case.units / taken, "unit": case.unit, "first_seconds": first}
    found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    if case.operations:
        found |= {"tflops": case.operations / taken / 1e12, "utilisation": case.operations / taken / rate}
    if case.more is not None:
        found |= case.more()
    return found


def main() -> None:
    """Measures, prints, and writes after every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="CASE", help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--warm", action="store_true", help="call each case once, to fill the cache of compilation")
    options = parser.parse_args()
    chosen = {name: make for name, make in CASES.items() if not options.only or name in options.only}
    if options.warm:
        for make in chosen.values():
            make().call()
        return
    rates = {str(dtype).removeprefix("torch."): matrix_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    about = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
    result: dict[str, Any] = {"setting": setting() | about, "matrix": rates, "cases": {}}
    print(f"{about}; matrix product: {', '.join(f'{name} {rate / 1e12:.0f}' for name, rate in rates.items())} TFLOP/s")
    print("| case | a second | utilisation | ms | peak GiB | first call, s |\n| --- | --- | --- | --- | --- | --- |")
    for name, make in chosen.items():
        try:
            row = measured(make, rates["bfloat16"])
            share = f"{row['utilisation']:.0%}" if "utilisation" in row else ""
            speed = f"{row['per_second']:,.4g} {row['unit']}"
            sizes = f"{row['milliseconds']:.2f} | {row['peak_gib']:.2f} | {row['first_seconds']:.1f}"
            print(f"| {name} | {speed} | {share} | {sizes} |", flush=True)
        except Exception as error:  # the other cases go on, and the table says what failed
            traceback.print_exc()
            row = {"failed": f"{type(error).__name__}: {error}"[:500]}
            print(f"| {name} | failed: {row['failed'][:80]} |", flush=True)
        result["cases"][name] = row
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
