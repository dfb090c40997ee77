"""`harness visualize`: from words to files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from harness.cli import main
from harness.errors import HarnessError
from harness.visualize.draw import draw
from harness.visualize.trained import Trained

QUIET = Console(quiet=True)


def _draw(run: Trained, what: list[str], *settings: str) -> list[Path]:
    return list(draw([str(run.folder.path)], what, settings, Path("results"), QUIET))


def test_from_the_command_line(resnet_run: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        words = ["--what", "feature_maps", "--set", "layer=stage4", "--set", "images=[0,5]"]
        main(["visualize", str(resnet_run.folder.path), *words])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    paths = [Path(line) for line in printed.out.split()]
    assert [path.name for path in paths] == ["feature_maps_stage4_image_0.png", "feature_maps_stage4_image_5.png"]
    assert "quick: resnet, seed 1" in printed.err
    for path in paths:
        assert path.parent == resnet_run.folder.path / "pictures"
        with Image.open(path) as image:
            assert image.width >= 1200
        assert "stage4 of quick: resnet, seed 1" in path.with_suffix(".txt").read_text()


def test_the_same_picture_again(resnet_run: Trained) -> None:
    first = [path.read_bytes() for path in _draw(resnet_run, ["maximize"], "layer=stage1", "steps=2")]
    again = [path.read_bytes() for path in _draw(resnet_run, ["maximize"], "layer=stage1", "steps=2")]
    assert first == again


def test_what_is_drawn_by_chance_is_the_same_again(resnet_run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def by_chance(run: Trained, **_: object) -> list[object]:
        drawn.append(float(torch.rand(())))
        return []

    monkeypatch.setattr("harness.visualize.draw._function", lambda _kind: by_chance)
    for _ in range(2):
        _draw(resnet_run, ["filters"])
    assert drawn[0] == drawn[1]


def test_a_parameter_goes_to_the_kinds_that_have_it(resnet_run: Trained) -> None:
    paths = _draw(resnet_run, ["filters", "maximize"], "layer=stage1.0.residual.0", "steps=1", "output_channels=[1]")
    assert [path.name.partition("_")[0] for path in paths] == ["filters"] * 3 + ["maximize"]


@pytest.mark.parametrize(
    ("what", "setting", "message", "hint"),
    [
        ("filter", "layer=stem.0", "unknown picture 'filter'", "did you mean 'filters'?"),
        ("filters", "layr=stem.0", "--set layr: pictures of filters", "did you mean 'layer'?"),
        ("filters", "layer", "--set layer is not an assignment", "--set layer=conv1"),
        ("feature_maps", "images=[-1]", "--set images.0: -1", ""),
        ("feature_maps", "images=3", "--set images: 3", ""),
        ("reconstruct", "method=guidde", "--set method: ", "guided"),
        ("filters", "layer=classifier", "no convolution 'classifier'", "stem.0"),
        ("filters", "output_channels=[4]", "stem.0 has no output channel 4", "0 to 3"),
        ("filters", "channels=[1]", "stem.0 has no input channel 1", "0 to 0"),
        ("feature_maps", "layer=stage5", "no layer 'stage5'", "stage4"),
        (
            "feature_maps",
            "layer=flatten",
            "layer 'flatten' of resnet18 gives no feature maps",
            "stem.0, stem.1, stem.2, stem, stage1",
        ),
        ("feature_maps", "images=[]", "no test image is asked for", "images=[0]"),
        ("feature_maps", "channels=[0, 4]", "'stem.0' has no channel 4", "it has 4: 0 to 3"),
        ("feature_maps", "images=[100]", "no image 100", "it has 100"),
        ("reconstruct", "strongest=5", "'stem.0' has no 5 channels", "strongest=4"),
        ("maximize", "noise=0.6", "noise of 0.6", "0 to 0.5"),
        ("maximize", "images=[100]", "no image 100", "it has 100"),
        ("channel_activations", "layer=classifier", "gives no feature maps", "stage4.1.activation"),
    ],
)
def test_bad_words(resnet_run: Trained, what: str, setting: str, message: str, hint: str) -> None:
    with pytest.raises(HarnessError) as raised:
        _draw(resnet_run, [what], setting)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_a_picture_that_does_not_fit_keeps_no_other_from_being_drawn(resnet_run: Trained) -> None:
    drawn = draw([str(resnet_run.folder.path)], ["feature_maps", "filters"], ["images=[100]"], Path("results"), QUIET)
    path = next(drawn)
    assert path.name.startswith("filters") and path.is_file()
    with pytest.raises(HarnessError, match="no image 100"):
        list(drawn)


def test_channels_or_strongest(resnet_run: Trained) -> None:
    with pytest.raises(HarnessError, match="exclude each other"):
        _draw(resnet_run, ["reconstruct"], "channels=[0]", "strongest=2")


def test_a_dotted_setting_changes_the_spec(resnet_run: Trained) -> None:
    with pytest.raises(HarnessError, match="size mismatch"):
        _draw(resnet_run, ["filters"], "model.width=8")
