"""Lists as people have them: every line is in the listing, in a warning, or in an error that names file and line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from far.data.sources.layouts import read_listing
from far.data.sources.listing import Listing
from far.errors import DataError

HEAD = "label,youtube_id,time_start,time_end,split,is_cc\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes files by name (None: an empty one) below a folder, and returns the folder."""

    def files(contents: dict[str, str | bytes | None]) -> Path:
        for name, content in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else (content or "").encode())
        return tmp_path

    return files


def ids(listing: Listing) -> list[tuple[str, str, int, bool]]:
    return [(v.split, v.id, v.label, v.path is not None) for v in listing.videos]


def warned(listing: Listing, what: str) -> list[str]:
    return [place for text, places in listing.warnings.items() if what in text for place in places]


class TestPathLists:
    @pytest.mark.parametrize(("names", "odd"), [("0 nod\n1 wave\n", 0), ("1 nod\n2 wave\n", 2), ("1 nod\nwave\n", 0)])
    def test_names_that_are_numbered_otherwise_are_a_warning(self, write: Any, names: str, odd: int) -> None:
        root = write({"train.csv": "a.mp4 0\nb.mp4 1\n", "labels.txt": names, "a.mp4": None, "b.mp4": None})
        places = warned(read_listing("csv", root), "begin with another number")
        assert len(places) == odd
        assert not odd or places[0] == "labels.txt:1 '1 nod' names class 0"

    @pytest.mark.parametrize(
        "line",
        ["\ufeffclips/a b.mp4 0", '"clips/a b.mp4" 0', "'clips/a b.mp4',0", "clips\\a b.mp4 0", "clips/a b 0",
         "clips/a b.mp4;0", '"clips\\a b.mp4"\t"0"', "./clips/a b.mp4, 0", "clips/a b.mp4 0\r"],
    )  # fmt: skip
    def test_a_line_whose_meaning_is_certain_is_understood(self, write: Any, line: str) -> None:
        root = write({"train.csv": line + "\n", "clips/a b.mp4": None})
        assert ids(read_listing("csv", root)) == [("train", "clips/a b", 0, True)]

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (["a.mp4 0", "a.mp4 120 1"], r"train\.csv:2: expected `path label`, got 'a\.mp4 120 1'; leave out what"),
            (["a 120 1"], r"train\.csv:1: expected `path label`"),
            (["path,label", "a.mp4 0"], r"train\.csv:1: expected `path label`, got 'path,label'; there is no header"),
            (["a.mp4 wave"], r"train\.csv:1: .*; a label is the number of a class, from 0"),
            ([HEAD.strip()], r"train\.csv:1: .* the layout k400"),
            (
                ["a.mp4 0", "a.mp4 one", "b", "b.mp4 two", "c"],
                r"csv:2: .*\(likewise train\.csv:3, .*:4, train\.csv:5\)",
            ),
            (["twin 0"], r"train\.csv:1: several files are called 'twin': twin\.mkv and twin\.mp4"),
            (["a.mp4 -5"], r"train\.csv:1: -5 is no label"),
            (["a.mp4 " + "9" * 5000], r"train\.csv:1: 9+… is no label"),
            (["a.mp4 0", "b.mp4 20231125"], r"train\.csv:2: 20231125 as a label would make 20231126 classes"),
            (["a.mp4 3000000000"], r"train\.csv:1: 3000000000 as a label"),
            (["a.mp4 0", "a.mp4 1", "x.mp4 0", "x.mp4 0"], r"called 'a': train\.csv:1 and train\.csv:2; 2 such in all"),
            (["/ 0", ". 1"], r"train\.csv:1: expected"),
            (["a\0b.mp4 0"], r"train\.csv:1: holds a zero byte"),
        ],
    )
    def test_a_line_of_anything_else_is_refused(self, write: Any, lines: list[str], message: str) -> None:
        root = write({"train.csv": "\n".join(lines), "a.mp4": None, "twin.mp4": None, "twin.mkv": None})
        with pytest.raises(DataError, match=message):
            read_listing("csv", root)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a.mp4 0\nbüro.mp4 0\n".encode("latin-1"), r"train\.csv:2: not in UTF-8 \(byte 0xfc\)"),
            ("a.mp4 0\n".encode("utf-16"), r"train\.csv:1: in UTF-16"),
        ],
    )
    def test_another_encoding_is_named(self, write: Any, content: bytes, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_listing("csv", write({"train.csv": content}))

    def test_two_lists_of_a_split_are_refused_unless_they_are_one(self, write: Any) -> None:
        root = write({"train.csv": "a.mp4 0\n", "valid.csv": "a.mp4 0\n", "val.txt": "b.mp4 0\n"})
        with pytest.raises(DataError, match=r"two lists of the split 'val', .*val\.txt and valid\.csv"):
            read_listing("csv", root)
        write({"val.txt": "a.mp4 0\n"})
        assert [v.split for v in read_listing("csv", root).videos] == ["train", "val"]

    def test_lists_are_found_in_any_case_and_others_are_named(self, write: Any) -> None:
        listing = read_listing("csv", write({"Train.csv": "a.mp4 0\n", "VAL.TXT": "b.mp4 0\n", "val_list.txt": "c"}))
        assert [v.id for v in listing.videos] == ["a", "b"]
        assert warned(listing, "not read") == ["val_list.txt"]

    def test_a_blank_line_among_the_classes_is_refused(self, write: Any) -> None:
        root = write({"train.csv": "a.mp4 2\n", "labels.txt": "\ufeffone\n\ntwo\nthree\n\n"})
        with pytest.raises(DataError, match=r"labels\.txt:2: an empty line"):
            read_listing("csv", root)
        write({"labels.txt": "\ufeffone\ntwo\nthree\n\n"})
        assert read_listing("csv", root).labels == ["one", "two", "three"]

    def test_labels_from_one_are_noticed(self, write: Any) -> None:
        listing = read_listing("csv", write({"train.csv": "a.mp4 2\nb.mp4 1\n", "a.mp4": None, "b.mp4": None}))
        assert warned(listing, "do these labels start at 1") == ["train.csv:2"]
        assert warned(listing, "classes without a video") == ["0 '0'"]

    def test_a_subset_keeps_the_numbers_of_its_classes(self, write: Any) -> None:
        listing = read_listing("csv", write({"train.csv": "a.mp4 3\nb.mp4 399\n"}))
        assert len(listing.labels) == 400

    def test_what_is_no_file_is_missing_and_named(self, write: Any) -> None:
        names = ["link.mp4", "pipe.mp4", "folder.mp4", "zero.mp4"]
        root = write({"val.csv": "".join(f"{name} 0\n" for name in [*names, "x" * 5000 + ".mp4"])})
        (root / "link.mp4").symlink_to("nowhere")
        os.mkfifo(root / "pipe.mp4")
        (root / "folder.mp4").mkdir()
        (root / "zero.mp4").symlink_to("/dev/zero")
        listing = read_listing("csv", root)
        assert not any(v.path for v in listing.videos)
        assert warned(listing, "a broken link") == ["val.csv:1"]
        assert warned(listing, "a device") == ["val.csv:2", "val.csv:4"]
        assert warned(listing, "a folder") == ["val.csv:3"]


class TestKinetics:
    @pytest.mark.parametrize(
        "text",
        ["\ufeff" + HEAD + "wave,abc,5,15,train,0\n",
         HEAD.replace(",", ";") + "wave;abc;5;15;train;0\n",
         HEAD.replace(",", ", ") + 'wave , abc, 5, 15.0, train, 0\n"wave", bcd, 0, 10, train, 0\n',
         '"label","youtube_id","time_start","time_end","split"\n"wave","abc","5","15","train"\n',
         "Label,YouTube_ID,time_start,time_end\r\nwave,abc,5,15\r\n"],
    )  # fmt: skip
    @pytest.mark.parametrize("name", ["abc_5_15", "abc_000005_000015"])
    def test_a_list_whose_meaning_is_certain_is_understood(self, write: Any, text: str, name: str) -> None:
        listing = read_listing("k400", write({"train.csv": text, f"wave/{name}.mp4": None}))
        assert ids(listing)[0] == ("train", "abc_000005_000015", 0, True)
        assert listing.labels == ["wave"]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("wave,abc,5", r"train\.csv:3: expected the columns label, youtube_id,"),
            ("wave,abc,5,inf,train,0", r"train\.csv:3: times must be seconds, not '5' and 'inf'"),
            ("wave,abc,nan,15,train,0", r"train\.csv:3: times"),
            ("wave,abc,1e400,15,train,0", r"train\.csv:3: times"),
            ("wave,abc,00:05,00:15,train,0", r"train\.csv:3: times"),
            ("wave, hello,abc,5,15,train,0,x", r"train\.csv:3: expected the columns label"),
            ("wave,,5,15,train,0", r"train\.csv:3: expected the columns label"),
            ("wave,abc,5,15,trian,0", r"train\.csv:3: no split is called 'trian'"),
            ('"wave,abc,5,15,train,0', r"train\.csv:3: "),
        ],
    )
    def test_a_row_of_anything_else_is_refused(self, write: Any, row: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_listing("k400", write({"train.csv": f"{HEAD}wave,bcd,5,15,train,0\n{row}\n"}))

    def test_a_clip_with_two_labels_or_listed_twice_is_named(self, write: Any) -> None:
        rows = ["wave,abc,5,15,train,0", "nod,abc,5,15,train,0", "wave,abc,5,15,train,0", "nod,abc,15,25,train,0"]
        listing = read_listing("k400", write({"train.csv": HEAD + "\n".join(rows)}))
        assert [(v.id, v.label) for v in listing.videos] == [("abc_000005_000015", 1), ("abc_000015_000025", 0)]
        assert warned(listing, "two labels") == ["train.csv:2 'wave', train.csv:3 'nod'"]
        assert warned(listing, "listed again") == ["train.csv:4"]

    def test_other_tables_are_named(self, write: Any) -> None:
        listing = read_listing(
            "k400",
            write(
                {"train.csv": f"{HEAD}wave,abc,5,15,train,0\n", "._train.csv": b"\0\5\x16\7\xff", "x.csv": b"\xff\n"}
            ),
        )
        assert warned(listing, "hidden") == ["._train.csv"]
        assert warned(listing, "no lists of Kinetics") == ["x.csv"]
        write_latin = f"{HEAD}wave,abc,5,15,train,0\nbüro,abc,15,25,train,0\n".encode("latin-1")
        with pytest.raises(DataError, match=r"val\.csv:3: not in UTF-8"):
            read_listing("k400", write({"val.csv": write_latin}))


class TestSomethingSomething:
    LABELS = '{"Holding something": "0", "Dropping something": "1"}'

    @pytest.mark.parametrize(
        ("entry", "label"),
        [
            ({"id": "1", "template": "Holding [something]"}, 0),
            ({"id": "1", "label": "holding a cup", "template": "Dropping something"}, 1),
            ({"id": 1, "label": "Dropping [something]"}, 1),
            ({"id": "1.webm", "template": "Holding [something]"}, 0),
        ],
    )
    def test_an_entry_whose_meaning_is_certain_is_understood(self, write: Any, entry: Any, label: int) -> None:
        root = write({"labels.json": self.LABELS, "train.json": "\ufeff" + json.dumps([entry]), "v/1.webm": None})
        assert ids(read_listing("ssv2", root)) == [("train", str(entry["id"]), label, True)]

    @pytest.mark.parametrize(
        ("labels", "entries", "message"),
        [
            ('["Holding something"]', "[]", r"labels\.json:1: expected an object"),
            ('{\n"0": "Holding something"}', "[]", r"labels\.json:2: '0': expected the class's number"),
            ('{"A": "0",\n"B": 1.5}', "[]", r"labels\.json:2: 'B'"),
            ('{"[A]": "0",\n"A": "1"}', "[]", r"labels\.json:2: the class 'A' is there twice"),
            ('{"A": "1"}', "[]", r"labels\.json: the class numbers are not 0 to 0"),
            ("{", "[]", r"labels\.json:1: not valid JSON"),
            ("[" * 100_000, "[]", r"labels\.json: not valid JSON"),
            ('{"A": ' + "9" * 5000 + "}", "[]", r"labels\.json: not valid JSON"),
            (LABELS, '{"1": "Holding something"}', r"train\.json:1: expected a list"),
            (LABELS, "null", r"train\.json:1: expected a list, .*null"),
            (LABELS, '[\n{"id": "1"},\n {"template": "A"}, 5]', r"train\.json:3: .*\(likewise train\.json:3\)"),
            (LABELS, '[{"id": ["1"]}]', r"train\.json:1: expected a video"),
            (LABELS, '[{"id": true}]', r"train\.json:1: expected a video"),
            (LABELS, '[\n{"id": "1",\n"label": "holding a cup"}]', r"train\.json:2: video 1: there is no template"),
            (LABELS, '[{"id": "1", "template": ["Holding"]}]', r"train\.json:1: video 1: the template is no text"),
            (LABELS, '[{"id": "1", "id": "2"}]', r"train\.json:1: one key is there twice"),
            (LABELS, '[{"id": "\\ud800"}]', r"not in UTF-8.*: train\.json:1"),
            (LABELS, '[{"id": "1"},\n{"id": 1}]', r"called '1': train\.json:1 and train\.json:2"),
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, write: Any, labels: str, entries: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_listing("ssv2", write({"labels.json": labels, "train.json": entries}))

    def test_two_lists_of_a_split_are_refused_unless_they_are_one(self, write: Any) -> None:
        entries = json.dumps([{"id": "1", "template": "Holding something"}])
        root = write(
            {"labels.json": self.LABELS, "all/train.json": entries, "mini/something-something-v2-train.json": "[]"}
        )
        with pytest.raises(DataError, match=r"two lists of the split 'train', .*all/train\.json and mini/something"):
            read_listing("ssv2", root)
        write({"mini/something-something-v2-train.json": entries, "mini/labels.json": self.LABELS})
        assert len(read_listing("ssv2", root).videos) == 1

    def test_what_is_there_and_not_listed_or_listed_without_a_class_is_named(self, write: Any) -> None:
        lists = {"train.json": '[{"id": "1"}]', "test.json": '[{"id": "2"}]', "labels.json": self.LABELS}
        videos = {"v/1.webm": None, "v/3.webm": None, ".v/4.webm": None}
        listing = read_listing(
            "ssv2", write({**lists, **videos, "test-answers.csv": "2;nod", "mini/train2.json": "[]"})
        )
        assert warned(listing, "lists that are none") == ["mini/train2.json", "test-answers.csv"]
        assert warned(listing, "without a label") == ["train.json:1"]
        assert warned(listing, "no list names") == ["v/3.webm"]
        assert warned(listing, "hidden") == [".v"]
        assert warned(listing, "splits without a video") == ["val"]


class TestFolders:
    def test_two_folders_of_a_split_are_refused(self, write: Any) -> None:
        root = write({"train/wave/a.mp4": None, "training/nod/b.mp4": None})
        with pytest.raises(DataError, match="two folders of the split 'train': train and training"):
            read_listing("folder", root)

    def test_what_is_odd_is_named(self, write: Any) -> None:
        odd = ["train/loose.mp4", "train/wave/._a.mp4", "train/wave/c.ts", "train/.ipynb_checkpoints/x.mp4",
               "more/wave/x.mp4", "val/Wave/x.mp4", "val/wa-ve/x.mp4", "val/wa ve/x.mp4"]  # fmt: skip
        root = write(dict.fromkeys(["train/wave/a.mp4", "val/wave/b.mp4", *odd]))
        (root / "train/empty").mkdir()
        (root / "train/wave/gone.mp4").symlink_to("nowhere")
        (root / "train/wave/frames.mp4").mkdir()
        listing = read_listing("folder", root)
        assert listing.labels == ["Wave", "empty", "wa ve", "wa-ve", "wave"]
        assert {(v.split, v.id, v.path is not None) for v in listing.videos} == {
            ("train", "wave/a", True),
            ("train", "wave/gone", False),
            *(("val", f"{name}", True) for name in ("wave/b", "Wave/x", "wa-ve/x", "wa ve/x")),
        }
        assert warned(listing, "hidden") == ["train/.ipynb_checkpoints", "train/wave/._a.mp4"]
        assert warned(listing, "no class's folder") == ["train/loose.mp4"]
        assert warned(listing, "no split") == ["more"]
        assert warned(listing, "without the suffix") == ["train/wave/c.ts"]
        assert warned(listing, "a broken link") == ["train/wave/gone.mp4"]
        assert warned(listing, "a folder") == ["train/wave/frames.mp4"]
        assert warned(listing, "without a training video") == ["0 'Wave'", "2 'wa ve'", "3 'wa-ve'"]
        assert warned(listing, "classes without a video") == ["1 'empty'"]
        assert warned(listing, "almost the same name") == ["'Wave' and 'wave'", "'wa ve' and 'wa-ve'"]

    def test_links_to_folders_are_followed_once_and_never_round_in_circles(self, write: Any) -> None:
        root = write({"elsewhere/wave/a.mp4": None, "root/train/nod/b.mp4": None}) / "root"
        (root / "train/wave").symlink_to("../../elsewhere/wave")
        (root / "train/nod/more").symlink_to("../../../elsewhere")
        (root / "train/nod/round").symlink_to("..")
        (root / "train/nod/self.mp4").symlink_to("self.mp4")
        assert [v.id for v in read_listing("folder", root).videos] == [
            "nod/b",
            "nod/more/wave/a",
            "nod/self",
            "wave/a",
        ]

    def test_names_that_are_not_utf8_are_named(self, write: Any) -> None:
        root = write({"train/wave/a.mp4": None})
        Path(os.fsdecode(bytes(root) + b"/train/wave/b\xff.mp4")).touch()
        with pytest.raises(DataError, match=r"1 name not in UTF-8, to be renamed: train/wave/b\\udcff\.mp4"):
            read_listing("folder", root)

    def test_a_folder_around_it_may_have_any_name(self, write: Any) -> None:
        root = Path(os.fsdecode(bytes(write({})) + b"/\xff"))
        (root / "train/wave").mkdir(parents=True)
        (root / "train/wave/a.mp4").touch()
        assert [v.id for v in read_listing("folder", root).videos] == ["wave/a"]


def test_what_was_odd_is_said_where_nothing_is_listed(write: Any) -> None:
    root = write({"train.csv": "sep=;\n" + HEAD.replace(",", ";"), "._val.csv": b"\0"})
    with pytest.raises(DataError, match=r"needs a list with .*; tables that are no lists of Kinetics.*train\.csv"):
        read_listing("k400", root)
