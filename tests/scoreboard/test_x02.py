"""X02: 5 B$ for 15-20 % implies 25-33 B$ post-money."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X02")
    assert f.verdict == "contradicted_by_source" and abs(f.recomputed[0] - 100 * 5 / 350) < 1e-9
    post = next(r for r in f.to_hold if r.premise == "post")
    assert abs(post.low - 25) < 1e-6 and abs(post.high - 100 / 3) < 1e-6
    assert "25 B$ to 33.33 B$" in f.correction
