"""Trains a CLIP of the demo's size on drawings of the source makers, and its CoOp context.

    npm install --prefix ICONS @iconify-json/{twemoji,noto,fluent-emoji,fluent-emoji-flat,\
emojione,emojione-monotone}      with the versions of styles.json
    python train_clip.py --icons ICONS --out DIR
                                 writes clip-SEED.safetensors for each seed, says which seed is
                                 best and writes its coop_ctx-SEED.safetensors

Takes about 40 minutes of one core (Zen 3, AVX2) for each seed. Needs `torch`, `torchvision`,
`numpy`, `safetensors`, `pillow` and `resvg_py`. CPU, fp32, one thread, seeded: two runs on one machine write the same bytes.

What is learned from: 1,000 drawings, five of six makers for each of the 200 classes; the sixth is
in set I. One of the five is the class's validation drawing, the same for all seeds, in four poses:
800 pictures. Seeds are compared on these. Sets I, A, V, R and K are not opened.

CLIP: cross-entropy of each picture over the names in its batch, in random templates. 2,400 steps
of 128 pictures; Muon at 0.02 for the matrices of the blocks, AdamW at 0.002 for the rest, weight
decay 0.1, a linear warm-up of 5 % and then a cosine. Poses become as uneven as they are over the
first 15 % of the steps. In the first 90 % the image tower sees 12 of the 16 patches, chosen at
random for each picture.

CoOp: its published few-shot settings (`configs/trainers/CoOp`, and Dassl's defaults): four tokens
that start as "a photo of a", SGD at 0.002 with momentum 0.9 and weight decay 5e-4, batch 32, 50
epochs, the first at 1e-5 and then a cosine, random resized crop (scale 0.08 to 1) and flip.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms.functional import to_pil_image

from drawings import Between, normalized, on_white, posed, recoloured, training_drawings
from train_prompts import HERE, RANDOM, Texts, Tokenizer, clip

TEMPLATES = (
    "a photo of a {}.", "a picture of a {}.", "a drawing of a {}.", "an image of a {}.",
    "a photo of the {}.", "a drawing of the {}.", "an icon of a {}.", "a sketch of a {}.",
    "a cartoon {}.", "an illustration of a {}.", "a close-up photo of a {}.", "{}.",
)
VISION = dict(resolution=64, patch=16, width=128, layers=12)
TEXT_WIDTH, TEXT_LAYERS, CONTEXT, EMBED = 128, 4, 77, 128
STEPS, BATCH, WARM_UP, EASY, ALL_PATCHES = 2400, 128, 0.05, 0.15, 0.9
MUON, ADAMW, DECAY, MOMENTUM = 0.02, 0.002, 0.1, 0.95


def new_model(vocabulary):
    """OpenAI's initial values, but for the first layer and the positions of the pictures."""
    model = clip.CLIP(VISION, TEXT_WIDTH, TEXT_LAYERS, CONTEXT, vocabulary, EMBED)
    for tower in (model.transformer, model.visual.transformer):
        width, layers = tower.resblocks[0].ln_1.weight.shape[0], len(tower.resblocks)
        for block in tower.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=(2 * layers * width) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=(2 * layers * width) ** -0.5)
            for bias in (block.attn.in_proj_bias, block.attn.out_proj.bias,
                         block.mlp.c_fc.bias, block.mlp.c_proj.bias):
                nn.init.zeros_(bias)
    visual = model.visual
    for weight in (visual.class_embedding, visual.positional_embedding, visual.proj):
        nn.init.normal_(weight, std=VISION["width"] ** -0.5)
    nn.init.normal_(model.text_projection, std=TEXT_WIDTH**-0.5)
    nn.init.normal_(model.token_embedding.weight, std=0.02)
    nn.init.normal_(model.positional_embedding, std=0.01)
    nn.init.constant_(model.logit_scale, math.log(1 / 0.07))
    return model


class Lexicon:
    """The names in each template, as rows of an embedding that has only the tokens used."""

    def __init__(self, classes):
        tokenizer = Tokenizer()
        texts = [template.format(name) for template in TEMPLATES for name in classes]
        ids = tokenizer.texts(texts)
        # Padding is 0, the least id; end-of-text stays the greatest.
        self.tokens, rows = ids.unique(return_inverse=True)
        self.rows = rows.view(len(TEMPLATES), len(classes), -1)

    def whole_vocabulary(self, weight):
        """CLIP's 49,408 rows; those of tokens that no text has are zero."""
        whole = torch.zeros(int(self.tokens[-1]) + 1, weight.shape[1], dtype=weight.dtype)
        whole[self.tokens] = weight
        whole[0] = 0
        return whole


