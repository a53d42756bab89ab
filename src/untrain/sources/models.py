"""A user's model by name: torchvision, timm, a transformers folder or Hub name, or a Python function.

`torchvision:mobilenet_v2`, `timm:vit_tiny_patch16_224`, `hf:FOLDER` or `hf:owner/name`, a folder with a config.json,
`package.module:function`, `path/nets.py:function`. Weights come from safetensors alone. A state dict fits or is refused.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from untrain.core import store
from untrain.core.data import Norm
from untrain.core.errors import BadArgument, BadData, MissingExtra, OtherHead, UntrainError
from untrain.core.model import Expects, Model
from untrain.core.network import Network
from untrain.core.vision import import_timm, import_torchvision, import_transformers

GRAMMAR = "torchvision:NAME, timm:NAME, hf:FOLDER or hf:owner/name, package.module:function, path/nets.py:function"
"""How a model is named that is not of the zoo."""

IMAGENET = Norm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SAFE, INDEX, CONFIG, PROCESSOR = "model.safetensors", "model.safetensors.index.json", "config.json", "preprocessor_config.json"
RUNS_CODE = "{} runs your code: the function is called as it stands"
"""Said once, before it is done."""


@dataclass(frozen=True)
class Named:
    """A model's name, taken apart.

    Args:
        kind: `torchvision`, `timm`, `hf`, `module` or `file`.
        name: The name within the library, the folder or Hub name, or the module or file.
        function: The function, for `module` and `file`.
    """

    kind: str
    name: str
    function: str = ""

    @property
    def path(self) -> Path | None:
        """The folder or file that it names, if it names one."""
        return Path(self.name) if self.kind == "file" or (self.kind == "hf" and Path(self.name).is_dir()) else None

    @property
    def shown(self) -> str:
        """The name as commands and records say it: without the way to a folder or file."""
        name = self.path.resolve().name if self.path else self.name
        return f"{name}:{self.function}" if self.function else f"{self.kind}:{name}"

    @property
    def runs_code(self) -> bool:
        """Whether loading it calls a function of the user's."""
        return self.kind in ("module", "file")

    def at(self, path: Path | None) -> str:
        """The full name with its folder or file at another place."""
        if path is None:
            return f"{self.name}:{self.function}" if self.function else f"{self.kind}:{self.name}"
        return f"{path}:{self.function}" if self.function else f"{self.kind}:{path}"


def named(model: str) -> Named | None:
    """What a `--model` names, or None where that is no name of this grammar."""
    kind, colon, name = model.partition(":")
    if colon and kind in ("torchvision", "timm", "hf"):
        return Named(kind, name)
    if (Path(model) / CONFIG).is_file():
        return Named("hf", model)
    where, colon, function = model.rpartition(":")
    if not colon or not where or not function.isidentifier():
        return None
    return Named("file" if where.endswith(".py") else "module", where, function)


def expects(model: str) -> Expects:
    """What a model says of its images, before it is built and before data are read.

    A torchvision or timm name answers for its pretrained weights, a transformers folder by its image processor.
    A function of the user's is asked only where it takes no argument: its model may carry a `norm`, as the zoo's do.

    Raises:
        BadArgument: no such model.
        BadData: no such folder.
        MissingExtra: its library is not installed.
    """
    what = _asked(model)
    if what.kind == "torchvision":
        return _torchvision_expects(what.name)
    if what.kind == "timm":
        cfg = _timm(what.name).get_pretrained_cfg(what.name)
        return _timm_expects(cfg.to_dict()) if cfg is not None else Expects(IMAGENET)
    if what.kind == "hf":
        return _folder_expects(_folder(what.name, weights=False))
    function = _function(what)
    return _module_expects(_made(what, None)) if not _takes_classes(function) else Expects()


