"""Speech: a log-mel network and a wav2vec2-shaped one with early exits, and their training with self-distillation.

Made and trained by functions, as a network of yours is: `--model untrain.zoo.speech:net --recipe untrain.zoo.speech:recipe --head exit1,exit2,deep`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Samples
from untrain.core.errors import BadArgument
from untrain.core.network import Network
from untrain.core.train import Phase, Schedule, minimize
from untrain.core.vision import import_transformers

EXITS = ("exit1", "exit2", "deep")
"""The heads of both networks, from the first exit to the last."""


class LogMel(nn.Module):
    """Waves to log-mel pictures: log(10^-6 + mel |STFT|^2), a Hann window, mel after O'Shaughnessy: 2595 log10(1 + f / 700).

    It has no weights; the mel filters are triangles of height 1 whose feet are the centres of their neighbours.

    Args:
        rate: Samples in a second.
        window: Samples in a window, 32 ms at 8 kHz.
        hop: Samples from a window to the next, 16 ms at 8 kHz.
        mels: Mel bands, from 0 Hz to half the rate.
    """

    def __init__(self, rate: int = 8000, window: int = 256, hop: int = 128, mels: int = 40) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        top = 2595 * math.log10(1 + rate / 2 / 700)
        feet = 700 * (10 ** (torch.linspace(0, top, mels + 2, dtype=torch.float64) / 2595) - 1)
        f = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
        up = (f - feet[:-2, None]) / (feet[1:-1] - feet[:-2])[:, None]
        down = (feet[2:, None] - f) / (feet[2:] - feet[1:-1])[:, None]
        self.register_buffer("filters", torch.minimum(up, down).clamp(min=0).float(), persistent=False)
        self.register_buffer("hann", torch.hann_window(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures [n, mels, 1 + samples // hop] of waves x [n, samples]."""
        seen = torch.stft(x, self.window, self.hop, window=cast(Tensor, self.hann), center=True, pad_mode="constant", return_complex=True)
        return torch.log(cast(Tensor, self.filters) @ seen.abs().square() + 1e-6)


class SpeechNet(nn.Module):
    """Three stages of convolutions over a log-mel picture, with an exit after each: pooled to 5 x 4, a linear layer to an embedding, a linear head (206,000 weights).

    Between an embedding and its head there is no activation, as in Ren et al. It answers with a tuple of logits, the deepest last.

    Args:
        classes: Number of classes.
        rate: Samples in a second.
        width: Entries of an embedding.
    """

    def __init__(self, classes: int, rate: int = 8000, width: int = 64) -> None:
        super().__init__()
        self.mel = LogMel(rate)
        self.bn = nn.BatchNorm2d(1)
        self.stage1, self.stage2, self.stage3 = _stage(1, 16), _stage(16, 32), nn.Sequential(*_stage(32, 64), *_stage(64, 64, 1))
        self.embed1, self.exit1 = nn.Linear(16 * 20, width), nn.Linear(width, classes)
        self.embed2, self.exit2 = nn.Linear(32 * 20, width), nn.Linear(width, classes)
        self.embed3, self.deep = nn.Linear(64 * 20, width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits [n, classes] of waves x [n, samples], at each exit."""
        first = self.stage1(self.bn(self.mel(x)[:, None]))
        second = self.stage2(first)
        third = self.stage3(second)
        pooled = [F.adaptive_avg_pool2d(seen, (5, 4)).flatten(1) for seen in (first, second, third)]
        return self.exit1(self.embed1(pooled[0])), self.exit2(self.embed2(pooled[1])), self.deep(self.embed3(pooled[2]))


def _stage(into: int, out: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class WaveNet(nn.Module):
    """A wav2vec2-shaped encoder of transformers over the raw wave, drawn at random and small, with exits after two of its layers and its last.

    Each exit is the mean over time, a linear layer to an embedding and a linear head, as the deepest in Ren et al.; their students stand a recurrent layer ahead of it.

    Args:
        classes: Number of classes.
        width: Entries of a frame, and of an embedding.
        layers: Layers of the encoder.
        after: Layers after which the early exits stand.
    """

    def __init__(self, classes: int, width: int = 48, layers: int = 4, after: tuple[int, int] = (1, 2)) -> None:
        super().__init__()
        transformers: Any = import_transformers()
        self.after = (*after, layers)
        self.encoder = transformers.Wav2Vec2Model(
            transformers.Wav2Vec2Config(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                intermediate_size=2 * width,
                conv_dim=(width,) * 4,
                conv_kernel=(10, 8, 4, 4),
                conv_stride=(5, 4, 4, 2),
                num_feat_extract_layers=4,
                num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=4,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                layerdrop=0.0,
                mask_time_prob=0.0,
                mask_feature_prob=0.0,
            )
        )
        self.embeds = nn.ModuleList(nn.Linear(width, width) for _ in EXITS)
        self.exit1, self.exit2, self.deep = (nn.Linear(width, classes) for _ in EXITS)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits [n, classes] of waves x [n, samples], at each exit."""
        # As wav2vec2 reads them: no mean, and a variance of one.
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-7).sqrt()
        states = self.encoder(x, output_hidden_states=True).hidden_states
        heads = (self.exit1, self.exit2, self.deep)
        return tuple(head(embed(states[layer].mean(1))) for head, embed, layer in zip(heads, self.embeds, self.after, strict=True))


