"""Devices by name: what `--device` accepts and what `auto` means here."""

from __future__ import annotations

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

    Of CPUs only those with AMX do: AVX512-BF16 alone, whose products are half as many a cycle, took 1.9 times as long
    for a convolution as float32 (3x3, 64 to 64 channels, forward and backward, one core).
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())