def load(model: str, classes: int, *, weights: Path | None = None) -> Model:
    """A model by name, filled with its weights, in evaluation mode.

    Args:
        model: Its name, see the module.
        classes: Number of classes of the data: the width of its head.
        weights: A safetensors file; needed for torchvision and timm, which bring none here.

    Raises:
        BadArgument: no such model.
        BadData: no weights, or weights that do not fit; a head of another width.
        MissingExtra: its library is not installed.
    """
    what = _asked(model)
    with torch.random.fork_rng(devices=[]):
        # A function that draws its weights gives the same ones each time, so that a record's hash can be checked.
        torch.manual_seed(0)
        if what.kind == "hf":
            return _from_folder(what, classes, weights)
        if what.kind in ("torchvision", "timm") and weights is None:
            raise BadData(f"{model} needs weights: name a file of its state dict by --weights FILE.safetensors; none are downloaded")
        if what.kind == "torchvision":
            module, look = _torchvision(what.name).models.get_model(what.name, weights=None, num_classes=classes), _torchvision_expects(what.name)
        elif what.kind == "timm":
            module = _timm(what.name).create_model(what.name, pretrained=False, num_classes=classes)
            look = _module_expects(module)
        else:
            module = _made(what, classes)
            look = _module_expects(module)
    module.eval()
    if weights is None:
        state = module.state_dict()
        _refuse_nan(state, what.shown)
        _refuse_width(module, classes, what.shown)
        return Model(what.shown, module, f"made by {what.shown}", store.weights_hash(state), {k: v.dtype for k, v in state.items()}, look)
    prefix, notes = fill(module, store.load_weights(weights), weights.name, classes)
    kept = {k: v.dtype for k, v in store.load_weights(weights).items()}
    return Model(what.shown, module, weights.name, store.sha256(weights), kept, look, prefix, notes)


def _asked(model: str) -> Named:
    what = named(model)
    if what is None:
        raise BadArgument(f"no model {model!r}; write {GRAMMAR}")
    return what


# Weights.


def fill(module: nn.Module, state: dict[str, Tensor], origin: str, classes: int | None = None) -> tuple[str, tuple[str, ...]]:
    """Put a state dict into a module that it fits exactly, but for what all its names begin with.

    Args:
        module: The model.
        state: Weights by name.
        origin: What the file is called.
        classes: Number of classes of the data, for the message where only the head differs.

    Returns:
        What all names begin with and the module's own do not (`module.`), and what to tell of it.

    Raises:
        BadData: names or shapes differ (says the first few), or a value is not finite.
    """
    own = {k for k in module.state_dict() if not k.endswith("num_batches_tracked")}
    prefix = _prefix(own, state)
    bare = {k.removeprefix(prefix): v for k, v in state.items()}
    if not own <= bare.keys():
        parts = sorted({k.partition(".")[0] for k in state})
        fitting = [p for p in parts if own <= {k.removeprefix(f"{p}.") for k in state if k.startswith(f"{p}.")}]
        if fitting:
            ways = " or ".join(f"--network {p}" for p in fitting)
            raise BadData(f"{origin} holds more than this network ({', '.join(parts[:6])}); take a part by `untrain convert {origin} -o FILE.safetensors {ways}`")
    _refuse_other_head(module, bare, origin, classes)
    store.load_into(module, bare, origin)
    note = f"names in {origin} begin with {prefix!r}, which the network's do not: it was taken off to read them, and is there again in what is written"
    return prefix, (note,) if prefix else ()


def _prefix(own: set[str], state: dict[str, Tensor]) -> str:
    """The longest run of first components that all names share, at which they become the module's."""
    prefix = ""
    while state:
        bare = [k.removeprefix(prefix) for k in state]
        if own <= set(bare):
            return prefix
        first = {k.partition(".")[0] for k in bare}
        if len(first) != 1 or not all("." in k for k in bare):
            break
        prefix += first.pop() + "."
    # Of another architecture: the names alone cannot say what to take off, but what a wrapper puts there can.
    return next((p for p in ("module.", "model.", "net.") if all(k.startswith(p) for k in state) and not any(k.startswith(p) for k in own)), "")


def _refuse_other_head(module: nn.Module, state: dict[str, Tensor], origin: str, classes: int | None) -> None:
    own = module.state_dict()
    differ = {k for k, v in own.items() if k in state and v.shape != state[k].shape}
    rows = set(Network(module).head.rows((0,))) if differ else set()
    if differ and differ <= rows and all(own[k].shape[1:] == state[k].shape[1:] for k in differ):
        name = sorted(differ)[-1]
        width, mine = state[name].shape[0], classes or own[name].shape[0]
        raise OtherHead(
            f"{origin} answers with {width} classes, the data has {mine} ({name} is {list(state[name].shape)} in the file); "
            f"give the data it was trained on, or weights trained on this data"
        )


def _refuse_width(module: nn.Module, classes: int, origin: str) -> None:
    width = Network(module).head.width
    if width != classes:
        raise OtherHead(f"{origin} answers with {width} classes, the data has {classes}; give the data it was trained on, or a model trained on this data")


def _refuse_nan(state: dict[str, Tensor], origin: str) -> None:
    bad = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise BadData(f"{origin} holds NaN or infinity in {bad[:3]}; get it anew")


# torchvision and timm.


