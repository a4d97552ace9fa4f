"""Fourier transforms, framing, spectrograms, windows."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, complexes, floats, integers

raw = tf.raw_ops
signal = tf.signal


def _parts(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.math.real(value), tf.math.imag(value)


def add_cases(family: Family) -> None:
    _fourier(family)
    _frames(family)
    _audio(family)


def _fourier(family: Family) -> None:
    for size in (1, 2, 4, 7, 8, 12):
        for op, run in (("FFT", signal.fft), ("IFFT", signal.ifft)):
            family.add(f"{op}_{size}", run, complexes(2, size))
            family.add(
                f"{op}_{size}_parts", lambda a, b, r=run: _parts(r(tf.complex(a, b))), floats(2, size), floats(2, size, seed=1)
            )
        family.add(f"RFFT_{size}", signal.rfft, floats(2, size))
        family.add(f"RFFT_{size}_parts", lambda x: _parts(signal.rfft(x)), floats(2, size))
        family.add(f"RFFT_{size}_magnitude", lambda x: tf.abs(signal.rfft(x)), floats(3, size), unknown="batch")
        if size > 1:
            family.add(f"IRFFT_{size}", lambda x, n=size: signal.irfft(x, [n]), complexes(2, size // 2 + 1))
            family.add(
                f"IRFFT_{size}_parts",
                lambda a, b, n=size: signal.irfft(tf.complex(a, b), [n]),
                floats(2, size // 2 + 1),
                floats(2, size // 2 + 1, seed=1),
            )
            family.add(f"RFFT_IRFFT_{size}", lambda x, n=size: signal.irfft(signal.rfft(x), [n]), floats(2, size))
    for length in (4, 6, 16):
        family.add(f"RFFT_8_length_{length}", lambda x, n=length: signal.rfft(x, [n]), floats(2, 8))
        family.add(f"RFFT_8_length_{length}_parts", lambda x, n=length: _parts(signal.rfft(x, [n])), floats(2, 8))
        family.add(
            f"IRFFT_5_length_{length}",
            lambda a, b, n=length: signal.irfft(tf.complex(a, b), [n]),
            floats(2, 5),
            floats(2, 5, seed=1),
        )
    for shape in ((8,), (1, 2, 8), (2, 1, 2, 4)):
        family.add(f"RFFT_rank{len(shape)}", lambda x: _parts(signal.rfft(x)), floats(*shape))
        family.add(f"FFT_rank{len(shape)}", signal.fft, complexes(*shape))
    for rows, columns in ((4, 4), (2, 8), (3, 5), (6, 4)):
        for op, run in (("FFT2D", signal.fft2d), ("IFFT2D", signal.ifft2d)):
            family.add(f"{op}_{rows}x{columns}", run, complexes(2, rows, columns))
            family.add(
                f"{op}_{rows}x{columns}_parts",
                lambda a, b, r=run: _parts(r(tf.complex(a, b))),
                floats(1, rows, columns),
                floats(1, rows, columns, seed=1),
            )
        family.add(f"RFFT2D_{rows}x{columns}", signal.rfft2d, floats(2, rows, columns))
        family.add(f"RFFT2D_{rows}x{columns}_parts", lambda x: _parts(signal.rfft2d(x)), floats(1, rows, columns))
        family.add(
            f"IRFFT2D_{rows}x{columns}",
            lambda a, b, n=(rows, columns): signal.irfft2d(tf.complex(a, b), n),
            floats(1, rows, columns // 2 + 1),
            floats(1, rows, columns // 2 + 1, seed=1),
        )
    family.add("RFFT2D_length", lambda x: _parts(signal.rfft2d(x, [4, 8])), floats(1, 3, 6))
    family.add("FFT3D", signal.fft3d, complexes(2, 2, 4))
    family.add("IFFT3D", signal.ifft3d, complexes(2, 2, 4))
    family.add("RFFT3D", lambda x: _parts(signal.rfft3d(x)), floats(2, 4, 4))
    family.add("IRFFT3D", lambda a, b: signal.irfft3d(tf.complex(a, b), [2, 4, 4]), floats(2, 4, 3), floats(2, 4, 3, seed=1))
    family.add("FFT_complex128", signal.fft, complexes(2, 8, dtype="complex128"))
    family.add("RFFT_float64", lambda x: _parts(signal.rfft(x)), floats(2, 8, dtype="float64"))
    family.add("FFT", signal.fft, complexes(3, 8), unknown="batch")
    for kind in (1, 2, 3, 4):
        for norm in (None, "ortho"):
            if kind > 1 or norm is None:
                family.add(f"dct_{kind}_{norm}", lambda x, k=kind, n=norm: signal.dct(x, k, norm=n), floats(2, 8))
                family.add(f"idct_{kind}_{norm}", lambda x, k=kind, n=norm: signal.idct(x, k, norm=n), floats(2, 8))
    family.add("dct_length", lambda x: signal.dct(x, 2, n=4), floats(2, 8))
    for shift in ("fftshift", "ifftshift"):
        family.add(shift, getattr(signal, shift), floats(7))
        family.add(f"{shift}_axis", lambda x, s=shift: getattr(signal, s)(x, axes=1), floats(2, 5))
    family.add(
        "convolution_by_fft", lambda a, b: signal.irfft(signal.rfft(a, [8]) * signal.rfft(b, [8]), [8]), floats(5), floats(4)
    )
    family.add("power", lambda x: tf.square(tf.abs(signal.rfft(x))), floats(2, 8))
    family.add("phase", lambda x: tf.math.angle(signal.rfft(x)), floats(2, 8))
    family.add(
        "autocorrelation", lambda x: signal.irfft(signal.rfft(x, [16]) * tf.math.conj(signal.rfft(x, [16])), [16]), floats(8)
    )
    family.add("fourier_mixing", lambda x: tf.math.real(signal.fft2d(tf.cast(x, tf.complex64))), floats(1, 4, 8))
    family.add(
        "polar", lambda r, a: _parts(tf.complex(r * tf.cos(a), r * tf.sin(a)) * tf.complex(r, a)), floats(3), floats(3, seed=1)
    )
    family.add("exp_of_imaginary", lambda x: _parts(tf.exp(tf.complex(tf.zeros_like(x), x))), floats(2, 3))


def _frames(family: Family) -> None:
    for length, step in ((4, 2), (3, 3), (5, 1), (4, 6)):
        for pad in (False, True):
            family.add(
                f"frame_{length}_{step}{'_padded' if pad else ''}",
                lambda x, n=length, s=step, p=pad: signal.frame(x, n, s, pad_end=p),
                floats(2, 13),
            )
    family.add("frame", lambda x: signal.frame(x, 4, 2), floats(2, 12), unknown="batch")
    family.add("frame_unknown_length", lambda x: signal.frame(x, 4, 2), floats(2, 12), unknown="sizes")
    family.add("frame_axis", lambda x: signal.frame(x, 4, 2, axis=0), floats(10, 2))
    for step in (1, 2, 3, 4):
        family.add(f"overlap_and_add_{step}", lambda x, s=step: signal.overlap_and_add(x, s), floats(2, 3, 4))
    for length, step, size in ((8, 4, None), (8, 4, 16), (6, 3, 8), (6, 3, 6)):
        family.add(
            f"stft_{length}_{step}_{size}", lambda x, n=length, s=step, f=size: _parts(signal.stft(x, n, s, f)), floats(2, 24)
        )
        family.add(
            f"stft_{length}_{step}_{size}_magnitude",
            lambda x, n=length, s=step, f=size: tf.abs(signal.stft(x, n, s, f)),
            floats(2, 24),
            unknown="batch",
        )
    family.add("stft_padded", lambda x: tf.abs(signal.stft(x, 8, 4, pad_end=True)), floats(1, 21))
    family.add("stft_no_window", lambda x: tf.abs(signal.stft(x, 8, 4, window_fn=None)), floats(1, 24))
    family.add("stft_unknown_length", lambda x: tf.abs(signal.stft(x, 8, 4)), floats(1, 24), unknown="sizes")
    family.add("inverse_stft", lambda a, b: signal.inverse_stft(tf.complex(a, b), 8, 4), floats(5, 5), floats(5, 5, seed=1))
    family.add(
        "stft_round_trip",
        lambda x: signal.inverse_stft(signal.stft(x, 8, 4), 8, 4, window_fn=signal.inverse_stft_window_fn(4)),
        floats(24),
    )
    for name in ("hann_window", "hamming_window", "kaiser_window", "kaiser_bessel_derived_window", "vorbis_window"):
        family.add(name, lambda x, w=name: x * getattr(signal, w)(8), floats(2, 8))
    for periodic in (False, True):
        family.add(f"hann_at_run_time_{periodic}", lambda n, p=periodic: signal.hann_window(n, p), np.int32(7))
    family.add("mdct", lambda x: signal.mdct(x, 8), floats(24))
    family.add("inverse_mdct", signal.inverse_mdct, floats(3, 4))


def _audio(family: Family) -> None:
    for length, step in ((8, 4), (6, 3)):
        for squared in (False, True):
            family.add(
                f"AudioSpectrogram_{length}_{step}_{squared}",
                lambda x, n=length, s=step, q=squared: raw.AudioSpectrogram(input=x, window_size=n, stride=s, magnitude_squared=q),
                floats(24, 1),
            )
    family.add("AudioSpectrogram_stereo", lambda x: raw.AudioSpectrogram(input=x, window_size=8, stride=4), floats(24, 2))
    family.add(
        "Mfcc",
        lambda x: raw.Mfcc(spectrogram=x, sample_rate=16000, dct_coefficient_count=6, filterbank_channel_count=10),
        floats(1, 3, 129, low=0, high=4),
    )
    family.add(
        "Mfcc_limits",
        lambda x: raw.Mfcc(
            spectrogram=x,
            sample_rate=8000,
            upper_frequency_limit=3000.0,
            lower_frequency_limit=60.0,
            dct_coefficient_count=5,
            filterbank_channel_count=12,
        ),
        floats(1, 3, 65, low=0, high=4),
    )
    family.add(
        "spectrogram_and_mfcc",
        lambda x: raw.Mfcc(
            spectrogram=raw.AudioSpectrogram(input=x, window_size=64, stride=32, magnitude_squared=True),
            sample_rate=16000,
            dct_coefficient_count=6,
            filterbank_channel_count=8,
        ),
        floats(256, 1),
    )
    family.add(
        "mel_filters",
        lambda x: tf.tensordot(x, signal.linear_to_mel_weight_matrix(6, 17, 8000, 80.0, 3800.0), 1),
        floats(2, 5, 17, low=0, high=3),
    )
    family.add("mfccs_from_log_mel", signal.mfccs_from_log_mel_spectrograms, floats(2, 5, 8))
    family.add(
        "log_mel",
        lambda x: tf.math.log(
            tf.tensordot(tf.abs(signal.stft(x, 16, 8, 16)), signal.linear_to_mel_weight_matrix(6, 9, 8000, 80.0, 3800.0), 1) + 1e-3
        ),
        floats(2, 64),
    )
    family.add(
        "mu_law",
        lambda x: tf.sign(x) * tf.math.log1p(255.0 * tf.abs(x)) / np.float32(np.log1p(255.0)),
        floats(2, 8, low=-1, high=1),
    )
    family.add("pcm", lambda x: tf.cast(x, tf.float32) / 32768.0, integers(2, 8, dtype="int16", low=-30000, high=30000))
    family.add("pre_emphasis", lambda x: tf.concat([x[:, :1], x[:, 1:] - 0.97 * x[:, :-1]], 1), floats(2, 8), unknown="batch")
    family.add("decode_wav", lambda x: raw.EncodeWav(audio=x, sample_rate=16000), floats(8, 1, low=-1, high=1))
    family.add("resample_linear", lambda x: tf.image.resize(x[:, :, None, None], [12, 1])[:, :, 0, 0], floats(2, 8))
