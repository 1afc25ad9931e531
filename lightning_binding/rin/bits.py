"""Analog bits: discrete data as real numbers, so that a diffusion model can draw it (arXiv 2208.04202).

A value in [0, n) is written as a code of `width` bits, each of which becomes -b or b. The forms are those of the
original code (google-research/pix2seq, `models/image_discrete_diffusion_model.py`), for any number of classes: its
`uint8`, `uint8_s`, `gray` and `oneh` are `BinaryBits()`, `PermutedBits()`, `GrayBits()` and `OneHot()`. Its asymmetric
time intervals are the `time_difference` of the samplers. Training losses are in `bit_objectives`.
"""

import torch
from einops import rearrange
from torch import Tensor

from lightning_binding.errors import InputError

# The order of bytes in the original's `uint8_s`: numpy's shuffle of 0 … 255 from seed 42.
SHUFFLED = """
    228 6 79 206 117 185 242 167 9 30 180 222 230 217 136 68 199 15 96 24 235 19 120 152 33 124 253 208 10 164 184 97
    148 190 223 25 86 18 75 137 196 176 239 181 45 66 16 67 215 201 177 38 143 84 55 220 104 139 127 60 101 172 245 126
    225 144 108 178 73 114 158 69 141 109 115 246 113 243 90 29 170 82 111 5 56 132 154 162 65 186 85 219 237 31 12 35
    28 42 112 22 125 93 173 251 51 240 95 146 204 76 41 119 155 78 150 26 247 168 118 193 140 0 2 77 46 100 205 159 183
    254 98 36 61 200 142 11 250 224 27 231 4 122 32 147 182 138 62 135 128 232 194 70 197 64 44 165 156 40 123 153 23
    192 249 81 39 244 47 94 195 161 43 145 175 3 105 53 133 233 198 238 49 163 80 34 211 7 171 216 110 91 83 229 234 89
    8 13 59 221 131 17 166 72 226 134 209 236 63 54 107 50 212 174 213 189 252 207 227 169 58 218 48 88 21 57 203 160
    248 187 191 129 37 157 241 1 52 149 130 151 103 99 116 87 202 74 214 210 121 255 20 188 71 106 14 92 179 102
"""


class AnalogBits:
    """Codes of n values, and the way there and back.

    Attributes:
        codes: The code of each value, (n, width), of 0 and 1.

    Args:
        codes: The code of each value, (n, width), of 0 and 1; no two are equal.
        scale: b, the size of a bit; the original's configurations have 1, 0.5 and 0.1.

    Raises:
        InputError: If there are fewer than two values, or b is not positive.
    """

    def __init__(self, codes: Tensor, scale: float) -> None:
        if not scale > 0:
            raise InputError(f"scale={scale} of a bit must be positive.")
        self.codes, self.scale = codes.float(), scale
        self._moved: dict[torch.device, Tensor] = {}
        self._places = (2 ** torch.arange(self.width)).float() if self._full else None
        self._values = torch.empty(0, dtype=torch.int64)
        if self._places is not None:
            self._values = torch.empty(self.classes, dtype=torch.int64)
            self._values[(self.codes @ self._places).long()] = torch.arange(self.classes)

    @property
    def classes(self) -> int:
        """Number n of values."""
        return len(self.codes)

    @property
    def width(self) -> int:
        """Bits of a value."""
        return self.codes.shape[1]

    @property
    def _full(self) -> bool:
        """Whether every code is one of a value."""
        return self.width < 24 and self.classes == 2**self.width

    def _codes_on(self, device: torch.device) -> Tensor:
        """The codes on a device, copied there once: the host waits for a copy."""
        if device not in self._moved:
            self._moved[device] = self.codes.to(device)
        return self._moved[device]

    def encode(self, values: Tensor) -> Tensor:
        """Writes values as bits.

        Args:
            values: Whole numbers in [0, n), of any shape (...).

        Returns:
            (..., width), float32, each -b or b.

        Raises:
            InputError: If a value is not one of the n; looked at on the CPU alone.
        """
        if values.device.type == "cpu" and values.numel():
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= self.classes:
                raise InputError(f"values lie in [{low}, {high}], expected [0, {self.classes}): set `classes`.")
        return (2 * self._codes_on(values.device)[values.long()] - 1) * self.scale

    def decode(self, bits: Tensor) -> Tensor:
        """Reads values from bits, of whatever size these are.

        The value is that whose code is nearest, the largest sum of bits times code. Where every code has a value, that
        is each bit's sign, and 0 reads as 0, as in the original; where some have none (n is no power of two), these
        codes give the nearest that has one. Of equally near values it is the first.

        Args:
            bits: (..., width).

        Returns:
            int64 (...), in [0, n).
        """
        if self._places is not None:
            index = (bits > 0).float() @ self._places.to(bits.device)
            return self._values.to(bits.device)[index.long()]
        signs = 2 * self._codes_on(bits.device).to(bits.dtype) - 1
        return (bits @ signs.T).argmax(dim=-1)

    def encode_images(self, images: Tensor) -> Tensor:
        """Writes pictures (..., C, H, W) in [0, n) as bits (..., C width, H, W), channel by channel."""
        return rearrange(self.encode(images), "... c h w k -> ... (c k) h w")

    def decode_images(self, bits: Tensor) -> Tensor:
        """Reads pictures (..., C, H, W) from bits (..., C width, H, W); uint8 if values are bytes at most."""
        values = self.decode(rearrange(bits, "... (c k) h w -> ... c h w k", k=self.width))
        return values.to(torch.uint8) if self.classes <= 256 else values

    def __repr__(self) -> str:
        return f"{type(self).__name__}(classes={self.classes}, scale={self.scale:g})"


