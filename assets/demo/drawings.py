"""The drawings that the demo's CLIP is trained on, and what is done to them each time.

Each of the 200 classes has a drawing of each of six makers. One of the six is in set I, and held
out; the other five are the training drawings. The icon's name of set I (`manifest.csv`) is the name
in all six sets of icons; where it is not, the class's name is.
"""

import csv
import io
import json
import math

import numpy
import resvg_py
import torch
import torch.nn.functional as F
from PIL import Image

from train_prompts import HERE, MEAN, STD

STYLES = ("twemoji", "noto", "fluent-emoji", "fluent-emoji-flat", "emojione", "emojione-monotone")
SIZE = 64
GRAY = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


def training_drawings(icons, classes):
    """The drawings [1000, 4, 64, 64], five per class in the order of the labels.

    Red, green and blue are multiplied by alpha. `icons` is the folder that npm filled."""
    with open(HERE / "manifest.csv", newline="") as file:
        held_out = {row["class"]: row for row in csv.DictReader(file) if row["set"] == "I"}
    versions = json.loads((HERE / "styles.json").read_text())
    drawings = {}
    for style in STYLES:
        folder = icons / "node_modules" / versions[style]["package"]
        found = json.loads((folder / "package.json").read_text())["version"]
        wanted = versions[style]["package_version"]
        assert found == wanted, f"{folder} has version {found}; install {wanted}"
        icon_set = json.loads((folder / "icons.json").read_text())
        for name in classes:
            if held_out[name]["style"] == style:
                continue
            icon = held_out[name]["icon"]
            icon = icon if icon in icon_set["icons"] else name.replace(" ", "-")
            drawings[name, style] = render(icon_set, icon_set["icons"][icon])
    drawings = [drawings[key] for key in sorted(
        drawings, key=lambda key: (classes.index(key[0]), STYLES.index(key[1])))]
    assert len(drawings) == 5 * len(classes)
    return torch.stack(drawings)


def render(icon_set, icon):
    left, top, width, height = (
        icon.get(key, icon_set.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16)))
    svg = ('<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
           f'width="{SIZE}" height="{SIZE}" viewBox="{left} {top} {width} {height}">'
           f'{icon["body"]}</svg>')
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))
    rgba = numpy.array(Image.open(io.BytesIO(png)).convert("RGBA"), dtype=numpy.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    return torch.from_numpy(rgba).permute(2, 0, 1)


def on_white(drawings):
    """Pictures [n, 3, 64, 64] of 0 to 1."""
    return drawings[:, :3] + 1 - drawings[:, 3:]


class Between:
    """Random numbers from a seed."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def order(self, count):
        return torch.randperm(count, generator=self.generator)

    def choice(self, count, *shape):
        return torch.randint(count, shape, generator=self.generator)


def posed(drawings, between, smallest, largest, degrees, aspect):
    """Pictures of the drawings: resized, turned, flipped and moved, on white or a light colour.

    A size of 1 fills the picture. A smaller drawing stays within it, a larger one is cropped."""
    count = len(drawings)
    size = between(math.log(smallest), math.log(largest), count).exp()
    stretch = between(-math.log(aspect) / 2, math.log(aspect) / 2, count).exp()
    angle = math.radians(degrees) * between(-1, 1, count)
    flip = between(0, 1, count).lt(0.5) * 2.0 - 1
    right, down = (1 - size).abs() * between(-1, 1, 2, count)
    cosine, sine = angle.cos() / size, angle.sin() / size
    # Where each place of the picture is in the drawing.
    across = torch.stack([cosine, sine, -cosine * right - sine * down], 1)
    along = torch.stack([-sine, cosine, sine * right - cosine * down], 1)
    places = torch.stack([across * (flip * stretch)[:, None], along / stretch[:, None]], 1)
    grid = F.affine_grid(places, list(drawings.shape), align_corners=False)
    drawings = F.grid_sample(drawings, grid, align_corners=False)
    white = between(0, 1, count, 1, 1, 1).lt(0.5).float()
    ground = torch.maximum(white, between(0.4, 1, count, 3, 1, 1))
    return drawings[:, :3] + (1 - drawings[:, 3:]) * ground


def recoloured(pictures, between, strength=0.3, gray_share=0.1):
    """Brightness, contrast and saturation changed by up to `strength`, a few pictures grey."""
    def factor():
        return between(1 - strength, 1 + strength, len(pictures), 1, 1, 1)

    def gray():
        return (pictures * GRAY).sum(1, keepdim=True)

    pictures = (pictures * factor()).clamp(0, 1)
    mean = gray().mean((2, 3), keepdim=True)
    pictures = (mean + (pictures - mean) * factor()).clamp(0, 1)
    saturation = factor() * between(0, 1, len(pictures), 1, 1, 1).ge(gray_share)
    return (gray() + (pictures - gray()) * saturation).clamp(0, 1)


def normalized(pictures):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pictures - mean) / std
