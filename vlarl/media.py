"""Videos as mp4 through PyAV: small files that play anywhere, and (nearly) lossless ones to train from.

Needs the ``av`` package, which brings its own ffmpeg with libx264.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vlarl.errors import UserError
from vlarl.files import TEMPORARY_PREFIX, fsync_folder, writing

Frames = NDArray[np.uint8]
"""``uint8 [T, H, W, 3]``, RGB, upright."""
Quality = Literal["playable", "near_lossless", "lossless"]

_MATRIX_BT601 = 6
"""SMPTE 170M as colour primaries, transfer characteristics and matrix coefficients (ITU-T H.273)."""
_LIMITED_RANGE = 1


@dataclass(frozen=True, slots=True)
class _Encoding:
    codec: str
    pixel_format: str
    crf: int
    preset: str
    keyframe_every: int
    """Frames between keyframes: short for random access, long for small files."""


ENCODINGS: dict[str, _Encoding] = {
    # 4:2:0 is the only chroma layout that browsers, phones and slide programs all play; it blurs colour edges.
    "playable": _Encoding("libx264", "yuv420p", 20, "veryfast", 100),
    # Full chroma: on rendered LIBERO frames the mean error is below 1 of 255 levels at a third of the lossless size.
    "near_lossless": _Encoding("libx264", "yuv444p", 4, "veryfast", 16),
    "lossless": _Encoding("libx264rgb", "rgb24", 0, "veryfast", 16),
}
"""Quality -> how it is encoded. All are H.264 in mp4 without B-frames, so that files can be joined packet by packet."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says of itself."""

    codec: str
    pixel_format: str
    width: int
    height: int
    fps: float
    frames: int
    """Number of frames by the container's index; 0 where the container has none."""


def write_video(path: str | Path, frames: Frames | Iterable[Frames], fps: float, quality: Quality = "playable") -> Path:
    """Write frames as H.264 mp4: to a temporary file, flushed, then renamed into place.

    Args:
        path: name of the mp4; its folder is made where missing.
        frames: ``uint8 [T, H, W, 3]`` RGB, or any iterable of ``uint8 [H, W, 3]``. With ``playable`` an odd
            height or width grows by one repeated row or column (4:2:0 needs even sizes).
        fps: frames per second.
        quality: ``playable`` for people, ``near_lossless`` or ``lossless`` to train from.

    Raises:
        ValueError: no frame, frames of several sizes, another dtype, or an unknown quality.
        DiskError: nothing could be written.
    """
    if quality not in ENCODINGS:
        raise ValueError(f"unknown video quality {quality!r}; there are: {', '.join(ENCODINGS)}")
    if not fps > 0:
        raise ValueError(f"fps is {fps}; expected a positive number of frames per second")
    with _new_file(path) as temporary:
        _encode(temporary, frames, fps, ENCODINGS[quality])
    return Path(path)


def read_video(path: str | Path, start: int = 0, count: int | None = None) -> Frames:
    """Frames ``start`` to ``start + count`` of a constant-rate video as ``uint8 [T, H, W, 3]`` RGB.

    Raises:
        UserError: the file is missing, damaged, or has fewer frames.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate, base = stream.average_rate, stream.time_base
        if start and rate is not None and base is not None:
            container.seek(round(Fraction(start) / rate / base), stream=stream, backward=True)
        # One converter for all frames and one thread: setting either up costs more than converting a small frame.
        converter = VideoReformatter()
        images: list[Frames] = []
        position = 0
        for frame in _decoded(path, container):
            # After a seek the decoder starts at a keyframe at or before the wanted frame: its time says which.
            position = round(frame.pts * base * rate) if start and None not in (frame.pts, base, rate) else position
            if position >= start:
                images.append(converter.reformat(frame, format="rgb24", threads=1).to_ndarray())
                if count is not None and len(images) == count:
                    break
            position += 1
    if not images or (count is not None and len(images) < count):
        wanted = "at least one" if count is None else str(count)
        raise UserError(
            f"{path} holds {len(images)} frames from frame {start} on; {wanted} expected. It may be cut off."
        )
    return np.stack(images)


def video_info(path: str | Path) -> VideoInfo:
    """Codec, size, rate and length of the first video stream.

    Raises:
        UserError: the file is missing, damaged, or holds no video.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        return VideoInfo(
            codec=context.name,
            pixel_format=str(context.pix_fmt),
            width=context.width,
            height=context.height,
            fps=float(stream.average_rate or 0),
            frames=stream.frames,
        )


