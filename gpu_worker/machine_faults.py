"""The errors that a machine with a full disk, too little memory or a broken GPU makes.

A text alone never shows whether the machine is at fault: a workflow that needs too much makes the
same error, and a node may raise any text. After such an error the worker probes itself
(`health.py`).
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from comfyline.service.jobs.job import JobError


class FaultKind(StrEnum):
    """What failed. Clients see the value as the `type` of the job's error."""

    OUT_OF_DISK = "out_of_disk"
    DISK_ERROR = "disk_error"  # the disk refuses or fails a read or a write
    OUT_OF_MEMORY = "out_of_memory"  # of the host or of the GPU
    OUT_OF_RESOURCES = "out_of_resources"  # open files, processes or threads
    GPU_ERROR = "gpu_error"  # the GPU, its driver or its libraries
    ENGINE_LOST = "engine_lost"  # ComfyUI's process ended while it ran the job


@dataclass(frozen=True, slots=True)
class _Row:
    """A fault, and the texts by which it is known. The first row that matches decides."""

    kind: FaultKind
    texts: re.Pattern[str]


def _row(kind: FaultKind, *texts: str) -> _Row:
    return _Row(kind, re.compile("|".join(texts), re.IGNORECASE))


# Matched against "<exception type>: <message>". `os error` is how Rust (safetensors) writes errno.
# Each row names issues with such texts; owner/repository#number is an issue of github.com.
_ROWS = (
    # hiyouga/LlamaFactory#5155 (safetensors), kijai/ComfyUI-Geowizard#10, Comfy-Org/ComfyUI#6408;
    # torch.save and numpy's tofile report a short write without its cause, Pillow its own code.
    _row(
        FaultKind.OUT_OF_DISK,
        r"\[Errno (28|122)\]|os error (28|122)\b|\bcode: (28|122),",
        r"no space left on device|\bENOSPC\b|\bEDQUOT\b|disk quota exceeded|\bStorageFull\b",
        r"(disk|device|storage|volume) is full|\bdisk full\b|not enough (free )?(disk )?space",
        r"PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+",
        r"\b\d+ requested and \d+ written|encoder error -2 when writing",
    ),
    # Comfy-Org/ComfyUI#5660 (a node that writes beside its code)
    _row(
        FaultKind.DISK_ERROR,
        r"\[Errno (5|30|116|117)\]|os error (5|30|116|117)\b|input/output error",
        r"read-only file system|stale file handle|structure needs cleaning|\bEROFS\b|\bEIO\b",
    ),
    _row(
        FaultKind.OUT_OF_RESOURCES,
        r"\[Errno (11|23|24)\]|os error (11|23|24)\b|too many open files|\bEMFILE\b|\bENFILE\b",
        r"can't start new thread|resource temporarily unavailable",
    ),
    # GPU: Comfy-Org/ComfyUI#4852 (Allocation on device), #11597 (CUDA error: out of memory), #9128
    # (XPU); pytorch/pytorch#112377 (NVML_SUCCESS == r is a failed allocation), #185240.
    # Host: Kosinkadink/ComfyUI-VideoHelperSuite#671, Gourieff/ComfyUI-ReActor#84,
    # billwuhao/Comfyui_HeyGem#14 and #15, Comfy-Org/ComfyUI#11301.
    _row(
        FaultKind.OUT_OF_MEMORY,
        r"OutOfMemoryError|\b_?(Array)?MemoryError\b|out[ _]of[ _](device_|host_)?memory",
        r"\[Errno 12\]|os error 12\b|cannot allocate memory|\bENOMEM\b|\bbad_alloc\b",
        r"Allocation on device|DefaultCPUAllocator|unable to allocate .{1,40} for an array",
        r"cannot allocate (memory for array|array memory)|failed to allocate|insufficient memory",
        r"not enough memory|insufficient shared memory|killed by signal: (killed|bus error)",
        r"STATUS_ALLOC_FAILED|NVML_SUCCESS == r\b|OUT_OF_RESOURCES",
        r"unable to find a valid cuDNN algorithm",
    ),
    # NVIDIA: lllyasviel/Fooocus#1189 (No CUDA GPUs are available), ErlerPhilipp/points2surf#17
    # (driver initialization), Fannovel16/comfyui_controlnet_aux#470 (cuDNN),
    # pytorch/pytorch#112950 (NVML), NVIDIA/nccl#1410, NVIDIA/open-gpu-kernel-modules#507 (Xid 79).
    # AMD: Comfy-Org/ComfyUI#2842, pytorch/pytorch#164346. Intel: Comfy-Org/ComfyUI#7753, #10847.
    _row(
        FaultKind.GPU_ERROR,
        r"AcceleratorError|\bCUDA (driver )?(error|failure|kernel error)|\bCUDA_ERROR_|\bcudaError",
        r"no CUDA GPUs are available|CUDA driver|no NVIDIA driver|compiled with CUDA enabled",
        r"\b(CUDNN|CUBLAS|CUSOLVER|CUSPARSE|CUFFT|CURAND)_|\b(cuDNN|cuBLAS|cuFFT) (error|failure)",
        r"\bNVML|\bNVRM\b|\bNCCL|\bnccl[A-Z]\w*Error",
        r"\b(HIP|ROCm|MIOpen|hipBLAS\w*|rocBLAS) (error|failure)|\bhipError|\bmiopenStatus",
        r"\bHSA_STATUS_ERROR|\b(rocblas|hipblas\w*|miopen)_status|No HIP GPUs are available",
        r"\bXPU (error|failure)|\bUR_RESULT_ERROR|\bZE_RESULT_ERROR|level_zero backend failed",
        r"Native API failed|No XPU devices are available",
        r"device-side assert|illegal (memory access|instruction was encountered)",
        r"misaligned address|unspecified launch failure|uncorrectable ECC|\bXid\b",
        r"fallen off (of )?the bus|GPU is lost|device is lost|device lost",
    ),
)

