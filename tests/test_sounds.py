"""Sounds out of files and tables: what is read is what was written, by the standard library's own reader; another rate is refused."""

import io
import json
import math
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from untrain.core.data import Samples
from untrain.core.errors import BadArgument, BadData, MissingExtra
from untrain.sources import blobs, sounds
from untrain.sources.forms.finding import found
from untrain.sources.forms.parts import Columns
from untrain.sources.reading import read
from untrain.sources.request import split
from untrain.verbs.given import given_data
from untrain.verbs.inputs import Inputs

RATE = 8000


def tone(hz: float, n: int = 800, rate: int = RATE) -> np.ndarray:
    return (8000 * np.sin(2 * math.pi * hz * np.arange(n) / rate)).astype(np.int16)


def wav(samples: np.ndarray, rate: int = RATE, channels: int = 1) -> bytes:
    """A file by the standard library, which shares no code with the reader."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def folder_of(path, n: int = 6, **other: bytes):
    for label, hz in (("high", 900), ("low", 300)):
        (path / label).mkdir(parents=True)
        for i in range(n):
            (path / label / f"{i}.wav").write_bytes(wav(tone(hz + i, 700 + 50 * i)))
    for name, data in other.items():
        (path / "low" / f"{name}.wav").write_bytes(data)
    return path


def table_of(path, column: pa.Array, metadata: dict[bytes, bytes] | None = None, **more):
    n = len(column)
    table = pa.table({"pcm": column, "label": [i % 2 for i in range(n)], **more})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_a_folder_of_wav_is_what_was_written_cut_and_padded(tmp_path):
    data = read(str(folder_of(tmp_path / "d")), rate=RATE, length=0.1)
    whole = data.whole
    assert whole.shape == (800,)
    assert whole.names == ("high", "low")
    x, y = whole.batch(torch.arange(len(whole)))
    for i, path in enumerate(whole.columns["path"]):
        label, number = path.split("/")
        said = tone({"high": 900, "low": 300}[label] + int(number[0]), 700 + 50 * int(number[0]))[:800] / 2**15
        assert np.array_equal(x[i].numpy(), np.pad(said, (0, 800 - len(said))).astype(np.float32))
        assert whole.names[y[i]] == label
    assert data.notes[0] == "of 12 sounds 6 were cut to 0.1 s (800 samples at 8,000 Hz) and 4 padded with silence at their end"


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_the_same_sound_in_another_format_is_the_same(tmp_path, kind):
    file = io.BytesIO()
    soundfile.write(file, tone(440), RATE, format=kind, subtype="PCM_16")
    struct = pa.array([{"bytes": b, "path": "a"} for b in (file.getvalue(), wav(tone(440)))] * 4)
    x = read(str(table_of(tmp_path / "d.parquet", struct)), rate=RATE).whole.batch(torch.arange(8))[0]
    assert (x == x[0]).all()


def test_floats_keep_their_scale(tmp_path):
    file, loud = io.BytesIO(), np.array([0.5, -0.25, 1.0], np.float32)
    soundfile.write(file, loud, RATE, format="WAV", subtype="FLOAT")
    (tmp_path / "d" / "a").mkdir(parents=True)
    for i in range(2):
        (tmp_path / "d" / "a" / f"{i}.wav").write_bytes(file.getvalue())
    assert read(str(tmp_path / "d"), rate=RATE).whole.batch(torch.arange(2))[0][0].tolist() == loud.tolist()


def test_a_wav_that_was_written_to_a_pipe_or_is_wrong_by_its_head_is_read(tmp_path):
    """Who cannot go back writes the largest number for the length; and some count the eight bytes ahead of it."""
    whole = wav(tone(300))
    for i, says in enumerate((0xFFFFFFFF, 0x7FFFFFFF, 0, len(whole))):
        (tmp_path / "d" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / "a" / f"{i}.wav").write_bytes(whole[:4] + says.to_bytes(4, "little") + whole[8:])
    x = read(str(tmp_path / "d"), rate=RATE).whole.batch(torch.arange(4))[0]
    assert np.array_equal(x.numpy(), np.stack([tone(300) / 2**15] * 4).astype(np.float32))


def test_samples_in_a_table_are_read_split_and_grouped(tmp_path):
    rows = [tone(200 + 10 * i, 500 + i).tolist() for i in range(12)]
    who, part = ["ann", "ben", "cid"] * 4, ["train"] * 9 + ["test"] * 3
    table = table_of(tmp_path / "d.parquet", pa.array(rows, pa.list_(pa.int16())), {b"sampling_rate": b"8000"}, speaker=who, split=part)
    data = read(str(table), rate=RATE, length=0.05)
    assert (len(data.train), len(data.test), data.whole) == (9, 3, None)
    assert np.array_equal(data.test.batch(torch.tensor([1]))[0][0].numpy(), np.array(rows[10][:400], np.float32) / 2**15)
    assert not any("does not say" in note for note in data.notes)
    made = split(data, "where:speaker=ben")
    assert made.forget.index.tolist() == [1, 4, 7]
    by_speaker = given_data(str(table), rate=RATE, length=0.05, label_column="speaker")
    assert by_speaker.train.names == ("ann", "ben", "cid")
    assert by_speaker.train.y.tolist() == [0, 1, 2] * 3


def test_every_part_that_a_column_names_is_kept_apart(tmp_path):
    part = [*["train"] * 6, "unseen", "unseen", "test", "holdout"]
    table = table_of(tmp_path / "d.parquet", pa.array([tone(200 + i).tolist() for i in range(10)], pa.list_(pa.int16())), split=part)
    data = given_data(str(table), rate=RATE)
    for name in ("train", "unseen", "test", "holdout"):
        rows = [i for i, said in enumerate(part) if said == name]
        expected = np.array([tone(200 + i) for i in rows], np.float32) / 2**15
        assert np.array_equal(getattr(data, name).batch(torch.arange(len(rows)))[0].numpy(), expected), name


def test_a_table_that_tells_no_rate_is_taken_at_its_word(tmp_path):
    table = table_of(tmp_path / "d.parquet", pa.array([tone(300).tolist()] * 4, pa.list_(pa.int16())))
    assert "taken to be of 8,000 Hz" in read(str(table), rate=RATE).notes[0]


def test_files_beside_tensors_are_as_long_as_these(tmp_path):
    """A hold-out of another length was compared as it was, by networks that take any."""
    waves = Samples(torch.zeros(4, 760), [0, 1, 0, 1], names=("high", "low"))
    root = str(folder_of(tmp_path / "d", n=3))
    held = read((waves, waves), holdout=root, rate=RATE).holdout
    assert held.shape == (760,)
    assert torch.equal(held.batch(torch.arange(6))[0], read(root, rate=RATE, length=760 / RATE).whole.batch(torch.arange(6))[0])
    assert read((waves, waves), holdout=root, rate=RATE, length=760 / RATE).holdout.shape == (760,)
    with pytest.raises(BadArgument, match=r"--length 0\.5: data has tensors of 760 samples, which stay as they are"):
        read((waves, waves), holdout=root, rate=RATE, length=0.5)


def test_more_than_memory_is_streamed_and_the_same(tmp_path, monkeypatch):
    held = read(str(folder_of(tmp_path / "d")), rate=RATE, length=0.1).whole
    monkeypatch.setattr(blobs, "FITS", 0)
    lazy = read(str(tmp_path / "d"), rate=RATE, length=0.1).whole
    assert lazy.sources[0].lazy
    rows = torch.tensor([5, 0, 11])
    assert lazy.batch(rows)[0].equal(held.batch(rows)[0])


def test_what_was_kept_decoded_is_of_one_length(tmp_path, monkeypatch):
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(blobs, "KEEP", 1)
    folder = str(folder_of(tmp_path / "d"))
    long, short, again = (read(folder, rate=RATE, length=seconds).whole.batch(torch.arange(12))[0] for seconds in (0.1, 0.05, 0.1))
    assert list((tmp_path / "cache").rglob("*.npy"))
    assert short.equal(long[:, :400])
    assert again.equal(long)


STEREO = wav(np.stack([tone(300), tone(500)], 1), channels=2)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"x": wav(tone(300, rate=16000), 16000)}, "low/x.wav is sampled at 16000 Hz, and --rate says 8000; nothing is resampled here: resample to 8000 Hz (sox, ffmpeg -ar 8000)"),
        ({f"x{i}": wav(tone(300), 16000) for i in range(2)}, "2 of 14 sounds have another rate than --rate 8000, such as low/x0.wav, sampled at 16000 Hz"),
        ({"x": STEREO}, "1 of 13 sounds cannot be read: low/x.wav (it has 2 channels; mix it down to one)"),
        ({"x": b"RIFF"}, "low/x.wav (not a sound that can be read)"),
        ({"x": b""}, "low/x.wav (the file is empty)"),
        ({"x": wav(tone(300))[:-100]}, "low/x.wav (not a whole sound: it says that it is 1,644 bytes long, and has 1,544)"),
    ],
)
def test_what_is_no_such_sound_is_refused_by_name(tmp_path, other, said):
    with pytest.raises(BadData) as error:
        read(str(folder_of(tmp_path / "d", **other)), rate=RATE, length=0.1)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "d holds sounds, such as high/0.wav; say how many samples in a second the model reads by --rate"),
        ({"rate": RATE}, "d holds sounds of 6 lengths, 0.0875 to 0.119 s; say by --length how many seconds long each is made"),
        ({"length": 1.0}, "--length 1 is for sounds; say by --rate"),
        ({"rate": RATE, "size": 32}, "--size 32 is for images, and --rate 8000 for sounds"),
        ({"rate": 8}, "--rate 8: sounds have 1,000 to"),
        ({"rate": RATE, "length": 0.0}, "--length 0 at 8000 Hz is not between"),
        ({"rate": RATE, "length": math.nan}, "--length nan at 8000 Hz is not between"),
        ({"rate": RATE, "length": math.inf}, "--length inf at 8000 Hz is not between"),
    ],
)
def test_what_is_not_said_or_cannot_be_meant_is_refused(tmp_path, how, said):
    with pytest.raises((BadData, BadArgument)) as error:
        read(str(folder_of(tmp_path / "d")), **how)
    assert said in str(error.value)


def test_a_rate_is_not_for_images():
    with pytest.raises(BadArgument, match="digits holds images, and --rate is for sounds"):
        given_data("digits", rate=RATE)


def test_a_table_of_another_rate_or_of_no_samples_is_refused(tmp_path):
    hf = json.dumps({"info": {"features": {"pcm": {"sampling_rate": 16000, "_type": "Audio"}}}}).encode()
    with pytest.raises(BadData, match="sampled at 16000 Hz"):
        read(str(table_of(tmp_path / "a.parquet", pa.array([[1, 2]] * 2, pa.list_(pa.int16())), {b"huggingface": hf})), rate=RATE)
    with pytest.raises(BadData, match="reach 70000 and are no 16-bit samples"):
        read(str(table_of(tmp_path / "b.parquet", pa.array([[1, 70000]] * 2, pa.list_(pa.int32())))), rate=RATE)
    with pytest.raises(BadData, match=r"b.parquet, row 1 \(it holds no sample\)"):
        read(str(table_of(tmp_path / "b.parquet", pa.array([[1, 7], None], pa.list_(pa.int16())))), rate=RATE)


def test_a_sound_with_gaps_is_refused_where_it_would_be_read_as_bytes_of_another_kind(tmp_path):
    table = table_of(tmp_path / "d.parquet", pa.array([[1, 2, 3, 4], [1, None, None, 4]], pa.list_(pa.int16())))
    with pytest.raises(BadData, match=r"d.parquet, row 1: 2 of its 4 samples are missing"):
        read(str(table), rate=RATE, length=0.01)


@pytest.mark.parametrize(
    ("column", "rate", "said"),
    [
        (pa.array([[0.25] * 800] * 4, pa.list_(pa.float32())), b"8000", "samples of float32 at 8,000 Hz, and train-0.parquet as samples of int16 at 8,000 Hz"),
        (pa.array([tone(300).tolist()] * 4, pa.list_(pa.int16())), b"16000", "samples of int16 at 16,000 Hz, and train-0.parquet as samples of int16 at 8,000 Hz"),
        (pa.array([wav(tone(300))] * 4), b"8000", "encoded bytes, and train-0.parquet as samples of int16 at 8,000 Hz"),
    ],
)
def test_files_of_a_part_that_hold_sounds_in_several_forms_are_refused_and_not_read_as_the_last_of_them(tmp_path, column, rate, said):
    table_of(tmp_path / "train-0.parquet", pa.array([tone(300).tolist()] * 4, pa.list_(pa.int16())), {b"sampling_rate": b"8000"})
    table_of(tmp_path / "train-1.parquet", column, {b"sampling_rate": rate})
    with pytest.raises(BadData, match=r"train-1\.parquet holds its pcm as") as error:
        read(str(tmp_path), rate=RATE, length=0.1)
    assert said in str(error.value)


@pytest.mark.parametrize("text", [False, True])
def test_files_whose_numbers_are_of_several_lists_of_classes_are_refused(tmp_path, text):
    column = pa.array(["a word", "two words"]) if text else pa.array([tone(300).tolist()] * 2, pa.list_(pa.int16()))
    for number, names in enumerate((["cat", "dog"], ["dog", "cat"])):
        hf = json.dumps({"info": {"features": {"label": {"names": names}}}}).encode()
        table_of(tmp_path / f"train-{number}.parquet", column, {b"huggingface": hf})
    with pytest.raises(BadData, match=r"train-1\.parquet lists the classes dog, cat, and the files before it cat, dog"):
        found(str(tmp_path), Columns(image=None if text else "pcm", text="pcm" if text else None))


def test_without_the_extra_files_are_refused_and_tables_are_read(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(sounds.importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match=r"untrain\[audio\]"):
        read(str(folder_of(tmp_path / "d")), rate=RATE, length=0.1)
    table = table_of(tmp_path / "d.parquet", pa.array([tone(300).tolist()] * 4, pa.list_(pa.int16())))
    assert len(read(str(table), rate=RATE).whole) == 4


def test_a_record_s_command_says_rate_and_length():
    words = Inputs(model="m.py:net", data="d", rate=RATE, length=0.5).words()
    assert (words["rate"], words["length"]) == (8000, 0.5)