def join_videos(sources: Sequence[str | Path], path: str | Path) -> Path:
    """Join videos of one encoding packet by packet, without decoding (each must come from ``write_video``).

    Raises:
        ValueError: no source, or sources of different size or encoding.
        UserError: a source is damaged.
    """
    if not sources:
        raise ValueError("join_videos got no source")
    with (
        _new_file(path) as temporary,
        av.open(temporary, "w", format="mp4", options={"movflags": "faststart"}) as output,
    ):
        target: Any = None
        extradata: bytes | None = None
        offset = 0
        for source in sources:
            with _open(source) as container:
                stream = container.streams.video[0]
                if target is None:
                    target, extradata = output.add_stream_from_template(stream), stream.codec_context.extradata
                    base = stream.time_base
                if stream.codec_context.extradata != extradata or stream.time_base != base:
                    raise ValueError(
                        f"{source} and {sources[0]} have different encodings or sizes; they cannot be joined"
                    )
                end = 0
                for packet in container.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue  # the flushing packet at the end
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = target
                    output.mux(packet)
                offset += end
    return Path(path)


def side_by_side(*cameras: Frames) -> Frames:
    """Put videos ``uint8 [T, H, W_i, 3]`` of one length next to each other; smaller heights are padded in black."""
    height = max(frames.shape[1] for frames in cameras)
    padded = [np.pad(frames, ((0, 0), (0, height - frames.shape[1]), (0, 0), (0, 0))) for frames in cameras]
    return np.concatenate(padded, axis=2)


def codec_error(original: Frames, decoded: Frames) -> tuple[int, float]:
    """Largest and mean absolute difference of two videos in levels of 0..255."""
    if original.shape != decoded.shape:
        raise ValueError(f"videos have shapes {original.shape} and {decoded.shape}")
    largest, total = 0, 0
    for first, second in zip(original, decoded, strict=True):
        # Absolute difference of unsigned bytes without widening every frame to int.
        difference = np.maximum(first, second) - np.minimum(first, second)
        largest = max(largest, int(difference.max()))
        total += int(difference.sum(dtype=np.int64))
    return largest, total / original.size


def _encode(target: str, frames: Frames | Iterable[Frames], fps: float, encoding: _Encoding) -> None:
    options = {"crf": str(encoding.crf), "preset": encoding.preset, "bf": "0", "g": str(encoding.keyframe_every)}
    with av.open(target, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = None
        shape: tuple[int, ...] = ()
        converter = VideoReformatter()
        for index, image in enumerate(frames):
            image = np.asarray(image)
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"frame {index} is {image.dtype} {image.shape}; expected uint8 [H, W, 3]")
            if stream is None:
                shape = image.shape
                stream = container.add_stream(
                    encoding.codec, rate=Fraction(fps).limit_denominator(1001), options=options
                )
                stream.height, stream.width = (_encoded_size(side, encoding) for side in shape[:2])
                stream.pix_fmt = encoding.pixel_format
                context = stream.codec_context
                context.thread_count = 1  # with several threads the rate control, so the file, depends on the machine
                if encoding.pixel_format != "rgb24":
                    context.color_range = _LIMITED_RANGE
                    context.colorspace = context.color_primaries = context.color_trc = _MATRIX_BT601
            if image.shape != shape:
                raise ValueError(f"frame {index} has shape {image.shape}, the first had {shape}")
            growth = stream.height - shape[0], stream.width - shape[1]
            if any(growth):
                image = np.pad(image, ((0, growth[0]), (0, growth[1]), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture = converter.reformat(picture, format=encoding.pixel_format, threads=1)
            container.mux(stream.encode(picture))
        if stream is None:
            raise ValueError("a video needs at least one frame; got none")
        container.mux(stream.encode())


def _encoded_size(side: int, encoding: _Encoding) -> int:
    return side + side % 2 if encoding.pixel_format == "yuv420p" else side


@contextlib.contextmanager
def _new_file(path: str | Path) -> Iterator[str]:
    """A temporary name beside ``path``; flushed and renamed to it on success, deleted on failure."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            prefix=f"{TEMPORARY_PREFIX}{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        try:
            yield temporary
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        fsync_folder(path.parent)


@contextlib.contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    """An opened container that holds video; ffmpeg's errors become ours."""
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist")
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise UserError(
            f"{path} cannot be read as a video ({error}); it may be cut off or not a video at all"
        ) from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path} cannot be read as a video: it holds no video stream; it may be cut off")
        yield container


def _decoded(path: str | Path, container: Any) -> Iterator[Any]:
    try:
        yield from container.decode(video=0)
    except av.error.FFmpegError as error:
        raise UserError(f"{path} is damaged: decoding stopped with '{error}'") from error