class BinaryBits(AnalogBits):
    """The binary numeral, least bit first: `uint8` of the original code.

    Args:
        classes: Number n of values; 256 for the bytes of pictures. The numeral has ceil(log2 n) bits.
        scale: b, the size of a bit.
    """

    def __init__(self, classes: int = 256, scale: float = 1.0) -> None:
        super().__init__(numerals(torch.arange(_check(classes)), bits_of(classes)), scale)


class PermutedBits(AnalogBits):
    """The numeral of a shuffled value, so that near values have no near codes: `uint8_s` of the original code.

    Args:
        classes: Number n of values; of 256 the order is the original's, of others that of a fixed seed.
        scale: b, the size of a bit.
    """

    def __init__(self, classes: int = 256, scale: float = 1.0) -> None:
        if _check(classes) == 256:
            order = torch.tensor([int(number) for number in SHUFFLED.split()])
        else:
            order = torch.randperm(classes, generator=torch.Generator().manual_seed(42))
        super().__init__(numerals(order, bits_of(classes)), scale)


class GrayBits(AnalogBits):
    """Gray's code, in which neighbouring values differ in one bit: `gray` of the original code.

    Args:
        classes: Number n of values.
        scale: b, the size of a bit.
    """

    def __init__(self, classes: int = 256, scale: float = 1.0) -> None:
        values = torch.arange(_check(classes))
        super().__init__(numerals(values ^ (values >> 1), bits_of(classes)), scale)


class OneHot(AnalogBits):
    """A bit for each value: `oneh` of the original code; bytes make 256 channels of each.

    Args:
        classes: Number n of values.
        scale: b, the size of a bit.
    """

    def __init__(self, classes: int = 256, scale: float = 1.0) -> None:
        super().__init__(torch.eye(_check(classes)), scale)


def numerals(values: Tensor, bits: int) -> Tensor:
    """Binary numerals of whole numbers (...), least bit first: (..., bits), of 0 and 1."""
    return (values[..., None] >> torch.arange(bits, device=values.device)) & 1


def bits_of(classes: int) -> int:
    """Bits that tell n values apart, ceil(log2 n)."""
    return (classes - 1).bit_length()


def _check(classes: int) -> int:
    if classes < 2:
        raise InputError(f"classes={classes} must be 2 or more: one value alone needs no bits.")
    return classes