def text_features(model, rows):
    """Attention is causal, so texts are cut after the longest of them."""
    rows = rows[:, : int(rows.argmax(1).max()) + 1]
    length = rows.shape[1]
    x = (model.token_embedding(rows) + model.positional_embedding[:length]).transpose(0, 1)
    mask = torch.full((length, length), float("-inf")).triu(1)
    for block in model.transformer.resblocks:
        block.attn_mask = mask
        x = block(x)
    x = model.ln_final(x).transpose(0, 1)
    return F.normalize(x[torch.arange(len(x)), rows.argmax(1)] @ model.text_projection, dim=1)


def image_features(model, pixels, patches, between):
    """From `patches` patches of each picture, chosen at random."""
    tower = model.visual
    x = tower.conv1(pixels).flatten(2).transpose(1, 2) + tower.positional_embedding[1:]
    chosen = between(0, 1, *x.shape[:2]).argsort(1)[:, :patches, None]
    x = x.gather(1, chosen.expand(-1, -1, x.shape[2]))
    first = (tower.class_embedding + tower.positional_embedding[0]).expand(len(x), 1, -1)
    x = tower.ln_pre(torch.cat([first, x], 1)).transpose(0, 1)
    for block in tower.transformer.resblocks:
        x = block(x)
    return F.normalize(tower.ln_post(x[0]) @ tower.proj, dim=1)


@torch.no_grad()
def accuracy(model, texts, pictures, labels):
    images = torch.cat([model.encode_image(part) for part in pictures.split(100)])
    return 100 * (images @ texts.t()).argmax(1).eq(labels).float().mean().item()


class Muon(torch.optim.Optimizer):
    """Jordan et al., 2024, with Nesterov's momentum.

    In single precision: PyTorch's own is in bfloat16, which takes hours on most processors.
    """

    def __init__(self, matrices):
        super().__init__(matrices, dict(lr=MUON))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for matrix in group["params"]:
                mean = self.state[matrix].setdefault("mean", torch.zeros_like(matrix))
                mean.lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonal(matrix.grad.lerp(mean, MOMENTUM))
                rate = group["lr"] * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                matrix.mul_(1 - group["lr"] * DECAY).sub_(update, alpha=rate)


