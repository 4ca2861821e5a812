"""Shows that adapt.py gives the official numbers: compares it with the recordings in mint-golden.

python check.py [../../crates/mint-golden/data]
"""

import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import adapt
import clip

torch.set_num_threads(1)


def small_model(data):
    state = load_file(data / "small_clip.safetensors")
    rows = load_file(data / "token_rows.safetensors")
    embedding = torch.zeros(49408, state["ln_final.weight"].numel())
    embedding[rows["ids"].long()] = rows["rows"].float()
    return clip.from_state_dict(state | {"token_embedding.weight": embedding})


def report(what, ours, theirs, tolerance):
    difference = float((ours - theirs).abs().max())
    print(f"{what:32} largest difference {difference:.1e}")
    assert difference <= tolerance, f"{what}: above {tolerance}"


def main(data):
    model, pixels = small_model(data), load_file(data / "pixels.safetensors")
    tokens = load_file(data / "text_encoder.safetensors")
    ids = tokens["end.tokenized"].long()

    for name, images, views, share in [("mint_seq", 5, 16, 0.25), ("mint_seq_b128", 8, 6, 0.25)]:
        record = load_file(data / f"{name}.safetensors")
        context = record["init.ctx"].float()
        prompts = adapt.Prompts(model, ids, len(context))
        mint = adapt.Mint(model, prompts, context, record["init.keys"].float(),
                          record["init.prompts"].float(), share=share)
        for image in range(images):
            picks = [record[f"img{image}.step{step}.keys_idx"].long() for step in range(3)]
            picks.append(record[f"img{image}.eval.keys_idx"].long())
            logits = mint.classify(pixels[f"img{image}"][:views].float(), nullcontext, picks)
            report(f"{name} img{image} logits", logits, record[f"img{image}.eval.logits"][0], 2e-4)
            usage = record[f"img{image}.eval.usage_train"]
            assert torch.equal(mint.usage, usage.long()), f"{name} img{image}: usage"
        report(f"{name} keys", mint.keys, record["final.keys"], 1e-5)
        report(f"{name} prompts", mint.rows, record["final.prompts"], 2e-4)

    record = load_file(data / "tpt.safetensors")
    context = record["coop3.ctx_init"].float()
    tpt = adapt.Tpt(model, adapt.Prompts(model, ids, len(context)), context, steps=3, share=0.25)
    for image in range(5):
        logits = tpt.classify(pixels[f"img{image}"].float(), nullcontext)
        report(f"tpt img{image} logits", logits, record[f"coop3.img{image}.eval.logits"][0], 2e-4)

    record = load_file(data / "zero.safetensors")
    zero = adapt.Zero(model, F.normalize(record["text_features"].float(), dim=-1))
    for image in range(4):
        votes = zero.classify(pixels[f"img{image}"].float(), nullcontext)
        assert votes.argmax() == record[f"img{image}.p_bar"].argmax(), f"zero img{image}"
        report(f"zero img{image} shares", votes / votes.sum(),
               record[f"img{image}.p_bar"][0] / record[f"img{image}.p_bar"].sum(), 1e-6)
    print("all recordings are met")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../../crates/mint-golden/data"))
