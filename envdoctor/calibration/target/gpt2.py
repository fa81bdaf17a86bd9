"""GPT-2 (124M) in plain torch, with the numbers of the published one.

Radford et al., "Language Models are Unsupervised Multitask Learners" (2019): 12 layers of width 768
with 12 heads, 1,024 positions, 50,257 tokens, LayerNorm before attention and MLP, GELU in its tanh
form, the embedding of the tokens tied to the output (openai/gpt-2, src/model.py, hparams 124M).
Without dropout, which who trains such a network today leaves out (nanoGPT, train.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PARAMETERS = 124_439_808
TOKENS, POSITIONS = 50_257, 1_024
LAYERS, HEADS, WIDTH = 12, 12, 768

MACS_PER_BLOCK = 12 * WIDTH * WIDTH
"""Multiply-accumulates of one token, forward, in the products with the weights of a layer: 4 w^2 of
attention and 8 w^2 of the MLP."""

MACS_PER_TOKEN = LAYERS * MACS_PER_BLOCK + TOKENS * WIDTH
"""The same of the network with its output. What attention itself costs grows with the length."""

DRAWN = 1_000_003
"""So many weights are drawn, and then repeated in every layer: to draw 124 million takes a CPU a
second. A prime, so that no two rows are alike."""

_DEVIATION = 0.02
_HAS_FUSED_ATTENTION = hasattr(functional, "scaled_dot_product_attention")
"""It came with torch 2.0."""


def train_flop(length: int) -> float:
    """Operations of training on one sequence of that length: two a multiply-accumulate, backward
    counted as twice forward. Attention is counted in full, as if nothing were masked (Chowdhery et
    al., "PaLM", arXiv:2204.02311, appendix B: 6 N + 12 L H Q T a token)."""
    attention = LAYERS * 2 * length * WIDTH
    return 3.0 * 2 * length * (MACS_PER_TOKEN + attention)


class Linear(nn.Module):
    """nn.Linear, of which all weights are drawn at once at the end."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in))
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Features (..., channels_out)."""
        return functional.linear(x, self.weight, self.bias)


class Block(nn.Module):
    """Attention and MLP, each around a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(WIDTH)
        self.attention_in = Linear(WIDTH, 3 * WIDTH)
        self.attention_out = Linear(WIDTH, WIDTH)
        self.ln_2 = nn.LayerNorm(WIDTH)
        self.mlp_in = Linear(WIDTH, 4 * WIDTH)
        self.mlp_out = Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape: (N, length, width)."""
        x = x + self.attention_out(_attend(self.attention_in(self.ln_1(x))))
        hidden = functional.gelu(self.mlp_in(self.ln_2(x)), approximate="tanh")
        return x + self.mlp_out(hidden)


class Gpt2(nn.Module):
    """The network: tokens (N, length) to logits (N, length, 50257)."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding.from_pretrained(torch.empty(TOKENS, WIDTH), freeze=False)
        self.positions = nn.Embedding.from_pretrained(torch.empty(POSITIONS, WIDTH), freeze=False)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.ln_f = nn.LayerNorm(WIDTH)
        drawn = torch.randn(DRAWN) * _DEVIATION
        for module in self.modules():
            if isinstance(module, (Linear, nn.Embedding)):
                _fill(module.weight, drawn)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        place = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.blocks(self.tokens(tokens) + self.positions(place))
        return functional.linear(self.ln_f(x), self.tokens.weight)


@torch.no_grad()
def _fill(weight: Tensor, drawn: Tensor) -> None:
    for part in weight.view(-1).split(len(drawn)):
        part.copy_(drawn[: len(part)])


def _attend(mixed: Tensor) -> Tensor:
    """Causal attention of all heads, from queries, keys and values side by side."""
    size, length, _ = mixed.shape
    heads = mixed.view(size, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
    query, key, value = heads.unbind(0)
    if _HAS_FUSED_ATTENTION:
        out = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    else:
        out = _attend_step_by_step(query, key, value)
    return out.transpose(1, 2).reshape(size, length, WIDTH)


def _attend_step_by_step(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    length = query.shape[-2]
    later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    scores = query @ key.transpose(-2, -1) / (query.shape[-1] ** 0.5)
    return scores.masked_fill(later, float("-inf")).softmax(-1) @ value
