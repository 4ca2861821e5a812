"""MINT, TPT, ZERO and zero-shot CLIP in plain PyTorch, in the official order of work.

Nothing is saved that the official code does not save: each step of MINT runs the query pass again,
tapes the prompted pass of all views, and runs 77 tokens for every class. Only what costs next to
nothing is simpler: one tensor of keys and one of prompts instead of a parameter for each slot.

A run's inputs are what `mint-cli predict --export DIR` writes, so both see the same pixels, tokens,
context and memory.
"""

import argparse
import json
import resource
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F

import clip
from tensors import load_file

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
OPTIMIZER = dict(lr=5e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
CONFIDENT = 0.1


def confident(logits, share=CONFIDENT):
    """The views of lowest entropy; earlier views win ties."""
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    return entropy.sort(stable=True).indices[: int(len(logits) * share)]


def marginal_entropy(logits):
    log_mean = logits.log_softmax(1).logsumexp(0) - torch.tensor(float(len(logits))).log()
    return -(log_mean.exp() * log_mean).sum()


class Prompts:
    """`n` context vectors and a class name, for every class, as embeddings [class, 77, width]."""

    def __init__(self, model, ids, n):
        self.model, self.ends = model, ids.argmax(-1)
        embedded = model.token_embedding(ids)
        self.prefix, self.suffix = embedded[:, :1], embedded[:, 1 + n :]

    def features(self, context):
        context = context.to(self.prefix.dtype).expand(len(self.prefix), -1, -1)
        embedded = torch.cat([self.prefix, context, self.suffix], 1)
        return F.normalize(self.model.encode_tokens(embedded, self.ends).float(), dim=-1)


def logits_of(model, images, texts):
    return model.logit_scale.exp() * F.normalize(images.float(), dim=-1) @ texts.t()


class Mint:
    """Section by section as the official model: `bank` lives on, `context` starts anew."""

    def __init__(self, model, prompts, start, keys, prompt_rows, steps=3, levels=None,
                 picks=2, share=CONFIDENT):
        self.model, self.prompts, self.start = model, prompts, start
        self.keys = keys.clone().requires_grad_()
        self.rows = prompt_rows.clone().requires_grad_()
        self.usage = torch.zeros(len(keys), dtype=torch.long, device=keys.device)
        layers = len(model.visual.transformer.resblocks)
        self.levels = levels or [layers // 3 - 1, 2 * layers // 3 - 1, layers - 1]
        self.steps, self.picks, self.share = steps, picks, share

    def forward(self, pixels, context, training, replay=None):
        with torch.no_grad():
            queries = torch.stack(self.model.visual(pixels, levels=self.levels)[1]).float()
        views = queries.shape[1]
        similarity = F.normalize(queries, dim=-1) @ F.normalize(self.keys, dim=-1).t()
        distances = 1 - similarity
        total = int(self.usage.sum())
        if training and 0 < total <= len(self.keys) * views:
            distances = distances * (self.usage / total)
        if replay is None:
            picked = distances.sort(dim=-1, stable=True).indices[..., : self.picks]
        else:
            picked = replay.view(views, len(self.levels), self.picks).transpose(0, 1)
        chosen = distances.gather(-1, picked).transpose(0, 1).reshape(views, -1)
        slots = picked.transpose(0, 1).reshape(views, -1)
        if training:
            self.usage += torch.bincount(slots.flatten(), minlength=len(self.keys))
        extra = self.rows[slots].mean(1)
        images = self.model.visual(pixels, extra)[0]
        texts = self.prompts.features(context)
        return logits_of(self.model, images, texts), chosen

    def classify(self, pixels, amp, trace=None):
        context = self.start.clone().requires_grad_()
        optimizer = torch.optim.AdamW([context, self.keys, self.rows], **OPTIMIZER)
        selected = None
        for step in range(self.steps):
            replay = trace and trace[step]
            with amp():
                logits, distances = self.forward(pixels, context, True, replay)
            if selected is None:
                selected = confident(logits.float(), self.share)
            entropy = marginal_entropy(logits.float()[selected])
            loss = entropy - 0.2 * distances.sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad(), amp():
            return self.forward(pixels[:1], context, False, trace and trace[self.steps])[0][0]


class Tpt:
    def __init__(self, model, prompts, start, steps=1, share=CONFIDENT):
        self.model, self.prompts, self.start = model, prompts, start
        self.steps, self.share = steps, share

    def forward(self, pixels, context):
        with torch.no_grad():
            images = self.model.encode_image(pixels)
        return logits_of(self.model, images, self.prompts.features(context))

    def classify(self, pixels, amp, trace=None):
        context = self.start.clone().requires_grad_()
        optimizer = torch.optim.AdamW([context], **OPTIMIZER)
        selected = None
        for _ in range(self.steps):
            with amp():
                logits = self.forward(pixels, context)
            if selected is None:
                selected = confident(logits.float(), self.share)
            optimizer.zero_grad()
            marginal_entropy(logits.float()[selected]).backward()
            optimizer.step()
        with torch.no_grad(), amp():
            return self.forward(pixels[:1], context)[0]


class Zero:
    """Votes of the most confident views; ties go to the next confident ones."""

    def __init__(self, model, texts, gamma=0.3):
        self.model, self.texts, self.gamma = model, texts, gamma

    @torch.no_grad()
    def classify(self, pixels, amp, trace=None):
        with amp():
            logits = logits_of(self.model, self.model.encode_image(pixels), self.texts).float()
        order = confident(logits, 1.0)
        kept = int(len(logits) * self.gamma)
        best = logits[order].argmax(1)
        votes = torch.bincount(best[:kept], minlength=logits.shape[1]).float()
        for vote in best[kept:]:
            tied = (votes == votes.max()).nonzero().flatten()
            if len(tied) == 1:
                break
            if vote in tied:
                votes[vote] += 1
        return votes


class ZeroShot:
    def __init__(self, model, texts):
        self.model, self.texts = model, texts

    @torch.no_grad()
    def classify(self, pixels, amp, trace=None):
        with amp():
            return logits_of(self.model, self.model.encode_image(pixels[:1]), self.texts)[0]


def build(method, model, start, steps):
    prompts = Prompts(model, start["context_ids"].long(), len(start["context"]))
    if method == "mint":
        return Mint(model, prompts, start["context"], start["keys"], start["prompts"], steps)
    if method == "tpt":
        return Tpt(model, prompts, start["context"])
    with torch.no_grad():
        texts = F.normalize(model.encode_text(start["template_ids"].long()).float(), dim=-1)
    return Zero(model, texts) if method == "zero" else ZeroShot(model, texts)


def peak_megabytes(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="safetensors with OpenAI's names")
    parser.add_argument("--inputs", required=True, type=Path, help="what mint-cli exported")
    parser.add_argument("--method", default="mint", choices=["mint", "tpt", "zero", "clip"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", choices=["no", "f16", "bf16"], default="no")
    parser.add_argument("--repeat", type=int, default=1, help="runs over all images")
    parser.add_argument("--flops", action="store_true", help="count arithmetic, which is slower")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    amp = nullcontext
    if args.amp != "no":
        dtype = {"f16": torch.float16, "bf16": torch.bfloat16}[args.amp]
        amp = lambda: torch.autocast(device.type, dtype)

    model = clip.load(args.weights).to(device)
    start = {name: t.to(device) for name, t in load_file(args.inputs / "start.safetensors").items()}
    images = sorted(args.inputs.glob("image-*.safetensors"))
    method = build(args.method, model, start, args.steps)
    results, flops = [], None
    for file in images * args.repeat:
        views = load_file(file)["views"].to(device)
        pixels = (views.float() / 255 - MEAN.to(device)) / STD.to(device)
        counter = nullcontext()
        if args.flops:
            from torch.utils.flop_counter import FlopCounterMode

            counter = FlopCounterMode(display=False)
        if device.type == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        with counter:
            scores = method.classify(pixels, amp)
        scores = scores.float().cpu()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if args.flops:
            flops = counter.get_total_flops()
        best = scores.topk(5)
        results.append(dict(image=file.stem, seconds=wall, cpu_seconds=cpu,
                            top5=best.indices.tolist(), scores=best.values.tolist()))
    print(json.dumps(dict(
        method=args.method, torch=torch.__version__, threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu", amp=args.amp,
        peak_megabytes=peak_megabytes(device), flops=flops, images=results,
    )))


if __name__ == "__main__":
    main()
