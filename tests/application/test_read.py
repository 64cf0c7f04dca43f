"""Readers: the public formats, and files that are cut, mistyped, hostile or empty."""

import contextlib
import gzip
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polysilicon.application.describe import describe, describe_pieces
from polysilicon.application.generate import generate
from polysilicon.application.read import detect, pieces, read
from polysilicon.application.write import encode
from polysilicon.errors import InputError, InputErrors

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319601,3180,8
2023-11-16 18:18:04.0319601,110,27
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335Z,2399,6
"""
BURST = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,-1,,ChatGPT,472,18,490,Conversation log
45,7,1.2,GPT-4,1087,230,1317,API log
118,7,1.2,ChatGPT,417,0,417,API log
"""
MOONCAKE = """{"timestamp": 0, "input_length": 1024, "output_length": 6, "hash_ids": [0, 1]}
{"timestamp": 1500, "input_length": 1536, "output_length": 4, "hash_ids": [0, 1, 2]}
"""
BAILIAN = "".join(
    f'{{"chat_id": {chat}, "parent_chat_id": {parent}, "timestamp": {t}, "input_length": {n}, "output_length": 32, '
    f'"type": "text", "turn": {turn}, "hash_ids": {hashes}}}\n'
    for chat, parent, t, n, turn, hashes in ((159, -1, 61.1, 521, 1, [1, 2]), (160, 159, 70.0, 700, 2, [1, 2, 3]))
)
SESSION = {
    "id": "s1",
    "models": ["m"],
    "block_size": 64,
    "hash_id_scope": "local",
    "tool_tokens": 5,
    "system_tokens": 5,
    "requests": [
        {"t": 0.0, "type": "n", "model": "opus", "in": 130, "out": 9, "hash_ids": [1, 2], "api_time": 3.0},
        {
            "t": 9.0,
            "type": "subagent",
            "agent_id": "a",
            "requests": [{"t": 9.5, "type": "n", "model": "haiku", "in": 64, "out": 3, "hash_ids": [9]}],
        },
        {"t": 20.0, "type": "s", "model": "opus", "in": 200, "out": 4, "hash_ids": [1, 2, 3], "think_time": 17.0, "ttft": 1.0},
    ],
}
RATES = "client,timestamp,rate,cv,pattern,param1,param2\n0,0,2.0,1.5,Gamma,0.44,1.1\n0,600,0,0,,0,0\n1,0,1.0,2,Weibull,0.6,1\n1,600,0.5,1,Gamma,1,2\n"
RATE_LENGTHS = "client,window,field,mean,p0,p50,p100\n0,0,input_tokens,100,10,100,1000\n0,0,output_tokens,5,1,5,50\n"


def put(tmp_path, name, content):
    path = tmp_path / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def refused(path, **kw):
    with pytest.raises(InputError) as caught:
        read(path, **kw)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_azure_keeps_seven_digits(tmp_path, name):
    trace = read(put(tmp_path, name, AZURE))
    assert trace.arrival_s.tolist() == [0.0, 0.0520001, 60.0520001]
    assert trace.isl_tokens.tolist() == [4808, 3180, 110] and trace.osl_tokens.tolist() == [10, 8, 27]


def test_azure_2024_has_zones(tmp_path):
    trace = read(put(tmp_path, "week.csv", AZURE_2024))
    assert trace.arrival_s.tolist() == [0.0, 0.007405]


def test_burstgpt_models_sessions_and_failures(tmp_path):
    trace = read(put(tmp_path, "b.csv", BURST))
    assert trace.workload_names == ("ChatGPT", "GPT-4") and trace.workload.tolist() == [0, 1]
    assert trace.session.tolist() == [-1, 0]
    assert "1 requests without output left out" in trace.source