def _torchvision(name: str) -> Any:
    vision = import_torchvision()
    models = importlib.import_module("torchvision.models")
    known = models.list_models(module=models)
    if name not in known:
        raise BadArgument(f"torchvision has no classifier {name!r}; {_nearest(name, known)}")
    return vision


def _torchvision_expects(name: str) -> Expects:
    models = _torchvision(name).models
    found = list(models.get_model_weights(name))
    if not found:
        return Expects(IMAGENET)
    look = models.get_model_weights(name).DEFAULT.transforms()
    size, resized = int(look.crop_size[0]), int(look.resize_size[0])
    return Expects(Norm(tuple(look.mean), tuple(look.std)), (size, size), name.startswith(("vit_", "maxvit")), min(1.0, size / resized), str(look.interpolation.value))


def _timm(name: str) -> Any:
    timm = import_timm()
    if not timm.is_model(name):
        raise BadArgument(f"timm has no model {name!r}; {_nearest(name.partition('.')[0], timm.list_models())}")
    return timm


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"near to it are {', '.join(close)}" if close else f"there are {', '.join(known[:3])} and {len(known) - 3} others"


def _timm_expects(cfg: dict[str, Any], size: tuple[int, int] | None = None) -> Expects:
    made_for = (int(cfg["input_size"][1]), int(cfg["input_size"][2]))
    return Expects(
        Norm(tuple(cfg["mean"]), tuple(cfg["std"])),
        size or made_for,
        bool(cfg.get("fixed_input_size", False)),
        # The share belongs to the size that the pretrained weights had.
        float(cfg.get("crop_pct") or 1.0) if size in (None, made_for) else 1.0,
        str(cfg.get("interpolation") or "bilinear"),
    )


def _module_expects(module: nn.Module) -> Expects:
    """What a built model says of itself: a `norm` of ours, or timm's configuration."""
    own = getattr(module, "norm", None)
    if isinstance(own, Norm):
        return Expects(own)
    cfg = getattr(module, "pretrained_cfg", None)
    if isinstance(cfg, dict) and cfg.get("mean") and cfg.get("input_size"):
        made = getattr(getattr(module, "patch_embed", None), "img_size", None)
        return _timm_expects(cfg, (int(made[0]), int(made[1])) if made is not None else None)
    return Expects()


# Functions of the user's.


def _function(what: Named) -> Callable[..., Any]:
    with _importing(what) as module:
        function = getattr(module, what.function, None)
    if not callable(function):
        raise BadArgument(f"{what.shown}: there is no function {what.function!r} in {what.shown.rpartition(':')[0]}")
    return cast(Callable[..., Any], function)


def call(model: str, classes: int | None) -> Any:
    """Call the function that `package.module:function` or `path/file.py:function` names, with the number of classes if it takes one.

    Raises:
        BadArgument: there is no such module, file or function, or it ends in an error.
    """
    what = _asked(model)
    if not what.runs_code:
        raise BadArgument(f"{model!r} names no function; write package.module:function or path/file.py:function")
    return _called(what, classes)


def _called(what: Named, classes: int | None) -> Any:
    function = _function(what)
    try:
        # What it imports when it is called lies beside it too.
        with _beside(what):
            return function(classes) if _takes_classes(function) else function()
    except UntrainError:
        raise
    except Exception as error:  # whatever a stranger's function raises is a refusal in one line
        raise BadArgument(f"{what.shown} ended in {type(error).__name__}: {str(error).partition(chr(10))[0]}; mend the function") from error


def _made(what: Named, classes: int | None) -> nn.Module:
    made = _called(what, classes)
    if not isinstance(made, nn.Module):
        raise BadArgument(f"{what.shown} gave a {type(made).__name__}; it is to give a torch.nn.Module")
    return made


def file_of(what: Named) -> str:
    """The file that the user's function stands in."""
    with _importing(what) as module:
        return str(module.__file__)


def _takes_classes(function: Callable[..., Any]) -> bool:
    """Whether a function is to be told the number of classes: it needs an argument, or names one so."""
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0] if parameters and parameters[0].kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) else None
    return first is not None and (first.default is inspect.Parameter.empty or first.name in ("classes", "num_classes", "n_classes"))


