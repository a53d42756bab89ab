"""The wav2vec2-shaped network, and sounds as `datasets` holds them."""

import io
import wave

import numpy as np
import pytest
import torch

from untrain.core.data import Samples
from untrain.core.engine import seeded
from untrain.core.network import Network
from untrain.core.site import site_of
from untrain.sources.reading import read
from untrain.zoo.speech import EXITS, SelfDistilled, waveform

pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")


def test_the_wave_network_has_three_exits_and_learns():
    t = torch.arange(1600) / 8000
    x = torch.stack([torch.sin(2 * torch.pi * (300 + 900 * (i % 2)) * t + i) for i in range(8)])
    data = Samples(x, torch.arange(8) % 2)
    with seeded(0):
        network = Network(waveform(2), head=",".join(EXITS))
        network.eval()
        assert network.locate(x[:2]) == 2
        before = [p.detach().clone() for p in network.parameters()]
        phase = SelfDistilled("waveform", 2, epochs=10, lr=0.001, batch=4).train(network, data)
    assert sum(phase.losses[-4:]) < sum(phase.losses[:4])
    assert not all(a.equal(b) for a, b in zip(before, network.parameters(), strict=True))
    # The mean and the loudness of a recording are no part of what it says.
    network.eval()
    with torch.no_grad():
        assert torch.allclose(network(x), network(0.1 * x + 0.2), atol=1e-3)


def test_noise_for_a_long_wave_goes_in_behind_what_encodes_it():
    """Waves of .6 s, as those of the benchmark, are long: the noise stands at the frames that the convolutions give."""
    module, y = waveform(2), torch.arange(16) % 2
    waves = Samples(torch.randn(16, 4800, generator=torch.Generator().manual_seed(0)), y)
    network = Network(module, head=",".join(EXITS))
    network.locate(waves.batch(torch.arange(2))[0])
    site = site_of(network, waves)
    assert site.layer == "encoder.feature_extractor"
    assert site.shape == tuple(module.encoder.feature_extractor(torch.zeros(1, 4800)).shape[1:])


def test_sounds_that_datasets_saved_are_read(tmp_path):
    rows = [(1000 * np.sin(np.arange(400) * (i + 1) / 20)).astype("<i2") for i in range(4)]
    encoded = []
    for row in rows:
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, 8000, 0, "NONE", ""))
            out.writeframes(row.tobytes())
        encoded.append({"bytes": file.getvalue(), "path": None})
    # To encode takes a library that decoding does not: the bytes are given their feature afterwards.
    plain = datasets.Features({"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}, "label": datasets.ClassLabel(names=["a", "b"])})
    held = datasets.Dataset.from_dict({"audio": encoded, "label": [0, 1, 0, 1]}, features=plain)
    held.cast_column("audio", datasets.Audio(decode=False)).save_to_disk(tmp_path / "d")
    whole = read(str(tmp_path / "d"), rate=8000).whole
    assert whole.names == ("a", "b")
    assert np.array_equal(whole.batch(torch.arange(4))[0].numpy(), np.stack(rows).astype(np.float32) / 2**15)
