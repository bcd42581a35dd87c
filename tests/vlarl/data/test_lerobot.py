"""LeRobotDataset v3 folders: round trip, format facts, refusals."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.demonstrations import assert_same, demonstration
from vlarl.data import DataError, open_demonstrations
from vlarl.data.lerobot import LeRobotDataset, LeRobotWriter
from vlarl.media import video_info


def write(folder, episodes, **options):
    with LeRobotWriter(folder, **options) as writer:
        for episode in episodes:
            writer.add_episode(episode)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    cameras=st.sampled_from([("agentview",), ("agentview", "wrist")]),
    quality=st.sampled_from(["playable", "near_lossless", "lossless"]),
    limit=st.sampled_from([0.004, 200]),
)
def test_round_trip(tmp_path_factory, lengths, cameras, quality, limit):
    folder = tmp_path_factory.mktemp("set") / "data"
    episodes = [demonstration(number, steps, cameras) for number, steps in enumerate(lengths)]
    write(folder, episodes, quality=quality, video_file_megabytes=limit)
    dataset = open_demonstrations(folder)
    assert isinstance(dataset, LeRobotDataset)
    assert len(dataset) == len(episodes)
    for number, (found, expected) in enumerate(zip(dataset, episodes, strict=True)):
        bound = dataset.codec_error_bound(number)
        assert_same(found, expected, bound)
        assert (bound == 0) == (quality == "lossless")
    rows = [dataset.row(number) for number in range(len(dataset))]
    files = {row["data/file_index"] for row in rows}
    assert files == set(range(len(files)))
    if limit == 200:
        assert files == {0}


@pytest.fixture(scope="module")
def dataset_folder(tmp_path_factory):
    """Five episodes of 3 to 7 steps in two files."""
    folder = tmp_path_factory.mktemp("module") / "demos"
    write(folder, [demonstration(n, 3 + n) for n in range(5)], video_file_megabytes=0.028, fps=10)
    return folder


def test_files_are_rolled_before_the_limit(dataset_folder):
    videos = sorted(dataset_folder.glob("videos/observation.images.agentview/chunk-000/*.mp4"))
    assert len(videos) > 1
    assert all(video.stat().st_size <= 0.028 * 2**20 * 1.1 for video in videos)  # joined files carry one header each
    assert [v.name for v in videos] == [
        p.with_suffix(".mp4").name for p in sorted(dataset_folder.glob("data/*/*.parquet"))
    ]


def test_what_lerobot_expects(dataset_folder):
    """The facts of the format that lerobot's reader relies on (it reads such folders, see docs)."""
    info = json.loads((dataset_folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (5, 3 + 4 + 5 + 6 + 7, 3)
    assert info["splits"] == {"train": "0:5"}
    assert info["features"]["observation.images.wrist"]["shape"] == [18, 18, 3]
    assert info["features"]["action"]["shape"] == [7]
    frames = pq.read_table(dataset_folder / "data/chunk-000").to_pydict()
    assert frames["index"] == list(range(25))
    assert frames["frame_index"][:4] == [0, 1, 2, 0]
    np.testing.assert_allclose(frames["timestamp"][1:3], [0.1, 0.2], rtol=1e-6)
    tasks = pq.read_table(dataset_folder / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks["task"].to_pylist() == [f"move object {n} to the basket" for n in range(3)]
    assert not (dataset_folder / "staging").exists()


def test_episode_rows_point_into_the_files(dataset_folder):
    dataset = LeRobotDataset(dataset_folder)
    covered = {}
    for number in range(5):
        row = dataset.row(number)
        assert row["dataset_to_index"] - row["dataset_from_index"] == row["length"] == 3 + number
        key = "videos/observation.images.agentview/"
        start = covered.get(row[key + "file_index"], 0.0)
        assert row[key + "from_timestamp"] == pytest.approx(start)
        covered[row[key + "file_index"]] = row[key + "to_timestamp"]
        path = dataset_folder / f"videos/observation.images.agentview/chunk-000/file-{row[key + 'file_index']:03d}.mp4"
        assert video_info(path).frames / 10 >= row[key + "to_timestamp"] - 1e-9


def test_statistics_are_those_of_all_frames(dataset_folder):
    dataset = LeRobotDataset(dataset_folder)
    stats = dataset.stats()
    actions = np.concatenate([demonstration(n, 3 + n).actions for n in range(5)]).astype(np.float64)
    assert stats["action"]["count"] == [25]
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0), atol=1e-9)
    np.testing.assert_allclose(stats["action"]["std"], actions.std(0), atol=1e-9)
    np.testing.assert_allclose(stats["action"]["min"], actions.min(0))
    np.testing.assert_allclose(stats["action"]["q90"], np.quantile(actions, 0.9, axis=0), atol=1e-9)
    pixels = np.concatenate([demonstration(n, 3 + n).images["wrist"].reshape(-1, 3) for n in range(5)]) / 255
    image = stats["observation.images.wrist"]
    np.testing.assert_allclose(np.ravel(image["mean"]), pixels.mean(0), atol=1e-6)
    np.testing.assert_allclose(np.ravel(image["std"]), pixels.std(0), atol=1e-6)
    assert np.shape(image["max"]) == (3, 1, 1)


def test_summary(dataset_folder):
    summary = LeRobotDataset(dataset_folder).summary()
    assert (summary.episodes, summary.frames, summary.fps, summary.closed) == (5, 25, 10, True)
    assert summary.cameras == {"agentview": (16, 20), "wrist": (18, 18)}
    assert [(t.suite, t.task, t.episodes, t.succeeded) for t in summary.tasks] == [
        ("libero_object", 0, 2, 1),  # episodes 0 and 3; number 3 failed
        ("libero_object", 1, 2, 2),
        ("libero_object", 2, 1, 1),
    ]


def test_one_camera_and_wrong_names(dataset_folder):
    dataset = LeRobotDataset(dataset_folder)
    assert list(dataset.read_episode(0, cameras=["wrist"]).images) == ["wrist"]
    with pytest.raises(DataError, match="no camera 'front'; it has agentview, wrist"):
        dataset.read_episode(0, cameras=["front"])
    with pytest.raises(IndexError, match="episode 5 of 5: allowed are 0 to 4"):
        dataset.read_episode(5)


def test_an_open_dataset_can_be_read_while_it_is_written(tmp_path):
    with LeRobotWriter(tmp_path / "d") as writer:
        writer.add_episode(demonstration(0))
        dataset = LeRobotDataset(tmp_path / "d")
        assert not dataset.summary().closed
        assert_same(dataset.read_episode(0), demonstration(0), dataset.codec_error_bound(0))
        assert dataset.stats()["action"]["count"] == [5]
        with pytest.raises(DataError, match="another process is writing"):
            LeRobotWriter(tmp_path / "d", resume=True)
    assert LeRobotDataset(tmp_path / "d").summary().closed


def test_resume_adds_episodes(dataset_folder, tmp_path):
    import shutil

    shutil.copytree(dataset_folder, tmp_path / "d")
    with pytest.raises(DataError, match="written at 10 frames per second, not 20"):
        LeRobotWriter(tmp_path / "d", resume=True)
    with LeRobotWriter(tmp_path / "d", resume=True, fps=10) as writer:
        assert writer.add_episode(demonstration(7)) == 5
    dataset = LeRobotDataset(tmp_path / "d")
    assert len(dataset) == 6
    assert_same(dataset.read_episode(5), demonstration(7), dataset.codec_error_bound(5))
    assert_same(dataset.read_episode(2), demonstration(2, 5), dataset.codec_error_bound(2))
    assert dataset.stats()["action"]["count"] == [30]


def test_what_is_there_is_not_overwritten(tmp_path):
    write(tmp_path / "d", [demonstration(0)])
    with pytest.raises(DataError, match=r"is not empty.*overwrite=True"):
        LeRobotWriter(tmp_path / "d")
    write(tmp_path / "d", [demonstration(1), demonstration(2)], overwrite=True)
    assert [d.init_state for d in LeRobotDataset(tmp_path / "d")] == [1, 2]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("...")
    with pytest.raises(DataError, match="not a dataset: it is left alone"):
        LeRobotWriter(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "..."


def test_episodes_must_fit_together(tmp_path):
    with LeRobotWriter(tmp_path / "d") as writer:
        writer.add_episode(demonstration(0))
        with pytest.raises(DataError, match=r"state width 3; the dataset .* has 8"):
            writer.add_episode(demonstration(1, state=np.zeros((5, 3), np.float32)))
        with pytest.raises(DataError, match="cameras"):
            writer.add_episode(demonstration(1, cameras=("agentview",)))
        writer.add_episode(demonstration(2))
    assert len(LeRobotDataset(tmp_path / "d")) == 2


def test_an_exception_keeps_the_complete_episodes(tmp_path):
    with pytest.raises(RuntimeError, match="simulator"), LeRobotWriter(tmp_path / "d") as writer:
        writer.add_episode(demonstration(0))
        raise RuntimeError("simulator fell over")
    assert LeRobotDataset(tmp_path / "d").summary().closed


def test_a_writer_without_episodes_leaves_nothing(tmp_path):
    with LeRobotWriter(tmp_path / "d"):
        pass
    assert not (tmp_path / "d").exists()


def test_other_versions_and_damage_are_named(tmp_path):
    write(tmp_path / "d", [demonstration(0)])
    info = tmp_path / "d/meta/info.json"
    good = info.read_text()
    info.write_text(good.replace("v3.0", "v2.1"))
    with pytest.raises(DataError, match=r"version v2.1.*convert_dataset_v21_to_v30"):
        LeRobotDataset(tmp_path / "d")
    info.write_text(good)
    video = next((tmp_path / "d/videos").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(Exception, match=r"file-000.mp4 cannot be read as a video"):
        LeRobotDataset(tmp_path / "d").read_episode(0)
    data = next((tmp_path / "d/data").rglob("*.parquet"))
    data.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"file-000.parquet cannot be read"):
        LeRobotDataset(tmp_path / "d").read_episode(0)


def test_a_dataset_of_another_program(tmp_path):
    """Without our columns the defaults say 'not recorded' and instructions still come from tasks.parquet."""
    write(tmp_path / "d", [demonstration(n) for n in range(2)])
    path = next((tmp_path / "d/meta/episodes").rglob("*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["suite", "task", "init_state", "succeeded", "codec_max_error"]), path)
    dataset = LeRobotDataset(tmp_path / "d")
    found = dataset.read_episode(1)
    assert (found.suite, found.task, found.init_state, found.succeeded) == ("", 1, -1, True)
    assert found.instruction == demonstration(1).instruction
    assert dataset.codec_error_bound(1) is None
    assert dataset.summary().tasks[1].task == 1


def test_a_dataset_with_single_images(tmp_path):
    """lerobot can store PNGs in the data files in place of videos, and cameras of any name."""
    expected = [demonstration(n, 4, ("front",)) for n in range(2)]
    write(tmp_path / "d", expected)
    info = json.loads((tmp_path / "d/meta/info.json").read_text())
    feature = info["features"].pop("observation.images.front")
    info["features"]["front"] = feature | {"dtype": "image"}
    (tmp_path / "d/meta/info.json").write_text(json.dumps(info))
    cells = []
    for frame in np.concatenate([e.images["front"] for e in expected]):
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "PNG")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    path = next((tmp_path / "d/data").rglob("*.parquet"))
    table = pq.read_table(path)
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(table.append_column("front", pa.array(cells, cell)), path)
    for found, original in zip(LeRobotDataset(tmp_path / "d"), expected, strict=True):
        assert_same(found, original)
