"""Text: one or more columns of prose of a table, cut into tokens."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trainwell.data.columns import TEXT_CHARS, TEXT_WORDS
from trainwell.data.notes import info, warning
from trainwell.data.read import SUFFIXES, read_table
from trainwell.data.samples.files import PART_COLUMNS, Items, is_missing, items_of_frame, peek, where_of
from trainwell.data.samples.kind import Arrays, Kind, SampleData, register_transform
from trainwell.data.samples.parts import (
    encode_labels,
    fingerprint_of,
    joined,
    kind_note,
    split_items,
    titles_of,
)
from trainwell.values.errors import DataError, UsageError, did_you_mean
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec, Task

if TYPE_CHECKING:
    import pandas as pd

JOINED = "\0text"
VOCABULARY = 8000
MAX_TOKENS = 256
COVERED = 0.98
"""Share of the training texts that must fit into the length, up to MAX_TOKENS."""
BLOCK_ROWS = 4096
STEP_TOKENS = 16
"""Rows for a backbone are as long as the longest training text, up to the next multiple of this."""


@dataclasses.dataclass(frozen=True)
class TextTransform:
    """What turns texts into tokens.

    Args:
        columns: joined by a blank, in this order.
        tokenizer: of the `tokenizers` library, as JSON; fitted on the training part or that of a backbone.
        length: tokens of a row; longer texts are cut, shorter ones filled with 0.
        vocabulary: number of tokens.
        target: name of the column of the labels.
        padding: the token that a backbone fills rows with; it and 0, which fills ours, change places.
    """

    columns: tuple[str, ...]
    tokenizer: str
    length: int
    vocabulary: int
    target: str = ""
    padding: int = 0

    @property
    def spec(self) -> InputSpec:
        return InputSpec(kind="text", shape=(self.length,), vocabulary=self.vocabulary)

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of texts, (N, length) int64, 0 where a text has ended."""
        found = require_tokenizers().Tokenizer.from_str(self.tokenizer)
        found.no_padding()
        found.enable_truncation(self.length)
        rows = np.zeros((len(texts), self.length), np.int64)
        for i, encoding in enumerate(found.encode_batch(list(texts))):
            rows[i, : len(encoding.ids)] = self._ours(encoding.ids)
        return rows

    def _ours(self, ids: list[int]) -> list[int]:
        if not self.padding:
            return ids
        places = {0: self.padding, self.padding: 0}
        return [places.get(i, i) for i in ids]

    def batches(self, source: Any) -> Iterator[Arrays]:
        texts = joined_texts(_rows_of(source, self.columns), self.columns, where_of(source))[0]
        for start in range(0, len(texts), BLOCK_ROWS):
            yield (self.tokens(texts[start : start + BLOCK_ROWS]),)

    def names(self, source: Any) -> Sequence[str]:
        return ()

    def labelled(self, source: Any, task: Task) -> Iterator[tuple[Arrays, np.ndarray]]:
        frame = frame_of(source)
        where = where_of(source)
        if self.target and self.target not in frame.columns:
            held = ", ".join(map(str, frame.columns))
            raise DataError(
                f"{where} has no column '{self.target}', which holds the labels (it has: {held})."
            )
        items, texts, _ = _items(frame, self.columns, self.target or None, where)
        yield (self.tokens(texts),), encode_labels(task, items, np.arange(len(items)))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "text", **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TextTransform:
        held = {k: v for k, v in data.items() if k != "kind"}
        return cls(**{**held, "columns": tuple(held["columns"])})


register_transform("text", TextTransform)


def require_tokenizers() -> Any:
    """Return the `tokenizers` library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise UsageError("text needs an extra: pip install 'trainwell[text]'.") from None
    return tokenizers


class Texts(Kind):
    """Prose: reviews, questions, news."""

    name: ClassVar[str] = "text"
    options: ClassVar[tuple[str, ...]] = ("text", "length", "longest", "tokenizer", "padding")

    @classmethod
    def claims(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> str:
        frame = peek(source)
        if frame is None:
            return ""
        if options.get("text"):
            return "as asked for by --text"
        columns = text_columns(frame, target)
        return f"all that is left beside the target is prose: {', '.join(columns)}" if columns else ""

    @classmethod
    def prepare(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> SampleData:
        require_tokenizers()
        frame = frame_of(source)
        asked = options.get("text")
        columns = tuple([asked] if isinstance(asked, str) else asked or text_columns(frame.head(512), target))
        found, texts, notes = {}, [], []
        sources = {"train": source, "val": options.get("val"), "test": options.get("test")}
        for name, part in sources.items():
            if part is not None:
                own = frame if name == "train" else frame_of(part)
                found[name], some, said = _items(own, columns, target, where_of(part))
                texts += some
                notes += said
        items, parts = joined(found)
        split = split_items(items, parts, np.arange(len(items)), options)
        train = [texts[i] for i in split.rows["train"].tolist()]
        transform = dataclasses.replace(_transform(columns, train, options), target=items.target)
        tokens = transform.tokens(texts)
        made: dict[str, tuple[Arrays, np.ndarray]] = {
            n: ((tokens[rows],), split.targets[n]) for n, rows in split.rows.items()
        }
        cut = float((tokens[split.rows["train"], -1] != 0).mean())
        size = f"{transform.vocabulary:,} tokens, {transform.length} a row"
        notes = [
            kind_note("text", f"{', '.join(columns)} of {len(items)} rows"), *split.notes, *notes,
            info("tokens", size + (f"; {cut:.1%} of the texts reach that length or are cut" if cut else "")),
        ]  # fmt: skip
        digests = [hashlib.blake2b(t.encode(errors="replace"), digest_size=16).hexdigest() for t in texts]
        print_ = fingerprint_of(digests, split, transform.to_dict())
        titles = titles_of(texts, split)
        return SampleData(
            cls.name, split.task, transform, made, split.provenance, print_, tuple(notes), titles
        )

    @classmethod
    def recipe(cls, preset: str, task: Task, num_rows: int, spec: InputSpec) -> Recipe:
        from trainwell.data.samples.presets import text_recipe

        return text_recipe(preset, num_rows)


def frame_of(source: Any) -> pd.DataFrame:
    """Return a table as a frame."""
    import pandas as pd

    if isinstance(source, str | Path) and str(source).lower().endswith(".parquet"):
        return pd.read_parquet(source)
    return pd.DataFrame(dict(read_table(source).columns))


def _rows_of(source: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Return a source to predict as a frame; a list or a Series of texts is the first column."""
    import pandas as pd

    if isinstance(source, str) and not source.lower().endswith(SUFFIXES) and not Path(source).exists():
        raise UsageError(
            f"{source!r} is the name of no file; a text to predict stands in a list: [{source[:40]!r}]."
        )
    if isinstance(source, pd.Series | np.ndarray) and source.ndim == 1:
        source = source.tolist()
    if isinstance(source, list | tuple) and source and all(isinstance(text, str) for text in source):
        return pd.DataFrame({name: list(source) if name == columns[0] else "" for name in columns})
    return frame_of(source)


