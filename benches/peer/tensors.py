"""Reads safetensors files with nothing but torch, for machines that have no more than that."""

import json
from pathlib import Path

import torch

TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
         "U8": torch.uint8, "I32": torch.int32, "I64": torch.int64}


def load_file(path):
    """All tensors of a file by name."""
    contents = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(contents[:8], "little")
    tensors = {}
    for name, entry in json.loads(contents[8:start]).items():
        if name == "__metadata__":
            continue
        dtype, (begin, end) = TYPES[entry["dtype"]], entry["data_offsets"]
        count = (end - begin) // dtype.itemsize
        if count == 0:
            tensors[name] = torch.empty(entry["shape"], dtype=dtype)
            continue
        flat = torch.frombuffer(contents, dtype=dtype, count=count, offset=start + begin)
        tensors[name] = flat.reshape(entry["shape"]).clone()
    return tensors