def orthogonal(matrix):
    """Singular values go near 1, in five steps of a polynomial (Newton and Schulz)."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = F.normalize(matrix.t() if is_tall else matrix, dim=(0, 1), eps=1e-7)
    for _ in range(5):
        gram = x @ x.t()
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x.t() if is_tall else x


def optimizers(model):
    blocks = {name for name, weight in model.named_parameters()
              if "resblocks" in name and weight.ndim == 2}
    decayed, others = [], []
    for name, weight in model.named_parameters():
        if name not in blocks:
            matrix = weight.ndim > 1 and "embedding" not in name
            (decayed if matrix else others).append(weight)
    matrices = [weight for name, weight in model.named_parameters() if name in blocks]
    return [
        Muon(matrices),
        torch.optim.AdamW(
            [dict(params=decayed), dict(params=others, weight_decay=0)],
            lr=ADAMW, weight_decay=DECAY, betas=(0.9, 0.98)),
    ]


def train_clip(lexicon, drawings, labels, validation, seed, steps):
    torch.manual_seed(seed)
    between = Between(seed)
    model = new_model(len(lexicon.tokens))
    with torch.no_grad():
        # The first layer's outputs have a deviation of 1, beside which positions are small.
        seen = model.visual.conv1(normalized(on_white(drawings)))
        model.visual.conv1.weight.div_(seen.std())
    steppers = optimizers(model)
    rates = [torch.optim.lr_scheduler.LambdaLR(
        stepper,
        lambda step: min((step + 1) / (WARM_UP * steps),
                         (1 + math.cos(math.pi * max(0, step / steps - WARM_UP)
                                       / (1 - WARM_UP))) / 2)) for stepper in steppers]
    order, total = torch.empty(0, dtype=torch.long), 0.0
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.cat([order, between.order(len(drawings))])
        chosen, order = order[:BATCH], order[BATCH:]
        hard = min(1, step / (EASY * steps))
        pictures = posed(drawings[chosen], between, 0.55 ** (0.3 + 0.7 * hard), 1.6**hard,
                         20 * hard, (4 / 3) ** hard)
        pixels = normalized(recoloured(pictures, between))
        classes, own = labels[chosen].unique(return_inverse=True)
        template = between.choice(len(TEMPLATES), len(classes))
        texts = text_features(model, lexicon.rows[template, classes])
        patches = 12 if step < ALL_PATCHES * steps else 16
        images = image_features(model, pixels, patches, between)
        loss = F.cross_entropy(model.logit_scale.exp() * images @ texts.t(), own)
        for stepper in steppers:
            stepper.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper, rate in zip(steppers, rates):
            stepper.step()
            rate.step()
        model.logit_scale.data.clamp_(max=math.log(100))
        total += loss.item()
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                texts = text_features(model, lexicon.rows[0])
            print(f"seed {seed}, step {step + 1}: mean loss {total / 100:.3f}, "
                  f"validation {accuracy(model, texts, *validation):.1f} %", flush=True)
            total = 0.0
    return model.eval().requires_grad_(False)


def openai_state(model, lexicon):
    """The state with the whole vocabulary, rounded to the half precision of the file."""
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    tokens = "token_embedding.weight"
    state[tokens] = lexicon.whole_vocabulary(state[tokens])
    return state


def train_coop(model, classes, drawings, labels, seed, epochs):
    """The context [4, width] and the features of the 200 texts with it."""
    torch.manual_seed(seed)
    between = Between(seed)
    tokenizer = Tokenizer()
    ids = tokenizer.texts([f"X X X X {name}." for name in classes])
    model.positional_embedding = nn.Parameter(
        model.positional_embedding[: ids.shape[1]], requires_grad=False)
    for block in model.transformer.resblocks:
        block.attn_mask = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)
    texts = Texts(model, ids)
    context = nn.Parameter(model.token_embedding(torch.tensor(tokenizer.encode("a photo of a"))))
    stepper = torch.optim.SGD([context], lr=0.002, momentum=0.9, weight_decay=5e-4)
    pictures = on_white(drawings).mul(255).round().byte()
    for epoch in range(epochs):
        cosine = 0.002 * (1 + math.cos(math.pi * epoch / epochs)) / 2
        stepper.param_groups[0]["lr"] = cosine if epoch > 0 else 1e-5
        for chosen in between.order(len(pictures)).split(32):
            pixels = torch.stack([RANDOM(picture) for picture in map(to_pil_image, pictures[chosen])])
            with torch.no_grad():
                images = F.normalize(model.encode_image(pixels), dim=1)
            logits = model.logit_scale.exp() * images @ texts.features(context).t()
            loss = F.cross_entropy(logits, labels[chosen])
            stepper.zero_grad()
            loss.backward()
            stepper.step()
    return context.detach(), texts.features(context).detach()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--icons", type=Path, required=True, help="the folder that npm filled")
    parser.add_argument("--out", type=Path, required=True, help="where the files are written")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS, help="fewer to try it")
    parser.add_argument("--epochs", type=int, default=50, help="of CoOp")
    args = parser.parse_args()

    classes = json.loads((HERE / "classnames.json").read_text())
    lexicon = Lexicon(classes)
    drawings = training_drawings(args.icons, classes)
    labels = torch.arange(len(classes)).repeat_interleave(5)
    between = Between(100)
    held_out = torch.zeros(len(drawings), dtype=torch.bool)
    held_out[torch.arange(len(classes)) * 5 + between.choice(5, len(classes))] = True
    poses = [posed(drawings[held_out], between, 0.6, 1, 12, 1) for _ in range(4)]
    validation = normalized(torch.cat(poses)), labels[held_out].repeat(4)
    learned = drawings[~held_out], labels[~held_out]

    args.out.mkdir(parents=True, exist_ok=True)
    validated, models = {}, {}
    whole_texts = whole(Tokenizer().texts([f"a photo of a {n}." for n in classes]))
    for seed in args.seeds:
        model = train_clip(lexicon, *learned, validation, seed, args.steps)
        state = openai_state(model, lexicon)
        save_file(state, args.out / f"clip-{seed}.safetensors")
        models[seed] = clip.from_state_dict(state)
        texts = F.normalize(models[seed].encode_text(whole_texts), dim=1)
        validated[seed] = accuracy(models[seed], texts, *validation)
        print(f"seed {seed}: validation {validated[seed]:.1f} %", flush=True)
    best = max(validated, key=validated.get)
    context, features = train_coop(models[best], classes, *learned, best, args.epochs)
    save_file({"ctx": context.half().contiguous()}, args.out / f"coop_ctx-{best}.safetensors")
    print(f"best: seed {best}, with CoOp's context "
          f"{accuracy(models[best], features, *validation):.1f} %")


def whole(ids):
    """Texts as long as CLIP's context."""
    return F.pad(ids, (0, CONTEXT - ids.shape[1]))


if __name__ == "__main__":
    main()
