"""Checkpoints of the same files, names and layout as OpenAI's releases, made small for the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convai.model.openai_release.openai_shards import BLOCK
from convai.model.openai_release.sstable import MAGIC
from tests.tokenizer_kinds import published

Variables = Mapping[str, NDArray[Any]]


# -- TensorFlow's format ---------------------------------------------------------------------------------


def number(value: int) -> bytes:
    """A varint; negative numbers as int64 are written."""
    value &= (1 << 64) - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(place: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return number(place << 3) + number(value) if value else b""  # a default is not written
    return number(place << 3 | 2) + number(len(value)) + value


def block(entries: Sequence[tuple[bytes, bytes]], restart_every: int = 16) -> bytes:
    out, restarts, last = b"", [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % restart_every:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        else:
            restarts.append(len(out))
        out += number(shared) + number(len(key) - shared) + number(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return out + b"".join(n.to_bytes(4, "little") for n in (*restarts, len(restarts)))


def table(entries: Sequence[tuple[bytes, bytes]], per_block: int = 10, compression: int = 0) -> bytes:
    """A sorted string table, `per_block` entries in each of its data blocks."""
    out = b""

    def add(content: bytes) -> bytes:
        nonlocal out
        handle = number(len(out)) + number(len(content))
        out += content + bytes([compression]) + bytes(4)  # nobody reads the checksum
        return handle

    index = []
    for i in range(0, len(entries), per_block):
        part = entries[i : i + per_block]
        index.append((part[-1][0] + b"\xff", add(block(part))))
    handles = add(block([])) + add(block(index, restart_every=1))
    return out + handles.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def entry(array: NDArray[Any], offset: int, shard: int = 0, **changes: Any) -> bytes:
    """A BundleEntryProto."""
    types = {"f4": 1, "f8": 2, "i4": 3, "i8": 9, "f2": 19}
    data = array.tobytes()
    shape = b"".join(field(2, field(1, size)) for size in array.shape)
    values: dict[str, Any] = {
        "dtype": types[array.dtype.str[1:]],
        "shape": shape,
        "shard": shard,
        "offset": offset,
        "size": len(data),
    } | changes
    out = b"".join(field(i, values[name]) for i, name in enumerate(("dtype", "shape"), 1))
    out += b"".join(field(i, values[name]) for i, name in enumerate(("shard", "offset", "size"), 3))
    out += number(6 << 3 | 5) + bytes(4)
    return out + (field(7, changes["slices"]) if "slices" in changes else b"")


def write_bundle(
    prefix: Path,
    variables: Variables,
    *,
    shards: int = 1,
    change: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """PREFIX.index and its data files; `change` names fields of an entry to write otherwise."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data = [b""] * shards
    entries = [(b"", field(1, shards) + field(3, field(1, 1)))]
    for i, name in enumerate(sorted(variables)):
        array = np.asarray(variables[name])
        shard = i % shards
        changes = (change or {}).get(name, {})
        message = entry(array, **{"offset": len(data[shard]), "shard": shard, **changes})
        entries.append((name.encode(), message))
        data[shard] += array.tobytes()
    for shard, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries))


# -- the releases ----------------------------------------------------------------------------------------


def gpt_variables(
    vocab: int, positions: int, width: int, layers: int, *, last_norm: bool, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Random variables by the names of their scopes, large enough for any mistake to show."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"wpe": (positions, width), "wte": (vocab, width)}
    sizes = {"c_attn": (width, 3 * width), "c_fc": (width, 4 * width)}
    for layer in range(layers):
        for name in BLOCK:
            scope, leaf = name.rsplit("/", 1)
            n_in, n_out = sizes.get(scope.split("/")[-1], (4 * width if "mlp" in scope else width, width))
            shapes[f"h{layer}/{name}"] = (1, n_in, n_out) if leaf == "w" else (n_out,)
    if last_norm:
        shapes |= {"ln_f/g": (width,), "ln_f/b": (width,)}
    return {
        f"model/{name}": ((1 if name.endswith("/g") else 0) + 0.3 * rng.standard_normal(shape)).astype("f4")
        for name, shape in shapes.items()
    }


def write_gpt2(folder: Path, *, width: int = 16, heads: int = 2, layers: int = 3) -> dict[str, NDArray[Any]]:
    """GPT-2's release in small: TensorFlow checkpoint, hparams.json, encoder.json and vocab.bpe."""
    folder.mkdir(parents=True, exist_ok=True)
    files = published("gpt2")
    (folder / "encoder.json").write_bytes(files["vocab.json"])
    (folder / "vocab.bpe").write_bytes(files["merges.txt"])
    sizes = {"n_vocab": len(json.loads(files["vocab.json"])), "n_ctx": 320, "n_embd": width}
    settings = sizes | {"n_head": heads, "n_layer": layers}
    (folder / "hparams.json").write_text(json.dumps(settings))
    variables = gpt_variables(sizes["n_vocab"], sizes["n_ctx"], width, layers, last_norm=True)
    write_bundle(folder / "model.ckpt", variables)
    state = 'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    (folder / "checkpoint").write_text(state)
    return variables


def write_openai_gpt(folder: Path, *, width: int = 64, layers: int = 2) -> dict[str, NDArray[Any]]:
    """OpenAI GPT's release in small: ten shards, params_shapes.json, encoder and merges."""
    folder.mkdir(parents=True, exist_ok=True)
    files = published("openai-gpt")
    (folder / "encoder_bpe_40000.json").write_bytes(files["vocab.json"])
    (folder / "vocab_40000.bpe").write_bytes(files["merges.txt"])
    words = len(json.loads(files["vocab.json"]))
    variables = gpt_variables(words, 320, width, layers, last_norm=False)
    (folder / "params_shapes.json").write_text(json.dumps([list(a.shape) for a in variables.values()]))
    numbers = np.concatenate([a.ravel() for a in variables.values()])
    for i, shard in enumerate(np.array_split(numbers, 10)):
        np.save(folder / f"params_{i}.npy", shard)
    return variables
