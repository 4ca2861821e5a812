"""Images per second through the image tower of ViT-B/16, in batches: PyTorch and onnxruntime.

python embed.py WEIGHTS.safetensors vision_model.onnx [BATCH]
"""

import sys
import time

import numpy
import onnxruntime
import torch

import clip

weights, onnx, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 16
pixels = torch.randn(batch, 3, 224, 224)


def rate(name, work):
    work()
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    print(f"{name}: {batch / best:.2f} images a second, batches of {batch}")


model = clip.load(weights)
with torch.no_grad():
    rate(f"PyTorch {torch.__version__}", lambda: model.encode_image(pixels))
session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
name, (fixed, *_) = session.get_inputs()[0].name, session.get_inputs()[0].shape
# An export may have its batch fixed.
parts = numpy.split(pixels.numpy(), batch // fixed if isinstance(fixed, int) else 1)
rate(f"onnxruntime {onnxruntime.__version__}",
     lambda: [session.run(None, {name: part}) for part in parts])
