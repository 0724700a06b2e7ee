#!/usr/bin/env python3
"""Reads a duralog directory: written from FORMAT.md alone, on Python's standard library.

    format_reader.py DIR

Prints `LSN<TAB>LENGTH<TAB>HEX` for each record, then where and why it stops: `end<TAB>LSN<TAB>clean`, `unclean`
or `torn`; or `damage<TAB>FILE<TAB>OFFSET<TAB>LSN<TAB>REASON`. Exit status 0, 1 for damage, 2 if it is no log.
"""
import os
import re
import stat
import struct
import sys

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data, start=0):
    """CRC-32C of `data`, continuing from the finished checksum `start`."""
    crc = start ^ 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


class Damage(Exception):
    """(file, offset, lsn, reason)"""


class NoLog(Exception):
    """Not a log, or not of this version."""


def read_file(directory, name):
    try:
        fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damage(name, 0, 0, f"cannot be opened: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Damage(name, 0, 0, "no regular file")
        return file.read()


def check_prefix(data, magic, name):
    """Section 3."""
    if len(data) < 24 or data[:8] != magic:
        raise Damage(name, 0, 0, "wrong magic")
    version, features, crc, zero = struct.unpack_from("<4I", data, 8)
    if crc != crc32c(data[:16]) or zero:
        raise Damage(name, 16, 0, "wrong checksum of the prefix")
    if version != 1 or features:
        raise NoLog(f"{name}: version {version}, features {features:#x}")


READY, ACTIVE, SEALED = 0, 1, 2


class Manifest:
    """Section 4."""

    def __init__(self, data):
        name = "MANIFEST"

        def need(condition, reason):
            if not condition:
                raise Damage(name, 0, 0, reason)

        check_prefix(data, b"duralogM", name)
        need(len(data) >= 36, "too short")
        (n,) = struct.unpack_from("<Q", data, 24)
        need(len(data) == 36 + n, "not as long as it says")
        (crc,) = struct.unpack_from("<I", data, 32 + n)
        need(crc == crc32c(data[: 32 + n]), "wrong checksum")
        body, at = data[32 : 32 + n], 0

        def take(form):
            nonlocal at
            need(at + struct.calcsize(form) <= n, "body too short")
            fields = struct.unpack_from(form, body, at)
            at += struct.calcsize(form)
            return fields

        (self.log_id,) = take("<16s")
        _, self.checkpoint, self.durable, self.next_id, self.next_base = take("<5Q")
        (closed,) = take("<B")
        need(closed in (0, 1), "malformed clean end")
        self.clean_end = take("<Q")[0] if closed else None
        (count,) = take("<Q")
        need(count * 44 == n - at, "not as many segments as it says")
        self.segments = [take("<QQQQIQ") for _ in range(count)]
        free, next_id, last = 0, 0, SEALED
        for id_, base, size, _, state, end in self.segments:
            need(size % 4096 == 0 and 16 << 10 <= size <= 4 << 30 and base % 4096 == 0, "impossible segment")
            need(base >= free and id_ >= next_id, "segments out of order")
            need(base + size <= self.next_base and id_ < self.next_id, "segment beyond the next one")
            follows = {SEALED: (SEALED, ACTIVE), ACTIVE: (READY,), READY: (READY,)}
            need(state in follows[last], "states out of order")
            fits = end % 8 == 0 and base + 4096 <= end <= base + size - 32
            need(fits if state == SEALED else end == 0, "impossible end")
            free, next_id, last = base + size, id_ + 1, state
        need(self.next_base <= 1 << 63, "positions out of range")
        need(self.checkpoint <= self.durable <= self.next_base, "positions out of order")
        if self.clean_end is not None:
            end = self.clean_end
            active = [s for s in self.segments if s[4] == ACTIVE]
            need(active and end % 8 == 0, "clean end without an active segment")
            need(active[0][1] + 4096 <= end <= active[0][1] + active[0][2] - 32, "clean end elsewhere")


RECORD, PART, MARK, END = 1, 2, 3, 4


class Segment:
    """Section 5."""

    def __init__(self, directory, log_id, entry):
        self.id, self.base, self.size, salt, self.state, self.end = entry
        self.name = f"{self.id:016x}.seg"
        data = read_file(directory, self.name)
        if data is None:
            raise Damage(self.name, 0, self.base, "missing")
        if len(data) != self.size:
            raise Damage(self.name, min(len(data), self.size), self.base, "wrong size")
        check_prefix(data, b"duralogS", self.name)
        (self.seed,) = struct.unpack_from("<I", data, 72)
        if self.seed != crc32c(data[:72]):
            raise Damage(self.name, 72, self.base, "wrong checksum of the header")
        if struct.unpack_from("<16s4Q", data, 24) != (log_id, self.id, self.base, self.size, salt):
            raise Damage(self.name, 24, self.base, "not the segment that the manifest names")
        self.data = data

    def frame(self, at):
        """The valid frame at offset `at` as (kind, payload, end), else None."""
        if at % 8 or at < 4096 or at + 8 > self.size:
            return None
        crc, word = struct.unpack_from("<2I", self.data, at)
        kind, n = word >> 28, word & 0x0FFFFFFF
        end = (at + 8 + n + 7) // 8 * 8
        if kind not in (RECORD, PART, MARK, END):
            return None
        if (at if kind == END else end) > self.size - 32:
            return None
        payload, lsn = self.data[at + 8 : at + 8 + n], self.base + at
        if kind in (MARK, END):
            if n != 16 or struct.unpack_from("<Q", payload)[0] != lsn:
                return None
            if kind == MARK and struct.unpack_from("<Q", payload, 8)[0] > lsn:
                return None
        position = (lsn // 8) & 0xFFFFFFFF
        if crc != crc32c(self.data[at + 4 : at + 8 + n], self.seed ^ position):
            return None
        return kind, payload, end

    def marks_beyond(self, at):
        """The highest durable LSN of a valid mark at or beyond `at`, or 0."""
        word, highest = struct.pack("<I", MARK << 28 | 16), 0
        found = self.data.find(word, max(at, 4096) + 4)
        while found != -1:
            frame = self.frame(found - 4)
            if frame:
                highest = max(highest, struct.unpack_from("<Q", frame[1], 8)[0])
            found = self.data.find(word, found + 1)
        return highest


def walk(directory, out):
    """Section 6. Prints records; returns the end and how it was found."""
    data = read_file(directory, "MANIFEST")
    if data is None:
        if any(re.fullmatch("[0-9a-f]{16}[.]seg", name) for name in os.listdir(directory)):
            raise Damage("MANIFEST", 0, 0, "missing, but there are segments")
        raise NoLog("no log here")
    manifest = Manifest(data)
    segments = manifest.segments
    for entry in segments:
        Segment(directory, manifest.log_id, entry)
    end = 0
    for index, entry in enumerate(segments):
        segment = Segment(directory, manifest.log_id, entry)
        bound = segment.end if segment.state == SEALED else manifest.clean_end
        bound = None if bound is None else bound - segment.base
        at, batch = 4096, []
        while True:
            if at == bound:
                if batch:
                    raise Damage(segment.name, batch[0][0], segment.base + batch[0][0], "incomplete batch")
                break
            frame = segment.frame(at)
            kind = frame[0] if frame else None
            if bound is not None:
                if frame is None or kind == END or (kind == MARK and batch):
                    raise Damage(segment.name, at, segment.base + at, "no valid record where one must be")
                if frame[2] > bound:
                    raise Damage(segment.name, at, segment.base + at, "a frame beyond the end")
            elif kind == END and not batch:
                following = segments[index + 1][0] if index + 1 < len(segments) else None
                if struct.unpack_from("<Q", frame[1], 8)[0] != following:
                    raise Damage(segment.name, at, segment.base + at, "names another next segment")
                break
            elif frame is None or kind == END or (kind == MARK and batch):
                cut = batch[0][0] if batch else at
                vouched = max(manifest.durable, segment.marks_beyond(cut))
                for later in segments[index + 1 :]:
                    vouched = max(vouched, Segment(directory, manifest.log_id, later).marks_beyond(4096))
                if vouched > segment.base + cut:
                    raise Damage(segment.name, cut, segment.base + cut, "damaged, and vouched for from beyond")
                nothing = not batch and segment.data[at : at + 8] == bytes(8)
                return segment.base + cut, "unclean" if nothing else "torn"
            if kind in (RECORD, PART):
                batch.append((at, frame[1]))
            if kind == RECORD:
                for offset, payload in batch:
                    out.write(f"{segment.base + offset}\t{len(payload)}\t{payload.hex()}\n")
                batch = []
            at = frame[2]
        end = segment.base + at
        if segment.state == ACTIVE and manifest.clean_end is not None:
            break
    return end, "clean"


def main():
    if len(sys.argv) != 2:
        print("usage: format_reader.py DIR", file=sys.stderr)
        return 2
    assert crc32c(b"123456789") == 0xE3069283
    try:
        end, how = walk(sys.argv[1], sys.stdout)
        print(f"end\t{end}\t{how}")
        return 0
    except Damage as damage:
        name, offset, lsn, reason = damage.args
        print(f"damage\t{name}\t{offset}\t{lsn}\t{reason}")
        return 1
    except (NoLog, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
