"""mp4 writing, random access, joining, refusals."""

import numpy as np
import pytest

from vlarl.errors import DiskError, UserError
from vlarl.media import codec_error, join_videos, read_video, side_by_side, video_info, write_video


def moving_square(frames, height=48, width=64):
    """A bright square on a smooth background that goes right, as ``uint8 [T, H, W, 3]``."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    video[..., 1] = np.linspace(20, 120, width, dtype=np.uint8)
    for index in range(frames):
        video[index, 10:26, (3 * index) % 48 : (3 * index) % 48 + 16] = (230, 40, 60)
    return video


@pytest.mark.parametrize(
    ("quality", "pixel_format", "worst", "mean"),
    [("playable", "yuv420p", 255, 4.0), ("near_lossless", "yuv444p", 24, 1.0), ("lossless", "gbrp", 0, 0.0)],
)
def test_qualities(tmp_path, quality, pixel_format, worst, mean):
    video = moving_square(20)
    path = write_video(tmp_path / "new" / "v.mp4", video, 20, quality)
    info = video_info(path)
    assert (info.codec, info.pixel_format, info.frames, info.fps) == ("h264", pixel_format, 20, 20)
    assert (info.height, info.width) == (48, 64)
    found = codec_error(video, read_video(path))
    assert found[0] <= worst
    assert found[1] <= mean
    assert [p.name for p in path.parent.iterdir()] == ["v.mp4"]


def test_starts_with_the_index_so_that_browsers_need_not_fetch_it_all(tmp_path):
    content = write_video(tmp_path / "v.mp4", moving_square(5), 20).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_odd_sizes_grow_where_the_format_needs_it(tmp_path):
    video = moving_square(3, 33, 47 + 16)
    played = read_video(write_video(tmp_path / "a.mp4", video, 20))
    assert played.shape == (3, 34, 64, 3)
    exact = read_video(write_video(tmp_path / "b.mp4", video, 20, "lossless"))
    np.testing.assert_array_equal(exact, video)


@pytest.mark.parametrize("fps", [20, 30, 12.5])
def test_random_access_across_joined_videos(tmp_path, fps):
    parts = [moving_square(steps)[:, :, ::direction] for steps, direction in ((37, 1), (1, 1), (22, -1))]
    sources = [write_video(tmp_path / f"{i}.mp4", part, fps, "lossless") for i, part in enumerate(parts)]
    joined = join_videos(sources, tmp_path / "joined.mp4")
    whole = np.concatenate(parts)
    assert video_info(joined).frames == len(whole)
    np.testing.assert_array_equal(read_video(joined), whole)
    for start, count in ((0, 1), (15, 4), (36, 2), (37, 1), (38, 22), (59, 1)):
        np.testing.assert_array_equal(read_video(joined, start, count), whole[start : start + count])


def test_frames_may_come_one_by_one(tmp_path):
    video = moving_square(6)
    np.testing.assert_array_equal(read_video(write_video(tmp_path / "v.mp4", iter(video), 20, "lossless")), video)


def test_equal_frames_give_equal_files(tmp_path):
    first, second = (write_video(tmp_path / f"{n}.mp4", moving_square(9), 20).read_bytes() for n in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("frames", "fps", "quality", "message"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), 20, "playable", "at least one frame"),
        (np.zeros((2, 8, 8, 3), np.float32), 20, "playable", "frame 0 is float32"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], 20, "lossless", "frame 1 has shape"),
        (np.zeros((2, 8, 8, 3), np.uint8), 0, "playable", "positive number"),
        (np.zeros((2, 8, 8, 3), np.uint8), 20, "best", "there are: playable, near_lossless, lossless"),
    ],
)
def test_refusals_leave_what_was_there(tmp_path, frames, fps, quality, message):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        write_video(path, frames, fps, quality)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_damaged_and_missing_files_are_named(tmp_path):
    path = write_video(tmp_path / "v.mp4", moving_square(8), 20)
    with pytest.raises(UserError, match=r"v.mp4 holds 3 frames from frame 5 on; 4 expected"):
        read_video(path, 5, 4)
    path.write_bytes(b"not a video at all")
    with pytest.raises(UserError, match=r"v.mp4 cannot be read as a video"):
        read_video(path)
    with pytest.raises(UserError, match="does not exist"):
        video_info(tmp_path / "none.mp4")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        write_video(tmp_path / "file" / "v.mp4", moving_square(2), 20)


def test_different_videos_are_not_joined(tmp_path):
    first = write_video(tmp_path / "a.mp4", moving_square(3), 20)
    second = write_video(tmp_path / "b.mp4", moving_square(3, 32, 64), 20)
    with pytest.raises(ValueError, match="different encodings or sizes"):
        join_videos([first, second], tmp_path / "c.mp4")
    assert not (tmp_path / "c.mp4").exists()
    with pytest.raises(ValueError, match="no source"):
        join_videos([], tmp_path / "c.mp4")


def test_side_by_side_and_error():
    left, right = np.full((2, 4, 3, 3), 10, np.uint8), np.full((2, 2, 5, 3), 200, np.uint8)
    both = side_by_side(left, right)
    assert both.shape == (2, 4, 8, 3)
    assert both[0, 0, 3:].max() == 200
    assert both[0, 2:, 3:].max() == 0
    other = left.copy()
    other[1, 0, 0, 0] = 3
    assert codec_error(left, other) == (7, pytest.approx(7 / left.size))
