"""What looks alike is one group, and nothing that differs only by numbers is two."""

import pytest

from sagacity.decide.attention import KINDS, Limits, fingerprint, folded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("503 from host 12 after 9 tries", "504 from host 7 after 10 tries"),
        (
            "no saga 019caefd-6f00-7000-8000-000000000001",
            "no saga 01a1fee6-e5bc-74f4-9bf4-e69030245ae8",
        ),
        ("trace deadbeef01 was lost", "trace cafe0123 was lost"),
        ("  two   blanks ", "two blanks"),
    ],
)
def test_ids_and_digits_do_not_tell_errors_apart(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    assert fingerprint("stuck", "Order", "paid", one) == fingerprint("stuck", "Order", "paid", other)


def test_words_kinds_flows_and_states_do() -> None:
    prints = {
        fingerprint("stuck", "Order", "paid", "the bank said no"),
        fingerprint("stuck", "Order", "paid", "the bank said nothing"),
        fingerprint("stuck", "Order", "sent", "the bank said no"),
        fingerprint("stuck", "Transfer", "paid", "the bank said no"),
        fingerprint("retrying", "Order", "paid", "the bank said no"),
        fingerprint("stuck", "Order", "paid", None),
    }
    assert len(prints) == 6


def test_a_fingerprint_stays_the_same_from_release_to_release() -> None:
    assert fingerprint("stuck", "Order", "paid", "503 maintenance") == "d9a5d90767bc"


def test_no_word_is_taken_for_a_number() -> None:
    assert folded("defaced facade") == "defaced facade"
    assert len(folded("x" * 10_000)) == 200


def test_every_kind_says_what_it_means_and_limits_are_sane() -> None:
    assert all(KINDS.values())
    assert min(Limits().overdue, Limits().paused, Limits().lock).total_seconds() >= 60
