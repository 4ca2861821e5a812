"""Records CoCoOp: texts that depend on the image, and the gradients of its training loss.

Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022, section 3.2
("Conditional Context Optimization"): every context vector is moved by the same output of a small
network of the image's embedding, v_m(x) = v_m + h(x); the texts of these prompts are trained by
cross-entropy. The network is Linear - ReLU - Linear with a hidden layer a 16th as wide as the
embedding, which is normalised first, as in the published `trainers/cocoop.py`. All weights here
are drawn, at a scale where h(x) changes the texts.
"""

import torch
import torch.nn.functional as F

import small

CONTEXT = 4
HIDDEN = small.EMBED // 16


def draw():
    # A seed by which every hidden unit is on for some of the images and off for others.
    torch.manual_seed(818)
    return {
        "ctx": 0.4 * torch.randn(CONTEXT, small.WIDTH),
        "meta_net.linear1.weight": torch.randn(HIDDEN, small.EMBED),
        "meta_net.linear1.bias": 0.1 * torch.randn(HIDDEN),
        "meta_net.linear2.weight": 0.2 * torch.randn(small.WIDTH, HIDDEN),
        "meta_net.linear2.bias": 0.05 * torch.randn(small.WIDTH),
    }


def hidden(p, feature):
    return F.relu(F.linear(feature, p["meta_net.linear1.weight"], p["meta_net.linear1.bias"]))


def shift(p, feature):
    units = hidden(p, feature)
    return F.linear(units, p["meta_net.linear2.weight"], p["meta_net.linear2.bias"])


def main():
    model, images = small.model(), small.images()
    embedded, ends = small.texts(model, "end")
    p = draw()
    record = dict(p)
    p = {name: tensor.clone().requires_grad_() for name, tensor in p.items()}
    for i in range(5):
        feature = F.normalize(model.encode_image(images[i][:1])[0], dim=0)
        moved = shift(p, feature)
        context = (p["ctx"] + moved).expand(small.CLASSES, -1, -1)
        prompts = torch.cat([embedded[:, :1], context, embedded[:, 1 + CONTEXT :]], 1)
        texts = model.encode_tokens(prompts, ends)
        logits = model.logit_scale.exp() * F.normalize(texts, dim=1) @ feature
        record[f"img{i}.shift"] = moved
        record[f"img{i}.text_features"] = texts
        record[f"img{i}.logits"] = logits
        loss = F.cross_entropy(logits, small.label(i))
        small.with_gradients(record, f"img{i}", loss, p)
        active = (hidden(p, feature) > 0).int().tolist()
        print(f"img{i}: loss {loss:.3f}, hidden units {active}, shift {moved.std():.3f}, "
              f"largest logit {logits.max():.1f} of class {logits.argmax()}")
    small.save("cocoop", record)


if __name__ == "__main__":
    main()
