"""`convai models merge`, `average`, `export` and `convert`: other copies of a model, and other people's."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from convai.core.errors import SettingsError

DTYPES = ("float32", "bfloat16", "float16")


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The actions merge, average, export and convert, added to an argparse group of actions."""
    merge = actions.add_parser(
        "merge", help="an adapter added to its base: a model that needs neither", allow_abbrev=False
    )
    merge.add_argument("model", metavar="DIR|NAME", help="the adapter: what `convai train --lora-rank` wrote")
    merge.add_argument("out", metavar="OUT", type=Path, help="new folder, for --model in every command")
    merge.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="type of the weights (default: %(default)s, the sum as it is; the others take half the room)",
    )
    average = actions.add_parser("average", help="the mean of adapters of one base", allow_abbrev=False)
    average.add_argument(
        "models", metavar="DIR|NAME", nargs="+", help="adapters; heads and settings are those of the first"
    )
    average.add_argument("--out", metavar="OUT", type=Path, required=True, help="new folder")
    average.add_argument(
        "--weights", type=float, nargs="+", metavar="X", help="one for each (default: all the same)"
    )
    average.add_argument(
        "--keep",
        type=float,
        default=1.0,
        metavar="X",
        help="share of the mean; the rest is the base, which helps what has been learnt by heart "
        "(default: %(default)s)",
    )
    average.add_argument(
        "--rank",
        type=int,
        metavar="N",
        help="of adapters that did not go on from one another: the mean of what they change, at this rank "
        "(default: the mean of their factors)",
    )
    average.add_argument(
        "--dtype", choices=DTYPES, default="float16", help="type of the matrices (default: %(default)s)"
    )
    export = actions.add_parser("export", help="copy a model, for us or for others", allow_abbrev=False)
    export.add_argument("model", metavar="DIR|NAME")
    export.add_argument("out", metavar="OUT", type=Path)
    export.add_argument(
        "--to",
        choices=("convai", "hf", "gguf"),
        default="convai",
        help="convai: with both heads, an adapter as an adapter; hf: a plain folder of transformers; gguf: a "
        "file for llama.cpp, both with the adapter in (default: %(default)s)",
    )
    export.add_argument(
        "--positions",
        type=int,
        metavar="N",
        help="keep the first N positions only: those that the training's rows reached (default: all)",
    )
    export.add_argument(
        "--dtype",
        choices=(*DTYPES, "q8_0"),
        help="type of the weights; q8_0 in GGUF only (default: bfloat16; of adapters and in GGUF float16)",
    )
    convert = actions.add_parser(
        "convert", help="OpenAI's releases of GPT and GPT-2 into a model folder", allow_abbrev=False
    )
    convert.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="folder with params_*.npy and params_shapes.json (OpenAI GPT) or model.ckpt.* and hparams.json "
        "(GPT-2), each with its vocabulary",
    )
    convert.add_argument("out", metavar="OUT", type=Path, help="new folder, for `convai train --model OUT`")
    convert.add_argument(
        "--heads",
        type=int,
        metavar="N",
        help="attention heads of an OpenAI GPT of another width (default: one for each 64)",
    )
    convert.add_argument(
        "--compare",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a model folder of the same model, to compare the hidden states with",
    )


def run(args: argparse.Namespace) -> int:
    """Carry out one of these actions. Returns the exit code."""
    if args.action == "convert":
        return _convert(args.source, args.out, args.heads, args.compare)
    if args.action == "merge":
        return _merge(args.model, args.out, args.dtype)
    if args.action == "average":
        return _average(args)
    return _export(args.model, args.out, args.to, args.dtype, args.positions)


def _merge(model: str, out: Path, dtype: str) -> int:
    import torch

    from convai.model.folder import is_adapter, model_folder
    from convai.model.shipped import ShippedModel

    source = model_folder(model)
    if not is_adapter(source):
        raise SettingsError(f"{source}: is no adapter, there is nothing to merge; copy it with models export")
    _check_out(source, out)
    ShippedModel.load(model).save(out, getattr(torch, dtype))
    _copy_card(source, out)
    print(
        f"{out}: {(out / 'model.safetensors').stat().st_size / 1e6:.1f} MB of {dtype} weights, base and all"
    )
    return 0


