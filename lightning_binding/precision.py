"""Whether bfloat16 is worth its name on this processor."""

import functools

import torch


@functools.cache
def processor_has_bfloat16() -> bool:
    """Whether products in bfloat16 are instructions of the processor; where they are not, they are slow emulations.

    Where torch does not tell, the answer is yes.
    """
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if known.get("architecture") == "x86_64":
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return bool(known.get("bf16", True))