def self_distillation(answers: Sequence[Tensor], embeddings: Sequence[Tensor], y: Tensor) -> Tensor:
    """The loss of Ren et al., Fast Yet Effective Speech Emotion Recognition with Self-distillation, 2022, arXiv:2210.14636.

        CE(d, y) + mean_i [ CE(s_i, y) + KL(softmax d || softmax s_i) + mean (e_i - e_d)^2 ]

    d and e_d are the deepest exit's logits and embedding, s_i and e_i those of exit i; all weights are 1, and there is no temperature. As a teacher the deepest is held
    still, and the divergence is taken of logarithms: the published code sends gradients through the teacher and hands probabilities to a function that takes logarithms.

    Args:
        answers: Logits [n, C] of each exit, the deepest last.
        embeddings: What their heads read [n, d], in the same order.
        y: Labels [n].
    """
    target, seen = F.softmax(answers[-1].detach(), dim=1), embeddings[-1].detach()
    early = [
        F.cross_entropy(logits, y) + F.kl_div(F.log_softmax(logits, dim=1), target, reduction="batchmean") + F.mse_loss(embedding, seen)
        for logits, embedding in zip(answers[:-1], embeddings[:-1], strict=True)
    ]
    return F.cross_entropy(answers[-1], y) + torch.stack(early).mean()


@dataclass(frozen=True)
class SelfDistilled:
    """A network with exits, and its training by `self_distillation`, with Adam.

    Args:
        network: `net` (log-mel) or `waveform`.
        classes: Width of its heads.
        epochs: Passes over the training samples.
        lr: Highest learning rate.
        batch: Batch size.
        schedule: How the learning rate runs.
    """

    network: Literal["net", "waveform"]
    classes: int
    epochs: int = 12
    lr: float = 0.004
    batch: int = 64
    schedule: Schedule = "onecycle"

    def build(self) -> nn.Module:
        """The network before training, drawn from the random state of the moment."""
        return SpeechNet(self.classes) if self.network == "net" else WaveNet(self.classes)

    def train(self, model: Network, samples: Samples) -> Phase:
        """Train it on these samples.

        Raises:
            BadArgument: one exit alone is named.
        """
        heads = model.heads
        if len(heads) < 2:
            raise BadArgument(f"{heads[-1].name} is one exit, and here the last teaches those before it; name all by --head {','.join(EXITS)}")

        def loss(x: Any, y: Tensor) -> Tensor:
            read: dict[str, Tensor] = {}
            hooks = [head.layer.register_forward_pre_hook(lambda _, given, name=head.name: read.__setitem__(name, given[0])) for head in heads]
            try:
                answers = model.answers(x)
            finally:
                for hook in hooks:
                    hook.remove()
            return self_distillation(answers, [read[head.name] for head in heads], y)

        model.train()
        batches = samples.batches(self.batch, epochs=self.epochs)
        return minimize(loss, model.parameters(), batches, phase="train", lr=self.lr, schedule=self.schedule)


def net(classes: int) -> SpeechNet:
    """The log-mel network, for sounds of 8 kHz."""
    return SpeechNet(classes)


def waveform(classes: int) -> WaveNet:
    """The wav2vec2-shaped network."""
    return WaveNet(classes)


def recipe(classes: int) -> SelfDistilled:
    """How the log-mel network is trained."""
    return SelfDistilled("net", classes)


def waveform_recipe(classes: int) -> SelfDistilled:
    """How the wav2vec2-shaped network is trained."""
    return SelfDistilled("waveform", classes, epochs=30, lr=0.001)
