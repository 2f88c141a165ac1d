"""Forward passes by the C kernels: int8 weights, activations quantised row by row, on the CPU."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from convai.engine.backends import native
from convai.engine.backends.pack import ModelStruct, PackedModel, fits
from convai.engine.backends.pool import KVPool, SlotSpan
from convai.engine.backends.team import Team
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape


class _Pool(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("slots", ctypes.c_int32), ("capacity", ctypes.c_int32))


def available(config: Shape) -> bool:
    """Whether the kernels are installed, run on this processor, and fit the model's shape."""
    return fits(config) and native.library() is not None


class NativeBackend:
    """One call a step. A row's result does not depend on the rows beside it, bit for bit: each is quantised
    by itself, and the products are whole numbers.
    """

    cache_dtype = torch.float16

    def __init__(self, model: DoubleHeadsModel, threads: int | None = None) -> None:
        library = native.library()
        assert library is not None
        self._team = Team(threads)
        self._spent = (ctypes.c_double * 2)()
        self._packed = PackedModel(model, library)
        self._width, self._vocabulary = model.config.n_embd, model.config.vocab_size
        self._model = ctypes.byref(self._packed.struct)
        self._workspace = torch.empty(0, dtype=torch.uint8)
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        model_type = ctypes.POINTER(ModelStruct)
        # what takes no time is called without giving the interpreter to other threads, and waiting for it
        at_once = ctypes.PyDLL(library._name, handle=library._handle)
        self._size = at_once.convai_workspace
        self._size.argtypes = (model_type, integer, integer, integer)
        self._size.restype = ctypes.c_long
        self._forward = library.convai_forward
        self._forward.argtypes = (
            *(model_type, pointer, pointer, pointer, integer),
            *(pointer, integer, ctypes.POINTER(_Pool), integer, pointer, integer, pointer, pointer),
        )
        self._forward.restype = ctypes.c_long
        self._logits = library.convai_logits
        self._logits.argtypes = (model_type, pointer, integer, pointer, integer, pointer, pointer)
        self._logits.restype = None
        self._draw_size = at_once.convai_draw_workspace
        self._draw_size.argtypes = (integer, integer, integer)
        self._draw_size.restype = ctypes.c_long
        self._draw = library.convai_draw
        self._draw.argtypes = (
            *(pointer, integer, integer, pointer, pointer, pointer),
            *(pointer, integer, pointer, pointer, integer, pointer, integer, pointer, pointer),
        )
        self._draw.restype = None

    def forward(
        self, words: Tensor, positions: Tensor, segments: Tensor, spans: Sequence[SlotSpan], pool: KVPool
    ) -> Tensor:
        """As InferenceModel.forward, the spans checked already. Raises IndexError for an unknown id."""
        rows = words.shape[0]
        threads = self._team.size()
        flat: list[int] = []
        first = places = asked = 0
        for span in spans:
            flat += (span.slot, span.start, span.count, first, span.asked)
            first += span.count
            asked += span.asked
            places = max(places, span.start + span.count)
        described = (ctypes.c_int32 * len(flat))(*flat)
        ids = [_plain(t) for t in (words, positions, segments)]
        out = torch.empty(rows, self._width)
        bad = self._forward(
            self._model,
            *(t.data_ptr() for t in ids),
            rows,
            described,
            len(spans),
            ctypes.byref(_Pool(pool.data.data_ptr(), pool.slots, pool.capacity)),
            places,
            self._memory(self._size(self._model, rows, places, threads)),
            threads,
            out.data_ptr(),
            self._spent,
        )
        if bad >= 0:
            word, position, segment = (int(t[bad]) for t in ids)
            raise IndexError(f"the model has no word {word}, position {position} or segment {segment}")
        self._team.tell(threads, *self._spent)
        return out if asked == rows else out[:asked]

    def lm_logits(self, hidden: Tensor) -> Tensor:
        """As InferenceModel.lm_logits."""
        if hidden.dtype != torch.float32 or not hidden.is_contiguous():
            hidden = hidden.to(torch.float32).contiguous()
        rows, threads = hidden.shape[0], self._team.size(brief=True)
        out = torch.empty(rows, self._vocabulary)
        memory = self._memory(self._size(self._model, rows, 1, threads))
        self._logits(self._model, hidden.data_ptr(), rows, memory, threads, out.data_ptr(), self._spent)
        self._team.tell(threads, *self._spent)
        return out

    def draw(
        self,
        logits: Tensor,
        temperatures: Sequence[float],
        masses: Sequence[float],
        draws: Sequence[float],
        banned: Sequence[Sequence[int]],
        forbidden: Tensor,
    ) -> tuple[list[int], list[float]]:
        """As convai.engine.draw.PlainDraw: a row is read a few times, and nothing is sorted."""
        rows, width = logits.shape
        flat = [token for tokens in banned for token in tokens]
        ends = list(itertools.accumulate(map(len, banned)))
        most = len(forbidden) + max(map(len, banned))
        threads = min(self._team.size(), rows)
        tokens, log_probs = (ctypes.c_int32 * rows)(), (ctypes.c_float * rows)()
        self._draw(
            logits.data_ptr(),
            rows,
            width,
            (ctypes.c_float * rows)(*temperatures),
            (ctypes.c_double * rows)(*masses),
            (ctypes.c_double * rows)(*draws),
            forbidden.data_ptr(),
            len(forbidden),
            (ctypes.c_int64 * len(flat))(*flat),
            (ctypes.c_int32 * rows)(*ends),
            most,
            self._memory(self._draw_size(width, most, threads)),
            threads,
            tokens,
            log_probs,
        )
        return list(tokens), list(log_probs)

    def _memory(self, size: int) -> int:
        """The workspace, aligned to 64 bytes; it grows to the largest batch seen."""
        if self._workspace.numel() < size + 64:
            self._workspace = torch.empty(size + 64, dtype=torch.uint8)
        address = self._workspace.data_ptr()
        return address + -address % 64


def _plain(ids: Tensor) -> Tensor:
    """`ids` as int64, one after another, on the processor; as they are, if they are so."""
    if ids.dtype == torch.int64 and ids.device.type == "cpu" and ids.is_contiguous():
        return ids
    return ids.to("cpu", torch.int64).contiguous()
