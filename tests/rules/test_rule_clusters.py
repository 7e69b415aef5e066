"""Covered clusters: chips of each kind that become one, by both texts of the agreement, and units behind thresholds."""

import math

import pytest

from weighbridge.errors import InputError
from weighbridge.rules.chips import covered_cluster, h100_equivalents

# TPP, GB; fewest chips by the first text, by the later one's TPP, by its memory, by either.
TABLE = {
    "V100 32 GB": (2_000, 32, 127, 127, 41, 41),
    "A100 80 GB": (4_992, 80, 51, 51, 17, 17),
    "H100 SXM": (15_832, 80, 17, 16, 17, 16),
    "H100 PCIe": (12_104, 80, 21, 21, 17, 17),
    "H200": (15_832, 141, 17, 16, 10, 10),
    "H20": (2_368, 96, 108, 107, 14, 14),
    "B200 HGX": (36_000, 180, 8, 8, 8, 8),
    "B300 HGX": (56_000, 270, 5, 5, 5, 5),
    "RTX 4090": (5_285, 24, 48, 48, 54, 48),
    "RTX 5090": (6_704, 32, 38, 38, 41, 38),
    "MI300X": (20_919, 192, 13, 13, 7, 7),
    "TPU v4": (4_400, 32, 58, 58, 41, 41),
    "TPU v5e": (3_152, 16, 81, 81, 81, 81),
    "TPU v5p": (7_344, 95, 35, 35, 14, 14),
    "TPU v6e": (14_688, 32, 18, 18, 41, 18),
    "Trainium2": (10_672, 96, 24, 24, 14, 14),
    "Trainium3": (20_136, 144, 13, 13, 9, 9),
    "Ascend 910B2": (6_016, 64, 43, 43, 21, 21),
    "Ascend 910C": (12_800, 128, 20, 20, 11, 11),
}


@pytest.mark.parametrize("chip", TABLE)
def test_fewest_chips(chip: str) -> None:
    tpp, memory, first, by_tpp, by_memory, either = TABLE[chip]
    found = covered_cluster(tpp, memory=memory)
    assert (found.first_text, found.by_tpp, found.by_memory, found.later_text) == (first, by_tpp, by_memory, either)
    # One fewer is at the limit or below it: in whole numbers.
    assert (first - 1) * tpp <= 253_440 < first * tpp
    assert (by_tpp - 1) * tpp <= 253_184 < by_tpp * tpp
    assert (by_memory - 1) * memory <= 1_280 < by_memory * memory


def test_the_chip_that_the_texts_mean_counts_exactly_one() -> None:
    for tpp in (15_832, 989.4 * 16, 0.1):
        found = covered_cluster(tpp, memory=80, reference=True)
        assert (found.first_text, found.by_tpp, found.by_memory, found.later_text) == (17, 17, 17, 17)
    assert covered_cluster(16 * 989.4).by_tpp == 16  # by the data sheet, 253,286 > 253,184
    assert covered_cluster(4_992).by_memory is None


def test_boxes() -> None:
    # One box of eight B200 is a covered cluster; one of H100 or H200 is not; two of H200 are, by memory.
    assert covered_cluster(36_000, memory=180).later_text <= 8
    assert covered_cluster(15_832, memory=80).later_text > 8
    assert 8 < covered_cluster(15_832, memory=141).later_text <= 16


@pytest.mark.parametrize(("tpp", "equivalents"), [(26.9e6, 1_698), (790e6, 49_874), (5_064e6, 319_697)])
def test_thresholds_in_equivalents(tpp: float, equivalents: int) -> None:
    assert round(h100_equivalents(tpp, definition="tpp-15840")) == equivalents


@pytest.mark.parametrize(
    ("tpp", "first", "later"),
    [(15_832, 0.9995, 1.0005), (36_000, 2.273, 2.275), (56_000, 3.535, 3.539), (20_919, 1.321, 1.322),
     (20_136, 1.271, 1.272), (50 * 4_992, 15.76, 15.77)],
)  # fmt: skip
def test_equivalents_by_both_definitions(tpp: float, first: float, later: float) -> None:
    digits = 5e-5 if tpp == 15_832 else 5e-3 if tpp > 10**5 else 5e-4
    assert h100_equivalents(tpp, definition="tpp-15840") == pytest.approx(first, abs=digits)
    assert h100_equivalents(tpp, definition="tpp-15824") == pytest.approx(later, abs=digits)


def test_meaningless_chips_are_refused() -> None:
    for tpp, memory in ((0.0, None), (math.nan, None), (1.0, 0.0), (1.0, math.inf)):
        with pytest.raises(InputError):
            covered_cluster(tpp, memory=memory)