def test_mooncake_hashes(tmp_path):
    trace = read(put(tmp_path, "m.jsonl", MOONCAKE))
    assert trace.block_tokens == 512 and trace.block_hash.tolist() == [0, 1, 0, 1, 2] and trace.block_offset.tolist() == [0, 2, 5]
    assert describe(trace, lru_blocks=(2, 10))["infinite_cache_reuse_frac"] == 1024 / 2560


def test_bailian_chats_are_sessions(tmp_path):
    trace = read(put(tmp_path, "q.jsonl", BAILIAN))
    assert trace.block_tokens == 16 and trace.session.tolist() == [0, 0]


@pytest.mark.parametrize("form", ["file", "folder", "lines"])
def test_recorded_sessions(tmp_path, form):
    other = {**SESSION, "id": "s2"}
    if form == "lines":
        path = put(tmp_path, "all.jsonl", json.dumps(SESSION) + "\n" + json.dumps(other) + "\n")
    else:
        path = put(tmp_path, "trace_1.json", json.dumps(SESSION, indent=1))
        put(tmp_path, "trace_2.json", json.dumps(other))
        path = tmp_path if form == "folder" else path
    trace = read(path)
    assert len(trace) == (3 if form == "file" else 6)
    assert np.all(np.diff(trace.arrival_s) >= 0)
    assert len(np.unique(trace.session)) == (2 if form == "file" else 4)  # a sub-agent is a thread of its own
    assert trace.block_tokens == 64 and trace.workload_names[0] in ("opus", "haiku")
    assert len(np.unique(trace.block_hash)) == (4 if form == "file" else 8)  # ids are a session's own
    assert sorted(trace.think_s)[-1] == 17.0


def test_servegen_rates_become_requests(tmp_path):
    path = put(tmp_path, "x_trace.csv.gz", RATES)
    put(tmp_path, "x_lengths.csv.gz", RATE_LENGTHS)
    trace = read(path)
    assert len(trace) == pytest.approx(3 * 600 + 300, abs=2)
    assert np.all(np.diff(trace.arrival_s) >= 0) and trace.arrival_s[-1] < 1200
    assert trace.isl_tokens.min() >= 10 and trace.isl_tokens.max() <= 1000
    assert np.median(trace.isl_tokens) == pytest.approx(100, rel=0.1)
    assert read(path).arrival_s.tobytes() == trace.arrival_s.tobytes()


def test_servegen_without_lengths_says_so(tmp_path):
    assert "have no lengths" in refused(put(tmp_path, "x_trace.csv", RATES))


def test_lengths_alone_need_a_rate(tmp_path):
    path = put(tmp_path, "v.csv", "num_prefill_tokens,num_decode_tokens,pd_ratio\n100,10,1\n200,20,1\n")
    assert "no times of arrival" in refused(path)
    assert read(path, mean_rps=2.0).isl_tokens.tolist() == [100, 200]


def test_baseten_parquet(tmp_path):
    path = tmp_path / "b.parquet"
    pl.DataFrame(
        {
            "timestamp_start_unix_ms": [1_700_000_000_000, 1_700_000_000_250],
            "input_tokens": [130, 64],
            "output_tokens": [5, 6],
            "total_hashes": [[11, 12], [11]],
            "provided_session_id": ["a", None],
            "block_size": [64, 64],
        }
    ).write_parquet(path)
    trace = read(path)
    assert trace.arrival_s.tolist() == [0.0, 0.25] and trace.session.tolist() == [0, -1]
    assert trace.block_tokens == 64 and trace.block_hash.tolist() == [11, 12, 11]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_our_own_files_come_back(tmp_path, suffix):
    made = generate("long-context", seconds=100, mean_rps=1.0, seed=4, blocks=suffix != ".csv")
    path = put(tmp_path, f"own{suffix}", encode(made, suffix))
    back = read(path)
    np.testing.assert_allclose(back.arrival_s, made.arrival_s, atol=1e-8)
    assert np.array_equal(back.isl_tokens, made.isl_tokens) and np.array_equal(back.osl_tokens, made.osl_tokens)
    assert np.array_equal(back.block_hash, made.block_hash) and np.array_equal(back.block_offset, made.block_offset)
    same = lambda s: s[:, None] == s[None, :]  # noqa: E731 - sessions may be numbered otherwise
    assert np.array_equal(same(back.session), same(made.session))


