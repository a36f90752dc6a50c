"""Devices by name: what `--device` accepts and what `auto` means here."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch

from handwriting.errors import TrainingError, UnknownName

DEVICE_NAMES = ("auto", "cpu", "cuda", "mps")


def choose(name: str) -> torch.device:
    """A name of `DEVICE_NAMES` -> the device; "auto" takes a GPU where there is one.

    Raises:
        UnknownName: no such device.
        TrainingError: the device is not on this machine.
    """
    if name not in DEVICE_NAMES:
        raise UnknownName("device", name, DEVICE_NAMES)
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if here[kind]))
    if not here[name]:
        raise TrainingError(f"this machine has no {name} device that torch can use; try --device auto")
    return torch.device(name)


def describe(device: torch.device) -> str:
    """A device -> how to name it beside a measurement, with the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def native_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies faster in bfloat16 than in float32.

    CPUs with AMX do, and AMD's with AVX512-BF16: 3x3 convolutions of 64 channels, forward and backward on one core of
    an EPYC (family 26), ran at 339 GFLOP/s against 147. Intel's AVX512-BF16 alone does half as many products a cycle,
    and took 1.9 times as long as float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and _made_by_amd())


@functools.cache
def _made_by_amd() -> bool:
    """Whether the CPU says that AMD made it: on Linux in /proc/cpuinfo, on Windows in the processor's name."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        words = platform.processor()
    return "AuthenticAMD" in words
