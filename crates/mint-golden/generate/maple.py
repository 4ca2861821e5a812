"""Records MaPLe: learned tokens in both towers, and the gradients of its training loss.

Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, section 3.2: "deep language
prompting" replaces the learned tokens of the text before each of the first J blocks, "deep vision
prompting" those of the image, and by "vision language prompt coupling" the image's tokens are a
linear function of the text's, P~_k = F_k(P_k). As in the published code, the text's tokens take
the place of the first words of "a photo of a NAME." and the image's come last, without a position
embedding, before `ln_pre`. The image embedding is that of the class token. Two tokens, J = 3; all
weights are drawn, at a scale where they matter.
"""

import torch
import torch.nn.functional as F

import small

TOKENS, DEPTH = 2, 3


def draw():
    torch.manual_seed(2)
    width = small.WIDTH
    tensors = {"ctx": 0.4 * torch.randn(TOKENS, width)}
    tensors["proj.weight"] = 0.2 * torch.randn(width, width)
    tensors["proj.bias"] = 0.1 * torch.randn(width)
    for k in range(DEPTH - 1):
        tensors[f"compound_prompts_text.{k}"] = 0.4 * torch.randn(TOKENS, width)
        name = f"compound_prompt_projections.{k}"
        tensors[f"{name}.weight"] = 0.2 * torch.randn(width, width)
        tensors[f"{name}.bias"] = 0.1 * torch.randn(width)
    return tensors


def project(p, name, tokens):
    return F.linear(tokens, p[f"{name}.weight"], p[f"{name}.bias"])


def text_features(model, p, embedded, ends):
    context = p["ctx"].expand(len(embedded), -1, -1)
    x = torch.cat([embedded[:, :1], context, embedded[:, 1 + TOKENS :]], 1)
    x = (x + model.positional_embedding).transpose(0, 1)
    for index, block in enumerate(model.transformer.resblocks):
        if 0 < index < DEPTH:
            learned = p[f"compound_prompts_text.{index - 1}"][:, None].expand(-1, x.shape[1], -1)
            x = torch.cat([x[:1], learned, x[1 + TOKENS :]])
        x = block(x)
    x = model.ln_final(x).transpose(0, 1)
    return x[torch.arange(len(x)), ends] @ model.text_projection


def image_features(model, p, pixels):
    tower = model.visual
    x = tower.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(len(x), 1, -1), x], 1) + tower.positional_embedding
    x = torch.cat([x, project(p, "proj", p["ctx"]).expand(len(x), -1, -1)], 1)
    x = tower.ln_pre(x).transpose(0, 1)
    for index, block in enumerate(tower.transformer.resblocks):
        if 0 < index < DEPTH:
            k = index - 1
            tokens = p[f"compound_prompts_text.{k}"]
            learned = project(p, f"compound_prompt_projections.{k}", tokens)
            x = torch.cat([x[:-TOKENS], learned[:, None].expand(-1, x.shape[1], -1)])
        x = block(x)
    return tower.ln_post(x[0]) @ tower.proj


def main():
    model, images = small.model(), small.images()
    embedded, ends = small.texts(model, "a_photo_of_a")
    p = draw()
    record = dict(p)
    p = {name: tensor.clone().requires_grad_() for name, tensor in p.items()}
    zeroshot = small.zeroshot(model)
    for i in range(5):
        texts = text_features(model, p, embedded, ends)
        image = image_features(model, p, images[i][:1])[0]
        logits = model.logit_scale.exp() * F.normalize(texts, dim=1) @ F.normalize(image, dim=0)
        record["text_features"] = texts
        record[f"img{i}.image_features"] = image
        record[f"img{i}.logits"] = logits
        loss = F.cross_entropy(logits, small.label(i))
        small.with_gradients(record, f"img{i}", loss, p)
        plain = model.encode_image(images[i][:1])[0]
        print(f"img{i}: loss {loss:.3f}, class {logits.argmax()}, cosine to the embedding without "
              f"learned tokens {F.cosine_similarity(image, plain, 0):.3f}, of the texts "
              f"{(F.normalize(texts, dim=1) * zeroshot).sum(1).mean():.3f}")
    small.save("maple", record)


if __name__ == "__main__":
    main()
