"""Networks of transformers: a folder that `save_pretrained` wrote, or a name of the Hub."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from untrain.core import disk, files
from untrain.core.data import Norm
from untrain.core.errors import BadData, MissingExtra, wall
from untrain.core.model import Expects, Model
from untrain.core.vision import import_transformers
from untrain.core.wording import told
from untrain.sources.names import CONFIG, Named
from untrain.sources.weights import other_head, refuse_nan

SAFE, INDEX, PROCESSOR = "model.safetensors", "model.safetensors.index.json", "preprocessor_config.json"
TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model")
"""Files of a tokenizer; without the first a folder has none."""

COUNTS_ON = (
    "roberta",
    "roberta-prelayernorm",
    "camembert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
    "data2vec-text",
    "longformer",
    "luke",
    "ibert",
    "mpnet",
    "lilt",
    "markuplm",
    "esm",
)
"""Kinds of models that count the places of words from the padding's number on, and so read fewer than they have places."""


def load(what: Named, classes: int, weights: Path | None) -> Model:
    """The model of a folder, or of the Hub, with its weights or those of another file.

    Raises:
        BadData: no such folder, no weights, or weights that do not fit; a head of another width.
        MissingExtra: its library is not installed.
    """
    folder = folder_of(what.name, weights=weights is None)
    width = _width(folder)
    if width != classes:
        raise other_head(what.shown, width, classes, f" by its {CONFIG}")
    paths = [weights] if weights is not None else _files(folder, what.shown)
    state = {name: value for file in paths for name, value in files.load_weights(file).items()}
    origin = weights.name if weights is not None else what.shown.removeprefix("hf:")
    module = _pretrained(folder, paths if weights is not None else None, origin)
    refuse_nan(module, origin)
    hashes = [files.sha256(file) for file in paths]
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    beside = {name: folder / name for name in (CONFIG, PROCESSOR, *TOKENIZER) if (folder / name).is_file()}
    made = Model(what.shown, module.eval(), origin, digest, {k: v.dtype for k, v in state.items()}, expects(folder), beside=beside)
    # transformers may name layers otherwise in memory than on disk.
    return made if made.kept.keys() <= module.state_dict().keys() else replace(made, told=_saved)


def expects(folder: Path) -> Expects:
    """What a folder's configuration and image processor say.

    Raises:
        BadData: one of them is not as transformers writes it.
    """
    with wall(f"{CONFIG} or {PROCESSOR} of {folder.name}"):
        return _said(folder)


def _said(folder: Path) -> Expects:
    config = _json(folder / CONFIG)
    labels = config.get("id2label") or {}
    listed = tuple(str(labels[key]) for key in sorted(labels, key=int))
    names = () if all(n == f"LABEL_{i}" for i, n in enumerate(listed)) else listed
    about = _json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    size = _pixels(about.get("crop_size") if about.get("do_center_crop") else about.get("size")) or _pixels(config.get("image_size"))
    resized = _pixels(about.get("size"))
    crop = min(1.0, size[0] / resized[0]) if about.get("do_center_crop") and size and resized else float(about.get("crop_pct") or 1.0)
    interpolation = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}.get(about.get("resample", 2), "bilinear")
    longest = int(config.get("max_position_embeddings") or config.get("n_positions") or 0) or None
    if longest is not None and config.get("model_type") in COUNTS_ON:
        # What stands ahead of the first word's place is for padding; 1 is the default that a configuration may leave out.
        longest -= int(config.get("pad_token_id", 1) or 0) + 1
    return Expects(_processor_norm(about), size, "image_size" in config, crop, interpolation, names, folder if _texts(folder) else None, longest)


def _texts(folder: Path) -> bool:
    """Whether a folder holds a classifier of texts, with its tokenizer."""
    made = _json(folder / CONFIG).get("architectures") or []
    return (folder / TOKENIZER[0]).is_file() and any(str(name).endswith("ForSequenceClassification") for name in made)


def folder_of(name: str, *, weights: bool) -> Path:
    """The local folder of a transformers model: the one named, or the Hub's in its cache."""
    if Path(name).is_dir():
        if not (Path(name) / CONFIG).is_file():
            raise BadData(f"{Path(name).name} holds no {CONFIG}; give a folder that save_pretrained wrote")
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise BadData(f"no folder {name!r}; give a folder that save_pretrained wrote, or a name of the Hub: hf:owner/name")
    return _of_hub(name, weights)


