"""The networks that generate.py exports: between them the operators that real exporters write, each in few weights."""

import torch
from torch import nn
from torch.nn import functional as F


def random_statistics(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A normalisation as after training: no weight 1, no bias 0."""
    for values, low, high in (
        (norm.weight, 0.5, 1.5),
        (norm.bias, -0.5, 0.5),
        (norm.running_mean, -0.5, 0.5),
        (norm.running_var, 0.5, 2),
    ):
        nn.init.uniform_(values, low, high)
    return norm


class Convolutions(nn.Module):
    """Groups, dilations, uneven strides and padding, 'same' padding, depthwise, 1x1 and transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2)
        self.uneven = nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 0), bias=False)
        self.same = nn.Conv2d(4, 4, (2, 3), padding="same")
        self.depthwise = nn.Conv2d(4, 8, 3, padding=1, groups=4)
        self.pointwise = nn.Conv2d(8, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.widen = nn.ConvTranspose2d(4, 3, (2, 3), stride=(1, 2), dilation=(2, 1), bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.same(torch.relu(self.uneven(torch.relu(self.grouped(x)))))
        x = self.pointwise(self.depthwise(x))
        return self.widen(torch.relu(self.up(x)))


class Normalised(nn.Module):
    """Batch normalisation that no convolution takes in, one that a convolution may, instance and group normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = random_statistics(nn.BatchNorm2d(4))
        self.conv = nn.Conv2d(4, 6, 3, bias=False)
        self.second = random_statistics(nn.BatchNorm2d(6))
        self.instance = nn.InstanceNorm2d(6, affine=True)
        self.group = nn.GroupNorm(2, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(self.conv(F.relu6(self.first(x)))))
        return self.group(x) + self.instance(x)


class Pools(nn.Module):
    """Maxima and averages: with and without the padding counted, rounded up, adaptive, global."""

    def __init__(self) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            [
                nn.MaxPool2d(3, stride=2, padding=1),
                nn.MaxPool2d(2, ceil_mode=True),
                nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=True),
                nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
                nn.AdaptiveAvgPool2d(4),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([pool(x) for pool in self.pools], 1)
        top = F.adaptive_max_pool2d(joined, 1)
        return torch.cat([joined.flatten(2), F.adaptive_avg_pool2d(joined, 1).flatten(2), top.flatten(2)], 2)


class Moves(nn.Module):
    """Nothing but moving, and one addition: upsampling, padding, slices, splits, joins, axes, expansion."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        up = F.interpolate(x[:, :, 1:-1:2, ::3], scale_factor=2.0, mode="nearest")
        padded = F.pad(up, (1, 1, 0, 2), value=0.25)
        first, second = padded.split((1, 3), 1)
        left, right = x.chunk(2, 3)
        mixed = torch.cat([left, right[:, [2, 0, 3, 1]]], 2).permute(0, 1, 3, 2)
        row = x[:, :, -1].mean(1).unsqueeze(1).unsqueeze(1).expand(-1, 3, padded.shape[2], -1)
        joined = torch.cat([second + first, row], 3).flatten(1)
        return torch.cat([joined, mixed.reshape(-1, 256), torch.stack([x[:, 0, 0], x[:, 1, 1]], 1).flatten(1)], 1)


class Activations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 24)
        self.functions = nn.ModuleList(
            [
                nn.SiLU(),
                nn.Hardswish(),
                nn.Hardsigmoid(),
                nn.LeakyReLU(0.1),
                nn.ReLU6(),
                nn.ELU(),
                nn.Softplus(),
                nn.Sigmoid(),
                nn.Tanh(),
                nn.Hardtanh(-0.5, 1.5),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        parts = [function(y) for function in self.functions]
        parts += [torch.clamp(y, min=-0.25), y.abs(), torch.exp(-y), F.softmax(y, -1)]
        return torch.stack(parts, 1)


class Gelus(nn.Module):
    """A transformer's feed-forward half: LayerNorm and both forms of GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(16)
        self.up = nn.Linear(16, 24)
        self.down = nn.Linear(24, 16)
        self.norm2 = nn.LayerNorm(16, elementwise_affine=False)
        self.last = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.down(F.gelu(self.up(self.norm1(x))))
        return F.gelu(self.last(self.norm2(x)), approximate="tanh")


class Attention(nn.Module):
    """Two heads of 8 over six tokens; the forms below differ in who writes the causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        parts = [part.view(batch, tokens, 2, 8).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)]
        return x + self.out(self.attend(*parts).transpose(1, 2).reshape(batch, tokens, 16))


class MaskedAttention(Attention):
    """As nanoGPT writes it: a buffer of ones, masked_fill with minus infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tril(torch.ones(1, 1, 6, 6)))

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = q @ k.transpose(-2, -1) * 8**-0.5
        scores = scores.masked_fill(self.mask == 0, float("-inf"))
        return torch.softmax(scores, -1) @ v


class FusedAttention(Attention):
    """PyTorch's own function, which the exporter takes apart."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Classifier(nn.Module):
    """Embedding of 11 ids and learned positions, mean over the tokens, the number of the largest of five."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 12)
        self.position = nn.Embedding(8, 12)
        self.norm = nn.LayerNorm(12)
        self.linear = nn.Linear(12, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids) + self.position(torch.arange(8, device=ids.device))
        pooled = self.norm(x).mean(1, keepdim=True).squeeze(1)
        return self.linear(pooled).argmax(-1)


class Arithmetic(nn.Module):
    """Division, roots, reciprocals and powers of activations that are positive."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = x / torch.sqrt((x**2).sum(-1, keepdim=True) + 0.1)
        share = x / x.sum(-1, keepdim=True)
        rms = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.scale
        return torch.stack([norm, share, rms, 1 / x, torch.reciprocal(x + 1), x**3, x / 3 - 2 * x, x.sqrt()], 1)


class Reductions(nn.Module):
    """Means, sums and maxima over one axis, several, negative ones, kept and dropped."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        spread = (centred.pow(2).mean((-2, -1)) + 1).sqrt()
        top = x.amax(1)
        parts = [spread, x.sum((1, 2)), top.amax(2), x.max(-1).values.sum(-1), x.amax(3).flatten(1)]
        return torch.cat([*parts, x.mean((1, 2, 3)).unsqueeze(1).expand(-1, 3)], 1)


class Small(nn.Module):
    """A CNN for the quantiser: padding, a residual sum, both pools, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.linear = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.relu(x + self.conv2(x))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class BareConv(nn.Module):
    """Strides, a join and no activation at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.right = nn.Conv2d(4, 4, 1, stride=2, bias=False)
        self.linear = nn.Linear(128, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([torch.relu(self.left(x)), torch.sigmoid(self.right(x))], 1)
        return self.linear(joined.flatten(1))
