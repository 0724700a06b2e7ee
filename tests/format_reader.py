#!/usr/bin/env python3
"""Reads a duralog directory; written from FORMAT.md alone ("§" below is a section of it).

usage: format_reader.py [--notes] DIR | --self-test

Prints `LSN<TAB>LENGTH<TAB>HEX` for each record, then one last line:
`end<TAB>LSN<TAB>clean|unclean|torn` (exit status 0) or
`damage<TAB>FILE<TAB>OFFSET<TAB>LSN<TAB>reason` (1; LSN 0 if it is about no position).
With --notes, before an `end`: `metadata<TAB>HEX`, `archived<TAB>LSN` if so, and `consumer<TAB>LSN<TAB>HEX` each.
Exit status 2, with a message on stderr: usage, no log, an unsupported version, no access.
"""
import os
import re
import stat
import struct
import sys
from collections import namedtuple

PAGE, ROOM, TOP = 4096, 32, 2**63  # §5 header block; §5 room for an end frame and zeros; §9
RECORD, PART, MARK, END, NOTE = 1, 2, 3, 4, 5  # §5 kinds
READY, ACTIVE, SEALED = 0, 1, 2  # §4 states
MARK_WORD = struct.pack("<I", MARK << 28 | 16)
SEGMENT_NAME = re.compile(r"([0-9a-f]{16})\.seg")  # §2
BUFFER = 1 << 20
MANIFEST_MOST = 256 << 20  # a limit of this reader only

Entry = namedtuple("Entry", "id base size salt state end")  # §4, a segment in the manifest
Manifest = namedtuple("Manifest", "log_id durable next_id next_base clean_end segments notes noted")
# Where the walk of one segment stopped: `at` is the offset it got to, `x` the start of the batch
# that was open there, else the same; `next` the id in the end frame, if that is what stopped it.
Stop = namedtuple("Stop", "whole at x reason next", defaults=[None])


class Damage(Exception):
    """file, offset, lsn, reason"""


class Refused(Exception):
    """no log, or not one for this reader"""


class BadFrame(Exception):
    """why the frame is not valid"""


# CRC-32C (head of FORMAT.md): a table by bytes, and two by pairs of bytes to do four at a time.
BYTE = list(range(256))
for _ in range(8):
    BYTE = [c >> 1 ^ (0x82F63B78 if c & 1 else 0) for c in BYTE]
PAIR = [BYTE[(BYTE[h & 255] ^ h >> 8) & 255] ^ BYTE[h & 255] >> 8 for h in range(65536)]
PAIR_THEN_TWO = [PAIR[c & 0xFFFF] ^ c >> 16 for c in PAIR]


def crc32c(data, crc=0):
    """crc32c_append(crc, data)"""
    crc ^= 0xFFFFFFFF
    fours = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", memoryview(data)[:fours]):
        crc ^= word
        crc = PAIR_THEN_TWO[crc & 0xFFFF] ^ PAIR[crc >> 16]
    for byte in data[fours:]:
        crc = BYTE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class File:
    """One regular file of the log, read through one buffer. `base` is the LSN of its offset 0."""

    def __init__(self, dir_fd, name, base=0):
        self.name, self.base, self.fd, self.start, self.buffer = name, base, -1, 0, b""
        try:  # §2: a symbolic link, or no regular file, is damage; never open a device or a pipe
            info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            raise self.damage(0, "the file is missing") from None
        if not stat.S_ISREG(info.st_mode):
            raise self.damage(0, "not a regular file")
        self.fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=dir_fd)
        self.length = os.fstat(self.fd).st_size

    def __del__(self):
        if self.fd >= 0:
            os.close(self.fd)

    def damage(self, offset, reason):
        return Damage(self.name, offset, self.base + offset, reason)

    def read(self, offset, count):
        if offset < self.start or offset + count > self.start + len(self.buffer):
            parts, have = [], 0
            want = max(count, min(BUFFER, self.length - offset))
            while have < want:
                parts.append(os.pread(self.fd, want - have, offset + have))
                have += len(parts[-1])
                if not parts[-1]:
                    raise self.damage(offset + have, "the file ends early")
            self.start, self.buffer = offset, b"".join(parts)
        return self.buffer[offset - self.start : offset - self.start + count]

    def check_prefix(self, magic):  # §3, and before anything that a newer version may change
        prefix = self.read(0, 24)
        version, features, crc = struct.unpack_from("<III", prefix, 8)
        if prefix[:8] != magic:
            raise self.damage(0, "wrong magic")
        if crc != crc32c(prefix[:16]) or any(prefix[20:]):
            raise self.damage(16, "wrong CRC of the prefix")
        if version != 1 or features != 0:
            raise Refused(f"{self.name}: unsupported: version {version}, features {features:#x}")


