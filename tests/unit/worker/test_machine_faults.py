"""Which errors may be a machine's: texts of public issues, and texts that only look alike."""

from __future__ import annotations

import errno
import os

import pytest

from gpu_worker.comfy.outcomes import PromptFailed
from gpu_worker.faults import job_error_of
from gpu_worker.machine_faults import FaultKind, kind_of_end, kind_of_error, kind_of_failure

TIPS = "\nThis error means you ran out of memory on your GPU.\n\nTIPS: ..."
ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you"
RUNTIME = "RuntimeError"
DISK, FAILED, MEMORY = FaultKind.OUT_OF_DISK, FaultKind.DISK_ERROR, FaultKind.OUT_OF_MEMORY
RESOURCES, GPU = FaultKind.OUT_OF_RESOURCES, FaultKind.GPU_ERROR

# As reported by users, with the class of the exception where it is known.
REPORTED = [
    (DISK, "OSError", "[Errno 28] No space left on device: 'output/x.png'"),
    (DISK, "OSError", "[Errno 122] Disk quota exceeded"),
    (
        DISK,
        "safetensors_rust.SafetensorError",
        'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space" })',
    ),
    (DISK, "safetensors_rust.SafetensorError", "I/O error: No space left on device (os error 28)"),
    (DISK, RUNTIME, "PytorchStreamWriter failed writing file data/7: file write failed"),
    (DISK, RUNTIME, "[enforce fail at inline_container.cc:588] . unexpected pos 64 vs 0"),
    (DISK, "OSError", "4096000 requested and 1024 written"),
    (DISK, "OSError", "encoder error -2 when writing image file"),
    (DISK, "sqlite3.OperationalError", "database or disk is full"),
    (DISK, "Exception", "av_interleaved_write_frame(): No space left on device"),
    (FAILED, "OSError", "[Errno 30] Read-only file system: '/comfyui'"),
    (FAILED, "OSError", "[Errno 5] Input/output error"),
    (FAILED, "OSError", "[Errno 116] Stale file handle"),
    (RESOURCES, "OSError", "[Errno 24] Too many open files: '/work/output/x.png'"),
    (RESOURCES, RUNTIME, "can't start new thread"),
    (RESOURCES, "BlockingIOError", "[Errno 11] Resource temporarily unavailable"),
    (MEMORY, "torch.OutOfMemoryError", "Allocation on device" + TIPS),
    (MEMORY, "torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB"),
    (MEMORY, RUNTIME, "CUDA out of memory. Tried to allocate"),
    (MEMORY, RUNTIME, "CUDA error: out of memory"),
    (MEMORY, "torch.AcceleratorError", "CUDA error: out of memory"),
    (MEMORY, RUNTIME, "HIP out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total"),
    (MEMORY, RUNTIME, "XPU out of memory. Tried to allocate 1.50 GiB"),
    (MEMORY, RUNTIME, "MPS backend out of memory (MPS allocated: 18.13 GB"),
    (MEMORY, RUNTIME, ALLOCATOR),
    (MEMORY, RUNTIME, "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough"),
    (MEMORY, "MemoryError", ""),
    (MEMORY, "MemoryError", "MemoryError: cannot allocate memory for array"),
    (
        MEMORY,
        "numpy.core._exceptions._ArrayMemoryError",
        "Unable to allocate 3.72 GiB for an array with shape (361, 1440, 2560, 3)",
    ),
    (
        MEMORY,
        "Exception",
        "Unable to allocate 75.5 GiB for an array with shape (3256, 1920, 1080, 3)",
    ),
    (MEMORY, "Exception", "cannot allocate array memory"),
    (MEMORY, "OSError", "[Errno 12] Cannot allocate memory"),
    (MEMORY, RUNTIME, "std::bad_alloc"),
    (MEMORY, "cv2.error", "OpenCV(4.9.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to"),
    (MEMORY, RUNTIME, "DataLoader worker (pid 321) is killed by signal: Killed."),
    (
        MEMORY,
        RUNTIME,
        "Unexpected bus error. This might be caused by insufficient shared memory (shm).",
    ),
    (MEMORY, RUNTIME, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    (
        MEMORY,
        RUNTIME,
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator.cpp"',
    ),
    (
        MEMORY,
        RUNTIME,
        "level_zero backend failed with error: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
    ),
    (MEMORY, RUNTIME, "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY"),
    (MEMORY, RUNTIME, "Unable to find a valid cuDNN algorithm to run convolution"),
    (GPU, "torch.AcceleratorError", "CUDA error: an illegal memory access was encountered"),
    (GPU, RUNTIME, "CUDA error: device-side assert triggered"),
    (GPU, RUNTIME, "CUDA driver error: invalid argument"),
    (GPU, RUNTIME, "CUDA error: no kernel image is available for execution on the device"),
    (GPU, RUNTIME, "CUDA error: unspecified launch failure"),
    (GPU, RUNTIME, "CUDA error: uncorrectable ECC error encountered"),
    (GPU, RUNTIME, "No CUDA GPUs are available"),
    (GPU, RUNTIME, "No HIP GPUs are available"),
    (GPU, RUNTIME, "CUDA driver initialization failed, you might not have a CUDA gpu."),
    (GPU, RUNTIME, "Found no NVIDIA driver on your system."),
    (GPU, "AssertionError", "Torch not compiled with CUDA enabled"),
    (GPU, RUNTIME, "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    (GPU, RUNTIME, "CUDNN_STATUS_EXECUTION_FAILED"),
    (GPU, RUNTIME, "CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
    (GPU, RUNTIME, "cuFFT error: CUFFT_INTERNAL_ERROR"),
    (GPU, RUNTIME, "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR"),
    (GPU, RUNTIME, "Failed to initialize NVML: Driver/library version mismatch"),
    (GPU, RUNTIME, "NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED"),
    (GPU, RUNTIME, "NCCL Error 1: unhandled cuda error"),
    (GPU, RUNTIME, "ncclUnhandledCudaError: Call to CUDA function failed."),
    (GPU, "torch.AcceleratorError", "HIP error: invalid device function"),
    (GPU, RUNTIME, "HIP error: invalid device function\nHIP kernel errors might be"),
    (GPU, RUNTIME, "MIOpen Error: /MIOpen/src/hipoc/hipoc_program.cpp:299"),
    (GPU, RUNTIME, "miopenStatusUnknownError"),
    (GPU, RUNTIME, "ROCm error: the device is busy"),
    (GPU, RUNTIME, "Native API failed. Native API returns: 20 (UR_RESULT_ERROR_DEVICE_LOST)"),
    (GPU, RUNTIME, "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)"),
    (GPU, RUNTIME, "XPU error: device lost"),
    (GPU, "Exception", "NVRM: Xid (PCI:0000:02:00): 79, GPU has fallen off the bus."),
    (
        GPU,
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail",
        "CUDA failure 700: an illegal memory",
    ),
    (GPU, "pycuda._driver.LogicError", "CUDA_ERROR_NOT_INITIALIZED"),
]
OF_THE_NODE = [
    ("PIL.UnidentifiedImageError", "cannot identify image file"),
    (RUNTIME, "mat1 and mat2 shapes cannot be multiplied (77x2048 and 768x320)"),
    (
        RUNTIME,
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0",
    ),
    (
        RUNTIME,
        "Input type (torch.cuda.HalfTensor) and weight type (torch.HalfTensor) should be the same",
    ),
    ("Exception", "Saving image outside the output folder is not allowed"),
    ("FileNotFoundError", "[Errno 2] No such file or directory: 'input/x.png'"),
    ("OSError", "[Errno 36] File name too long"),
    ("PermissionError", "[Errno 13] Permission denied: '/root'"),
    ("ValueError", "[Errno 280] is no errno"),
    ("ValueError", "invalid literal for int() with base 10: '28'"),
    ("KeyError", "'hip'"),
    ("ValueError", "unknown class: membership error"),
    ("ValueError", "the Xidian dataset is missing"),
    ("ValueError", ""),
]


@pytest.mark.parametrize(("kind", "exception_type", "message"), REPORTED)
def test_a_reported_error_of_a_machine_is_known(
    kind: FaultKind, exception_type: str, message: str
) -> None:
    failed = PromptFailed(type=exception_type, message=message, node_id="5", node_type="KSampler")
    error = job_error_of(failed)
    assert (error.type, error.message) == (kind.value, message)
    assert (error.node_id, error.node_type) == ("5", "KSampler")


@pytest.mark.parametrize(("exception_type", "message"), OF_THE_NODE)
def test_an_error_of_the_node_is_its_own(exception_type: str, message: str) -> None:
    assert kind_of_failure(exception_type, message) is None


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DISK),
        (errno.EDQUOT, DISK),
        (errno.EROFS, FAILED),
        (errno.EIO, FAILED),
        (errno.EMFILE, RESOURCES),
        (errno.ENFILE, RESOURCES),
        (errno.ENOMEM, MEMORY),
        (errno.ENAMETOOLONG, None),
        (errno.EACCES, None),
    ],
)
def test_an_error_of_the_worker_is_known_by_its_number(number: int, kind: FaultKind | None) -> None:
    assert kind_of_error(OSError(number, os.strerror(number))) is kind


def test_a_worker_without_memory_is_out_of_memory() -> None:
    assert kind_of_error(MemoryError()) is MEMORY


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("out_of_memory", MEMORY),
        ("ended", FaultKind.ENGINE_LOST),
        ("engine_deaf", FaultKind.ENGINE_LOST),
    ],
)
def test_the_end_of_an_engine_is_a_fault_of_a_kind(reason: str, kind: FaultKind) -> None:
    assert kind_of_end(reason) is kind
