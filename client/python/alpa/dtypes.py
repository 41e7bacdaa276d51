"""Element types: their names in plans and job directories, and their numbers on the wire (graph::DType)."""

import ml_dtypes
import numpy as np

_TABLE = {
    "pred": (1, np.dtype(np.bool_)),
    "s8": (2, np.dtype(np.int8)),
    "s16": (3, np.dtype(np.int16)),
    "s32": (4, np.dtype(np.int32)),
    "s64": (5, np.dtype(np.int64)),
    "u8": (6, np.dtype(np.uint8)),
    "u16": (7, np.dtype(np.uint16)),
    "u32": (8, np.dtype(np.uint32)),
    "u64": (9, np.dtype(np.uint64)),
    "f16": (10, np.dtype(np.float16)),
    "f32": (11, np.dtype(np.float32)),
    "f64": (12, np.dtype(np.float64)),
    "bf16": (16, np.dtype(ml_dtypes.bfloat16)),
}
_NAMES = {dtype: name for name, (_, dtype) in _TABLE.items()}
NUMPY_BY_NUMBER = {number: dtype for number, dtype in _TABLE.values()}


def name(dtype):
    """Returns "f32" for np.float32. Returns None if the dtype is not supported."""
    return _NAMES.get(np.dtype(dtype))


def describe(shape, dtype):
    """Returns the shape and dtype as text for error messages: "f32[2,3]"."""
    return f"{name(dtype) or dtype}[{','.join(map(str, shape))}]"
