"""The shape of a CSV file, found before it is parsed: fields per record and the line where it begins."""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np

from trainwell.values.errors import DataError

NEWLINE, CARRIAGE_RETURN, QUOTE = 10, 13, 34
CHUNK_BYTES = 16 << 20
SEPARATORS = (",", ";", "\t", "|")


@dataclasses.dataclass(frozen=True)
class Scan:
    """One entry per record that is not blank; the header is record 0.

    Args:
        fields: number of fields, (R,).
        lines: line of the file at which the record begins, counted from 1, (R,).
    """

    fields: np.ndarray
    lines: np.ndarray


def separator_of(header: str, default: str) -> str:
    """Return the separator that occurs in the header: the default if it does, else the commonest."""
    if default in header:
        return default
    counts = {s: header.count(s) for s in SEPARATORS}
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] else default


def is_regular(data: bytes, separator: str, num_fields: int) -> bool:
    """Whether a quick look shows no record to be too short: no quotes or blank lines, all separators there.

    A record that is too long is left to the parser, which refuses it, but for the first.
    """
    sep = separator.encode()
    if num_fields < 2 or b'"' in data or b"\n\n" in data or b"\n\r" in data or data[:1].isspace():
        return False
    header = data.find(b"\n") + 1
    first = data[header : data.find(b"\n", header) % (len(data) + 1)]
    num_records = data.count(b"\n") + (not data.endswith(b"\n"))
    fits = data.count(sep) == num_records * (num_fields - 1)
    return fits and first.count(sep) == num_fields - 1


def scan(data: bytes, separator: str) -> Scan:
    """Count the fields of every record without parsing it.

    Quoted separators and newlines are told apart by the parity of the quotes before them, which is exact for
    files that quote whole fields (RFC 4180). Where that finds records of several widths, `csv` counts again.
    """
    ends, seps, newlines = _ends(data, ord(separator))
    starts = np.concatenate([[0], ends[:-1] + 1])
    fields = np.diff(seps, prepend=0) + 1
    lines = np.concatenate([[0], newlines[:-1]]) + 1
    kept = ~_blank(data, starts, ends, fields)
    found = Scan(fields[kept], lines[kept])
    if b'"' in data and found.fields.size and (found.fields != found.fields[0]).any():
        return _scan_slowly(data, separator)
    return found


def _ends(data: bytes, separator: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, per record, the offset of its end and the separators and newlines up to there."""
    buffer = np.frombuffer(data, np.uint8)
    quoted, num_seps, num_newlines = np.uint8(0), 0, 0
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    has_quotes = b'"' in data
    for start in range(0, len(buffer), CHUNK_BYTES):
        chunk = buffer[start : start + CHUNK_BYTES]
        is_newline, is_sep = chunk == NEWLINE, chunk == separator
        newline_at = np.flatnonzero(is_newline)
        if has_quotes:
            parity = np.bitwise_xor.accumulate((chunk == QUOTE).view(np.uint8)) ^ quoted
            quoted, outside = parity[-1], parity == 0
            is_newline, is_sep = is_newline & outside, is_sep & outside
        ends, sep_at = np.flatnonzero(is_newline), np.flatnonzero(is_sep)
        seps = num_seps + np.searchsorted(sep_at, ends)
        newlines = num_newlines + np.searchsorted(newline_at, ends, side="right")
        found.append((ends + start, seps, newlines))
        num_seps, num_newlines = num_seps + len(sep_at), num_newlines + len(newline_at)
    ends, seps, newlines = (np.concatenate(part) for part in zip(*found, strict=True))
    if not len(ends) or ends[-1] != len(buffer) - 1:  # the last line has no newline
        ends, seps = np.append(ends, len(buffer)), np.append(seps, num_seps)
        newlines = np.append(newlines, num_newlines + 1)
    return ends, seps, newlines


def _blank(data: bytes, starts: np.ndarray, ends: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Return which records hold nothing but white space; a parser passes over them."""
    blank = np.zeros(len(starts), bool)
    short = np.flatnonzero(fields == 1) if fields[0] > 1 else np.flatnonzero(ends - starts < 3)
    for i in short:
        blank[i] = not data[starts[i] : ends[i]].strip()
    return blank


def _scan_slowly(data: bytes, separator: str) -> Scan:
    fields: list[int] = []
    lines: list[int] = []
    line = 1
    reader = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator)
    try:
        for record in reader:
            if record and (len(record) > 1 or record[0].strip()):
                fields.append(len(record))
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"line {line}: {error}.") from None
    return Scan(np.array(fields), np.array(lines))