HEAD = "arrival_s,isl_tokens,osl_tokens\n"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("1,-5,3", "3: -5 prompt tokens"),
        ("1,5,-3", "3: -3 output tokens"),
        ("1,nan,3", "3: nan prompt tokens"),
        ("1,1e400,3", "3: inf prompt tokens"),
        ("1,30000000,3", "lies in 0..20,000,000"),
        ("1,2.5,3", "3: 2.5 prompt tokens"),
        ("1,many,3", '3: column isl_tokens: "many" is not a number'),
        ("1,,3", "3: column isl_tokens: has no value"),
        ("nan,1,3", "3: the time of arrival is nan"),
        ("1e999,1,3", "3: the time of arrival is inf"),
        ("soon,1,3", '3: column arrival_s: "soon" is not a time'),
        ("0.25,1,3", "3: the clock goes back from 0.5 s to 0.25 s"),
        ("1,2", "3: column osl_tokens: has no value; the line may be cut short"),
        ("1,2,3,4", "3: 4 columns where the header has 3"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path, row, told):
    path = put(tmp_path, "t.csv", f"{HEAD}0.5,10,1\n{row}\n9,10,1\n")
    assert f"{path}:{told}" in refused(path) or told in refused(path)
    assert str(path) in refused(path)


def test_every_problem_at_once(tmp_path):
    with pytest.raises(InputErrors) as caught:
        read(put(tmp_path, "t.csv", HEAD + "0,1,1\n1,-1,1\n2,x,1\n3,1,nan\n"))
    assert len(caught.value.problems) == 3
    assert [":3:" in str(p) or ":4:" in str(p) or ":5:" in str(p) for p in caught.value.problems] == [True] * 3


def test_a_million_problems_are_counted_not_listed(tmp_path):
    with pytest.raises(InputErrors) as caught:
        read(put(tmp_path, "t.csv", HEAD + "0,-1,1\n" * 5000))
    assert len(caught.value.problems) <= 22 and "more problems" in str(caught.value)


def test_a_clock_that_goes_back_can_be_sorted(tmp_path):
    path = put(tmp_path, "t.csv", HEAD + "5,1,1\n3,2,1\n4,3,1\n")
    assert "--sort" in refused(path)
    assert read(path, sort=True).isl_tokens.tolist() == [2, 3, 1]


def test_blank_lines_and_windows_ends_do_not_matter(tmp_path):
    path = put(tmp_path, "t.csv", "\ufeffarrival_s,isl_tokens,osl_tokens\r\n\r\n0,5,1\r\n\r\n1,6,2\r\n")
    assert read(path).isl_tokens.tolist() == [5, 6]
    bad = put(tmp_path, "u.csv", HEAD + "0,5,1\n\n\n1,x,2\n")
    assert f"{bad}:5:" in refused(bad)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("e.csv", b"", "is empty"),
        ("e.csv.gz", b"", "is empty"),
        ("h.csv", HEAD.encode(), "holds no requests"),
        ("b.bin", bytes(range(256)) * 50, "no table of text|not a table of text"),
        ("n.csv", b"\x00\x00\x00\x00", "not a table of text"),
        ("u.csv", HEAD.encode() + b"0,1,1\n\xff\xfe,1,1\n", ":3: the line is not UTF-8"),
        ("c.csv", b"when,how much\n1,2\n", "no known trace format"),
        ("p.parquet", b"PAR1garbage", "not a Parquet file"),
        ("j.jsonl", b'{"a": 1}\n', "no known trace format"),
        ("k.jsonl", b'{"timestamp":0,"input_length":5,"output_length":1}\n{"timestamp":1,"input_len', ":2: "),
        (
            "l.jsonl",
            b'{"timestamp":0,"input_length":5,"output_length":1}\n{"timestamp":1,"input_length":"x","output_length":1}\n',
            ':2: Expected "int"',
        ),
        ("m.jsonl", b'{"timestamp":0,"input_length":-5,"output_length":1}\n', ":1: -5 prompt tokens"),
        ("d.csv", b"arrival_s,isl_tokens,osl_tokens,isl_tokens\n0,1,1,1\n", "stands twice"),
        ("q.csv", HEAD.encode() + b'0,1,1\n"0,1,1\n2,2,2\n', ":"),
        ("z.csv", HEAD.encode() + b"0,5,0\n1,5,0\n", "holds no requests"),
    ],
)
def test_a_file_that_is_no_trace(tmp_path, name, content, told):
    words = refused(put(tmp_path, name, content))
    assert any(part in words for part in told.split("|")), words


