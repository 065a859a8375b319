# SPDX-License-Identifier: Apache-2.0
"""As much of bpf(2) as is needed to fill kernel tables; map flags and types as linux/bpf.h has them."""

import ctypes
import errno
import os
import platform
from dataclasses import dataclass

SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
LOOKUP, OBJ_GET, MAP_FD_BY_ID, INFO, UPDATE_BATCH, DELETE_BATCH = 1, 7, 14, 15, 26, 27
HASH, LRU_HASH, LPM_TRIE, ARRAY_OF_MAPS = 1, 9, 11, 12
ATTRIBUTE_BYTES = 128
BATCH = 4096

libc = ctypes.CDLL(None, use_errno=True)


class Attribute(ctypes.Structure):
    """union bpf_attr as words; each command has its own order of them."""

    _fields_ = [("words", ctypes.c_uint32 * (ATTRIBUTE_BYTES // 4))]


@dataclass(frozen=True)
class Info:
    """struct bpf_map_info, its beginning."""

    kind: int
    identifier: int
    key_size: int
    value_size: int
    capacity: int


def call(command, words):
    attribute = Attribute()
    for place, word in enumerate(words):
        attribute.words[place] = word & 0xffffffff
    result = libc.syscall(SYSCALL, command, ctypes.byref(attribute), ATTRIBUTE_BYTES)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, attribute


def pointer(buffer):
    address = ctypes.addressof(buffer)
    return [address & 0xffffffff, address >> 32]


def open_pin(path):
    name = ctypes.create_string_buffer(str(path).encode())
    return call(OBJ_GET, [*pointer(name), 0, 0])[0]


def open_id(identifier):
    return call(MAP_FD_BY_ID, [identifier])[0]


def info(descriptor):
    buffer = (ctypes.c_uint32 * 32)()
    call(INFO, [descriptor, ctypes.sizeof(buffer), *pointer(buffer)])
    return Info(*buffer[:5])


def inner_maps(descriptor, facts):
    """Ids of the maps in an array of maps."""
    found = []
    for index in range(facts.capacity):
        key, value = ctypes.c_uint32(index), ctypes.c_uint32()
        try:
            call(LOOKUP, [descriptor, 0, *pointer(key), *pointer(value), 0, 0])
            found.append(value.value)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
    return found


def batch(command, descriptor, facts, keys, count):
    """Writes zeros under the keys, or deletes them; how many were done before it failed, and by what."""
    key_buffer = (ctypes.c_char * len(keys)).from_buffer_copy(keys)
    values = (ctypes.c_char * (facts.value_size * count))()
    try:
        words = [0, 0, 0, 0, *pointer(key_buffer), *pointer(values), count, descriptor, 0, 0, 0, 0]
        _, attribute = call(command, words)
        return attribute.words[8], 0
    except OSError as error:
        return 0, error.errno


def random_keys(facts, count):
    """Keys that nothing has; those of a longest-prefix table are whole addresses."""
    if facts.kind != LPM_TRIE:
        return os.urandom(facts.key_size * count)
    bits = (facts.key_size - 4) * 8
    return b"".join(bits.to_bytes(4, "little") + os.urandom(facts.key_size - 4) for _ in range(count))


class Filled:
    """A table that is filled to the brim, until it is emptied of what was put in."""

    def __init__(self, name, descriptor):
        self.name, self.descriptor, self.facts = name, descriptor, info(descriptor)
        self.keys, self.entries, self.ended_by = [], 0, 0

    def fill(self):
        """Until it takes no more, which E2BIG says, or twice its capacity in one that forgets the oldest."""
        while self.entries < 2 * self.facts.capacity:
            count = min(BATCH, self.facts.capacity)
            keys = random_keys(self.facts, count)
            done, self.ended_by = batch(UPDATE_BATCH, self.descriptor, self.facts, keys, count)
            self.keys.append((keys, count))
            self.entries += done
            if self.ended_by:
                return self.one_by_one(keys, count)
        return None

    def one_by_one(self, keys, count):
        """The last ones: a batch that fails does not always say how far it got."""
        size = self.facts.key_size
        for index in range(count):
            key = keys[index * size:(index + 1) * size]
            _, self.ended_by = batch(UPDATE_BATCH, self.descriptor, self.facts, key, 1)
            if self.ended_by:
                return

    def empty(self):
        size = self.facts.key_size
        for keys, count in self.keys:
            done, failed = batch(DELETE_BATCH, self.descriptor, self.facts, keys, count)
            if failed and done < count:
                for index in range(count):
                    batch(DELETE_BATCH, self.descriptor, self.facts, keys[index * size:(index + 1) * size], 1)
        os.close(self.descriptor)