def text_columns(frame: pd.DataFrame, target: str | None) -> list[str]:
    """Return the columns of prose if nothing else is left beside the target and the part; else none."""
    found = []
    for name in frame.columns:
        cells = [c for c in frame[name].tolist() if not is_missing(c)]
        if str(name) == target or str(name).lower() in PART_COLUMNS:
            continue
        if not cells or not all(isinstance(c, str) for c in cells) or 2 * len(set(cells)) < len(cells):
            return []
        if (
            np.mean([c.count(" ") + 1 for c in cells]) < TEXT_WORDS
            and np.mean([len(c) for c in cells]) < TEXT_CHARS
        ):
            return []
        found.append(str(name))
    return found if target is not None else []


def joined_texts(frame: pd.DataFrame, columns: Sequence[str], where: str) -> tuple[list[str], int]:
    """Return the text of every row, and how many rows have none.

    Raises:
        UsageError: there is no such column. DataError: it holds something else.
    """
    for name in columns:
        if name not in frame.columns:
            hint = did_you_mean(name, map(str, frame.columns))
            held = ", ".join(map(str, frame.columns))
            raise UsageError(f"{where} has no column '{name}' of texts (it has: {held}).{hint}")
    read = [_texts_of(frame[name].tolist(), name, where) for name in columns]
    texts = [" ".join(filter(None, row)) for row in zip(*read, strict=True)]
    return texts, sum(not t.strip() for t in texts)


def _texts_of(cells: Sequence[Any], name: str, where: str) -> list[str]:
    """Return the cells of a column as texts; the words of a list are joined by blanks.

    Raises:
        DataError: a cell holds something else than text, a number or words.
    """
    texts = []
    for i, cell in enumerate(cells):
        words = cell.tolist() if isinstance(cell, np.ndarray) else cell
        if is_missing(cell):
            texts.append("")
        elif isinstance(words, list | tuple) and all(isinstance(w, str) for w in words):
            texts.append(" ".join(words))
        elif isinstance(cell, bytes):
            texts.append(cell.decode(errors="replace"))
        elif isinstance(cell, list | tuple | np.ndarray | Mapping | set):
            raise DataError(
                f"{where}, row {i} (from 0): the column '{name}' holds {type(cell).__name__}, expected text: "
                f"{str(cell)[:60]}"
            )
        else:
            texts.append(str(cell))
    return texts


def _items(
    frame: pd.DataFrame, columns: Sequence[str], target: str | None, where: str
) -> tuple[Items, list[str], list[Any]]:
    texts, empty = joined_texts(frame, columns, where)
    if empty == len(texts):
        raise DataError(f"{where}: no row has a text in {', '.join(columns)}.")
    rest = frame.drop(columns=[c for c in columns if c != target]).assign(**{JOINED: texts})
    items = items_of_frame(rest, JOINED, target, where, lambda cell: str(cell).encode())
    names = [f"row {i} (from 0)" for i in range(len(texts))]
    notes = [warning("empty", f"{where}: {empty} rows have no text")] if empty else []
    return dataclasses.replace(items, names=names), texts, notes


def _transform(columns: tuple[str, ...], train: Sequence[str], options: Mapping[str, Any]) -> TextTransform:
    """Return the transform: of the backbone's tokenizer, or of one that is fitted on the training texts."""
    library = require_tokenizers()
    if options.get("tokenizer"):
        found = library.Tokenizer.from_file(str(options["tokenizer"]))
    else:
        found = library.Tokenizer(library.models.BPE(unk_token="[UNK]"))
        found.normalizer = library.normalizers.BertNormalizer()
        found.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
        trainer = library.trainers.BpeTrainer(
            vocab_size=VOCABULARY, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False
        )
        found.train_from_iterator(train, trainer)
    found.no_padding()
    found.no_truncation()
    sizes = sorted(len(e.ids) for e in found.encode_batch(list(train)))
    fits = sizes[min(len(sizes) - 1, int(COVERED * len(sizes)))]
    length = int(options.get("length") or max(4, min(MAX_TOKENS, fits)))
    if options.get("longest") and not options.get("length"):  # of a backbone: nothing is cut that it can read
        length = min(int(options["longest"]), -(-sizes[-1] // STEP_TOKENS) * STEP_TOKENS)
    padding = int(options.get("padding") or 0)
    return TextTransform(columns, found.to_str(), length, found.get_vocab_size(), padding=padding)
