"""CLIP in plain PyTorch, with OpenAI's tensor names, built from a safetensors state dict.

Follows the order of work of OpenAI's published model: `nn.MultiheadAttention`, QuickGELU, and 77
tokens for every text. `Block.forward` takes an extra key and value token, as MINT's first block.
"""

import torch
import torch.nn.functional as F
from torch import nn

from tensors import load_file

HEAD_WIDTH = 64


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """A residual attention block. Shapes: [token, batch, width]."""

    def __init__(self, width, mask=None):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // HEAD_WIDTH)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = nn.LayerNorm(width)
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, x, extra=None):
        """`extra` [batch, 2, width]: row 0 is one more key token, row 1 one more value token,
        right after the class token."""
        query = self.ln_1(x)
        key = value = query
        if extra is not None:
            extra = extra.to(query.dtype)
            key = torch.cat([query[:1], extra[:, :1].transpose(0, 1), query[1:]])
            value = torch.cat([query[:1], extra[:, 1:].transpose(0, 1), query[1:]])
        x = x + self.attn(query, key, value, need_weights=False, attn_mask=self.attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, mask=None):
        super().__init__()
        self.resblocks = nn.ModuleList([Block(width, mask) for _ in range(layers)])


class VisionTransformer(nn.Module):
    def __init__(self, resolution, patch, width, layers, embed):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((resolution // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embed))

    def forward(self, pixels, extra=None, levels=()):
        """Embeddings [view, embed], and the class tokens after the blocks `levels`."""
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1)
        x = self.ln_pre(x + self.positional_embedding.to(x.dtype)).transpose(0, 1)
        class_tokens = []
        for index, block in enumerate(self.transformer.resblocks):
            x = block(x, extra if index == 0 else None)
            if index in levels:
                class_tokens.append(x[0])
        return self.ln_post(x[0]) @ self.proj, class_tokens


class CLIP(nn.Module):
    def __init__(self, vision, text_width, text_layers, context_length, vocabulary, embed):
        super().__init__()
        self.visual = VisionTransformer(**vision, embed=embed)
        mask = torch.full((context_length, context_length), float("-inf")).triu(1)
        self.transformer = Transformer(text_width, text_layers, mask)
        self.token_embedding = nn.Embedding(vocabulary, text_width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, text_width))
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(torch.empty(text_width, embed))
        self.logit_scale = nn.Parameter(torch.empty([]))

    def encode_tokens(self, embedded, ends):
        """Texts as token embeddings [text, token, width], and the place of each text's end."""
        x = (embedded + self.positional_embedding.to(embedded.dtype)).transpose(0, 1)
        for block in self.transformer.resblocks:
            x = block(x)
        x = self.ln_final(x).transpose(0, 1)
        return x[torch.arange(len(x)), ends] @ self.text_projection

    def encode_text(self, ids):
        return self.encode_tokens(self.token_embedding(ids), ids.argmax(-1))

    def encode_image(self, pixels):
        return self.visual(pixels)[0]

    def forward(self, pixels, ids):
        images = F.normalize(self.encode_image(pixels), dim=-1)
        texts = F.normalize(self.encode_text(ids), dim=-1)
        return self.logit_scale.exp() * images @ texts.t()


def count(names, prefix):
    return len({name[len(prefix):].split(".")[0] for name in names if name.startswith(prefix)})


def from_state_dict(state):
    """A model with the dimensions of the tensors; frozen."""
    vision_width, _, patch, _ = state["visual.conv1.weight"].shape
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    vision = dict(
        resolution=grid * patch,
        patch=patch,
        width=vision_width,
        layers=count(state, "visual.transformer.resblocks."),
    )
    vocabulary, text_width = state["token_embedding.weight"].shape
    model = CLIP(
        vision,
        text_width,
        count(state, "transformer.resblocks."),
        len(state["positional_embedding"]),
        vocabulary,
        state["text_projection"].shape[1],
    )
    scalars = {"input_resolution", "context_length", "vocab_size"}
    state = {name: tensor.float() for name, tensor in state.items() if name not in scalars}
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def load(file):
    return from_state_dict(load_file(file))