_ERRNOS = {
    FaultKind.OUT_OF_DISK: (errno.ENOSPC, errno.EDQUOT),
    FaultKind.DISK_ERROR: (errno.EIO, errno.EROFS, errno.ESTALE, errno.EUCLEAN),
    FaultKind.OUT_OF_RESOURCES: (errno.EMFILE, errno.ENFILE, errno.EAGAIN),
    FaultKind.OUT_OF_MEMORY: (errno.ENOMEM,),
}

# What to do about a fault that the job has caused.
_ADVICE = {
    FaultKind.OUT_OF_DISK: "The workflow filled the worker's disk. Make fewer or smaller files.",
    FaultKind.DISK_ERROR: "A file could not be read or written. Write files below output/ only.",
    FaultKind.OUT_OF_MEMORY: "The workflow needs more memory than the worker has. Use smaller "
    "pictures, batches or models, or fewer frames.",
    FaultKind.OUT_OF_RESOURCES: "The workflow opened too many files, processes or threads.",
    FaultKind.GPU_ERROR: "The workflow broke the GPU's computation. Check the node and its inputs.",
    FaultKind.ENGINE_LOST: "The workflow ended ComfyUI's process. Check the node that was running.",
}


MAX_SEARCHED = 10_000  # characters; a search of a longer text would delay the heartbeat


def kind_of_failure(exception_type: str, message: str) -> FaultKind | None:
    """The kind of fault that a node's exception looks like; None if it is the node's own."""
    text = f"{exception_type}: {message}"[:MAX_SEARCHED]
    return next((row.kind for row in _ROWS if row.texts.search(text)), None)


def kind_of_error(error: OSError | MemoryError) -> FaultKind | None:
    """The kind of fault behind an error of the worker; None if it is no fault of a machine."""
    if isinstance(error, MemoryError):
        return FaultKind.OUT_OF_MEMORY
    return next((kind for kind, numbers in _ERRNOS.items() if error.errno in numbers), None)


def kind_of_end(reason: str) -> FaultKind:
    """The kind of fault for which the engine's process ended."""
    return FaultKind(reason) if reason in frozenset(FaultKind) else FaultKind.ENGINE_LOST


def with_advice(error: JobError) -> JobError:
    """The error of a fault that the job has caused: it begins with what the caller can do."""
    advice = _ADVICE[FaultKind(error.type)]
    return replace(error, message=f"{advice} ComfyUI reported: {error.message}")
