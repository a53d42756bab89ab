"""Where noise goes into networks of transformers: the embedding of a text classifier, the encoder of a long waveform; and a class of texts forgotten there."""

from __future__ import annotations

import pytest
import torch
import transformers

import untrain
from untrain.core.errors import BadArgument
from untrain.core.site import site_of

WORDS, LENGTH = 40, 12


def texts(each: int = 40, seed: int = 0) -> untrain.Samples:
    """Four classes, each of the words that are half its own and half its neighbour's, in rows of several lengths."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(4).repeat_interleave(each)
    ids = 2 + (8 * y[:, None] + torch.randint(0, 16, (len(y), LENGTH), generator=g)) % 32
    used = torch.arange(LENGTH) < torch.randint(6, LENGTH + 1, (len(y), 1), generator=g)
    return untrain.Samples({"input_ids": ids * used, "attention_mask": used.long()}, y)


def small(kind: str) -> torch.nn.Module:
    """A classifier of four classes from random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "bert":
            config = transformers.BertConfig(
                vocab_size=WORDS,
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=LENGTH,
                num_labels=4,
                attn_implementation="eager",
            )
            return transformers.BertForSequenceClassification(config)
        if kind == "distilbert":
            config = transformers.DistilBertConfig(
                vocab_size=WORDS, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=LENGTH, num_labels=4, attn_implementation="eager"
            )
            return transformers.DistilBertForSequenceClassification(config)
        config = transformers.Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=(8, 8),
            conv_kernel=(10, 8),
            conv_stride=(40, 10),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            num_labels=4,
            classifier_proj_size=8,
            mask_time_prob=0.0,
            attn_implementation="eager",
        )
        return transformers.Wav2Vec2ForSequenceClassification(config)


@pytest.mark.parametrize(("kind", "layer"), [("bert", "bert.embeddings.word_embeddings"), ("distilbert", "distilbert.embeddings.word_embeddings")])
def test_the_site_of_texts_is_the_input_embedding(kind, layer):
    """The oracle is what transformers itself says of its input embedding."""
    module = small(kind)
    site = site_of(untrain.Network(module), texts())
    assert (site.layer, site.shape) == (layer, (LENGTH, 16))
    assert module.get_submodule(layer) is module.get_input_embeddings()


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_what_enters_is_what_the_model_makes_of_inputs_embeds(kind):
    """The oracle is the model's own way to be handed embeddings."""
    module, samples = small(kind).eval(), texts(4)
    site = site_of(untrain.Network(module), samples)
    values = torch.randn(16, LENGTH, 16, generator=torch.Generator().manual_seed(1))
    x, _ = site.samples(values, samples.y, samples).batch(torch.arange(16))
    with torch.no_grad():
        expected = module(inputs_embeds=values, attention_mask=samples.batch(torch.arange(16))[0]["attention_mask"]).logits
        torch.testing.assert_close(site(x), expected)


def test_the_site_of_a_long_waveform_is_its_feature_encoder():
    module, y = small("wav2vec2"), torch.arange(16) % 4
    waves = untrain.Samples(torch.randn(16, 8000, generator=torch.Generator().manual_seed(0)), y)
    site = site_of(untrain.Network(module), waves)
    assert site.layer == "wav2vec2.feature_extractor"
    assert site.shape == tuple(module.wav2vec2.feature_extractor(torch.zeros(1, 8000)).shape[1:])
    assert site_of(untrain.Network(module), waves, "wav2vec2.feature_projection.projection").shape == (site.shape[1], 16)
    with pytest.raises(BadArgument, match=r"'wav2vec2.encoder' .*does not answer, once in a pass, with one float tensor for each sample"):
        site_of(untrain.Network(module), waves, "wav2vec2.encoder")


def test_a_class_of_texts_is_forgotten_at_the_embedding():
    module, train, test = small("bert"), texts(), texts(20, seed=1)
    with untrain.seeded(0) as run:
        run.network = untrain.Network(module)
        untrain.fit(run.network, train, phase="train", lr=0.01, epochs=12, batch=32)
    left = untrain.unlearn(module, untrain.Split.by_class(train, test, forget=[1]), untrain.UNSIR()).model
    x, y = test.batch(torch.arange(len(test)))
    with torch.no_grad():
        was, told = (m.eval()(**x).logits.argmax(1) == y for m in (module, left))
    assert was[y == 1].float().mean() > 0.7
    assert told[y == 1].float().mean() <= 0.1
    assert told[y != 1].float().mean() >= was[y != 1].float().mean() - 0.1
