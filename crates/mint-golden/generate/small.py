"""What the generators share: the small CLIP, its texts and views, and where files go."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
sys.path.insert(0, str(HERE.parents[2] / "benches" / "peer"))

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import clip

torch.set_num_threads(1)
WIDTH, EMBED = 128, 64
CLASSES = 12


def model():
    state = load_file(DATA / "small_clip.safetensors")
    known = load_file(DATA / "token_rows.safetensors")
    table = torch.zeros(49408, WIDTH)
    table[known["ids"].long()] = known["rows"].float()
    return clip.from_state_dict(state | {"token_embedding.weight": table})


def texts(model, tag):
    """Embeddings [class, 77, width] and end-of-text places of "X X X X NAME." (tag `end`) or
    "a photo of a NAME." (tag `a_photo_of_a`)."""
    ids = load_file(DATA / "text_encoder.safetensors")[f"{tag}.tokenized"].long()
    return model.token_embedding(ids), ids.argmax(1)


def zeroshot(model):
    """Normalised text features of "a photo of a NAME."."""
    with torch.no_grad():
        return F.normalize(model.encode_tokens(*texts(model, "a_photo_of_a")), dim=1)


def images():
    """Eight images, each as views [view, 3, 32, 32]."""
    pixels = load_file(DATA / "pixels.safetensors")
    return [pixels[f"img{i}"].float() for i in range(8)]


def label(image):
    return torch.tensor(image * 3 % CLASSES)


def entropy(logits):
    """Entropy in nats of each row's softmax."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def with_gradients(record, prefix, loss, parameters):
    """Records the loss and its gradient for every named parameter."""
    record[f"{prefix}.loss"] = loss.detach().view(1)
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    for name, gradient in zip(parameters, gradients):
        record[f"{prefix}.grad.{name}"] = gradient


def save(name, record, may_be_nan=()):
    """Writes ../data/NAME.safetensors; only names that end in one of `may_be_nan` may hold NaN."""
    for key, tensor in record.items():
        assert tensor.dtype in (torch.float32, torch.int32), key
        assert tensor.isfinite().all() or key.endswith(tuple(may_be_nan)), f"{key} is not finite"
    with safe_open(DATA / "mint_seq.safetensors", "pt") as file:
        classes = json.loads(file.metadata()["classes"])
    assert len(classes) == CLASSES
    file = DATA / f"{name}.safetensors"
    record = {key: tensor.detach().clone().contiguous() for key, tensor in record.items()}
    save_file(record, file, {"classes": json.dumps(classes)})
    file.chmod(0o644)
    print(f"{file.name}: {len(record)} tensors, {file.stat().st_size} bytes")
