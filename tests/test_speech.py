"""The log-mel front against SciPy's own STFT and a loop over the mel formula; the self-distillation loss against sums written out in numpy."""

import math

import numpy as np
import pytest
import torch
from scipy import signal

from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument
from untrain.core.network import Network
from untrain.zoo.speech import EXITS, LogMel, SelfDistilled, SpeechNet, self_distillation


def tones(n: int = 4, samples: int = 2000) -> np.ndarray:
    t = np.arange(samples) / 8000
    return np.stack([0.3 * np.sin(2 * np.pi * (250 + 400 * i) * t) + 0.01 * np.cos(2 * np.pi * 3000 * t) for i in range(n)]).astype(np.float32)


def mel(f: float) -> float:
    return 2595 * math.log10(1 + f / 700)


def by_hand(x: np.ndarray, window: int = 256, hop: int = 128, mels: int = 40, rate: int = 8000) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (window // 2, window // 2))).astype(np.float64)
    _, _, seen = signal.stft(padded, window=signal.get_window("hann", window), nperseg=window, noverlap=window - hop, boundary=None, padded=False, scaling="spectrum")
    # SciPy divides by the window's sum.
    power = np.abs(seen * signal.get_window("hann", window).sum()) ** 2
    feet = [700 * (10 ** (mel(rate / 2) * k / (mels + 1) / 2595) - 1) for k in range(mels + 2)]
    filters = np.zeros((mels, window // 2 + 1))
    for band in range(mels):
        low, top, high = feet[band : band + 3]
        for k in range(window // 2 + 1):
            f = k * rate / window
            if low < f <= top:
                filters[band, k] = (f - low) / (top - low)
            elif top < f < high:
                filters[band, k] = (high - f) / (high - top)
    return np.log(np.einsum("mf,nft->nmt", filters, power) + 1e-6)


def test_the_log_mel_picture_is_that_of_scipy():
    x = tones()
    ours, theirs = LogMel()(torch.from_numpy(x)).numpy(), by_hand(x)
    assert ours.shape == theirs.shape == (4, 40, 16)
    assert np.abs(ours - theirs).max() < 2e-3


def test_a_tone_stands_in_the_band_of_its_frequency():
    """Bands are equal steps of mel, so a tone's band is its mel over the step."""
    step = mel(4000) / 41
    for hz in (500, 1000, 2000, 3000):
        picture = LogMel()(torch.from_numpy(np.sin(2 * np.pi * hz * np.arange(8000) / 8000).astype(np.float32))[None])[0]
        assert abs(int(picture.mean(1).argmax()) - (mel(hz) / step - 1)) <= 1


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_loss_is_its_formula():
    g = np.random.default_rng(0)
    answers, embeddings, y = g.normal(size=(3, 5, 4)), g.normal(size=(3, 5, 6)), g.integers(0, 4, 5)
    p = [softmax(a) for a in answers]

    def ce(q):
        return -np.log(q[np.arange(5), y]).mean()

    early = [ce(p[i]) + (p[2] * np.log(p[2] / p[i])).sum(1).mean() + ((embeddings[i] - embeddings[2]) ** 2).mean() for i in (0, 1)]
    ours = self_distillation([torch.tensor(a) for a in answers], [torch.tensor(e) for e in embeddings], torch.tensor(y))
    assert float(ours) == pytest.approx(ce(p[2]) + sum(early) / 2)


def test_the_teacher_gets_no_gradient_from_its_students():
    answers = [torch.randn(5, 4, requires_grad=True) for _ in range(2)]
    embeddings = [torch.randn(5, 6, requires_grad=True) for _ in range(2)]
    y = torch.arange(5) % 4
    self_distillation(answers, embeddings, y).backward()
    alone = answers[1].detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(alone, y).backward()
    assert torch.allclose(answers[1].grad, alone.grad)
    assert embeddings[1].grad is None
    assert float(embeddings[0].grad.abs().sum()) > 0


def test_it_is_least_where_every_student_is_its_teacher():
    a, e, y = torch.randn(5, 4), torch.randn(5, 6), torch.arange(5) % 4
    alike = self_distillation([a, a, a], [e, e, e], y)
    assert float(alike) == pytest.approx(2 * float(torch.nn.functional.cross_entropy(a, y)), rel=1e-6)
    assert float(self_distillation([a, a, a], [e, e + 1, e], y)) == pytest.approx(float(alike) + 0.5, rel=1e-5)


def test_the_recipe_teaches_every_exit_and_the_same_seed_gives_the_same_bits():
    x = torch.from_numpy(np.concatenate([tones(4, 1200) * s for s in np.linspace(0.5, 1, 8)]).astype(np.float32))
    data, models = Samples(x, torch.arange(32) % 4), []
    for _ in range(2):
        with seeded(0):
            network = Network(SelfDistilled("net", 4, epochs=8, batch=16).build(), head=",".join(EXITS))
            network.eval()
            network.locate(x[:2])
            SelfDistilled("net", 4, epochs=8, batch=16).train(network, data)
        network.eval()
        models.append(network)
    a, b = (dict(m.named_parameters()) for m in models)
    assert all(a[name].equal(b[name]) for name in a)
    with torch.no_grad():
        assert all(float((out.argmax(1) == data.y).double().mean()) > 0.9 for out in models[0].answers(x))


def test_one_exit_alone_is_refused_in_our_words():
    network = Network(SelfDistilled("net", 4).build(), head="deep")
    network.eval()
    x = torch.from_numpy(tones(4, 1200))
    network.locate(x[:2])
    with seeded(0), pytest.raises(BadArgument, match="deep is one exit, and here the last teaches those before it; name all by --head exit1,exit2,deep"):
        SelfDistilled("net", 4).train(network, Samples(x, torch.arange(4)))


def test_a_state_dict_holds_weights_alone():
    assert not any(name.startswith("mel") for name in SpeechNet(3).state_dict())