@contextlib.contextmanager
def _beside(what: Named) -> Iterator[None]:
    """Modules beside the user's file, or in the working folder, can be imported."""
    folder = str(Path(what.name).resolve().parent) if what.kind == "file" else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def _importing(what: Named) -> Iterator[Any]:
    shown = what.shown.rpartition(":")[0]
    if what.kind == "file" and not Path(what.name).is_file():
        raise BadArgument(f"no file {what.name}; write path/nets.py:function")
    try:
        with _beside(what):
            yield _imported(str(Path(what.name).resolve())) if what.kind == "file" else importlib.import_module(what.name)
    except UntrainError:
        raise
    except ModuleNotFoundError as error:
        raise BadArgument(f"{shown} cannot be imported: no module {error.name!r}; write package.module:function or path/nets.py:function") from error
    except Exception as error:  # whatever a stranger's module raises is a refusal in one line
        raise BadArgument(f"{shown} cannot be imported: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error


@functools.cache
def _imported(path: str) -> Any:
    """A file as a module, run once: its classes are then the same each time, and what it prints is printed once."""
    name = "untrain_user_" + hashlib.sha256(path.encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadArgument(f"{Path(path).name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Pickling, copying and dataclasses look a class's module up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# transformers.


def _folder(name: str, *, weights: bool) -> Path:
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
    wanted = [CONFIG, PROCESSOR] + ([SAFE, INDEX, "model-*.safetensors"] if weights else [])
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
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadData(f"{path.name} is not JSON ({error}); get it anew") from error
    if not isinstance(read, dict):
        raise BadData(f"{path.name} is not a JSON object; get it anew")
    return read


def _folder_expects(folder: Path) -> Expects:
    config = _json(folder / CONFIG)
    labels = config.get("id2label") or {}
    listed = tuple(str(labels[key]) for key in sorted(labels, key=int))
    names = () if all(n == f"LABEL_{i}" for i, n in enumerate(listed)) else listed
    about = _json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    size = _pixels(about.get("crop_size") if about.get("do_center_crop") else about.get("size")) or _pixels(config.get("image_size"))
    resized = _pixels(about.get("size"))
    crop = min(1.0, size[0] / resized[0]) if about.get("do_center_crop") and size and resized else float(about.get("crop_pct") or 1.0)
    interpolation = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}.get(about.get("resample", 2), "bilinear")
    return Expects(_processor_norm(about), size, "image_size" in config, crop, interpolation, names)


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
        return [folder / name for name in sorted(set(_json(folder / INDEX).get("weight_map", {}).values()))]
    old = next((n for n in ("pytorch_model.bin", "pytorch_model.pt") if (folder / n).is_file()), None)
    way = f"make one by `untrain convert {old} -o {SAFE}` in that folder" if old else "save it by save_pretrained, or name a file by --weights"
    raise BadData(f"{shown} holds no {SAFE}; {way}")


def _from_folder(what: Named, classes: int, weights: Path | None) -> Model:
    folder = _folder(what.name, weights=weights is None)
    width = _width(folder)
    if width != classes:
        raise OtherHead(f"{what.shown} answers with {width} classes by its {CONFIG}, the data has {classes}; give the data it was trained on, or a model trained on this data")
    files = [weights] if weights is not None else _files(folder, what.shown)
    state = {name: value for file in files for name, value in store.load_weights(file).items()}
    origin = weights.name if weights is not None else what.shown.removeprefix("hf:")
    _refuse_nan(state, origin)
    module = _pretrained(folder, files if weights is not None else None, origin)
    hashes = [store.sha256(file) for file in files]
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    beside = {name: folder / name for name in (CONFIG, PROCESSOR) if (folder / name).is_file()}
    made = Model(what.shown, module.eval(), origin, digest, {k: v.dtype for k, v in state.items()}, _folder_expects(folder), beside=beside)
    # transformers may name layers otherwise in memory than on disk.
    return made if made.kept.keys() <= module.state_dict().keys() else replace(made, told=_saved)


def _width(folder: Path) -> int:
    config = _json(folder / CONFIG)
    return len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels", 2))


def _pretrained(folder: Path, files: list[Path] | None, origin: str) -> nn.Module:
    """The module by transformers itself, refused where any name or shape differs."""
    transformers = import_transformers()
    with contextlib.ExitStack() as stack:
        if files is not None:
            made = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            shutil.copy(folder / CONFIG, made / CONFIG)
            (made / SAFE).symlink_to(files[0].resolve())
            folder = made
        stack.enter_context(_quiet(transformers))
        try:
            module, found = transformers.AutoModelForImageClassification.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32, ignore_mismatched_sizes=True
            )
        except Exception as error:  # its errors run over many lines and have no common class
            raise BadData(f"transformers cannot load {origin} as an image classifier: {' '.join(str(error).split())[:200]}") from error
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
        return store.load_weights(Path(folder) / SAFE)


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