def _average(args: argparse.Namespace) -> int:
    import torch

    from convai.model.adapter_mean import average
    from convai.model.folder import BaseReference, is_adapter, model_folder
    from convai.model.shipped import ShippedModel

    sources, out = [model_folder(model) for model in args.models], args.out
    for source in sources:
        if not is_adapter(source):
            raise SettingsError(f"{source}: is no adapter; average runs of `convai train --lora-rank`")
        _check_out(source, out)
    base = BaseReference.read(sources[0])
    for source in sources[1:]:
        if (other := BaseReference.read(source)).fingerprint != base.fingerprint:
            raise SettingsError(
                f"{source}: is an adapter of {other.name}, and {sources[0]} one of {base.name}"
            )
    shipped = ShippedModel.load(sources[0])  # before anything is written: an adapter that fits its base
    weights = args.weights or [1.0] * len(sources)
    average(sources, weights, out, keep=args.keep, rank=args.rank, dtype=getattr(torch, args.dtype))
    if args.rank is not None:  # what goes on from it needs the rank that it has now
        shipped.training |= {"lora_rank": args.rank, "lora_alpha": float(args.rank)}
    shipped.save_beside(out, base)
    _copy_card(sources[0], out)
    print(f"{out}: the mean of {len(sources)}, an adapter of {base.name}")
    return 0


def _export(model: str, out: Path, to: str, dtype: str | None, positions: int | None) -> int:
    import torch

    from convai.model.export import export_gguf, export_hf
    from convai.model.folder import is_adapter, model_folder
    from convai.model.shipped import ShippedModel

    source = model_folder(model)
    dtype = dtype or ("float16" if to == "gguf" or (to == "convai" and is_adapter(source)) else "bfloat16")
    if dtype == "q8_0" and to != "gguf":
        raise SettingsError(f"--dtype=q8_0: a type of GGUF files only; use one of {', '.join(DTYPES)}")
    if to == "gguf" and out.is_dir():
        raise SettingsError(f"{out}: is a folder; name the file, for example {out / 'model.gguf'}")
    if to != "gguf":
        _check_out(source, out)
    if to == "convai" and is_adapter(source):
        return _export_adapter(source, out, dtype, positions)
    shipped = ShippedModel.load(model)
    if positions is not None:
        if not 1 <= positions <= shipped.model.config.n_positions:
            raise SettingsError(
                f"--positions={positions}: use 1 to the model's own {shipped.model.config.n_positions}"
            )
        shipped.model.cut_positions(positions)
    if to != "convai":
        if gate := getattr(shipped.model.transformer, "segment_gate", None):
            print(f"left out: segment embeddings, whose gate is {gate.item():.4f}", file=sys.stderr)
        if to == "gguf":
            export_gguf(shipped.model, shipped.tokenizer, out, dtype, shipped.name)
        else:
            export_hf(shipped.model, shipped.tokenizer, out, getattr(torch, dtype))
        size = (out if to == "gguf" else out / "model.safetensors").stat().st_size
        print(f"{out}: {size / 1e6:.1f} MB of {dtype} weights")
        return 0
    shipped.save(out, getattr(torch, dtype))
    _copy_card(source, out)
    print(f"{out}: {(out / 'model.safetensors').stat().st_size / 1e6:.1f} MB of {dtype} weights")
    return 0


def _export_adapter(source: Path, out: Path, dtype: str, positions: int | None) -> int:
    import torch

    from convai.model import adapters
    from convai.model.folder import BaseReference
    from convai.model.shipped import ShippedModel

    if positions is not None:
        raise SettingsError(f"--positions={positions}: an adapter has its base's; merge them first")
    shipped = ShippedModel.load(source)  # an adapter that fits its base
    adapters.convert(source, out, getattr(torch, dtype))
    shipped.save_beside(out, BaseReference.read(source))
    _copy_card(source, out)
    size = sum((out / name).stat().st_size for name in (adapters.WEIGHTS, adapters.HEADS_FILE))
    print(f"{out}: {size / 1e6:.1f} MB of {dtype} weights, an adapter of {BaseReference.read(out).name}")
    return 0


def _check_out(source: Path, out: Path) -> None:
    if out.exists() and source.resolve() == out.resolve():
        raise SettingsError(f"{out}: is the model itself; name another folder")
    if out.is_file():
        raise SettingsError(f"{out}: is a file; name a folder")


def _copy_card(source: Path, out: Path) -> None:
    for extra in ("README.md", "curves.png"):
        if (source / extra).exists():
            shutil.copyfile(source / extra, out / extra)


def _convert(source: Path, out: Path, heads: int | None, others: list[Path]) -> int:
    import shlex

    from convai.model.openai_release.conversion import convert

    result = convert(source, out, heads=heads, others=others)
    config = result.config
    print(
        f"{config.family}: {config.n_layer} layers of {config.n_embd}, {config.n_head} heads, "
        f"{config.vocab_size:,} words, {config.n_positions} positions"
    )
    unused = result.walk.unused
    print(f"variables: {len(result.walk.found)} used, {len(unused)} not used, 0 missing")
    for name in unused:
        print(f"  not used: {name}")
    print("max absolute difference of the hidden states:")
    for row in result.comparison.rows():
        print(row)
    print(f"{out}: done; tune it: convai train DATA --model {shlex.quote(str(out))} --out RUN")
    return 0
