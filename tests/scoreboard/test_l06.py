"""L06: which engine runs on which chip family, with sources; a missing pair is unknown, never zero."""

from chip_entry import KNOWN

from polysilicon.catalogue.frameworks import matrix, port_class


def test_matrix_has_sources_and_leaves_unknown_pairs_out():
    cells = matrix(KNOWN)
    assert cells["tensorrt-llm", "cuda-blackwell"].status == "production"
    assert cells["vllm-tpu", "tpu"].model_families
    assert ("tensorrt-llm", "tpu") not in cells
    assert all(set(c.sources) <= set(KNOWN.sources) for c in cells.values())


def test_it_drives_the_class_of_a_port():
    assert port_class(KNOWN, "llama", "cuda-hopper") == "runs"
    assert port_class(KNOWN, "glm", "neuron") == "new model"
    assert port_class(KNOWN, "glm", "maia") == "new platform"
    assert port_class(KNOWN, "a-family-nobody-knows", "cuda-hopper") == "unknown"
    assert KNOWN.port("glm", "neuron") is None