def test_a_cut_gzip_is_told(tmp_path):
    whole = gzip.compress((HEAD + "".join(f"{i},5,5\n" for i in range(20_000))).encode())
    assert "gzip stream is broken" in refused(put(tmp_path, "cut.csv", whole[: len(whole) // 2]))


def test_missing_file_and_folder(tmp_path):
    assert "no such file" in refused(tmp_path / "nowhere.csv")
    assert "no session files" in refused(tmp_path)
    assert "did you mean" in refused(put(tmp_path, "t.csv", HEAD + "0,1,1\n"), format="azur")
    assert "TIMESTAMP" in refused(put(tmp_path, "t.csv", HEAD + "0,1,1\n"), format="azure")


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize(("name", "content"), [("a.csv", AZURE), ("m.jsonl", MOONCAKE), ("s.json", json.dumps(SESSION))])
def test_limit_stops(tmp_path, name, content, limit):
    path = put(tmp_path, name, content)
    assert len(read(path, limit=limit)) == min(limit, len(read(path)))


def test_rates_that_cannot_be_made_into_requests_are_refused_by_place(tmp_path):
    put(tmp_path, "t_lengths.csv", RATE_LENGTHS)
    path = put(tmp_path, "t_trace.csv", RATES.replace("0,0,2.0,", "0,0,1e15,"))
    assert "t_trace.csv:2: column rate: 1e+15 requests/s" in refused(path)
    path = put(tmp_path, "t_trace.csv", RATES.replace("0,0,2.0,", "1,0,2.0,").replace("0,600,0,0", "1,1200,0,0"))
    assert "t_lengths.csv: has no lengths for client 1 at 0 s, and none of a client with a rate" in refused(path)


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_no_bytes_give_a_traceback(tmp_path_factory, noise):
    path = put(tmp_path_factory.mktemp("fuzz"), "t.csv", noise)
    with contextlib.suppress(InputError):
        read(path)


@given(
    st.integers(0, 400),
    st.binary(min_size=1, max_size=6),
    st.sampled_from([AZURE, BURST, MOONCAKE, BAILIAN, json.dumps(SESSION), RATES]),
)
@settings(max_examples=150, deadline=None)
@example(47, b"1", RATES)
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, at, noise, content):
    data = content.encode()
    at = at % len(data)
    folder = tmp_path_factory.mktemp("fuzz")
    put(folder, "t_lengths.csv", RATE_LENGTHS)
    for damaged in (data[:at], data[:at] + noise + data[at + len(noise) :]):
        try:
            trace = read(put(folder, "t_trace.csv", damaged))
        except InputError:
            continue
        assert len(trace) and np.all(np.diff(trace.arrival_s) >= 0) and trace.isl_tokens.min() >= 0


def test_pieces_agree_with_the_whole(tmp_path, monkeypatch):
    from polysilicon.application import pieces as p
    from polysilicon.application import read_tables

    made = generate("chat", seconds=2000, mean_rps=3.0, seed=4, blocks=False)
    path = put(tmp_path, "own.csv", encode(made, ".csv"))
    whole = read(path)
    small = lambda path: p.line_pieces(path, size=5000)  # noqa: E731
    monkeypatch.setattr(read_tables, "line_pieces", small)
    parts = list(pieces(path))
    assert len(parts) > 10
    assert np.array_equal(np.concatenate([t.arrival_s for t in parts]), whole.arrival_s)
    assert np.array_equal(np.concatenate([t.session for t in parts]), whole.session)
    one, many = describe_pieces([whole]), describe_pieces(parts)
    assert one.keys() == many.keys()
    assert all(many[k] == pytest.approx(one[k], rel=1e-9) for k in one)
    assert read(path).isl_tokens.tolist() == whole.isl_tokens.tolist()


README = {  # measured on the very files, by other means
    "azure-llm-2023/AzureLLMInferenceTrace_code.csv.gz": {
        "requests": 8819,
        "span_s": 3435.9,
        "mean_rps": 2.567,
        "arrival_cv": 13.15,
        "isl_mean_tokens": 2048,
        "isl_p50_tokens": 1469,
        "isl_p99_tokens": 7436,
        "osl_mean_tokens": 27.9,
        "osl_p90_tokens": 55,
        "osl_max_tokens": 1899,
    },
    "azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz": {
        "requests": 19366,
        "span_s": 3501.7,
        "mean_rps": 5.530,
        "arrival_cv": 1.094,
        "isl_mean_tokens": 1155,
        "isl_p90_tokens": 2734,
        "osl_p99_tokens": 601,
        "osl_max_tokens": 1000,
    },
    "mooncake/synthetic_trace.jsonl.gz": {
        "requests": 3993,
        "mean_rps": 3.907,
        "arrival_cv": 1.011,
        "isl_mean_tokens": 15325,
        "osl_p90_tokens": 389,
        "infinite_cache_reuse_frac": 0.651,
        "lru_1000_blocks_reuse_frac": 0.082,
        "lru_10000_blocks_reuse_frac": 0.423,
        "lru_30000_blocks_reuse_frac": 0.624,
    },
    "vidur-arxiv/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv.gz": {
        "requests": 28257,
        "isl_mean_tokens": 2588,
        "osl_p99_tokens": 3271,
    },
    "servegen/deepseek-r1_trace.csv.gz": {"mean_rps": 16.0, "isl_mean_tokens": 1268, "osl_mean_tokens": 1527, "span_s": 86400},
}


@pytest.mark.shared
@pytest.mark.parametrize("name", README)
def test_public_traces_have_their_known_statistics(shared_dir, name):
    told = describe(read(shared_dir / "traces" / name, mean_rps=1.0 if "vidur" in name else None))
    for key, value in README[name].items():
        assert told[key] == pytest.approx(value, rel=0.01, abs=0.001), key


@pytest.mark.shared
def test_recorded_agent_sessions_have_their_known_statistics(shared_dir):
    trace = read(shared_dir / "traces/claude-code-weka/requests.csv.gz", limit=4000)
    told = describe(trace)
    assert 0.94 < told["infinite_cache_reuse_frac"] < 0.98 and 0.94 < told["predecessor_reuse_frac"] < 0.98
    assert told["gap_p50_s"] == pytest.approx(18, rel=0.15)
    assert 90_000 < told["isl_p50_tokens"] < 120_000


def test_detection_needs_no_suffix(tmp_path):
    for i, (content, kind) in enumerate(
        [(AZURE, "azure"), (BURST, "burstgpt"), (MOONCAKE, "mooncake"), (BAILIAN, "bailian"), (RATES, "servegen")]
    ):
        assert detect(put(tmp_path, f"file{i}", content)) == kind
    assert detect(put(tmp_path, "s", json.dumps(SESSION))) == "weka"
