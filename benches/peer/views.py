"""Views per second of Pillow and torchvision on one core: decode, 64 views, normalised tensors.

python views.py IMAGE...

`cargo bench -p mint-eval --bench views -- IMAGE...` measures the same here.
"""

import sys
import time

import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

torch.set_num_threads(1)
NORMALIZE = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
])
CLEAN = transforms.Compose([
    transforms.Resize(224, interpolation=InterpolationMode.BICUBIC), transforms.CenterCrop(224),
])
RANDOM = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()])
VIEWS = 64


def views(file):
    image = Image.open(file).convert("RGB")
    return torch.stack([NORMALIZE(CLEAN(image))] + [NORMALIZE(RANDOM(image)) for _ in range(VIEWS - 1)])


for file in sys.argv[1:]:
    best = float("inf")
    for _ in range(7):
        start = time.process_time()
        views(file)
        best = min(best, time.process_time() - start)
    print(f"{file}: {VIEWS / best:.0f} views a CPU second")
