"""Views per second of Pillow and torchvision on one core: decode and 64 views, as 8-bit pictures and
as normalised tensors.

python views.py IMAGE...

`cargo bench --workspace --bench file_to_views --profile dev -- IMAGE...` measures the same here.
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


def pictures(file):
    image = Image.open(file).convert("RGB")
    return [CLEAN(image)] + [RANDOM(image) for _ in range(VIEWS - 1)]


def tensors(file):
    return torch.stack([NORMALIZE(picture) for picture in pictures(file)])


def rate(work, file):
    best = float("inf")
    for _ in range(15):
        start = time.process_time()
        work(file)
        best = min(best, time.process_time() - start)
    return VIEWS / best


for file in sys.argv[1:]:
    print(f"{file}: {rate(pictures, file):.0f} views a second, "
          f"{rate(tensors, file):.0f} with tensors and normalisation")
