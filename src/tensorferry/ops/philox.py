"""TensorFlow's counter-based random numbers, bit by bit: what a seed that stands in the graph gives is a constant.

Sources: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011), for Philox 4x32-10; the distributions are those of
tensorflow/core/lib/random/random_distributions.h, the mixing of seeds that of tensorflow/core/kernels/stateless_random_ops.cc.
"""

from __future__ import annotations

import numpy as np

from tensorferry.tensor import Array

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MIXING_KEY = (0x3EC8F720, 0x02461E29)
_SMALLEST = np.float32(1e-7)


def words(key: int, counter: tuple[int, int], groups: int) -> Array:
    """uint32 [groups, 4]: the generator's output for this 64-bit key, from this 128-bit counter (low half, high half) on."""
    low = np.arange(groups, dtype=np.uint64) + np.uint64(counter[0])
    carried = (low < np.uint64(counter[0])).astype(np.uint64)
    high = np.uint64(counter[1]) + carried
    state = [low & _LOW, low >> _WORD, high & _LOW, high >> _WORD]
    keys = [key & 0xFFFFFFFF, key >> 32]
    for _round in range(_ROUNDS):
        first, second = _MULTIPLIERS[0] * state[0], _MULTIPLIERS[1] * state[2]
        state = [
            (second >> _WORD) ^ state[1] ^ np.uint64(keys[0]),
            second & _LOW,
            (first >> _WORD) ^ state[3] ^ np.uint64(keys[1]),
            first & _LOW,
        ]
        keys = [(each + step) & 0xFFFFFFFF for each, step in zip(keys, _WEYL, strict=True)]
    return np.stack(state, axis=1).astype(np.uint32)


def mix_seed(seed: Array) -> tuple[int, tuple[int, int]]:
    """Key and counter that a seed of two numbers stands for."""
    first, second = (int(each) & 0xFFFFFFFFFFFFFFFF for each in np.reshape(seed, -1))
    mixed = words(_MIXING_KEY[0] | _MIXING_KEY[1] << 32, (first, second), 1)[0].tolist()
    return mixed[0] | mixed[1] << 32, (0, mixed[2] | mixed[3] << 32)


def _groups(count: int, each: int) -> int:
    return -(-count // each)


def uniform(key: int, counter: tuple[int, int], count: int, dtype: np.dtype[np.generic]) -> Array:
    """In [0, 1): 23 random bits of the mantissa for float32, 10 for float16, 52 for float64."""
    if dtype == np.float64:
        pairs = words(key, counter, _groups(count, 2)).reshape(-1, 2).astype(np.uint64)
        bits = np.uint64(1023) << np.uint64(52) | (pairs[:, 0] & np.uint64(0xFFFFF)) << _WORD | pairs[:, 1]
        return (bits.view(np.float64) - 1.0)[:count]
    drawn = words(key, counter, _groups(count, 4)).reshape(-1)[:count]
    if dtype == np.float16:
        return (np.uint16(15 << 10) | (drawn & np.uint32(0x3FF)).astype(np.uint16)).view(np.float16) - np.float16(1)
    return (np.uint32(127 << 23) | drawn & np.uint32(0x7FFFFF)).view(np.float32) - np.float32(1)


def normal(key: int, counter: tuple[int, int], count: int, dtype: np.dtype[np.generic]) -> Array:
    """Mean 0, deviation 1, by Box and Muller's method from pairs of uniform numbers."""
    if dtype == np.float64:
        drawn = uniform(key, counter, 2 * _groups(count, 2), dtype)
        smallest = 1e-7
    else:
        drawn = uniform(key, counter, 4 * _groups(count, 4), np.dtype(np.float32))
        smallest = float(_SMALLEST)
    first, second = drawn[0::2], drawn[1::2]
    radius = np.sqrt(drawn.dtype.type(-2) * np.log(np.maximum(first, drawn.dtype.type(smallest))))
    angle = drawn.dtype.type(2 * np.pi) * second
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1).reshape(-1)[:count].astype(dtype)


TRUNCATION = 2.0
"""Deviations beyond which numbers of a truncated normal distribution are drawn anew."""

_RESERVED = 256
"""Draws that TensorFlow sets aside for each number of a distribution that may reject some."""


def truncated_normal(key: int, counter: tuple[int, int], count: int, dtype: np.dtype[np.generic]) -> Array:
    """Like `normal`, but within two deviations: each group of numbers takes as many draws of its own as it needs."""
    each = 2 if dtype == np.float64 else 4
    groups, skipped = _groups(count, each), each * _RESERVED // 4
    result = np.zeros((groups, each), np.float64 if dtype == np.float64 else np.float32)
    for group in range(groups):
        start = _ahead(counter, group * skipped)
        kept = np.zeros(0, result.dtype)
        draws = 4 * each
        while len(kept) < each:  # one in twenty is rejected
            drawn = normal(key, start, draws, result.dtype)
            kept, draws = drawn[np.abs(drawn) < TRUNCATION][:each], 2 * draws
        result[group] = kept
    return result.reshape(-1)[:count].astype(dtype)


def _ahead(counter: tuple[int, int], steps: int) -> tuple[int, int]:
    """The 128-bit counter so many steps later."""
    total = counter[0] + (counter[1] << 64) + steps
    return total & 0xFFFFFFFFFFFFFFFF, total >> 64 & 0xFFFFFFFFFFFFFFFF


def integers(key: int, counter: tuple[int, int], count: int, dtype: np.dtype[np.generic]) -> Array:
    """All bits random."""
    if dtype.itemsize == 8:
        pairs = words(key, counter, _groups(count, 2)).reshape(-1, 2).astype(np.uint64)
        return (pairs[:, 0] | pairs[:, 1] << _WORD)[:count].view(dtype)
    return words(key, counter, _groups(count, 4)).reshape(-1)[:count].view(dtype)


def integers_between(key: int, counter: tuple[int, int], count: int, low: Array, high: Array) -> Array:
    """In [low, high): the remainder of random bits."""
    dtype = np.asarray(low).dtype
    unsigned = np.dtype(f"uint{8 * dtype.itemsize}")
    span = (np.asarray(high).astype(unsigned) - np.asarray(low).astype(unsigned)).astype(unsigned)
    with np.errstate(over="ignore"):
        drawn = integers(key, counter, count, unsigned) % span
        result: Array = (np.asarray(low).astype(unsigned) + drawn).astype(unsigned).view(dtype)
    return result
