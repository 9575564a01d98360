"""Turns the letters of Kassel and Taskar into two files in the IDX format, for `--data idx`.

    python letters.py letter.data.gz

writes letters-images-idx3-ubyte.gz and letters-labels-idx1-ubyte.gz into the current folder.

The input is the file of http://ai.stanford.edu/~btaskar/ocr, compressed by gzip or not. A line is a
letter, with tabs between its fields: id, letter (a to z), next_id, word_id, position, fold, and 128
pixels of 0 or 1, 16 rows of 8.

IDX is the format of MNIST: the bytes 0, 0, 8 (numbers are bytes) and the number of dimensions; each
dimension in four bytes, the highest first; then the numbers. Images are n x 16 x 8, with ink 255.
Labels are n numbers from 0 (a) to 25 (z). The order is that of the file.
"""

import gzip
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

BEFORE, ROWS, COLUMNS = 6, 16, 8
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def refuse(message):
    """Ends the program, which has written nothing."""
    print(message, file=sys.stderr)
    sys.exit(2)


def letter(line, number, path):
    """The label and the pixels of a line."""
    fields = line.rstrip("\n").rstrip("\t").split("\t")
    if len(fields) != BEFORE + ROWS * COLUMNS:
        refuse(f"{path}: line {number} has {len(fields)} fields, {BEFORE + ROWS * COLUMNS} are accepted")
    label, pixels = fields[1], fields[BEFORE:]
    if len(label) != 1 or label not in LETTERS:
        refuse(f"{path}: line {number} has the letter {label!r}, a to z are accepted")
    if not set(pixels) <= {"0", "1"}:
        refuse(f"{path}: line {number} has pixels other than 0 and 1")
    return LETTERS.index(label), bytes(255 * int(pixel) for pixel in pixels)


def write(name, shape, numbers):
    """A file in the IDX format."""
    header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    # Without a date the same letters are the same bytes.
    Path(name).write_bytes(gzip.compress(header + numbers, mtime=0))


def main():
    if len(sys.argv) != 2:
        refuse("usage: python letters.py letter.data.gz")
    path = sys.argv[1]
    try:
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        refuse(f"{path}: {error}")
    letters = [letter(line, number, path) for number, line in enumerate(text.splitlines(), 1)]
    if not letters:
        refuse(f"{path}: the file is empty")
    labels = bytes(label for label, _ in letters)
    write("letters-images-idx3-ubyte.gz", (len(letters), ROWS, COLUMNS), b"".join(pixels for _, pixels in letters))
    write("letters-labels-idx1-ubyte.gz", (len(letters),), labels)
    counts = Counter(labels)
    print(len(letters), "letters,", ", ".join(f"{LETTERS[label]} {counts[label]}" for label in sorted(counts)))


if __name__ == "__main__":
    main()
