"""Writes a CLIP of real size with random weights in the formats that weights are published in.

python export.py IN.safetensors DIR   (IN from `mint-cli weights random`)

Makes `hf.safetensors` (Hugging Face, single precision), `hf_onnx/vision_model.onnx` and
`text_model.onnx` (legacy exporter), `torchscript.pt` (OpenAI's layout, half precision), and
`io.safetensors`, the outputs that `mint-cli weights verify` compares with.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

import clip


def hugging_face_name(name):
    """Where a tensor goes, but for the stacked projections."""
    tower = "vision_model." if name.startswith("visual.") else "text_model."
    name = name.removeprefix("visual.")
    names = {
        "conv1.weight": "embeddings.patch_embedding.weight",
        "class_embedding": "embeddings.class_embedding",
        "positional_embedding": "embeddings.position_embedding.weight",
        "token_embedding.weight": "embeddings.token_embedding.weight",
    }
    if name in names:
        return tower + names[name]
    changes = [
        ("transformer.resblocks.", "encoder.layers."), ("attn.", "self_attn."),
        ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"), ("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm"),
        ("ln_final", "final_layer_norm"),
    ]
    for ours, theirs in changes:
        name = name.replace(ours, theirs)
    return tower + name


def to_hugging_face(state):
    out = {"logit_scale": state["logit_scale"]}
    out["visual_projection.weight"] = state["visual.proj"].t().contiguous()
    out["text_projection.weight"] = state["text_projection"].t().contiguous()
    for name, tensor in state.items():
        if name in ("logit_scale", "visual.proj", "text_projection"):
            continue
        target = hugging_face_name(name)
        if "in_proj_" in target:
            for part, third in zip("qkv", tensor.chunk(3)):
                out[target.replace("in_proj_", f"{part}_proj.")] = third.contiguous()
        else:
            out[target] = tensor
    return out


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.vision_model, self.visual_projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values):
        return self.visual_projection(self.vision_model(pixel_values).pooler_output)


class Text(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.text_model, self.text_projection = model.text_model, model.text_projection

    def forward(self, input_ids):
        return self.text_projection(self.text_model(input_ids).pooler_output)


@torch.no_grad()
def main(source, folder):
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.float() for name, tensor in load_file(source).items()}
    model = clip.from_state_dict(state)
    width, text_width = model.visual.conv1.out_channels, model.ln_final.weight.numel()
    config = CLIPConfig(
        projection_dim=model.text_projection.shape[1],
        vision_config=dict(
            hidden_size=width, intermediate_size=4 * width, num_attention_heads=width // 64,
            num_hidden_layers=len(model.visual.transformer.resblocks),
            patch_size=model.visual.conv1.kernel_size[0], image_size=224,
        ),
        text_config=dict(
            hidden_size=text_width, intermediate_size=4 * text_width,
            num_attention_heads=text_width // 64,
            num_hidden_layers=len(model.transformer.resblocks), eos_token_id=49407,
        ),
        attn_implementation="eager",
    )
    hf = CLIPModel(config).eval()
    missing = hf.load_state_dict(to_hugging_face(state), strict=False)
    assert not missing.unexpected_keys, missing
    hf.save_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "hf.safetensors")

    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 224, 224)
    ids = torch.zeros(2, 77, dtype=torch.int32)
    ids[0, :5] = torch.tensor([49406, 320, 1125, 539, 49407])
    ids[1, :4] = torch.tensor([49406, 2368, 269, 49407])
    images, class_tokens = model.visual(pixels, levels=range(12))
    texts = model.encode_text(ids.long())
    save_file(
        {
            "pixel_values": pixels, "input_ids": ids, "image_embeds": images.contiguous(),
            "text_embeds": texts.contiguous(), "logits_per_image": model(pixels, ids.long()),
            "vision_class_tokens": torch.stack(class_tokens),
        },
        folder / "io.safetensors",
    )

    onnx = folder / "hf_onnx"
    onnx.mkdir(exist_ok=True)
    for part, example, name in [
        (Vision(hf), pixels, "vision_model"), (Text(hf), ids.long(), "text_model"),
    ]:
        file = str(onnx / f"{name}.onnx")
        torch.onnx.export(part, (example,), file, dynamo=False, opset_version=17)

    # OpenAI's archives: half precision where the published ones have it.
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.half()
        if isinstance(module, torch.nn.MultiheadAttention):
            module.in_proj_weight.data = module.in_proj_weight.data.half()
            module.in_proj_bias.data = module.in_proj_bias.data.half()
    model.visual.proj.data = model.visual.proj.data.half()
    model.text_projection.data = model.text_projection.data.half()
    # An archive holds the weights of all modules, so what is traced may be short.
    model.forward = lambda pixels: model.visual.conv1(pixels.half())
    torch.jit.trace(model, (pixels,), check_trace=False).save(str(folder / "torchscript.pt"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