def sound_size(size):  # §9
    return size % PAGE == 0 and 16 << 10 <= size <= 4 << 30


class Segment(File):  # §5
    def read_header(self):
        """Checks what the file says about itself; returns (log id, entry)."""
        self.check_prefix(b"duralogS")
        header = self.read(0, 76)
        log_id, *numbers, self.seed = struct.unpack_from("<16s4QI", header, 24)
        if self.seed != crc32c(header[:72]):
            raise self.damage(72, "wrong CRC of the header")
        number, base, size, _ = numbers
        if number > TOP or base % PAGE or base > TOP - 2**32 or not sound_size(size):
            raise self.damage(40, "an impossible window")
        return log_id, Entry(*numbers, state=None, end=None)

    def frame(self, o):
        """The frame at offset `o`: (kind, payload, offset of the next). §5, its five rules."""
        if o % 8 or o < PAGE or o > self.length - ROOM:  # rules 1 and 3: no frame begins there
            raise BadFrame("no room for a frame")
        crc, word = struct.unpack("<II", self.read(o, 8))
        kind, n = word >> 28, word & 0x0FFFFFFF
        following = (o + 8 + n + 7) & ~7
        if not RECORD <= kind <= NOTE:
            raise BadFrame(f"no kind of frame: {kind}")
        if kind != END and following > self.length - ROOM:
            raise BadFrame("a frame beyond the end of the segment")
        lsn = self.base + o
        if kind in (MARK, END):
            if n != 16:
                raise BadFrame(f"a mark or end of wrong length: {n}")
            own, other = struct.unpack("<QQ", self.read(o + 8, 16))
            if own != lsn or (kind == MARK and other > lsn):
                raise BadFrame("a mark or end with a wrong LSN")
        body = self.read(o + 4, 4 + n)
        if crc != crc32c(body, self.seed ^ (lsn // 8 & 0xFFFFFFFF)):
            raise BadFrame("wrong CRC of a frame")
        return kind, body[4:], following

    def walk(self, bound, emit, notes, noted):  # §6, 2 and 3; `bound` is an offset, or None if open
        o, batch = PAGE, []
        while o != bound:
            x = batch[0][0] - self.base if batch else o
            try:
                kind, payload, following = self.frame(o)
            except BadFrame as bad:
                return Stop(False, o, x, str(bad))
            if bound is not None and following > bound:
                return Stop(False, o, x, "a frame crosses the end of the segment's frames")
            if kind == END:
                return Stop(False, o, x, "an end frame", struct.unpack("<QQ", payload)[1])
            if kind in (MARK, NOTE) and batch:  # §5 batches
                return Stop(False, o, x, "a mark or note inside a batch")
            if kind == NOTE and self.base + o >= noted:  # §5, notes
                notes.apply(payload)
            if kind in (RECORD, PART):
                batch.append((self.base + o, payload))
            if kind == RECORD:
                for record in batch:
                    emit(*record)
                batch = []
            o = following
        if batch:
            return Stop(False, o, batch[0][0] - self.base, "the end of the segment's frames")
        return Stop(True, o, o, "")

    def find_mark(self, start, x):
        """A valid mark at or beyond offset `start` whose durable LSN is above `x`: (LSN, durable)."""
        while start + 24 <= self.length - ROOM:  # pieces overlap, so that each mark is in one whole
            piece = self.read(start, min(BUFFER, self.length - ROOM - start))
            hit = piece.find(MARK_WORD)
            while hit >= 0:
                o = hit - 4  # `start` is a multiple of 8, so `o` is one in the piece and the file
                if o >= 0 and o % 8 == 0 and o + 24 <= len(piece):
                    own, durable = struct.unpack_from("<QQ", piece, o + 8)
                    if own == self.base + start + o and x < durable <= own:  # the CRC comes last
                        crc = int.from_bytes(piece[o : o + 4], "little")
                        if crc == crc32c(piece[o + 4 : o + 24], self.seed ^ (own // 8 & 0xFFFFFFFF)):
                            return own, durable
                hit = piece.find(MARK_WORD, hit + 1)
            start += len(piece) - 16 & ~7  # the last place that was looked at is 24 from the end
        return None


class Notes:  # §5, and the end of a manifest's body
    def __init__(self):
        self.metadata, self.archived, self.consumers = b"", None, {}

    def read(self, data):
        """Takes what a manifest says; whether it is valid."""
        at = 0

        def take(n):
            nonlocal at
            at += n
            return data[at - n : at] if at <= len(data) else None

        def number():
            piece = take(8)
            return TOP + 1 if piece is None else int.from_bytes(piece, "little")

        n = number()
        self.metadata = take(n) if n <= 4096 else None
        tag = take(1)
        if self.metadata is None or tag not in (b"\0", b"\1"):
            return False
        self.archived = number() if tag == b"\1" else None
        count, last = number(), b""
        if count > 1024:
            return False
        for _ in range(count):
            n = number()
            name = take(n) if 1 <= n <= 255 else None
            if not is_name(name) or name <= last:
                return False
            self.consumers[name], last = number(), name
        positions = [*self.consumers.values(), self.archived or 0]
        return at == len(data) and max(positions) <= TOP

    def apply(self, payload):
        what, rest = payload[:1], payload[1:]
        lsn = int.from_bytes(rest[:8], "little") if len(rest) >= 8 else TOP + 1
        if what == b"\1" and len(rest) <= 4096:
            self.metadata = rest
        elif what == b"\2" and lsn <= TOP and is_name(rest[8:]):
            if rest[8:] in self.consumers or len(self.consumers) < 1024:
                self.consumers[rest[8:]] = lsn
        elif what == b"\3":
            self.consumers.pop(rest, None)
        elif what == b"\4" and not rest:
            self.archived = None
        elif what == b"\4" and len(rest) == 8 and lsn <= TOP:
            self.archived = lsn

    def lines(self):
        yield f"metadata\t{self.metadata.hex()}"
        if self.archived is not None:
            yield f"archived\t{self.archived}"
        for name, position in sorted(self.consumers.items()):
            yield f"consumer\t{position}\t{name.hex()}"


def is_name(name):
    try:
        return name is not None and 1 <= len(name) <= 255 and bool(name.decode())
    except UnicodeDecodeError:
        return False


def read_manifest(dir_fd):  # §4
    names = os.listdir(dir_fd)
    if "MANIFEST" not in names:  # §6, 1
        if any(SEGMENT_NAME.fullmatch(name) for name in names):
            raise Damage("MANIFEST", 0, 0, "the file is missing, and there are segments")
        raise Refused("no log here")

    def need(true, reason, offset=0):
        if not true:
            raise Damage("MANIFEST", offset, 0, reason)

    slots = read_watermark(dir_fd)  # before the manifest: §6, 4
    file = File(dir_fd, "MANIFEST")
    file.check_prefix(b"duralogM")
    (n,) = struct.unpack("<Q", file.read(24, 8))
    need(file.length == 36 + n, "the file is not as long as it says", 24)  # rule 1
    if n > MANIFEST_MOST:
        raise Refused("the manifest is too long for this reader")
    data = file.read(0, 36 + n)
    need(crc32c(data[:-4]) == int.from_bytes(data[-4:], "little"), "wrong CRC", 32 + n)  # rule 2
    body = data[32:-4]
    need(n >= 65, "the body is too short", 24)
    log_id, generation, checkpoint, durable, next_id, next_base, tag = struct.unpack_from("<16s5QB", body)
    need(tag <= 1 and n >= 65 + 8 * tag, "no valid clean end", 32 + 56)
    clean_end = struct.unpack_from("<Q", body, 57)[0] if tag else None
    (count,) = struct.unpack_from("<Q", body, 57 + 8 * tag)
    at = 65 + 8 * tag
    need(44 * count <= n - at, "the body is shorter than its segments", 32 + at - 8)  # rule 3
    segments = [Entry._make(entry) for entry in struct.iter_unpack("<4QIQ", body[at : at + 44 * count])]
    notes = Notes()
    need(notes.read(body[at + 44 * count :]), "no valid notes", 32 + at + 44 * count)  # rules 3 and 8
    last_id, last_end, last_state, active = -1, 0, SEALED, None
    for i, s in enumerate(segments):
        where = 32 + at + 44 * i
        need(last_id < s.id < next_id, "the ids do not ascend", where)  # rule 4
        need(s.base % PAGE == 0 and s.base >= last_end, "a wrong base", where + 8)
        need(sound_size(s.size), "a wrong size", where + 16)
        last_id, last_end = s.id, s.base + s.size
        need(last_end <= next_base, "a window above the next base", where + 8)
        allowed = (SEALED, ACTIVE) if last_state == SEALED else (READY,)  # rule 5
        need(s.state in allowed, "a wrong state", where + 32)
        last_state, active = s.state, s if s.state == ACTIVE else active
        sound = sound_end(s, s.end) if s.state == SEALED else s.end == 0
        need(sound, "a wrong end of a segment", where + 36)  # rule 6
    need(next_base % PAGE == 0 and next_base <= TOP - (4 << 30), "a wrong next base", 32 + 48)
    need(max(next_id, generation) <= TOP, "a number is too high", 32 + 16)  # rule 4
    need(not tag or active and sound_end(active, clean_end), "a wrong clean end", 32 + 57)  # rule 6
    need(checkpoint <= durable <= next_base, "wrong order of positions", 32 + 24)  # rule 7
    need(not tag or durable <= clean_end, "a clean end below what was durable", 32 + 57)  # rule 7
    need(not tag or watermark(slots, log_id) <= clean_end, "not the newest: see WATERMARK")  # §6, 5
    need(watermark(slots, log_id) <= next_base, "not the newest: see WATERMARK")  # §4, the watermark
    noted, durable = durable, max(durable, watermark(slots, log_id))
    return Manifest(log_id, durable, next_id, next_base, clean_end, segments, notes, noted)


def read_watermark(dir_fd):  # §4, the two slots
    try:
        file = File(dir_fd, "WATERMARK")
    except (FileNotFoundError, Damage):
        return []
    return [file.read(at, 36) for at in (0, 512) if at + 36 <= file.length]


def watermark(slots, log_id):
    counts = lambda s: s[:8] == b"duralogW" and s[8:24] == log_id
    right = [s for s in slots if counts(s) and crc32c(s[:32]) == int.from_bytes(s[32:], "little")]
    return max((int.from_bytes(s[24:32], "little") for s in right), default=0)


def sound_end(s, end):  # §4, rule 6
    return end % 8 == 0 and s.base + PAGE <= end <= s.base + s.size - ROOM


def open_segment(dir_fd, log_id, entry):  # §5, "a segment is valid if and only if"
    file = Segment(dir_fd, f"{entry.id:016x}.seg", entry.base)
    found = file.read_header()
    if file.length != entry.size:
        raise file.damage(0, f"{file.length} bytes long instead of {entry.size}")
    if found != (log_id, entry._replace(state=None, end=None)):
        raise file.damage(24, "the header is not that of the segment in the manifest")
    return file


def is_lost(dir_fd, manifest, entry):  # §6, 1: nothing was ever in it
    if manifest.clean_end is None or entry.state != READY:
        return False
    try:
        open_segment(dir_fd, manifest.log_id, entry)
    except Damage:
        return True
    return False


def begins_frame(file, o):
    try:
        file.frame(o)
        return True
    except (Damage, BadFrame):
        return False


def check_newest(dir_fd, manifest):  # §6, "Is the manifest the newest?"
    for entry in manifest.segments if manifest.clean_end is not None else ():
        if entry.state == SEALED or is_lost(dir_fd, manifest, entry):
            continue
        try:
            file = open_segment(dir_fd, manifest.log_id, entry)
        except Damage:
            continue  # read_log reports it
        at = manifest.clean_end if entry.state == ACTIVE else entry.base + PAGE
        if begins_frame(file, at - entry.base):
            raise Damage("MANIFEST", 0, 0, f"the log went on at {at}, after its clean end")
    known = {s.id for s in manifest.segments if not is_lost(dir_fd, manifest, s)}
    for name in sorted(os.listdir(dir_fd)):
        match = SEGMENT_NAME.fullmatch(name)
        if not match or int(match[1], 16) in known:
            continue
        file = Segment(dir_fd, name)
        first = file.read(0, min(file.length, PAGE + 8))
        if first.startswith(b"duralogF") or not any(first):
            continue
        try:
            log_id, entry = file.read_header()
        except Damage:
            continue
        except Refused:
            if int(match[1], 16) < manifest.next_id:
                continue
            raise
        if log_id != manifest.log_id:
            raise file.damage(0, "a segment of another log")
        file.base, file.length = entry.base, entry.size
        if entry.id >= manifest.next_id and begins_frame(file, PAGE):
            raise Damage("MANIFEST", 0, 0, f"older than segment {entry.id}")


def vouched(dir_fd, manifest, i, file, x):
    """Why everything below `x` (an LSN in segment `i`) is not all that was committed. §6, 4"""
    if manifest.durable > x:
        return f"manifest or watermark says durable to {manifest.durable}"
    found = file.find_mark(x - file.base, x)
    for entry in manifest.segments[i + 1 :]:
        if found:
            break
        try:
            found = open_segment(dir_fd, manifest.log_id, entry).find_mark(PAGE, x)
        except Damage:
            pass  # read_log reports it
    return found and f"the mark at {found[0]} says durable to {found[1]}"


def walk_log(dir_fd, manifest, emit):  # §6 and its table
    for i, entry in enumerate(manifest.segments):
        end = {SEALED: entry.end, ACTIVE: manifest.clean_end, READY: None}[entry.state]
        file = open_segment(dir_fd, manifest.log_id, entry)
        # A sealed segment's notes are the manifest's already; read again they might undo later ones.
        notes = Notes() if entry.state == SEALED else manifest.notes
        stop = file.walk(None if end is None else end - entry.base, emit, notes, manifest.noted)
        reason = stop.reason
        if stop.x != stop.at:
            reason += f" at {entry.base + stop.at}, inside the batch that begins here"
        if end is not None:
            if not stop.whole:  # rows B and C
                raise file.damage(stop.x, reason)
            if entry.state == ACTIVE:  # row A
                return end, "clean"
            continue  # row A
        if stop.next is not None and stop.x == stop.at:
            if stop.next not in [s.id for s in manifest.segments[i + 1 : i + 2]]:  # row E
                raise file.damage(stop.at, f"an end frame names segment {stop.next:016x}")
            continue  # row D
        x = entry.base + stop.x
        evidence = vouched(dir_fd, manifest, i, file, x)
        if evidence:  # row F
            raise file.damage(stop.x, f"{reason}, but {evidence}")
        cut = stop.x != stop.at or any(file.read(stop.x, 8))
        return x, "torn" if cut else "unclean"  # row G
    return manifest.segments[-1].end if manifest.segments else manifest.next_base, "unclean"


def read_log(path, emit):
    """Calls `emit(lsn, payload)` for each record; returns (LSN, "clean" | "unclean" | "torn"), notes."""
    dir_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        manifest = read_manifest(dir_fd)
        check_newest(dir_fd, manifest)
        broken = None  # §6, 1: each must be valid, also one that the walk does not come to
        for entry in manifest.segments:
            try:
                if not is_lost(dir_fd, manifest, entry):
                    open_segment(dir_fd, manifest.log_id, entry)
            except Damage as damage:
                broken = broken or damage
        end = walk_log(dir_fd, manifest, emit)
        if broken:
            raise broken
        return end, manifest.notes
    finally:
        os.close(dir_fd)


def main(args):
    with_notes = args[:1] == ["--notes"]
    args = args[with_notes:]
    if len(args) != 1 or (args[0].startswith("-") and args[0] != "--self-test"):
        print("usage: format_reader.py [--notes] DIR | --self-test", file=sys.stderr)
        return 2
    if args[0] == "--self-test":
        return self_test()
    try:
        end, notes = read_log(args[0], lambda lsn, data: print(lsn, len(data), data.hex(), sep="\t"))
        lsn, how = end
        for line in notes.lines() if with_notes else ():
            print(line)
        print("end", lsn, how, sep="\t", flush=True)
        return 0
    except Damage as damage:
        print("damage", *damage.args, sep="\t", flush=True)
        return 1
    except (Refused, OSError, MemoryError) as error:
        print(f"format_reader.py: {error}", file=sys.stderr)
        return 2


def self_test():
    import contextlib, io, random, tempfile

    size, log_id = 16384, b"0123456789abcdef"
    le = lambda form, *values: struct.pack("<" + form, *values)
    sealed = lambda data: data + le("I", crc32c(data))
    prefix = lambda kind, version=1: sealed(b"duralog" + kind + le("II", version, 0)) + bytes(4)

    def put(name, data, at=None):
        with open(os.path.join(path, name), "wb" if at is None else "r+b") as file:
            file.seek(at or 0)
            file.write(data)

    def manifest(*states, durable=0, clean=None, ends={}, notes=le("QBQ", 0, 0, 0), **version):
        body = log_id + le("QQQQQ", 1, 0, durable, 9, 9 * size)
        body += le("B", 0) if clean is None else le("BQ", 1, clean)
        body += le("Q", len(states))
        for i, state in enumerate(states, 1):
            body += le("QQQQIQ", i, i * size, size, i * 77, state, ends.get(i, 0))
        body += notes
        put("MANIFEST", sealed(prefix(b"M", **version) + le("Q", len(body)) + body))

    def segment(i, *frames):
        """Frames are (kind, payload), a mark's being its durable LSN, an end's the id."""
        header = sealed(prefix(b"S") + log_id + le("QQQQ", i, i * size, size, i * 77))
        seed, data, at = crc32c(header[:72]), header.ljust(PAGE, b"\0"), []
        for kind, payload in frames:
            lsn = i * size + len(data)
            at.append(lsn)
            payload = le("QQ", lsn, payload) if kind in (MARK, END) else payload
            rest = le("I", kind << 28 | len(payload)) + payload
            frame = le("I", crc32c(rest, seed ^ lsn // 8)) + rest
            data += frame + bytes(-len(frame) % 8)
        put(f"{i:016x}.seg", data.ljust(size, b"\0"))
        return at + [i * size + len(data)]

    def run():
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            status = main([path])
        return status, [tuple(line.split("\t")) for line in out.getvalue().splitlines()]

    def expect(status, last, records):
        got = run()
        lines = [(str(lsn), str(len(data)), data.hex()) for lsn, data in records]
        assert got[0] == status and got[1][:-1] == lines, got
        assert [*map(str, last)] == [*got[1][-1][: len(last)]], (got[1][-1], last)

    assert crc32c(b"123456789") == 0xE3069283 == crc32c(b"56789", crc32c(b"1234"))
    with tempfile.TemporaryDirectory() as path:
        first, second = f"{1:016x}.seg", f"{2:016x}.seg"
        assert run() == (2, [])  # no log
        manifest()
        expect(0, ("end", 9 * size, "unclean"), [])
        # A record, a batch of three, an empty record; roll; a mark and a record; all open.
        datas = [b"one", b"two", b"", b"x" * 13, b""]
        a = segment(1, *zip([1, 2, 2, 1, 1], datas), (4, 2))
        b = segment(2, (3, a[5]), (1, b"last"))
        manifest(ACTIVE, READY)
        records = [*zip(a, datas), (b[1], b"last")]
        expect(0, ("end", b[2], "unclean"), records)
        manifest(SEALED, ACTIVE, ends={1: a[5]}, clean=b[2])
        expect(0, ("end", b[2], "clean"), records)
        for bound in a[3], a[3] + 8:  # the end in the batch (row B), or across its last frame (C)
            manifest(SEALED, ACTIVE, ends={1: bound})
            expect(1, ("damage", first, a[1] - size, a[1]), records[:1])
        manifest(SEALED, ACTIVE, ends={1: a[6]})  # an end frame before the end: row B
        expect(1, ("damage", first, a[5] - size, a[5]), records[:5])
        manifest(ACTIVE, READY)
        put(second, b"!", b[1] + 8 - 2 * size)  # a torn tail
        expect(0, ("end", b[1], "torn"), records[:5])
        manifest(ACTIVE, READY, durable=b[2])  # which the manifest vouches for
        expect(1, ("damage", second, b[1] - 2 * size, b[1]), records[:5])
        manifest(ACTIVE, READY)
        put(first, b"!", a[3] + 8 - size)  # in the batch, vouched for by the mark beyond
        expect(1, ("damage", first, a[1] - size, a[1]), records[:1])
        segment(2)  # the same without the mark: the batch goes as a whole
        expect(0, ("end", a[1], "torn"), records[:1])
        manifest(SEALED, ACTIVE, ends={1: a[5]})  # row B
        expect(1, ("damage", first, a[1] - size, a[1]), records[:1])
        manifest(ACTIVE, READY)
        for kind, value in (4, 2), (3, 0):  # a batch open at an end frame, or at a mark: row G
            c = segment(1, (1, b"r"), (2, b"p"), (kind, value))
            expect(0, ("end", c[1], "torn"), [(c[0], b"r")])
        c = segment(1, (1, b"r"), (4, 7))  # row E
        expect(1, ("damage", first, c[1] - size, c[1]), [(c[0], b"r")])
        c = segment(1, (1, b"r"))
        put(second, b"!", 50)  # a ready segment with a broken header, which the walk does not need
        expect(1, ("damage", second), [(c[0], b"r")])
        os.remove(os.path.join(path, second))
        os.symlink(first, os.path.join(path, second))
        expect(1, ("damage", second, 0, 2 * size, "not a regular file"), [(c[0], b"r")])
        os.remove(os.path.join(path, second))
        manifest(ACTIVE)
        segment(9, (1, b"newer than the manifest"))
        expect(1, ("damage", "MANIFEST", 0, 0, "older than segment 9"), [])
        put(f"{9:016x}.seg", prefix(b"S", 2))  # by a later version
        assert run() == (2, [])
        put(f"{9:016x}.seg", b"?")  # unreadable: let be
        expect(0, ("end", c[1], "unclean"), [(c[0], b"r")])
        segment(9)  # not in use
        expect(0, ("end", c[1], "unclean"), [(c[0], b"r")])
        manifest(ACTIVE, READY, clean=c[1])  # in a ready segment behind a clean end nothing was: lost, no damage
        expect(0, ("end", c[1], "clean"), [(c[0], b"r")])
        segment(2, (1, b"later"))
        expect(1, ("damage", "MANIFEST"), [])
        segment(2)
        manifest(ACTIVE, READY, clean=c[0])
        expect(1, ("damage", "MANIFEST", 0, 0, f"the log went on at {c[0]}, after its clean end"), [])
        os.remove(os.path.join(path, second))
        manifest(ACTIVE, version=2)
        assert run() == (2, [])
        os.remove(os.path.join(path, "MANIFEST"))
        expect(1, ("damage", "MANIFEST"), [])
        # Notes: the manifest's, and those of what is not sealed, the last one counting.
        mailer = lambda at: b"\2" + le("Q", at) + b"mailer"
        said = le("Q3sBQQ", 3, b"old", 1, 7, 1) + le("Q", 6) + b"mailer" + le("Q", 9)
        c = segment(1, (5, mailer(5)), (1, b"r"), (5, b"\1new"), (4, 2))
        d = segment(2, (5, mailer(50)), (5, b"\4"), (5, b"\6?"))
        for states, ends, noted, new, archived, at in (
            ((ACTIVE, READY), {}, 0, b"new", [], 50),
            ((SEALED, ACTIVE), {1: c[3]}, 0, b"old", [], 50),
            # Those below its durable LSN are in it already.
            ((ACTIVE, READY), {}, c[3], b"old", [], 50),
            ((ACTIVE, READY), {}, d[1], b"old", [], 9),
            ((ACTIVE, READY), {}, d[2], b"old", ["archived\t7"], 9),
        ):
            want = ["metadata\t" + new.hex(), *archived, f"consumer\t{at}\t" + b"mailer".hex()]
            manifest(*states, ends=ends, durable=noted, notes=said)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                assert main(["--notes", path]) == 0
            assert out.getvalue().splitlines()[1:-1] == want, out.getvalue()
        for bad in said[:-1], said + b"!", le("QBQ", 0, 2, 0), le("QBQ", 5000, 0, 0), le("QBQ", 0, 0, 1025):
            manifest(ACTIVE, READY, notes=bad)
            expect(1, ("damage", "MANIFEST"), [])
        # Any bytes: no traceback, and one last line.
        chance = random.Random(1)
        for turn in range(400):
            manifest(SEALED, ACTIVE, READY, ends={1: segment(1, (1, b"a"), (4, 2))[1]})
            b = segment(2, (2, b"b"), (1, b"c"), (4, 3))
            segment(3, (3, b[2]), (1, b"d" * 100))
            name = ("MANIFEST", first, second, f"{3:016x}.seg")[turn % 4]
            for _ in range(chance.randrange(1, 4)):
                put(name, chance.randbytes(1), chance.choice((0, PAGE)) + chance.randrange(220))
            status, lines = run()
            assert status == 2 or lines[-1][0] == ("end", "damage")[status], (status, lines)
    print("self-test: all right")
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)
