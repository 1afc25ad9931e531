"""Chunks and their index: what goes in comes out, and what is cut, altered or hostile is refused."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree

from lightning_binding import InputError
from lightning_binding.data.shards.chunk import Chunk, Example, decode_example, encode_example, pack
from lightning_binding.data.shards.index import SPEC, ChunkInfo, ShardIndex, parse_index

examples = st.builds(
    Example,
    st.binary(max_size=80),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(categories=("L", "N", "P", "S")), max_size=20),
)


@given(st.lists(examples, max_size=6))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, items: list[Example]) -> None:
    path = tmp_path_factory.getbasetemp() / "chunk.bin"
    path.write_bytes(pack([encode_example(item) for item in items]))
    chunk = Chunk(path)
    assert chunk.count == len(items)
    assert [chunk.example(index) for index in range(chunk.count)] == items
    with pytest.raises(InputError, match=f"has {len(items)} items, and none of number {len(items)}"):
        chunk.item(len(items))
    chunk.close()


def test_the_bytes_are_those_of_litdata() -> None:
    """As its BinaryWriter writes `{"data": b"\\x01" * 3, "label": 7, "name": "a"}`, and `b""`, -1, `"bc"`."""
    items = [encode_example(Example(b"\1\1\1", 7, "a")), encode_example(Example(b"", -1, "bc"))]
    header = struct.pack("<4I", 2, 16, 40, 62)
    first = struct.pack("<3I", 3, 8, 1) + b"\1\1\1" + struct.pack("<q", 7) + b"a"
    assert pack(items) == header + first + struct.pack("<3I", 0, 8, 2) + struct.pack("<q", -1) + b"bc"
    spec = _pytree.tree_structure({"data": 0, "label": 0, "name": 0})
    assert json.loads(SPEC) == json.loads(_pytree.treespec_dumps(spec))


@given(st.data())
def test_a_cut_chunk_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.bin"
    items = [encode_example(Example(bytes(5 * n), n, f"{n}")) for n in range(3)]
    whole = pack(items)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError, match="cut"):
        Chunk(path).item(2)


def test_a_chunk_cut_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(pack([encode_example(Example(bytes(5000), 0, "a"))]))
    chunk = Chunk(path)
    os.truncate(path, 100)
    with pytest.raises(InputError, match="cut while it was read"):
        chunk.item(0)


def test_numbers_that_promise_much_take_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (struct.pack("<I", 2**32 - 1), struct.pack("<4I", 2, 0, 2**32 - 1, 5), b"\1"):
        path.write_bytes(content + bytes(12 if len(content) == 16 else 0))
        with pytest.raises(InputError, match=r"cut|not within"):
            Chunk(path).item(0)
    with pytest.raises(InputError, match="too few for an item"):
        decode_example(b"123", "it")
    with pytest.raises(InputError, match="what its sizes say"):
        decode_example(struct.pack("<3I", 2**32 - 1, 8, 0) + bytes(8), "it")


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(pack([encode_example(Example(b"", 0, ""))]))
    (tmp_path / "a.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="links are refused"):
        Chunk(tmp_path / "a.bin")


def test_names_that_are_no_text_or_break_lines() -> None:
    found = decode_example(encode_example(Example(b"", 0, os.fsdecode(b"a\xff\n\tb"))), "it")
    assert found.name == "a\N{REPLACEMENT CHARACTER}??b"


INFO = ChunkInfo("chunk-00000.bin", 2, 100, "0" * 64)
INDEX = ShardIndex([INFO, ChunkInfo("b.bin", 1, 20, None)], "image", ("ant", "bee"), "abc")


def test_an_index_comes_out_as_it_went_in() -> None:
    assert parse_index(INDEX.to_json(), "it") == INDEX
    assert INDEX.digest != INDEX._replace(chunks=[INFO]).digest


def change(*keys: Any, to: Any) -> str:
    found = json.loads(INDEX.to_json())
    place = found
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return json.dumps(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "it is no JSON"),
        ("[" * 100_000, "it is nested too deep|no JSON"),
        ("[]", "it is no index of shards"),
        ("{}", "no index of shards: KeyError 'config'"),
        (change("chunks", to=[]), "lists no chunks"),
        (change("chunks", 0, "filename", to="../chunk.bin"), "names the chunk '../chunk.bin'; expected is a plain"),
        (change("chunks", 0, "filename", to="/etc/passwd.bin"), "names the chunk '/etc/passwd.bin'"),
        (change("chunks", 0, "filename", to="..bin"), "names the chunk '..bin'"),
        (change("chunks", 0, "filename", to="a.bin\n"), "names the chunk"),
        (change("chunks", 0, "filename", to="http://a.bin"), "names the chunk"),
        (change("chunks", 0, "filename", to=5), "5 is not of type"),
        (change("chunks", 1, "filename", to="chunk-00000.bin"), "lists a file twice"),
        (change("chunks", 0, "chunk_size", to=-1), "-1 examples in 100 bytes, which cannot be"),
        (change("chunks", 0, "chunk_size", to=10**9), "which cannot be"),
        (change("chunks", 0, "chunk_bytes", to=2**40), "which cannot be"),
        (change("chunks", 0, "chunk_size", to=True), "True is not of type"),
        (change("chunks", 0, "sha256", to="xyz"), "expected are 64 hexadecimal digits"),
        (change("config", "compression", to="zstd"), "expected are None, None, PyTreeLoader"),
        (change("config", "data_format", to=["jpeg", "int"]), "as `lightning-binding shard` writes them"),
        (change("lightning_binding", "class_names", to="ab"), "no index of shards: TypeError"),
    ],
)
def test_wrong_indices(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_index(text, "it")