def _of_hub(name: str, weights: bool) -> Path:
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtra(f"there is no folder {name!r}, and for a name of the Hub huggingface_hub is not installed: pip install 'untrain[hf]'") from error
    wanted = [CONFIG, PROCESSOR, *TOKENIZER] + ([SAFE, INDEX, "model-*.safetensors"] if weights else [])
    try:
        found = Path(hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # offline, unknown and forbidden have no common class below Exception
        raise BadData(
            f"hf:{name} is neither a folder here nor could it be had from the Hub ({type(error).__name__}); "
            f"see to the name and the network, or download it where there is one: hf download {name} --local-dir FOLDER"
        ) from error
    if not (found / CONFIG).is_file():
        raise BadData(f"hf:{name} holds no {CONFIG}; it is not a transformers model")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(disk.text(path))
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path.name} is not JSON ({told(error)}); get it anew") from error
    if not isinstance(read, dict):
        raise BadData(f"{path.name} is not a JSON object; get it anew")
    return read


def _processor_norm(about: dict[str, Any]) -> Norm | None:
    """The norm of an image processor; ours scales bytes to [0, 1] first, so another scale goes into mean and std."""
    if not about:
        return None
    channels = 3
    mean, std = (about.get("image_mean"), about.get("image_std")) if about.get("do_normalize", True) else (None, None)
    mean, std = mean or [0.0] * channels, std or [1.0] * channels
    scale = 255.0 * float(about.get("rescale_factor", 1 / 255)) if about.get("do_rescale", True) else 255.0
    scale = 1.0 if abs(scale - 1) < 1e-9 else scale
    return Norm(tuple(float(m) / scale for m in mean), tuple(float(s) / scale for s in std))


def _pixels(size: Any) -> tuple[int, int] | None:
    """Height and width in what an image processor or a configuration calls a size."""
    if isinstance(size, dict):
        side = size.get("shortest_edge")
        return (int(size["height"]), int(size["width"])) if "height" in size else (int(side), int(side)) if side else None
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return (int(size), int(size)) if isinstance(size, int) else None


def _files(folder: Path, shown: str) -> list[Path]:
    """The safetensors files of a transformers folder."""
    if (folder / SAFE).is_file():
        return [folder / SAFE]
    if (folder / INDEX).is_file():
        with wall(f"{INDEX} of {shown}"):
            names = sorted(set(_json(folder / INDEX).get("weight_map", {}).values()))
            outside = next((name for name in names if Path(name).name != name), None)
        if outside is not None:
            raise BadData(f"{INDEX} of {shown} names {outside}, which is not beside it; get it anew")
        return [folder / name for name in names]
    old = next((n for n in ("pytorch_model.bin", "pytorch_model.pt") if (folder / n).is_file()), None)
    way = f"make one by `untrain convert {old} -o {SAFE}` in that folder" if old else "save it by save_pretrained, or name a file by --weights"
    raise BadData(f"{shown} holds no {SAFE}; {way}")


def _width(folder: Path) -> int:
    with wall(f"{CONFIG} of {folder.name}"):
        config = _json(folder / CONFIG)
        return len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels", 2))


def _pretrained(folder: Path, paths: list[Path] | None, origin: str) -> nn.Module:
    """The module by transformers itself, refused where any name or shape differs."""
    transformers, texts = import_transformers(), _texts(folder)
    with contextlib.ExitStack() as stack:
        if paths is not None:
            made = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            shutil.copy(folder / CONFIG, made / CONFIG)
            (made / SAFE).symlink_to(paths[0].resolve())
            folder = made
        stack.enter_context(_quiet(transformers))
        try:
            of = transformers.AutoModelForSequenceClassification if texts else transformers.AutoModelForImageClassification
            module, found = of.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32, ignore_mismatched_sizes=True
            )
        except Exception as error:  # its errors run over many lines and have no common class
            raise BadData(f"transformers cannot load {origin} as {'a text' if texts else 'an image'} classifier: {' '.join(str(error).split())[:200]}") from error
    missing, extra, shapes = (sorted(found.get(k) or (), key=str) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    if missing or extra or shapes:
        raise BadData(
            f"{origin} does not fit its {CONFIG}: missing {len(missing)} {missing[:3]}, unexpected {len(extra)} {extra[:3]}, "
            f"of another shape {len(shapes)} {[str(s[0]) if isinstance(s, tuple) else str(s) for s in shapes[:3]]}; give the file that goes with it"
        )
    return cast(nn.Module, module)


def _saved(module: nn.Module) -> dict[str, Tensor]:
    """A transformers model's weights under the names that `save_pretrained` gives them."""
    with tempfile.TemporaryDirectory() as folder, _quiet(import_transformers()):
        cast(Any, module).save_pretrained(folder, max_shard_size="1000GB")
        return files.load_weights(Path(folder) / SAFE)


def disk_names(module: nn.Module) -> dict[str, Tensor]:
    """A module's weights under the names that its own library writes: those of transformers differ from the module's."""
    return _saved(module) if hasattr(module, "save_pretrained") and hasattr(module, "config") else module.state_dict()


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and no reports while the block runs."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
