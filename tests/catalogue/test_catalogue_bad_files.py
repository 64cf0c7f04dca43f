"""Truncated, mistyped, hostile and empty overlays: every problem at once, each with its place, never a traceback."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polysilicon.catalogue import load
from polysilicon.errors import InputError, InputErrors

HEAD = "subject,parameter,value,unit,source,as_of,basis,note\n"
GOOD = "h100-sxm,tdp_w,700,W,s,2026,measured,\n"
OFFERS = "id,cloud,region,chip,kind,usd_per_chip_hour,source,basis\n"
PORTS = "model_family,chip_family,engine,status,source,as_of,basis\n"

CASES = {
    "nan": (HEAD + "h100-sxm,tdp_w,nan,W,s,2026,measured,\n", "o.csv:2:16", "not a number"),
    "too large": (HEAD + "h100-sxm,tdp_w,1e400,W,s,2026,measured,\n", "o.csv:2:16", "too large"),
    "infinite": (HEAD + "h100-sxm,tdp_w,inf,W,s,2026,measured,\n", "o.csv:2:16", "not a number"),
    "negative": (HEAD + "h100-sxm,tdp_w,-5,W,s,2026,measured,\n", "o.csv:2:16", "allowed is 0"),
    "thousands": (HEAD + 'h100-sxm,tdp_w,"1,000",W,s,2026,measured,\n', "o.csv:2:16", "thousands separators"),
    "wrong unit": (HEAD + "h100-sxm,tdp_w,700,GB,s,2026,measured,\n", "o.csv:2:20", "measures"),
    "unknown unit": (HEAD + "h100-sxm,tdp_w,700,watts,s,2026,measured,\n", "o.csv:2:20", 'unit "watts"'),
    "no unit": (HEAD + "h100-sxm,tdp_w,700,,s,2026,measured,\n", "o.csv:2:20", "no unit"),
    "half a chip": (HEAD + "gb200-nvl72,chips,71.5,,s,2026,measured,\n", "o.csv:2:19", "whole number"),
    "no source": (HEAD + "h100-sxm,tdp_w,700,W,,2026,measured,\n", "o.csv:2:22", "no source"),
    "no value": (HEAD + "h100-sxm,tdp_w,,W,s,2026,measured,\n", "o.csv:2:16", "no value"),
    "bad date": (HEAD + "h100-sxm,tdp_w,700,W,s,yesterday,measured,\n", "o.csv:2:24", "not a date"),
    "impossible date": (HEAD + "h100-sxm,tdp_w,700,W,s,2026-13-45,measured,\n", "o.csv:2:24", "not a date"),
    "bad basis": (HEAD + "h100-sxm,tdp_w,700,W,s,2026,measurd,\n", "o.csv:2:29", "did you mean"),
    "unknown parameter": (HEAD + "h100-sxm,tdp,700,W,s,2026,measured,\n", "o.csv:2:10", "did you mean"),
    "unknown subject": (HEAD + "h100-sxn,tdp_w,700,W,s,2026,measured,\n", "o.csv:2:1", "did you mean"),
    "twice": (HEAD + GOOD + GOOD.replace("700", "650"), "o.csv:3:10", "stands here again"),
    "band upside down": (HEAD + GOOD + GOOD.replace("tdp_w,700", "tdp_w.low,800"), "o.csv:3:20", "but tdp_w is 700"),
    "row cut off": (HEAD + "h100-sxm,tdp_w,700\n", "o.csv:2:1", "3 cells"),
    "too many cells": (HEAD + "h100-sxm,tdp_w,700,W,s,2026,measured,,more\n", "o.csv:2:1", "9 cells"),
    "open quote": (HEAD + 'h100-sxm,tdp_w,"700,W,s,2026,measured,\n', "o.csv:2", "CSV"),
    "no header": ("h100-sxm,tdp_w,700,W,s,2026,measured,\n", "o.csv:1:1", "header"),
    "header lacks a column": ("subject,parameter,value\nh100-sxm,tdp_w,700\n", "o.csv:1:1", "lacks unit"),
    "column twice": ("subject,parameter,value,value\n", "o.csv:1:1", "twice"),
    "empty": ("", "o.csv:1:1", "empty"),
    "new chip without family": (HEAD + "chip:x,vendor,Own,,s,2026,assumed,\n", "o.csv:2:1", "family"),
    "system of no chip": (HEAD + "system:x,chip,h1000,,s,2026,assumed,\nsystem:x,chips,8,,s,2026,assumed,\n", "o.csv:2", "h1000"),
    "model without keys": (HEAD + "model:x,model_type,llama,,s,2026,assumed,\n", "o.csv:2:1", "hidden_size"),
    "stand-in": (HEAD + "claude-opus-5-5,stand_in,deepsek-v3,,s,2026,assumed,\n", "o.csv:2:26", "did you mean"),
    "offer kind": (OFFERS + "x,c,r,h100-sxm,ondemand,2,s,list_price\n", "o.csv:2:16", "did you mean"),
    "offer chip": (OFFERS + "x,c,r,h100,on_demand,2,s,list_price\n", "o.csv:2:7", "did you mean"),
    "offer price": (OFFERS + "x,c,r,h100-sxm,on_demand,two,s,list_price\n", "o.csv:2:26", "not a number"),
    "offer without price": (OFFERS + "x,c,r,h100-sxm,on_demand,,s,list_price\n", "o.csv:2:26", "quote_only"),
    "quote with price": (OFFERS + "x,c,r,h100-sxm,quote_only,2,s,list_price\n", "o.csv:2:27", "quote_only"),
    "offer twice": (OFFERS + "x,c,r,h100-sxm,on_demand,2,s,list_price\n" * 2, "o.csv:3:1", "again"),
    "offer without source": (OFFERS + "x,c,r,h100-sxm,on_demand,2,,list_price\n", "o.csv:2:28", "source is empty"),
    "offer column": (OFFERS.replace("basis", "basis,hue") + "x,c,r,h100-sxm,on_demand,2,s,list_price,red\n", "o.csv:1:1", "hue"),
    "port status": (PORTS + "llama,maia,vllm,done,s,2026,assumed\n", "o.csv:2:17", "done"),
    "price date": ("provider,model,as_of,source,basis,usd_per_mtok_in\no,m,soon,s,list_price,1\n", "o.csv:2:5", "not a date"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_file_tells_its_place(tmp_path, name, monkeypatch):
    text, place, words = CASES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.csv").write_text(text)
    with pytest.raises(InputErrors) as caught:
        load(__import__("pathlib").Path("o.csv"))
    assert words in str(caught.value), str(caught.value)
    assert any(p.where.startswith(place) for p in caught.value.problems), [p.where for p in caught.value.problems]


def test_every_problem_of_a_file_at_once(tmp_path):
    rows = "h100-sxm,tdp_w,nan,W,s,2026,measured,\nh100-sxm,hbm_gb,80,W,s,2026,measured,\nnothing,x,1,,s,2026,measured,\n"
    file = tmp_path / "o.csv"
    file.write_text(HEAD + rows)
    with pytest.raises(InputErrors) as caught:
        load(file)
    assert len(caught.value.problems) == 3


BAD_YAML = {
    "list": ("- 1\n", "mapping"),
    "section": ("chip: {}\n", "did you mean"),
    "tab": ("chips:\n\t- x\n", "not YAML"),
    "cut": ("chips: {h100-sxm: {tdp_w: 700\n", "not YAML"),
    "no source": ("chips: {h100-sxm: {tdp_w: 700}}\n", "no source"),
    "part": ("source: s\nchips: {h100-sxm: {tdp_w: {value: 700, units: W}}}\n", "did you mean"),
    "deep": ("source: s\nchips: {h100-sxm: 5}\n", "mapping of parameters"),
    "nan": ("source: s\nchips: {h100-sxm: {tdp_w: .nan}}\n", "not a number"),
    "port": ("source: s\nports: [{model_family: llama}]\n", "chip_family"),
    "bomb": ("source: s\nx: &a [1, 1]\nchips: {h100-sxm: {tdp_w: [*a, *a]}}\n", "list of lists"),
    "circle": ("source: s\nchips: {h100-sxm: &a {deep: *a}}\n", "deep"),
    "nest": ("source: s\nchips: {h100-sxm: {a: {b: {c: {d: {e: 1}}}}}}\n", "nested too deeply"),
    "item": ("source: s\nports: [llama]\n", "a mapping is expected"),
    "date": ("source: s\nas_of: 31.12.2026\nchips: {h100-sxm: {tdp_w: 700}}\n", "not a date"),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_yaml(tmp_path, name):
    text, words = BAD_YAML[name]
    file = tmp_path / "o.yaml"
    file.write_text(text)
    with pytest.raises(InputErrors) as caught:
        load(file)
    assert words in str(caught.value)
    assert "o.yaml" in caught.value.problems[0].where


def test_yaml_problems_stand_at_their_line(tmp_path):
    file = tmp_path / "o.yaml"
    file.write_text("source: s\nchips:\n  h100-sxm:\n    tdp_w: -3\n    tdp: 3\n")
    with pytest.raises(InputErrors) as caught:
        load(file)
    assert [p.where.removeprefix(f"{file}:") for p in caught.value.problems] == ["4:5", "5:5"]


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"\xff\xfe\x00", b"PK\x03\x04" + bytes(range(256)), b"subject,\x80"])
def test_binary_garbage(tmp_path, content):
    file = tmp_path / "o.csv"
    file.write_bytes(content)
    with pytest.raises(InputErrors):
        load(file)


def test_missing_file_empty_folder_and_a_folder_of_nothing(tmp_path):
    with pytest.raises(InputErrors, match="cannot be read"):
        load(tmp_path / "nothing.csv")
    with pytest.raises(InputErrors, match="holds no"):
        load(tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.sampled_from('subject,parameterv"\n1e9.:-{}[]#hx'), max_size=120),
    ending=st.sampled_from([".csv", ".yaml"]),
)
def test_any_text_is_read_or_refused_cleanly(tmp_path, text, ending):
    file = tmp_path / f"o{ending}"
    file.write_text(text)
    try:
        load(file)
    except InputError as error:
        assert str(error)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), flip=st.integers(0, 399), byte=st.integers(0, 255))
def test_any_cut_or_flipped_byte_is_read_or_refused_cleanly(tmp_path, cut, flip, byte):
    good = (
        HEAD
        + "h100-sxm,tdp_w,700,W,s,2026,measured,\n" * 1
        + "chip:x,vendor,Own,,s,2026,assumed,\nchip:x,family,cpu,,s,2026,assumed,\n"
    ).encode()
    content = bytearray(good)
    content[flip % len(content)] = byte
    file = tmp_path / "o.csv"
    file.write_bytes(bytes(content)[:cut] if cut < len(content) else bytes(content))
    try:
        load(file)
    except InputError as error:
        assert str(error)
